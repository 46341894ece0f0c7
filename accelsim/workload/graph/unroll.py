"""A file's graph unrolled: blocks put in where they are used, parameters by their values, names
made whole.

``Workload`` calls ``unroll`` once for every file that has a graph.  Blocks may use blocks, and
names may be used before they are stated, so that nodes are collected first and their inputs looked
up when every name is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from accelsim.base.errors import or_nearest
from accelsim.workload.graph.block_arithmetic import evaluate, is_expression
from accelsim.workload.graph.entries import AnyEntry, GraphBlock, Use
from accelsim.workload.graph.graph import MAX_GRAPH_NODES, Graph, Node, build
from accelsim.workload.operators.combine import Concat
from accelsim.workload.operators.operator import Operator, Shape, kind

MAX_NESTED = 16


@dataclass
class _Scope:
    """The names of one place: of its nodes and blocks, and ``input``.  What they mean is looked up
    when all are known.
    """

    names: dict[str, str | _Later] = field(default_factory=dict)
    last: str | _Later = ""  # what the next entry reads
    repeated: set[str] = field(default_factory=set)  # block names that more numbers may follow


@dataclass(frozen=True)
class _Later:
    """A name of another scope, as a block's use gives it for the block's input."""

    ref: str
    scope: _Scope
    place: str


@dataclass(frozen=True)
class _Around:
    """What is around the entries of one use of a block, or around those of the graph: their scope,
    what their names begin with, the values of the block's parameters, and the blocks they are
    inside of.
    """

    scope: _Scope
    prefix: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    inside: tuple[str, ...] = ()

    def whole(self, name: str) -> str:
        """A name with those around it before it."""
        return f"{self.prefix}_{name}" if self.prefix and name else self.prefix or name


@dataclass
class _Pending:
    """A node whose inputs are still names of its scope."""

    name: str
    op: Operator
    inputs: tuple[str, ...]
    previous: str | _Later
    scope: _Scope
    place: str


def unroll(
    name: str,
    inputs: Mapping[str, Shape],
    blocks: Mapping[str, GraphBlock],
    entries: Sequence[AnyEntry],
    outputs: Sequence[str] = (),
    parameters: Mapping[str, int] | None = None,
) -> Graph:
    """The graph of a file; its ``parameters`` have a value everywhere, in blocks too, where a
    parameter of the block is not called so.  An input of no words (``input_shapes``) is not there,
    and a concatenation goes without it.

    Raises ValueError whose text begins with the dotted key it is about.
    """
    return _Unrolling(blocks, parameters or {}).graph(name, inputs, entries, outputs)


def input_shapes(
    inputs: Mapping[str, Sequence[Any]], parameters: Mapping[str, int]
) -> dict[str, Shape]:
    """Shapes of a file's inputs, expressions by their values; a size may come out as 0.  Raises
    ValueError.
    """
    shapes = {}
    for name, shape in inputs.items():
        values = _value(shape, parameters, "input") if parameters else shape
        if any(n < 0 for n in values):
            raise ValueError(f"input: sizes must be at least 0, got {name} {list(values)}")
        shapes[name] = tuple(values)
    return shapes


class _Unrolling:
    """A walk over a file's entries, block by block.

    ``entries`` puts nodes into ``pending`` with their inputs as the file names them; when all
    places are known, ``graph`` looks those names up.  ``place`` is where the file states an entry,
    the dotted key that messages begin with.
    """

    def __init__(self, blocks: Mapping[str, GraphBlock], parameters: Mapping[str, int]) -> None:
        self.blocks = blocks
        self.parameters = parameters
        self.absent: set[str] = set()  # inputs of no words
        self.pending: list[_Pending] = []
        self.unnamed: dict[str, int] = {}
        self.taken: set[str] = set()

    def graph(
        self,
        name: str,
        inputs: Mapping[str, Shape],
        entries: Sequence[AnyEntry],
        outputs: Sequence[str],
    ) -> Graph:
        top = _Scope({name: name for name in inputs}, next(iter(inputs)))
        self.absent = {key for key, shape in inputs.items() if 0 in shape}
        self.entries(entries, _Around(top, values=self.parameters), "graph")
        if not self.pending:
            raise ValueError("graph: must not be empty")
        nodes = [
            Node(p.name, p.op, self.resolved(p), p.place, self.shared(p)) for p in self.pending
        ]
        inside = self.taken - top.names.keys()  # an output may lie in a block, by its whole name
        ends = [x if x in inside else self.lookup(x, top, "outputs") for x in outputs]
        return build(name, {k: s for k, s in inputs.items() if 0 not in s}, nodes, ends)

    def entries(self, entries: Sequence[AnyEntry], around: _Around, place: str) -> None:
        for at, entry in enumerate(entries):
            if isinstance(entry, Use):
                self.use(entry, around, f"{place}.{at}")
            else:
                self.node(entry, around, f"{place}.{at}")

    def node(self, op: Operator, around: _Around, place: str) -> None:
        scope, prefix = around.scope, around.prefix
        if len(self.pending) >= MAX_GRAPH_NODES:
            raise ValueError(
                f"{place}: a network may have at most {MAX_GRAPH_NODES} nodes once its blocks are"
                " unrolled"
            )
        own = op.name or (
            "" if prefix and prefix not in self.taken else self.number(prefix, kind(op))
        )
        whole = around.whole(own)
        local = own or whole
        if local in scope.names:
            raise ValueError(f"{place}: every node needs a name of its own, got {local} twice")
        self.taken.add(whole)
        scope.names[local] = whole
        ready = _evaluated(op, whole, around.values, place)
        self.pending.append(_Pending(whole, ready, op.inputs, scope.last, scope, place))
        scope.last = whole

    def number(self, prefix: str, what: str) -> str:
        """A name for a node without one: its type and how many there were."""
        key = f"{prefix}/{what}"
        self.unnamed[key] = self.unnamed.get(key, 0) + 1
        return f"{what}{self.unnamed[key]}"

    def use(self, use: Use, around: _Around, place: str) -> None:
        scope, inside = around.scope, around.inside
        if use.block not in self.blocks:
            close = or_nearest(use.block, self.blocks)
            raise ValueError(f"{place}.block: no such block, got {use.block}{close}")
        if use.block in inside or len(inside) >= MAX_NESTED:
            raise ValueError(
                f"{place}.block: a block must not use itself, got"
                f" {' uses '.join([*inside, use.block])}"
            )
        block = self.blocks[use.block]
        given = {**self.parameters, **self.arguments(use, block, place, around.values)}
        if use.repeat is not None and not use.name:
            raise ValueError(f"{place}: a block that is repeated needs a name")
        inner, source = (*inside, use.block), f"blocks.{use.block}.nodes"
        if not use.name:
            if use.inputs:
                raise ValueError(f"{place}.inputs: a block with inputs of its own needs a name")
            self.entries(block.nodes, _Around(scope, around.prefix, given, inner), source)
            return
        if use.name in scope.names and not (use.repeat is not None and use.name in scope.repeated):
            raise ValueError(f"{place}: every node needs a name of its own, got {use.name} twice")
        first, last = use.repeat or (0, 0)
        for number in range(first, last + 1):
            entry = self.inner_scope(use, scope, place, chained=number != first)
            numbered = use.name if use.repeat is None else f"{use.name}_{number}"
            within = _Around(entry, around.whole(numbered), given, inner)
            self.entries(block.nodes, within, source)
            scope.last = entry.last
            if use.repeat is not None:
                if numbered in scope.names:
                    raise ValueError(
                        f"{place}: every node needs a name of its own, got {numbered} twice"
                    )
                scope.names[numbered] = entry.last
                scope.repeated.add(use.name)
        scope.names[use.name] = scope.last

    @staticmethod
    def arguments(
        use: Use, block: GraphBlock, place: str, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The values a use gives the block's parameters: each of them one, and no others."""
        given = {key: _value(v, values, f"{place}.with.{key}") for key, v in use.values.items()}
        for key in given:
            if key not in block.parameters:
                close = or_nearest(key, block.parameters)
                rule = f"block {use.block} has no such parameter, got {key}{close}"
                raise ValueError(f"{place}.with.{key}: {rule}")
        if missing := [key for key in block.parameters if key not in given]:
            raise ValueError(
                f"{place}: block {use.block} needs a value for {', '.join(missing)} in with"
            )
        return given

    @staticmethod
    def inner_scope(use: Use, scope: _Scope, place: str, chained: bool) -> _Scope:
        """The scope inside a use, of which only ``input``, ``input2``, ... are known.

        The first input of a repetition that is ``chained`` is the repetition before it.
        """
        entry = _Scope()
        for i, ref in enumerate(use.inputs or ("",), 1):
            entry.names["input" if i == 1 else f"input{i}"] = (
                scope.last
                if not ref or (i == 1 and chained)
                else _Later(ref, scope, f"{place}.inputs")
            )
        entry.last = entry.names["input"]
        return entry

    def resolved(self, p: _Pending) -> tuple[str, ...]:
        if not p.inputs:
            if p.op.arity[1] == 0:
                return ()
            if (name := self.meant(p.previous)) in self.absent:
                raise ValueError(f"{p.place}: reads {name}, which has no words")
            return (name,)
        names = tuple(self.lookup(ref, p.scope, f"{p.place}.inputs") for ref in p.inputs)
        present = tuple(name for name in names if name not in self.absent)
        if present != names and not (present and isinstance(p.op, Concat)):
            missing = next(name for name in names if name in self.absent)
            raise ValueError(f"{p.place}.inputs: {missing} has no words; only concat goes without")
        return present

    def shared(self, p: _Pending) -> dict[str, str]:
        """What a node shares of weights, with the whole names of the nodes that have them."""
        return {
            key: self.lookup(ref, p.scope, f"{p.place}.share") for key, ref in p.op.share.items()
        }

    def lookup(self, ref: str, scope: _Scope, place: str) -> str:
        if ref in scope.names:
            return self.meant(scope.names[ref])
        raise ValueError(f"{place}: no such node, got {ref}{or_nearest(ref, scope.names)}")

    def meant(self, name: str | _Later) -> str:
        """A node's whole name.  Raises ValueError if blocks only ever read each other."""
        for _ in range(MAX_GRAPH_NODES):
            if isinstance(name, str):
                return name
            if name.ref not in name.scope.names:
                return self.lookup(name.ref, name.scope, name.place)
            place, name = name.place, name.scope.names[name.ref]
        raise ValueError(f"{place}: blocks must not read each other in a circle")


