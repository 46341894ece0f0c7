"""Timeloop problem YAML: a shape (dimensions, coefficients, data spaces with projections) and an
instance with its sizes.

What a dimension is follows from the data spaces it is in: all three, a group; outputs and weights,
a filter; outputs and inputs, the batch; weights and inputs, a channel; and those that slide
(``R*Wdilation + P*Wstride``) are filter and output sides.  The first sliding rank lies along the
width, as in Timeloop's own ``cnn-layer``.  There is no padding: inputs are the exact footprint.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.yaml_reading import YamlSource, read_yaml
from accelsim.importers.network_builder import Imported, clean, made, stem

# Timeloop's built-in shape.
CNN_LAYER: dict[str, Any] = {
    "name": "cnn-layer",
    "dimensions": ["R", "S", "P", "Q", "C", "M", "N"],
    "coefficients": [
        {"name": n, "default": 1} for n in ("Wstride", "Hstride", "Wdilation", "Hdilation")
    ],
    "data-spaces": [
        {"name": "Weights", "projection": [[["C"]], [["M"]], [["R"]], [["S"]]]},
        {
            "name": "Inputs",
            "projection": [
                [["N"]],
                [["C"]],
                [["R", "Wdilation"], ["P", "Wstride"]],
                [["S", "Hdilation"], ["Q", "Hstride"]],
            ],
        },
        {"name": "Outputs", "projection": [[["N"]], [["M"]], [["Q"]], [["P"]]], "read-write": True},
    ],
}
_NAMED = ("cnn-layer", "cnn_layer")
# A data space's ranks; each is a sum of terms, [dimension] or [dimension, coefficient].
Ranks = list[list[list[str]]]


def import_timeloop(file: str | os.PathLike[str]) -> Imported:
    """A problem as a workload of one layer.  Raises InputError with the place for what is not one,
    or is no layer.
    """
    source = read_yaml(file, "")
    return _TimeloopProblem(source, os.fspath(file)).imported()


class _TimeloopProblem:
    def __init__(self, source: YamlSource, file: str) -> None:
        self.source, self.file = source, file
        problem = source.data.get("problem")
        if not isinstance(problem, dict):
            raise self.error("must have a problem: with a shape and an instance", ())
        self.base: tuple[str | int, ...] = ("problem",)
        # Older files have the instance beside the shape.
        instance = problem.get("instance", problem if "shape" in problem else None)
        if not isinstance(instance, dict):
            raise self.error("must have an instance with the sizes", self.base)
        self.instance: Mapping[str, Any] = {
            k: v for k, v in instance.items() if k not in ("shape", "version")
        }
        shape = problem.get("shape", "cnn-layer")
        if isinstance(shape, str):
            if shape.lower() not in _NAMED:
                raise InputError(
                    "must be cnn-layer, or written out",
                    file=file,
                    key="problem.shape",
                    got=shape,
                    choices=_NAMED[:1],
                )
            shape = CNN_LAYER
        if not isinstance(shape, dict):
            raise self.error("must be a name or a mapping", (*self.base, "shape"))
        self.shape: Mapping[str, Any] = shape

    def error(self, rule: str, path: tuple[str | int, ...], got: str | None = None) -> InputError:
        known = path
        while known not in self.source.places:
            known = known[:-1]
        place = self.source.places[known].key
        return InputError(
            rule,
            file=self.file,
            line=place[0],
            column=place[1],
            key=".".join(map(str, path)) or None,
            got=got,
        )

    def size(self, name: str) -> int:
        """A dimension's size, or a coefficient, as the instance gives it."""
        value = self.instance.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise self.error(
                "must be a whole number of at least 1",
                (*self.base, "instance", name),
                "nothing" if value is None else str(value)[:40],
            )
        return value

    def coefficient(self, name: str) -> int:
        """A coefficient of the instance, or its default in the shape."""
        if name in self.instance:
            return self.size(name)
        for entry in _list(self.shape.get("coefficients")):
            if (
                isinstance(entry, dict)
                and entry.get("name") == name
                and isinstance(entry.get("default", 1), int)
            ):
                return max(int(entry.get("default", 1)), 1)
        raise self.error(f"there is no coefficient {name}", (*self.base, "shape", "coefficients"))

    def spaces(self) -> dict[str, Ranks]:
        """Projections by data space, that of the outputs under no name."""
        where = (*self.base, "shape", "data-spaces")
        projections: dict[str, Ranks] = {}
        for entry in _list(self.shape.get("data-spaces", self.shape.get("data_spaces"))):
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise self.error("every data space must have a name and a projection", where)
            ranks = []
            for rank in _list(entry.get("projection")):
                terms = (
                    [[str(x) for x in _list(term)] for term in _list(rank)]
                    if isinstance(rank, list)
                    else [[str(rank)]]
                )
                if not terms or any(len(t) not in (1, 2) for t in terms) or len(terms) > 2:
                    raise self.error(
                        "a rank must be a sum of at most two terms, each a dimension and perhaps a"
                        " coefficient",
                        where,
                    )
                ranks.append(terms)
            projections[
                ""
                if entry.get("read-write", entry.get("read_write", False))
                else str(entry["name"])
            ] = ranks
        if len(projections) != 3 or "" not in projections:
            raise self.error(
                "there must be two operands and one data space that is read-write",
                where,
                ", ".join(projections) or "nothing",
            )
        return projections

    def imported(self) -> Imported:
        """The workload of one layer."""
        spaces = self.spaces()
        outputs = spaces.pop("")
        weight, ifmap = self.operands(*spaces.values())
        sliding = [rank for rank in ifmap if len(rank) == 2]
        sizes = self.roles(outputs, weight, ifmap, {term[0] for rank in sliding for term in rank})
        name = clean(
            str(self.instance.get("name") or self.source.data["problem"].get("name") or "")
        ) or stem(self.file)
        layer = (
            self.convolution(name, sizes, sliding, weight) if sliding else self.product(name, sizes)
        )
        data = {
            "name": stem(self.file),
            "description": f"imported from {os.path.basename(self.file)} (Timeloop)",
            "layers": [layer],
        }
        return Imported(made(data, self.file))

    def operands(self, first: Ranks, second: Ranks) -> tuple[Ranks, Ranks]:
        """Weights and inputs: the inputs' ranks are those that slide; else they come second."""
        slides = [any(len(rank) == 2 for rank in ranks) for ranks in (first, second)]
        if all(slides):
            raise self.error("only one operand's ranks may slide", (*self.base, "shape"))
        return (second, first) if slides[0] else (first, second)

    def roles(self, outputs: Ranks, weight: Ranks, ifmap: Ranks, slid: set[str]) -> dict[str, int]:
        """Sizes by what each dimension that does not slide is in a layer: G, M, N or C."""
        kinds = {
            (True, True, True): "G",
            (True, True, False): "M",
            (True, False, True): "N",
            (False, True, True): "C",
        }
        where = (*self.base, "shape", "dimensions")
        named: dict[str, list[str]] = {}
        for d in (str(d) for d in _list(self.shape.get("dimensions"))):
            if d in slid:
                continue
            reads = tuple(
                any(term[0] == d for rank in ranks for term in rank)
                for ranks in (outputs, weight, ifmap)
            )
            if reads not in kinds:
                raise self.error(f"dimension {d} must be in two data spaces or in all three", where)
            named.setdefault(kinds[reads], []).append(d)
        for role, names in named.items():
            if len(names) > 1:
                raise self.error(
                    f"at most one dimension may be a layer's {role}", where, ", ".join(names)
                )
        return {role: self.size(names[0]) for role, names in named.items()}

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
