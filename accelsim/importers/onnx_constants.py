"""Constants of an ONNX model worked out beforehand: what only describes shapes, and weights that
are moved about.

``fold`` is called for a node all of whose inputs are arrays.  ``FOLDED`` has a function for each
operator: (inputs, attributes) to outputs, as onnx.ai/onnx/operators defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from accelsim.importers.network_builder import absent, is_absent
from accelsim.workload.arithmetic import Array

Attributes = Mapping[str, Any]
MAX_CONSTANT = 2**24  # words of a constant that is worked out
MAX_CONSTANTS = 2**26  # of all of them
VIEWS = (
    "Identity",
    "Reshape",
    "Transpose",
    "Unsqueeze",
    "Squeeze",
    "Slice",
    "Split",
    "Flatten",
)  # no new words
KEPT = ("Cast", "DequantizeLinear")  # the same words as other numbers
_WORD_BY_WORD = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where")
_SAME_SHAPE = ("Cast", "DequantizeLinear", "Neg", "Abs", "Sqrt", "Floor", "Ceil")

_CASTS = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
}


def fold(
    op: str, xs: Sequence[Array], attributes: Attributes, opset: int, outputs: int
) -> list[Array]:
    """The outputs of a node whose inputs are all known, or absent where only shapes are.  Raises
    ValueError if there would be too many words, or it cannot be.
    """
    if any(map(is_absent, xs)) and op not in VIEWS:
        return [absent(_shape_of(op, xs, attributes))]
    if op in ("Concat", "Min", "Max", "Cast") and sum(x.size for x in xs) > MAX_CONSTANT:
        raise ValueError(f"a constant may have at most {MAX_CONSTANT} words")
    with np.errstate(all="ignore"):
        constants = FOLDED[op](list(xs), dict(attributes) | {"_outputs": outputs, "_opset": opset})
    for array in constants:
        if array.size > MAX_CONSTANT and op not in (*VIEWS, "ConstantOfShape"):
            raise ValueError(f"a constant may have at most {MAX_CONSTANT} words")
    return constants


def _shape_of(op: str, xs: Sequence[Array], attributes: Attributes) -> tuple[int, ...]:
    """The shape a node makes of inputs of which only shapes are known.  Raises ValueError if it
    takes their words to tell.
    """
    shapes = [x.shape for x in xs]
    if op in _WORD_BY_WORD:
        return np.broadcast_shapes(*shapes)
    if op in _SAME_SHAPE:
        return shapes[0]
    if op == "Concat":
        axis = int(attributes.get("axis", 0)) % max(len(shapes[0]), 1)
        total = sum(shape[axis] for shape in shapes)
        return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])
    raise ValueError("the words it works with are not in the file")


def _bounded(shape: Sequence[int]) -> tuple[int, ...]:
    if any(n < 0 for n in shape) or len(shape) > 8 or prod(shape) > MAX_CONSTANT:
        raise ValueError(f"a constant may have at most {MAX_CONSTANT} words")
    return tuple(int(n) for n in shape)


def _binary(function: Callable[..., Any]) -> Callable[[list[Array], Attributes], list[Array]]:
    def run(xs: list[Array], a: Attributes) -> list[Array]:
        _bounded(np.broadcast_shapes(*(x.shape for x in xs)))
        return [np.asarray(function(*xs))]

    return run


def _divide(a: Array, b: Array) -> Array:
    if np.issubdtype(a.dtype, np.integer):
        if not np.all(b):
            raise ValueError("a constant divided by zero cannot be worked out")
        return np.asarray(np.trunc(a / b).astype(a.dtype))
    return np.asarray(a / b)


def _gather(xs: list[Array], a: Attributes) -> list[Array]:
    axis = int(a.get("axis", 0))
    _bounded(
        [*xs[1].shape, *(n for i, n in enumerate(xs[0].shape) if i != axis % max(xs[0].ndim, 1))]
    )
    return [np.take(xs[0], xs[1].astype(np.int64), axis)]


def _axes(xs: list[Array], a: Attributes) -> list[int] | None:
    if "axes" in a:
        return [int(v) for v in a["axes"]]
    return [int(v) for v in xs[1].ravel()] if len(xs) > 1 and xs[1].size else None


def _unsqueeze(xs: list[Array], a: Attributes) -> list[Array]:
    axes = _axes(xs, a) or []
    if len(axes) > 8:
        raise ValueError("too many axes")
    return [np.expand_dims(xs[0], tuple(axes))]


def _squeeze(xs: list[Array], a: Attributes) -> list[Array]:
    axes = _axes(xs, a)
    return [np.squeeze(xs[0], None if axes is None else tuple(axes))]


def _slice(xs: list[Array], a: Attributes) -> list[Array]:
    x = xs[0]
    lists = [a.get("starts"), a.get("ends"), a.get("axes"), None]
    starts, ends, axes, steps = (
        [int(v) for v in xs[i].ravel()] if i < len(xs) and xs[i].size else lists[i - 1]
        for i in (1, 2, 3, 4)
    )
    if starts is None or ends is None:
        raise ValueError("starts and ends must be given")
    index: list[Any] = [slice(None)] * x.ndim
    for i, start in enumerate(starts):
        index[axes[i] if axes else i] = slice(start, ends[i], steps[i] if steps else 1)
    return [x[tuple(index)]]


def _reshape(xs: list[Array], a: Attributes) -> list[Array]:
    target = [int(v) for v in (xs[1].ravel() if len(xs) > 1 else a.get("shape", []))]
    if len(target) > 8:
        raise ValueError("too many axes")
    return [
        xs[0].reshape(
            [xs[0].shape[i] if n == 0 and i < xs[0].ndim else n for i, n in enumerate(target)]
        )
    ]


def _constant_of_shape(xs: list[Array], a: Attributes) -> list[Array]:
    """One word everywhere: it takes no memory, however large, as absent words take none."""
    value = np.asarray(a.get("value", np.zeros(1, np.float32))).reshape(-1)[:1]
    shape = [int(v) for v in xs[0].ravel()]
    if any(n < 0 for n in shape) or len(shape) > 8 or prod(shape) >= 2**31:
        raise ValueError("a constant may have at most 2^31 words")
    return [np.broadcast_to(value.reshape(()), shape)]


def _range(xs: list[Array], a: Attributes) -> list[Array]:
    start, stop, step = (x.reshape(-1)[0] for x in xs[:3])
    if (
        step == 0
        or not np.isfinite([float(start), float(stop), float(step)]).all()
        or abs(float(stop - start) / float(step)) > MAX_CONSTANT
    ):
        raise ValueError("a range must have an end")
    return [np.arange(start, stop, step)]


def _expand(xs: list[Array], a: Attributes) -> list[Array]:
    shape = np.broadcast_shapes(xs[0].shape, _bounded([int(v) for v in xs[1].ravel()]))
    return [np.broadcast_to(xs[0], _bounded(shape)).copy()]


def _split(xs: list[Array], a: Attributes) -> list[Array]:
    axis, count = int(a.get("axis", 0)), int(a["_outputs"])
    sizes = [int(v) for v in xs[1].ravel()] if len(xs) > 1 and xs[1].size else a.get("split")
    if sizes is None:
        return list(np.array_split(xs[0], count, axis))
    return list(np.split(xs[0], np.cumsum(sizes)[:-1], axis))


def _reduce(function: Callable[..., Any]) -> Callable[[list[Array], Attributes], list[Array]]:
    def run(xs: list[Array], a: Attributes) -> list[Array]:
        axes = _axes(xs, a)
        return [
            np.asarray(
                function(
                    xs[0],
                    axis=None if axes is None else tuple(axes),
                    keepdims=bool(a.get("keepdims", 1)),
                )
            )
        ]

    return run


def _cast(xs: list[Array], a: Attributes) -> list[Array]:
    if a.get("to") not in _CASTS:
        raise ValueError("a constant can only become a plain number")
    return [xs[0].astype(_CASTS[a["to"]])]


def _dequantized(xs: list[Array], a: Attributes) -> list[Array]:
    x, scale = xs[0], np.asarray(xs[1], np.float64)
    zero = np.asarray(xs[2], np.float64) if len(xs) > 2 and xs[2].size else np.zeros(())
    if scale.size > 1:
        if scale.ndim != 1:
            raise ValueError("scales of blocks cannot be imported")
        axis = int(a.get("axis", 1)) % max(x.ndim, 1)
        wide = [-1 if i == axis else 1 for i in range(x.ndim)]
        scale, zero = scale.reshape(wide), zero.reshape(wide) if zero.size > 1 else zero
    # Words of sums keep all of their bits.
    kind = np.float64 if x.dtype == np.int32 else np.float32
    words = np.asarray((np.asarray(x, np.float64) - zero) * scale, kind)
    if not np.isfinite(words).all():
        raise ValueError("its words, scales and what they come to must be finite numbers")
    return [words]


def _quantized(xs: list[Array], a: Attributes) -> list[Array]:
    zero = np.asarray(xs[2]) if len(xs) > 2 and xs[2].size else np.zeros((), np.uint8)
    if zero.dtype.kind not in "iu" or a.get("block_size") or xs[1].ndim > 1:
        raise ValueError("a constant can only become plain integers")
    x, scale = np.asarray(xs[0], np.float32), np.asarray(xs[1], np.float32)
    if scale.size > 1:
        axis = int(a.get("axis", 1)) % max(x.ndim, 1)
        wide = [-1 if i == axis else 1 for i in range(x.ndim)]
        scale, zero = scale.reshape(wide), zero.reshape(wide) if zero.size > 1 else zero
    limits = np.iinfo(zero.dtype)
    words = np.rint(x / scale) + zero.astype(np.float64)
    return [np.clip(words, limits.min, limits.max).astype(zero.dtype)]


def _trilu(xs: list[Array], a: Attributes) -> list[Array]:
    k = int(xs[1].reshape(-1)[0]) if len(xs) > 1 and xs[1].size else 0
    return [np.triu(xs[0], k) if a.get("upper", 1) else np.tril(xs[0], k)]


def _tile(xs: list[Array], a: Attributes) -> list[Array]:
    repeats = [int(v) for v in xs[1].ravel()]
    _bounded([n * m for n, m in zip(xs[0].shape, repeats, strict=True)])
    return [np.tile(xs[0], repeats)]


def _product(xs: list[Array], a: Attributes) -> list[Array]:
    if prod(xs[0].shape) * (xs[1].shape[-1] if xs[1].ndim > 1 else 1) > MAX_CONSTANT:
        raise ValueError(f"a constant may have at most {MAX_CONSTANT} words")
    return [np.matmul(xs[0], xs[1])]


def _unary(function: Callable[[Array], Any]) -> Callable[[list[Array], Attributes], list[Array]]:
    return lambda xs, a: [np.asarray(function(xs[0]))]


FOLDED: dict[str, Callable[[list[Array], Attributes], list[Array]]] = {
    "Shape": lambda xs, a: [np.array(xs[0].shape, np.int64)],
    "Size": lambda xs, a: [np.array(xs[0].size, np.int64)],
    "Identity": lambda xs, a: [xs[0]],
    "Cast": _cast,
    "Gather": _gather,
    "Concat": lambda xs, a: [np.concatenate([np.atleast_1d(x) for x in xs], int(a.get("axis", 0)))],
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Reshape": _reshape,
    "Transpose": lambda xs, a: [np.transpose(xs[0], a.get("perm"))],
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Expand": _expand,
    "Split": _split,
    "Where": _binary(np.where),
    "Equal": _binary(np.equal),
    "Greater": _binary(np.greater),
    "Less": _binary(np.less),
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(_divide),
    "Pow": _binary(np.power),
    "Mod": _binary(np.mod),
    "Min": _binary(lambda *xs: reduce(np.minimum, xs)),
    "Max": _binary(lambda *xs: reduce(np.maximum, xs)),
    "GreaterOrEqual": _binary(np.greater_equal),
    "LessOrEqual": _binary(np.less_equal),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Xor": _binary(np.logical_xor),
    "DequantizeLinear": _dequantized,
    "QuantizeLinear": _quantized,
    "Trilu": _trilu,
    "Tile": _tile,
    "MatMul": _product,
    "Exp": _unary(np.exp),
    "Log": _unary(np.log),
    "Sin": _unary(np.sin),
    "Cos": _unary(np.cos),
    "Reciprocal": _unary(lambda x: 1 / x),
    "Round": _unary(np.rint),
    "Sign": _unary(np.sign),
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Abs": _unary(np.abs),
    "Floor": _unary(np.floor),
    "Ceil": _unary(np.ceil),
    "Sqrt": _unary(np.sqrt),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "Flatten": lambda xs, a: [xs[0].reshape(prod(xs[0].shape[: int(a.get("axis", 1))]), -1)],
}
