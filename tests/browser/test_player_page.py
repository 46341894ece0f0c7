"""The player in a browser: it opens alone, plays, steps, scrubs, and shows what the engine's
registers held.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelsim as acc
from accelsim.view.player.film import NOTHING

SMALL = {"array.rows": 4, "array.cols": 5, "dram": "unlimited"}
LAYER = acc.Conv2d(M=5, C=2, H=6, W=6, R=3, S=3, padding=1, name="small")
# Every text that is drawn, with its place in CSS pixels, since the drawing began (the canvas is
# cleared by a large fillRect).
SPY = """
const clear = CanvasRenderingContext2D.prototype.fillRect;
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillRect = function (x, y, w, h) {
  if (x === 0 && y === 0) this.canvas.drawn = [];
  return clear.call(this, x, y, w, h);
};
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  this.canvas.drawn.push([String(text), x, y]);
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


def test_what_is_drawn_in_a_pe_is_what_its_registers_held(watched: Any, small: Any) -> None:
    page = opened(watched, small[1], viewport={"width": 2400, "height": 1000})
    for number, film in enumerate(small[0].films):
        for t in (7, 20, 33, film.frames - 3):
            page.evaluate(f"accelsim.show({t})")
            drawn, x, y, s = page.evaluate(
                f"(() => {{const v = accelsim.views[{number}]; "
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
                    str(int(p.values[t, i, j])) for p in film.planes if p.words[t, i, j] != NOTHING
                ]
                assert inside[1:] == expected or _without_label(inside) == expected, (
                    film.title,
                    t,
                    i,
                    j,
                    inside,
                    expected,
                )


def _without_label(texts: list[str]) -> list[str]:
    return [text for text in texts if not set(text) <= set("MZFR\u00b7")]


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
            label, value, word = row.split("\t")
            assert (label, int(value)) == (plane.label, int(plane.values[t, i, j]))
            assert [
                int(part.partition("=")[2]) for part in word[word.index("[") + 1 : -1].split()
            ] == list(index)
    lit = page.locator(".film").nth(0).locator(".nest .lit b").all_inner_texts()
    p = film.positions
    at = p.outside[p.fold[t, i, j]] + p.inside[p.step[t, i, j]] + p.row[i] + p.col[j]
    assert [text.split() for text in lit] == [
        [n, str(k + 1), "of", str(m)] for n, k, m in zip(p.loops, at, p.trips, strict=True)
    ]
    history = (
        page.locator(".film").nth(0).locator(".history tbody tr").nth(3).inner_text().split("\t")
    )
    assert int(history[0]) == film.first + t - 3


def test_keys_move_over_the_array(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    page.locator("canvas").nth(0).focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("accelsim.views[0].pe") == [1, 1]
    assert page.evaluate("accelsim.t") == 0, "arrow keys are the array's while it has the focus"
    assert "row 1, column 1" in page.locator(".said").nth(0).inner_text()
    box = page.locator("canvas").nth(0).bounding_box()
    view = page.evaluate("(() => {const v = accelsim.views[0]; return [v.x, v.y, v.cell]})()")
    page.mouse.move(box["x"] + view[0] + 3.5 * view[2], box["y"] + view[1] + 2.5 * view[2])
    assert page.locator(".inspector h3").nth(0).inner_text().startswith("PE (2, 3)")


def test_counters_end_at_the_analytic_counts(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    page.keyboard.press("End")
    for number, flow in enumerate(("ws", "os", "is")):
        (row,) = acc.simulate(LAYER, "systolic", flow, tiles="rule", overrides=SMALL).rows
        cells = [
            r.split("\t")
            for r in page.locator(".film").nth(number).locator(".counts tbody tr").all_inner_texts()
        ]
        shown = {c[0]: int(c[1].replace("\u2009", "")) for c in cells}
        assert shown.pop("cycle") == row.columns["cycles"]
        shown.pop("PEs that multiply")
        nonzero = {
            k: v
            for k, v in row.columns.items()
            if k.endswith(("_reads", "_writes", "_deliveries", "_additions")) and v
        }
        assert shown == nonzero | {"macs": row.columns["macs"]}


def test_full_speed_on_16_by_16_over_2000_cycles(watched: Any, tmp_path: Path) -> None:
    busy = acc.Conv2d(M=32, C=32, H=24, W=24, R=3, S=3, padding=1, name="busy")
    path = acc.animate(busy, "systolic", "ws", cycles=2000).save(tmp_path / "busy.html")
    assert path.stat().st_size <= 2_000_000
    page = opened(watched, path)
    page.locator("#speed").select_option("60")
    page.evaluate("accelsim.frames = 0; accelsim.play(true)")
    page.wait_for_timeout(1000)
    assert page.evaluate("accelsim.frames") >= 30
    assert page.evaluate("accelsim.films[0].frames") == 2000


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
    a = page.evaluate("JSON.stringify(accelsim.views[0].canvas.drawn)")
    page.evaluate("accelsim.part = 0; accelsim.draw()")
    assert page.evaluate("JSON.stringify(accelsim.views[0].canvas.drawn)") == a, "nothing slides"
    page.evaluate("accelsim.playing = false")


def test_focus_order(watched: Any, small: Any) -> None:
    page = opened(watched, small[1])
    order = []
    for _ in range(12):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert order == [
        "first",
        "back",
        "play",
        "on",
        "last",
        "scrub",
        "speed",
        "size",
        "CANVAS",
        "CANVAS",
        "CANVAS",
        "SUMMARY",
    ]


def test_plays_in_a_sandboxed_frame_of_a_notebook(watched: Any, small: Any) -> None:
    page = watched().page
    page.set_content(f"<!DOCTYPE html><body>{small[0]._repr_html_()}</body>")
    frame = page.frame_locator("iframe")
    frame.locator("body[data-ready]").wait_for()
    frame.locator("#on").click()
    assert frame.locator("#now").inner_text().startswith("cycle 2 of")
