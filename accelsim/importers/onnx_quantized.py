"""Quantized models: QuantizeLinear and DequantizeLinear around float operators, and operators that
work on integers (QLinearConv, QLinearMatMul, and those of onnxruntime's own domain).

Every one becomes the operator that it is in real numbers.  What the file says of scales and zero
points is gathered in ``ModelScales``; if that is enough to run the network in words, it goes beside
the weights (``workload/stated_network``), else the reason is said and a run calibrates its own.

``QUANTIZED`` and ``MICROSOFT`` have a function for each operator, as ``onnx_operators.CONVERT``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accelsim.importers.network_builder import NetworkBuilder, absent, finite, is_absent
from accelsim.importers.onnx_call import Attributes, Call, Tensor, Value
from accelsim.importers.onnx_operators import CONVERT, Convert
from accelsim.workload.arithmetic import Array
from accelsim.workload.graph.entries import OPERATORS
from accelsim.workload.graph.weights import SCALE, ZERO
from accelsim.workload.operators.array import ArrayOperator
from accelsim.workload.quantize import by_channel

# What makes words of both signs: a quantizer whose least integer is zero rectifies these, and
# quantizers take the rectifier itself away then.
_SIGNED = (
    "conv2d",
    "depthwise",
    "conv_transpose",
    "linear",
    "dense",
    "matmul",
    "add",
    "batch_norm",
)
_WEIGHTED = ("conv2d", "depthwise", "conv_transpose", "linear", "dense")
# What makes no words of its own: onnxruntime takes a scale past them.
_MOVES = (
    *("reshape", "flatten", "transpose", "slice", "split_heads", "merge_heads"),
    *("dropout", "max_pool", "global_max_pool"),
)
_PASSING = ("MaxPool", "GlobalMaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
_SAME_SCALE = 1e-4  # of a product of scales
_OFF_GRID = 0.01  # of a word: weights are words times a scale, but for float32


@dataclass(frozen=True)
class StatedScale:
    """A scale and a zero point as the file has them; ``zero`` None for words of 32 bits."""

    scale: Array
    zero: Array | None

    @property
    def single(self) -> bool:
        """Whether there is one, of eight bits, for a whole tensor."""
        return self.scale.size == 1 and self.zero is not None and self.zero.size == 1

    def equals(self, other: StatedScale) -> bool:
        """Whether words mean the same by both."""
        same = self.zero is other.zero or (
            self.zero is not None
            and other.zero is not None
            and self.zero.dtype == other.zero.dtype
            and np.array_equal(self.zero, other.zero)
        )
        return same and np.array_equal(self.scale, other.scale)


@dataclass
class ModelScales:
    """Scales of a model's tensors by our names (``tensors``) and of its arrays by the file's
    (``arrays``); ``biases`` have the scale of the sums that a node adds them to.

    ``real`` are values of the file that are made of integers, ``raw`` those that a quantizer reads:
    nobody else may, as we only have their words.  ``wrong`` gathers why words cannot be the file's.
    """

    tensors: dict[str, StatedScale] = field(default_factory=dict)
    arrays: dict[str, StatedScale] = field(default_factory=dict)
    biases: dict[str, StatedScale] = field(default_factory=dict)
    real: set[str] = field(default_factory=set)
    raw: set[str] = field(default_factory=set)
    rectified: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def says(self, tensor: str, scale: StatedScale | None) -> None:
        """The scale of a tensor's words."""
        if scale is None or not scale.single:
            self.wrong.append(f"{tensor} has no scale of one number for words of 8 bits")
        elif not self.tensors.setdefault(tensor, scale).equals(scale):
            self.wrong.append(f"{tensor} has two scales")

    def of_array(self, origin: str, scale: StatedScale | None) -> None:
        """The scale of an array of the file."""
        if scale is not None and not self.arrays.setdefault(origin, scale).equals(scale):
            self.wrong.append(f"{origin} has two scales")

    def done(
        self,
        builder: NetworkBuilder,
        reads: Sequence[Sequence[str]],
        graph: Any,
        values: Mapping[str, Value],
    ) -> str:
        """Puts the scales beside the builder's weights; a line about it, or nothing for a model
        that is not quantized.
        """
        if not self.nodes:
            return ""
        reader = Counter(name for names in reads for name in names)
        self._pass_on(builder, reads, reader)
        self._check_readers(graph, values)
        beside = self._beside(builder, reads)
        if self.wrong:
            return (
                f"the float network of a quantized one: the scales of {len(self.nodes)} nodes are"
                f" left out ({self.wrong[0]}); a run calibrates its own"
            )
        builder.weights |= beside
        return (
            f"the scales of {len(self.tensors)} tensors are kept beside the weights: words are"
            " rounded by them, as onnxruntime does"
        )

    def _pass_on(
        self, builder: NetworkBuilder, reads: Sequence[Sequence[str]], reader: Mapping[str, int]
    ) -> None:
        """Scales of tensors that have none of their own: of a node that was taken away, of what
        only a rectifier reads, and past operators that only move words.
        """
        scales, steps = self.tensors, list(zip(builder.entries, reads, strict=True))
        for taken, source in reversed(builder.taken.items()):
            if taken in scales:
                self.says(source, scales.pop(taken))
        for entry, names in reversed(steps):
            kind, name = entry["type"], entry["name"]
            last = len(names) == 1 and reader[names[0]] == 1 and names[0] not in scales
            rectifies = kind == "relu" or (kind == "clip" and entry.get("low", 0.0) == 0)
            if last and name in scales and (rectifies or kind in _MOVES):
                scales[names[0]] = scales[name]
        for entry, names in steps:
            name = entry["name"]
            if name not in scales and entry["type"] in _MOVES and names[0] in scales:
                scales[name] = scales[names[0]]
            if name not in scales and entry["type"] == "parameter":
                origin = builder.origins[name].get("value", "")
                if origin in self.arrays:
                    self.says(name, self.arrays[origin])

    def _check_readers(self, graph: Any, values: Mapping[str, Value]) -> None:
        """What a quantizer reads, nobody else may, unless words of the same scale come of it: the
        largest word is that of the largest number.
        """
        for node in graph.node:
            there = [values[n] for n in node.output[:1] if n in values]  # none of one left out
            for name in (n for n in node.input if n in self.raw and there):
                pair = [values.get(name), *there]
                own, made = (
                    self.tensors.get(v.name) if isinstance(v, Tensor) else None for v in pair
                )
                alike = own is not None and made is not None and own.equals(made)
                if node.op_type != "QuantizeLinear" and not (node.op_type in _PASSING and alike):
                    self.wrong.append(f"{name} is read in words and in real numbers")

    def _beside(self, builder: NetworkBuilder, reads: Sequence[Sequence[str]]) -> dict[str, Array]:
        """Scales and zero points by the names they have beside weights."""
        beside: dict[str, Array] = {}
        for name in (*builder.inputs, *(e["name"] for e in builder.entries)):
            if name not in self.tensors:
                self.wrong.append(f"{name} is in real numbers")
                return {}
            beside |= _entries(name, self.tensors[name])
        for entry, names in zip(builder.entries, reads, strict=True):
            if entry["type"] in _WEIGHTED and not isinstance(entry.get("share"), str):
                beside |= self._of_layer(builder, entry, names[0])
        return beside

    def _of_layer(
        self, builder: NetworkBuilder, entry: Mapping[str, Any], reads: str
    ) -> dict[str, Array]:
        """The scales of a layer's weights and bias, those apart that it shares."""
        name, beside, sums = entry["name"], dict[str, Array](), self.tensors[reads].scale
        for key in ("weight", *(["bias"] if entry.get("bias") else [])):
            whole = f"{name}.{key}"
            scale = self.arrays.get(builder.origins[name].get(key, ""))
            if key == "weight" and scale is not None:
                sums = np.asarray(sums * scale.scale, np.float32)
            scale = self.biases.get(name, scale) if key == "bias" else scale
            if key in entry.get("share", {}):
                continue
            if scale is None or whole not in builder.weights:
                self.wrong.append(f"{whole} is not in words")
            elif not _on_grid(entry, builder.weights[whole], scale):
                self.wrong.append(f"{whole} is not its words times its scale")
            elif key == "bias" and not np.allclose(scale.scale, sums, rtol=_SAME_SCALE, atol=0):
                self.wrong.append(f"{whole} has another scale than the sums it is added to")
            else:
                beside |= _entries(whole, scale)
        return beside


