"""The teaching pages, their pictures and their slides: numbers against other ways to find them."""

from __future__ import annotations

import importlib
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import convolve2d, correlate2d

from accelsim import Conv2d

TEACHING = Path(__file__).parents[1] / "docs" / "teaching"
FIGURES = TEACHING.parent / "figures" / "teaching"
PAGES = sorted(TEACHING.glob("*.md"))
LONG_DECKS = ("1_convolution", "2_networks", "4_dataflows")


@pytest.fixture(autouse=True)
def _teaching_on_the_path(monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(TEACHING))


def load(name: str) -> Any:
    return importlib.import_module(name)


# Pages and decks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_shows_pictures_that_are_drawn_by_code(page: Path) -> None:
    text = page.read_text()
    shown = re.findall(r"!\[[^\]]+\]\(\.\./figures/teaching/(\w+)\.png\)", text)
    assert shown or page.stem == "README"
    drawn = load("make").PICTURES
    for name in shown:
        assert name in drawn and (FIGURES / f"{name}.png").stat().st_size > 2000, name
    for target in re.findall(r"\]\((\w+\.md)\)", text):
        assert (TEACHING / target).is_file(), target


def test_every_picture_has_its_page_and_every_page_its_lecture() -> None:
    text = "".join(p.read_text() for p in PAGES)
    for name in load("make").PICTURES:
        assert f"teaching/{name}.png" in text, name
    lectures = load("decks").LECTURES
    taught = [page for _, pages in lectures.values() for page in pages]
    assert sorted(taught) == sorted(p.stem for p in PAGES if p.stem != "README")


@pytest.mark.parametrize(
    "name", ["3_training", *(pytest.param(n, marks=pytest.mark.slow) for n in LONG_DECKS)]
)
def test_decks_are_the_pages_and_load_nothing(name: str) -> None:
    decks = load("decks")
    for title, pages in [decks.LECTURES[name]]:
        text = decks.deck(title, pages)
        assert not re.findall(r"""(?:src|href)=["'](?!data:)|@import|url\(""", text)
        sections = sum(p.read_text().count("\n## ") for p in PAGES if p.stem in pages)
        assert text.count("<section") == 1 + len(pages) + sections
        assert not re.findall(r"<p>[^<]*(?:!\[|\]\(|```|\*\*|\|)", text), "Markdown left over"
    with pytest.raises(ValueError, match="a slide cannot show"):
        decks.page_slides("# T\n\n## S\n\n> quoted\n")


# What the pictures say ----------------------------------------------------------------------------


def test_maps_of_correlation_and_convolution_are_scipys() -> None:
    pictures, draw = load("pictures.correlation"), np.random.default_rng(0)
    for _ in range(20):
        h, w, r, s = (int(n) for n in draw.integers((3, 3, 1, 1), (8, 8, 4, 4)))
        ifmap, weight = draw.integers(-9, 9, (h, w)), draw.integers(-9, 9, (r, s))
        problem = pictures._problem(ifmap, weight)
        got = pictures.accumulated(problem, ifmap=ifmap, weight=weight)
        assert (got == correlate2d(ifmap, weight, "valid")).all()
        turned = pictures.accumulated(problem, ifmap=ifmap, weight=weight[::-1, ::-1])
        assert (turned == convolve2d(ifmap, weight, "valid")).all()
        upstream = draw.integers(-9, 9, got.shape)
        back = pictures.accumulated(
            problem.with_direction("grad_input"), weight=weight, ofmap=upstream
        )
        framed = np.pad(upstream, ((r - 1,) * 2, (s - 1,) * 2))
        assert (back == correlate2d(framed, weight[::-1, ::-1], "valid")).all()
        to_weight = pictures.accumulated(
            problem.with_direction("grad_weight"), ifmap=ifmap, ofmap=upstream
        )
        assert (to_weight == correlate2d(ifmap, upstream, "valid")).all()


def test_receptive_fields_are_what_is_seen_word_by_word() -> None:
    pictures, draw = load("pictures.receptive"), np.random.default_rng(1)
    for _ in range(60):
        layers = [
            pictures.Window("", *(int(n) for n in draw.integers((1, 1, 0, 1), (5, 4, 3, 4))))
            for _ in range(int(draw.integers(1, 5)))
        ]
        told = pictures.fields(layers)[-1]
        first, second = (pictures.seen(layers, at)[0] for at in (0, 1))
        assert max(first) - min(first) + 1 == told.size
        assert min(first) == told.start and min(second) - min(first) == told.jump


@pytest.mark.parametrize(
    ("fields", "said", "red"),
    [
        ({"stride": 3}, "(5 - 3) / 3 + 1 = 1.67: not whole", 16),
        ({"stride": 2}, "(5 - 3) / 2 + 1 = 2", 0),
        ({"padding": 1}, "(7 - 3) / 1 + 1 = 5", 0),
        ({"dilation": 2}, "(5 - 5) / 1 + 1 = 1", 0),
    ],
)
def test_the_window_says_its_side_and_marks_what_is_not_read(
    fields: dict[str, int], said: str, red: int
) -> None:
    sliding = load("pictures.sliding")
    figure = sliding.windows({"t": Conv2d(M=1, C=1, H=5, W=5, R=3, S=3, **fields)})
    (axes,) = figure.axes
    assert said in {t.get_text() for t in axes.texts}
    from matplotlib.colors import to_rgba

    lost = to_rgba(sliding.LOST)
    assert sum(patch.get_facecolor() == lost for patch in axes.patches) == red


