"""The player in a browser: it opens alone, plays, steps, scrubs, and shows what the engine's
registers held.
"""

from __future__ import annotations

import colorsys
import itertools
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick import slow_but

import accelsim as acc
from accelsim.view.player.film import MAC, NOTHING, PADDING

SMALL = {"array.rows": 4, "array.cols": 5, "dram": "unlimited"}
LAYER = acc.Conv2d(M=5, C=2, H=6, W=6, R=3, S=3, padding=1, name="small")
# Every text and every rectangle that is drawn, with its place in CSS pixels and its colour, since
# the drawing began (the canvas is cleared by a large fillRect).
SPY = """
const clear = CanvasRenderingContext2D.prototype.fillRect;
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillRect = function (x, y, w, h) {
  if (x === 0 && y === 0) { this.canvas.drawn = []; this.canvas.filled = []; }
  if (this.canvas.filled) {
    const plain = typeof this.fillStyle === "string";
    this.canvas.filled.push([plain ? this.fillStyle : "hatched", x, y, w, h]);
  }
  return clear.call(this, x, y, w, h);
};
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  if (this.canvas.drawn) this.canvas.drawn.push([String(text), x, y]);
  return write.call(this, text, x, y);
};
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: Any) -> Any:
    animation = acc.animate(LAYER, "systolic", "ws,os,is", overrides=SMALL)
    return animation, animation.save(tmp_path_factory.mktemp("player") / "small.html")


def opened(watched: Any, path: Path, **options: Any) -> Any:
    page = watched(**options).page
    page.add_init_script(SPY)
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready]")
    return page


def test_plays_steps_scrubs_and_listens_to_keys(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    now = lambda: page.evaluate("accelsim.t")  # noqa: E731
    assert now() == max(f.opens for f in small[0].films) > 0
    page.click("#first")
    assert now() == 0
    page.click("#on")
    page.click("#on")
    page.click("#back")
    assert now() == 1
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(".")
    page.keyboard.press("ArrowRight")
    assert now() == 3
    page.keyboard.press(",")
    page.keyboard.press("ArrowLeft")
    assert now() == 1
    page.keyboard.press("PageDown")
    assert now() == 51
    page.keyboard.press("End")
    assert now() == page.evaluate("accelsim.last")
    page.keyboard.press("Home")
    assert now() == 0
    page.locator("#scrub").fill("17")
    assert now() == 17
    assert page.inner_text("#now").startswith("cycle 18 of")
    page.locator("#speed").select_option("60")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Pause"
    for _ in range(100):
        page.wait_for_timeout(50)
        if now() > 40:
            break
    assert now() > 40
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Play"
    stopped = now()
    page.wait_for_timeout(100)
    assert now() == stopped


def _index(film: Any, tensor: str, word: int) -> str:
    """A word's label: its tensor's letter and its indices along the axes that are longer than 1."""
    if word == PADDING:
        return "pad"
    shape = film.shapes[tensor]
    at = zip(np.unravel_index(word, shape), shape, strict=True)
    return tensor[0] + ",".join(str(n) for n, size in at if size > 1)


@pytest.mark.parametrize("label", ["index", "value"])
def test_what_is_drawn_in_a_pe_is_what_its_registers_held(
    watched: Any, small: Any, label: str
) -> None:
    """By index, as it opens, and by value on request."""
    page = opened(watched, small[1], viewport={"width": 2400, "height": 1300})
    assert page.locator("#labels").input_value() == "index"
    page.locator("#labels").select_option(label)
    for number, film in enumerate(small[0].films):
        for t in (7, 20, 33, film.frames - 3)[:: 1 if label == "value" else 2]:
            page.evaluate(f"accelsim.show({t})")
            drawn, x, y, s = page.evaluate(
                f"(() => {{const v = accelsim.views[{number}].picture; "
                "return [v.canvas.drawn, v.x, v.y, v.cell]})()"
            )
            assert s >= 56, "all planes are drawn in PEs as large as this"
            for i, j in np.ndindex(film.rows, film.cols):
                inside = [
                    text
                    for text, a, b in drawn
                    if x + j * s < a <= x + j * s + s and y + i * s < b <= y + i * s + s
                ]
                expected = [
                    str(int(p.values[t, i, j]))
                    if label == "value"
                    else _index(film, p.tensor, int(p.words[t, i, j]))
                    for p in film.planes
                    if p.words[t, i, j] != NOTHING
                ]
                assert sorted(inside) == sorted(expected), (film.title, t, i, j, inside, expected)


@pytest.mark.parametrize("apart", slow_but([31], [31, 9]))
def test_a_word_has_one_colour_in_every_pe_and_cycle(watched: Any, small: Any, apart: int) -> None:
    """And words that are there together have different ones; padding has none, it is hatched."""
    page = opened(watched, small[1], viewport={"width": 2400, "height": 1300})
    seen: dict[tuple[str, int], set[str]] = {}
    for number, film in enumerate(small[0].films):
        for t in range(5, film.frames, apart):
            page.evaluate(f"accelsim.show({t})")
            filled, x, y, s, bands = page.evaluate(
                f"(() => {{const v = accelsim.views[{number}].picture; return [v.canvas.filled, "
                "v.x, v.y, v.cell, v.bands.map((b) => b.top)]})()"
            )
            # from the last line of the base on, so that what lies above hides what lies below
            chips = {(round(a, 2), round(b, 2)): colour for colour, a, b, _, _ in filled}
            for plane, top in zip(film.planes, bands, strict=True):
                now: dict[str, int] = {}
                for i, j in np.ndindex(film.rows, film.cols):
                    word = int(plane.words[t, i, j])
                    if word == NOTHING:
                        continue
                    colour = chips[round(x + j * s + 3, 2), round(y + i * s + top, 2)]
                    if word == PADDING:
                        assert colour == "hatched"
                        continue
                    seen.setdefault((plane.tensor, word), set()).add(colour)
                    assert now.setdefault(colour, word) == word, "two words look the same"
    assert len(seen) > 1800 // apart
    assert all(len(colours) == 1 for colours in seen.values())
    of = {t: {c for (k, _), cs in seen.items() if k == t for c in cs} for t in film.shapes}
    for one, other in itertools.combinations(of.values(), 2):
        assert one and other and not one & other, "words of two tensors look like one"


def test_the_inspector_says_the_words_and_the_iteration(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    film = small[0].films[0]
    t = 25
    i, j = (int(k[0]) for k in np.nonzero(film.state[t] & 1))
    page.evaluate(f"accelsim.views[0].pe = [{i}, {j}]; accelsim.show({t})")
    cells = page.locator(".film").nth(0).locator(".registers tr").all_inner_texts()
    for plane, row in zip(film.planes, cells, strict=True):
        if plane.words[t, i, j] >= 0:
            index = np.unravel_index(int(plane.words[t, i, j]), film.shapes[plane.tensor])
            label, word, value = row.split("\t")
            assert (label, int(value)) == (plane.label, int(plane.values[t, i, j]))
            long = [n for n, size in zip(index, film.shapes[plane.tensor], strict=True) if size > 1]
            assert word == f"{plane.tensor[0]}[{','.join(str(n) for n in long)}]"
    lit = page.locator(".film").nth(0).locator(".nest .lit b").all_inner_texts()
    p = film.positions
    at = p.outside[p.fold[t, i, j]] + p.inside[p.step[t, i, j]] + p.row[i] + p.col[j]
    assert [text.split() for text in lit] == [
        [n, str(k + 1), "of", str(m)] for n, k, m in zip(p.loops, at, p.trips, strict=True)
    ]
    page.locator(".inspector summary").nth(0).click()
    page.locator(".history tbody th", has_text=str(film.first + t)).nth(0).wait_for()
    history = (
        page.locator(".film").nth(0).locator(".history tbody tr").nth(3).inner_text().split("\t")
    )
    assert int(history[0]) == film.first + t - 3


def test_keys_move_over_the_array(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    page.evaluate("accelsim.views[0].pe = [0, 0]; accelsim.show(0)")
    page.locator(".stage canvas").nth(0).focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("accelsim.views[0].pe") == [1, 1]
    assert page.evaluate("accelsim.t") == 0, "arrow keys are the array's while it has the focus"
    assert "row 1, column 1" in page.locator(".said").nth(0).inner_text()
    box = page.locator(".stage canvas").nth(0).bounding_box()
    view = page.evaluate(
        "(() => {const v = accelsim.views[0].picture; return [v.x, v.y, v.cell]})()"
    )
    page.mouse.move(box["x"] + view[0] + 3.5 * view[2], box["y"] + view[1] + 2.5 * view[2])
    assert page.locator(".inspector h3").nth(0).inner_text().startswith("PE (2, 3)")


def _shown(page: Any, number: int) -> dict[str, int]:
    """The counts of a film on the page, up to the cycle that is shown."""
    rows = page.locator(".film").nth(number).locator(".counts tbody tr")
    cells = [r.split("\t") for r in rows.all_inner_texts()]
    return {c[0]: int(c[1].replace("\u2009", "")) for c in cells}


EVERY_STEP = """() => [...Array(accelsim.last + 1).keys()].map((t) => {
  accelsim.show(t);
  const number = (cell) => Number(cell.textContent.split(" of ")[0].replaceAll("\u2009", ""));
  return accelsim.views.map(({section}) => [
    Object.fromEntries([...section.querySelectorAll(".counts tbody tr")]
      .map((row) => [row.cells[0].textContent, number(row.cells[1])])),
    [...section.querySelectorAll(".buffers tr")].map((row) => number(row.cells[2])),
    [...section.querySelectorAll(".buffers .bar i")].map((bar) => parseFloat(bar.style.width)),
  ]);
})"""


def test_counters_are_the_models_at_every_step(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    steps = page.evaluate(EVERY_STEP)
    assert len(steps) == max(f.frames for f in small[0].films)
    for number, flow in enumerate(("ws", "os", "is")):
        film = small[0].films[number]
        for t, films in enumerate(steps[: film.frames]):
            shown, held, bars = films[number]
            assert shown.pop("cycle") == film.first + t
            assert shown.pop("PEs that multiply") == ((film.state[t] & MAC) > 0).sum()
            assert shown == {name: int(values[t]) for name, values in film.counts.items()}
            assert held == [int(h.words[t]) for h in film.held]
            filled = [100 * int(h.words[t]) / h.tile_words for h in film.held]
            assert bars == pytest.approx(filled, abs=1e-3), "a bar is as full as its buffer"
            for h, now in zip(film.held, held, strict=True):  # the two panels agree
                assert (now > 0) == (shown.get(f"{h.level}_{h.tensor}_writes", 0) > 0)
        (row,) = acc.simulate(LAYER, "systolic", flow, tiles="rule", overrides=SMALL).rows
        shown = _shown(page, number)
        assert shown.pop("cycle") == row.columns["cycles"]
        shown.pop("PEs that multiply")
        nonzero = {
            k: v
            for k, v in row.columns.items()
            if k.endswith(("_reads", "_writes", "_deliveries", "_additions")) and v
        }
        assert shown == nonzero | {"macs": row.columns["macs"]}


@pytest.mark.slow
def test_a_film_of_16_by_16_over_2000_cycles_is_small(watched: Any, tmp_path: Path) -> None:
    """How fast it plays is measured by benchmarks/player_frames.py."""
    busy = acc.Conv2d(M=32, C=32, H=24, W=24, R=3, S=3, padding=1, name="busy")
    path = acc.animate(busy, "systolic", "ws", cycles=2000).save(tmp_path / "busy.html")
    assert path.stat().st_size <= 2_000_000
    page = opened(watched, path)
    assert page.evaluate("accelsim.films[0].frames") == 2000


@pytest.fixture(scope="module")
def rows(tmp_path_factory: Any) -> Any:
    """Row-stationary, on buses and with stages."""
    animation = acc.animate("alexnet", "eyeriss", "rs", layer="conv3", cycles=230)
    return animation, animation.save(tmp_path_factory.mktemp("player") / "rows.html")


@pytest.fixture(scope="module")
def readme(tmp_path_factory: Any) -> Any:
    sides = {"array.rows": 8, "array.cols": 8}
    animation = acc.animate("lenet5", "systolic", "ws", layer="conv1", cycles=120, overrides=sides)
    return animation, animation.save(tmp_path_factory.mktemp("player") / "readme.html")


@pytest.mark.parametrize("which", ["rows", "readme"])
def test_one_screen_holds_all_of_it(
    watched: Any, request: pytest.FixtureRequest, which: str
) -> None:
    animation, path = request.getfixturevalue(which)
    page = opened(watched, path, viewport={"width": 1440, "height": 900})
    assert page.evaluate("document.documentElement.scrollHeight") <= 900
    for panel in (
        ".stage canvas",
        ".nest",
        ".counts",
        ".buffers",
        ".maps",
        ".inspector",
        ".reuses",
    ):
        box = page.locator(panel).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 900, panel
        assert box["x"] >= 0 and box["x"] + box["width"] <= 1440, panel
    assert not page.evaluate(
        "[...document.querySelectorAll('.nest .loop')].filter((x) => x.scrollWidth > x.clientWidth)"
        ".map((x) => x.textContent)"
    )
    title = animation.films[0].title.split(",")[0]
    assert page.inner_text("body").count(title) == 1, "the title stands once"
    film = animation.films[0]
    t = page.evaluate("accelsim.t")
    assert t == film.opens and ((film.state[t] & MAC) > 0).sum() > 40


@pytest.fixture(scope="module")
def three(tmp_path_factory: Any) -> Any:
    """Three dataflows on Eyeriss: as many counters as any preset has."""
    animation = acc.animate("alexnet", "eyeriss", "rs,ws,os", layer="conv3", cycles=40)
    return animation, animation.save(tmp_path_factory.mktemp("player") / "three.html")


@pytest.mark.parametrize("which", ["three", "small"])
def test_three_films_stand_on_one_screen(
    watched: Any, request: pytest.FixtureRequest, which: str
) -> None:
    """Every panel of each is whole: nothing lies outside, is cut, or has to be scrolled to, before
    and after a step; in step by MAC, too, the counters are the model's.
    """
    animation, path = request.getfixturevalue(which)
    page = opened(watched, path, viewport={"width": 1440, "height": 900})
    page.locator("#step").select_option("mac")
    done = animation.films[0].counts["macs"]
    for t in (page.evaluate("accelsim.t"), 30):
        page.evaluate(f"accelsim.show({t})")
        assert page.evaluate("document.documentElement.scrollHeight") <= 900
        for number, film in enumerate(animation.films):
            section = page.locator(".film").nth(number)
            for panel in (".stage canvas", ".nest", ".counts", ".buffers", ".maps", ".inspector"):
                box = section.locator(panel).bounding_box()
                assert box["y"] >= 0 and box["y"] + box["height"] <= 900, panel
                assert box["x"] >= 0 and box["x"] + box["width"] <= 1440, panel
                assert box["height"] > 20, panel
            frame = int(np.searchsorted(film.counts["macs"], done[min(t, len(done) - 1)]))
            frame = min(frame, film.frames - 1) if number else t
            shown = _shown(page, number)
            assert shown.pop("cycle") == film.first + frame
            shown.pop("PEs that multiply")
            assert shown == {name: int(values[frame]) for name, values in film.counts.items()}
        cut = page.evaluate(
            "[...document.querySelectorAll('#films, .film, .panel, .nest .loop, .stage, .reuse')]"
            ".filter((x) => x.scrollWidth > x.clientWidth || x.scrollHeight > x.clientHeight)"
            ".map((x) => [x.className, x.textContent])"
        )
        assert not cut


@pytest.mark.parametrize("size", [(1366, 650), (1280, 720)])
@pytest.mark.parametrize("which", slow_but(["three", "rows"], ["three", "rows", "small", "readme"]))
def test_a_laptops_screen_squeezes_no_panel(
    watched: Any, request: pytest.FixtureRequest, which: str, size: tuple[int, int]
) -> None:
    """On 650 pixels the PE's panel of each of three films was 6 pixels high; now the page scrolls,
    or the column of panels.
    """
    _, path = request.getfixturevalue(which)
    page = opened(watched, path, viewport={"width": size[0], "height": size[1]})
    squeezed = page.evaluate(
        "[...document.querySelectorAll('.panel, .stage, .maps, .reuse, .left, .middle')]"
        ".filter((x) => x.clientHeight && x.scrollHeight > x.clientHeight + 1)"
        ".map((x) => [x.className, x.scrollHeight, x.clientHeight])"
    )
    assert not squeezed
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_film_that_is_over_says_so(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    page.evaluate("accelsim.show(accelsim.last)")
    frames = [f.frames for f in small[0].films]
    for text, n in zip(page.locator(".story").all_inner_texts(), frames, strict=True):
        assert ("The run is over." in text) == (n < max(frames))


def test_row_stationary_says_why_it_is_what_it_is(watched: Any, rows: Any) -> None:
    page = opened(watched, rows[1], viewport={"width": 1440, "height": 900})
    use = page.locator(".reuse").all_inner_texts()
    assert "along a row" in use[0] and "along a diagonal" in use[1] and "sum of a column" in use[2]
    assert "product of 2 edges ago" in page.inner_text(".story")
    said = page.inner_text(".equation")
    assert "2 edges ago" in said and " = " in said
    left, right = said.split(" = ", 1)[1].split(".")[0].rsplit(" = ", 1)
    before, product = left.split(") + ", 1)
    total = int(before.split(" ")[0]) + int(
        np.prod([int(x.strip("() ")) for x in product.split("\u00d7")])
    )
    assert total == int(right)
    film, t = rows[0].films[0], page.evaluate("accelsim.t")
    groups = page.evaluate("accelsim.views[0].picture.carried(12)")
    assert {g["tensor"] for g in groups} >= {"weight"}
    assert all(len(g["pes"]) == 13 for g in groups if g["tensor"] == "weight")
    assert film.lag == 2 and t >= film.lag


def test_one_tensor_colours_the_array_alone(watched: Any, rows: Any) -> None:
    page = opened(watched, rows[1], viewport={"width": 1440, "height": 900})
    page.locator(".reuse").nth(1).click()
    assert page.locator(".reuse").nth(1).get_attribute("aria-pressed") == "true"
    film, t = rows[0].films[0], page.evaluate("accelsim.t")
    filled, x, y, s = page.evaluate(
        "(() => {const v = accelsim.views[0].picture; "
        "return [v.canvas.filled, v.x, v.y, v.cell]})()"
    )
    chips = {(round(a, 2), round(b, 2)): colour for colour, a, b, _, _ in filled}
    plane = next(p for p in film.planes if p.label == "ifmap")
    for i, j in np.ndindex(11, 12):
        if plane.words[t, i, j + 1] == plane.words[t, i + 1, j] >= 0:
            here = chips[round(x + (j + 1) * s + 3, 2), round(y + i * s + 3, 2)]
            assert here == chips[round(x + j * s + 3, 2), round(y + (i + 1) * s + 3, 2)]
    # pointed at anywhere, a PE is its word of that tensor
    box = page.locator(".stage canvas").bounding_box()
    for part in (0.1, 0.5, 0.9):
        page.mouse.move(box["x"] + x + 1.5 * s, box["y"] + y + (1 + part) * s)
        word = int(plane.words[t, 1, 1])
        assert page.evaluate("accelsim.look.pointed") == {"tensor": "ifmap", "word": word}
    page.locator(".reuse").nth(1).click()
    assert page.evaluate("accelsim.views[0].colour") == "all"


def test_a_button_colours_the_array_above_it_alone(watched: Any, small: Any) -> None:
    """It coloured all three films, which nothing beside it said; a node that is turned to keeps
    its films' colours.
    """
    page = opened(watched, small[1], viewport={"width": 1440, "height": 900})
    colours = "accelsim.views.map((v) => v.colour)"
    page.locator(".film").nth(1).locator(".reuse").nth(0).click()
    chosen = small[0].films[1].planes[0].tensor
    assert page.evaluate(colours) == ["all", chosen, "all"]
    pressed = page.locator(".reuse[aria-pressed=true]")
    assert pressed.count() == 1 and chosen in pressed.inner_text()
    page.evaluate("accelsim.stage(0)")
    assert page.evaluate(colours) == ["all", chosen, "all"]
    page.locator(".film").nth(1).locator(".reuse").nth(0).click()
    assert page.evaluate(colours) == ["all"] * 3


def test_a_tensor_that_is_chosen_is_the_one_that_is_pointed_at(watched: Any, small: Any) -> None:
    """Pointing at a PE's lower lines followed its sum though all of it had its weight's colour."""
    page = opened(watched, small[1], viewport={"width": 2400, "height": 1300})
    film, t = small[0].films[0], page.evaluate("accelsim.t")
    box = "(() => {const p = accelsim.views[0].picture, b = p.canvas.getBoundingClientRect(); "
    left, top, s = page.evaluate(box + "return [b.left + p.x, b.top + p.y, p.cell]})()")
    i, j = page.evaluate("accelsim.views[0].pe")
    pointed = {}
    for chosen in ("weight", "ifmap", "all"):
        page.evaluate(f"accelsim.views[0].colour = '{chosen}'; accelsim.draw()")
        page.mouse.move(left + (j + 0.5) * s, top + i * s + 3)
        page.mouse.move(left + (j + 0.5) * s, top + (i + 1) * s - 6)
        pointed[chosen] = page.evaluate("accelsim.look.pointed")
    words = {p.tensor: int(p.words[t, i, j]) for p in film.planes if not p.label.startswith("next")}
    for chosen, tensor in (("weight", "weight"), ("ifmap", "ifmap"), ("all", "ofmap")):
        assert pointed[chosen] == {"tensor": tensor, "word": words[tensor]}, chosen


def test_labels_say_whose_word_it_is(watched: Any, small: Any) -> None:
    page = opened(watched, small[1], viewport={"width": 2400, "height": 1300})
    drawn, s = page.evaluate(
        "(() => {const p = accelsim.views[0].picture; return [p.canvas.drawn, p.cell]})()"
    )
    letters = {text[0] for text, _, _ in drawn if "," in text}
    assert s >= 56 and letters == {"w", "i", "o"}
    assert all(text[1].isdigit() for text, _, _ in drawn if "," in text)


def test_each_tensor_has_hues_of_its_own(watched: Any, small: Any) -> None:
    """A green weight, a green ifmap word and a green sum looked as if they belonged together."""
    page = opened(watched, small[1])
    spans = []
    for tensor in ("weight", "ofmap", "ifmap"):
        made = page.evaluate(f"[...Array(300).keys()].map((n) => wordColour('{tensor}', n))")
        rgb = [[v / 255 for v in bytes.fromhex(c[1:])] for c in made]
        hues = [(360 * colorsys.rgb_to_hls(*c)[0] + 90) % 360 for c in rgb]
        spans.append((min(hues), max(hues)))
    for (_, last), (first, _) in pairwise(spans):
        assert first - last > 8, spans


def test_maps_are_lit_where_words_are(watched: Any, readme: Any) -> None:
    page = opened(watched, readme[1], viewport={"width": 1440, "height": 900})
    film, t = readme[0].films[0], page.evaluate("accelsim.t")
    for number, tensor in enumerate(("weight", "ifmap", "ofmap")):
        words = {
            int(w)
            for p in film.planes
            if p.tensor == tensor
            for w in np.unique(p.words[t])
            if w >= 0
        }
        lit = page.evaluate(f"[...accelsim.views[0].maps[{number}].map.lit.keys()]")
        assert set(lit) == words
    at = page.evaluate(
        "(() => {const m = accelsim.views[0].maps[1].map, word = [...m.lit.keys()][0], "
        "b = m.canvas.getBoundingClientRect(), p = m.place(m.digits(word)); "
        "return [b.left + 1 + p[0] + m.px / 2, b.top + 1 + p[1] + m.px / 2, word]})()"
    )
    page.mouse.move(at[0], at[1])
    assert page.evaluate("accelsim.look.pointed") == {"tensor": "ifmap", "word": at[2]}


# The colours in the middle of words on a map, null for words that are on another page of it.
COLOURS = """([number, words]) => {
  const m = accelsim.views[0].maps[number].map, copy = document.createElement("canvas");
  [copy.width, copy.height] = [m.canvas.width, m.canvas.height];
  const pen = copy.getContext("2d", {willReadFrequently: true});
  pen.drawImage(m.canvas, 0, 0);
  return words.map((word) => {
    const p = m.place(m.digits(word));
    if (!p) return null;
    const [x, y] = p.map((v) => v + 1 + Math.floor(m.px / 2));
    const [r, g, b] = pen.getImageData(x, y, 1, 1).data;
    return "#" + [r, g, b].map((v) => v.toString(16).padStart(2, "0")).join("");
  });
}"""


def test_words_that_wait_are_lit(watched: Any, rows: Any) -> None:
    """Words of scratchpads in their colour, words of the buffer pale, other words in neither;
    forward, backward and after jumps.  Beside the array stands how many wait.
    """
    page = opened(watched, rows[1], viewport={"width": 1440, "height": 900})
    film = rows[0].films[0]
    kept, held = {k.tensor: k for k in film.kept}, {h.tensor: h for h in film.held}
    assert set(kept) == {"weight", "ifmap", "ofmap"} and set(held) == {"ifmap", "ofmap"}
    seen = {"waits": 0, "held": 0}
    pale, *marked = page.evaluate("[ink().held, ink().pick, ink().ink]")
    for t in (20, 21, 22, 21, 200, 90, film.frames - 1):
        page.evaluate(f"accelsim.show({t})")
        told = page.locator(".reuse").all_inner_texts()
        for number, tensor in enumerate(kept):
            words = {
                w for p in film.planes if p.tensor == tensor for w in p.words[t].ravel().tolist()
            }
            waiting = set(kept[tensor].there.at(t).tolist()) - words
            shown = page.evaluate(f"[...accelsim.views[0].maps[{number}].map.waiting.keys()]")
            assert set(shown) == waiting
            says = f"{len(waiting):,} wait in spad".replace(",", "\u2009")
            assert (says in told[number]) == bool(waiting)
            some = sorted(waiting)[::7]
            own = page.evaluate(
                f"(words) => words.map((w) => accelsim.films[0].isPadding('{tensor}', w)"
                f" ? null : colours.of('{tensor}', w))", some
            )  # fmt: skip
            for a, b in zip(page.evaluate(COLOURS, [number, some]), own, strict=True):
                assert None in (a, b) or a in (b, *marked)
                seen["waits"] += a == b
        low, high = held["ifmap"].low[t], held["ifmap"].high[t]
        box = [range(a, b) for a, b in zip(low, high, strict=True)]
        shape = film.shapes["ifmap"]
        inside = np.ravel_multi_index(np.meshgrid(*box, indexing="ij"), shape).ravel()
        rest = set(range(int(np.prod(shape)))) - set(inside.tolist())
        lit = "accelsim.views[0].maps[1].map"
        lit = page.evaluate(f"[...{lit}.lit.keys(), ...{lit}.waiting.keys()]")
        for words, there in ((inside[::97].tolist(), True), (sorted(rest)[::997], False)):
            bare = [w for w in words if w not in lit]
            for colour in page.evaluate(COLOURS, [1, bare]):
                assert colour is None or colour in marked or (colour == pale) == there
                seen["held"] += colour == pale
    assert seen["waits"] > 20 and seen["held"] > 3


def test_sums_of_a_buffer_are_lit_one_by_one(watched: Any, small: Any) -> None:
    """Sums arrive in an order that fills no box."""
    film = small[0].films[0]
    (sums,) = [h for h in film.held if h.tensor == "ofmap"]
    assert sums.there is not None
    boxes = np.prod(sums.high - sums.low, axis=1)
    t = int((boxes - sums.words).argmax())
    page = opened(watched, small[1], viewport={"width": 1440, "height": 900})
    page.evaluate(f"accelsim.show({t})")
    there = set(sums.there.at(t).tolist())
    pale, *marked = page.evaluate("[ink().held, ink().pick, ink().ink]")
    lit = set(page.evaluate("[...accelsim.views[0].maps[2].map.lit.keys()]"))
    words = [w for w in range(int(np.prod(film.shapes["ofmap"]))) if w not in lit]
    for word, colour in zip(words, page.evaluate(COLOURS, [2, words]), strict=True):
        assert colour is None or colour in marked or (colour == pale) == (word in there), word


def test_chapters_are_turned_to(watched: Any, readme: Any) -> None:
    page = opened(watched, readme[1])
    film = readme[0].films[0]
    names = page.locator("#chapter option").all_inner_texts()
    assert names == [c.name for c in film.chapters]
    page.locator("#chapter").select_option("steady")
    assert page.evaluate("accelsim.t") == next(c.frame for c in film.chapters if c.name == "steady")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Home")
    page.keyboard.press("]")
    assert page.evaluate("accelsim.t") == film.chapters[1].frame
    page.keyboard.press("[")
    assert page.evaluate("accelsim.t") == film.chapters[0].frame


def test_films_go_in_step_by_mac(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    page.locator("#step").select_option("mac")
    page.evaluate("accelsim.show(40)")
    frames = page.evaluate("accelsim.views.map((v) => v.frame())")
    done = small[0].films[0].counts["macs"][40]
    for frame, film in zip(frames, small[0].films, strict=True):
        assert film.counts["macs"][frame] >= done
        assert frame == 0 or film.counts["macs"][frame - 1] < done


def test_a_network_is_walked_node_by_node(watched: Any, tmp_path: Path) -> None:
    animation = acc.animate("lenet5", "systolic", "ws", cycles=40)
    page = opened(watched, animation.save(tmp_path / "lenet.html"))
    names = list(dict.fromkeys(f.node for f in animation.films))
    assert page.locator("#nodes button").all_inner_texts() == names
    page.locator("#nodes button").nth(names.index("pool1")).click()
    assert page.evaluate("accelsim.films[0].node") == "pool1"
    assert "lanes work" in page.inner_text(".story")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#on")
    page.locator("#nodes button").nth(names.index("softmax")).click()
    assert page.inner_text(".inspector h3").startswith("Lane ")


def test_motion_is_reduced_on_request_and_a_phone_can_hold_it(watched: Any, small: Any) -> None:
    page = opened(
        watched,
        small[1],
        viewport={"width": 360, "height": 740},
        reduced_motion="reduce",
        color_scheme="dark",
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("accelsim.part = 0.5; accelsim.playing = true; accelsim.draw()")
    a = page.evaluate("JSON.stringify(accelsim.views[0].picture.canvas.drawn)")
    page.evaluate("accelsim.part = 0; accelsim.draw()")
    assert page.evaluate("JSON.stringify(accelsim.views[0].picture.canvas.drawn)") == a, (
        "nothing slides"
    )
    page.evaluate("accelsim.playing = false")


def test_words_slide_to_where_they_go(watched: Any, small: Any) -> None:
    """Between two edges what moves is drawn on its way to the next PE, what is held stays."""
    page = opened(watched, small[1], viewport={"width": 2400, "height": 1300})
    film = small[0].films[0]
    page.evaluate("accelsim.show(25); accelsim.part = 0.5; accelsim.playing = true")
    drawn, x, y, s, bands = page.evaluate(
        "(() => {accelsim.draw(); accelsim.playing = false; const v = accelsim.views[0].picture; "
        "return [v.canvas.filled, v.x, v.y, v.cell, v.bands.map((b) => b.top)]})()"
    )
    chips = {(round(a, 2), round(b, 2)) for _, a, b, _, _ in drawn}
    moved = set()
    for plane, top in zip(film.planes, bands, strict=True):
        right, down = (s / 2 if plane.way == way else 0 for way in ("right", "down"))
        for i, j in np.argwhere(plane.words[25] >= 0):
            assert (round(x + j * s + 3 + right, 2), round(y + i * s + top + down, 2)) in chips
            moved.add(plane.way)
    assert moved == {"stays", "right", "down"}


def test_focus_order(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    order = []
    for _ in range(26):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className "
                "|| document.activeElement.tagName"
            )
        )
    controls = ["first", "back", "play", "on", "last", "chapter", "scrub", "speed", "labels"]
    film = ["CANVAS", "reuse", "reuse", "reuse", "SUMMARY"]
    assert order == [*controls, "size", "step", *film * 3][:26]


def test_plays_in_a_sandboxed_frame_of_a_notebook(watched: Any, small: Any) -> None:
    page = watched().page
    page.set_content(f"<!DOCTYPE html><body>{small[0]._repr_html_()}</body>")
    frame = page.frame_locator("iframe")
    frame.locator("body[data-ready]").wait_for()
    frame.locator("#first").click()
    frame.locator("#on").click()
    assert frame.locator("#now").inner_text().startswith("cycle 2 of")
