"""SCALE-Sim topology CSV, both ways: convolutions (ifmap, filter, channels, filters, strides) and
matrix products (M, N, K).

In a convolution file the ifmap has its padding already.  The tool rounds output sides up where the
stride does not fit (ceil((H - R + U) / U)); the imported layer then has the rows and columns
missing there as padding at the end.  In a matrix file M is what streams (pixels), N the filters and
K what is summed.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from typing import Any, Literal

from accelsim.base.errors import InputError
from accelsim.importers.network_builder import Imported, UniqueNames, made, read_text, stem
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


def import_scalesim(file: str | os.PathLike[str]) -> Imported:
    """A topology as a list of layers.  The header tells which kind it is.  Raises InputError with
    the line.
    """
    rows = list(_rows(read_text(file, MAX_BYTES), file))
    if not rows:
        raise InputError("must have a header and rows", file=file, line=1, column=1, got="nothing")
    _, head = rows[0]
    matrix = [h.upper() for h in head[1:4]]
    layers: list[dict[str, Any]] = []
    notes: list[str] = []
    names = UniqueNames("layer")
    for line, cells in rows[1:]:
        if not any(cells):
            continue
        if len(layers) >= MAX_ROWS:
            raise InputError(f"must have at most {MAX_ROWS} rows", file=file, line=line)
        name = names.like(cells[0])
        if sorted(matrix) == ["K", "M", "N"]:
            m, n, k = (
                _number(cells, 1 + matrix.index(letter), letter, file, line) for letter in "MNK"
            )
            layers.append({"name": name, "type": "gemm", "m": n, "k": k, "n": m})
            extra = [c for c in cells[4:] if c]
        else:
            layer, note = _convolution(name, cells, file, line)
            layers.append(layer)
            notes += note
            extra = [c for c in cells[9:] if c]
        if extra and extra != ["1:1"]:
            notes.append(f"{name}: sparsity {' '.join(extra)[:20]} is not part of a layer here")
    if not layers:
        raise InputError("must have rows below the header", file=file, line=1, column=1)
    description = f"imported from {os.path.basename(os.fspath(file))} (SCALE-Sim)"
    return Imported(
        made({"name": stem(file), "description": description, "layers": layers}, file),
        notes=tuple(notes),
    )


def _rows(text: str, file: str | os.PathLike[str]) -> list[tuple[int, list[str]]]:
    try:
        reader = csv.reader(io.StringIO(text))
        return [
            (reader.line_num, [cell.strip() for cell in row])
            for row in reader
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise InputError(f"must be CSV: {error}", file=file) from None


def _number(
    cells: Sequence[str], at: int, what: str, file: str | os.PathLike[str], line: int
) -> int:
    text = cells[at] if at < len(cells) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 10) or not 1 <= int(text) < 2**31:
        raise InputError(
            f"{what} (column {at + 1}) must be a whole number of at least 1",
            file=file,
            line=line,
            got=text[:40] or "nothing",
        )
    return int(text)


def _convolution(
    name: str, cells: Sequence[str], file: str | os.PathLike[str], line: int
) -> tuple[dict[str, Any], list[str]]:
    h, w, r, s, c, m, u = (_number(cells, 1 + i, what, file, line) for i, what in enumerate(_CONV))
    v = (
        _number(cells, 8, "stride width", file, line)
        if len(cells) > 8 and cells[8].isdigit()
        else u
    )
    if r > h or s > w:
        raise InputError(
            "the filter must not be larger than the ifmap",
            file=file,
            line=line,
            got=f"{r}x{s} on {h}x{w}",
        )
    after = [(-(size - taps)) % stride for size, taps, stride in ((h, r, u), (w, s, v))]
    layer: dict[str, Any] = {"name": name, "M": m, "C": c, "H": h, "W": w, "R": r, "S": s}
    layer |= {"stride": u if u == v else [u, v]} if (u, v) != (1, 1) else {}
    if not any(after):
        return layer, []
    note = (
        f"{name}: the stride does not fit; {after[0]} rows and {after[1]} columns of padding make"
        " the tool's output"
    )
    return layer | {"padding": [0, after[0], 0, after[1]]}, [note]


Form = Literal["conv", "gemm"]


def export_scalesim(workload: Workload, form: Form = "conv") -> str:
    """The layers as a topology: ``conv`` rows with padded ifmaps, a row for each group; or every
    layer as a matrix product.

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
    for layer in workload.layers:
        lines += _exported(layer, form)
        if len(lines) > MAX_ROWS:
            raise InputError(f"a topology must have at most {MAX_ROWS} rows", key=layer.name)
    return "\n".join(lines) + "\n"


def _exported(layer: Layer, form: Form) -> list[str]:
    p = layer.problem()
    if p.direction != "forward":
        raise InputError("a topology has no transposed convolutions", key=layer.name)
    names = (
        [layer.name]
        if p.G == 1
        else [f"{layer.name}_g{i}" for i in range(1, min(p.G, MAX_ROWS + 1) + 1)]
    )
    if form == "gemm":
        return [f"{name},{p.N * p.E * p.F},{p.M},{p.C * p.R * p.S}," for name in names]
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
    return [f"{name},{h},{w},{p.R},{p.S},{p.C},{p.M},{stride}," for name in names]
