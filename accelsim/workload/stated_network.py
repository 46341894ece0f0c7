"""Quantized networks whose scales came with them: zero points, and rounding as onnxruntime does it.

A word q of a tensor stands for (q - zero) * scale, in float32; a scale and a zero point for every
tensor, for every layer's weights (one, or one for each output channel), and a scale for biases.
They travel beside the weights, in the same mapping and the same ``.npz`` file: of a tensor as
``NAME:scale`` and ``NAME:zero``, of a parameter as ``NODE.weight:scale`` and so on.  Words of a
file that has unsigned ones are less by 128 here, so that every word is signed; its zero points stay
as they are, and their type says which it is.

The array adds products of words, as ever.  What zero points add to that is taken away behind it:
(w - b)(x - a) = wx - aw - b(x - a), of which only the first goes through the array.  Sums become
words as in onnxruntime's kernels (MLAS, on x86 with AVX2): times a float32 ratio of scales, rounded
half to even.  Other operators work on real numbers in float32 and round once, which is what ONNX
defines; those for which onnxruntime has kernels that round otherwise are done as these do.

The ONNX importer writes such scales; ``results/network_run`` builds a ``StatedNetwork`` where the
weights it is given have them, and the golden network runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import InputError, got
from accelsim.workload.arithmetic import Array, Number, wrap
from accelsim.workload.graph.float_run import own
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.graph.weights import SCALE, ZERO, check_weights, is_scale
from accelsim.workload.operators.activation import Softmax
from accelsim.workload.operators.array import ArrayOperator, Product, wide
from accelsim.workload.operators.combine import aligned
from accelsim.workload.operators.operator import axes_of
from accelsim.workload.operators.pooling import AveragePool
from accelsim.workload.quantize import QuantizedNetwork, bias_words, by_channel, from_channels
from accelsim.workload.scaling import INT8

Floats = NDArray[np.float32]
OFFSET = 128  # between unsigned words and ours


@dataclass(frozen=True)
class WordScale:
    """How words stand for real numbers: ``scale`` and ``zero`` of shape () or [channels].  ``low``
    and ``high`` bound the words of the file, ``offset`` is what these are more than ours.
    """

    scale: Floats
    zero: NDArray[np.int64]
    offset: int = 0

    @property
    def low(self) -> int:
        """The least word of the file."""
        return INT8.low + self.offset

    @property
    def high(self) -> int:
        """The greatest word of the file."""
        return INT8.high + self.offset

    def centred(self, words: Array) -> NDArray[np.int64]:
        """Our words without the zero point."""
        return np.asarray(words, np.int64) + self.offset - self.zero

    def reals(self, words: Array) -> Floats:
        """The real numbers that our words stand for."""
        return np.asarray(self.centred(words).astype(np.float32) * self.scale, np.float32)

    def words(self, reals: Array) -> NDArray[np.int64]:
        """Real numbers as our words: ONNX's QuantizeLinear."""
        with np.errstate(all="ignore"):
            quotients = np.nan_to_num(np.asarray(reals, np.float32) / self.scale)
        return self.rounded(quotients)

    def rounded(self, quotients: Array) -> NDArray[np.int64]:
        """Quotients, float32, as our words: bounded, rounded half to even, the zero point added."""
        bounded = np.clip(quotients, self.low - self.zero, self.high - self.zero)
        return np.asarray(np.rint(bounded), np.int64) + self.zero - self.offset

    def bounded(self, quotients: Array) -> NDArray[np.int64]:
        """Quotients that have the zero point in them already as our words."""
        rounded = np.rint(np.asarray(quotients, np.float32))
        return np.clip(rounded, self.low, self.high).astype(np.int64) - self.offset


def _single(numbers: Any) -> Floats:
    return np.asarray(numbers, np.float32)


def has_scales(weights: Mapping[str, Array]) -> bool:
    """Whether scales came with the weights."""
    return any(map(is_scale, weights))


def stated_network(graph: Graph, weights: Mapping[str, Array], psum: Number) -> StatedNetwork:
    """The network in words by the scales that came with its weights, its sums as wide as ``psum``.

    Raises InputError for a scale that is missing, or is none.
    """
    check_weights(graph, weights)
    every = {n: _tensor_scale(weights, n) for n in (*graph.inputs, *(n.name for n in graph.nodes))}
    words: dict[str, Array] = {}
    of_weights: dict[str, WordScale] = {}
    floats: dict[str, Array] = {}
    for node in graph.nodes:
        arrays = own(node, weights)
        if not isinstance(node.op, ArrayOperator):
            floats |= {key: np.asarray(weights[key], np.float64) for key in graph.arrays(node)}
            continue
        if "weight" in arrays:
            scale = _weight_scale(graph, node, node.op, weights)
            of_weights[node.name] = scale
            words[f"{node.name}.weight"] = _weight_words(node.op, arrays["weight"], scale)
        if "bias" in arrays:
            name = node.array("bias")
            unit = np.asarray(_scale(weights, name, np.shape(arrays["bias"])), np.float64)
            words[f"{node.name}.bias"] = bias_words(arrays["bias"], unit, psum)
    return StatedNetwork(
        graph,
        {name: float(s.scale) for name, s in every.items()},
        words,
        {name: np.asarray(s.scale, np.float64) for name, s in of_weights.items()},
        floats,
        psum=psum,
        tensors=every,
        weights=of_weights,
    )


