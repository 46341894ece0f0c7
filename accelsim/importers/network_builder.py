"""What every importer builds: entries of a workload file with names that a file may have, and
weights beside them.

An importer adds nodes in the order they run and gets back the name each tensor goes by; ``done``
validates the whole as a workload file would be.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.base.errors import InputError, one_line
from accelsim.base.validation import validate
from accelsim.workload.arithmetic import Array
from accelsim.workload.graph.entries import OPERATORS
from accelsim.workload.network import Workload
from accelsim.workload.operators.operator import Operator, Shape

MAX_IMPORTED = 10_000
MAX_NAME = 100  # of a layer or a node in a file


class UnsupportedError(InputError):
    """Nodes that cannot be imported, every one with its reason in ``nodes``, their types in
    ``types``; nothing is imported without them.  ``skip`` are the types without which the rest can
    be.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        nodes: Sequence[tuple[str, str]],
        types: Iterable[str] = (),
        skip: Iterable[str] = (),
    ) -> None:
        self.nodes, self.types = tuple(nodes), frozenset(types)
        self.skip = tuple(sorted(skip))
        shown = "; ".join(f"{name}: {why}" for name, why in self.nodes[:3])
        rest = f"; and {len(self.nodes) - 3} more" if len(self.nodes) > 3 else ""
        count = f"{len(self.nodes)} node{'s' * (len(self.nodes) > 1)}"
        hint = f"; {self.hint}" if self.skip else ""
        told = one_line(f"{count} cannot be imported: {shown}{rest}", 300 - min(len(hint), 150))
        super().__init__(one_line(f"{told}{hint}", 300), file=file)

    @property
    def hint(self) -> str:
        """What ``import`` can be asked for instead, if there is anything."""
        asked = " ".join(f"--skip {one}" for one in self.skip)
        return f"import {asked} leaves every such node out, and what is behind it" if asked else ""


def with_skips(
    error: UnsupportedError,
    skip: frozenset[str],
    kept: Collection[str],
    read: Callable[[frozenset[str]], Imported],
) -> UnsupportedError:
    """The same refusal, which names the types that ``skip`` lacks for the rest to be imported, if
    some of it can be: ``read`` tries it.  Nobody wants a network without a type of ``kept``.
    """
    refused, more = error, frozenset[str]()
    while refused.types - more - skip and not refused.types & {*kept}:
        more |= refused.types - skip
        try:
            read(skip | more)
        except UnsupportedError as still:
            refused = still
        except InputError:  # nothing is left
            break
        else:
            return UnsupportedError(error.file or "", error.nodes, error.types, skip | more)
    return error


