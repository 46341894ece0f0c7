"""What each layer type of Caffe becomes, as BVLC Caffe and its common forks define it.

``LAYERS`` has a function for each type: it takes the layer as a ``CaffeLayer``, adds nodes to the
network and gives the tensors of its tops.  It raises ValueError with the reason for what has no
counterpart; the importer gathers these.  A type that is several of our operators becomes several
nodes, called by the layer's name and what they do.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import log, prod
from typing import Any

from accelsim.importers.caffe_fields import CaffeFields, CaffeLayer
from accelsim.workload.operators.operator import Shape

Convert = Callable[[CaffeLayer], list[str]]
MOST = 3.4028234663852886e38  # of a float
# Klambauer et al., "Self-normalizing neural networks", NIPS 2017, equation 2.
SELU = (1.6732632423543772, 1.0507009873554805)


# Layers of the array ------------------------------------------------------------------------------


def _kernel(given: CaffeFields) -> dict[str, Any]:
    r, s = given.pair("kernel_size", ("kernel_h", "kernel_w"), 0)
    stride = given.pair("stride", ("stride_h", "stride_w"), 1)
    pads = given.pair("pad", ("pad_h", "pad_w"), 0)
    if not r or not s:
        raise ValueError("kernel_size must be given")
    return {"R": r, "S": s if s != r else None, "stride": _one(stride), "padding": _one(pads)}


def _one(values: list[int]) -> Any:
    return values[0] if values[0] == values[1] else values


def _stated(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is the default."""
    defaults = {"stride": 1, "dilation": 1, "padding": 0, "bias": False, "groups": 1}
    return {k: v for k, v in fields.items() if v is not None and defaults.get(k) != v}


def _convolution(call: CaffeLayer) -> list[str]:
    given = call.fields("convolution_param")
    m, groups = given.whole("num_output", 0), given.whole("group", 1)
    bias = given.flag("bias_term", True)
    fields = _kernel(given) | {"dilation": _one(given.pair("dilation", ("", ""), 1)), "bias": bias}
    given.whole("axis", 1)
    given.finish()
    channels = call.shape()[0]
    if "epthwise" in call.kind:
        groups = channels  # the forks' own types: a filter for each channel
    if not groups or m % groups or not m:
        raise ValueError(f"group must divide num_output, got {groups} and {m}")
    keys = ("weight", "bias") if bias else ("weight",)
    per_group = m // groups
    if call.kind == "Deconvolution":
        extra = fields | {"M": per_group, "groups": groups}
        return [call.add_weighted("conv_transpose", keys, **_stated(extra))]
    if groups == channels and groups > 1:
        extra = fields | {"M": per_group if per_group > 1 else None}
        return [call.add_weighted("depthwise", keys, **_stated(extra))]
    extra = fields | {"M": per_group, "groups": groups}
    return [call.add_weighted("conv2d", keys, **_stated(extra))]


def _inner_product(call: CaffeLayer) -> list[str]:
    given = call.fields("inner_product_param")
    m, bias, axis = (
        given.whole("num_output", 0),
        given.flag("bias_term", True),
        given.whole("axis", 1, -6),
    )
    given.flag("transpose", False)
    given.finish()
    rank = len(call.shape()) + 1
    keys = ("weight", "bias") if bias else ("weight",)
    if axis in (1, 1 - rank):
        return [call.add_weighted("linear", keys, M=m, bias=bias or None)]
    if axis in (-1, rank - 1):
        return [call.add_weighted("dense", keys, M=m, bias=bias or None)]
    raise ValueError(f"axis must be the first after the batch or the last, got {axis}")


def _embed(call: CaffeLayer) -> list[str]:
    """Rows of a table by the numbers it reads."""
    given = call.fields("embed_param")
    m, rows = given.whole("num_output", 0), given.whole("input_dim", 0)
    shifted = given.flag("bias_term", True)
    given.finish()
    made = call.add_weighted("embedding", ("weight",), "rows" if shifted else "", rows=rows, M=m)
    if not shifted:
        return [made]
    shape = [*[1] * len(call.shape()), m]
    words = call.add_weighted("parameter", ("value",), "bias", first=1, shape=shape)
    return [call.add("add", [made, words])]


