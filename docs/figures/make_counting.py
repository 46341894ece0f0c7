"""Draws the pictures of docs/counting.md:  PYTHONPATH=.:tests python docs/figures/make_counting.py

Every tile and number drawn is taken from the page's own example (its first block of code), that is
from the oracle's sets, and totals are compared with what accelsim counts.  Colours are Okabe and
Ito's; what they say, hatching says too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

HERE = Path(__file__).parent
UNIT = 0.235  # inches a cell
TEXT = 8.0


def example() -> Any:
    """The page's first block: conv, nest, count, held, words, oracle, as_oracle."""
    page = (HERE.parent / "counting.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```\n", page, re.DOTALL)[0], names)
    return SimpleNamespace(**names)


PAGE = example()
BASE = "F:3:dram F:2:dram:row F:1:pe S:1:pe"


# -- drawing ---------------------------------------------------------------------------------------


class Style(NamedTuple):
    face: str
    edge: str
    ink: str
    hatch: str = ""
    dashed: bool = False


GREY, LINE = "#555555", "#b8b8b8"
BLANK = Style("white", LINE, "#8a8a8a")
ABSENT = Style("white", LINE, "#8a8a8a", dashed=True)
NEW = (Style("#0072B2", "#004a75", "white"), Style("#E69F00", "#8f6300", "black"))
KEPT = (
    Style("#d3e6f3", "#0072B2", "black", "////"),
    Style("#fbe8c4", "#b57d00", "black", "\\\\\\\\"),
)
READ = Style("#009E73", "#00644a", "white")
BOTH = Style("#CC79A7", "#8a3f68", "black", "xx")
PLAIN = Style("#ececec", "#777777", "black")


