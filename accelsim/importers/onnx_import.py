"""ONNX models into workloads: nodes in order, shapes inferred on the way, what only describes
shapes folded.

Operators as onnx.ai/onnx/operators defines them.  The first axis of every tensor is the batch and
stays first; what moves words across it cannot be imported.  A batch that the file states is the
workload's.  Weights come along, as the file has them; an array that several nodes read is one.

The importer holds every ONNX value by name, a ``Tensor`` (a node of the graph to be) or an array,
and takes the nodes in the model's order, which ONNX requires to be one that runs.  A node all of
whose inputs are arrays is worked out (``onnx_constants``); any other becomes what
``onnx_operators`` makes of it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import numpy as np

from accelsim.base.errors import InputError, one_line
from accelsim.importers.free_dimensions import with_parameters
from accelsim.importers.network_builder import (
    MAX_IMPORTED,
    Imported,
    NetworkBuilder,
    UnsupportedError,
    absent,
    is_absent,
    read_bytes,
    stem,
    with_skips,
)
from accelsim.importers.onnx_call import Attributes, Call, Tensor, Value
from accelsim.importers.onnx_composed import COMPOSED
from accelsim.importers.onnx_constants import FOLDED, KEPT, MAX_CONSTANTS, VIEWS, fold
from accelsim.importers.onnx_operators import CONVERT, MAX_RANK
from accelsim.importers.onnx_quantized import MICROSOFT, ModelScales, stated
from accelsim.importers.onnx_refused import why_refused
from accelsim.importers.onnx_transformers import MICROSOFT_TRANSFORMERS, ROTARY
from accelsim.importers.onnx_weights import MAX_BYTES, WEIGHTS, stripped, tensor_words
from accelsim.workload.arithmetic import Array

_ONNXRUNTIME = "com.microsoft"  # the domain of its own operators
# What onnxruntime's tools put into ONNX's domain.
_UNSTATED = {"SimplifiedLayerNormalization": COMPOSED["RMSNormalization"]}
# Inputs that tell how long sequences are, which shapes tell, too.
_LENGTHS = {"GroupQueryAttention": (5, 6)}


def import_onnx(
    file: str | os.PathLike[str],
    fold_batch_norm: bool = False,
    dims: Mapping[str, int] | None = None,
    skip: Collection[str] = (),
) -> Imported:
    """A model as a workload with weights; ``fold_batch_norm`` into the convolutions before it.

    ``dims`` has values of dimensions that the model only names; each but the batch becomes a
    parameter of the workload that begins with it.  ``skip`` leaves operators out.  Weights that
    are not in the file, nor beside it, are read as shapes: the workload counts, and has none.

    Raises InputError for a file that is no model (or one with sparse weights, or weights outside
    its folder), a circle, or shapes that do not fit; UnsupportedError naming every node there is no
    operator for.
    """
    told = f"imported from {os.path.basename(os.fspath(file))} (ONNX)"
    raw = read_bytes(file, MAX_BYTES)
    return import_onnx_bytes(raw, file, dims, skip, told, fold_batch_norm)


def import_onnx_bytes(
    raw: bytes,
    file: str | os.PathLike[str],
    dims: Mapping[str, int] | None = None,
    skip: Collection[str] = (),
    told: str = "",
    fold_batch_norm: bool = False,
) -> Imported:
    """``import_onnx`` of a model's bytes; ``file`` is what errors call it, and where weights in
    other files would lie, ``told`` the workload's description.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            "reading ONNX needs the onnx package: pip install onnx", file=file
        ) from None
    try:
        model = onnx.load_model_from_string(raw)
    except Exception as error:  # protobuf has exceptions of its own, and not only one
        raise InputError(f"is not an ONNX model ({type(error).__name__})", file=file) from None

    def read(sizes: Mapping[str, int], left_out: Collection[str] = skip) -> Imported:
        imported = _OnnxImport(model, file, dict(sizes), frozenset(left_out)).run(told)
        return _folded(imported, file) if fold_batch_norm else imported

    try:
        imported = read(dims or {})
    except UnsupportedError as error:
        raise with_skips(error, frozenset(skip), WEIGHTS, partial(read, dims or {})) from None
    return with_parameters(imported, dims, read) if dims else imported


