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
- A page that the DMA's small table has not is walked for before its rows are fetched.
- A row of outputs is whole lines of the memory bus as well, over the same port as loads, and the
  next tile does not compute before the stores of the one before are through.  Outputs are stored
  once, when they are whole, whatever the order of tiles.

``cycles`` is called by ``study.py`` for every row, also on machines that lack one of the rules.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import ceil, gcd
from pathlib import Path

import yaml
from gemmini_rows import DIMS, MeasuredLayer, Sizes, Tile, Tiling, tiles

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Machine:
    """The constants of machine.yaml; what each is and where it is from stands there.

    ``whole_lines`` and ``whole_tiles`` are rules of this page that the report leaves out in turn.
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
    memory_cycles: int
    stores_first: bool
    page_bytes: int
    walk_cycles: int
    whole_lines: bool = True
    whole_tiles: bool = True

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
    """Which pieces of tensors the cache has, the last used longest.  A piece is one column of lines
    of a tile: they come and go together, so a layer of millions of lines is some thousand steps.
    """

    def __init__(self, room: float) -> None:
        self.room, self.used = room, 0.0
        self.pieces: OrderedDict[tuple[object, ...], float] = OrderedDict()

    def take(self, piece: tuple[object, ...], amount: float) -> bool:
        """Use a piece of so many bytes; whether it was there."""
        if piece in self.pieces:
            self.pieces.move_to_end(piece)
            return True
        if amount > self.room:
            self.pieces.clear()
            self.used = 0.0
            return False
        self.pieces[piece] = amount
        self.used += amount
        while self.used > self.room:
            self.used -= self.pieces.popitem(last=False)[1]
        return False

    def missing(self, name: tuple[object, ...], rows: Rows, m: Machine) -> float:
        """The share of a tile's lines that have to come from memory."""
        if rows.apart < m.request_bytes:
            columns: range = range(1)
        else:
            first = rows.offset // m.request_bytes
            columns = range(first, (rows.offset + rows.width - 1) // m.request_bytes + 1)
        each = rows.lines(m) * m.request_bytes / len(columns)
        return sum(not self.take((*name, x), each) for x in columns) / len(columns)


# The sequence of tiles ----------------------------------------------------------------------------


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
    cached.missing(("ofmap", b["P"], b["Q"], b["N"]), rows, m)
    return rows.lines_of_each(m) * m.line_cycles


def cycles(layer: MeasuredLayer, cut: Tiling, m: Machine) -> int:
    """Cycles of a layer: each tile is loaded, worked on and stored, with two in flight.

    A load waits for the port and for the half of the memories that the tile two earlier leaves; the
    array for the load, the tile before and (``stores_first``) its stores; a store for the array.
    """
    lines = LineCache(m.cache_bytes)
    known: dict[tuple[int, ...], float] = {}
    loaded = 0.0
    worked = stored = [0.0] * m.tiles_in_flight
    before: Tile | None = None
    for tile in tiles(layer.size, cut):
        shape = tuple(tile.size[d] for d in DIMS)
        if shape not in known:
            known[shape] = work(tile.size, m)
        load = load_cycles(layer, tile, before, lines, m)
        store = store_cycles(layer, tile, lines, m)
        loaded = max(loaded, worked[0], stored[0]) + load
        begin = max(loaded, worked[-1], stored[-1] if m.stores_first else 0.0)
        worked = [*worked[1:], begin + known[shape]]
        stored = [*stored[1:], max(worked[-1], stored[-1]) + store if store else stored[-1]]
        loaded += store  # the port is one for both
        before = tile
    return round(max(worked[-1], stored[-1]))