def _value(value: Any, values: Mapping[str, Any], place: str) -> Any:
    try:
        if is_expression(value):
            return evaluate(value, values, "" if place.startswith("blocks.") else "file")
        return (
            [_value(v, values, place) for v in value] if isinstance(value, (list, tuple)) else value
        )
    except ValueError as error:
        raise error if str(error).startswith(place) else ValueError(f"{place}: {error}") from None


def _evaluated(op: Operator, name: str, values: Mapping[str, Any], place: str) -> Operator:
    """The operator under its whole name, its expressions by their values, checked again."""
    changed = {}
    for key in op.model_fields_set:
        value = getattr(op, key)
        if is_expression(value) or (
            isinstance(value, tuple) and any(is_expression(v) for v in value)
        ):
            changed[key] = _unpacked(_value(value, values, f"{place}.{key}"))
    if not changed:
        return op.model_copy(update={"name": name, "inputs": ()})
    data = (
        {key: getattr(op, key) for key in op.model_fields_set}
        | changed
        | {"name": name, "inputs": ()}
    )
    try:
        return type(op).model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        got = changed.get(key, "")
        text = str(first["msg"]).removeprefix("Value error, ")
        raise ValueError(
            f"{place}.{key}: {text}, got {got}" if key else f"{place}: {text}"
        ) from None


def _unpacked(value: Any) -> Any:
    """A pair or four sides that came of one value (``=padding``, itself a list or a word) as that
    value.
    """
    if (
        isinstance(value, list)
        and value
        and all(v == value[0] for v in value)
        and isinstance(value[0], (list, str))
    ):
        return value[0]
    return value
