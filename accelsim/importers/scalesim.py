"""SCALE-Sim topologies, both ways: convolutions (ifmap, filter, channels, filters, stride) and
matrix products (M, N, K).

Columns go by their place, as the tool reads them; a header says which of the two kinds a table is.
In a convolution's row the ifmap has its padding already, and the tool rounds output sides up where
the stride does not fit (ceil((H - R + U) / U)): the imported layer then has the rows and columns
missing there as padding at the end.  A row with DP in its name is depthwise: as many layers of one
channel as it has channels, which is one layer of as many groups.  In a product's row M is what
streams (pixels), N the filters and K what is summed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from accelsim.base.errors import InputError
from accelsim.importers.network_builder import Imported, UniqueNames, made, stem
from accelsim.importers.spreadsheet import table_rows, whole_number
from accelsim.workload.layers import Layer
from accelsim.workload.network import Workload

MAX_BYTES = 2_000_000
MAX_ROWS = 10_000
_CONV = (
    "ifmap height",
    "ifmap width",
    "filter height",
    "filter width",
    "channels",
    "num filter",
    "strides",
)
# The other words that headers have for these columns; letters and digits alone count.
_ALSO = {"channel": "channels", "numfilters": "numfilter", "stride": "strides"}
_ALSO |= {"strideheight": "strides"}
DEPTHWISE = "DP"


def import_scalesim(file: str | os.PathLike[str]) -> Imported:
    """A topology as a list of layers.  Raises InputError with the line of what is none."""
    rows, said = table_rows(file, MAX_BYTES)
    if not rows:
        raise InputError("must have a header and rows", file=file, line=1, column=1, got="nothing")
    topology = _Topology(file, [said] if said else [])
    for line, cells in topology.without_numbers(rows):
        topology.row(line, cells)
    if not topology.layers:
        raise InputError("must have rows below the header", file=file, line=1, column=1)
    description = f"imported from {os.path.basename(os.fspath(file))} (SCALE-Sim)"
    data = {"name": stem(file), "description": description, "layers": topology.layers}
    return Imported(made(data, file), notes=tuple(topology.notes))


def _plain(cell: str) -> str:
    return "".join(c for c in cell.lower() if c.isalnum())


def _says_numbers(cells: Sequence[str]) -> int:
    return sum(whole_number(cell) is not None for cell in cells[1:])


@dataclass
class _Topology:
    """Rows as layers.  ``header`` are the columns' names, empty as long as there are none."""

    file: str | os.PathLike[str]
    notes: list[str]
    header: list[str] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    names: UniqueNames = field(default_factory=lambda: UniqueNames("layer"))

    def without_numbers(self, rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
        """The rows without a first column that only numbers them, as pandas writes it."""
        head = next((cells for _, cells in rows if len(cells) > 2 and not _says_numbers(cells)), [])
        if not head or head[0] not in ("", "Unnamed: 0") or not _plain(head[1]).startswith("layer"):
            return rows
        self.notes.append("the first column only numbers the rows: left out")
        return [(line, cells[1:]) for line, cells in rows]

    def row(self, line: int, cells: list[str]) -> None:
        """A row: a layer, the header, or a title over the rows below it."""
        filled = [cell for cell in cells if cell]
        if len(filled) == 1 and whole_number(filled[0]) is None:
            self.notes.append(f"line {line}: {filled[0][:80]} is a title: left out")
        elif not _says_numbers(cells) and self._is_header(cells):
            self._begin(line, cells)
        elif len(self.layers) >= MAX_ROWS:
            raise InputError(f"must have at most {MAX_ROWS} rows", file=self.file, line=line)
        else:
            if not self.header and not self.layers:
                self.notes.append(
                    f"there is no header: line {line} is a layer (SCALE-Sim itself passes over it)"
                )
            self._layer(line, cells)

    def _is_header(self, cells: list[str]) -> bool:
        """Whether a row without numbers names columns: before any layer it does, among layers
        only if it says so.
        """
        return not (self.header or self.layers) or _plain(cells[0]).startswith("layer")

    def _begin(self, line: int, cells: list[str]) -> None:
        self.header = [_ALSO.get(_plain(cell), _plain(cell)) for cell in cells]
        if self.products:
            wanted, start = [*"mnk"], "the tool reads M, N, K"
        else:
            wanted, start = [_plain(name) for name in _CONV], "read by its place"
        for at, (name, own) in enumerate(zip(self.header[1:], wanted, strict=False), 2):
            if name != own and name in wanted:
                self.notes.append(
                    f"line {line}: column {at} is called {cells[at - 1]}, {start}"
                    + ("" if self.products else f": {_CONV[at - 2]}")
                )

    @property
    def products(self) -> bool:
        """Whether rows are matrix products: the header's columns are M, N and K."""
        return sorted(self.header[1:4]) == ["k", "m", "n"]

    def _layer(self, line: int, cells: list[str]) -> None:
        # Without a header three numbers are a product; a convolution has seven.
        products = self.products or (
            not self.header and 3 <= _says_numbers(cells) <= 4 and not any(cells[5:])
        )
        name = self.names.like(cells[0])
        known, layer = (self._product if products else self._conv)(name, line, cells)
        self.layers.append({"name": name} | layer)
        self._rest(name, cells, known)

    def _product(self, name: str, line: int, cells: list[str]) -> tuple[int, dict[str, Any]]:
        """The columns that were read, and the layer: products beside each other are of two
        activations, as attention's heads are.
        """
        order = self.header[1:4] if self.products else [*"mnk"]
        m, n, k = (self._number(cells, 1 + order.index(x), x.upper(), line) for x in "mnk")
        count = whole_number(cells[4]) if len(cells) > 4 else None
        layer = {"m": n, "k": k, "n": m}
        if count is None:
            return 4, {"type": "gemm"} | layer
        count = self._number(cells, 4, "batch", line)
        if count == 1:
            return 5, {"type": "gemm"} | layer
        self.notes.append(f"{name}: a batch of {count} products, neither side of them weights")
        return 5, {"type": "matmul"} | layer | {"products": count}

    def _conv(self, name: str, line: int, cells: list[str]) -> tuple[int, dict[str, Any]]:
        """The columns that were read, and the layer."""
        h, w, r, s, c, m, u = (
            self._number(cells, 1 + i, what, line) for i, what in enumerate(_CONV)
        )
        v, batch, known = u, 1, 8
        ninth = self.header[8] if len(self.header) > 8 else "stridewidth"
        if len(cells) > 8 and whole_number(cells[8]) is not None:
            if ninth in ("batch", "batchsize"):
                batch, known = self._number(cells, 8, "batch size", line), 9
            elif ninth.startswith("stride"):
                v, known = self._number(cells, 8, "stride width", line), 9
        if r > h or s > w:
            raise InputError(
                "the filter must not be larger than the ifmap",
                file=self.file,
                line=line,
                got=f"{r}x{s} on {h}x{w}",
            )
        groups = 1
        if DEPTHWISE in cells[0]:
            groups, c = c, 1
            self.notes.append(
                f"{name}: depthwise, since DP is in its name: {groups} groups of one channel"
            )
        layer: dict[str, Any] = {"M": m, "C": c, "H": h, "W": w, "R": r, "S": s}
        layer |= {"groups": groups} if groups > 1 else {}
        layer |= {"N": batch} if batch > 1 else {}
        layer |= {"stride": u if u == v else [u, v]} if (u, v) != (1, 1) else {}
        after = [(-(size - taps)) % stride for size, taps, stride in ((h, r, u), (w, s, v))]
        if any(after):
            self.notes.append(
                f"{name}: the stride does not fit; {after[0]} rows and {after[1]} columns of"
                " padding make the tool's output"
            )
            layer["padding"] = [0, after[0], 0, after[1]]
        return known, layer

    def _rest(self, name: str, cells: list[str], known: int) -> None:
        """What stands beyond the columns that were read is named."""
        for at, cell in enumerate(cells[known:], known):
            if not cell or cell == "1:1":
                continue
            if ":" in cell:
                self.notes.append(f"{name}: sparsity {cell[:20]} is not part of a layer here")
            else:
                self.notes.append(f"{name}: column {at + 1} ({cell[:20]}) is not read")

    def _number(self, cells: Sequence[str], at: int, what: str, line: int) -> int:
        text = cells[at] if at < len(cells) else ""
        number = whole_number(text)
        if number is None or not 1 <= number < 2**31:
            raise InputError(
                f"{what} (column {at + 1}) must be a whole number of at least 1",
                file=self.file,
                line=line,
                got=text[:40] or "nothing",
            )
        return number


Form = Literal["conv", "gemm"]


def export_scalesim(workload: Workload, form: Form = "conv") -> str:
    """The layers as a topology: ``conv`` rows with padded ifmaps, one for each group unless the
    layer is depthwise; or every layer as a matrix product.

    A layer that a row cannot state is an InputError: dilation in ``conv`` form, a transposed
    convolution, more rows than 10 000.
    """
    lines = [
        "Layer,M,N,K,"
        if form == "gemm"
        else (
            "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,"
            "Channels,Num Filter,Strides,"
        )
    ]
    names = UniqueNames("layer")
    for layer in workload.layers:
        lines += _exported(layer, form, names)
        if len(lines) > MAX_ROWS + 1:
            raise InputError(f"a topology must have at most {MAX_ROWS} rows", key=layer.name)
    return "\n".join(lines) + "\n"


def _exported(layer: Layer, form: Form, names: UniqueNames) -> list[str]:
    p = layer.problem()
    if p.direction != "forward":
        raise InputError("a topology has no transposed convolutions", key=layer.name)
    many = range(1, min(p.G, MAX_ROWS + 1) + 1)
    if form == "gemm":
        product = f"{p.N * p.E * p.F},{p.M},{p.C * p.R * p.S},"
        if p.G > 1 and not layer.parameters:  # the fifth column is a number of products
            return [f"{names.like(layer.name)},{product}{p.G},"]
        own = [layer.name] if p.G == 1 else [f"{layer.name}_g{i}" for i in many]
        return [f"{names.like(name)},{product}" for name in own]
    if p.N != 1:
        raise InputError(
            "a convolution's row has no batch; write the products (gemm)",
            key=layer.name,
            got=f"N={p.N}",
        )
    if set(p.dilation) != {1} and (p.R, p.S) != (1, 1):
        raise InputError(
            "a convolution's row has no dilation; write the products (gemm)", key=layer.name
        )
    (u, v), (top, bottom, left, right) = p.stride, p.padding
    # Only the ifmap that windows touch: the tool rounds output sides up.
    h, w = (p.E - 1) * u + p.R, (p.F - 1) * v + p.S
    assert h <= p.H + top + bottom and w <= p.W + left + right
    if u != v and p.E > 1 and p.F > 1:
        raise InputError(
            "a convolution's row has one stride; write the products (gemm)",
            key=layer.name,
            got=f"{u}, {v}",
        )
    stride = u if p.E > 1 or p.F == 1 else v
    if p.G > 1 and p.C == 1 and layer.parameters:
        name = layer.name if DEPTHWISE in layer.name else f"{DEPTHWISE}_{layer.name}"
        return [f"{names.like(name)},{h},{w},{p.R},{p.S},{p.G},{p.M},{stride},"]
    # A name with DP in it would be read as depthwise.
    name = layer.name.replace(DEPTHWISE, DEPTHWISE.lower())
    every = [name] if p.G == 1 else [f"{name}_g{i}" for i in many]
    return [f"{names.like(x)},{h},{w},{p.R},{p.S},{p.C},{p.M},{stride}," for x in every]