def _entries(name: str, scale: StatedScale) -> dict[str, Array]:
    """A scale as arrays beside weights, one number for a list of one."""
    single = () if scale.scale.size == 1 else scale.scale.shape
    beside = {name + SCALE: np.asarray(scale.scale, np.float32).reshape(single)}
    if scale.zero is not None:
        zero = np.broadcast_to(scale.zero.reshape(-1), scale.scale.reshape(-1).shape)
        beside[name + ZERO] = zero.reshape(single).copy()
    return beside


def _on_grid(entry: Mapping[str, Any], array: Array, scale: StatedScale) -> bool:
    """Whether an array of a layer is words of its type times its scale, each channel's its own."""
    values = np.asarray(array, np.float64)
    if array.ndim > 1:
        op = OPERATORS[entry["type"]].model_validate(dict(entry) | {"name": "", "inputs": ()})
        assert isinstance(op, ArrayOperator)
        values = by_channel(op, values)
        if scale.zero is None or scale.zero.dtype not in (np.int8, np.uint8):
            return False
    if scale.scale.size not in (1, len(values)):
        return False
    unit = np.asarray(scale.scale, np.float64).reshape(-1, *[1] * (values.ndim - 1))
    words = values / unit
    if np.abs(words - np.rint(words)).max(initial=0) > _OFF_GRID:
        return False
    if scale.zero is None:
        return True
    words = np.rint(words) + np.asarray(scale.zero, np.int64).reshape(-1, *[1] * (values.ndim - 1))
    limits = np.iinfo(scale.zero.dtype)
    return bool(limits.min <= words.min(initial=0) and words.max(initial=0) <= limits.max)


