"""The measured layers and their tilings: rows of a CSV with the columns of
tests/reference/gemmini_rtl.csv become layers, tilings and accelsim's mappings.

The file has Timeloop's letters: filter R x S, output P x Q (P goes with R and is the width, Q goes
with S and is the height), C input and K output channels, N images.  Accelsim's are S R F E C M N.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil
from pathlib import Path

from gemmini_tiler import own_tile

import accelsim as acc
from accelsim.base.errors import InputError

DIMS = "RSPQCKN"
OURS = dict(zip(DIMS, "SRFECMN", strict=True))
AUTO_ORDER = "NQPKSRC"  # gemmini.h, tiled_conv: images, rows, columns, filters, filter rows, ...
COLUMNS = (
    "row",
    *DIMS,
    "Wstride",
    "Hstride",
    "mapping",
    "auto_tiling_R_S_P_Q_C_K_N",
    "rtl_cycles_auto",
    "rtl_cycles_mapping",
)
LOOP = re.compile(r"([RSPQCKN])(\d+)(X?)")
BLOCKS = "M:16:acc R:1:acc S:1:acc C:16:acc C:1:acc:row M:1:acc:col N:1:reg E:1:reg F:1:reg"
KEEP = {
    "dram": ("weight", "ifmap", "ofmap"),
    "spad": ("weight", "ifmap"),
    "acc": ("ofmap",),
    "reg": ("weight",),
}
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Tiling:
    """How a layer is cut: the tile of each dimension and in which order the tiles go, outermost
    dimension first.  ``tries`` is how many tiles the core tried to find it; ``again`` says that the
    same data were worked on just before.
    """

    tile: Sizes
    order: str
    tries: int = 0
    again: bool = False


@dataclass(frozen=True)
class MeasuredLayer:
    """A row: the layer's sizes and strides (width, height), both tilings and both measurements."""

    row: str
    size: Sizes
    stride: tuple[int, int]
    tilings: Mapping[str, Tiling]  # auto, mapping
    cycles: Mapping[str, int]  # auto, mapping
    ideal: int | None

    @property
    def kind(self) -> str:
        """In which group of the report it stands."""
        s = self.size
        if _product(s):
            return "product"
        window = f"{s['R']}x{s['S']}"
        return window + (", stride 2" if max(self.stride) > 1 else "")

    @property
    def macs(self) -> int:
        """Multiplications of the layer."""
        s = self.size
        return s["R"] * s["S"] * s["P"] * s["Q"] * s["C"] * s["K"] * s["N"]

    @property
    def weight_bytes(self) -> int:
        """Bytes of its filters."""
        s = self.size
        return s["R"] * s["S"] * s["C"] * s["K"]

    @property
    def footprint(self) -> int:
        """Bytes of its three tensors."""
        s, (wide, high) = self.size, self.stride
        pixels = ((s["P"] - 1) * wide + s["R"]) * ((s["Q"] - 1) * high + s["S"])
        return self.weight_bytes + s["N"] * (pixels * s["C"] + s["P"] * s["Q"] * s["K"])

    def layer(self) -> acc.Conv2d:
        """The layer as accelsim has it: no padding, the ifmap is the exact footprint."""
        s, (wide, high) = self.size, self.stride
        return acc.Conv2d(
            N=s["N"],
            M=s["K"],
            C=s["C"],
            H=(s["Q"] - 1) * high + s["S"],
            W=(s["P"] - 1) * wide + s["R"],
            R=s["S"],
            S=s["R"],
            stride=(high, wide),
        )

    def mapping(self, name: str) -> acc.Mapping:
        """A tiling as a mapping of ``gemmini``: the tiles at dram, then the order of LoopConv.scala
        over blocks of 16 x 16 weights, which stay while the tile's pixels stream.
        """
        cut = self.tilings[name]
        loops = [f"{OURS[d]}:{cut.tile[d]}:dram" for d in cut.order if cut.tile[d] < self.size[d]]
        return acc.Mapping(loops=" ".join([*loops, BLOCKS]), keep=KEEP)


