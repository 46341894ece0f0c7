"""Operators of language models that are several of ours: rotary embeddings, and those of
onnxruntime's own domain that its tools write (grouped-query attention, normalizations of a sum,
weights of four or eight bits).

``ROTARY`` has a function for each operator of ONNX, ``MICROSOFT_TRANSFORMERS`` for each of
``com.microsoft``, as ``onnx_composed.COMPOSED``; the formulas are those of onnx.ai/onnx/operators
and of onnxruntime's ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelsim.importers.network_builder import absent, finite, is_absent
from accelsim.importers.onnx_call import Attributes, Call, Tensor, Value
from accelsim.importers.onnx_composed import COMPOSED, part, words_of
from accelsim.importers.onnx_constants import MAX_CONSTANT
from accelsim.importers.onnx_operators import CONVERT, Convert
from accelsim.workload.arithmetic import Array

NOTHING = np.zeros(0)  # an output that is not there


# Rotary embeddings --------------------------------------------------------------------------------


def _rotary(call: Call) -> list[Value]:
    """Pairs of features turned by an angle of the token's place: ONNX's operator."""
    places = call.values[3] if call.given(3) else None
    return [_turned(call, call.tensor(), (call.values[1], call.values[2]), places, "")]


def _rotary_of_onnxruntime(call: Call) -> list[Value]:
    """The same with the places before the tables; one place is the first token's."""
    if call.attributes.real("scale", 1.0) != 1 or call.attributes.whole("is_packed_batching", 0):
        raise ValueError("only a scale of 1, and no packed batch, can be imported")
    x, places = call.tensor(), call.values[1]
    if not isinstance(places, Tensor) and np.size(places) == 1:
        first = int(np.asarray(places).reshape(-1)[0])
        places = first + np.arange(x.shape[-2])
    return [_turned(call, x, (call.values[2], call.values[3]), places, "")]


def _turned(
    call: Call, x: Tensor, tables: tuple[Value, Value], places: Value | None, what: str
) -> Tensor:
    """``x``, heads x tokens x features or tokens x features of all heads, turned by the rows of
    cosines and sines that belong to its tokens.  The last node is called like the output, with
    ``what`` behind it.
    """
    cos = _rows(call, tables[0], places, f"{what}cos")
    sin = _rows(call, tables[1], places, f"{what}sin")
    half = cos.shape[-1]
    last = f"{call.node.output[0]}_{what}rotated" if what else ""
    if len(x.shape) == 3:
        return _turned_heads(call, x, cos, sin, (what, last))
    heads = call.attributes.whole("num_heads", 0)
    if what == "key_":
        heads = call.attributes.whole("kv_num_heads", 0)
    heads = heads or x.shape[-1] // (2 * half)
    parted = part(call, "split_heads", [x], f"{what}heads", heads=heads)
    turned = _turned_heads(call, parted, cos, sin, (what, f"{call.node.output[0]}_{what}turned"))
    return call.add("merge_heads", [turned], name=last)


def _turned_heads(
    call: Call, x: Tensor, cos: Tensor, sin: Tensor, names: tuple[str, str]
) -> Tensor:
    (heads, tokens, width), half = x.shape, cos.shape[-1]
    what, last = names
    if 2 * half > width:
        raise ValueError(f"tables of {half} angles are too wide for heads of {width} features")
    pairs = bool(
        call.attributes.whole("interleaved", 0) or call.attributes.whole("rotary_interleaved", 0)
    )
    step, start = (2, 1) if pairs else (1, half)

    def add(kind: str, inputs: Sequence[Tensor], name: str, **fields: Any) -> Tensor:
        return part(call, kind, inputs, what + name, **fields)

    first = add("slice", [x], "even", axis=2, stop=2 * half if pairs else half, step=step)
    second = add("slice", [x], "odd", axis=2, start=start, stop=2 * half, step=step)
    real = add(
        "subtract",
        [add("multiply", [first, cos], "even_cos"), add("multiply", [second, sin], "odd_sin")],
        "real",
    )
    imaginary = add(
        "add",
        [add("multiply", [first, sin], "even_sin"), add("multiply", [second, cos], "odd_cos")],
        "imaginary",
    )
    both = [real, imaginary]
    if pairs:
        lone = [
            add("reshape", [t], name, shape=[heads, tokens, half, 1])
            for t, name in zip(both, ("real_pairs", "imaginary_pairs"), strict=True)
        ]
        pair = add("concat", lone, "pairs", axis=3)
        both = [add("reshape", [pair], "rotated_part", shape=[heads, tokens, 2 * half])]
    if 2 * half < width:
        both.append(add("slice", [x], "rest", axis=2, start=2 * half, stop=width))
    if len(both) == 1:
        return call.add("identity", both, name=last)
    return call.add("concat", both, name=last, axis=2)


