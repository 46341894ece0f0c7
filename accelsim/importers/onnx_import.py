"""ONNX models into workloads: nodes in order, shapes inferred on the way, what only describes
shapes folded.

Operators as onnx.ai/onnx/operators defines them.  The first axis of every tensor is the batch and
stays first; what moves words across it cannot be imported.  Weights come along, as the file has
them.

The importer holds every ONNX value by name, a ``Tensor`` (a node of the graph to be) or an array,
and takes the nodes in the model's order, which ONNX requires to be one that runs.  A node all of
whose inputs are arrays is worked out (``onnx_constants``); any other becomes what
``onnx_operators`` makes of it.
"""

from __future__ import annotations

import os
from math import prod
from typing import Any

import numpy as np

from accelsim.base.errors import InputError, one_line
from accelsim.importers.network_builder import (
    MAX_IMPORTED,
    Imported,
    NetworkBuilder,
    UnsupportedError,
    read_bytes,
    stem,
)
from accelsim.importers.onnx_call import Attributes, Call, Tensor, Value
from accelsim.importers.onnx_constants import FOLDED, MAX_CONSTANTS, VIEWS, fold
from accelsim.importers.onnx_operators import CONVERT, MAX_RANK
from accelsim.workload.arithmetic import Array

MAX_BYTES = 2**31 - 1  # protobuf's own limit


