"""Where everything of a figure of bars stands.  All lengths are in points unless said otherwise.

Few bars stand side by side, grouped by layer; many stand in one panel per series with shared axes.
Every text is measured before anything is placed, so nothing can overlap.  ``bar_drawing`` asks for
a ``SheetPlan`` and draws by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise

from accelsim.view.bars.bar_blocks import BarBlock
from accelsim.view.bars.bar_text import (
    abbreviated,
    shortened,
    tallest,
    text_size,
    widest,
    wrapped,
)
from accelsim.view.style import LABEL, SMALL, TEXT, TITLE, WIDTH

PAD = 5.0
APART = 9.0  # between panels
HANDLE, HANDLE_GAP, BETWEEN = 2.2, 0.5, 1.4  # of a legend entry, in font sizes
_PAGE = WIDTH * 72  # aimed at; more only if the bars need it
_SLOT = 16.0  # a bar with its share of the space around it, when there is room
_TIGHT = 8.4  # the same when there is not: an upright line of text
_WIDEST = 12 * 72
_GROUPED = 56  # slots up to which bars are grouped by layer instead of one panel per dataflow
_SPACE = 0.9  # between groups, in slots


@dataclass(frozen=True)
class BarPlan:
    """What all blocks of a figure share: where bars stand and how they are named.

    ``slots`` is how many places for a bar an axis has, ``slot`` how wide one is.  ``series`` are
    the names under a bar or beside a panel.  Of the layers' names one in ``every`` is shown.
    """

    grouped: bool
    slots: float
    slot: float
    layers: list[str]
    series: list[str]
    every: int
    upright: bool
    series_upright: bool
    series_height: float
    layers_height: float

    @property
    def width(self) -> float:
        """Of all slots."""
        return self.slots * self.slot

    @property
    def below(self) -> float:
        """Height of the names under an axis."""
        return self.layers_height + (self.series_height + 2.0 if self.series_height else 0.0) + 5.0

    @property
    def layer_size(self) -> float:
        """Font size of the layers' names."""
        return _layer_size(self.grouped, len(self.layers))

    def bar(self, layer: int, series: int) -> float:
        """The middle of a bar, in slots."""
        if not self.grouped:
            return layer + 0.5
        return layer * (len(self.series) + _SPACE) + _SPACE / 2 + series + 0.5

    def middle(self, layer: int) -> float:
        """The middle of a layer's bars, in slots."""
        if not self.grouped:
            return layer + 0.5
        return (self.bar(layer, 0) + self.bar(layer, len(self.series) - 1)) / 2


def _layer_size(grouped: bool, count: int) -> float:
    return TEXT if grouped or count < 25 else SMALL


def is_grouped(block: BarBlock) -> bool:
    """Whether several series stand side by side under each layer's name."""
    longest = max(len(abbreviated(name)) for name in block.series)
    return len(block.series) > 1 and longest <= 26 and _group_slots(block) <= _GROUPED


def _group_slots(block: BarBlock) -> float:
    return len(block.layers) * (len(block.series) + _SPACE)


def bar_plan(block: BarBlock, least: float) -> BarPlan:
    """The plan for blocks of these layers and series; all slots are at least ``least`` wide."""
    grouped = is_grouped(block)
    slots = _group_slots(block) if grouped else float(len(block.layers))
    layers = [shortened(name, 26) for name in block.layers]
    names = [abbreviated(s) for s in block.series] if grouped else block.series
    across, tall = widest(names, SMALL), tallest(names, SMALL)
    slot = _slot_width(grouped, slots, layers, len(block.series), across, least)
    pitch = slot * (len(block.series) + _SPACE) if grouped else slot
    size = _layer_size(grouped, len(layers))
    wide, high = widest(layers, size), tallest(layers, size)
    upright = wide > pitch - 4.0
    series_upright = across > slot - 1.0
    return BarPlan(
        grouped=grouped,
        slots=slots,
        slot=slot,
        layers=layers,
        series=names,
        every=math.ceil((high + 0.4) / pitch) if upright else 1,
        upright=upright,
        series_upright=series_upright,
        series_height=(across if series_upright else tall) if grouped else 0.0,
        layers_height=wide if upright else high,
    )


def _slot_width(
    grouped: bool, slots: float, layers: list[str], count: int, across: float, least: float
) -> float:
    """As wide as names want it, as narrow as a page needs it.

    ``across`` is the widest series' name.  If a little more width keeps these names level, it is
    taken.
    """
    longest = widest(layers, TEXT) + 4.5
    if grouped:
        wanted = max(_SLOT, longest / (count + _SPACE), across + 2.0)
        level = across + 1.2 if (across + 1.2) * slots < 1.1 * _PAGE else 0.0
    else:
        wanted, level = max(1.5 * _SLOT, longest), 0.0
    return max(
        min(wanted, 40.0, (_PAGE - 50) / slots),
        min(_TIGHT, _WIDEST / slots),
        least / slots,
        level,
    )


@dataclass(frozen=True)
class BlockPlan:
    """One block of a sheet: room left of its axes, its legend's columns, and that one's height."""

    left: float
    columns: int
    head: float