def _weight_words(op: ArrayOperator, weight: Array, scale: WordScale) -> NDArray[Any]:
    """Weights as our words, in their shape; a scale for each channel belongs to its rows."""
    weight = np.asarray(weight, np.float32)
    rows = by_channel(op, weight)
    return from_channels(op, _along_rows(scale).words(rows), weight.shape).astype(INT8.dtype)


def _along_rows(scale: WordScale) -> WordScale:
    return WordScale(scale.scale.reshape(-1, 1), scale.zero.reshape(-1, 1), scale.offset)


def _scale(weights: Mapping[str, Array], name: str, shape: tuple[int, ...]) -> Floats:
    key = name + SCALE
    if key not in weights:
        raise InputError("must be given, as other scales are", key=f"weights.{key}")
    scale = np.asarray(weights[key])
    if scale.shape not in ((), shape):
        rule = f"must be one number{f', or {shape[0]}' if shape else ''}"
        raise InputError(rule, key=f"weights.{key}", got=got(list(scale.shape)))
    if scale.dtype.kind != "f" or not (np.isfinite(scale).all() and np.all(scale > 0)):
        raise InputError("must be positive numbers", key=f"weights.{key}")
    return np.asarray(scale, np.float32)


def _zero(
    weights: Mapping[str, Array], name: str, shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], int]:
    """Zero points and the offset of unsigned words."""
    key = name + ZERO
    if key not in weights:
        raise InputError("must be given, as other zero points are", key=f"weights.{key}")
    zero = np.asarray(weights[key])
    if zero.dtype not in (np.int8, np.uint8) or zero.shape not in ((), shape):
        told = f"{zero.dtype} of shape {list(zero.shape)}"
        raise InputError("must be whole numbers of 8 bits", key=f"weights.{key}", got=told)
    return zero.astype(np.int64), OFFSET if zero.dtype == np.uint8 else 0


def _tensor_scale(weights: Mapping[str, Array], name: str) -> WordScale:
    return WordScale(_scale(weights, name, ()), *_zero(weights, name, ()))


def _weight_scale(
    graph: Graph, node: Node, op: ArrayOperator, weights: Mapping[str, Array]
) -> WordScale:
    name = node.array("weight")
    shape = (graph.shapes[node.name][op.channel_axis()],)
    return WordScale(_scale(weights, name, shape), *_zero(weights, name, shape))


@dataclass(frozen=True)
class StatedNetwork(QuantizedNetwork):
    """A quantized network with scales and zero points of its own: ``tensors`` by name, ``weights``
    by their node's name.  Words are of eight bits.
    """

    tensors: Mapping[str, WordScale] = field(default_factory=dict)
    weights: Mapping[str, WordScale] = field(default_factory=dict)

    def real(self, name: str, words: Array) -> Array:
        return np.asarray(self.tensors[name].reals(words), np.float64)

    def words_of_reals(self, name: str, reals: Array) -> Array:
        return self.tensors[name].words(reals)

    def words_of_sums(self, node: Node, xs: list[Array], sums: Array) -> Array:
        """Sums as onnxruntime's integer kernels make words of them: without what zero points added,
        as float32, times a ratio of scales in float32.
        """
        op, out = node.op, self.tensors[node.name]
        assert isinstance(op, ArrayOperator)
        first = self.tensors[node.inputs[0]].scale
        if isinstance(op, Product):
            ratio = first * self.tensors[node.inputs[1]].scale / out.scale
        else:
            ratio = first * self.weights[node.name].scale / out.scale
        exact = wrap(sums - self._of_zeros(node, op, xs), self.psum)
        ratio = np.asarray(ratio, np.float32)
        if ratio.ndim:
            ratio = ratio.reshape(wide(op, exact))
        return out.rounded(exact.astype(np.float32) * ratio)

    def _of_zeros(self, node: Node, op: ArrayOperator, xs: list[Array]) -> NDArray[np.int64]:
        """What zero points add to sums of products of our words: aw + b(x - a).  Padding is zero in
        real numbers, and has no share in it.
        """
        a = self.tensors[node.inputs[0]]
        added: Any = np.int64(0)
        if isinstance(op, Product):
            left, right = a, self.tensors[node.inputs[1]]
            zeros = np.broadcast_to(right.zero - right.offset, xs[1].shape)
            added = op.run([xs[0], zeros], {})
            zeros = np.broadcast_to(left.zero - left.offset, xs[0].shape)
            return np.asarray(added + op.run([zeros, right.centred(xs[1])], {}), np.int64)
        weight = self.words[f"{node.name}.weight"]
        if a.zero != a.offset:
            zeros = np.broadcast_to(a.zero - a.offset, (1, *xs[0].shape[1:]))
            added = op.run([zeros], {"weight": weight})
        b = self.weights[node.name]
        if np.any(b.zero != b.offset):
            rows = np.zeros_like(by_channel(op, weight)) + (b.zero - b.offset).reshape(-1, 1)
            zeros = from_channels(op, rows, weight.shape)
            added = added + op.run([a.centred(xs[0])], {"weight": zeros})
        return np.asarray(added, np.int64)

    def words_of_node(self, node: Node, xs: list[Array]) -> Array:
        scales = [self.tensors[name] for name in node.inputs]
        out, kind = self.tensors[node.name], getattr(node.op, "type", "")
        if kind in KERNELS and len(xs) == KERNELS[kind][0]:
            return KERNELS[kind][1](node, xs, scales, out)
        reals = [scale.reals(x) for scale, x in zip(scales, xs, strict=True)]
        with np.errstate(all="ignore"):
            return out.words(_single(node.op.run(reals, own(node, self.floats))))


