"""What each operator of ONNX becomes, as onnx.ai/onnx/operators defines it.

``CONVERT`` has a function for each operator: it takes the node as a ``Call``, adds nodes to the
network and gives the values of the node's outputs.  It raises ValueError with the reason for what
has no counterpart; the importer gathers these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from accelsim.importers.network_builder import finite, is_absent, laid_out
from accelsim.importers.onnx_call import Call, Tensor, Value
from accelsim.workload.arithmetic import Array
from accelsim.workload.layers import same_padding
from accelsim.workload.operators.operator import Shape

Convert = Callable[[Call], list[Value]]
MAX_RANK = 6
MAX_SCALE = 1024  # of maps


# Layers -------------------------------------------------------------------------------------------


def _maps(call: Call, at: int = 0) -> Tensor:
    """An input that must be maps.  Those of one dimension become maps of one row (``call.flat``),
    which ``_as_it_was`` undoes.
    """
    x = call.tensor(at)
    call.flat = len(x.shape) == 2
    if call.flat:
        wide = [x.shape[0], 1, x.shape[1]]
        return call.add("reshape", [x], name=f"{call.node.output[0]}_row", shape=wide)
    if len(x.shape) != 3:
        raise ValueError(f"only maps of one or two dimensions can be imported, got {x.rank - 2}")
    return x


def _pictures(call: Call) -> Tensor:
    """An input that must be maps of two dimensions."""
    x = call.tensor()
    if len(x.shape) != 3:
        raise ValueError(f"only maps of two dimensions can be imported, got {x.rank - 2}")
    return x


def _as_it_was(
    call: Call, kind: str, x: Tensor, weights: dict[str, Array] | None = None, **fields: Any
) -> list[Value]:
    """A node that reads maps, and maps of one dimension again if that is what they were."""
    if not call.flat:
        return [call.add(kind, [x], weights, **fields)]
    made = call.add(kind, [x], weights, f"{call.node.output[0]}_maps", **fields)
    return [call.add("reshape", [made], shape=[made.shape[0], made.shape[2]])]


def _pads(
    call: Call, size: Shape, taps: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Any:
    """[top, bottom, left, right], one number, or nothing for no padding."""
    auto = call.attributes.word("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pairs = [same_padding(*each) for each in zip(size, taps, strides, dilations, strict=True)]
        if auto == "SAME_LOWER":
            pairs = [(b, a) for a, b in pairs]
        sides = [*pairs[0], *pairs[1]]
    elif auto in ("NOTSET", "VALID", ""):
        none = [0, 0] if call.flat else [0, 0, 0, 0]
        pads = call.attributes.wholes("pads", none) if auto != "VALID" else none
        if pads is None or len(pads) != len(none):
            raise ValueError(f"pads must be {'two' if call.flat else 'four'} numbers")
        pads = [0, pads[0], 0, pads[1]] if call.flat else pads
        sides = [pads[0], pads[2], pads[1], pads[3]]
    else:
        raise ValueError(f"auto_pad {auto} cannot be imported")
    return _short(sides) or None


def _short(values: Sequence[int]) -> Any:
    """One number if they are all the same."""
    return values[0] if len(set(values)) == 1 else list(values)


def _two(call: Call, name: str, default: int = 1) -> list[int]:
    count = 1 if call.flat else 2
    values = call.attributes.wholes(name, [default] * count)
    if values is None or len(values) != count:
        raise ValueError(f"{name} must be {'one number' if call.flat else 'two numbers'}")
    return [default, *values] if call.flat else values


def _window(call: Call, size: Shape, taps: Sequence[int]) -> dict[str, Any]:
    """The fields of a window over maps of ``size``, [height, width]: what is the default is None
    or left out.
    """
    strides, dilations = _two(call, "strides"), _two(call, "dilations")
    fields: dict[str, Any] = {
        "R": taps[0],
        "S": taps[1] if taps[1] != taps[0] else None,
        "padding": _pads(call, size, taps, strides, dilations),
        "stride": _short(strides),
    }
    return fields | ({"dilation": _short(dilations)} if set(dilations) != {1} else {})


def _filters(call: Call) -> tuple[Tensor, dict[str, Array], dict[str, Any]]:
    """What convolutions have in common: the maps, weight and bias, and the operator's fields."""
    x, weight = _maps(call), call.constant(1, "weights")
    if weight.ndim != (3 if call.flat else 4):
        raise ValueError(f"weights must have {'three' if call.flat else 'four'} axes")
    taps = list(weight.shape[2:])
    if call.attributes.wholes("kernel_shape", taps) != taps:
        raise ValueError("kernel_shape must be the weights'")
    if call.flat:
        weight, taps = weight[:, :, None], [1, *taps]
    weights = {"weight": weight} | ({"bias": call.constant(2, "bias")} if call.given(2) else {})
    fields = _window(call, x.shape[1:], taps) | {"bias": True if "bias" in weights else None}
    return x, weights, {k: v for k, v in fields.items() if k != "stride" or v != 1}


