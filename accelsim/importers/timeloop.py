"""Timeloop problem YAML: a shape (dimensions, coefficients, data spaces with projections) and an
instance with its sizes.

What a dimension is follows from the data spaces it is in: all three, a group; outputs and weights,
a filter; outputs and inputs, the batch; weights and inputs, a channel; and those that slide
(``R*Wdilation + P*Wstride``) are filter and output sides.  The first sliding rank lies along the
width, as in Timeloop's own ``cnn-layer``.  There is no padding: inputs are the exact footprint.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from accelsim.base.errors import InputError, nearest
from accelsim.importers.network_builder import Imported, clean, made, stem
from accelsim.importers.timeloop_yaml import TimeloopReader, TimeloopText

# Timeloop's own shapes.  The first has its output channels as K in files of one age and as M in
# those of another, so an instance says which.
_CONV: dict[str, Any] = {
    "dimensions": ["R", "S", "P", "Q", "C", "K", "N"],
    "coefficients": [
        {"name": n, "default": 1} for n in ("Wstride", "Hstride", "Wdilation", "Hdilation")
    ],
    "data-spaces": [
        {"name": "Weights", "projection": [[["C"]], [["K"]], [["R"]], [["S"]]]},
        {
            "name": "Inputs",
            "projection": [
                [["N"]],
                [["C"]],
                [["R", "Wdilation"], ["P", "Wstride"]],
                [["S", "Hdilation"], ["Q", "Hstride"]],
            ],
        },
        {"name": "Outputs", "projection": [[["N"]], [["K"]], [["Q"]], [["P"]]], "read-write": True},
    ],
}
_PRODUCT: dict[str, Any] = {
    "dimensions": ["M", "N", "K"],
    "data-spaces": [
        {"name": "A", "projection": [[["M"]], [["K"]]]},
        {"name": "B", "projection": [[["N"]], [["K"]]]},
        {"name": "Z", "projection": [[["M"]], [["N"]]], "read-write": True},
    ],
}
SHAPES = {"cnn-layer": _CONV, "gemm-abz": _PRODUCT}
# Keys of a problem that are no sizes; what else stands there is named in a note.
_NO_SIZES = ("name", "version", "shape", "instance")
_OF_SHAPES = ("name", "version", "dimensions", "coefficients", "data-spaces", "data_spaces")
_OF_SPACES = ("name", "projection", "read-write", "read_write")
# A data space's ranks; each is a sum of terms, [dimension] or [dimension, coefficient].
Ranks = list[list[list[str]]]


def import_timeloop(file: str | os.PathLike[str]) -> Imported:
    """A problem as a workload of one layer.  Raises InputError with the place for what is not one,
    or is no layer.
    """
    return _TimeloopProblem(TimeloopText.of(file), os.fspath(file)).imported()


class _TimeloopProblem:
    """A file's problem.  ``instance`` are its sizes by name, as the shape spells them."""

    def __init__(self, text: TimeloopText, file: str) -> None:
        self.text, self.file, self.notes = text, file, list[str]()
        reader = TimeloopReader(text)
        data, self.places = reader.document(), reader.places
        problem = data.get("problem") if isinstance(data, dict) else None
        if not isinstance(problem, dict):
            raise self.error("must have a problem: with a shape and an instance", ())
        self.problem: Mapping[str, Any] = problem
        self.base: tuple[str | int, ...] = ("problem",)
        # Older files have the sizes beside the shape, and no instance.
        instance = problem.get("instance", problem)
        if not isinstance(instance, dict):
            raise self.error("must be a mapping of dimensions to sizes", (*self.base, "instance"))
        self.at = (*self.base, "instance") if "instance" in problem else self.base
        self.shape = self._shape(instance)
        self.dimensions = self._names("dimensions")
        self.instance: Mapping[str, Any] = self._sizes(instance)

    def _shape(self, instance: Mapping[str, Any]) -> Mapping[str, Any]:
        shape = self.problem.get("shape", "cnn-layer")
        if isinstance(shape, str):
            name = shape.lower().replace("_", "-")
            if name not in SHAPES:
                raise InputError(
                    "must be the name of one of Timeloop's own shapes, or written out",
                    file=self.file,
                    key="problem.shape",
                    got=shape,
                    choices=SHAPES,
                )
            own = SHAPES[name]
            return _renamed(own, {"K": "M"}) if name == "cnn-layer" and "M" in instance else own
        if not isinstance(shape, dict):
            raise self.error("must be a name or a mapping", (*self.base, "shape"))
        self._unknown(shape, _OF_SHAPES, "problem.shape")
        return shape

    def _names(self, key: str) -> list[str]:
        entries = _list(self.shape.get(key))
        return [str(e.get("name")) if isinstance(e, dict) else str(e) for e in entries]

    def _unknown(self, given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        """Names the keys that nothing here reads."""
        self.notes += [f"{where}.{key} is not read" for key in given if key not in known]

    def _sizes(self, instance: Mapping[str, Any]) -> dict[str, Any]:
        """The instance by the shape's own names.  Another spelling of one in capitals and small
        letters is that one; what is nearly one is refused, and anything else named.
        """
        known = [*self.dimensions, *self._names("coefficients")]
        if "instance" in self.problem:
            self._unknown(self.problem, (*_NO_SIZES, *known), "problem")
        sizes = {key: value for key, value in instance.items() if key in known}
        folded = {name.lower(): name for name in known}
        for key, value in instance.items():
            if key in known or key in _NO_SIZES:
                continue
            meant = folded.get(key.lower()) if len(key) > 1 else None
            if meant is not None and meant not in sizes:
                sizes[meant] = value
                self.notes.append(f"{key} is read as {meant}, as the shape spells it")
            elif meant is None and len(key) > 3 and nearest(key, self._names("coefficients")):
                raise InputError(
                    "no such dimension or coefficient",
                    file=self.file,
                    key=".".join(map(str, self.at)),
                    got=key,
                    choices=known,
                )
            else:
                shown = f" {value}" if isinstance(value, (int, str)) else ""
                self.notes.append(f"{key}{shown} is no size of the shape: not read"[:200])
        return sizes

    def error(self, rule: str, path: tuple[str | int, ...], got: str | None = None) -> InputError:
        known = path
        while known and known not in self.places:
            known = known[:-1]
        if known not in self.places:
            return InputError(rule, file=self.file, line=1, column=1, got=got)
        line, column = self.places[known].key
        file, line = self.text.origin(line)
        key = ".".join(map(str, path)) or None
        return InputError(rule, file=file, line=line, column=column, key=key, got=got)

    def size(self, name: str) -> int:
        """A dimension's size, or a coefficient, as the instance gives it."""
        value = self.instance.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise self.error(
                "must be a whole number of at least 1",
                (*self.at, name),
                "nothing" if value is None else str(value)[:40],
            )
        return value

    def coefficient(self, name: str) -> int:
        """A coefficient of the instance, or its default in the shape."""
        if name in self.instance:
            return self.size(name)
        for entry in _list(self.shape.get("coefficients")):
            if isinstance(entry, dict) and entry.get("name") == name:
                value = entry.get("default", 1)
                if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
                    return value
                rule = f"the default of {name} must be a whole number of at least 1"
                raise self.error(rule, (*self.base, "shape", "coefficients"), str(value)[:40])
        raise self.error(f"there is no coefficient {name}", (*self.base, "shape", "coefficients"))

    def spaces(self) -> dict[str, Ranks]:
        """Projections by data space, that of the outputs under no name."""
        where = (*self.base, "shape", "data-spaces")
        projections: dict[str, Ranks] = {}
        for entry in _list(self.shape.get("data-spaces", self.shape.get("data_spaces"))):
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise self.error("every data space must have a name and a projection", where)
            self._unknown(entry, _OF_SPACES, f"data space {entry['name'][:40]}")
            ranks = [self._rank(rank, entry["name"]) for rank in _list(entry.get("projection"))]
            writes = entry.get("read-write", entry.get("read_write", False))
            if not isinstance(writes, bool):
                raise self.error("read_write must be true or false", where, str(writes)[:40])
            projections["" if writes else str(entry["name"])] = ranks
        if len(projections) != 3 or "" not in projections:
            raise self.error(
                "there must be two operands and one data space that is read-write",
                where,
                ", ".join(projections) or "nothing",
            )
        return projections

    def _rank(self, rank: Any, space: str) -> list[list[str]]:
        """The terms of a rank: a list of them, or one dimension's name."""
        where = (*self.base, "shape", "data-spaces")
        terms = [
            [str(x) for x in term] if isinstance(term, list) else [str(term)]
            for term in (rank if isinstance(rank, list) else [rank])
        ]
        if not terms or any(len(t) not in (1, 2) for t in terms) or len(terms) > 2:
            raise self.error(
                "a rank must be a sum of at most two terms, each a dimension and perhaps a"
                " coefficient",
                where,
            )
        for term in terms:
            if term[0] not in self.dimensions:
                raise InputError(
                    f"the projection of {space[:40]} names what is no dimension",
                    file=self.file,
                    key="problem.shape.dimensions",
                    got=term[0],
                    choices=self.dimensions,
                )
        return terms

    def imported(self) -> Imported:
        """The workload of one layer."""
        spaces = self.spaces()
        outputs = spaces.pop("")
        weight, ifmap = self.operands(*spaces.values())
        sliding = [rank for rank in ifmap if len(rank) == 2]
        sizes = self.roles(outputs, weight, ifmap, {term[0] for rank in sliding for term in rank})
        named = self.problem.get("instance")
        own = named.get("name") if isinstance(named, dict) else None
        name = clean(str(own or self.problem.get("name") or "")) or stem(self.file)
        layer = (
            self.convolution(name, sizes, sliding, weight) if sliding else self.product(name, sizes)
        )
        data = {
            "name": stem(self.file),
            "description": f"imported from {os.path.basename(self.file)} (Timeloop)",
            "layers": [layer],
        }
        return Imported(made(data, self.file), notes=tuple(self.notes))

    def operands(self, first: Ranks, second: Ranks) -> tuple[Ranks, Ranks]:
        """Weights and inputs: the inputs' ranks are those that slide; else they come second."""
        slides = [any(len(rank) == 2 for rank in ranks) for ranks in (first, second)]
        if all(slides):
            raise self.error("only one operand's ranks may slide", (*self.base, "shape"))
        return (second, first) if slides[0] else (first, second)

    def roles(self, outputs: Ranks, weight: Ranks, ifmap: Ranks, slid: set[str]) -> dict[str, int]:
        """Sizes by what each dimension that does not slide is in a layer: G, M, N or C.  Several
        of one kind are one as large as their product.
        """
        kinds = {
            (True, True, True): "G",
            (True, True, False): "M",
            (True, False, True): "N",
            (False, True, True): "C",
        }
        where = (*self.base, "shape", "dimensions")
        named: dict[str, list[str]] = {}
        for d in self.dimensions:
            if d in slid:
                continue
            reads = tuple(
                any(term[0] == d for rank in ranks for term in rank)
                for ranks in (outputs, weight, ifmap)
            )
            if reads in kinds:
                named.setdefault(kinds[reads], []).append(d)
            elif self.size(d) != 1:  # a single step changes nothing
                raise self.error(f"dimension {d} must be in two data spaces or in all three", where)
        self.notes += [
            f"{', '.join(names)} are one dimension of a layer, {role}"
            for role, names in named.items()
            if len(names) > 1
        ]
        return {role: prod(map(self.size, names)) for role, names in named.items()}

    def product(self, name: str, sizes: Mapping[str, int]) -> dict[str, Any]:
        """A layer nothing of which slides: a matrix product, or several in groups."""
        if "C" not in sizes:
            raise self.error(
                "a product must sum over a dimension", (*self.base, "shape", "dimensions")
            )
        m, k, n = sizes.get("M", 1), sizes["C"], sizes.get("N", 1)
        if "M" in sizes and "G" not in sizes:
            return {"name": name, "type": "gemm", "m": m, "k": k, "n": n}
        groups = sizes.get("G", 1)
        return {"name": name, "type": "matmul", "m": m, "k": k, "n": n, "products": groups}

    def convolution(
        self,
        name: str,
        sizes: Mapping[str, int],
        sliding: Ranks,
        weight: Ranks,
    ) -> dict[str, Any]:
        """A layer with one or two sliding ranks, the first along the width."""
        if len(sliding) > 2:
            raise self.error("at most two ranks may slide", (*self.base, "shape", "data-spaces"))
        taps_of = {t[0] for rank in weight for t in rank}
        sides = []
        for rank in sliding:
            filters = [t for t in rank if t[0] in taps_of]
            outs = [t for t in rank if t[0] not in taps_of]
            if len(filters) != 1 or len(outs) != 1:
                raise self.error(
                    "a sliding rank must be a filter's and an output's dimension",
                    (*self.base, "shape", "data-spaces"),
                )
            taps, out = self.size(filters[0][0]), self.size(outs[0][0])
            dilation = self.coefficient(filters[0][1]) if len(filters[0]) == 2 else 1
            stride = self.coefficient(outs[0][1]) if len(outs[0]) == 2 else 1
            sides.append((taps, stride, dilation, (out - 1) * stride + dilation * (taps - 1) + 1))
        (s, v, e, w), (r, u, d, h) = (sides[0], sides[1] if len(sides) == 2 else (1, 1, 1, 1))
        layer: dict[str, Any] = {
            "name": name,
            "M": sizes.get("M", 1),
            "C": sizes.get("C", 1),
            "H": h,
            "W": w,
            "R": r,
            "S": s,
        }
        layer |= {"stride": [u, v]} if (u, v) != (1, 1) else {}
        layer |= {"dilation": [d, e]} if (d, e) != (1, 1) else {}
        layer |= {"groups": sizes["G"]} if "G" in sizes else {}
        return layer | ({"N": sizes["N"]} if sizes.get("N", 1) > 1 else {})


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A shape in which dimensions go by other names."""
    if isinstance(value, dict):
        return {key: _renamed(v, names) for key, v in value.items()}
    if isinstance(value, list):
        return [_renamed(v, names) for v in value]
    return names.get(value, value) if isinstance(value, str) else value