# Kernels of onnxruntime that round otherwise than its operators are defined -----------------------


def _fused(a: Array, b: Array, c: Array) -> Floats:
    """a * b + c of float32 numbers, rounded once."""
    return np.asarray(np.float64(a) * np.float64(b) + np.float64(c), np.float32)


def _added(node: Node, xs: list[Array], scales: list[WordScale], out: WordScale) -> Array:
    """Two tensors added: each word times its ratio of scales, all zero points in one constant."""
    xs = aligned(xs)
    pairs = list(zip(xs, scales, strict=True))
    if xs[0].shape[-1] == 1 != xs[1].shape[-1]:
        pairs.reverse()  # a word for many comes second
    (a, first), (b, second) = pairs
    ra, rb = first.scale / out.scale, second.scale / out.scale
    zeros = _fused(ra, _single(first.zero), _single(rb * _single(second.zero)))
    fixed = _single(_single(out.zero) - zeros)
    inner = _fused(_single(b + np.int64(second.offset)), rb, fixed)
    return out.bounded(_fused(_single(a + np.int64(first.offset)), ra, inner))


def _multiplied(node: Node, xs: list[Array], scales: list[WordScale], out: WordScale) -> Array:
    """Two tensors multiplied: the product of words times a ratio of scales, plus the zero point."""
    (a, b), (first, second) = aligned(xs), scales
    product = _single(first.centred(a) * second.centred(b))
    ratio = _single(first.scale * second.scale) / out.scale
    return out.bounded(product * ratio + _single(out.zero))


def _averaged(node: Node, xs: list[Array], scales: list[WordScale], out: WordScale) -> Array:
    """Windows averaged: real numbers added one after the other, the zero point before rounding."""
    assert isinstance(node.op, AveragePool)
    view = node.op.view(scales[0].reals(xs[0]))
    total = np.zeros(view.shape[:4], np.float32)
    for r in range(view.shape[4]):
        for s in range(view.shape[5]):
            total = total + view[..., r, s]
    mean = total / _single(node.op.counts(xs[0].shape[1:]))
    return out.bounded(mean / out.scale + _single(out.zero))


def _averaged_whole(node: Node, xs: list[Array], scales: list[WordScale], out: WordScale) -> Array:
    """Maps averaged: the exact sum times one ratio."""
    sums = scales[0].centred(xs[0]).sum(axis=(2, 3), keepdims=True)
    size = _single(xs[0].shape[2] * xs[0].shape[3])
    return out.rounded(_single(sums) * (scales[0].scale / (out.scale * size)))


def _shares(node: Node, xs: list[Array], scales: list[WordScale], out: WordScale) -> Array:
    """Softmax: a table of e^x up to what a float's sum may hold, the output's scale as a whole
    number of parts of one.
    """
    assert isinstance(node.op, Softmax)
    axis = axes_of([node.op.axis], xs[0].ndim - 1)[0] + 1
    x = np.moveaxis(np.asarray(xs[0], np.int64), axis, -1)
    unit = np.float64(scales[0].scale)
    most = np.log(np.float64(_single(np.finfo(np.float32).max) / _single(x.shape[-1])))
    room = max(0.0, most - 5) / unit
    table = _single(np.exp((np.arange(-255, 1) + room) * unit))
    e = table[255 + x - x.max(axis=-1, keepdims=True)]
    total = np.cumsum(e, axis=-1, dtype=np.float32)[..., -1:]
    parts = np.floor(_single(1) / out.scale)
    words = np.rint(_single(e * parts) / total).astype(np.int64) + out.zero
    return np.moveaxis(np.clip(words, out.low, out.high) - out.offset, -1, axis)


Kernel = Callable[[Node, list[Array], list[WordScale], WordScale], Array]
# By operator: of how many tensors, and the kernel.
KERNELS: dict[str, tuple[int, Kernel]] = {
    "add": (2, _added),
    "multiply": (2, _multiplied),
    "softmax": (1, _shares),
    "average_pool": (1, _averaged),
    "global_average_pool": (1, _averaged_whole),
}