@dataclass(frozen=True)
class SheetPlan:
    """A whole figure: blocks ``beside`` each other or one above the other, panels in each.

    ``inner`` and ``tall`` are the size of one axes, ``strips`` the names right of the panels, or
    ``above`` them.
    """

    bars: BarPlan
    blocks: tuple[BlockPlan, ...]
    title_lines: list[str]
    note_lines: list[str]
    beside: bool
    panels: int
    inner: float
    tall: float
    right: float
    width: float
    header: float
    strips: list[str]
    strip_turn: int
    above: bool = False  # names of panels stand above them, since they are longer than a panel

    @property
    def high(self) -> float:
        """Height of a block's panels."""
        return self.panels * self.tall + (self.panels - 1) * self.apart

    @property
    def apart(self) -> float:
        """Between panels: room for their names where these stand above."""
        return APART + (TEXT * 1.3 if self.above else 0.0)

    @property
    def height(self) -> float:
        """Of the figure."""
        stacked = [block.head + self.high + self.bars.below + PAD for block in self.blocks]
        if self.beside:
            return self.header + stacked[0]
        return self.header + (sum(stacked) + (len(stacked) - 1) * 3)

    def corners(self) -> list[tuple[float, float]]:
        """The left upper corner of each block, from the left lower one of the figure."""
        x, y, places = 0.0, self.height - self.header, []
        for block in self.blocks:
            places.append((x, y))
            if self.beside:
                x += block.left + self.inner + self.right
            else:
                y -= block.head + self.high + self.bars.below + PAD + 3
        return places


def sheet_plan(blocks: list[BarBlock], note: str = "") -> SheetPlan:
    """The plan of a figure of these blocks, which have the same layers and series; side by side if
    that fits a page.
    """
    bars, title = bar_plan(blocks[0], 170.0), blocks[0].title
    panels = 1 if bars.grouped else len(bars.series)
    strip = TEXT * 1.3 + 8 if panels > 1 else 0.0
    right = strip + 8.0
    lefts = [_left(block) for block in blocks]
    room = sum(lefts) + len(blocks) * (bars.width + right)
    beside = len(blocks) > 1 and panels == 1 and room <= 1.1 * _PAGE
    if not beside:
        lefts = [max(lefts)] * len(blocks)
    inner = bars.width
    if not beside and bars.width < _PAGE / 2:  # room for the title and a sensible legend
        inner = max(inner, min(_PAGE - lefts[0] - right, text_size(title, TITLE)[0] + 8))
    width = lefts[0] + inner + right
    if beside:
        width = sum(lefts) + len(blocks) * (inner + right)
    tall = _panel_height(panels, alone=len(blocks) == 1)
    strips = bars.series
    if not all(text_size(s, TEXT)[0] <= tall for s in strips):
        strips = [abbreviated(s) for s in bars.series]
    above = panels > 1 and widest(strips, TEXT) > tall
    title_lines = wrapped(title, TITLE, width - 2 * PAD)
    note_lines = wrapped(note, SMALL, width - 2 * PAD)
    return SheetPlan(
        bars=bars,
        blocks=_block_plans(
            blocks, lefts, (inner if beside else width - lefts[0]) - 4, beside, TEXT * 1.3 * above
        ),
        title_lines=title_lines,
        note_lines=note_lines,
        beside=beside,
        panels=panels,
        inner=inner,
        tall=tall,
        right=right,
        width=width,
        header=PAD
        + (len(title_lines) * TITLE * 1.3 + 3 if title else 0.0)
        + len(note_lines) * SMALL * 1.35,
        strips=strips,
        strip_turn=0 if widest(strips, TEXT) <= strip - 4 else 270,
        above=above,
    )


def _panel_height(panels: int, *, alone: bool) -> float:
    return {1: 185.0 if alone else 150.0, 2: 92.0, 3: 80.0}.get(panels, 70.0 if alone else 56.0)


def _block_plans(
    blocks: list[BarBlock], lefts: list[float], room: float, beside: bool, names: float
) -> tuple[BlockPlan, ...]:
    """Legends in ``room``, and under them ``names`` points for the first panel's name; beside each
    other all are as high as the highest.
    """
    keys = [_arranged([p.label for p in block.told], room) for block in blocks]
    heads = [
        names + (rows * (TEXT * 1.2) + (rows - 1) * 2.5 + PAD + 2 if rows else 0.0)
        for _, rows in keys
    ]
    if beside:
        heads = [max(heads)] * len(blocks)
    return tuple(
        BlockPlan(left, columns, head)
        for left, (columns, _), head in zip(lefts, keys, heads, strict=True)
    )


def _arranged(labels: list[str], room: float) -> tuple[int, int]:
    """Columns and rows of a legend no wider than ``room``."""
    if not labels:
        return 1, 0
    widths = [text_size(label, TEXT)[0] + (HANDLE + HANDLE_GAP) * TEXT for label in labels]
    for rows in range(1, len(labels) + 1):
        columns = math.ceil(len(labels) / rows)
        full, longer = divmod(len(labels), columns)
        heights = [full + (c < longer) for c in range(columns)]
        wide = (
            sum(max(widths[a:b]) for a, b in pairwise(accumulate(heights, initial=0)))
            + (columns - 1) * BETWEEN * TEXT
        )
        if wide <= room:
            return columns, rows
    return 1, len(labels)


def _left(block: BarBlock) -> float:
    """Room for the axis' label and numbers."""
    numbers = max(text_size(block.tick_label(t), TEXT)[0] for t in block.ticks)
    return PAD + text_size(block.label, LABEL, math=True)[1] * 1.1 + 5 + numbers + 5