# What a node says ---------------------------------------------------------------------------------


def stated(values: Sequence[Value], at: int, words: Array | None = None) -> StatedScale | None:
    """The scale at input ``at`` with its zero point behind it; None if they are not there, or not
    known.  ``words`` are those they belong to, whose type tells where there is no zero point.
    """
    scale = values[at]
    zero = values[at + 1] if at + 1 < len(values) and np.size(np.asarray(values[at + 1])) else None
    if isinstance(scale, Tensor) or isinstance(zero, Tensor) or is_absent(np.asarray(scale)):
        return None
    scale = np.asarray(scale, np.float32)
    if not (scale.size and np.isfinite(scale).all() and np.all(scale > 0)) or scale.ndim > 1:
        return None
    if words is not None and words.dtype == np.int32:
        zeros = zero is None or not np.any(zero)
        return StatedScale(scale.reshape(-1), None) if zeros else None
    kind = np.uint8 if words is None else words.dtype
    zero = np.zeros(scale.shape, kind) if zero is None else np.asarray(zero)
    if zero.dtype not in (np.int8, np.uint8) or zero.size not in (1, scale.size):
        return None
    return StatedScale(scale.reshape(-1), zero.reshape(-1))


def _rectifies(call: Call, at: int) -> bool:
    """Whether the integers of a zero point (input ``at``; an unsigned 0 unless given) begin at
    zero.
    """
    if not call.given(at):
        return True
    zero = call.constant(at, "the zero point")
    if is_absent(zero) or zero.dtype.kind not in "iu":
        return False
    return bool(np.all(zero == np.iinfo(zero.dtype).min))


def _quantize(call: Call) -> list[Value]:
    """Real numbers to words: what makes them has this scale; words to words of another scale are a
    node.
    """
    x, scales, source = call.tensor(), call.model.scales, call.node.input[0]
    scales.nodes.append(str(call.node.output[0]))
    scale = stated(call.values, 1)
    if source in scales.real:
        own = scales.tensors.get(x.name)
        if own is not None and scale is not None and not own.equals(scale):
            x = call.add("identity", [x])
        scales.says(x.name, scale)
        return [x]
    scales.raw.add(source)
    if source in scales.rectified:
        x = scales.rectified[source]
    else:
        builder = call.model.builder
        entry = next((e for e in reversed(builder.entries) if e["name"] == x.name), None)
        if entry is not None and entry["type"] in _SIGNED and _rectifies(call, 2):
            x = scales.rectified[source] = call.add("relu", [x])
    scales.says(x.name, scale)
    return [x]


def _dequantize(call: Call) -> list[Value]:
    """Words to real numbers: they stand for these by this scale."""
    x, scales = call.tensor(), call.model.scales
    scales.nodes.append(str(call.node.output[0]))
    scales.real.add(str(call.node.output[0]))
    zero = np.asarray(call.values[2]) if call.given(2) else None
    own = scales.tensors.get(x.name)
    words = np.zeros(0, np.uint8 if zero is None and own is None else _kind(zero, own))
    scales.says(x.name, stated(call.values, 1, words))
    return [x]


def _kind(zero: Array | None, own: StatedScale | None) -> Any:
    if zero is not None:
        return zero.dtype
    assert own is not None and own.zero is not None
    return own.zero.dtype


# Operators on integers ----------------------------------------------------------------------------