def _folded(imported: Imported, file: str | os.PathLike[str]) -> Imported:
    from accelsim.importers.network_builder import made
    from accelsim.workload.graph.fold import fold_batch_norm
    from accelsim.workload.graph.weights import without_scales

    graph = imported.workload.network
    assert graph is not None
    try:
        folded, weights = fold_batch_norm(graph, imported.weights)
    except KeyError as error:
        raise InputError(
            f"batch normalization cannot be folded: weights {error} are missing", file=file
        ) from None
    if len(folded.nodes) < len(graph.nodes):  # other weights than those the scales are of
        weights = without_scales(weights)
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
    """A walk over a model's nodes.  ``values`` has every value there is; ``lost`` those that an
    unsupported node makes, ``cut`` those that a skipped one makes, and ``missing`` the reason of
    each that a node makes and we do not.
    """

    def __init__(
        self, model: Any, file: str | os.PathLike[str], dims: dict[str, int], skip: frozenset[str]
    ) -> None:
        self.model, self.graph, self.file = model, model.graph, file
        self.dims, self.skip = dims, skip
        self.opset = max(
            (int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1
        )
        self.builder = NetworkBuilder(stem(file), file)
        self.values: dict[str, Value] = {"": np.zeros(0)}
        self.origins: dict[str, str] = {}
        self.lost: set[str] = set()
        self.cut: dict[str, str] = {}
        self.behind: dict[str, int] = {}
        self.missing: dict[str, str] = {}
        self.scales = ModelScales()
        self.unsupported: list[tuple[str, str]] = []
        self.types: set[str] = set()  # of the unsupported
        self.batch = 1
        self.constant_words = 0
        self.uses: dict[str, int] = {}

    def error(self, rule: str) -> InputError:
        return InputError(one_line(rule, 300), file=self.file)

    def run(self, told: str) -> Imported:
        nodes = list(self.graph.node)
        if not nodes:
            raise self.error("is not an ONNX model, or has no nodes")
        if len(nodes) > MAX_IMPORTED:
            raise self.error(f"must have at most {MAX_IMPORTED} nodes, got {len(nodes)}")
        if not all(isinstance(name, str) for name in self._names()):
            raise self.error("is not an ONNX model: it has names that are no text")
        if len(self.graph.sparse_initializer):
            raise self.error("sparse initializers cannot be imported")
        for node in nodes:
            for name in node.input:
                self.uses[name] = self.uses.get(name, 0) + 1
        for output in self.graph.output:
            self.uses[output.name] = self.uses.get(output.name, 0) + 1
        for tensor in self.graph.initializer:
            self.values[tensor.name] = self.array(tensor)
        self._inputs()
        made = {name for node in nodes for name in node.output}
        for node in nodes:
            self.node(node, made)
        if self.unsupported:
            raise UnsupportedError(self.file, self.unsupported, self.types)
        for label, number in self.behind.items():
            rest = f", and {number} nodes that read it," if number else ""
            how = "left out: it" if label.startswith("input ") else "skipped: what it makes"
            self.builder.notes.append(f"{label} {how}{rest} is not in the result")
        if said := self.scales.done(self.builder, self._reads(), self.graph, self.values):
            self.builder.notes.append(said)
        self._say_absent()
        return self.builder.done(told, self._outputs())

    def _names(self) -> Iterator[Any]:
        """Every name in the model; protobuf gives bytes for one that is no text."""
        for node in self.graph.node:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
        for value in (*self.graph.input, *self.graph.output, *self.graph.initializer):
            yield value.name
        for value in self.graph.input:
            yield value.doc_string
            yield from (d.dim_param for d in value.type.tensor_type.shape.dim)
        for tensor in self.graph.initializer:
            yield from (text for e in tensor.external_data for text in (e.key, e.value))

    def _outputs(self) -> list[str]:
        """The tensors that leave the network, unless they are just those that nobody reads."""
        outputs = []
        for output in self.graph.output:
            if output.name in self.cut:
                continue
            value = self.values.get(output.name)
            if value is None:
                raise self.error(f"no node makes the output {output.name or '(without a name)'}")
            if isinstance(value, Tensor) and value.name not in self.builder.inputs:
                outputs.append(value.name)
        if not outputs and not self.cut:
            raise self.error("no output depends on an input")
        read = {x for e in self._reads() for x in e}
        implied = [e["name"] for e in self.builder.entries if e["name"] not in read]
        unique = list(dict.fromkeys(outputs))
        return [] if implied == unique else unique

    def _reads(self) -> list[list[str]]:
        reads, last = [], next(iter(self.builder.inputs))
        for entry in self.builder.entries:
            reads.append(list(entry.get("inputs", [] if entry["type"] == "parameter" else [last])))
            last = entry["name"]
        return reads

    def _say_absent(self) -> None:
        gone = [n for n, v in self.values.items() if isinstance(v, np.ndarray) and is_absent(v)]
        if gone:
            shown = ", ".join(gone[:3]) + (", ..." if len(gone) > 3 else "")
            self.builder.notes.append(
                f"the words of {len(gone)} arrays ({shown}) are not there: they are counted by"
                " their shapes"
            )

    # Values ---------------------------------------------------------------------------------------

    def array(self, tensor: Any) -> Array:
        try:
            return tensor_words(tensor, self.file)
        except ValueError as error:
            name = tensor.name or "(without a name)"
            raise self.error(f"weights {name} {error}") from None

    def origin(self, name: str) -> str:
        return self.origins.get(name, name)

    def _inputs(self) -> None:
        """The graph's inputs: tensors that begin with the batch, and weights taken out of it."""
        weights = stripped(self.graph, self.values)
        shapes: dict[str, list[int]] = {}
        named: set[str] = set()
        for value in self.graph.input:
            dims = value.type.tensor_type.shape.dim
            named |= {d.dim_param for d in dims if d.dim_param}
            if value.name in weights:
                self.values[value.name] = absent(weights[value.name])
            elif value.name not in self.values and len(dims) < 2:
                # A batch of single numbers, or one number: no tensor here.
                label = f"input {value.name} of {len(dims)} axes"
                self.cut[value.name], self.behind[label] = label, 0
            elif value.name not in self.values:
                shapes[value.name] = self._sizes(value.name, dims)
        for name in self.dims:
            if name not in named:
                raise InputError(
                    "no input has a dimension of this name",
                    file=self.file,
                    key="--dim",
                    got=name,
                    choices=sorted(named),
                )
        if not shapes:
            raise self.error("must have an input besides its weights")
        fixed = {sizes[0]: name for name, sizes in shapes.items() if sizes[0] > 0}
        if len(fixed) > 1:
            told = " and ".join(f"{size} ({name})" for size, name in list(fixed.items())[:2])
            raise self.error(f"inputs must have one batch, their first dimension, got {told}")
        self.batch = self.builder.batch = next(iter(fixed), 1)
        for name, sizes in shapes.items():
            own = self.builder.input(name or "input", tuple(sizes[1:]))
            self.values[name] = Tensor(own, tuple(sizes[1:]))

    def _sizes(self, name: str, dims: Any) -> list[int]:
        """An input's sizes, the batch first and 0 if it is free."""
        sizes = [
            int(d.dim_value)
            if d.WhichOneof("value") == "dim_value"
            else self.dims.get(d.dim_param, 0)
            for d in dims
        ]
        if len(sizes) > MAX_RANK:
            rule = f"input {name} must have at most {MAX_RANK} axes, the batch among them"
            raise self.error(f"{rule}, got {len(sizes)}")
        if any(not 1 <= n < 2**31 for n in sizes[1:]) or sizes[0] >= 2**31:
            got = "x".join(
                str(n) if n > 0 else d.dim_param or "?" for n, d in zip(sizes, dims, strict=True)
            )
            free = next((d.dim_param for d in list(dims)[1:] if d.dim_param), "")
            how = f" (--dim {free}=N says one)" if free else ""
            raise self.error(
                f"input {name} must have known sizes besides the batch, got {got}{how}"
            )
        return [max(sizes[0], 0), *sizes[1:]]

    # Nodes ----------------------------------------------------------------------------------------

    def node(self, node: Any, made: set[str]) -> None:
        makes = ", ".join(o for o in node.output if o) or "nothing"
        named = node.name or (node.output[0] if node.output else "") or "node"
        kind = node.op_type[:40] or "no type"
        label = f"{named} ({kind}, makes {makes})"
        inputs = list(node.input)
        for at in _LENGTHS.get(node.op_type, ()):
            if at < len(inputs) and not isinstance(self.values.get(inputs[at]), Tensor):
                inputs[at] = ""
        if label_of := next((self.cut[name] for name in inputs if name in self.cut), None):
            self.behind[label_of] += 1
            self.cut |= dict.fromkeys(node.output, label_of)
            if label_of.startswith("input ") and node.op_type in WEIGHTS:
                self._refuse(label, f"it depends on {label_of}, which is no tensor", kind)
            return
        if any(name in self.lost for name in inputs):
            self.lost |= set(node.output)
            # Everything else is still said of a node whose inputs are unknown: whether there is an
            # operator at all.
            if not {node.op_type} & {*CONVERT, *COMPOSED, *FOLDED, *ROTARY}:
                self._refuse(label, why_refused(node.op_type), kind)
            return
        for name in inputs:
            if name not in self.values and name not in self.missing:
                why = (
                    "before any node makes it (a circle, or a wrong order)"
                    if name in made
                    else "which nothing makes"
                )
                raise self.error(f"{named} ({kind}) reads {name}, {why}")
        if node.op_type in self.skip:
            self._skipped(node, label)
            return
        try:
            if gone := next((name for name in inputs if name in self.missing), None):
                raise ValueError(f"{gone}, {self.missing[gone]}, cannot be imported")
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
            self._refuse(label, one_line(why, 120), kind)
            self.lost |= set(node.output)
            return
        for name, value in zip(node.output, outputs, strict=False):
            self._made(name, value, label)
        for name in node.output[len(outputs) :]:
            self.missing[name] = f"what {named} ({kind}) makes besides its first output"

    def _refuse(self, label: str, why: str, kind: str) -> None:
        self.unsupported.append((label, why))
        self.types.add(kind)

    def _made(self, name: str, value: Value, label: str) -> None:
        if name in self.values and name:
            raise self.error(f"{label} makes {name} a second time")
        self.values[name] = value

    def _skipped(self, node: Any, label: str) -> None:
        """A node left out: what it reads goes on in its place if that has the same shape, else all
        behind it is left out, too.
        """
        first = next((v for v in map(self.values.get, node.input) if isinstance(v, Tensor)), None)
        if first is not None and len(node.output) == 1:
            told = self._inferred.get(node.output[0])
            if told is not None and told[1:] == first.shape:
                self._made(node.output[0], first, label)
                self.builder.notes.append(
                    f"{label} skipped: what it reads goes on in its place, its work is not in the"
                    " result"
                )
                return
        self.behind[label] = 0
        self.cut |= dict.fromkeys(node.output, label)

    @cached_property
    def _inferred(self) -> dict[str, tuple[int, ...]]:
        """Shapes of tensors as ONNX itself infers them, the batch first."""
        from onnx import shape_inference

        graph = self.graph
        with suppress(Exception):  # what it cannot tell is just not known
            graph = shape_inference.infer_shapes(self.model).graph
        return {
            v.name: tuple(int(d.dim_value) for d in v.type.tensor_type.shape.dim)
            for v in (*graph.value_info, *graph.output)
        }

    def convert(self, node: Any, values: list[Value]) -> list[Value]:
        attributes = Attributes(node, self)
        if node.domain not in ("", "ai.onnx"):
            known = {**MICROSOFT, **MICROSOFT_TRANSFORMERS} if node.domain == _ONNXRUNTIME else {}
            handler = known.get(node.op_type)
            if handler is None:
                raise ValueError(f"there is no operator for domain {node.domain}")
            return handler(Call(self, node, values, attributes))
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
            if node.op_type in (*VIEWS, *KEPT) and len(constants) == 1:
                self.origins[node.output[0]] = self.origin(node.input[0])
            if node.op_type == "DequantizeLinear":
                scale = stated(values, 1, np.asarray(values[0]))
                self.scales.of_array(self.origin(node.input[0]), scale)
            self.constant_words += (
                sum(x.size for x in constants if any(x.strides)) if node.op_type not in VIEWS else 0
            )
            if self.constant_words > MAX_CONSTANTS:
                raise self.error(f"constants may have at most {MAX_CONSTANTS} words together")
            return list(constants)
        handler = {**CONVERT, **COMPOSED, **ROTARY, **_UNSTATED}.get(node.op_type)
        if handler is None:
            raise ValueError(why_refused(node.op_type))
        return handler(Call(self, node, values, attributes))

    def _constant(self, attributes: Attributes) -> Array:
        every = attributes.all()
        for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
            if key in every:
                return np.asarray(every[key])
        raise ValueError("a constant must have a value")