def _rows(call: Call, table: Value, places: Value | None, what: str) -> Tensor:
    """A table's rows for the tokens, tokens x angles: all of them, those at places that are known,
    or those looked up.
    """
    if isinstance(table, Tensor):
        if places is not None:
            raise ValueError("tables that are looked up must be constants")
        return table
    array = np.asarray(finite(table))
    if isinstance(places, Tensor):
        rows, width = (int(n) for n in array.shape)
        name = f"{call.node.output[0]}_{what}"
        return call.add("embedding", [places], {"weight": array}, name=name, rows=rows, M=width)
    if places is not None:
        array = array[_for_all(np.asarray(places), 1)]
    return words_of(call, _for_all(array, 2), what)


def _for_all(array: Array, rank: int) -> Array:
    """What is the same for the whole batch, without it."""
    if array.ndim == rank:
        return array
    if array.ndim != rank + 1 or not (array == array[:1]).all():
        raise ValueError("places of tokens must be the same for the whole batch")
    return np.asarray(array[0])


# Attention ----------------------------------------------------------------------------------------


def _grouped_query(call: Call) -> list[Value]:
    """Causal attention of several heads of queries for each of keys and values, behind a past that
    is full; keys and queries are turned first if it says so.
    """
    whole, real = call.attributes.whole, call.attributes.real
    if whole("local_window_size", -1) != -1 or real("softcap", 0.0) or whole("smooth_softmax", 0):
        raise ValueError("a window, softcap or smooth softmax cannot be imported")
    heads, shared = whole("num_heads", 0), whole("kv_num_heads", 0)
    if heads < 1 or shared < 1:
        raise ValueError("num_heads and kv_num_heads must be given")
    q, k, v = _three(call, heads, shared)
    past = [call.tensor(at) for at in (3, 4) if call.given(at)]
    if whole("do_rotary", 0):
        first = past[0].shape[1] if past else 0
        places = call.values[9] if call.given(9) else first + np.arange(q.shape[0])
        tables = (call.values[7], call.values[8])
        q = _turned(call, q, tables, places, "query_")
        k = _turned(call, k, tables, places, "key_")
    node = type(call.node)()
    node.op_type = "Attention"
    node.output.extend(call.node.output)
    node.input.extend(["q", "k", "v", "", *(["past_key", "past_value"] if past else [])])
    for name, value in (("q_num_heads", heads), ("kv_num_heads", shared), ("is_causal", 1)):
        node.attribute.add(name=name, type=2, i=value)
    node.attribute.add(name="scale", type=1, f=real("scale", 0.0))
    values: list[Value] = [q, k, v, NOTHING, *past]
    return COMPOSED["Attention"](Call(call.model, node, values, Attributes(node, call.model)))


def _three(call: Call, heads: int, shared: int) -> list[Tensor]:
    """Queries, keys and values, tokens x features, also where they come as one."""
    if call.given(1):
        return [call.tensor(at) for at in range(3)]
    packed = call.tensor()
    width = packed.shape[-1] // (heads + 2 * shared)
    if width * (heads + 2 * shared) != packed.shape[-1]:
        raise ValueError("packed features must be those of all heads")
    first, second, end = (n * width for n in (heads, heads + shared, heads + 2 * shared))
    return [
        part(call, "slice", [packed], "query", axis=1, stop=first),
        part(call, "slice", [packed], "key", axis=1, start=first, stop=second),
        part(call, "slice", [packed], "value", axis=1, start=second, stop=end),
    ]