# Windows ------------------------------------------------------------------------------------------


def _pooling(call: CaffeLayer) -> list[str]:
    given = call.fields("pooling_param")
    pool = given.word("pool", "MAX")
    pool = {"0": "MAX", "1": "AVE", "2": "STOCHASTIC"}.get(pool, pool)
    whole, rounding = given.flag("global_pooling", False), given.word("round_mode", "CEIL")
    ceil = given.flag("ceil_mode", rounding in ("CEIL", "0"))
    if whole:
        plain = given.pair("stride", ("stride_h", "stride_w"), 1) == [1, 1]
        if not plain or given.pair("pad", ("pad_h", "pad_w"), 0) != [0, 0]:
            raise ValueError("global pooling must have stride 1 and no padding")
    fields = {} if whole else _kernel(given)
    given.finish()
    kind = {"MAX": "max_pool", "AVE": "average_pool", "STOCHASTIC": "stochastic_pool"}.get(pool)
    if kind is None or (whole and kind == "stochastic_pool"):
        raise ValueError(f"there is no operator for pool {pool}")
    if whole:
        return [call.add(f"global_{kind}")]
    extra: dict[str, Any] = (
        {"count_padding": True} if kind == "average_pool" and fields["padding"] else {}
    )
    extra |= {"expected": True} if kind == "stochastic_pool" else {}
    if not fields["padding"]:
        del fields["padding"]
    return [call.add(kind, ceil=ceil or None, **(fields | extra))]