class Sheet:
    """A figure ruled in cells, the origin at the top left."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width * UNIT, height * UNIT), facecolor="white")
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.axis("off")

    def box(
        self,
        x: float,
        y: float,
        text: object = "",
        style: Style = BLANK,
        w: float = 1,
        h: float = 1,
        size: float = TEXT,
    ) -> None:
        look = {"linestyle": (0, (2, 2)) if style.dashed else "solid", "linewidth": 0.7}
        self.axes.add_patch(
            Rectangle(
                (x, y),
                w,
                h,
                facecolor=style.face,
                edgecolor=style.edge,
                hatch=style.hatch,
                zorder=2,
                **look,
            )
        )
        if text != "":
            back = (
                {"facecolor": style.face, "edgecolor": "none", "pad": 0.6} if style.hatch else None
            )
            self.text(
                x + w / 2, y + h / 2, text, ha="center", size=size, color=style.ink, bbox=back
            )

    def text(
        self,
        x: float,
        y: float,
        text: object,
        *,
        ha: str = "left",
        size: float = TEXT,
        color: str = "black",
        **more: Any,
    ) -> None:
        self.axes.text(
            x,
            y,
            str(text),
            ha=ha,
            va="center_baseline",
            fontsize=size,
            color=color,
            zorder=4,
            **more,
        )

    def strip(
        self,
        x: float,
        y: float,
        words: Iterable[int],
        styles: Mapping[int, Style],
        *,
        blank: Style = BLANK,
    ) -> None:
        """A row of numbered words."""
        for k, word in enumerate(words):
            self.box(x + k, y, word, styles.get(word, blank))

    def arrow(
        self,
        a: tuple[float, float],
        b: tuple[float, float],
        color: str = GREY,
        width: float = 1.2,
        **more: Any,
    ) -> None:
        look = {"arrowstyle": "-|>", "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0, "zorder": 3}
        self.axes.add_patch(FancyArrowPatch(a, b, color=color, linewidth=width, **look, **more))

    def key(self, x: float, y: float, entries: Sequence[tuple[Style, str, float]]) -> None:
        """Swatches with what they mean; each entry says how much room it takes."""
        for style, meaning, room in entries:
            self.box(x, y + 0.1, "", style, w=1.3, h=0.8)
            self.text(x + 1.7, y + 0.5, meaning, color=GREY)
            x += room


def marks(new: Iterable[int], kept: Iterable[int], pe: int) -> dict[int, Style]:
    return dict.fromkeys(kept, KEPT[pe]) | dict.fromkeys(new, NEW[pe])


def agree(drawn: object, counted: object) -> None:
    if drawn != counted:
        raise AssertionError(f"the picture says {drawn}, the count {counted}")


def steps_of(nest: Any, tensor: str, empty: int) -> list[tuple[list[set[int]], list[set[int]]]]:
    """Per step the tiles before and now, one per PE."""
    found, previous = [], [set[int]() for _ in range(empty)]
    for tiles in PAGE.held(nest, tensor):
        now = [old if tile is None else tile for tile, old in zip(tiles, previous, strict=True)]
        found.append((previous, now))
        previous = now
    return found


# -- the figures -----------------------------------------------------------------------------------


def loops() -> Figure:
    """F = 7 by 3, by 2 over two PEs; and by 2 alone."""
    s = Sheet(31, 8.6)
    left, wide = 6.2, 2.0
    tiles = list(PAGE.held(PAGE.nest(PAGE.conv(), BASE), "ofmap"))

    def bars(y: float, pieces: Iterable[tuple[set[int], Style]], name: str, note: str) -> None:
        s.text(0.2, y + 0.6, name, family="monospace")
        for piece, style in pieces:
            a, z = min(piece), max(piece) + 1
            s.box(
                left + wide * a + 0.12, y, len(piece), style, w=wide * (z - a) - 0.24, h=1.2, size=9
            )
        s.text(left + wide * 7 + 0.8, y + 0.6, note, color=GREY)

    for f in range(7):
        s.box(left + wide * f, 0.3, f, BLANK, w=wide, h=1)
    s.text(0.2, 0.8, "outputs f")
    s.text(left + wide * 7 + 0.8, 0.8, "7 outputs", color=GREY)
    whole = [a | b for a, b in tiles]
    bars(1.9, ((w, PLAIN) for w in whole), "F:3:dram", "3 trips, the last is short")
    short = [(t, NEW[pe]) for pair in tiles for pe, t in enumerate(pair) if t]
    bars(3.6, short, "F:2:dram:row", f"{len(short)} pieces; PE 1 idles once")
    agree(len(short), 5)
    for step, (a, _) in enumerate(tiles):
        s.text(
            left + wide * (min(a) + len(whole[step]) / 2),
            5.2,
            f"step {step}",
            ha="center",
            color=GREY,
        )
    alone = [{0, 1}, {2, 3}, {4, 5}, {6}]
    bars(5.9, ((t, PLAIN) for t in alone), "F:2 alone", f"{len(alone)} pieces")
    agree(
        len(alone), len(list(PAGE.held(PAGE.nest(PAGE.conv(), "F:2:dram F:1:pe S:1:pe"), "ofmap")))
    )
    s.key(left, 7.4, [(NEW[0], "on PE 0", 6), (NEW[1], "on PE 1", 6)])
    return s.figure


def tile() -> Figure:
    """What two outputs need."""
    s = Sheet(28, 10.6)
    left = 6.5
    stored = {"padding": {"stored_from": "pe"}}
    cases = [
        ("stride 1", PAGE.conv(), {}, ""),
        ("stride 2", PAGE.conv(F=4, stride=2), {}, ""),
        ("stride 4", PAGE.conv(F=2, stride=4, spare=2), {}, "3 is a gap; 7, 8 never move"),
        ("padding 1", PAGE.conv(pad=1), {}, "zeros are no words"),
        ("padding 1, stored", PAGE.conv(pad=1), stored, "a zero is a word"),
    ]
    s.text(0.2, 0.7, "outputs 0 and 1 need", color=GREY)
    s.text(left + 12.2, 0.7, "words", color=GREY)
    for row, (name, problem, options, note) in enumerate(cases):
        y = 1.7 + row * 1.75
        (words,) = next(PAGE.held(PAGE.nest(problem, "F:2:dram F:1:pe S:1:pe", **options), "ifmap"))
        pad = problem.padding[2]
        s.text(0.2, y + 0.5, name)
        for at in range(-pad, problem.W + pad):
            outside = not 0 <= at < problem.W
            style = NEW[0] if at in words else ABSENT if outside else BLANK
            s.box(left + 1 + at, y, "0" if outside else at, style)
        s.text(left + 12.7, y + 0.5, len(words), ha="center", weight="bold", size=9)
        s.text(left + 14, y + 0.5, note, color=GREY, size=7.5)
        for n in range(2):  # the two windows
            a = left + 1 + n * problem.stride[1] - pad
            s.axes.plot(
                [a + 0.08, a + problem.S - 0.08],
                [y - 0.13 - 0.17 * n] * 2,
                color="black",
                linewidth=1.0,
                solid_capstyle="butt",
            )
    return s.figure


def steps() -> Figure:
    """Two images: what stands still and what is empty while PE 1 idles."""
    s = Sheet(34, 13.2)
    nest = PAGE.nest(PAGE.conv(N=2), "N:1:dram " + BASE)
    left, wide = 6.2, 4.4
    table = {t: list(PAGE.held(nest, t)) for t in ("ofmap", "ifmap", "weight")}
    for step in range(6):
        s.text(left + wide * (step + 0.5), 0.6, f"step {step}", ha="center")
    for image in (0, 1):
        s.text(left + wide * (3 * image + 1.5), 1.5, f"image {image}", ha="center", color=GREY)
    taken = 0
    for pe in (0, 1):
        for row, tensor in enumerate(("ofmap", "ifmap", "weight")):
            y = 2.3 + pe * 4.8 + row * 1.4
            s.text(0.2, y + 0.55, f"PE {pe}" if row == 0 else "", weight="bold")
            s.text(2.8, y + 0.55, tensor)
            before: set[int] = set()
            for step, tiles in enumerate(table[tensor]):
                now = tiles[pe]
                if now is None:
                    style, text = KEPT[pe], "stands still"
                elif not now:
                    style, text = ABSENT, "empty"
                else:
                    kept = tensor == "weight" and now == before
                    style, text = (KEPT if kept else NEW)[pe], PAGE.words(now)
                    taken += len(now - before) if tensor == "weight" else 0
                before = before if now is None else now
                s.box(left + wide * step + 0.1, y, text, style, w=wide - 0.2, h=1.1, size=7.5)
    agree(taken, PAGE.count(nest)["weight", "pe"].taken)
    s.key(
        left,
        11.9,
        [
            (NEW[0], "new", 4),
            (KEPT[0], "kept from the step before", 11),
            (ABSENT, "idle by a dimension of its own", 9),
        ],
    )
    return s.figure


def operands() -> Figure:
    """Tiles, what is new, and what the parent reads."""
    s = Sheet(40.5, 10.2)
    base = PAGE.nest(PAGE.conv(), BASE)
    left, pitch = 5.4, 11.2
    rows = {"PE 0": 1.5, "PE 1": 3.0, "multicast": 5.2, "neighbours": 6.7}
    s.text(0.2, rows["multicast"] - 0.5, "dram reads", color=GREY)
    totals = dict.fromkeys(rows, 0)
    for name, y in rows.items():
        s.text(0.2, y + 0.5, name, weight="bold" if name.startswith("PE") else "normal")
    for step, (before, now) in enumerate(steps_of(base, "ifmap", 2)):
        x = left + pitch * step
        s.text(x + 4.5, 0.7, f"step {step}", ha="center")
        new = [a - b for a, b in zip(now, before, strict=True)]
        drawn = {
            "PE 0": new[0],
            "PE 1": new[1],
            "multicast": set.union(*new),
            "neighbours": set.union(*now) - set.union(*before),
        }
        for pe in (0, 1):
            s.strip(x, rows[f"PE {pe}"], range(9), marks(new[pe], now[pe] & before[pe], pe))
        for name in ("multicast", "neighbours"):
            s.strip(x, rows[name], range(9), dict.fromkeys(drawn[name], READ))
        for name, words in drawn.items():
            totals[name] += len(words)
            s.text(x + 9.6, rows[name] + 0.5, len(words), ha="center", weight="bold")
    for name, y in rows.items():
        s.text(left + 3 * pitch - 0.7, y + 0.5, f"= {totals[name]}", weight="bold")
    m = PAGE.count(base)["ifmap", "pe"]
    agree((totals["PE 0"] + totals["PE 1"], totals["multicast"]), (m.taken, m.read))
    agree(
        totals["neighbours"],
        PAGE.count(PAGE.nest(PAGE.conv(), BASE, "neighbour"))["ifmap", "pe"].read,
    )
    entries = [
        (NEW[0], "taken by PE 0", 7.5),
        (KEPT[0], "kept", 4.5),
        (NEW[1], "taken by PE 1", 7.5),
        (READ, "read from dram", 7),
    ]
    s.key(left, 8.6, entries)
    return s.figure


def networks() -> Figure:
    """Step 1 on 2 x 2 PEs under the four kinds."""
    s = Sheet(38, 11.9)
    loops_ = "F:3:dram F:2:dram:row M:1:dram:col F:1:pe S:1:pe"
    nest = PAGE.nest(PAGE.conv(M=2), loops_)
    before, now = steps_of(nest, "ifmap", 4)[1]
    new = [a - b for a, b in zip(now, before, strict=True)]  # PE (0,0) (0,1) (1,0) (1,1)
    lines = [new[0] | new[1], new[2] | new[3]]
    links = set.union(*now) - set.union(*before)
    reads = {
        "unicast": sum(map(len, new)),
        "systolic": sum(map(len, lines)),
        "multicast": len(set.union(*new)),
        "neighbour": len(links),
    }
    titles = {
        "unicast": "unicast",
        "systolic": "systolic lines",
        "multicast": "multicast",
        "neighbour": "neighbour links",
    }
    for k, (kind, title) in enumerate(titles.items()):
        x = 0.6 + 9.5 * k
        s.text(x + 4.1, 0.7, title, ha="center", weight="bold", size=9)
        s.box(x + 1.4, 1.5, "dram", PLAIN, w=5.4, h=1.2)
        centre = [[(x + 2.0, 5.0), (x + 6.2, 5.0)], [(x + 2.0, 8.2), (x + 6.2, 8.2)]]
        for r in (0, 1):
            for c in (0, 1):
                a, b = centre[r][c]
                s.box(
                    a - 1.3,
                    b - 0.7,
                    PAGE.words(new[2 * r + c]),
                    KEPT[r]._replace(hatch=""),
                    w=2.6,
                    h=1.4,
                )
        low = 2.7
        if kind == "unicast":
            for c, side in ((0, -1.8), (1, 1.8)):
                a, b = centre[0][c]
                s.arrow((a, low), (a, b - 0.7), READ.face)
                out, at = centre[1][c][0] + side, centre[1][c][1]
                s.axes.plot([out, out], [2.1, at], color=READ.face, linewidth=1.2, zorder=1)
                s.axes.plot(
                    [x + 4.1 + (2.7 if side > 0 else -2.7), out],
                    [2.1, 2.1],
                    color=READ.face,
                    linewidth=1.2,
                    zorder=1,
                )
                s.arrow((out, at), (out - (0.5 if side > 0 else -0.5), at), READ.face)
        elif kind == "systolic":
            for r in (0, 1):
                b = centre[r][0][1]
                out = x + 0.2
                s.axes.plot(
                    [x + 1.4, out, out], [2.1, 2.1, b], color=READ.face, linewidth=1.2, zorder=1
                )
                s.arrow((out, b), (x + 0.7, b), READ.face)
                s.arrow((x + 3.3, b), (x + 4.9, b), READ.face)
        elif kind == "multicast":
            mid = x + 4.1
            s.axes.plot([mid, mid], [low, 8.2], color=READ.face, linewidth=1.2, zorder=1)
            for r in (0, 1):
                b = centre[r][0][1]
                s.arrow((mid, b), (x + 3.3, b), READ.face)
                s.arrow((mid, b), (x + 4.9, b), READ.face)
        else:
            mid = x + 4.1
            s.axes.add_patch(
                Rectangle(
                    (x + 0.3, 3.9),
                    7.6,
                    5.4,
                    facecolor="none",
                    edgecolor=GREY,
                    linewidth=0.7,
                    linestyle=(0, (2, 2)),
                )
            )
            s.arrow((mid, low), (mid, 3.9), READ.face)
            for a, b in ((centre[1][0], centre[0][0]), (centre[1][1], centre[0][1])):
                s.arrow(
                    (a[0], a[1] - 0.7), (b[0], b[1] + 0.7), NEW[1].edge, linestyle=(0, (3, 1.5))
                )
            for r in (0, 1):
                b = centre[r][0][1]
                s.arrow((x + 3.3, b), (x + 4.9, b), NEW[1].edge, linestyle=(0, (3, 1.5)))
            s.text(mid + 0.35, 3.3, f"only {PAGE.words(links)}", color=READ.edge, size=7.5)
            s.text(mid, 6.6, "4 from below", ha="center", color=NEW[1].edge, size=7.5)
        s.text(x + 4.1, 10.0, f"step 1 reads {reads[kind]}", ha="center")
        total = PAGE.count(PAGE.nest(PAGE.conv(M=2), loops_, kind))["ifmap", "pe"].read
        s.text(x + 4.1, 11.2, f"all steps {total}", ha="center", color=GREY)
    return s.figure


def accumulated() -> Figure:
    """The ifmap as the accumulated tensor: drains and arrivals."""
    s = Sheet(40.5, 9.0)
    back = PAGE.nest(PAGE.conv(direction="grad_input"), BASE)
    left, pitch = 5.4, 11.2
    rows = {"PE 0": 1.5, "PE 1": 3.0, "arrive": 5.2}
    walk = steps_of(back, "ifmap", 2)
    changes = [*walk[1:], (walk[-1][1], [set(), set()])]
    totals = dict.fromkeys(rows, 0)
    s.text(0.2, 4.7, "at dram", color=GREY)
    for name, y in rows.items():
        s.text(0.2, y + 0.5, name, weight="bold" if name.startswith("PE") else "normal")
    for k, (before, now) in enumerate(changes):
        x = left + pitch * k
        s.text(x + 4.5, 0.7, f"before step {k + 1}" if k < 2 else "at the end", ha="center")
        out = [b - a for a, b in zip(now, before, strict=True)]
        drawn = {"PE 0": out[0], "PE 1": out[1], "arrive": set.union(*out)}
        for pe in (0, 1):
            s.strip(x, rows[f"PE {pe}"], range(9), marks(out[pe], now[pe] & before[pe], pe))
        twice = out[0] & out[1]
        s.strip(
            x,
            rows["arrive"],
            range(9),
            dict.fromkeys(drawn["arrive"], READ) | dict.fromkeys(twice, BOTH),
        )
        for name, words in drawn.items():
            totals[name] += len(words)
            s.text(x + 9.6, rows[name] + 0.5, len(words), ha="center", weight="bold")
    for name, y in rows.items():
        s.text(left + 3 * pitch - 0.7, y + 0.5, f"= {totals[name]}", weight="bold")
    m = PAGE.count(back)["ifmap", "pe"]
    agree((totals["PE 0"] + totals["PE 1"], totals["arrive"]), (m.drained, m.arrived))
    entries = [
        (NEW[0], "drained by PE 0", 8),
        (NEW[1], "by PE 1", 5.5),
        (KEPT[0], "stays", 5),
        (READ, "arrives", 5),
    ]
    s.key(left, 7.3, [*entries, (BOTH, "two sums, added on the way", 9)])
    return s.figure


def residency() -> Figure:
    """Outputs that leave and come back: first and later arrivals at dram."""
    s = Sheet(36, 8.2)
    spill = PAGE.nest(PAGE.conv(), "S:2:dram F:3:dram F:1:pe S:1:pe")
    left, wide = 4.4, 4.9
    seen: set[int] = set()
    arrived = updated = 0
    for name, y in (("PE holds o", 1.5), ("dram word", 3.7)):
        s.text(0.2, y + 0.5, name)
    for step, ((o,), (w,)) in enumerate(
        zip(PAGE.held(spill, "ofmap"), PAGE.held(spill, "weight"), strict=True)
    ):
        x = left + wide * step
        s.text(
            x + 2.2, 0.7, f"step {step}, taps {PAGE.words(w)}", ha="center", size=7.5, color=GREY
        )
        for k, word in enumerate(sorted(o)):
            at = x + 0.7 + k + (3 - len(o)) / 2
            s.box(at, 1.5, word, NEW[0])
            s.arrow((at + 0.5, 2.6), (at + 0.5, 3.6))
            s.box(at, 3.7, word, BOTH if word in seen else READ)
            updated += word in seen
        s.text(x + 2.2, 5.5, "read, add, write" if o <= seen else "write", ha="center", size=7.5)
        arrived += len(o)
        seen |= o
    m = PAGE.count(spill)["ofmap", "pe"]
    agree((arrived, updated), (m.arrived, m.updated))
    entries = [
        (READ, f"first arrivals: {arrived - updated} written", 12),
        (BOTH, f"later arrivals: {updated} read and written", 12),
    ]
    s.key(left, 6.7, entries)
    return s.figure


def mac() -> Figure:
    """The MAC steps of both PEs in lockstep."""
    s = Sheet(38, 7.6)
    nest = PAGE.nest(PAGE.conv(), BASE, pe=("ifmap", "ofmap"))
    space = PAGE.oracle.Space(*PAGE.as_oracle(nest))
    left, read, taken = 5.4, 0, 0
    for name, y in (("PE 0, output f", 1.5), ("PE 1, output f", 2.9), ("dram reads w", 5.0)):
        s.text(0.2, y + 0.5, name)
    slots = list(space.steps())
    for k, step in enumerate(slots):
        x = left + 2 * k + 0.5 * step[0]
        if k == 0 or step[0] != slots[k - 1][0]:
            s.text(x, 0.7, f"step {step[0]}", color=GREY)
        weights = set()
        for pe in (0, 1):
            at = space.setting(step, (pe,))
            pieces = space.pieces(space.mac, at)
            there = all(pieces)
            f = "" if not there else next(iter(space.tile("ofmap", space.mac, at, pieces)))[-1]
            s.box(x, 1.5 + 1.4 * pe, f, NEW[pe] if there else ABSENT, w=1.8, h=1.1)
            if there:
                taken += 1
                weights |= space.tile("weight", space.mac, at, pieces)
        (word,) = weights
        read += 1
        s.box(x, 5.0, word[-1], READ, w=1.8, h=1.1)
        s.arrow((x + 0.9, 4.95), (x + 0.9, 4.1))
    m = PAGE.count(nest)["weight", "mac"]
    agree((taken, read), (m.taken, m.read))
    s.key(left + 24, 6.3, [(ABSENT, "idle", 4)])
    s.text(
        left, 6.8, f"{taken} MACs take {taken} weights; {read} MAC steps read {read}", color=GREY
    )
    return s.figure


def odometer() -> Figure:
    """Ten steps: which loop advances and what is kept."""
    nest = PAGE.nest(PAGE.conv(M=2), "F:3:dram M:1:dram F:2:dram F:1:pe S:1:pe")
    s = Sheet(30, 15.2)
    space = PAGE.oracle.Space(*PAGE.as_oracle(nest))
    settings = list(dict.fromkeys(full[:3] for full in space.steps()))
    tiles = [tile for (tile,) in PAGE.held(nest, "ifmap")]
    names, x = ("F:3", "M:1", "F:2"), 9.6
    for i, name in enumerate(names):
        s.text(2.4 + 2.2 * i + 0.9, 0.8, name, ha="center", family="monospace")
    s.text(x + 4.5, 0.8, "ifmap tile", ha="center")
    s.text(x + 11, 0.8, "kept", ha="center")
    sums = dict.fromkeys(names, 0)
    for k, (at, tile_) in enumerate(zip(settings, tiles, strict=True)):
        y = 1.6 + 1.2 * k
        before = tiles[k - 1] if k else set()
        advances = next((i for i in range(3) if k and at[i] != settings[k - 1][i]), None)
        s.text(0.2, y + 0.5, f"step {k}", color=GREY, size=7.5)
        for i in range(3):
            style = PLAIN if i == advances else BLANK
            s.box(2.4 + 2.2 * i, y, at[i], style._replace(ink="black"), w=1.8)
        s.strip(x, y, range(9), marks(tile_ - before, tile_ & before, 0))
        if advances is None:
            continue
        kept = len(tile_ & before)
        sums[names[advances]] += kept
        s.text(x + 11, y + 0.5, kept, ha="center", weight="bold")
        s.text(
            x + 12.3,
            y + 0.5,
            f"{names[advances]} advances" + (", all is kept" if kept == len(tile_) else ""),
            color=GREY,
            size=7.5,
        )
    everything = sum(map(len, tiles))
    taken = everything - sum(sums.values())
    agree(taken, PAGE.count(nest)["ifmap", "pe"].taken)
    kept_text = ", ".join(f"{n} by {name}" for name, n in sums.items())
    s.text(0.2, 14.4, f"{everything} in all tiles; kept {kept_text}; taken {taken}", color=GREY)
    s.key(x + 10.2, 13.9, [(NEW[0], "taken", 4), (KEPT[0], "kept", 4)])
    return s.figure


def boxes() -> Figure:
    """Two boxes of a real two-dimensional ifmap."""
    nest = PAGE.nest(PAGE.conv(E=7, R=3, H=9), "E:4:dram F:6:dram F:1:pe E:1:pe R:1:pe S:1:pe")
    space = PAGE.oracle.Space(*PAGE.as_oracle(nest))
    tiles = []
    for step in dict.fromkeys(full[:2] for full in space.steps()):
        at = space.setting(step, ())
        tiles.append({word[3:] for word in space.tile("ifmap", 1, at, space.pieces(1, at))})
    s = Sheet(27, 11.2)
    before, now = tiles[1], tiles[2]
    for h in range(9):
        for w in range(9):
            word = (h, w)
            style = (
                KEPT[0]
                if word in before & now
                else NEW[0]
                if word in now
                else KEPT[1]
                if word in before
                else BLANK
            )
            s.box(2 + w, 1.6 + h, "", style)
    for k in range(9):
        s.text(2.5 + k, 1.1, k, ha="center", color=GREY, size=7)
        s.text(1.5, 2.1 + k, k, ha="center", color=GREY, size=7)
    s.text(6.5, 0.4, "column w", ha="center", color=GREY, size=7)
    s.text(0.6, 6.1, "row h", ha="center", color=GREY, size=7, rotation=90)
    rows, cols = ({w[axis] for w in before & now} for axis in (0, 1))
    notes = [
        (KEPT[1], f"held before: {len(before)} words, some gone now"),
        (KEPT[0], f"kept: {len(rows)} rows x {len(cols)} columns = {len(before & now)}"),
        (NEW[0], f"taken: {len(now)} - {len(before & now)} = {len(now - before)}"),
    ]
    for k, (style, text) in enumerate(notes):
        s.box(12.5, 3.0 + 1.6 * k, "", style, w=1.3)
        s.text(14.3, 3.5 + 1.6 * k, text)
    s.text(12.5, 8.6, "E advances from 0 to 1,", color=GREY)
    s.text(12.5, 9.6, "F jumps from its last trip to its first", color=GREY)
    agree(
        sum(map(len, tiles)) - sum(len(a & b) for a, b in pairwise(tiles)),
        PAGE.count(nest)["ifmap", "pe"].taken,
    )
    return s.figure


def sums() -> Figure:
    """S, O, U, K, X, Y, L of the example, word by word."""
    base = PAGE.nest(PAGE.conv(), BASE)
    walk = steps_of(base, "ifmap", 2)
    s = Sheet(41.5, 17.8)
    left, pitch = 6.4, 11.2
    labels = ["Q of PE 0", "Q of PE 1", "C of PE 0", "C of PE 1"]
    marks_ = {
        "U": "union of C",
        "K": "U, kept by all",
        "L": "U and X",
        "X": "union of Q",
        "Y": "X, still kept",
    }
    places = dict(
        zip([*labels, *marks_], (1.5, 2.7, 4.5, 5.7, 7.7, 8.9, 10.1, 11.9, 13.1), strict=True)
    )
    for name, y in places.items():
        s.text(0.2, y + 0.5, name, weight="bold" if name in marks_ else "normal")
        s.text(1.5, y + 0.5, marks_.get(name, ""), color=GREY, size=7)
    totals = dict.fromkeys("SOUKXYL", 0)
    last = len(set.union(*walk[-1][1]))
    for step, (q, c) in enumerate(walk):
        x = left + pitch * step
        s.text(
            x + 4.5,
            0.7,
            f"step {step}" + (f": i = {step}" if step else ": nothing advances"),
            ha="center",
        )
        union, old = set.union(*c), set.union(*q)
        found = {
            "U": union,
            "K": {w for w in union if all(w in b for a, b in zip(c, q, strict=True) if w in a)},
            "L": union & old,
            "X": old,
            "Y": {w for w in old if all(w in a for a, b in zip(c, q, strict=True) if w in b)},
        }
        for pe in (0, 1):
            if step:
                s.strip(x, places[f"Q of PE {pe}"], range(9), dict.fromkeys(q[pe], NEW[pe]))
            s.strip(x, places[f"C of PE {pe}"], range(9), marks(c[pe] - q[pe], c[pe] & q[pe], pe))
        for name, words in found.items():
            if step == 0 and name != "U":
                continue
            s.strip(x, places[name], range(9), dict.fromkeys(words, READ))
            s.text(x + 9.6, places[name] + 0.5, len(words), ha="center", weight="bold")
            totals[name] += len(words)
        totals["S"] += sum(map(len, c))
        totals["O"] += sum(len(a & b) for a, b in zip(c, q, strict=True))
        for pe in (0, 1):
            s.text(x + 9.6, places[f"C of PE {pe}"] + 0.5, len(c[pe]), ha="center", weight="bold")
    for name in marks_:
        s.text(left + 3 * pitch - 0.7, places[name] + 0.5, f"= {totals[name]}", weight="bold")
    s.text(left + 3 * pitch - 0.7, places["C of PE 0"] + 0.5, f"S = {totals['S']}", weight="bold")
    s.text(left + 3 * pitch - 0.7, places["C of PE 1"] + 0.5, f"O = {totals['O']}", weight="bold")
    m, o = (
        PAGE.count(base)["ifmap", "pe"],
        PAGE.count(PAGE.nest(PAGE.conv(direction="grad_input"), BASE))["ifmap", "pe"],
    )
    agree((totals["S"] - totals["O"], totals["U"] - totals["K"]), (m.taken, m.read))
    agree(last + totals["X"] - totals["Y"], o.arrived)
    entries = [
        (NEW[0], "PE 0", 4.5),
        (NEW[1], "PE 1", 4.5),
        (KEPT[0], "in C and Q of one PE: O", 10),
        (READ, "the set that is counted", 8),
    ]
    s.key(left, 14.9, entries)
    up = f"arrivals X(end) + X - Y = {last} + {totals['X']} - {totals['Y']} = {o.arrived}"
    s.text(
        left,
        16.8,
        f"taken S - O = {m.taken};  multicast U - K = {m.read};  links U - L = "
        f"{totals['U'] - totals['L']};  {up}",
    )
    return s.figure


def sliding() -> Figure:
    """Rectangles of (f, s), the diagonals they meet, and where a loop over either dimension moves
    them.
    """
    s = Sheet(31, 10.8)
    moved = Style("#b9e5d6", "#00644a", "black")
    dense = {
        "tile": (range(3, 6), range(2)),
        "F advances": (range(6, 7), range(2)),
        "S advances": (range(3, 6), range(2, 3)),
    }
    apart = {"tile": (range(2), range(2)), "S advances": (range(2), range(2, 3))}
    cases = [
        ("stride 1: word f + s", PAGE.conv(), 5.4, dense),
        ("stride 4: word 4 f + s", PAGE.conv(F=2, stride=4, spare=2), 20.5, apart),
    ]
    looks = {"tile": NEW[0], "F advances": KEPT[1], "S advances": moved}
    for title, problem, x, rectangles in cases:
        s.text(x, 0.7, title, weight="bold")
        at = {(f, t): problem.stride[1] * f + t for f in range(problem.F) for t in range(problem.S)}
        of = {(f, t): looks[name] for name, (fs, ss) in rectangles.items() for f in fs for t in ss}
        for (f, t), word in at.items():
            s.box(x + f, 2.3 + t, word, of.get((f, t), BLANK))
        for f in range(problem.F):
            s.text(x + f + 0.5, 1.8, f, ha="center", color=GREY, size=7)
        for t in range(problem.S):
            s.text(x - 0.5, 2.8 + t, f"s = {t}" if t == 0 else t, ha="right", color=GREY, size=7)
        s.text(x - 0.5, 1.8, "f =", ha="right", color=GREY, size=7)
        for k, (name, (fs, ss)) in enumerate(rectangles.items()):
            words = {at[f, t] for f in fs for t in ss}
            s.text(x - 0.5, 6.9 + 1.4 * k, name, ha="right", size=7.5)
            s.strip(x, 6.4 + 1.4 * k, range(problem.W), dict.fromkeys(words, looks[name]))
            s.text(
                x + 9.4,
                6.9 + 1.4 * k,
                f"{len(fs) * len(ss)} pairs, {len(words)} words" if k == 0 else "",
                size=7.5,
                color=GREY,
            )
    steps_ = [
        tile
        for (tile,) in PAGE.held(PAGE.nest(PAGE.conv(), "F:3:dram S:2:dram F:1:pe S:1:pe"), "ifmap")
    ]
    agree(([3, 4, 5, 6], [5, 6, 7], [6, 7]), tuple(sorted(tile) for tile in steps_[2:5]))
    return s.figure


def fused() -> Figure:
    """X over two images; the (k, x) pairs of two folds."""
    s = Sheet(34, 12.0)
    chunks = PAGE.nest(PAGE.conv(N=2), "X:4:dram X:1:pe S:1:pe", pe=("weight", "ofmap"))
    space = PAGE.oracle.Space(*PAGE.as_oracle(chunks))
    looks = (NEW[0], NEW[1], KEPT[0], KEPT[1])
    s.text(0.2, 0.7, "ofmap, X = [N, E, F] in chunks of 4", weight="bold")
    for n in (0, 1):
        s.text(0.2, 2.4 + 1.2 * n, f"image {n}")
    for step in dict.fromkeys(full[:1] for full in space.steps()):
        at = space.setting(step, ())
        for n, _, _, _, f in space.tile("ofmap", 1, at, space.pieces(1, at)):
            s.box(4 + f, 1.9 + 1.2 * n, f, looks[step[0]])
    for k, look in enumerate(looks):
        s.box(4 + 3.2 * k * 0.9, 5.1, "", look, w=0.9, h=0.8)
        s.text(5.2 + 3.2 * k * 0.9, 5.5, k, size=7.5)
    s.text(0.2, 5.5, "chunk", color=GREY)
    x, y = 20.0, 2.6
    padded = PAGE.conv(C=2, pad=1)
    s.text(x - 3.4, 0.7, "(k, x) pairs with padding 1, K = [C, R, S] by 4", weight="bold")
    s.text(x - 0.4, y - 0.6, "x = f:", ha="right", color=GREY, size=7)
    valid = 0
    for f in range(7):
        s.text(x + f + 0.5, y - 0.6, f, ha="center", color=GREY, size=7)
    for k in range(6):
        c, t = divmod(k, 3)
        s.text(
            x - 0.4,
            y + k + 0.5 + 0.3 * (k > 3),
            f"k {k}: c {c}, s {t}",
            ha="right",
            color=GREY,
            size=7,
        )
        for f in range(7):
            real = 0 <= f + t - 1 < padded.W
            valid += real
            s.box(
                x + f,
                y + k + 0.3 * (k > 3),
                f + t - 1 if real else "-",
                NEW[k > 3] if real else ABSENT,
            )
    s.text(x + 8, y + 2, "fold 0", color=GREY)
    s.text(x + 8, y + 5.3, "fold 1", color=GREY)
    s.text(x - 3.4, 10.2, f"{valid} of {6 * 7} pairs meet a word; however K is cut,")
    s.text(x - 3.4, 11.2, f"a pass over all x reads {valid} ifmap words")
    for loops_ in ("K:4:dram K:1:dram:row X:1:dram", "K:1:dram X:1:dram"):
        agree(valid, PAGE.count(PAGE.nest(padded, loops_, pe=("weight",)))["ifmap", "mac"].read)
    return s.figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "loops": loops, "tile": tile, "steps": steps, "operands": operands, "networks": networks,
    "accumulated": accumulated, "residency": residency, "mac": mac, "odometer": odometer,
    "boxes": boxes, "sums": sums, "sliding": sliding, "fused": fused,
}  # fmt: skip


def draw(name: str) -> Figure:
    """One figure in the house's style, whatever the user's settings are."""
    with matplotlib.rc_context(STYLE):
        return FIGURES[name]()


STYLE: Any = {
    "font.family": "DejaVu Sans",
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "accelsim",
    "svg.fonttype": "path",
}


def main() -> None:
    for name in FIGURES:
        figure = draw(name)
        with matplotlib.rc_context(STYLE):
            look = {"bbox_inches": "tight", "pad_inches": 0.08}
            figure.savefig(HERE / f"counting_{name}.svg", metadata={"Date": None}, **look)
            figure.savefig(
                HERE / f"counting_{name}.png", dpi=150, metadata={"Software": None}, **look
            )


if __name__ == "__main__":
    main()
