"""A workload's graph as an ONNX model, with weights if there are any: opset 21, float32, the batch
free.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.base.errors import InputError
from accelsim.version import __version__
from accelsim.workload.graph.graph import Graph, Node
from accelsim.workload.layers import same_padding
from accelsim.workload.network import Workload
from accelsim.workload.operators import activation, array, combine, normalization, pooling
from accelsim.workload.operators.operator import axes_of, kind

Array = NDArray[Any]
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


def export_onnx(workload: Workload, weights: Mapping[str, Array] | None = None) -> bytes:
    """The model's bytes.  Without weights the parameters are the model's inputs, by name.

    Raises InputError for a list of layers, which is no graph; for weights that do not fit; and,
    naming them, for operators ONNX has no counterpart of (local contrast normalization,
    centre-weighted and stochastic pooling).
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            "writing ONNX needs the onnx package: pip install 'accelsim[onnx]'"
        ) from None
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
    inputs = [helper.make_tensor_value_info(n, 1, ["batch", *s]) for n, s in graph.inputs.items()]
    inputs += [helper.make_tensor_value_info(n, 1, list(s)) for n, s in writer.open.items()]
    outputs = [
        helper.make_tensor_value_info(n, 1, ["batch", *graph.shapes[n]]) for n in graph.outputs
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
        self.named: set[str] = set()

    def emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any, dtype: Any = np.int64) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def parameter(self, name: str, transpose: bool = False, times: float = 1.0) -> str:
        if name in self.named:
            return name
        self.named.add(name)
        shape = self.graph.all_parameters[name]
        if self.weights is not None:
            value = np.asarray(self.weights[name], np.float32) * np.float32(times)
            return self.constant(name, value.T if transpose else value, np.float32)
        self.open[name] = shape[::-1] if transpose else shape
        return name

    def node(self, node: Node) -> None:
        xs, out, op = list(node.inputs), node.name, node.op
        shapes = self.graph.input_shapes(node)
        full = [len(s) + 1 for s in shapes]
        match op:
            case array.Convolution() | array.ConvTranspose():
                self._convolution(node)
            case array.FullyConnected():
                flat = self.emit("Flatten", xs, f"{out}/flat") if len(shapes[0]) > 1 else xs[0]
                names = [self.parameter(f"{out}.{key}") for key in op.parameters(*shapes)]
                self.emit("Gemm", [flat, *names], out, transB=1)
            case array.Dense():
                product = f"{out}/product" if op.bias else out
                self.emit(
                    "MatMul", [xs[0], self.parameter(f"{out}.weight", transpose=True)], product
                )
                if op.bias:
                    self.emit("Add", [product, self.parameter(f"{out}.bias")], out)
            case array.Product():
                for i, turned in enumerate((op.transpose_a, op.transpose_b)):
                    if turned:
                        order = [*range(full[i] - 2), full[i] - 1, full[i] - 2]
                        xs[i] = self.emit("Transpose", [xs[i]], f"{out}/turned{i}", perm=order)
                self.emit("MatMul", xs, out)
            case pooling.MaxPool():
                self.emit(
                    "MaxPool", xs, out, **self._windows(op, shapes[0]), dilations=list(op.dilation)
                )
            case pooling.AveragePool():
                self.emit(
                    "AveragePool",
                    xs,
                    out,
                    **self._windows(op, shapes[0]),
                    dilations=list(op.dilation),
                    count_include_pad=int(op.count_padding),
                )
            case pooling.L2Pool() | pooling.LpPool() if getattr(op, "p", 2) == int(
                getattr(op, "p", 2)
            ):
                self.emit(
                    "LpPool",
                    xs,
                    out,
                    **self._windows(op, shapes[0]),
                    dilations=list(op.dilation),
                    p=int(getattr(op, "p", 2)),
                )
            case activation.LeakyRelu():
                self.emit("LeakyRelu", xs, out, alpha=op.alpha)
            case activation.Elu():
                self.emit("Elu", xs, out, alpha=op.alpha)
            case activation.Clip():
                bounds = [
                    self.constant(f"{out}/{k}", v, np.float32)
                    for k, v in (("low", op.low), ("high", op.high))
                ]
                self.emit("Clip", [*xs, *bounds], out)
            case activation.Power():
                self.emit(
                    "Pow", [*xs, self.constant(f"{out}/exponent", op.exponent, np.float32)], out
                )
            case activation.Affine():
                scaled = self.emit(
                    "Mul",
                    [*xs, self.constant(f"{out}/scale", op.scale, np.float32)],
                    f"{out}/scaled" if op.shift else out,
                )
                if op.shift:
                    self.emit(
                        "Add", [scaled, self.constant(f"{out}/shift", op.shift, np.float32)], out
                    )
            case activation.Dropout():
                self.emit("Dropout", [*xs, self.constant(f"{out}/rate", op.rate, np.float32)], out)
            case activation.Softmax():
                self.emit("Softmax", xs, out, axis=axes_of([op.axis], len(shapes[0]))[0] + 1)
            case activation.Activation(type="silu"):
                self.emit("Mul", [xs[0], self.emit("Sigmoid", xs, f"{out}/sigmoid")], out)
            case activation.Activation(type="square"):
                self.emit("Mul", [xs[0], xs[0]], out)
            case activation.Activation(type="hard_sigmoid"):
                self.emit("HardSigmoid", xs, out, alpha=1 / 6, beta=0.5)
            case normalization.LocalResponse() if op.size % 2:
                self.emit(
                    "LRN", xs, out, size=op.size, alpha=op.alpha * op.size, beta=op.beta, bias=op.k
                )
            case normalization.BatchNorm():
                names = [
                    self.parameter(f"{out}.{key}") for key in ("scale", "shift", "mean", "variance")
                ]
                self.emit("BatchNormalization", [*xs, *names], out, epsilon=op.epsilon)
            case normalization.LayerNorm() if axes_of(op.axes, len(shapes[0]))[-1] == len(
                shapes[0]
            ) - 1 and _row(axes_of(op.axes, len(shapes[0]))):
                names = [self.parameter(f"{out}.{key}") for key in ("scale", "shift")]
                self.emit(
                    "LayerNormalization",
                    [*xs, *names],
                    out,
                    axis=axes_of(op.axes, len(shapes[0]))[0] + 1,
                    epsilon=op.epsilon,
                )
            case normalization.GroupNorm():
                names = [self.parameter(f"{out}.{key}") for key in ("scale", "shift")]
                self.emit(
                    "GroupNormalization",
                    [*xs, *names],
                    out,
                    num_groups=op.groups,
                    epsilon=op.epsilon,
                )
            case combine.Add() if len(xs) > 2 and op.type == "add":
                self.emit("Sum", self._aligned(xs, full, out), out)
            case combine.Add() if len(xs) > 2:
                rest = self.emit("Sum", self._aligned(xs, full, out)[1:], f"{out}/rest")
                self.emit("Sub", [xs[0], rest], out)
            case combine.Add() | combine.Multiply():
                self.emit(_NAMES[op.type], self._aligned(xs, full, out), out)
            case combine.Concat():
                self.emit("Concat", xs, out, axis=axes_of([op.axis], len(shapes[0]))[0] + 1)
            case combine.Mean():
                axes = self.constant(
                    f"{out}/axes", [a + 1 for a in axes_of(op.axes, len(shapes[0]))]
                )
                self.emit(
                    "ReduceMean" if op.type == "mean" else "ReduceSum",
                    [*xs, axes],
                    out,
                    keepdims=int(op.keep),
                )
            case combine.Reshape():
                self.emit(
                    "Reshape", [*xs, self.constant(f"{out}/shape", [0, *op.infer(*shapes)])], out
                )
            case combine.Flatten():
                self.emit("Flatten", xs, out)
            case combine.SplitHeads():
                parted = self.emit(
                    "Reshape",
                    [*xs, self.constant(f"{out}/shape", [0, shapes[0][0], op.heads, -1])],
                    f"{out}/parted",
                )
                self.emit("Transpose", [parted], out, perm=[0, 2, 1, 3])
            case combine.MergeHeads():
                flat = self.emit("Transpose", xs, f"{out}/turned", perm=[0, 2, 1, 3])
                self.emit(
                    "Reshape",
                    [flat, self.constant(f"{out}/shape", [0, shapes[0][1], prod(shapes[0][::2])])],
                    out,
                )
            case combine.Transpose():
                self.emit("Transpose", xs, out, perm=[0, *(a + 1 for a in op.order)])
            case combine.Slice():
                axis, piece, _ = op._range(shapes[0])
                start, stop, step = piece.indices(shapes[0][axis])
                values = {"start": start, "stop": stop, "axis": axis + 1, "step": step}
                self.emit(
                    "Slice",
                    [*xs, *(self.constant(f"{out}/{k}", [v]) for k, v in values.items())],
                    out,
                )
            case combine.Pad():
                top, bottom, left, right = op._sides()
                mode = {
                    "zeros": "constant",
                    "reflect": "reflect",
                    "replicate": "edge",
                    "circular": "wrap",
                }[op.mode]
                given = [self.constant(f"{out}/pads", [0, 0, top, left, 0, 0, bottom, right])]
                given += [self.constant(f"{out}/value", op.value, np.float32)] if op.value else []
                self.emit("Pad", [*xs, *given], out, mode=mode)
            case combine.Upsample():
                scales = self.constant(f"{out}/scales", [1, 1, *op.scale], np.float32)
                way = {"nearest": ("nearest", "asymmetric"), "bilinear": ("linear", "half_pixel")}[
                    op.mode
                ]
                self.emit(
                    "Resize",
                    [*xs, "", scales],
                    out,
                    mode=way[0],
                    coordinate_transformation_mode=way[1],
                    nearest_mode="floor",
                )
            case combine.Parameter():
                axes = self.constant(f"{out}/batch", [0])
                self.emit("Unsqueeze", [self.parameter(f"{out}.value"), axes], out)
            case activation.Activation() | pooling.GlobalPool():
                self.emit(_NAMES[op.type], xs, out)
            case _:
                self.missing.append(f"{node.name} ({kind(op)})")

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
                np.asarray(self.weights[f"{node.name}.weight"])[..., ::-1, ::-1],
                np.float32,
            )
        else:
            weight = self.parameter(f"{node.name}.weight")
        names = [weight, *([self.parameter(f"{node.name}.bias")] if op.bias else [])]
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
        }

    def _aligned(self, xs: list[str], full: list[int], out: str) -> list[str]:
        """Tensors of one rank: ones after the batch, as a graph means it."""
        most, ready = max(full), []
        for i, (x, rank) in enumerate(zip(xs, full, strict=True)):
            if rank < most:
                axes = self.constant(f"{out}/axes{i}", list(range(1, most - rank + 1)))
                x = self.emit("Unsqueeze", [x, axes], f"{out}/wide{i}")
            ready.append(x)
        return ready


def _row(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(axes[0], axes[-1] + 1))
