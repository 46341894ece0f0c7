"""Cycles of a layer on Gemmini, tile by tile, from constants of its sources alone.

Accelsim's own schedule (``accelsim run --arch gemmini``) has the array, the two memories side by
side, their halves and the memory's port.  What it has not, and other machines have in other forms,
is added here, each by one rule (``Machine`` has the numbers, ``machine.yaml`` their places):

- A tile is one call of a hardware loop: it is fetched whole, halos and what the tile before had
  too, and two tiles are in flight.
- Work is done by instructions of at most 16 pixels of one output row; the first after new weights
  takes 16 cycles, others at least ``least_rows``; at most ``products_in_mesh`` are in the mesh.
- A tile's rows in memory (the channels of a pixel, the filters of a weight row) are fetched by
  requests that do not cross a line.  A line that the cache has not is read whole over the memory
  bus; any request takes the beats of a whole one on the system bus.
- The cache replaces at random.  The second run of a layer finds in it what the first left there.
- A page that the DMA's small table has not is walked for before its rows are fetched.
- A row of outputs is whole lines as well, over the same port as loads: a line the cache has not is
  a line of the memory bus, others are requests.  The next tile does not compute before the stores
  of the one before are through.
- Sums that are not whole when a mapping's order goes on to others leave, four bytes each, and come
  back, unless the accumulators have room for all of them.  The machine's own order never does that.
- With its own tiling, a layer's program looks for the tile first (``gemmini_tiler.py``), and the
  array waits.

``cycles`` is called by ``study.py`` for every row, also on machines that lack one of the rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import ceil, exp, gcd
from pathlib import Path

import yaml
from gemmini_rows import DIMS, MeasuredLayer, Sizes, Tile, Tiling, tiles

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Machine:
    """The constants of machine.yaml; what each is and where it is from stands there.

    ``whole_lines``, ``whole_tiles``, ``stores_cached``, ``sums_leave`` and ``warm`` are rules of
    this page that the report leaves out in turn; ``first_warm`` is one that it tries.
    """

    dim: int
    least_rows: int
    products_in_mesh: int
    output_delay: int
    tiles_in_flight: int
    request_bytes: int
    bus_bytes: int
    memory_bytes: int
    cache_bytes: int
    sum_words: int
    memory_cycles: int
    stores_first: bool
    page_bytes: int
    walk_cycles: int
    try_cycles: int
    whole_lines: bool = True
    whole_tiles: bool = True
    stores_cached: bool = True
    warm: bool = True
    first_warm: bool = False
    sums_leave: bool = True

    @property
    def way(self) -> int:
        """Cycles of the shortest product from its first row's entry to its last row's leaving."""
        return 2 * self.dim - 1 + self.output_delay + self.least_rows

    @property
    def line_cycles(self) -> float:
        """Of a line over the memory bus."""
        return self.request_bytes / self.memory_bytes

    @property
    def request_cycles(self) -> float:
        """Of a request over the system bus."""
        return self.request_bytes / self.bus_bytes


def load_machine() -> Machine:
    """The machine of machine.yaml."""
    return Machine(**yaml.safe_load((HERE / "machine.yaml").read_text(encoding="utf-8")))


# Work and bytes of one tile -----------------------------------------------------------------------


def work(size: Sizes, m: Machine) -> float:
    """Cycles of the array for a tile: blocks of weights times instructions of a block."""
    blocks = ceil(size["C"] / m.dim) * ceil(size["K"] / m.dim) * size["R"] * size["S"]
    lines = size["Q"] * size["N"]
    full, rest = divmod(size["P"], m.dim)
    rows = lines * (full * m.dim + (max(rest, m.least_rows) if rest else 0))
    first = m.dim if full else max(rest, m.least_rows)
    rows += m.dim - first  # new weights take a whole block's rows to come in
    instructions = lines * ceil(size["P"] / m.dim)
    return blocks * max(float(rows), instructions * m.way / m.products_in_mesh) + m.way


@dataclass(frozen=True)
class Rows:
    """Rows of one tensor's tile in memory: ``count`` of them, ``width`` bytes each, ``apart`` bytes
    from one to the next, the first ``offset`` bytes after a line's beginning.
    """

    count: int
    width: int
    apart: int
    offset: int

    def requests(self, m: Machine) -> float:
        """So many requests fetch them: each in pieces of a request, none across a line."""
        return self.count * _mean_pieces(self, m.request_bytes)

    def lines(self, m: Machine) -> float:
        """So many lines they touch; rows that lie closer than a line share it."""
        if not m.whole_lines:
            return self.count * self.width / m.request_bytes
        if self.apart < m.request_bytes:
            return self.count * self.apart / m.request_bytes
        return self.count * _mean_lines(self, m.request_bytes)

    def pages(self, whole_rows: bool, m: Machine) -> float:
        """Pages that fetching them enters.  Weight rows are fetched in pieces of a request, each
        piece of all rows before the next piece (LoopConv.scala); pixels, and the weights of a
        product, whole row by whole row (LoopMatmul.scala).
        """
        span = self.count * self.apart / m.page_bytes
        return span if whole_rows else span * ceil(self.width / m.request_bytes)

    def lines_of_each(self, m: Machine) -> float:
        """The same where every row is a transfer of its own."""
        if not m.whole_lines:
            return self.count * self.width / m.request_bytes
        return self.count * _mean_lines(self, m.request_bytes)


def _offsets(rows: Rows, line: int) -> Iterable[int]:
    """Where in a line the rows begin, each as often as any other."""
    step = gcd(rows.apart, line)
    return range(rows.offset % step, line, step)


@cache
def _mean_lines(rows: Rows, line: int) -> float:
    """Lines that a row touches, in the mean."""
    at = list(_offsets(rows, line))
    return sum((o + rows.width - 1) // line + 1 for o in at) / len(at)


@cache
def _mean_pieces(rows: Rows, line: int) -> float:
    """Requests of a row, in the mean: pieces of a line's length, cut where they cross a line."""
    at = list(_offsets(rows, line))
    whole, rest = divmod(rows.width, line)
    count = 0
    for o in at:
        count += whole * (1 if o == 0 else 2)
        count += 0 if not rest else 1 if o + rest <= line else 2
    return count / len(at)