def _in_words(
    call: Call,
    kind: str,
    tensors: Sequence[int],
    out: int,
    extra: Mapping[int, Array] | None = None,
) -> list[Value]:
    """A node that works on integers as the float operator ``kind``: its inputs are those at
    ``tensors``, each with its scale and zero point behind it, then ``extra`` ones that are real;
    the output's scale is at ``out``.  A rectifier stands behind if its least integer is zero.
    """
    scales, values, names = call.model.scales, list[Value](), list[str]()
    scales.nodes.append(str(call.node.output[0]))
    for at in tensors:
        value, name = call.values[at], call.node.input[at]
        if isinstance(value, Tensor):
            scales.says(value.name, stated(call.values, at + 1))
            scales.real.add(name)
        else:
            turned = call.attributes.whole("transB", 0)
            axis = -1 if kind == "MatMul" or (kind == "Gemm" and not turned) else 0
            scales.of_array(call.model.origin(name), stated(call.values, at + 1, value))
            value = _real(call, at, "weights", axis)
        values.append(value)
        names.append(name)
    for at, value in (extra or {}).items():
        values.append(value)
        names.append(call.node.input[at])
    node = type(call.node)()
    node.CopyFrom(call.node)
    del node.input[:]
    node.input.extend(names)
    node.op_type, node.domain = kind, ""
    rectified = kind in ("Conv", "MatMul", "Gemm", "Add") and _rectifies(call, out + 1)
    if rectified:
        node.output[0] = f"{call.node.output[0]}_sums"
    made = CONVERT[kind](Call(call.model, node, values, Attributes(node, call.model)))
    assert isinstance(made[0], Tensor)
    if extra:
        unit = np.asarray(call.values[1], np.float32) * np.asarray(call.values[4], np.float32)
        scales.biases[made[0].name] = StatedScale(unit.reshape(-1), None)
    result = call.add("relu", [made[0]]) if rectified else made[0]
    if call.given(out):
        scales.says(result.name, stated(call.values, out))
    return [result]


def _real(call: Call, at: int, what: str, axis: int = 0) -> Array:
    """A constant of integers, input ``at`` with its scale and zero point behind it, in real
    numbers.
    """
    words = call.constant(at, what)
    scale = finite(call.constant(at + 1, f"the scale of {what}"))
    if is_absent(words) or is_absent(scale):
        return absent(words.shape)
    zero = np.asarray(call.values[at + 2], np.float64) if call.given(at + 2) else np.zeros(())
    wide = [-1 if i == axis % max(words.ndim, 1) else 1 for i in range(words.ndim)]
    scale, zero = (v.reshape(wide) if v.size > 1 else v.reshape(()) for v in (scale, zero))
    return np.asarray((np.asarray(words, np.float64) - zero) * scale, np.float32)


def _bias(call: Call, at: int, weight: int) -> dict[int, Array]:
    """Words of sums at input ``at`` in real numbers: their scale is the tensor's (input 1) times
    the weights'.  Float64 has all their 32 bits.
    """
    if not call.given(at):
        return {}
    words = call.constant(at, "bias")
    unit = np.asarray(
        finite(call.constant(1, "the scale")) * finite(call.constant(weight + 1, "the scale"))
    )
    if is_absent(words) or is_absent(unit):
        return {at: absent(words.shape)}
    unit = np.asarray(unit, np.float32).reshape(-1).astype(np.float64)
    return {at: np.asarray(words, np.float64).reshape(-1) * unit}


def _qlinear_conv(call: Call) -> list[Value]:
    return _in_words(call, "Conv", (0, 3), 6, _bias(call, 8, 3))


def _qgemm(call: Call) -> list[Value]:
    return _in_words(call, "Gemm", (0, 3), 7, _bias(call, 6, 3))


def _qlinear_concat(call: Call) -> list[Value]:
    return _in_words(call, "Concat", range(2, len(call.node.input), 3), 0)


def _of_two(kind: str) -> Convert:
    return lambda call: _in_words(call, kind, (0, 3), 6)


def _of_one(kind: str) -> Convert:
    def convert(call: Call) -> list[Value]:
        if call.attributes.whole("channels_last", 0):
            raise ValueError("channels that come last cannot be imported")
        return _in_words(call, kind, (0,), 3)

    return convert


QUANTIZED: dict[str, Convert] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _of_two("MatMul"),
}
# Of the domain com.microsoft.
MICROSOFT: dict[str, Convert] = {
    "QGemm": _qgemm,
    "QLinearAdd": _of_two("Add"),
    "QLinearMul": _of_two("Mul"),
    "QLinearConcat": _qlinear_concat,
    "QLinearAveragePool": _of_one("AveragePool"),
    "QLinearGlobalAveragePool": _of_one("GlobalAveragePool"),
    "QLinearSigmoid": _of_one("Sigmoid"),
    "QLinearLeakyRelu": _of_one("LeakyRelu"),
    "QLinearSoftmax": _of_one("Softmax"),
}