def import_onnx(file: str | os.PathLike[str], fold_batch_norm: bool = False) -> Imported:
    """A model as a workload with weights; ``fold_batch_norm`` into the convolutions before it.

    Raises InputError for a file that is no model (or one with external data, sparse or quantized
    weights), a circle, or shapes that do not fit; UnsupportedError naming every node there is no
    operator for.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            "reading ONNX needs the onnx package: pip install onnx", file=file
        ) from None
    raw = read_bytes(file, MAX_BYTES)
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # protobuf has exceptions of its own, and not only one
        raise InputError(f"is not an ONNX model ({type(error).__name__})", file=file) from None
    imported = _OnnxImport(model, file).run()
    return _folded(imported, file) if fold_batch_norm else imported


def _folded(imported: Imported, file: str | os.PathLike[str]) -> Imported:
    from accelsim.importers.network_builder import made
    from accelsim.workload.graph.fold import fold_batch_norm

    graph = imported.workload.network
    assert graph is not None
    try:
        folded, weights = fold_batch_norm(graph, imported.weights)
    except KeyError as error:
        raise InputError(
            f"batch normalization cannot be folded: weights {error} are missing", file=file
        ) from None
    data = imported.workload.model_dump(mode="json")
    data["graph"] = [
        node.op.model_copy(update={"name": node.name, "inputs": node.inputs}).model_dump()
        for node in folded.nodes
    ]
    for entry, node in zip(data["graph"], folded.nodes, strict=True):
        entry["name"], entry["inputs"] = node.name, list(node.inputs)
        if "bias" in type(node.op).model_fields and getattr(node.op, "bias", False):
            entry["bias"] = True
        if not node.inputs:
            del entry["inputs"]
    data["outputs"] = list(folded.outputs)
    return Imported(made(data, file), weights, imported.notes)


class _OnnxImport:
    def __init__(self, model: Any, file: str | os.PathLike[str]) -> None:
        self.graph, self.file = model.graph, file
        self.opset = max(
            (int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1
        )
        self.builder = NetworkBuilder(stem(file), file)
        self.values: dict[str, Value] = {"": np.zeros(0)}
        self.lost: set[str] = set()
        self.unsupported: list[tuple[str, str]] = []
        self.batch = 1
        self.constant_words = 0
        self.uses: dict[str, int] = {}

    def error(self, rule: str) -> InputError:
        return InputError(one_line(rule, 300), file=self.file)

    def run(self) -> Imported:
        nodes = list(self.graph.node)
        if not nodes:
            raise self.error("is not an ONNX model, or has no nodes")
        if len(nodes) > MAX_IMPORTED:
            raise self.error(f"must have at most {MAX_IMPORTED} nodes, got {len(nodes)}")
        if len(self.graph.sparse_initializer):
            raise self.error("sparse initializers cannot be imported")
        for node in nodes:
            for name in node.input:
                self.uses[name] = self.uses.get(name, 0) + 1
        for output in self.graph.output:
            self.uses[output.name] = self.uses.get(output.name, 0) + 1
        for tensor in self.graph.initializer:
            self.values[tensor.name] = self.array(tensor)
        for value in self.graph.input:
            if value.name not in self.values:
                self.values[value.name] = self.input(value)
        if not self.builder.inputs:
            raise self.error("must have an input besides its weights")
        made = {name for node in nodes for name in node.output}
        for node in nodes:
            self.node(node, made)
        if self.unsupported:
            raise UnsupportedError(self.file, self.unsupported)
        outputs = []
        for output in self.graph.output:
            value = self.values.get(output.name)
            if value is None:
                raise self.error(f"no node makes the output {output.name or '(without a name)'}")
            if isinstance(value, Tensor) and value.name not in self.builder.inputs:
                outputs.append(value.name)
        if not outputs:
            raise self.error("no output depends on an input")
        read = {x for e in self._reads() for x in e}
        implied = [e["name"] for e in self.builder.entries if e["name"] not in read]
        unique = list(dict.fromkeys(outputs))
        return self.builder.done(
            f"imported from {os.path.basename(os.fspath(self.file))} (ONNX)",
            [] if implied == unique else unique,
        )

    def _reads(self) -> list[list[str]]:
        reads, last = [], next(iter(self.builder.inputs))
        for entry in self.builder.entries:
            reads.append(list(entry.get("inputs", [] if entry["type"] == "parameter" else [last])))
            last = entry["name"]
        return reads

    # Values ---------------------------------------------------------------------------------------

    def array(self, tensor: Any) -> Array:
        from onnx import numpy_helper

        name = tensor.name or "(without a name)"
        if len(tensor.external_data) or tensor.data_location == 1:
            raise self.error(f"weights {name} lie in another file; save the model with its data")
        if any(d < 0 for d in tensor.dims) or len(tensor.dims) > 8:
            raise self.error(f"weights {name} have an impossible shape")
        if prod(tensor.dims) > MAX_BYTES:
            raise self.error(f"weights {name} are too large")
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except Exception as error:  # onnx raises what numpy and struct raise
            raise self.error(f"weights {name} cannot be read ({error})") from None

    def input(self, value: Any) -> Tensor:
        dims = value.type.tensor_type.shape.dim
        sizes = [int(d.dim_value) if d.WhichOneof("value") == "dim_value" else 0 for d in dims]
        if not sizes or len(sizes) < 2 or len(sizes) > MAX_RANK:
            raise self.error(
                f"input {value.name} must have 2 to {MAX_RANK} axes, the first the batch, got"
                f" {len(sizes)}"
            )
        if sizes[0] > 0:
            self.batch = sizes[0]
        if any(not 1 <= n < 2**31 for n in sizes[1:]):
            got = "x".join(str(n) if n > 0 else "?" for n in sizes)
            raise self.error(
                f"input {value.name} must have known sizes besides the batch, got {got}"
            )
        name = self.builder.input(value.name or "input", tuple(sizes[1:]))
        return Tensor(name, tuple(sizes[1:]))

    def node(self, node: Any, made: set[str]) -> None:
        label = (
            f"{node.name or (node.output[0] if node.output else '') or 'node'}"
            f" ({node.op_type[:40] or 'no type'})"
        )
        inputs = list(node.input)
        if any(name in self.lost for name in inputs):
            self.lost |= set(node.output)
            # Everything else is still said of a node whose inputs are unknown: whether there is an
            # operator at all.
            if node.op_type not in CONVERT and node.op_type not in FOLDED:
                self.unsupported.append((label, "there is no operator for it"))
            return
        for name in inputs:
            if name not in self.values:
                why = (
                    "before any node makes it (a circle, or a wrong order)"
                    if name in made
                    else "which nothing makes"
                )
                raise self.error(f"{label} reads {name}, {why}")
        try:
            outputs = self.convert(node, [self.values[name] for name in inputs])
        except InputError:
            raise
        except (
            ValueError,
            IndexError,
            KeyError,
            TypeError,
            OverflowError,
            ZeroDivisionError,
        ) as error:
            why = (
                str(error)
                if isinstance(error, ValueError) and str(error)
                else f"its inputs or attributes are not as they must be ({type(error).__name__})"
            )
            self.unsupported.append((label, one_line(why, 120)))
            self.lost |= set(node.output)
            return
        for name, value in zip(node.output, outputs, strict=False):
            if name in self.values and name:
                raise self.error(f"{label} makes {name} a second time")
            self.values[name] = value

    def convert(self, node: Any, values: list[Value]) -> list[Value]:
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"there is no operator for domain {node.domain}")
        attributes = Attributes(node, self)
        if node.op_type == "Constant":
            return [self._constant(attributes)]
        if node.op_type in ("Shape", "Size") and isinstance(values[0], Tensor):
            full = np.array([self.batch, *values[0].shape], np.int64)
            if node.op_type == "Size":
                return [np.asarray(full.prod())]
            return [full[attributes.whole("start", 0) : attributes.whole("end", len(full))]]
        if node.op_type in FOLDED and all(not isinstance(v, Tensor) for v in values):
            constants = fold(
                node.op_type,
                [np.asarray(v) for v in values],
                attributes.all(),
                self.opset,
                len(node.output),
            )
            self.constant_words += (
                sum(x.size for x in constants) if node.op_type not in VIEWS else 0
            )
            if self.constant_words > MAX_CONSTANTS:
                raise self.error(f"constants may have at most {MAX_CONSTANTS} words together")
            return list(constants)
        handler = CONVERT.get(node.op_type)
        if handler is None:
            raise ValueError("there is no operator for it")
        return handler(Call(self, node, values, attributes))

    def _constant(self, attributes: Attributes) -> Array:
        every = attributes.all()
        for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
            if key in every:
                return np.asarray(every[key])
        raise ValueError("a constant must have a value")
