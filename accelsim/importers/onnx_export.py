"""A workload's graph as an ONNX model, with weights if there are any: opset 21, float32, the batch
free.

``accelsim export`` calls ``export_onnx``.  A node's ONNX output is called like the node; what takes
several ONNX nodes calls the others ``NODE/what``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from accelsim.base.errors import InputError
from accelsim.importers.onnx_weights import STRIPPED
from accelsim.version import __version__
from accelsim.workload.arithmetic import Array
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.layers import same_padding
from accelsim.workload.network import Workload
from accelsim.workload.operators import activation, array, combine, normalization, pooling
from accelsim.workload.operators.operator import axes_of, kind

OPSET, IR = 21, 10
_NAMES = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "gelu": "Gelu",
    "hard_swish": "HardSwish",
    "abs": "Abs",
    "negate": "Neg",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "erf": "Erf",
    "softplus": "Softplus",
    "identity": "Identity",
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "global_average_pool": "GlobalAveragePool",
    "global_max_pool": "GlobalMaxPool",
}
_PADDING = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def export_onnx(workload: Workload, weights: Mapping[str, Array] | None = None) -> bytes:
    """The model's bytes.  Without weights the parameters are the model's inputs, by name.

    Raises InputError for a list of layers, which is no graph; for weights that do not fit; and,
    naming them, for operators ONNX has no counterpart of (local contrast normalization,
    centre-weighted and stochastic pooling).
    """
    try:
        import onnx
    except ImportError:
        raise InputError("writing ONNX needs the onnx package: pip install onnx") from None
    from accelsim.workload.graph.weights import check_weights

    graph = workload.network
    if graph is None:
        raise InputError(
            "only a graph can be written as ONNX, not a list of layers", key=workload.name
        )
    if weights is not None:
        check_weights(graph, weights)
    writer = _Writer(graph, weights)
    for node in graph.nodes:
        writer.node(node)
    if writer.missing:
        raise InputError(
            f"ONNX has no counterpart of {', '.join(writer.missing[:5])}", key=workload.name
        )
    helper = onnx.helper
    batch = workload.batch if workload.batch > 1 else "batch"
    inputs = [helper.make_tensor_value_info(n, 1, [batch, *s]) for n, s in graph.inputs.items()]
    inputs += [
        helper.make_tensor_value_info(n, 1, list(s), doc_string=STRIPPED)
        for n, s in writer.open.items()
    ]
    outputs = [
        helper.make_tensor_value_info(n, 1, [batch, *graph.shapes[n]]) for n in graph.outputs
    ]
    made = helper.make_graph(writer.nodes, graph.name, inputs, outputs, writer.constants)
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="accelsim",
        producer_version=__version__,
    )
    return bytes(model.SerializeToString())


class _Writer:
    def __init__(self, graph: Graph, weights: Mapping[str, Array] | None) -> None:
        self.graph, self.weights = graph, weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.open: dict[str, tuple[int, ...]] = {}
        self.missing: list[str] = []
        self.named: dict[str, bool] = {}  # parameters there are, and whether they were turned

    def emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.int64) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def parameter(self, name: str, transpose: bool = False) -> str:
        if name in self.named:
            if self.named[name] == transpose:
                return name
            self.named[f"{name}/turned"] = transpose
            return self.emit("Transpose", [name], f"{name}/turned", perm=[1, 0])
        self.named[name] = transpose
        shape = self.graph.all_parameters[name]
        if self.weights is not None:
            value = np.asarray(self.weights[name], np.float32)
            return self.constant(name, value.T if transpose else value, np.float32)
        self.open[name] = shape[::-1] if transpose else shape
        return name

    def node(self, node: Node) -> None:
        """Write what a node is in ONNX, its last output called like the node."""
        match node.op:
            case array.ArrayOperator():
                self._layer(node)
            case pooling.Pool() | pooling.GlobalPool():
                self._pooling(node)
            case activation.Elementwise() | activation.Softmax():
                self._activation(node)
            case combine.Pad() | combine.Slice() | combine.Upsample():
                self._resized(node)
            case combine.Moving():
                self._moved(node)
            case combine.Add() | combine.Multiply():
                self._arithmetic(node)
            case combine.Concat() | combine.Mean() | combine.Parameter() | combine.Embedding():
                self._combined(node)
            case _:
                self._normalization(node)

    def _nothing_for(self, node: Node) -> None:
        self.missing.append(f"{node.name} ({kind(node.op)})")

    def _layer(self, node: Node) -> None:
        xs, out, shapes = list(node.inputs), node.name, self.graph.input_shapes(node)
        match node.op:
            case array.Convolution() | array.ConvTranspose():
                self._convolution(node)
            case array.FullyConnected() as op:
                flat = self.emit("Flatten", xs, f"{out}/flat") if len(shapes[0]) > 1 else xs[0]
                names = [self.parameter(node.array(key)) for key in op.parameters(*shapes)]
                self.emit("Gemm", [flat, *names], out, transB=1)
            case array.Dense() as op:
                product = f"{out}/product" if op.bias else out
                self.emit(
                    "MatMul", [xs[0], self.parameter(node.array("weight"), transpose=True)], product
                )
                if op.bias:
                    self.emit("Add", [product, self.parameter(node.array("bias"))], out)
            case array.Product() as op:
                for i, turned in enumerate((op.transpose_a, op.transpose_b)):
                    if turned:
                        rank = len(shapes[i]) + 1
                        order = [*range(rank - 2), rank - 1, rank - 2]
                        xs[i] = self.emit("Transpose", [xs[i]], f"{out}/turned{i}", perm=order)
                self._product(node, op, xs)
            case _:
                self._nothing_for(node)

    def _product(self, node: Node, op: array.Product, xs: list[str]) -> None:
        """Factors whose matrices ONNX does not bring together get an axis of the heads that share
        one, and the product loses it.
        """
        shapes, out = self.graph.input_shapes(node), node.name
        places = op.places(*shapes)
        # The batch is the first axis, so that ranks must be equal.
        agree = len(shapes[0]) == len(shapes[1])
        if agree and all(g == 1 or r * c == 1 for g, r, c in zip(*places, strict=True)):
            self.emit("MatMul", xs, out)
            return
        m, k, n = op.matrices(*shapes)
        parted = []
        for i, (own, matrix) in enumerate(((places.rows, (m, k)), (places.columns, (k, n)))):
            pairs = zip(places.groups, own, strict=True)
            sizes = [0, *(size for pair in pairs for size in pair), *matrix]
            shape = self.constant(f"{out}/heads{i}/shape", sizes)
            parted.append(self.emit("Reshape", [xs[i], shape], f"{out}/heads{i}"))
        product = self.emit("MatMul", parted, f"{out}/product")
        shape = self.constant(f"{out}/shape", [0, *self.graph.shapes[out]])
        self.emit("Reshape", [product, shape], out)

    def _pooling(self, node: Node) -> None:
        xs, out = list(node.inputs), node.name
        if isinstance(node.op, pooling.GlobalPool):
            self.emit(_NAMES[node.op.type], xs, out)
            return
        assert isinstance(node.op, pooling.Pool)
        windows = self._windows(node.op, self.graph.input_shapes(node)[0])
        match node.op:
            case pooling.MaxPool():
                self.emit("MaxPool", xs, out, **windows)
            case pooling.AveragePool(count_padding=counted):
                self.emit("AveragePool", xs, out, **windows, count_include_pad=int(counted))
            case pooling.L2Pool():
                self.emit("LpPool", xs, out, **windows, p=2)
            case pooling.LpPool(p=p) if p == int(p):
                self.emit("LpPool", xs, out, **windows, p=int(p))
            case _:
                self._nothing_for(node)

    def _activation(self, node: Node) -> None:
        xs, out = list(node.inputs), node.name

        def number(key: str, value: float) -> str:
            return self.constant(f"{out}/{key}", value, np.float32)

        match node.op:
            case activation.LeakyRelu(alpha=alpha):
                self.emit("LeakyRelu", xs, out, alpha=alpha)
            case activation.Elu(alpha=alpha):
                self.emit("Elu", xs, out, alpha=alpha)
            case activation.Clip(low=low, high=high):
                self.emit("Clip", [*xs, number("low", low), number("high", high)], out)
            case activation.Power(exponent=exponent):
                self.emit("Pow", [*xs, number("exponent", exponent)], out)
            case activation.Affine(scale=scale, shift=shift):
                if scale != 1 or not shift:
                    scaled = f"{out}/scaled" if shift else out
                    xs = [self.emit("Mul", [*xs, number("scale", scale)], scaled)]
                if shift:
                    self.emit("Add", [*xs, number("shift", shift)], out)
            case activation.Dropout(rate=rate):
                self.emit("Dropout", [*xs, number("rate", rate)], out)
            case activation.Softmax(axis=axis):
                rank = len(self.graph.input_shapes(node)[0])
                self.emit("Softmax", xs, out, axis=axes_of([axis], rank)[0] + 1)
            case activation.Activation(type="silu"):
                self.emit("Mul", [xs[0], self.emit("Sigmoid", xs, f"{out}/sigmoid")], out)
            case activation.Activation(type="square"):
                self.emit("Mul", [xs[0], xs[0]], out)
            case activation.Activation(type="hard_sigmoid"):
                self.emit("HardSigmoid", xs, out, alpha=1 / 6, beta=0.5)
            case activation.Activation(type=plain):
                self.emit(_NAMES[plain], xs, out)
            case _:
                self._nothing_for(node)

    def _normalization(self, node: Node) -> None:
        xs, out = list(node.inputs), node.name

        def parameters(*keys: str) -> list[str]:
            return [self.parameter(node.array(key)) for key in keys]

        match node.op:
            case normalization.LocalResponse() as op if op.size % 2:
                self.emit(
                    "LRN", xs, out, size=op.size, alpha=op.alpha * op.size, beta=op.beta, bias=op.k
                )
            case normalization.BatchNorm(epsilon=epsilon):
                names = parameters("scale", "shift", "mean", "variance")
                self.emit("BatchNormalization", [*xs, *names], out, epsilon=epsilon)
            case normalization.LayerNorm() as op if first := self._last_axes(node, op.axes):
                names = parameters("scale", "shift")
                self.emit("LayerNormalization", [*xs, *names], out, axis=first, epsilon=op.epsilon)
            case normalization.GroupNorm() as op:
                names = parameters("scale", "shift")
                self.emit(
                    "GroupNormalization",
                    [*xs, *names],
                    out,
                    num_groups=op.groups,
                    epsilon=op.epsilon,
                )
            case _:
                self._nothing_for(node)

    def _last_axes(self, node: Node, given: tuple[int, ...]) -> int | None:
        """The first of ``axes``, the batch counted, if they are all from there to the last."""
        rank = len(self.graph.input_shapes(node)[0])
        axes = axes_of(given, rank)
        return axes[0] + 1 if axes == tuple(range(axes[0], rank)) else None

    def _arithmetic(self, node: Node) -> None:
        xs, out = self._aligned(node), node.name
        match node.op:
            case combine.Add(type="add") if len(xs) > 2:
                self.emit("Sum", xs, out)
            case combine.Add() if len(xs) > 2:
                rest = self.emit("Sum", xs[1:], f"{out}/rest")
                self.emit("Sub", [xs[0], rest], out)
            case combine.Add(type=name) | combine.Multiply(type=name):
                self.emit(_NAMES[name], xs, out)

    def _combined(self, node: Node) -> None:
        xs, out = list(node.inputs), node.name
        match node.op:
            case combine.Concat(axis=axis):
                rank = len(self.graph.input_shapes(node)[0])
                self.emit("Concat", xs, out, axis=axes_of([axis], rank)[0] + 1)
            case combine.Mean() as op:
                rank = len(self.graph.input_shapes(node)[0])
                axes = self.constant(f"{out}/axes", [a + 1 for a in axes_of(op.axes, rank)])
                reduction = "ReduceMean" if op.type == "mean" else "ReduceSum"
                self.emit(reduction, [*xs, axes], out, keepdims=int(op.keep))
            case combine.Embedding():
                tokens = self.emit("Cast", xs, f"{out}/tokens", to=7)
                self.emit("Gather", [self.parameter(node.array("weight")), tokens], out)
            case combine.Parameter():
                axes = self.constant(f"{out}/batch", [0])
                self.emit("Unsqueeze", [self.parameter(node.array("value")), axes], out)

    def _moved(self, node: Node) -> None:
        xs, out, shapes = list(node.inputs), node.name, self.graph.input_shapes(node)

        def reshaped(x: str, sizes: list[int], output: str) -> str:
            return self.emit("Reshape", [x, self.constant(f"{out}/shape", sizes)], output)

        match node.op:
            case combine.Reshape() as op:
                reshaped(xs[0], [0, *op.infer(*shapes)], out)
            case combine.Flatten():
                self.emit("Flatten", xs, out)
            case combine.SplitHeads(heads=heads):
                parted = reshaped(xs[0], [0, shapes[0][0], heads, -1], f"{out}/parted")
                self.emit("Transpose", [parted], out, perm=[0, 2, 1, 3])
            case combine.MergeHeads():
                flat = self.emit("Transpose", xs, f"{out}/turned", perm=[0, 2, 1, 3])
                reshaped(flat, [0, shapes[0][1], prod(shapes[0][::2])], out)
            case combine.Transpose(order=order):
                self.emit("Transpose", xs, out, perm=[0, *(a + 1 for a in order)])
            case _:
                self._nothing_for(node)

    def _resized(self, node: Node) -> None:
        xs, out, shape = list(node.inputs), node.name, self.graph.input_shapes(node)[0]
        match node.op:
            case combine.Slice() as op:
                axis, piece, _ = op.piece(shape)
                start, stop, step = piece.indices(shape[axis])
                values = {"start": start, "stop": stop, "axis": axis + 1, "step": step}
                places = [self.constant(f"{out}/{key}", [value]) for key, value in values.items()]
                self.emit("Slice", [*xs, *places], out)
            case combine.Pad() as op:
                top, bottom, left, right = op.sides()
                given = [self.constant(f"{out}/pads", [0, 0, top, left, 0, 0, bottom, right])]
                given += [self.constant(f"{out}/value", op.value, np.float32)] if op.value else []
                self.emit("Pad", [*xs, *given], out, mode=_PADDING[op.mode])
            case combine.Upsample() as op:
                self._upsampling(op, xs, out)

    def _upsampling(self, op: combine.Upsample, xs: list[str], out: str) -> None:
        """By scales, or to sizes, of which the batch's and the channels' are scales of 1."""
        if op.scale is not None:
            given = ["", self.constant(f"{out}/scales", [1, 1, *op.scale], np.float32)]
            axes = {}
        else:
            given = ["", "", self.constant(f"{out}/sizes", op.size)]
            axes = {"axes": [2, 3]}
        nearest = op.mode == "nearest"
        place = "asymmetric" if nearest else "align_corners" if op.corners else "half_pixel"
        self.emit(
            "Resize",
            [*xs, *given],
            out,
            mode="nearest" if nearest else "linear",
            coordinate_transformation_mode=place,
            nearest_mode="floor",
            **axes,
        )

    def _convolution(self, node: Node) -> None:
        op, shapes = node.op, self.graph.input_shapes(node)
        assert isinstance(op, (array.Convolution, array.ConvTranspose))
        p = op.problem(1, *shapes)
        if isinstance(op, array.Convolution) and op.flip:
            if self.weights is None:
                self.missing.append(f"{node.name} (flip, without weights)")
                return
            weight = self.constant(
                f"{node.name}.weight",
                np.asarray(self.weights[node.array("weight")])[..., ::-1, ::-1],
                np.float32,
            )
        else:
            weight = self.parameter(node.array("weight"))
        names = [weight, *([self.parameter(node.array("bias"))] if op.bias else [])]
        top, bottom, left, right = p.padding
        attributes: dict[str, Any] = {
            "kernel_shape": [p.R, p.S],
            "strides": list(p.stride),
            "dilations": list(p.dilation),
            "pads": [top, left, bottom, right],
            "group": p.G,
        }
        if isinstance(op, array.ConvTranspose):
            self.emit(
                "ConvTranspose",
                [*node.inputs, *names],
                node.name,
                output_padding=list(op.extra),
                **attributes,
            )
        else:
            self.emit("Conv", [*node.inputs, *names], node.name, **attributes)

    def _windows(self, op: pooling.Pool, shape: tuple[int, ...]) -> dict[str, Any]:
        taps = (op.R, op.S or op.R)
        stride = op.stride or taps
        if op.padding == "same":
            (top, bottom), (left, right) = (
                same_padding(shape[1 + i], taps[i], stride[i], op.dilation[i]) for i in (0, 1)
            )
        else:
            top, bottom, left, right = (int(n) for n in op.padding)
        return {
            "kernel_shape": list(taps),
            "strides": list(stride),
            "pads": [top, left, bottom, right],
            "ceil_mode": int(op.ceil),
            "dilations": list(op.dilation),
        }

    def _aligned(self, node: Node) -> list[str]:
        """What a node reads, as tensors of one rank: ones after the batch, as a graph means it.  A
        reshape, which is what it is when it is read again.
        """
        shapes = self.graph.input_shapes(node)
        most = max(map(len, shapes))
        names: list[str] = []
        for i, (name, shape) in enumerate(zip(node.inputs, shapes, strict=True)):
            if len(shape) < most:
                wide, ones = f"{node.name}/wide{i}", [1] * (most - len(shape))
                sizes = self.constant(f"{wide}/shape", [0, *ones, *shape])
                name = self.emit("Reshape", [name, sizes], wide)
            names.append(name)
        return names
