"""Arrays of an ONNX model: in the file, in another file beside it, or nowhere.

``onnx_import`` asks for each initializer.  An array that is not there is ``absent``: its shape is
enough to count with.  Other files are read where the model says, never outside its folder.
"""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.importers.network_builder import absent
from accelsim.workload.arithmetic import Array

MAX_BYTES = 2**31 - 1  # of one array: protobuf's own limit
_FIELDS = (
    *("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data"),
)


def tensor_words(tensor: Any, file: str | os.PathLike[str]) -> Array:
    """A TensorProto's words.  Raises ValueError with what is wrong, without the tensor's name."""
    from onnx import numpy_helper

    if any(d < 0 for d in tensor.dims) or len(tensor.dims) > 8:
        raise ValueError("have an impossible shape")
    if prod(tensor.dims) > MAX_BYTES:
        raise ValueError("are too large")
    if len(tensor.external_data) or tensor.data_location == 1:
        return _elsewhere(tensor, Path(file))
    given = tensor.raw_data or any(len(getattr(tensor, name)) for name in _FIELDS)
    if not given and prod(tensor.dims) and tensor.data_type:
        return absent(tensor.dims)
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # onnx raises what numpy and struct raise
        raise ValueError(f"cannot be read ({error})") from None


def _elsewhere(tensor: Any, file: Path) -> Array:
    """An array in another file, or absent if there is no such file.  Only what is used of it is
    read from the disk.
    """
    from onnx import helper, numpy_helper

    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = file.resolve().parent
    if not location:
        raise ValueError("lie in another file, which is not named")
    # A link that leads out of the folder is outside, too.
    path = (folder / location).resolve()
    if folder not in path.parents:
        raise ValueError(f"lie in another file, outside the model's folder: {location[:60]}")
    if not path.exists():
        return absent(tensor.dims)
    if not path.is_file():
        raise ValueError(f"lie in {location[:60]}, which is no file")
    try:
        offset = int(entries.get("offset", "0"))
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        length = int(entries.get("length", kind.itemsize * prod(tensor.dims)))
    except (ValueError, KeyError, TypeError):
        raise ValueError("have an impossible place or type") from None
    size = path.stat().st_size
    if offset < 0 or length < 0 or length > MAX_BYTES or offset + length > size:
        raise ValueError(f"should be {length} bytes from {offset} on in {location[:60]}, of {size}")
    if kind.kind in "fiub" and length == kind.itemsize * prod(tensor.dims):
        if not length:
            return np.zeros(tuple(tensor.dims), kind)
        return np.asarray(np.memmap(path, kind, "r", offset, tuple(tensor.dims)))
    with path.open("rb") as stream:
        stream.seek(offset)
        copy = type(tensor)()
        copy.CopyFrom(tensor)
        del copy.external_data[:]
        copy.data_location = 0
        copy.raw_data = stream.read(length)
    try:
        return np.asarray(numpy_helper.to_array(copy))
    except Exception as error:
        raise ValueError(f"cannot be read ({error})") from None


# Which inputs of a node are its weights, by number.
WEIGHTS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (1,),
    "BatchNormalization": (1, 2, 3, 4),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "RMSNormalization": (1,),
    "PRelu": (1,),
    "Gather": (0,),
}


def stripped(graph: Any, known: Any) -> dict[str, tuple[int, ...]]:
    """Inputs of a graph that are weights taken out of it, with their shapes: all sizes are known,
    and every node that reads one reads its weights there, or a vector where it adds or multiplies.
    What accelsim wrote says so itself.
    """
    uses: dict[str, list[tuple[str, int]]] = {}
    for node in graph.node:
        for at, name in enumerate(node.input):
            uses.setdefault(name, []).append((node.op_type, at))
    there: dict[str, tuple[int, ...]] = {}
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        sizes = tuple(int(d.dim_value) for d in dims if d.WhichOneof("value") == "dim_value")
        if value.name in known or len(sizes) != len(dims) or any(n < 1 for n in sizes):
            continue
        said = value.doc_string == STRIPPED
        rank = len(sizes)

        def weighs(op: str, at: int, rank: int = rank) -> bool:
            if op in ("Add", "Mul", "Sub", "Div"):
                return rank == 1
            fits = rank == 2 or op not in ("MatMul", "Gather")
            return fits and at in WEIGHTS.get(op, ())

        reads = uses.get(value.name, [])
        if sizes and (said or (reads and all(weighs(op, at) for op, at in reads))):
            there[value.name] = sizes
    return there


STRIPPED = "weights, without their words"