def _spp(call: CaffeLayer) -> list[str]:
    """A pyramid of poolings to 1, 4, 16, ... words a channel, one behind the other (He et al.,
    "Spatial pyramid pooling", ECCV 2014), with the windows of Caffe's SPPLayer.
    """
    given = call.fields("spp_param")
    levels, pool = given.whole("pyramid_height", 0), given.word("pool", "MAX")
    given.finish()
    kind = {"MAX": "max_pool", "0": "max_pool", "AVE": "average_pool", "1": "average_pool"}.get(
        pool
    )
    if kind is None or not 1 <= levels <= 8:
        raise ValueError(f"a pyramid has 1 to 8 levels of MAX or AVE, got {levels} of {pool}")
    made = []
    for level in range(levels):
        bins = 2**level
        windows = [-(-n // bins) for n in call.shape()[1:]]
        pads = [(w * bins - n + 1) // 2 for w, n in zip(windows, call.shape()[1:], strict=True)]
        if any(pad >= w for pad, w in zip(pads, windows, strict=True)):
            raise ValueError(f"maps of {call.shape()[1]}x{call.shape()[2]} have no {bins} windows")
        fields = {"R": windows[0], "S": windows[1], "stride": _one(windows), "ceil": True}
        fields |= {"padding": _one(pads)} if any(pads) else {}
        fields |= {"count_padding": True} if any(pads) and kind == "average_pool" else {}
        made.append(call.add(kind, part="" if levels == 1 else f"level{level + 1}", **fields))
    if levels == 1:
        return made
    flat = [call.add("flatten", [x], f"flat{i}") for i, x in enumerate(made, 1)]
    return [call.add("concat", flat)]


def _lrn(call: CaffeLayer) -> list[str]:
    given = call.fields("lrn_param")
    size, region = given.whole("local_size", 5), given.word("norm_region", "ACROSS_CHANNELS")
    alpha, beta, k = given.real("alpha", 1.0), given.real("beta", 0.75), given.real("k", 1.0)
    given.finish()
    if region in ("ACROSS_CHANNELS", "0"):
        alpha /= max(size, 1)
        return [call.add("local_response_norm", size=size, alpha=alpha, beta=beta, k=k)]
    if region not in ("WITHIN_CHANNEL", "1") or size % 2 == 0:
        raise ValueError(f"there is no operator for norm_region {region} of size {size}")
    # Caffe's own way: the mean of squares around each word, then a power of it.
    squared = call.add("square", part="square")
    around = {"R": size, "stride": 1, "padding": (size - 1) // 2, "count_padding": True}
    mean = call.add("average_pool", [squared], "mean", **_stated(around) | {"stride": 1})
    scaled = call.add("affine", [mean], "scale", scale=alpha, shift=1.0)
    power = call.add("power", [scaled], "power", exponent=-beta)
    return [call.add("multiply", [call.xs[0], power])]


# Activations --------------------------------------------------------------------------------------


def _relu(call: CaffeLayer) -> list[str]:
    given = call.fields("relu_param")
    slope = given.real("negative_slope", 0.0)
    given.finish()
    return [call.add("leaky_relu", alpha=slope) if slope else call.add("relu")]


def _relu6(call: CaffeLayer) -> list[str]:
    return [call.add("clip", low=0.0, high=6.0)]


def _clip(call: CaffeLayer) -> list[str]:
    given = call.fields("clip_param")
    low, high = given.real("min", -MOST), given.real("max", MOST)
    given.finish()
    return [call.add("clip", low=low, high=high)]


def _prelu(call: CaffeLayer) -> list[str]:
    """The positive part, and the negative one times a slope for each channel."""
    given = call.fields("prelu_param")
    one = given.flag("channel_shared", False)
    given.finish()
    above = call.add("relu", part="positive")
    below = call.add("clip", call.xs[:1], "negative", low=-MOST, high=0.0)
    slope = call.add_weighted("parameter", ("value",), "slope", shape=_per_channel(call, one))
    tilted = call.add("multiply", [below, slope], "sloped")
    return [call.add("add", [above, tilted])]


def _per_channel(call: CaffeLayer, one: bool = False) -> list[int]:
    """The shape of a word for each channel, or of one for all."""
    shape = call.shape()
    return [1] * len(shape) if one else [shape[0], *[1] * (len(shape) - 1)]


def _simple(kind: str) -> Convert:
    return lambda call: [call.add(kind)]


def _elu(call: CaffeLayer) -> list[str]:
    given = call.fields("elu_param")
    alpha = given.real("alpha", 1.0)
    given.finish()
    return [call.add("elu", alpha=alpha)]


def _selu(call: CaffeLayer) -> list[str]:
    given = call.fields("selu_param")
    alpha, scale = given.real("alpha", SELU[0]), given.real("lambda", SELU[1])
    given.finish()
    return [call.add("affine", [call.add("elu", part="elu", alpha=alpha)], scale=scale)]


def _swish(call: CaffeLayer) -> list[str]:
    given = call.fields("swish_param")
    beta = given.real("beta", 1.0)
    given.finish()
    if beta == 1:
        return [call.add("silu")]
    gate = call.add("sigmoid", [call.add("affine", part="beta", scale=beta)], "gate")
    return [call.add("multiply", [call.xs[0], gate])]


def _softmax(call: CaffeLayer) -> list[str]:
    given = call.fields("softmax_param")
    axis = given.axis("axis", 1, len(call.shape()) + 1)
    given.finish()
    return [call.add("softmax", axis=axis)]


def _dropout(call: CaffeLayer) -> list[str]:
    given = call.fields("dropout_param")
    rate = given.real("dropout_ratio", 0.5)
    given.flag("scale_train", True)
    given.finish()
    return [call.add("dropout", rate=rate)]


def _shifted(call: CaffeLayer, scale: float, shift: float, part: str) -> str:
    """What it reads, scaled and shifted; as it is where that changes nothing."""
    if (scale, shift) == (1.0, 0.0):
        return call.xs[0]
    by = scale if scale != 1 else None
    return call.add("affine", part=part, scale=by, shift=shift or None)


def _numbers(call: CaffeLayer, fields: str, first: str, default: float) -> tuple[float, ...]:
    """A layer's own number, its ``scale`` and its ``shift``."""
    given = call.fields(fields)
    known = tuple(
        given.real(key, n) for key, n in ((first, default), ("scale", 1.0), ("shift", 0.0))
    )
    given.finish()
    return known


def _power(call: CaffeLayer) -> list[str]:
    """(shift + scale x)^power."""
    power, scale, shift = _numbers(call, "power_param", "power", 1.0)
    if power == 1:
        same = (scale, shift) == (1.0, 0.0)
        return [call.add("identity") if same else _shifted(call, scale, shift, "")]
    inner = _shifted(call, scale, shift, "scale")
    if power == 2:
        return [call.add("square", [inner])]
    return [call.add("power", [inner], exponent=power)]


def _exp(call: CaffeLayer) -> list[str]:
    """base^(shift + scale x), e for a base of -1."""
    base, scale, shift = _numbers(call, "exp_param", "base", -1.0)
    if base != -1 and base <= 0:
        raise ValueError(f"base must be positive, got {base:g}")
    by = 1.0 if base == -1 else log(base)
    return [call.add("exp", [_shifted(call, scale * by, shift * by, "scale")])]


def _log(call: CaffeLayer) -> list[str]:
    """log(shift + scale x) to a base."""
    base, scale, shift = _numbers(call, "log_param", "base", -1.0)
    inner = _shifted(call, scale, shift, "scale")
    if base == -1:
        return [call.add("log", [inner])]
    if base <= 0 or base == 1:
        raise ValueError(f"base must be positive and not 1, got {base:g}")
    return [call.add("affine", [call.add("log", [inner], "log")], scale=1 / log(base))]


# Normalization ------------------------------------------------------------------------------------


def _batch_norm(call: CaffeLayer) -> list[str]:
    given = call.fields("batch_norm_param")
    epsilon = given.real("eps", 1e-5)
    given.finish()
    made = call.add("batch_norm", epsilon=epsilon)
    call.halves.add(made)
    return [made]


def _bn(call: CaffeLayer) -> list[str]:
    """The forks' normalization with scale and shift in one."""
    given = call.fields("bn_param")
    epsilon = given.real("eps", given.real("var_eps", 1e-5))
    for key in (
        "scale_filler",
        "shift_filler",
        "slope_filler",
        "bn_mode",
        "momentum",
        "moving_average",
    ):
        given.asked.add(key)
    given.finish()
    return [call.add_weighted("batch_norm", ("scale", "shift"), epsilon=epsilon)]


def _scale(call: CaffeLayer) -> list[str]:
    """The second half of a batch normalization; or a product with learned words or a second
    tensor, and a sum with learned words.
    """
    given = call.fields("scale_param")
    bias, axis = given.flag("bias_term", False), given.whole("axis", 1, -6)
    axes = given.whole("num_axes", 1, -1)
    given.finish()
    if call.xs[0] in call.halves and call.alone and len(call.xs) == 1 and (axis, axes) == (1, 1):
        call.halves.discard(call.xs[0])
        call.builder.notes.append(f"{call.name} (Scale) is the scale and shift of {call.xs[0]}")
        return [call.xs[0]]
    made = _with_words(call, "multiply", call.xs[0], axis, axes, "scale", "factor" if bias else "")
    if not bias:
        return [made]
    shape = _learned_shape(call, axis, axes)
    if len(call.xs) > 1:
        shape = [*call.builder.shapes[call.xs[1]]]
        shape = [*shape, *[1] * (len(call.shape()) - len(shape))]
    shift = call.add_weighted("parameter", ("value",), "shift", first=2 - len(call.xs), shape=shape)
    return [call.add("add", [made, shift])]


def _bias(call: CaffeLayer) -> list[str]:
    """A sum with learned words or a second tensor."""
    given = call.fields("bias_param")
    axis, axes = given.whole("axis", 1, -6), given.whole("num_axes", 1, -1)
    given.finish()
    return [_with_words(call, "add", call.xs[0], axis, axes, "shift", "")]


def _learned_shape(call: CaffeLayer, axis: int, axes: int) -> list[int]:
    """The shape of learned words that lie along ``axes`` axes from ``axis`` on (-1: all)."""
    shape, rank = call.shape(), len(call.shape()) + 1
    start = (axis + rank if axis < 0 else axis) - 1
    if start < 0:
        raise ValueError("words for each input of a batch cannot be imported")
    stop = len(shape) if axes == -1 else start + axes
    if stop > len(shape):
        raise ValueError(f"num_axes must leave the {rank} axes, got {axes} from {axis}")
    return [n if start <= i < stop else 1 for i, n in enumerate(shape)]


def _with_words(
    call: CaffeLayer, kind: str, x: str, axis: int, axes: int, what: str, part: str
) -> str:
    """``x`` and learned words, or the second tensor, whose axes begin at ``axis``."""
    if len(call.xs) == 1:
        shape = _learned_shape(call, axis, axes)
        words = call.add_weighted("parameter", ("value",), what, shape=shape)
        return call.add(kind, [x, words], part)
    # Axis 0 is the batch, which both tensors have; their other axes agree from the first on.
    if axis not in (0, -len(call.shape()) - 1):
        raise ValueError(f"a second tensor must begin at axis 0, got {axis}")
    second, rank = call.shape(1), len(call.shape())
    if len(second) > rank:
        raise ValueError("the second tensor must not have more axes than the first")
    other = call.xs[1]
    if len(second) < rank:
        other = call.add(
            "reshape", [other], f"{what}_shape", shape=[*second, *[1] * (rank - len(second))]
        )
    return call.add(kind, [x, other], part)


def _axpy(call: CaffeLayer) -> list[str]:
    """a x + y with a word of a for each channel."""
    if len(call.xs) != 3:
        raise ValueError(f"Axpy reads three tensors, got {len(call.xs)}")
    scaled = call.add("multiply", [call.xs[1], call.xs[0]], "scale")
    return [call.add("add", [scaled, call.xs[2]])]


def _normalize(call: CaffeLayer) -> list[str]:
    """Each place over the root of the sum of its squares, times a learned word for each channel."""
    given = call.fields("norm_param")
    everywhere, one = given.flag("across_spatial", True), given.flag("channel_shared", True)
    epsilon = given.real("eps", 1e-10)
    given.asked |= {"scale_filler", "fix_scale"}
    given.finish()
    axes = list(range(len(call.shape()))) if everywhere else [0]
    squares = call.add("sum", [call.add("square", part="square")], "sum", axes=axes)
    root = call.add("sqrt", [call.add("affine", [squares], "epsilon", shift=epsilon)], "root")
    unit = call.add("divide", [call.xs[0], root], "unit")
    shape = _per_channel(call, one)
    words = call.add_weighted("parameter", ("value",), "scale", shape=shape)
    return [call.add("multiply", [unit, words])]


def _mvn(call: CaffeLayer) -> list[str]:
    """Less the mean of a channel's words (or of all), over their deviation."""
    given = call.fields("mvn_param")
    deviates, everything = (
        given.flag("normalize_variance", True),
        given.flag("across_channels", False),
    )
    epsilon = given.real("eps", 1e-9)
    given.finish()
    axes = list(range(0 if everything else 1, len(call.shape())))
    if not axes:
        raise ValueError("a channel of one word has no mean of its own")
    mean = call.add("mean", part="mean", axes=axes)
    if not deviates:
        return [call.add("subtract", [call.xs[0], mean])]
    centred = call.add("subtract", [call.xs[0], mean], "centred")
    squares = call.add("mean", [call.add("square", [centred], "square")], "variance", axes=axes)
    root = call.add("sqrt", [squares], "root")
    return [call.add("divide", [centred, call.add("affine", [root], "epsilon", shift=epsilon)])]


# Several tensors ----------------------------------------------------------------------------------


def _concat(call: CaffeLayer) -> list[str]:
    given = call.fields("concat_param")
    rank = len(call.shape()) + 1
    axis = given.axis("axis", given.whole("concat_dim", 1), rank)
    given.finish()
    return [call.xs[0]] if len(call.xs) == 1 else [call.add("concat", axis=axis or None)]


def _eltwise(call: CaffeLayer) -> list[str]:
    given = call.fields("eltwise_param")
    operation = given.word("operation", "SUM")
    given.flag("stable_prod_grad", True)
    by = given.reals("coeff")
    given.finish()
    operation = {"0": "PROD", "1": "SUM", "2": "MAX"}.get(operation, operation)
    if by and (operation != "SUM" or len(by) != len(call.xs)):
        raise ValueError(f"coeff goes with SUM, one for each of {len(call.xs)} tensors, got {by}")
    if len(call.xs) == 1:
        raise ValueError(f"there is no operator for operation {operation} of 1")
    if operation == "SUM":
        if by == [1.0, -1.0]:
            return [call.add("subtract")]
        return [call.add("add", [_times(call, i, factor) for i, factor in enumerate(by)] or None)]
    if operation not in ("PROD", "MAX"):
        raise ValueError(f"there is no operator for operation {operation}")
    whole = call.xs[0]
    for i, other in enumerate(call.xs[1:], 1):
        last = i == len(call.xs) - 1
        if operation == "PROD":
            whole = call.add("multiply", [whole, other], "" if last else f"product{i}")
        else:  # the larger of two is the second and what the first is above it
            above = call.add("subtract", [whole, other], f"difference{i}")
            more = call.add("relu", [above], f"excess{i}")
            whole = call.add("add", [other, more], "" if last else f"maximum{i}")
    return [whole]


def _times(call: CaffeLayer, at: int, factor: float) -> str:
    x = call.xs[at]
    return x if factor == 1 else call.add("affine", [x], f"times{at + 1}", scale=factor)


def _reduction(call: CaffeLayer) -> list[str]:
    given = call.fields("reduction_param")
    operation, by = given.word("operation", "SUM"), given.real("coeff", 1.0)
    first = given.axis("axis", 0, len(call.shape()) + 1)
    given.finish()
    operation = {"1": "SUM", "2": "ASUM", "3": "SUMSQ", "4": "MEAN"}.get(operation, operation)
    before = {"ASUM": "abs", "SUMSQ": "square"}.get(operation)
    x = call.xs[0] if before is None else call.add(before, part=before)
    axes = list(range(first, len(call.shape())))
    kind = "mean" if operation == "MEAN" else "sum"
    if operation not in ("SUM", "ASUM", "SUMSQ", "MEAN"):
        raise ValueError(f"there is no operator for operation {operation}")
    made = call.add(kind, [x], "" if by == 1 else kind, axes=axes, keep=False)
    return [made if by == 1 else call.add("affine", [made], scale=by)]


# Words moved --------------------------------------------------------------------------------------


def _split(call: CaffeLayer) -> list[str]:
    return call.xs[:1] * len(call.tops)


def _slice(call: CaffeLayer) -> list[str]:
    given = call.fields("slice_param")
    rank = len(call.shape()) + 1
    axis = given.axis("axis", given.whole("slice_dim", 1), rank)
    points = given.wholes("slice_point")
    given.finish()
    size, count = call.shape()[axis], len(call.tops)
    if not points:
        if size % count:
            raise ValueError(f"the {size} words along axis {axis + 1} must be {count} equal pieces")
        points = [size // count * i for i in range(1, count)]
    bounds = [0, *points, size]
    if len(points) != count - 1 or sorted(set(bounds)) != bounds:
        raise ValueError(f"slice_point must cut {size} words into {count} pieces, got {points}")
    return [
        call.add("slice", part=str(i), axis=axis or None, start=start or None, stop=stop)
        for i, (start, stop) in enumerate(pairwise(bounds), 1)
    ]


def _reshape(call: CaffeLayer) -> list[str]:
    given = call.fields("reshape_param")
    given.asked.add("shape")
    first, axes = given.whole("axis", 0, -6), given.whole("num_axes", -1, -1)
    shape = CaffeFields(given.message.message("shape"), given.at)
    dims = shape.wholes("dim")
    shape.finish()
    given.finish()
    old = [1, *call.shape()]
    first += len(old) + 1 if first < 0 else 0
    stop = len(old) if axes == -1 else first + axes
    if not 0 <= first <= stop <= len(old):
        raise ValueError(f"axis and num_axes must be within the {len(old)} axes")
    inner = old[first:stop]
    if any(n == 0 and i >= len(inner) for i, n in enumerate(dims)):
        raise ValueError("a size of 0 must have an axis to be as large as")
    sizes = [inner[i] if n == 0 else n for i, n in enumerate(dims)]
    known = prod(n for n in sizes if n != -1)
    if sizes.count(-1) > 1 or known < 1 or prod(inner) % known:
        raise ValueError(f"shape must have the {prod(inner)} words there are")
    sizes = [prod(inner) // known if n == -1 else n for n in sizes]
    full = [*old[:first], *sizes, *old[stop:]]
    return [_shaped(call, full)]


def _shaped(call: CaffeLayer, full: list[int]) -> str:
    """To a full shape, the batch of one counted."""
    if prod(full) != prod(call.shape()):
        raise ValueError(f"shape must have the {prod(call.shape())} words there are")
    if len(full) < 2 or full[0] != 1:
        raise ValueError("a shape must leave the batch where it is")
    if tuple(full[1:]) == call.shape():
        return call.xs[0]
    return call.add("flatten") if len(full) == 2 else call.add("reshape", shape=full[1:])


def _flatten(call: CaffeLayer) -> list[str]:
    given = call.fields("flatten_param")
    rank = len(call.shape()) + 1
    first, last = given.axis("axis", 1, rank), given.axis("end_axis", -1, rank)
    given.finish()
    shape = call.shape()
    full = [1, *shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :]]
    return [_shaped(call, full)]


def _permute(call: CaffeLayer) -> list[str]:
    given = call.fields("permute_param")
    order, rank = given.wholes("order"), len(call.shape()) + 1
    given.finish()
    order += [i for i in range(rank) if i not in order]
    if sorted(order) != list(range(rank)):
        raise ValueError(f"order must name each of {rank} axes once, got {order}")
    if order[0] != 0:
        raise ValueError("an order that moves the batch cannot be imported")
    if order == list(range(rank)):
        return call.xs[:1]
    return [call.add("transpose", order=[a - 1 for a in order[1:]])]


def _shuffle(call: CaffeLayer) -> list[str]:
    """Channels as groups x channels of a group, turned, and flat again."""
    given = call.fields("shuffle_channel_param")
    groups = given.whole("group", 1)
    given.finish()
    channels, *sides = call.shape()
    if not groups or channels % groups:
        raise ValueError(f"group must divide the {channels} channels, got {groups}")
    parted = call.add("reshape", part="parted", shape=[groups, channels // groups, *sides])
    rest = list(range(2, 2 + len(sides)))
    turned = call.add("transpose", [parted], "turned", order=[1, 0, *rest])
    return [call.add("reshape", [turned], shape=[channels, *sides])]


def _tile(call: CaffeLayer) -> list[str]:
    given = call.fields("tile_param")
    axis, tiles = given.axis("axis", 1, len(call.shape()) + 1), given.whole("tiles", 1)
    given.finish()
    if not 1 <= tiles <= 1000:
        raise ValueError(f"tiles must be 1 to 1000, got {tiles}")
    return [call.add("concat", call.xs[:1] * tiles, axis=axis or None)]


def _crop(call: CaffeLayer) -> list[str]:
    """The first tensor cut to the size of the second, from an offset on."""
    given = call.fields("crop_param")
    if len(call.xs) != 2:
        raise ValueError(f"Crop reads two tensors, got {len(call.xs)}")
    shape, wanted = call.shape(), call.shape(1)
    first, offsets = given.axis("axis", 2, len(shape) + 1), given.wholes("offset")
    given.finish()
    if len(wanted) != len(shape) or len(offsets) not in (0, 1, len(shape) - first):
        raise ValueError("offset must be one number, or one for each axis that is cut")
    cuts = []
    for i in range(first, len(shape)):
        start = (offsets * len(shape))[i - first] if len(offsets) == 1 else 0
        start = offsets[i - first] if len(offsets) > 1 else start
        if not 0 <= start <= shape[i] - wanted[i]:
            raise ValueError(f"{wanted[i]} words from {start} on are not within {shape[i]}")
        if (start, wanted[i]) != (0, shape[i]):
            cuts.append((i, start, start + wanted[i]))
    x = call.xs[0]
    for at, (axis, start, stop) in enumerate(cuts, 1):
        part = "" if at == len(cuts) else f"axis{axis + 1}"
        x = call.add("slice", [x], part, axis=axis or None, start=start or None, stop=stop)
    return [x]


def _upsample(call: CaffeLayer) -> list[str]:
    given = call.fields("upsample_param")
    if len(call.xs) != 1:
        raise ValueError("upsampling to places that a pooling remembers cannot be imported")
    scale = given.whole("scale", 2)
    given.finish()
    if not 1 <= scale <= 1024:
        raise ValueError(f"scale must be 1 to 1024, got {scale}")
    return [call.add("upsample", scale=scale)]


def _interp(call: CaffeLayer) -> list[str]:
    """DeepLab's bilinear maps of another size, corners on corners: stated, as large as a second
    tensor's, or by what is put between two pixels (zoom) and left out (shrink); of maps without
    ``pad`` pixels at the ends.
    """
    given = call.fields("interp_param")
    sides = given.whole("height", 0), given.whole("width", 0)
    zoom, shrink = given.whole("zoom_factor", 0), given.whole("shrink_factor", 0)
    begin, end = (-given.whole(key, 0, -(2**31)) for key in ("pad_beg", "pad_end"))
    given.flag("use_blob_size", False)
    given.finish()
    if begin < 0 or end < 0:
        raise ValueError("pad_beg and pad_end must not be above 0: they leave pixels out")
    x, old = call.xs[0], list(call.shape()[1:])
    for axis, side in enumerate(old, 1):
        if begin + end >= side:
            raise ValueError(f"pad_beg and pad_end must leave some of {side} pixels")
        if begin or end:
            x = call.add("slice", [x], f"crop{axis}", axis=axis, start=begin, stop=side - end)
    old = [n - begin - end for n in old]
    if len(call.xs) == 2:
        size = list(call.shape(1)[1:])
    elif zoom and shrink and all(sides):
        size = list(sides)
    elif zoom or shrink:
        size = [(n - 1) // (shrink or 1) + 1 for n in old]
        size = [n + (n - 1) * ((zoom or 1) - 1) for n in size]
    elif all(sides):
        size = list(sides)
    else:
        raise ValueError("height and width, zoom_factor or shrink_factor must be given")
    if size == old:
        return [call.add("identity", [x])]
    return [call.add("upsample", [x], size=_one(size), mode="bilinear", corners=True)]


# Layers that cut regions of interest out of maps, all to one size, and the names of their group.
# How many there are depends on words: the importer decides what to do about it.
REGIONS = {
    "ROIPooling": "roi_pooling_param",
    "ROIAlign": "roi_align_param",
    "PSROIPooling": "psroi_pooling_param",
    "PSROIAlign": "psroi_align_param",
}


def region_shape(call: CaffeLayer) -> Shape:
    """The shape that a layer of ``REGIONS`` makes of one region.  Raises ValueError if it states
    none.

    Girshick, "Fast R-CNN", ICCV 2015: all channels, pooled_h x pooled_w.  Dai et al., "R-FCN",
    NIPS 2016: output_dim channels of group_size squared each.
    """
    given = call.fields(REGIONS[call.kind])
    given.real("spatial_scale", 1.0)
    given.whole("sampling_ratio", 0, -1)
    if call.kind.startswith("PS"):
        channels, side = given.whole("output_dim", 0), given.whole("group_size", 0)
        shape = (channels, given.whole("pooled_h", side), given.whole("pooled_w", side))
    else:
        shape = (call.shape()[0], given.whole("pooled_h", 0), given.whole("pooled_w", 0))
    given.finish()
    if not all(shape):
        raise ValueError("must state the height and width of what is cut out")
    return shape


LAYERS: dict[str, Convert] = {
    "Convolution": _convolution,
    "ConvolutionDepthwise": _convolution,
    "DepthwiseConvolution": _convolution,
    "Deconvolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "LRN": _lrn,
    "ReLU": _relu,
    "ReLU6": _relu6,
    "Clip": _clip,
    "PReLU": _prelu,
    "ELU": _elu,
    "SeLu": _selu,
    "SELU": _selu,
    "Swish": _swish,
    "Sigmoid": _simple("sigmoid"),
    "TanH": _simple("tanh"),
    "AbsVal": _simple("abs"),
    "BNLL": _simple("softplus"),
    "Power": _power,
    "Exp": _exp,
    "Log": _log,
    "Softmax": _softmax,
    "Dropout": _dropout,
    "SeLuDropout": _dropout,
    "BatchNorm": _batch_norm,
    "BN": _bn,
    "Scale": _scale,
    "Bias": _bias,
    "Axpy": _axpy,
    "Normalize": _normalize,
    "Concat": _concat,
    "Eltwise": _eltwise,
    "Reduction": _reduction,
    "Split": _split,
    "Slice": _slice,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Permute": _permute,
    "ShuffleChannel": _shuffle,
    "Tile": _tile,
    "Crop": _crop,
    "Upsample": _upsample,
    "Interp": _interp,
    "MVN": _mvn,
    "SPP": _spp,
    "Embed": _embed,
}