def read_rows(path: Path) -> list[MeasuredLayer]:
    """The rows of a file.  Raises InputError that names the line and the column."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin with a mark
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"cannot be read ({problem})", file=path) from None
    lines = text.splitlines()
    numbers = [i for i, x in enumerate(lines, 1) if x.strip() and not x.startswith("#")]
    table = csv.DictReader(lines[i - 1] for i in numbers)
    missing = [x for x in COLUMNS if x not in (table.fieldnames or ())]
    if missing:
        raise InputError(f"a column is missing: {missing[0]}", file=path)
    rows = [_row(cells, path, line) for cells, line in zip(table, numbers[1:], strict=True)]
    if not rows:
        raise InputError("no rows", file=path)
    return rows


def _row(cells: Mapping[str, str | None], path: Path, line: int) -> MeasuredLayer:
    """One row, each number checked."""
    if None in cells:  # where csv puts what has no column
        raise InputError("has more cells than the head has columns", file=path, line=line)

    def number(column: str) -> int:
        text = cells[column] or ""
        if not text.strip().isdigit() or int(text) < 1:
            raise InputError(
                "must be a whole number of at least 1", file=path, line=line, key=column, got=text
            )
        return int(text)

    size = {d: number(d) for d in DIMS}
    auto, column = cells["auto_tiling_R_S_P_Q_C_K_N"] or "", "auto_tiling_R_S_P_Q_C_K_N"
    parts = auto.split("_")
    if len(parts) != len(DIMS) or not all(x.isdigit() and int(x) for x in parts):
        raise InputError(
            "must be seven whole numbers joined by _", file=path, line=line, key=column, got=auto
        )
    stride = (number("Wstride"), number("Hstride"))
    own = Tiling(
        {d: min(int(x), size[d]) for d, x in zip(DIMS, parts, strict=True)},
        AUTO_ORDER,
        tries=0 if _product(size) else own_tile(size, max(stride))[1],
    )
    given = _given(cells["mapping"] or "", size, path, line)
    ideal = (cells.get("ideal_cycles_of_the_mapping") or "").strip()
    return MeasuredLayer(
        (cells["row"] or "").strip(),
        size,
        stride,
        {"auto": own, "mapping": given},
        {"auto": number("rtl_cycles_auto"), "mapping": number("rtl_cycles_mapping")},
        int(ideal) if ideal.isdigit() else None,
    )


def _product(size: Sizes) -> bool:
    """Whether a layer is a matrix product: its tiler is another one, of a few tries."""
    return size["R"] * size["S"] == 1 and (size["P"] == 1 or size["Q"] == 1)


def _given(text: str, size: Sizes, path: Path, line: int) -> Tiling:
    """The mapping column: what is below L3 is the tile, L3's loops are the order of tiles.  Each
    layer was run twice, and this is the second run.
    """
    levels = {}
    for part in text.split(" - "):
        name, bracket, loops = part.strip().partition("[")
        _kept, closed, body = loops.partition("]")
        written = body.split()
        if not (name and bracket and closed) or not all(LOOP.fullmatch(x) for x in written):
            raise InputError(
                "must be levels such as L3[WIO] K2 Q14",
                file=path,
                line=line,
                key="mapping",
                got=part,
            )
        levels[name] = [LOOP.fullmatch(x) for x in written]
    if "L3" not in levels or len(levels) < 2:
        raise InputError("has no level L3 and one below", file=path, line=line, key="mapping")
    tile = dict.fromkeys(DIMS, 1)
    for name, loops_of in levels.items():
        for loop in loops_of:
            if name != "L3" and loop:
                tile[loop[1]] *= int(loop[2])
    outer = "".join(dict.fromkeys(loop[1] for loop in levels["L3"] if loop))
    order = outer + "".join(d for d in DIMS if d not in outer)
    return Tiling({d: min(tile[d], size[d]) for d in DIMS}, order, again=True)


@dataclass(frozen=True)
class Tile:
    """One tile: its sizes, where each dimension begins, and whether its sums are whole after it."""

    size: Sizes
    begin: Sizes
    whole: bool


def tiles(size: Sizes, cut: Tiling) -> Iterator[Tile]:
    """The tiles of a layer in the order in which they are worked on; the last of a dimension may be
    short.
    """
    counts = {d: ceil(size[d] / cut.tile[d]) for d in DIMS}
    for at in product(*(range(counts[d]) for d in cut.order)):
        place = dict(zip(cut.order, at, strict=True))
        begin = {d: place[d] * cut.tile[d] for d in DIMS}
        yield Tile(
            {d: min(cut.tile[d], size[d] - begin[d]) for d in DIMS},
            begin,
            all(place[d] == counts[d] - 1 for d in "RSC"),
        )