@dataclass
class Imported:
    """A workload, its weights by parameter name (none if the format has none), and what was noticed
    on the way.
    """

    workload: Workload
    weights: dict[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class UniqueNames:
    """Names a file may have, each given once; ``otherwise`` for a name of which nothing is left."""

    def __init__(self, otherwise: str) -> None:
        self.otherwise = otherwise
        self.taken: set[str] = set()
        self.numbers: dict[str, int] = {}

    def like(self, name: str) -> str:
        """``name`` without what a file's names may not have, with a number after it if taken."""
        base = clean(name) or self.otherwise
        unused = base
        while unused in self.taken:
            self.numbers[base] = self.numbers.get(base, 1) + 1
            ending = f"_{self.numbers[base]}"
            unused = base[: MAX_NAME - len(ending)] + ending
        self.taken.add(unused)
        return unused


class NetworkBuilder:
    """Collects nodes of a graph.  A tensor goes by its node's name; shapes are known at once, the
    batch left out.
    """

    def __init__(self, name: str, file: str | os.PathLike[str]) -> None:
        self.name, self.file = clean(name) or "network", file
        self.batch = 1
        self.inputs: dict[str, Shape] = {}
        self.entries: list[dict[str, Any]] = []
        self.shapes: dict[str, Shape] = {}
        self.weights: dict[str, Array] = {}
        self.notes: list[str] = []
        self.names = UniqueNames("node")
        # Of each array in the file, the nodes that have it, under which name and laid out how.
        self.users: dict[str, list[tuple[str, str, Array]]] = {}
        self.origins: dict[str, Mapping[str, str]] = {}
        self.taken: dict[str, str] = {}  # nodes taken away again, and what each of them read

    def input(self, name: str, shape: Shape) -> str:
        """An input of the network; its tensor's name."""
        own = self.names.like(name)
        self.inputs[own] = self.shapes[own] = shape
        return own

    def add(
        self,
        kind: str,
        name: str,
        inputs: Sequence[str],
        weights: Mapping[str, Array] | None = None,
        origins: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> str:
        """A node that reads tensors; its tensor's name.  ``weights`` that are ``absent`` have a
        shape and no words; ``origins`` are their names in the file: an array that another node has
        in the same way is shared with it.  Raises ValueError if the operator cannot take them.
        """
        if len(self.entries) >= MAX_IMPORTED:
            raise InputError(f"must have at most {MAX_IMPORTED} nodes", file=self.file)
        entry: dict[str, Any] = {"type": kind} | {k: v for k, v in fields.items() if v is not None}
        op = _operator(kind, entry)
        shapes = [self.shapes[x] for x in inputs]
        shape = op.infer(*shapes)
        for key, wanted in op.parameters(*shapes).items():
            if weights is not None and key in weights and weights[key].shape != wanted:
                raise ValueError(f"{key} must have shape {wanted}, got {weights[key].shape}")
        own = self.names.like(name)
        self.origins[own] = origins or {}
        if share := self._shared(own, weights or {}, origins or {}):
            one = set(share.values()) if share.keys() == op.parameters(*shapes).keys() else set()
            entry["share"] = one.pop() if len(one) == 1 else share
        given = {"inputs": list(inputs)} if inputs and [*inputs] != [self._last()] else {}
        self.entries.append({"name": own} | entry | given)
        self.shapes[own] = shape
        for key, value in (weights or {}).items():
            if key not in share and not is_absent(value):
                self.weights[f"{own}.{key}"] = value
        return own

    def _shared(
        self, own: str, weights: Mapping[str, Array], origins: Mapping[str, str]
    ) -> dict[str, str]:
        """The node that has each of a new node's arrays already."""
        share: dict[str, str] = {}
        for key, origin in origins.items():
            users = self.users.setdefault(origin, [])
            for node, theirs, array in users:
                if theirs == key and _same(array, weights[key]):
                    share[key] = node
                    break
            else:
                if users:
                    first = f"{users[0][0]}.{users[0][1]}"
                    self.notes.append(
                        f"{own}.{key} is {first} ({origin}) laid out otherwise: counted twice"
                    )
                users.append((own, key, weights[key]))
        return share

    def rename_last(self, name: str) -> str:
        """The node just added, which nobody reads yet, by another name; the name it has then."""
        old, entry = str(self.entries[-1]["name"]), self.entries[-1]
        self.names.taken.discard(old)
        own = entry["name"] = self.names.like(name)
        self.shapes[own] = self.shapes.pop(old)
        origins = self.origins[own] = self.origins.pop(old)
        for key in ("weight", "bias", *origins):
            if f"{old}.{key}" in self.weights:
                self.weights[f"{own}.{key}"] = self.weights.pop(f"{old}.{key}")
        for origin in origins.values():
            users = self.users[origin]
            users[:] = [(own if node == old else node, key, array) for node, key, array in users]
        return own

    def added_last(self, kind: str, name: str) -> str | None:
        """What the node just added reads, if it is called so and is of this type."""
        entry = self.entries[-1] if self.entries else {}
        if (entry.get("name"), entry.get("type")) != (name, kind):
            return None
        if "inputs" in entry:
            return str(entry["inputs"][0])
        before = self.entries[-2]["name"] if len(self.entries) > 1 else next(iter(self.inputs))
        return str(before)

    def take_back(self) -> None:
        """The node just added taken away; nobody reads it."""
        entry = self.entries[-1]
        source = self.added_last(entry["type"], entry["name"])
        name = self.entries.pop()["name"]
        if source is not None:
            self.taken[name] = source
        self.names.taken.discard(name)
        del self.shapes[name]

    def without_flatten(self, name: str) -> str:
        """What a flatten just added reads, the flatten taken away; ``name`` itself if it is none.
        A linear layer flattens by itself.
        """
        source = self.added_last("flatten", name)
        if source is None:
            return name
        self.take_back()
        return source

    def without_inputs(self, names: Collection[str]) -> None:
        """Inputs that no node reads, taken away."""
        for name in names:
            del self.inputs[name], self.shapes[name]

    def _last(self) -> str | None:
        return self.entries[-1]["name"] if self.entries else next(iter(self.inputs), None)

    def done(self, description: str, outputs: Sequence[str] = ()) -> Imported:
        """The workload.  Raises InputError if it is none."""
        data: dict[str, Any] = {"name": self.name, "description": description}
        shapes = {k: list(v) for k, v in self.inputs.items()}
        data |= {"batch": self.batch} if self.batch > 1 else {}
        data["input"] = shapes["input"] if [*shapes] == ["input"] else shapes
        data["graph"] = self.entries
        if outputs:
            data["outputs"] = list(outputs)
        return Imported(made(data, self.file), self.weights, tuple(self.notes))


def made(data: dict[str, Any], file: str | os.PathLike[str]) -> Workload:
    """A workload of a file's data.  Raises InputError naming the imported file."""
    try:
        return validate(data, Workload, "workloads")
    except InputError as error:
        rule = f"{error.key}: {error.rule}" if error.key else error.rule
        raise InputError(rule, file=file, got=error.got) from None


def _operator(kind: str, entry: Mapping[str, Any]) -> Operator:
    from pydantic import ValidationError

    try:
        return OPERATORS[kind].model_validate(dict(entry))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}".removeprefix(": ")) from None


def clean(name: str) -> str:
    """A name without what a file's names may not have."""
    shown = "".join(c for c in name[: 2 * MAX_NAME] if c.isprintable() or c.isspace())
    return re.sub(r"[\s,]+", "_", shown).strip("_")[:MAX_NAME]


def stem(file: str | os.PathLike[str]) -> str:
    """A network's name by its file."""
    return clean(Path(file).stem) or "network"


def read_bytes(file: str | os.PathLike[str], most: int) -> bytes:
    """A file of at most ``most`` bytes.  Raises InputError."""
    path = Path(file)
    try:
        if not path.exists():
            raise InputError("no such file", file=file)
        if not path.is_file():
            raise InputError("must be a file", file=file)
        with path.open("rb") as stream:
            raw = stream.read(most + 1)
    except OSError as error:
        raise InputError(
            f"cannot be read ({(error.strerror or str(error)).lower()})", file=file
        ) from None
    if len(raw) > most:
        raise InputError(f"must be at most {most} bytes", file=file, got="more")
    return raw


def read_text(file: str | os.PathLike[str], most: int) -> str:
    """A text file of at most ``most`` bytes.  Raises InputError."""
    raw = read_bytes(file, most)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(
            "must be UTF-8 text",
            file=file,
            line=line,
            column=1,
            got=f"byte {raw[error.start]:#04x}",
        ) from None
    if "\0" in text:
        raise InputError(
            "must be text, not binary",
            file=file,
            line=text[: text.index("\0")].count("\n") + 1,
            column=1,
        )
    return text


def absent(shape: Sequence[int]) -> Array:
    """An array of which only the shape is known: it takes no memory, and its views are absent
    too.
    """
    return np.broadcast_to(np.float32(np.nan), tuple(shape))


def is_absent(array: Array) -> bool:
    """Whether only the shape is known."""
    return bool(
        array.dtype == np.float32
        and array.size
        and not any(array.strides)
        and np.isnan(array.item(0))
    )


def _same(a: Array, b: Array) -> bool:
    if a.shape != b.shape or is_absent(a) != is_absent(b):
        return False
    return is_absent(a) or a is b or np.array_equal(a, b)


def laid_out(array: Array) -> Array:
    """The words in a row, in the order of the axes; one word that is everywhere stays one."""
    return array if array.size and not any(array.strides) else np.ascontiguousarray(array)


def finite(array: Array) -> Array:
    """Numbers as float32 or float64, in their shape.  Raises ValueError for what is not numbers."""
    if np.issubdtype(array.dtype, np.complexfloating) or array.dtype.kind not in "fiub":
        try:
            return np.asarray(array, np.float32)
        except (TypeError, ValueError):
            raise ValueError(f"weights must be numbers, got {array.dtype}") from None
    return array if array.dtype in (np.float32, np.float64) else np.asarray(array, np.float64)