# Normalizations of a sum, and packed weights ------------------------------------------------------


def _normalized_sum(kind: str, bias: int) -> Convert:
    """A residual sum, and it normalized; both are outputs.  ``bias`` is the input that is added,
    too.
    """

    def convert(call: Call) -> list[Value]:
        if any(call.node.output[1:3]):
            raise ValueError("mean and deviation as outputs cannot be imported")
        tensors = [call.tensor(0), call.tensor(1)]
        if call.given(bias):
            tensors.append(words_of(call, finite(call.constant(bias, "bias")), "bias", bias))
        named = len(call.node.output) > 3 and call.node.output[3]
        total = call.add("add", tensors, name=named or f"{call.node.output[0]}_sum")
        kept = [2] if bias == 3 else [2, 3]
        node = type(call.node)()
        node.CopyFrom(call.node)
        del node.input[:], node.output[1:]
        node.input.extend(["sum", *(call.node.input[at] for at in kept if call.given(at))])
        values: list[Value] = [total, *(call.values[at] for at in kept if call.given(at))]
        inner = Call(call.model, node, values, call.attributes)
        made = {**CONVERT, **COMPOSED}[kind](inner)
        return [made[0], NOTHING, NOTHING, total][: max(len(call.node.output), 1)]

    return convert


def _packed_product(call: Call) -> list[Value]:
    """A product with weights of few bits, in blocks that have a scale each."""
    whole = call.attributes.whole
    k, n, bits, size = whole("K", 0), whole("N", 0), whole("bits", 4), whole("block_size", 0)
    if k < 1 or n < 1 or bits not in (4, 8) or size < 1 or call.given(4):
        raise ValueError("only 4 or 8 bits in the order of their blocks can be imported")
    if k * n > 64 * MAX_CONSTANT:
        raise ValueError("the weights are too large")
    packed, scales = call.constant(1, "weights"), call.constant(2, "scales")
    blocks = -(-k // size)
    if is_absent(packed) or is_absent(scales):
        weight = absent((n, k))
    else:
        words = _unpacked(packed, bits).reshape(n, blocks, size)
        zero: Any = np.float32(1 << (bits - 1))
        if call.given(3):
            zero = call.constant(3, "zero points")
            zero = _unpacked(zero, bits) if zero.dtype == np.uint8 else zero
            zero = zero.reshape(n, -1)[:, :blocks, None]
        real = (words - zero) * np.asarray(scales, np.float32).reshape(n, blocks, 1)
        weight = real.reshape(n, -1)[:, :k].astype(np.float32)
    kind = "linear" if len(call.tensor().shape) == 1 else "dense"
    weights = {"weight": weight}
    if call.given(5):
        weights["bias"] = call.constant(5, "bias")
    bias = True if call.given(5) else None
    return [call.add(kind, [call.tensor()], weights, places={"weight": 1}, M=n, bias=bias)]


def _unpacked(packed: Array, bits: int) -> Array:
    """Words of a byte or half of one, the lower half first, as float32."""
    flat = np.asarray(packed, np.uint8)
    if bits == 4:
        flat = np.stack([flat & 15, flat >> 4], axis=-1)
    return flat.astype(np.float32)


ROTARY: dict[str, Convert] = {"RotaryEmbedding": _rotary}
MICROSOFT_TRANSFORMERS: dict[str, Convert] = {
    "RotaryEmbedding": _rotary_of_onnxruntime,
    "GroupQueryAttention": _grouped_query,
    "SimplifiedLayerNormalization": COMPOSED["RMSNormalization"],
    "SkipSimplifiedLayerNormalization": _normalized_sum("RMSNormalization", 3),
    "SkipLayerNormalization": _normalized_sum("LayerNormalization", 4),
    "MatMulNBits": _packed_product,
    "Gelu": CONVERT["Gelu"],
}