def weights(tile: Tile, size: Sizes) -> Rows:
    """Filters lie innermost: gemmini.h, tiled_conv, ``weights_slice``."""
    s = tile.size
    return Rows(s["R"] * s["S"] * s["C"], s["K"], size["K"], tile.begin["K"])


def pixels(tile: Tile, size: Sizes, stride: tuple[int, int]) -> Rows:
    """Channels lie innermost; a tile fetches ``ocols * stride + kcols - 1`` columns of pixels, and
    rows alike: gemmini.h, tiled_conv, ``icols_``.
    """
    s, (wide, high) = tile.size, stride
    count = s["N"] * (s["Q"] * high + s["S"] - 1) * (s["P"] * wide + s["R"] - 1)
    return Rows(count, s["C"], size["C"], tile.begin["C"])


def outputs(tile: Tile, size: Sizes) -> Rows:
    """A row for each pixel."""
    s = tile.size
    return Rows(s["N"] * s["P"] * s["Q"], s["K"], size["K"], tile.begin["K"])


# The cache ----------------------------------------------------------------------------------------


class LineCache:
    """Which share of each piece of a tensor the cache still has.  A piece is one column of lines of
    a tile: they come together, so a layer of millions of lines is some thousand steps.

    A line that comes in takes the place of any other (``Directory.scala`` of the inclusive cache:
    a victim by chance).  So a line is still there after ``filled`` more bytes with the probability
    exp(-filled / room); a share is that, and nothing is drawn.  A piece's own lines come in one
    after the other: each is replaced by those after it, and finds those before it come in, half of
    the piece in the mean.  ``left`` is the share that was there before a piece's first use.
    """

    def __init__(self, room: float, left: float = 0.0) -> None:
        self.room, self.left, self.filled = room, left, 0.0
        self.used: dict[tuple[object, ...], float] = {}  # filled when a piece was last used

    def take(self, piece: tuple[object, ...], amount: float) -> float:
        """Use a piece of so many bytes; the share of it that has to come from memory."""
        if not self.room:
            return 1.0
        since = self.filled - self.used.get(piece, 0.0)
        there = exp(-since / self.room) * (1.0 if piece in self.used else self.left)
        missed = 1 - there * exp(-amount * (1 - there) / 2 / self.room)
        self.used[piece] = self.filled + amount * missed / 2
        self.filled += amount * missed
        return missed

    def missing(self, name: tuple[object, ...], rows: Rows, m: Machine) -> float:
        """The share of a tile's lines that have to come from memory."""
        if rows.apart < m.request_bytes:
            columns: range = range(1)
        else:
            first = rows.offset // m.request_bytes
            columns = range(first, (rows.offset + rows.width - 1) // m.request_bytes + 1)
        each = rows.lines(m) * m.request_bytes / len(columns)
        return sum(self.take((*name, x), each) for x in columns) / len(columns)


# The sequence of tiles ----------------------------------------------------------------------------


def fetched_lines(layer: MeasuredLayer, cut: Tiling) -> float:
    """Lines of operands that all tiles of a layer ask for."""
    m = load_machine()
    return sum(
        weights(t, layer.size).lines(m) + pixels(t, layer.size, layer.stride).lines(m)
        for t in tiles(layer.size, cut)
    )


def load_cycles(
    layer: MeasuredLayer, tile: Tile, before: Tile | None, cached: LineCache, m: Machine
) -> float:
    """Cycles to fetch a tile: lines over the memory bus, requests for what the cache has over the
    system bus, the way of the first, and walks for pages.
    """
    lines = requests = fetched = walks = 0.0
    for tensor, dims, rows in (
        ("weight", "RSCK", weights(tile, layer.size)),
        ("ifmap", "RSPQNC", pixels(tile, layer.size, layer.stride)),
    ):
        if not m.whole_tiles and before and all(tile.begin[d] == before.begin[d] for d in dims):
            continue
        place = tuple(tile.begin[d] for d in ("RSC" if tensor == "weight" else "PQN"))
        share = cached.missing((tensor, *place), rows, m)
        walks += rows.pages(layer.kind == "product" or tensor == "ifmap", m)
        lines += rows.lines(m)
        fetched += share * rows.lines(m)
        requests += rows.requests(m)
    if not lines:
        return 0.0
    missed = fetched / lines
    memory = max(fetched * m.line_cycles, requests * missed * m.request_cycles)
    known = max(requests * (1 - missed), lines - fetched) * m.request_cycles
    return memory + known + m.memory_cycles + walks * m.walk_cycles


def store_cycles(layer: MeasuredLayer, tile: Tile, cached: LineCache, m: Machine) -> float:
    """Cycles to write a tile's outputs: whole lines, row by row."""
    if not tile.whole:
        return 0.0
    rows, b = outputs(tile, layer.size), tile.begin
    share = cached.missing(("ofmap", b["P"], b["Q"], b["N"]), rows, m)
    if not m.stores_cached:
        share = 1.0
    each = share * m.line_cycles + (1 - share) * m.request_cycles
    return rows.lines_of_each(m) * each


def sum_lines(tile: Tile, before: Tile | None, size: Sizes, m: Machine) -> float:
    """Lines of unfinished sums that cross the memory bus before a tile that has other sums than the
    one before: those go out if they are not whole, and its own come back if it goes on with some.
    """
    if before is None or all(tile.begin[d] == before.begin[d] for d in "PQKN"):
        return 0.0
    out = 0.0 if before.whole else outputs(before, size).count * before.size["K"]
    back = outputs(tile, size).count * tile.size["K"] if any(tile.begin[d] for d in "RSC") else 0.0
    return 4 * (out + back) / m.request_bytes


def unfinished(layer: MeasuredLayer, cut: Tiling, m: Machine) -> int:
    """Sums of one column of the array that an order begins before it is through with any: those of
    all tiles inside the outermost loop that adds up.
    """
    cut_dims = [d for d in cut.order if cut.tile[d] < layer.size[d]]
    adding = [d in "RSC" for d in cut_dims]
    inside = cut_dims[adding.index(True) :] if any(adding) else []
    held = {d: layer.size[d] if d in inside else cut.tile[d] for d in "PQKN"}
    return held["P"] * held["Q"] * held["N"] * ceil(held["K"] / m.dim)


def left_over(layer: MeasuredLayer, m: Machine) -> float:
    """The share of a layer's data that is in the cache after a run, in the mean: of ``d`` caches
    full of data that passed, the part a way ``x`` back is there with exp(-x).
    """
    d = layer.footprint / m.cache_bytes if m.cache_bytes else 0.0
    return (1 - exp(-d)) / d if d else 0.0


def cycles(layer: MeasuredLayer, cut: Tiling, m: Machine) -> int:
    """Cycles of a layer: each tile is loaded, worked on and stored, with two in flight.

    A load waits for the port and for the half of the memories that the tile two earlier leaves; the
    array for the load, the tile before and (``stores_first``) its stores; a store for the array.
    """
    warm = m.warm if cut.again else m.first_warm
    lines = LineCache(m.cache_bytes, left_over(layer, m) if warm else 0.0)
    leave = m.sums_leave and unfinished(layer, cut, m) > m.sum_words
    known: dict[tuple[int, ...], float] = {}
    loaded = float(cut.tries * m.try_cycles)
    worked = stored = [loaded] * m.tiles_in_flight
    before: Tile | None = None
    for tile in tiles(layer.size, cut):
        shape = tuple(tile.size[d] for d in DIMS)
        if shape not in known:
            known[shape] = work(tile.size, m)
        load = load_cycles(layer, tile, before, lines, m)
        if leave:
            load += sum_lines(tile, before, layer.size, m) * m.line_cycles
        store = store_cycles(layer, tile, lines, m)
        loaded = max(loaded, worked[0], stored[0]) + load
        begin = max(loaded, worked[-1], stored[-1] if m.stores_first else 0.0)
        worked = [*worked[1:], begin + known[shape]]
        stored = [*stored[1:], max(worked[-1], stored[-1]) + store if store else stored[-1]]
        loaded += store  # the port is one for both
        before = tile
    return round(max(worked[-1], stored[-1]))