def _conv(call: Call) -> list[Value]:
    x, weights, fields = _filters(call)
    groups, filters = call.attributes.whole("group", 1), weights["weight"].shape[0]
    if groups < 1 or filters % groups:
        raise ValueError("group must divide the filters")
    m = filters // groups
    fields |= {"places": {"weight": 1, "bias": 2}}
    if groups > 1 and groups == x.shape[0]:
        return _as_it_was(call, "depthwise", x, weights, M=m if m > 1 else None, **fields)
    fields |= {"groups": groups if groups > 1 else None}
    return _as_it_was(call, "conv2d", x, weights, M=m, **fields)


def _conv_transpose(call: Call) -> list[Value]:
    if call.attributes.wholes("output_shape", None) is not None:
        raise ValueError("output_shape cannot be imported; state pads")
    if call.attributes.word("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise ValueError("auto_pad of a transposed convolution cannot be imported; state pads")
    x, weights, fields = _filters(call)
    groups, extra = call.attributes.whole("group", 1), _two(call, "output_padding", 0)
    fields |= {
        "M": weights["weight"].shape[1],
        "groups": groups if groups != 1 else None,
        "extra": extra if any(extra) else None,
        "places": {"weight": 1, "bias": 2},
    }
    return _as_it_was(call, "conv_transpose", x, weights, **fields)


def _gemm(call: Call) -> list[Value]:
    x, weight = call.tensor(), call.constant(1, "weights")
    if call.attributes.whole("transA", 0) or len(x.shape) != 1:
        raise ValueError("the first matrix must be the activations, not transposed")
    if weight.ndim != 2:
        raise ValueError("weights must have two axes")
    weight = _times(weight, call.attributes.real("alpha", 1.0))
    weight = weight if call.attributes.whole("transB", 0) else weight.T
    weights = {"weight": laid_out(weight)}
    if call.given(2):
        bias = _times(finite(call.constant(2, "bias")), call.attributes.real("beta", 1.0))
        if bias.ndim > 2 or (bias.ndim == 2 and bias.shape[0] != 1):
            raise ValueError("a bias for each input of the batch cannot be imported")
        wide = np.broadcast_to(bias.reshape(-1), (weight.shape[0],))
        weights["bias"] = wide if is_absent(wide) else wide.copy()
    if call.model.uses.get(call.node.input[0], 0) == 1:
        source = call.model.builder.without_flatten(x.name)
        x = Tensor(source, call.model.builder.shapes[source])
    bias_too = True if "bias" in weights else None
    places = {"weight": 1, "bias": 2}
    return [call.add("linear", [x], weights, places=places, M=weight.shape[0], bias=bias_too)]


def _times(array: Array, factor: float) -> Array:
    """An array times a number; as it is for 1, or where only the shape is known."""
    same = factor == 1 or is_absent(array)
    return array if same else np.asarray(finite(array) * np.float64(factor))


def _matmul(call: Call) -> list[Value]:
    a, b = call.values[:2]
    if isinstance(a, Tensor) and not isinstance(b, Tensor) and b.ndim == 2:
        kind = "linear" if len(a.shape) == 1 else "dense"
        weights = {"weight": laid_out(b.T)}
        return [call.add(kind, [a], weights, places={"weight": 1}, M=int(b.shape[1]))]
    rank = max(v.rank for v in (a, b) if isinstance(v, Tensor))
    first, second = call.as_tensor(a, rank), call.as_tensor(b, rank)
    if first.rank != second.rank or len(first.shape) < 2:
        raise ValueError("two factors must be of one rank, of three axes at least")
    pairs = zip(first.shape[:-2], second.shape[:-2], strict=True)
    if any(a != b and min(a, b) != 1 for a, b in pairs):
        raise ValueError("axes before the last two must agree or be 1")
    return [call.add("matmul", [first, second])]


# Windows, activations, normalization --------------------------------------------------------------


def _pool(kind: str) -> Convert:
    def convert(call: Call) -> list[Value]:
        x = _maps(call)
        taps = call.attributes.wholes("kernel_shape", None)
        if taps is None or len(taps) != (1 if call.flat else 2):
            raise ValueError("kernel_shape must be a number for each dimension of the maps")
        taps = [1, *taps] if call.flat else taps
        if len([o for o in call.node.output if o]) > 1:
            raise ValueError("the places of the largest words cannot be imported")
        fields = _window(call, x.shape[1:], taps)
        ceil = bool(call.attributes.whole("ceil_mode", 0))
        count = (
            bool(call.attributes.whole("count_include_pad", 0)) and fields["padding"] is not None
        )
        if kind == "average_pool" and ceil and count:
            raise ValueError(
                "count_include_pad with ceil_mode cannot be imported: tools differ in what they"
                " count"
            )
        fields["ceil"] = ceil or None
        name = kind
        if kind == "average_pool" and count:
            fields["count_padding"] = True
        if kind == "lp_pool":
            p = call.attributes.whole("p", 2)
            name = "l2_pool" if p == 2 else kind
            fields |= {"p": p} if p != 2 else {}
        return _as_it_was(call, name, x, **fields)

    return convert


def _global(kind: str) -> Convert:
    return lambda call: _as_it_was(call, kind, _maps(call))


def _plain(kind: str) -> Convert:
    return lambda call: [call.add(kind, [call.tensor()])]


def _alpha(kind: str, default: float) -> Convert:
    return lambda call: [
        call.add(kind, [call.tensor()], alpha=call.attributes.real("alpha", default))
    ]


def _hard_sigmoid(call: Call) -> list[Value]:
    if (
        abs(call.attributes.real("alpha", 0.2) - 1 / 6) > 1e-4
        or call.attributes.real("beta", 0.5) != 0.5
    ):
        raise ValueError("only alpha 1/6 and beta 0.5 can be imported")
    return [call.add("hard_sigmoid", [call.tensor()])]


def _gelu(call: Call) -> list[Value]:
    if call.attributes.word("approximate", "none") != "none":
        raise ValueError("only the exact form can be imported")
    return [call.add("gelu", [call.tensor()])]


def _clip(call: Call) -> list[Value]:
    bounds = []
    for at, key, default in ((1, "min", -3.4028234663852886e38), (2, "max", 3.4028234663852886e38)):
        bounds.append(
            call.scalar(at, key) if call.given(at) else call.attributes.real(key, default)
        )
    if bounds[0] == 0 and bounds[1] > 1e38:
        return [call.add("relu", [call.tensor()])]
    return [call.add("clip", [call.tensor()], low=bounds[0], high=bounds[1])]


def _pow(call: Call) -> list[Value]:
    exponent = call.scalar(1, "the exponent")
    return [
        call.add("square", [call.tensor()])
        if exponent == 2
        else call.add("power", [call.tensor()], exponent=exponent)
    ]


def _softmax(call: Call) -> list[Value]:
    x = call.tensor()
    axis = call.axis(call.attributes.whole("axis", -1 if call.model.opset >= 13 else 1), x.rank)
    if call.model.opset < 13 and prod(x.shape[axis:]) != x.shape[axis]:
        raise ValueError("a softmax over several axes at once cannot be imported")
    return [call.add("softmax", [x], axis=axis)]


def _batch_norm(call: Call) -> list[Value]:
    if call.attributes.whole("training_mode", 0):
        raise ValueError("only batch normalization after training can be imported")
    keys = ("scale", "shift", "mean", "variance")
    weights = {key: call.constant(i, key) for i, key in enumerate(keys, 1)}
    places = {key: i for i, key in enumerate(keys, 1)}
    return [call.add("batch_norm", [call.tensor()], weights, places=places, epsilon=_epsilon(call))]


def _epsilon(call: Call) -> float:
    """The attribute as the decimal it was before it became a float32."""
    return float(f"{call.attributes.real('epsilon', 1e-5):.7g}")


def _layer_norm(call: Call) -> list[Value]:
    x = call.tensor()
    first = call.axis(call.attributes.whole("axis", -1), x.rank)
    axes = list(range(first, len(x.shape)))
    scale = call.constant(1, "scale")
    shift = call.constant(2, "bias") if call.given(2) else np.zeros_like(finite(scale))
    if len([o for o in call.node.output if o]) > 1:
        raise ValueError("mean and deviation as outputs cannot be imported")
    axes = [-1] if axes == [len(x.shape) - 1] else axes
    return [
        call.add(
            "layer_norm",
            [x],
            {"scale": scale, "shift": shift},
            places={"scale": 1, "shift": 2} if call.given(2) else {"scale": 1},
            axes=None if axes == [-1] else axes,
            epsilon=_epsilon(call),
        )
    ]


def _instance_norm(call: Call) -> list[Value]:
    x = call.tensor()
    weights = {"scale": call.constant(1, "scale"), "shift": call.constant(2, "bias")}
    return [call.add("group_norm", [x], weights, groups=x.shape[0], epsilon=_epsilon(call))]


def _group_norm(call: Call) -> list[Value]:
    x, groups = call.tensor(), call.attributes.whole("num_groups", 0)
    weights = {
        "scale": finite(call.constant(1, "scale")),
        "shift": finite(call.constant(2, "bias")),
    }
    if call.model.opset < 21 and groups and x.shape[0] % groups == 0:  # one for each group, before
        weights = {k: np.repeat(v, x.shape[0] // groups) for k, v in weights.items()}
    return [call.add("group_norm", [x], weights, groups=groups, epsilon=_epsilon(call))]


def _lrn(call: Call) -> list[Value]:
    size = call.attributes.whole("size", 0)
    alpha = call.attributes.real("alpha", 1e-4) / max(size, 1)
    fields: dict[str, Any] = {
        "alpha": float(f"{alpha:.7g}"),
        "beta": float(f"{call.attributes.real('beta', 0.75):.7g}"),
        "k": call.attributes.real("bias", 1.0),
    }
    return [call.add("local_response_norm", [call.tensor()], size=size, **fields)]


# Several tensors ----------------------------------------------------------------------------------


def _arithmetic(kind: str) -> Convert:
    def convert(call: Call) -> list[Value]:
        values = call.values
        tensors = [v for v in values if isinstance(v, Tensor)]
        if len(values) == 2 and len(tensors) == 1:
            at = next(i for i, v in enumerate(values) if not isinstance(v, Tensor))
            constant = np.asarray(values[at])
            one = constant.size == 1 and constant.ndim <= tensors[0].rank
            words = call.in_words(1 - at)
            if one and not words and not is_absent(constant):
                return [
                    _with_scalar(
                        call, kind, tensors[0], float(finite(constant).reshape(-1)[0]), at == 0
                    )
                ]
            if kind == "add" and not words and (biased := _as_bias(call, tensors[0], constant)):
                return [biased]
        if len(values) == 1 and tensors:
            return [tensors[0]]
        rank = max(t.rank for t in tensors)
        return [call.add(kind, [call.as_tensor(v, rank) for v in values])]

    return convert


def _with_scalar(call: Call, kind: str, x: Tensor, number: float, first: bool) -> Tensor:
    """A tensor and one number: scaled and shifted."""
    if kind == "divide" and first:
        inverse = call.add(
            "reciprocal", [x], name=f"{call.node.output[0]}_reciprocal" if number != 1 else ""
        )
        return call.add("affine", [inverse], scale=number) if number != 1 else inverse
    if kind == "divide" and number == 0:
        raise ValueError("a tensor divided by zero cannot be imported")
    scale, shift = {
        "add": (1.0, number),
        "subtract": (-1.0, number) if first else (1.0, -number),
        "multiply": (number, 0.0),
        "divide": (1 / number if number else 0.0, 0.0),
    }[kind]
    return call.add("affine", [x], scale=scale if scale != 1 else None, shift=shift or None)


def _as_bias(call: Call, x: Tensor, constant: Array) -> Tensor | None:
    """A vector added to a projection nobody else reads is its bias."""
    builder = call.model.builder
    entry = builder.entries[-1] if builder.entries else {}
    source = [name for name in call.node.input if isinstance(call.model.values.get(name), Tensor)]
    if (
        entry.get("name") != x.name
        or entry["type"] not in ("dense", "linear")
        or entry.get("bias")
        or call.model.uses.get(source[0], 0) != 1
    ):
        return None
    if constant.shape != (x.shape[-1],):
        return None
    at = next(i for i, v in enumerate(call.values) if not isinstance(v, Tensor))
    if call.model.uses.get(call.node.input[at], 0) != 1:
        return None  # a vector that others read, too, stays one
    entry["bias"] = True
    if not is_absent(constant):
        builder.weights[f"{x.name}.bias"] = finite(constant)
    return Tensor(builder.rename_last(str(call.node.output[0])), x.shape)


def _concat(call: Call) -> list[Value]:
    tensors = [v for v in call.values if isinstance(v, Tensor)]
    rank = max(t.rank for t in tensors)
    axis = call.axis(call.attributes.whole("axis", 1), rank)
    return [call.add("concat", [call.as_tensor(v, rank) for v in call.values], axis=axis or None)]


def reduced_axes(call: Call, x: Tensor) -> dict[str, Any]:
    """Which axes of a tensor a reduction is over, and whether they stay, as keys of ours."""
    axes = call.attributes.wholes("axes", None)
    if axes is None and call.given(1):
        axes = call.words(1, "axes")
    if not axes:
        raise ValueError("a reduction over the batch cannot be imported")
    keep = None if call.attributes.whole("keepdims", 1) else False
    return {"axes": sorted(call.axis(a, x.rank) for a in axes), "keep": keep}


def _reduce(kind: str) -> Convert:
    def convert(call: Call) -> list[Value]:
        x = call.tensor()
        return [call.add(kind, [x], **reduced_axes(call, x))]

    return convert


# Shapes -------------------------------------------------------------------------------------------


def reshaped(call: Call, x: Tensor, full: Sequence[int]) -> list[Value]:
    """To a full shape, the batch counted."""
    if not full or full[0] != call.model.batch:
        raise ValueError("a new shape must leave the batch where it is")
    if tuple(full[1:]) == x.shape:
        return [x]
    if (merged := _heads(call, x, "transpose", tuple(full[1:]))) is not None:
        return [call.add("merge_heads", [merged])]
    if len(full) == 2:
        return [call.add("flatten", [x])]
    if len(full) < 2:
        raise ValueError("a new shape must have an axis besides the batch")
    return [call.add("reshape", [x], shape=list(full[1:]))]


def _reshape(call: Call) -> list[Value]:
    x = call.tensor()
    target = call.words(1, "the shape") if call.given(1) else call.attributes.wholes("shape", None)
    if not target:
        raise ValueError("the shape must be given")
    old = (call.model.batch, *x.shape)
    sizes = [
        old[i] if n == 0 and not call.attributes.whole("allowzero", 0) and i < len(old) else n
        for i, n in enumerate(target)
    ]
    known = prod(n for n in sizes if n != -1)
    if (
        sizes.count(-1) > 1
        or any(n < -1 or n == 0 for n in sizes)
        or known < 1
        or prod(old) % known
    ):
        raise ValueError("the shape does not have the words there are")
    return reshaped(call, x, [prod(old) // known if n == -1 else n for n in sizes])


def _flatten(call: Call) -> list[Value]:
    x, axis = call.tensor(), call.attributes.whole("axis", 1)
    if axis not in (1, 1 - x.rank):
        raise ValueError("only axis 1 can be imported: the batch stays")
    return [x] if len(x.shape) == 1 else [call.add("flatten", [x])]


def _axes_argument(call: Call) -> list[int]:
    axes = call.attributes.wholes("axes", None)
    if axes is None:
        axes = call.words(1, "axes")
    return axes


def _squeeze(call: Call) -> list[Value]:
    x = call.tensor()
    axes = {call.axis(a, x.rank) for a in _axes_argument(call)}
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError("only axes of one word can be squeezed")
    return reshaped(
        call, x, [call.model.batch, *(n for i, n in enumerate(x.shape) if i not in axes)]
    )


def _unsqueeze(call: Call) -> list[Value]:
    x = call.tensor()
    axes = _axes_argument(call)
    rank = x.rank + len(axes)
    if rank > MAX_RANK + 1:
        raise ValueError("too many axes")
    at = {call.axis(a, rank) for a in axes}
    rest = iter(x.shape)
    return reshaped(
        call, x, [call.model.batch, *(1 if i in at else next(rest) for i in range(rank - 1))]
    )


def _transpose(call: Call) -> list[Value]:
    x = call.tensor()
    order = call.attributes.wholes("perm", list(range(x.rank))[::-1])
    assert order is not None
    if sorted(order) != list(range(x.rank)):
        raise ValueError("perm must name every axis once")
    if order[0] != 0:
        raise ValueError("an order that moves the batch cannot be imported")
    if order == list(range(x.rank)):
        return [x]
    if order == [0, 2, 1, 3] and (parted := _heads(call, x, "reshape", ())) is not None:
        return [call.add("split_heads", [parted], heads=x.shape[1])]
    return [call.add("transpose", [x], order=[a - 1 for a in order[1:]])]


def _heads(call: Call, x: Tensor, kind: str, wanted: Shape) -> Tensor | None:
    """What the node just added reads, that node taken away, if both together only part tokens into
    heads (a reshape, then this transpose) or merge them (a transpose, then this reshape).
    """
    builder = call.model.builder
    source = builder.added_last(kind, x.name)
    if source is None or call.model.uses.get(call.node.input[0], 0) != 1 or len(x.shape) != 3:
        return None
    before, entry = builder.shapes[source], builder.entries[-1]
    if kind == "reshape":
        fits = len(before) == 2 and before[0] == x.shape[0]
    else:
        fits = entry["order"] == [1, 0, 2] and wanted == (x.shape[0], x.shape[1] * x.shape[2])
    if not fits:
        return None
    builder.take_back()
    return Tensor(source, before)


def _split(call: Call) -> list[Value]:
    x = call.tensor()
    axis = call.axis(call.attributes.whole("axis", 0), x.rank)
    count, size = len(call.node.output), x.shape[axis]
    sizes = call.attributes.wholes("split", None) or (
        call.words(1, "split") if call.given(1) else None
    )
    if sizes is None:
        each = -(-size // max(count, 1))
        sizes = [min(each, size - i * each) for i in range(count)]
    if sum(sizes) != size or len(sizes) != count or any(n < 1 for n in sizes):
        raise ValueError(f"pieces must make up the {size} words")
    pieces: list[Value] = []
    start = 0
    for name, n in zip(call.node.output, sizes, strict=True):
        pieces.append(
            call.add(
                "slice", [x], name=str(name), axis=axis or None, start=start or None, stop=start + n
            )
        )
        start += n
    return pieces


def _slice(call: Call) -> list[Value]:
    x = call.tensor()
    starts = call.attributes.wholes("starts", None) or call.words(1, "starts")
    ends = call.attributes.wholes("ends", None) or call.words(2, "ends")
    given_axes = call.attributes.wholes("axes", None) or (
        call.words(3, "axes") if call.given(3) else list(range(len(starts)))
    )
    steps = call.words(4, "steps") if call.given(4) else [1] * len(starts)
    if not len(starts) == len(ends) == len(given_axes) == len(steps):
        raise ValueError("starts, ends, axes and steps must be as many")
    piece = x
    for start, end, axis, step in zip(starts, ends, given_axes, steps, strict=True):
        if step < 1:
            raise ValueError("steps must be positive")
        at = call.axis(axis, x.rank)
        low, high, _ = slice(start, end, step).indices(piece.shape[at])
        if (low, high, step) != (0, piece.shape[at], 1):
            piece = call.add(
                "slice",
                [piece],
                axis=at or None,
                start=low or None,
                stop=high,
                step=step if step != 1 else None,
            )
    return [piece]


def _pad(call: Call) -> list[Value]:
    x = _pictures(call)
    pads = call.attributes.wholes("pads", None) or call.words(1, "pads")
    value = call.attributes.real("value", 0.0)
    if call.given(2) and call.model.opset >= 11:
        value = call.scalar(2, "the value")
    if call.given(3):
        axes = [a + x.rank if a < 0 else a for a in call.words(3, "axes")]
        every = [0] * (2 * x.rank)
        for i, a in enumerate(axes):
            every[a], every[a + x.rank] = pads[i], pads[i + len(axes)]
        pads = every
    if len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)) or any(n < 0 for n in pads):
        raise ValueError("only the two sides of maps can be padded")
    mode = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}.get(
        call.attributes.word("mode", "constant")
    )
    if mode is None:
        raise ValueError("there is no such mode")
    sides = [pads[2], pads[6], pads[3], pads[7]]
    extra: dict[str, Any] = {"value": value} if value and mode == "zeros" else {}
    return (
        [x]
        if not any(sides)
        else [
            call.add(
                "pad", [x], padding=_short(sides), mode=mode if mode != "zeros" else None, **extra
            )
        ]
    )


def _resize(call: Call) -> list[Value]:
    """Nearest, a whole number of times as large; or bilinear, to any size."""
    x = _pictures(call)
    made, whole = _resized(call, x)
    given = call.attributes
    mode = given.word("mode", "nearest")
    place = given.word("coordinate_transformation_mode", "half_pixel")
    rounding = given.word("nearest_mode", "round_prefer_floor")
    if call.node.op_type == "Upsample":
        place, rounding = "asymmetric", "floor"
    times = [n // m for n, m in zip(made, x.shape[1:], strict=True)]
    larger = whole and all(n == m * t for n, m, t in zip(made, x.shape[1:], times, strict=True))
    if mode == "nearest" and not larger:
        raise ValueError("only maps a whole number of times as large can be imported")
    repeats = (place == "asymmetric" and rounding == "floor") or (
        place in ("half_pixel", "pytorch_half_pixel") and rounding.startswith("round")
    )
    if mode == "nearest" and repeats:
        return [call.add("upsample", [x], scale=_short(times))]
    # PyTorch puts the one pixel of a map on the first.
    centres = place == "half_pixel" or (place == "pytorch_half_pixel" and min(made) > 1)
    if mode != "linear" or not (centres or place == "align_corners"):
        raise ValueError(f"mode {mode} with {place}, {rounding} cannot be imported")
    if place == "align_corners":
        return [call.add("upsample", [x], size=_short(made), mode="bilinear", corners=True)]
    if not whole:
        raise ValueError("scales must give whole sizes")
    by = {"scale": _short(times)} if larger else {"size": _short(made)}
    return [call.add("upsample", [x], mode="bilinear", **by)]


def _resized(call: Call, x: Tensor) -> tuple[list[int], bool]:
    """Height and width that are asked for, and whether scales give just these."""
    given = call.attributes
    policy = given.word("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        raise ValueError(f"keep_aspect_ratio_policy {policy} cannot be imported")
    old = [call.model.batch, *x.shape]
    axes = [a + 4 if a < 0 else a for a in given.wholes("axes", None) or range(4)]
    if not {*axes} <= {*range(4)} or len({*axes}) != len(axes):
        raise ValueError("axes must be of the 4 there are, each once")
    at = 1 if call.node.op_type == "Upsample" or len(call.values) == 2 else 2
    if call.given(3):
        sizes = [int(n) for n in call.words(3, "sizes")]
        exact = [float(n) for n in sizes]
    else:
        scales = given.all().get("scales", [])
        if call.given(at):
            scales = [float(s) for s in finite(call.constant(at, "scales")).ravel()]
        if not all(0 < s <= MAX_SCALE for s in scales):
            raise ValueError(f"scales must be above 0 and at most {MAX_SCALE}")
        exact = [s * n for s, n in zip(scales, (old[a] for a in axes), strict=False)]
        sizes = [int(n + 1e-4) for n in exact]
    if len(sizes) != len(axes):
        raise ValueError(f"needs a scale or a size for each of {len(axes)} axes")
    new = old[:]
    for axis, size in zip(axes, sizes, strict=True):
        new[axis] = size
    if new[:2] != old[:2]:
        raise ValueError("only the height and the width of maps can be resized")
    if given.whole("antialias", 0) and any(n < m for n, m in zip(new, old, strict=True)):
        raise ValueError("antialias of smaller maps cannot be imported")
    whole = all(abs(n - m) <= 1e-4 for n, m in zip(exact, sizes, strict=True))
    return new[2:], whole


def _same(call: Call) -> list[Value]:
    return [call.tensor()]


def _dropout(call: Call) -> list[Value]:
    rate = call.scalar(1, "the ratio") if call.given(1) else call.attributes.real("ratio", 0.5)
    return [call.add("dropout", [call.tensor()], rate=float(f"{rate:.7g}"))]


CONVERT: dict[str, Convert] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("average_pool"),
    "LpPool": _pool("lp_pool"),
    "GlobalAveragePool": _global("global_average_pool"),
    "GlobalMaxPool": _global("global_max_pool"),
    "Relu": _plain("relu"),
    "Sigmoid": _plain("sigmoid"),
    "Tanh": _plain("tanh"),
    "HardSwish": _plain("hard_swish"),
    "Abs": _plain("abs"),
    "Neg": _plain("negate"),
    "Exp": _plain("exp"),
    "Log": _plain("log"),
    "Sqrt": _plain("sqrt"),
    "Reciprocal": _plain("reciprocal"),
    "Erf": _plain("erf"),
    "Softplus": _plain("softplus"),
    "LeakyRelu": _alpha("leaky_relu", 0.01),
    "Elu": _alpha("elu", 1.0),
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Clip": _clip,
    "Pow": _pow,
    "Softmax": _softmax,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "LRN": _lrn,
    "Add": _arithmetic("add"),
    "Sum": _arithmetic("add"),
    "Sub": _arithmetic("subtract"),
    "Mul": _arithmetic("multiply"),
    "Div": _arithmetic("divide"),
    "Concat": _concat,
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
    "Identity": _same,
    "Cast": _same,
    "Dropout": _dropout,
}