def test_words_of_two_tensors_never_look_alike() -> None:
    sheet = load("pictures.sheet")
    seen = {t: {sheet.word_hue(t, n) for n in range(64)} for t in sheet.FAMILIES}
    assert all(len(colours) == 64 for colours in seen.values())
    assert len(set().union(*seen.values())) == 3 * 64
    script = (TEACHING.parents[1] / "accelsim/view/player/colours.js").read_text()
    told = ", ".join(f"{t}: [{a}, {b}]" for t, (a, b) in sheet.FAMILIES.items())
    assert told in script, "the same hues as in the player"
    assert ", ".join(map(str, sheet.STEPS)) in script, "and the same steps"


def test_a_dataflows_words_and_steps_are_the_films() -> None:
    arrays = load("pictures.arrays")
    shown = arrays.film("ws")
    assert shown.cycles == 12 and shown.rows == shown.cols == 3
    held = next(p for p in shown.planes if p.label == "weight")
    assert arrays.word_name(shown, "weight", int(held.words[-1, 1, 2])) == "w21"
    figure = arrays.row_stationary(3, 3, stride=2)
    texts = [t.get_text() for t in figure.axes[0].texts]
    rows = [t for t in texts if t.startswith("ifmap row")]
    assert rows == [f"ifmap row {2 * e + r}" for r in range(3) for e in range(3)]
    assert "7 ifmap rows for 9 PEs" in texts


def _oklab(colour: str) -> np.ndarray:
    """Where distances are what eyes see (Ottosson 2020)."""
    from matplotlib.colors import to_rgb

    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    axes = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return axes @ np.cbrt(cones @ linear)


ROWS = [(3, 3, 1), (3, 3, 2), (3, 4, 2), *((r, e, 1) for r, e in ((3, 4), (3, 5), (5, 4), (4, 6)))]


@pytest.mark.parametrize(("filter_rows", "ofmap_rows", "stride"), ROWS)
def test_rows_are_joined_along_diagonals_and_along_the_array(
    filter_rows: int, ofmap_rows: int, stride: int
) -> None:
    """Every two neighbours on a diagonal that have one ifmap row have a line of its colour between
    them, a filter row's arrow reaches every PE, a sum's goes on from every PE; rows look different.
    """
    arrays, sheet = load("pictures.arrays"), load("pictures.sheet")
    rows = stride * (ofmap_rows - 1) + filter_rows
    seen = [_oklab(sheet.hue(n)) for n in range(rows)]
    assert all(np.linalg.norm(a - b) > 0.1 for a, b in itertools.combinations(seen, 2))
    (axes,) = arrays.row_stationary(filter_rows, ofmap_rows, stride).axes
    lines = {}
    for line in axes.lines:
        ends = tuple(zip(line.get_xdata(), line.get_ydata(), strict=True))
        lines[ends] = line.get_color()
    joined = 0
    for r in range(stride, filter_rows):
        for e in range(ofmap_rows - 1):
            (x, y), (to, up) = arrays._pe(r, e), arrays._pe(r - stride, e + 1)
            ends = ((x + 3.6, y + 1.7), (to + 0.2, up + 1.7))
            assert lines[ends] == sheet.hue(stride * e + r)
            joined += 1
    assert len(lines) == joined
    arrows = [p for p in axes.patches if hasattr(p, "get_arrowstyle")]
    heads = {tuple(map(float, p._posA_posB[1])) for p in arrows}
    for r in range(filter_rows):
        for e in range(ofmap_rows):
            x, y = arrays._pe(r, e)
            assert (x - 0.1, y + 0.6) in heads, "the filter row comes to every PE"
            assert (x + 1.9, y + arrays.PE_DOWN - 0.05) in heads, "the sum goes on"


def test_the_skew_says_what_its_colours_mean() -> None:
    arrays, sheet = load("pictures.arrays"), load("pictures.sheet")
    (axes,) = arrays.skew(("ws", "os", "is"), pixels=8).axes
    texts = {t.get_text(): t.get_position() for t in axes.texts}
    assert "PE (i, j) multiplies, i + j =" in texts and "edges after PE (0, 0)" in texts
    y = texts["edges after PE (0, 0)"][1]
    legend = [p.get_facecolor() for p in axes.patches if abs(p.get_y() + 0.5 - y) < 0.1]
    from matplotlib.colors import to_rgba

    assert legend == [to_rgba(sheet.HUES[n]) for n in range(5)]


@pytest.mark.parametrize("pixels", [3, 5, 7, 4, 8])
def test_arrays_are_no_wider_than_a_notebook_shows(pixels: int) -> None:
    """Seven arrays in a line were shrunk by half, and their words with them."""
    arrays, sheet = load("pictures.arrays"), load("pictures.sheet")
    side = 2 if pixels == 3 else 3
    for figure in (
        arrays.snapshots(("ws",), edges=range(1, 8), pixels=pixels, side=side),
        arrays.skew(("ws", "os", "is"), pixels=pixels, side=side),
    ):
        assert figure.get_figwidth() <= arrays.WIDEST * sheet.UNIT
        (axes,) = figure.axes
        right, low = axes.get_xlim()[1], axes.get_ylim()[0]
        assert all(p.get_x() + p.get_width() <= right for p in axes.patches)
        assert all(p.get_y() + p.get_height() <= low for p in axes.patches)


@pytest.mark.slow
def test_pictures_are_those_that_code_draws() -> None:
    make = load("make")
    for name in make.PICTURES:
        assert make.png(name) == (FIGURES / f"{name}.png").read_bytes(), (
            f"{name}: run python docs/teaching/make.py {name}"
        )
