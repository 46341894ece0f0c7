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


def import_timeloop(file: str | os.PathLike[str]) -> Imported:
    """A problem as a workload of one layer.  Raises InputError with the place for what is not one,
    or is no layer.
    """
    source = read_yaml(file, "")
    return _Problem(source, os.fspath(file)).imported()


class _Problem:
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
        value = self.instance.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise self.error(
                "must be a whole number of at least 1",
                (*self.base, "instance", name),
                "nothing" if value is None else str(value)[:40],
            )
        return value

    def coefficient(self, name: str) -> int:
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

    def spaces(self) -> dict[str, list[list[list[str]]]]:
        """Projections by data space, that of the outputs under no name."""
        where = (*self.base, "shape", "data-spaces")
        projections: dict[str, list[list[list[str]]]] = {}
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
        spaces = self.spaces()
        outputs = spaces.pop("")
        (a_name, a), (b_name, b) = spaces.items()
        slides = {
            n: [rank for rank in ranks if len(rank) == 2] for n, ranks in ((a_name, a), (b_name, b))
        }
        if slides[a_name] and slides[b_name]:
            raise self.error("only one operand's ranks may slide", (*self.base, "shape"))
        weight, ifmap = (b, a) if slides[a_name] else (a, b)
        sliding = slides[a_name] or slides[b_name]
        dims = [str(d) for d in _list(self.shape.get("dimensions"))]

        def reads(ranks: list[list[list[str]]], d: str) -> bool:
            return any(t[0] == d for rank in ranks for t in rank)

        inside = {d: (reads(outputs, d), reads(weight, d), reads(ifmap, d)) for d in dims}
        kinds = {
            (True, True, True): "G",
            (True, True, False): "M",
            (True, False, True): "N",
            (False, True, True): "C",
        }
        slid = {t[0] for rank in sliding for t in rank}
        roles: dict[str, list[str]] = {}
        for d in dims:
            if d in slid:
                continue
            if inside[d] not in kinds:
                raise self.error(
                    f"dimension {d} must be in two data spaces or in all three",
                    (*self.base, "shape", "dimensions"),
                )
            roles.setdefault(kinds[inside[d]], []).append(d)
        for role, names in roles.items():
            if len(names) > 1:
                raise self.error(
                    f"at most one dimension may be a layer's {role}",
                    (*self.base, "shape", "dimensions"),
                    ", ".join(names),
                )
        sizes = {role: self.size(names[0]) for role, names in roles.items()}
        name = clean(
            str(self.instance.get("name") or self.source.data["problem"].get("name") or "")
        ) or stem(self.file)
        if not sliding:
            if set(sizes) <= {"M", "N", "C"} and {"M", "C"} <= set(sizes):
                layer: dict[str, Any] = {
                    "name": name,
                    "type": "gemm",
                    "m": sizes["M"],
                    "k": sizes["C"],
                    "n": sizes.get("N", 1),
                }
            elif "C" in sizes:
                layer = {
                    "name": name,
                    "type": "matmul",
                    "m": sizes.get("M", 1),
                    "k": sizes["C"],
                    "n": sizes.get("N", 1),
                }
                layer["products"] = sizes.get("G", 1)
            else:
                raise self.error(
                    "a product must sum over a dimension", (*self.base, "shape", "dimensions")
                )
        else:
            layer = self.convolution(name, sizes, sliding, weight)
        data = {
            "name": stem(self.file),
            "description": f"imported from {os.path.basename(self.file)} (Timeloop)",
            "layers": [layer],
        }
        return Imported(made(data, self.file))

    def convolution(
        self,
        name: str,
        sizes: Mapping[str, int],
        sliding: list[list[list[str]]],
        weight: list[list[list[str]]],
    ) -> dict[str, Any]:
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
