"""Operators of ONNX that are several of ours: activations, reductions, words that are moved about,
and attention.

``COMPOSED`` has a function for each, as ``onnx_operators.CONVERT`` has for those that are one of
ours; the formulas are those of onnx.ai/onnx/operators.  A node is called like the output it makes;
those before it are called so, too, with what they do behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod, sqrt
from typing import Any

import numpy as np

from accelsim.importers.network_builder import finite, is_absent
from accelsim.importers.onnx_call import Call, Tensor, Value
from accelsim.importers.onnx_operators import Convert, reduced_axes, reshaped
from accelsim.importers.onnx_quantized import QUANTIZED
from accelsim.workload.arithmetic import Array

MOST = 3.4028234663852886e38  # of a float
MANY = 1000  # tensors that one concat reads
MASKED = -1e9  # what a causal mask adds where nothing may be seen


def part(call: Call, kind: str, inputs: Sequence[Tensor], what: str, **fields: Any) -> Tensor:
    """A node before the last one."""
    return call.add(kind, inputs, name=f"{call.node.output[0]}_{what}", **fields)


def words_of(call: Call, array: Array, what: str, at: int | None = None) -> Tensor:
    """Words that are the same for every input; ``at``: which input of the node they are."""
    places = None if at is None else {"value": at}
    shape = list(array.shape) or [1]
    return call.add(
        "parameter",
        [],
        {"value": array.reshape(shape)},
        name=f"{call.node.output[0]}_{what}",
        places=places,
        shape=shape,
    )


# Activations --------------------------------------------------------------------------------------


def _prelu(call: Call) -> list[Value]:
    """The positive part, and the negative one times a slope."""
    x = call.tensor()
    above = part(call, "relu", [x], "positive")
    below = part(call, "clip", [x], "negative", low=-MOST, high=0.0)
    slope = call.as_tensor(call.values[1], x.rank)
    return [call.add("add", [above, part(call, "multiply", [below, slope], "sloped")])]


def _selu(call: Call) -> list[Value]:
    alpha = call.attributes.real("alpha", 1.6732632423543772)
    gamma = call.attributes.real("gamma", 1.0507009873554805)
    inner = part(call, "elu", [call.tensor()], "elu", alpha=alpha)
    return [call.add("affine", [inner], scale=gamma)]


def _celu(call: Call) -> list[Value]:
    """x where it is positive, else alpha (e^(x / alpha) - 1)."""
    alpha = call.attributes.real("alpha", 1.0)
    inner = part(call, "affine", [call.tensor()], "scaled", scale=1 / alpha)
    return [call.add("affine", [part(call, "elu", [inner], "elu", alpha=1.0)], scale=alpha)]


def _swish(call: Call) -> list[Value]:
    x, alpha = call.tensor(), call.attributes.real("alpha", 1.0)
    if alpha == 1:
        return [call.add("silu", [x])]
    gate = part(call, "sigmoid", [part(call, "affine", [x], "alpha", scale=alpha)], "gate")
    return [call.add("multiply", [x, gate])]


def _mish(call: Call) -> list[Value]:
    x = call.tensor()
    gate = part(call, "tanh", [part(call, "softplus", [x], "softplus")], "tanh")
    return [call.add("multiply", [x, gate])]


def _softsign(call: Call) -> list[Value]:
    x = call.tensor()
    below = part(call, "affine", [part(call, "abs", [x], "abs")], "below", shift=1.0)
    return [call.add("divide", [x, below])]


def _log_softmax(call: Call) -> list[Value]:
    x = call.tensor()
    axis = call.axis(call.attributes.whole("axis", -1 if call.model.opset >= 13 else 1), x.rank)
    if call.model.opset < 13 and prod(x.shape[axis:]) != x.shape[axis]:
        raise ValueError("a softmax over several axes at once cannot be imported")
    return [call.add("log", [part(call, "softmax", [x], "softmax", axis=axis)])]


# Several tensors ----------------------------------------------------------------------------------


def _extreme(largest: bool) -> Convert:
    """The larger, or smaller, of tensors: one and what the other is above, or below, it."""

    def convert(call: Call) -> list[Value]:
        constants = [np.asarray(v) for v in call.values if not isinstance(v, Tensor)]
        tensors = [v for v in call.values if isinstance(v, Tensor)]
        if len(tensors) == 1 and all(c.size == 1 and not is_absent(c) for c in constants):
            bounds = [float(finite(c).reshape(-1)[0]) for c in constants]
            if not bounds:
                return [tensors[0]]
            low, high = (max(bounds), MOST) if largest else (-MOST, min(bounds))
            return [call.add("clip", tensors, low=low, high=high)]
        rank = max(t.rank for t in tensors)
        whole, *others = [call.as_tensor(v, rank) for v in call.values]
        for i, other in enumerate(others, 1):
            pair = [whole, other] if largest else [other, whole]
            apart = part(call, "subtract", pair, f"difference{i}")
            excess = part(call, "relu", [apart], f"excess{i}")
            name = "" if i == len(others) else f"{call.node.output[0]}_{i}"
            kind = "add" if largest else "subtract"
            whole = call.add(kind, [other, excess], name=name)
        return [whole]

    return convert


def _mean_of(call: Call) -> list[Value]:
    rank = max(v.rank for v in call.values if isinstance(v, Tensor))
    tensors = [call.as_tensor(v, rank) for v in call.values]
    if len(tensors) == 1:
        return [tensors[0]]
    return [call.add("affine", [part(call, "add", tensors, "sum")], scale=1 / len(tensors))]


def _reduced(before: str | None, after: str | None) -> Convert:
    """A sum over axes with a function of each word before it, and one of the sums after it."""

    def convert(call: Call) -> list[Value]:
        x = call.tensor()
        over = reduced_axes(call, x)
        inner = x if before is None else part(call, before, [x], before)
        if after is None:
            return [call.add("sum", [inner], **over)]
        return [call.add(after, [part(call, "sum", [inner], "sum", **over)])]

    return convert


# Words moved --------------------------------------------------------------------------------------


def _copies(call: Call, x: Tensor, counts: Sequence[int]) -> Tensor:
    """``x`` so many times along each of its axes."""
    todo = [(axis, n) for axis, n in enumerate(counts) if n != 1]
    if any(not 1 <= n <= MANY for _, n in todo):
        raise ValueError(f"words can be repeated at most {MANY} times along an axis")
    for i, (axis, n) in enumerate(todo, 1):
        name = "" if i == len(todo) else f"{call.node.output[0]}_axis{axis}"
        x = call.add("concat", [x] * n, name=name, axis=axis or None)
    return x


def _tile(call: Call) -> list[Value]:
    x, repeats = call.tensor(), call.words(1, "repeats")
    if len(repeats) != x.rank or repeats[0] != 1:
        raise ValueError("repeats must be one for each axis, and 1 for the batch")
    return [_copies(call, x, repeats[1:])]


def _expand(call: Call) -> list[Value]:
    x, target = call.tensor(), call.words(1, "the shape")
    full = [call.model.batch, *x.shape]
    wide = [1] * (x.rank - len(target)) + target
    if len(wide) > x.rank or any(
        n not in (1, m) and m != 1 for n, m in zip(wide, full, strict=False)
    ):
        raise ValueError(f"a shape of {full} cannot become {target}")
    if wide[0] not in (1, full[0]):
        raise ValueError("a batch cannot be expanded")
    counts = [n if m == 1 else 1 for n, m in zip(wide[1:], x.shape, strict=True)]
    return [_copies(call, x, counts)]


def _where(call: Call) -> list[Value]:
    """Words of one tensor or of another, by a mask that is known: each times its part of it."""
    mask = call.constant(0, "the condition")
    if is_absent(mask):
        raise ValueError("the condition must be known, and is not in the file")
    first, second = call.values[1:3]
    if mask.all() or not mask.any():
        chosen, other = (first, second) if mask.all() else (second, first)
        if isinstance(chosen, Tensor) and np.size(mask) <= prod(chosen.shape):
            return [chosen]
        first, second = chosen, other
    rank = max(v.rank for v in (first, second) if isinstance(v, Tensor))
    own = np.asarray(mask, np.float32)
    own = own[0] if own.ndim == rank and own.shape[0] == 1 else own
    if own.ndim >= rank:
        raise ValueError("a condition for each input of the batch cannot be imported")
    parts = []
    for value, chosen, what in ((first, own, "first"), (second, 1 - own, "second")):
        if isinstance(value, Tensor):
            held = words_of(call, chosen, f"{what}_mask")
            parts.append(part(call, "multiply", [value, held], what))
        else:  # what a constant gives is known
            constant = np.asarray(finite(value), np.float64)
            constant = constant[0] if constant.ndim == rank and len(constant) == 1 else constant
            held_words = np.where(chosen > 0, np.clip(constant, MASKED, -MASKED), 0)
            parts.append(words_of(call, held_words.astype(np.float32), what))
    return [call.add("add", parts)]


def _gather(call: Call) -> list[Value]:
    """Rows of a table by numbers that are read; or places along an axis that are known: pieces, one
    after the other.
    """
    table = call.values[0]
    if not isinstance(table, Tensor) and isinstance(call.values[1], Tensor):
        if table.ndim != 2 or call.attributes.whole("axis", 0):
            raise ValueError("a table must have two axes, of which the first is looked up")
        rows, width = (int(n) for n in table.shape)
        tokens, weights = call.tensor(1), {"weight": table}
        return [call.add("embedding", [tokens], weights, places={"weight": 0}, rows=rows, M=width)]
    x, index = call.tensor(), call.constant(1, "the index")
    axis = call.axis(call.attributes.whole("axis", 0), x.rank)
    if not np.issubdtype(index.dtype, np.integer) or not 1 <= index.size <= MANY:
        raise ValueError(f"1 to {MANY} places can be gathered")
    size = x.shape[axis]
    places = [int(i) + (size if i < 0 else 0) for i in index.ravel()]
    if not all(0 <= i < size for i in places):
        raise ValueError("the index must be within the axis")
    steps = {b - a for a, b in pairwise(places)} or {1}
    name = call.node.output[0]
    if len(steps) == 1 and (step := steps.pop()) > 0:
        stop = places[-1] + 1
        piece = call.add(
            "slice",
            [x],
            name=f"{name}_slice",
            axis=axis or None,
            start=places[0] or None,
            stop=stop,
            step=step if step != 1 else None,
        )
    else:
        single = [
            call.add(
                "slice", [x], name=f"{name}_{i}", axis=axis or None, start=i or None, stop=i + 1
            )
            for i in places
        ]
        piece = call.add("concat", single, name=f"{name}_pieces", axis=axis or None)
    left = [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    return reshaped(call, piece, [call.model.batch, *left])


def _blocks(to_space: bool) -> Convert:
    """Channels as blocks of pixels, or the other way: a reshape, a transpose, a reshape."""

    def convert(call: Call) -> list[Value]:
        x, b = call.tensor(), call.attributes.whole("blocksize", 0)
        if len(x.shape) != 3 or b < 1:
            raise ValueError("only maps of two dimensions can be imported, in blocks of 1 or more")
        c, h, w = x.shape
        if to_space:
            if c % (b * b):
                raise ValueError(f"blocks of {b} must divide the {c} channels")
            columns = call.attributes.word("mode", "DCR") == "CRD"
            parts = [c // (b * b), b, b, h, w] if columns else [b, b, c // (b * b), h, w]
            order = [0, 3, 1, 4, 2] if columns else [2, 3, 0, 4, 1]
            whole = [c // (b * b), h * b, w * b]
        else:
            if h % b or w % b:
                raise ValueError(f"blocks of {b} must divide maps of {h}x{w}")
            parts, order = [c, h // b, b, w // b, b], [2, 4, 0, 1, 3]
            whole = [c * b * b, h // b, w // b]
        parted = part(call, "reshape", [x], "parted", shape=parts)
        turned = part(call, "transpose", [parted], "turned", order=order)
        return [call.add("reshape", [turned], shape=whole)]

    return convert


# Transformers -------------------------------------------------------------------------------------


def _rms_norm(call: Call) -> list[Value]:
    """x over the root of the mean of its squares, times a word for each of the last axes."""
    x = call.tensor()
    first = call.axis(call.attributes.whole("axis", -1), x.rank)
    axes = list(range(first, len(x.shape)))
    epsilon = float(f"{call.attributes.real('epsilon', 1e-5):.7g}")
    mean = part(call, "mean", [part(call, "square", [x], "square")], "mean", axes=axes)
    root = part(call, "sqrt", [part(call, "affine", [mean], "epsilon", shift=epsilon)], "root")
    unit = part(call, "divide", [x, root], "unit")
    scale = words_of(call, finite(call.constant(1, "scale")), "scale", 1)
    return [call.add("multiply", [unit, scale])]


def _attention(call: Call) -> list[Value]:
    """softmax(scale Q K^T + mask) V; several heads of Q may share those of K and V."""
    if call.attributes.real("softcap", 0.0):
        raise ValueError("softcap cannot be imported")
    if call.attributes.whole("qk_matmul_output_mode", 0) or len(call.node.output) > 3:
        raise ValueError("the products before the softmax cannot be outputs")
    flat = len(call.tensor().shape) == 2
    q, k, v = (_headed(call, at, flat) for at in range(3))
    present: list[Value] = []
    for at, (which, new) in enumerate((("key", k), ("value", v)), 4):
        whole = new
        if call.given(at):
            whole = part(call, "concat", [call.tensor(at), new], which, axis=1)
        present.append(whole)
    keys, values = present
    assert isinstance(keys, Tensor) and isinstance(values, Tensor)
    (heads, rows, width), (shared, columns, _) = q.shape, keys.shape
    if heads % shared:
        raise ValueError(f"{shared} heads of keys must divide {heads} heads of queries")
    scale = call.attributes.real("scale", 0.0) or 1 / sqrt(width)
    scores = part(call, "matmul", [q, keys], "scores", transpose_b=True)
    scores = part(call, "affine", [scores], "scaled", scale=scale)
    masks = [_mask(call, rows, columns)] if call.given(3) else []
    if call.attributes.whole("is_causal", 0):
        seen = np.tril(np.ones((rows, columns)), columns - rows if call.given(4) else 0)
        masks.append(words_of(call, np.where(seen > 0, 0, MASKED).astype(np.float32), "causal"))
    for i, mask in enumerate(masks):
        scores = part(call, "add", [scores, mask], f"masked{i}")
    shares = part(call, "softmax", [scores], "shares", axis=2)
    name = f"{call.node.output[0]}_mixed" if flat else ""
    mixed = call.add("matmul", [shares, values], name=name)
    if flat:
        mixed = call.add("merge_heads", [mixed])
    return [mixed, *present] if len(call.node.output) > 1 else [mixed]


def _headed(call: Call, at: int, flat: bool) -> Tensor:
    """Queries, keys or values as heads x tokens x features."""
    x = call.tensor(at)
    if not flat:
        if len(x.shape) != 3:
            raise ValueError("queries, keys and values must be of one form")
        return x
    heads = call.attributes.whole("q_num_heads" if at == 0 else "kv_num_heads", 0)
    what = ("queries", "keys", "values")[at]
    return part(call, "split_heads", [x], what, heads=heads)


def _mask(call: Call, rows: int, columns: int) -> Tensor:
    """A mask of numbers, or of truths, that is added to the products."""
    value = call.values[3]
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype == np.bool_:
        array = np.where(array, 0, MASKED).astype(np.float32)
    array = np.maximum(finite(array), MASKED)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.shape != (rows, columns):
        raise ValueError(f"a mask must be {rows}x{columns}, the same for every head")
    return words_of(call, array, "mask", 3)


COMPOSED: dict[str, Convert] = {
    "PRelu": _prelu,
    "Selu": _selu,
    "Celu": _celu,
    "Swish": _swish,
    "Mish": _mish,
    "Softsign": _softsign,
    "LogSoftmax": _log_softmax,
    "Max": _extreme(True),
    "Min": _extreme(False),
    "Mean": _mean_of,
    "ReduceL1": _reduced("abs", None),
    "ReduceL2": _reduced("square", "sqrt"),
    "ReduceSumSquare": _reduced("square", None),
    "ReduceLogSum": _reduced(None, "log"),
    "ReduceLogSumExp": _reduced("exp", "log"),
    "Tile": _tile,
    "Expand": _expand,
    "Where": _where,
    "Gather": _gather,
    "DepthToSpace": _blocks(True),
    "SpaceToDepth": _blocks(False),
    "CastLike": lambda call: [call.tensor()],
    "RMSNormalization": _rms_norm,
    "Attention": _attention,
    **QUANTIZED,
}
