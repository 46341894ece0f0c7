"""Timeloop's counts on 18 cases: word for word from our primitives, or by a rule of Timeloop's that
has a name.

A rule is a switch.  With all off a number is ours; with all on it must be the one Timeloop prints.
Where the two differ, the rules without which it would not be Timeloop's explain it, and must do so
alone.  (docs/timeloop.md; what the cases are and how their counts are defined stands in
reference/timeloop_cases.json.)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from functools import cache, cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import oracle
import pytest
from nests import as_oracle

from accelsim.engines import analytic
from accelsim.engines.analytic.array_time import array_time
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.mapping import Loop, Mapping
from accelsim.mapping.nest import Boundary, Nest
from accelsim.mapping.skeleton import TiledLoop, depends
from accelsim.workload.problem import Problem

CASES = {
    c["name"]: c
    for c in json.loads((Path(__file__).parent / "reference" / "timeloop_cases.json").read_text())[
        "cases"
    ]
}
MINI = [name for name in CASES if name.startswith("mini")]
DIM = {"N": "N", "M": "M", "C": "C", "Q": "E", "P": "F", "S": "R", "R": "S"}  # theirs: ours
TENSOR = {"Weights": "weight", "Inputs": "ifmap", "Outputs": "ofmap"}
RANKS = {
    "weight": ("M", "C", "R", "S"),
    "ifmap": ("N", "C", "ER", "FS"),
    "ofmap": ("N", "M", "E", "F"),
}
FIELDS = ("reads", "fills", "updates", "partition_size", "tile_words")
Key = tuple[str, str, str]  # level, tensor, field; level and tensor empty for the whole case
Box = tuple[frozenset[int], ...]  # coordinates along each rank of a tensor

RULES = {
    "psums return": (
        "Sums let go come back: the parent reads them and the child is filled with them; a word is "
        "free only when an instance touches it first.  Ours start every residency from zero and "
        "are added at the parent."
    ),
    "gaps moved": "A tile is the box around its words: words no MAC touches are moved and held.",
    "one direction": (
        "Words a tile keeps are credited only while it moves along one axis, one way; a wrap of "
        "two loops fetches all."
    ),
    "equal tiles only": (
        "At each fan-out, branches share a read if their tiles are equal; of tiles that only "
        "overlap, each is read whole."
    ),
    "neighbour links": (
        "A word another instance held one step before comes from there: a read of that instance, "
        "not of the parent."
    ),
    "share of the whole": (
        "partition_size is the tensor's, times tile over union of tiles at each fan-out, rounded "
        "down: a halo is shared out.  Ours counts the distinct words an instance ever holds."
    ),
    "last pass for all": (
        "A fan-out with a short last pass has as many instances as that pass, and each works in "
        "every cycle."
    ),
}
ALL = frozenset(RULES)
# Of 798 numbers: those equal without any rule, and those that need one, or two.
EQUAL = {
    **{
        "reads": 130,
        "fills": 82,
        "updates": 53,
        "partition_size": 153,
        "tile_words": 155,
        "instances_used": 57,
    },
    **{
        "macs": 17,
        "compute_cycles": 18,
        "cycles": 18,
        "utilization_pct": 17,
        "spatial_reductions": 18,
        "link_transfers": 17,
    },
}
EXPLAINED = {
    "psums return": 35,
    "gaps moved": 10,
    "one direction": 4,
    "equal tiles only": 2,
    "neighbour links": 3,
    "share of the whole": 2,
    "last pass for all": 6,
    "last pass for all, psums return": 1,
}


def bounds(case: dict[str, Any]) -> list[tuple[str, int, int, str, str]]:
    """Their loops outermost first: our dimension, trips, trips of the last pass, level, axis."""
    found = []
    for level in case["inputs"]["mapping_outer_to_inner"]:
        for axis, key in (("none", "temporal"), ("row", "spatial_x"), ("col", "spatial_y")):
            for dim, bound in level[key]:
                full, _, last = str(bound).partition(",")
                found.append((DIM[dim], int(full), int(last or full), level["level"], axis))
    return found


def build(case: dict[str, Any], operands: str = "multicast") -> Nest:
    """A case as our problem, architecture and mapping: levels without bounds, one network below
    each.
    """
    p, written = case["inputs"]["problem"], case["inputs"]["mapping_outer_to_inner"]
    size = {ours: p[theirs] for theirs, ours in DIM.items()}
    stride, dilation = (p["Hstride"], p["Wstride"]), (p["Hdilation"], p["Wdilation"])
    h, w = (
        (size[o] - 1) * u + (size[f] - 1) * d + 1
        for o, f, u, d in zip("EF", "RS", stride, dilation, strict=True)
    )
    problem = Problem(**size, G=1, H=h, W=w, stride=stride, dilation=dilation)
    names = [level["level"] for level in written]
    assert names == [x["name"] for x in case["inputs"]["architecture"][:-1]]
    networks = {
        f"below_{n}": {"below": n, "held": operands, "streamed": operands, "accumulated": "reduce"}
        for n in names
    }
    arch = Architecture.model_validate(
        {
            "name": "timeloop",
            "clock_mhz": 1.0,
            "array": {"rows": 10**6, "cols": 10**6},
            "levels": {n: {} for n in names},
            "networks": networks,
            "bits": {"weight": 8, "ifmap": 8, "psum": 32, "ofmap": 8},
            "energy": {
                "mac": 1.0,
                "levels": dict.fromkeys(names, 1.0),
                "networks": dict.fromkeys(networks, 1.0),
            },
        }
    )
    loops, left = [], dict(size)
    for i, (dim, trips, _, level, axis) in enumerate(bounds(case)):
        inside = prod(n for d, n, *_ in bounds(case)[i + 1 :] if d == dim)
        assert -(-left[dim] // inside) == trips
        left[dim] = inside
        loops.append(Loop(dim=dim, tile=inside, level=level, axis=axis))  # type: ignore[arg-type]
    keep = {level["level"]: tuple(TENSOR[t] for t in level["keep"]) for level in written}
    return Nest(problem, arch, Mapping(loops=tuple(loops), keep=keep))


# -- tiles as sets of coordinates ------------------------------------------------------------------


def size(box: Box) -> int:
    return prod(map(len, box))


def touched(
    nest: Nest, tensor: str, at: Iterable[tuple[TiledLoop, Iterable[int]]], gaps: bool
) -> Box:
    """What a tensor's words are made of at some trips of some loops, all other loops inside; with
    gaps filled if asked.
    """
    pieces = {d: {(0, n)} for d, n in nest.problem.size.items()}
    for loop, trips in at:
        cut = {
            (lo + i * loop.tile, min(hi, lo + (i + 1) * loop.tile))
            for lo, hi in pieces[loop.dim]
            for i in trips
        }
        pieces[loop.dim] = {(lo, hi) for lo, hi in cut if lo < hi}
    values = {d: {x for piece in ps for x in range(*piece)} for d, ps in pieces.items()}
    found = []
    for rank in RANKS[tensor]:
        if len(rank) == 1:
            found.append(frozenset(values[rank]))
        else:
            out, tap = rank
            u, d = (pair["FS".count(tap)] for pair in (nest.problem.stride, nest.problem.dilation))
            touches = {u * e + d * r for e in values[out] for r in values[tap]}
            found.append(
                frozenset(range(min(touches), max(touches) + 1))
                if gaps and touches
                else frozenset(touches)
            )
    return tuple(found)


def places(nest: Nest, level: int) -> list[dict[int, int]]:
    """Every instance of a level: the trip of each spatial loop above it."""
    spatial = [i for i, x in enumerate(nest.loops) if x.spatial and x.level < level]
    return [
        dict(zip(spatial, at, strict=True))
        for at in product(*(range(nest.loops[i].trips) for i in spatial))
    ]


@cache
def ever_held(nest: Nest, tensor: str, level: int, gaps: bool) -> float:
    """Distinct words an instance ever holds, mean over instances."""
    above = [(i, x) for i, x in enumerate(nest.loops) if x.level < level]
    ever = [
        [(x, (at[i],) if i in at else range(x.trips)) for i, x in above]
        for at in places(nest, level)
    ]
    return sum(size(touched(nest, tensor, trips, gaps)) for trips in ever) / len(ever)


@cache
def share(nest: Nest, tensor: str, level: int, gaps: bool) -> int:
    """The tensor's words, times tile over union of tiles at each fan-out, rounded down each
    time.
    """
    words = size(touched(nest, tensor, (), gaps))
    for inner in range(1, level + 1):
        tile = [(x, (0,)) for x in nest.loops if x.level < inner]
        union = [(x, at) for x, at in tile if x.level < inner - 1 or not x.spatial]
        words = (
            words
            * size(touched(nest, tensor, tile, gaps))
            // size(touched(nest, tensor, union, gaps))
        )
    return words


def copies(nest: Nest, tensor: str, parent: int, child: int) -> float:
    """Instances a word goes to if, at each fan-out, branches whose tiles are equal share it."""
    found = 1.0
    for level in range(parent, child):
        loops = [(i, x) for i, x in enumerate(nest.loops) if x.level <= level]
        here = [i for i, x in loops if x.spatial and x.level == level]
        branches = [
            dict(zip(here, at, strict=True))
            for at in product(*(range(nest.loops[i].trips) for i in here))
        ]
        found *= len(branches) / len(
            {
                touched(nest, tensor, [(x, (at.get(i, 0),)) for i, x in loops], False)
                for at in branches
            }
        )
    return found


@cache
def walked(nest: Nest, tensor: str, level: int, gaps: bool, one_direction: bool) -> float:
    """Words that enter an instance's tile, step by step, mean over instances; with one credit rule
    or the other.
    """
    above = [i for i, x in enumerate(nest.loops) if x.level < level]
    steps = [i for i in above if not nest.loops[i].spatial]
    instances = places(nest, level)
    if all(nest.problem.size[x.dim] % x.tile == 0 for x in nest.loops):
        instances = instances[:1]  # all do the same
    total = 0
    for place in instances:
        known: dict[tuple[int, ...], Box] = {}
        before: Box = ()
        way: tuple[int, bool] | None = None
        own = [i for i in steps if depends(nest.loops[i].dim, tensor, {})]
        for step in product(*(range(nest.loops[i].trips) for i in steps)):
            at = place | dict(zip(steps, step, strict=True))
            key = tuple(at[i] for i in own)
            if key not in known:
                known[key] = touched(nest, tensor, [(nest.loops[i], (at[i],)) for i in above], gaps)
            now = known[key]
            kept = prod(len(a & b) for a, b in zip(now, before, strict=True)) if before else 0
            if one_direction and now != before and kept:
                moved = [
                    (axis, min(a) > min(b))
                    for axis, (a, b) in enumerate(zip(now, before, strict=True))
                    if a != b
                ]
                turned = len(moved) > 1 or way not in (None, moved[0])
                way, kept = (None, 0) if turned else (moved[0], kept)
            else:
                way = None
            total += size(now) - kept
            before = now
    return total / len(instances)


# -- a case under any set of rules -----------------------------------------------------------------


class Case:
    """One case: what Timeloop prints, and what our primitives and some of its rules make of it."""

    def __init__(self, name: str) -> None:
        self.case = CASES[name]
        self.nest, self.linked = build(self.case), build(self.case, "neighbour")
        self.moved, self.moved_linked = (
            analytic.moves(self.nest),
            {str(b): m for b, m in analytic.moves(self.linked).items()},
        )
        self.names = self.nest.arch.level_names
        self.cycles = array_time(self.nest).compute

    @cached_property
    def printed(self) -> dict[Key, float]:
        out = self.case["outputs"]
        found: dict[Key, float] = {
            ("", "", k): out[k] for k in ("compute_cycles", "cycles", "utilization_pct")
        }
        found["", "", "macs"] = out["computes_reported"]
        for key in (
            "link_transfers",
            "spatial_reductions",
        ):  # they are per instance of the network's upper level
            each = [
                (self.names.index(n.split()[0]), t[key])
                for n, ts in out["networks"].items()
                for t in ts.values()
            ]
            found["", "", key] = sum(self.instances(level) * n for level, n in each)
        for level, tensors in out["levels"].items():
            for tensor, values in tensors.items():
                found[level, "", "instances_used"] = values["instances_used"]
                never = [
                    f
                    for f, holds in (
                        ("updates", tensor != "Outputs"),
                        ("fills", level == self.names[0]),
                    )
                    if holds
                ]
                assert not any(
                    values[f] for f in never
                )  # operands are not added to, nothing is outside the outermost level
                found |= {(level, tensor, f): values[f] for f in FIELDS if f not in never}
        return found

    def value(self, key: Key, rules: frozenset[str] = frozenset(), variant: str = "") -> float:
        """A number under some rules; ``variant`` is one of Timeloop's own of "psums return"."""
        level, tensor, field = key
        if field in FIELDS:
            return getattr(self, field)(self.names.index(level), TENSOR[tensor], rules, variant)
        if field == "instances_used":
            return self.instances(self.names.index(level), rules)
        return getattr(self, f"of_case_{field}")(rules, variant)

    # -- boundaries --------------------------------------------------------------------------------

    def instances(self, level: int, rules: frozenset[str] = frozenset()) -> int:
        """Instances of a level: of a full pass, or of the last."""
        last = "last pass for all" in rules
        return prod(
            (end if last else n)
            for _, n, end, at, axis in bounds(self.case)
            if axis != "none" and self.names.index(at) < level
        )

    def below(self, level: int, tensor: str) -> Boundary:
        return next(b for b in self.moved if b.tensor == tensor and b.parent == level)

    def above(self, level: int, tensor: str) -> Boundary | None:
        return next((b for b in self.moved if b.tensor == tensor and b.child == level), None)

    def fan_out(self, b: Boundary) -> list[TiledLoop]:
        return [x for x in self.nest.loops if x.spatial and b.parent <= x.level < b.child]

    def from_neighbours(self, b: Boundary, rules: frozenset[str]) -> int:
        """Words not read at the parent: Timeloop links instances of a level if the level above it
        reads for them, none between.
        """
        if (
            "neighbour links" not in rules
            or b.tensor == "ofmap"
            or b.child != b.parent + 1
            or not self.fan_out(b)
        ):
            return 0
        return self.moved[b].read - self.moved_linked[str(b)].read

    def at_the_mac(self, b: Boundary, ours: int, rules: frozenset[str]) -> int:
        """Words between an innermost level and its MACs: one a cycle and MAC where "last pass for
        all", once for MACs that share it where the level is further out than the PEs.
        """
        if "last pass for all" not in rules:
            return ours
        shared = copies(self.nest, b.tensor, b.parent, b.child)
        return round(self.cycles * self.instances(b.child) / shared)

    # -- fields, per instance ----------------------------------------------------------------------

    def reads(self, level: int, tensor: str, rules: frozenset[str], variant: str = "") -> float:
        b, above, n = self.below(level, tensor), self.above(level, tensor), self.instances(level)
        if tensor == "ofmap":
            updates = self.updates(level, tensor, rules)
            if "psums return" not in rules or (
                variant == "updated_rmw" and above and above.parent > 0
            ):
                return (
                    updates - (self.moved[b].arrived - self.moved[b].updated) / n
                )  # first arrivals of every residency are free
            if variant == "no_first_read_elision" or (variant == "updated_rmw" and not above):
                return updates
            return updates - self.partition_size(level, tensor, rules)
        if b.child == self.nest.levels:
            sent: float = self.at_the_mac(b, self.moved[b].read, rules)
        elif self.fan_out(b) and "equal tiles only" not in rules:
            sent = self.moved[b].read
        else:
            sent = (
                self.fills(b.child, tensor, rules)
                * self.instances(b.child)
                / copies(self.nest, tensor, b.parent, b.child)
            )
        return (
            sent
            - self.from_neighbours(b, rules)
            + (self.from_neighbours(above, rules) if above else 0)
        ) / n

    def fills(self, level: int, tensor: str, rules: frozenset[str], variant: str = "") -> float:
        above, n = self.above(level, tensor), self.instances(level)
        if not above:
            return 0
        if tensor == "ofmap":
            if "psums return" not in rules or (variant == "updated_rmw" and above.parent > 0):
                return 0
            return self.moved[above].drained / n - (
                0
                if variant == "no_first_read_elision"
                else self.partition_size(level, tensor, rules)
            )
        if rules.isdisjoint(("gaps moved", "one direction")):
            return self.moved[above].taken / n
        return walked(self.nest, tensor, level, "gaps moved" in rules, "one direction" in rules)

    def updates(self, level: int, tensor: str, rules: frozenset[str], variant: str = "") -> float:
        if tensor != "ofmap":
            return 0
        b = self.below(level, tensor)
        arrived = self.moved[b].arrived
        return (
            self.at_the_mac(b, arrived, rules) if b.child == self.nest.levels else arrived
        ) / self.instances(level)

    def partition_size(
        self, level: int, tensor: str, rules: frozenset[str], variant: str = ""
    ) -> float:
        return (share if "share of the whole" in rules else ever_held)(
            self.nest, tensor, level, "gaps moved" in rules
        )

    def tile_words(
        self, level: int, tensor: str, rules: frozenset[str], variant: str = ""
    ) -> float:
        footprint = self.nest.footprint
        return (
            prod(footprint.tile_extents(level, tensor))
            if "gaps moved" in rules
            else footprint.tile_words(level, tensor)
        )

    # -- of the whole case -------------------------------------------------------------------------

    def of_case_compute_cycles(self, rules: frozenset[str], variant: str) -> int:
        return self.cycles

    def of_case_macs(self, rules: frozenset[str], variant: str) -> int:
        return (
            self.cycles * self.instances(len(self.names), rules)
            if "last pass for all" in rules
            else self.nest.problem.macs
        )

    def of_case_cycles(self, rules: frozenset[str], variant: str) -> float:
        """The longest of compute and of each level's reads and writes at its bandwidth."""
        longest = float(self.cycles)
        for level, given in zip(self.names, self.case["inputs"]["architecture"], strict=False):
            kept = [t for t in TENSOR if TENSOR[t] in self.nest.mapping.keep[level]]
            words = {
                f: sum(self.value((level, t, f), rules, variant) for t in kept)
                for f in ("reads", "fills", "updates")
            }
            for n, way in ((words["reads"], "read"), (words["fills"] + words["updates"], "write")):
                longest = max(
                    longest, n / (given[f"{way}_bw_words_per_cycle_per_instance"] or float("inf"))
                )
        return round(longest, 6)

    def of_case_utilization_pct(self, rules: frozenset[str], variant: str) -> float:
        cycles, macs = (
            self.of_case_cycles(rules, variant),
            self.case["inputs"]["architecture"][-1]["instances"],
        )
        return round(100 * self.of_case_macs(rules, variant) / (cycles * macs), 2)

    def of_case_link_transfers(self, rules: frozenset[str], variant: str) -> int:
        return sum(self.from_neighbours(b, rules) for b in self.moved)

    def of_case_spatial_reductions(self, rules: frozenset[str], variant: str) -> int:
        return sum(m.drained - m.arrived for m in self.moved.values())

    # -- what explains what ------------------------------------------------------------------------

    def explain(self, key: Key) -> frozenset[str] | None:
        """The rules a printed number needs, none if it is ours; None if they do not give it."""
        printed = self.printed[key]
        if self.value(key) == printed:
            return frozenset()
        needed = frozenset(r for r in RULES if self.value(key, ALL - {r}) != printed)
        return (
            needed
            if needed and self.value(key, needed) == printed == self.value(key, ALL)
            else None
        )


@cache
def load(name: str) -> Case:
    return Case(name)


@pytest.mark.parametrize("name", CASES)
def test_all_rules_give_every_number_of_timeloop(name):
    case = load(name)
    assert {k: case.value(k, ALL) for k in case.printed} == case.printed


@pytest.mark.parametrize("name", CASES)
def test_no_difference_is_unexplained(name):
    case = load(name)
    wrong = {k: (case.value(k), n) for k, n in case.printed.items() if case.explain(k) is None}
    assert not wrong, f"ours, Timeloop's: {wrong}"


def test_how_many_are_equal_and_what_explains_the_rest():
    equal, explained = Counter(), Counter()
    for name in CASES:
        for key in load(name).printed:
            needs = load(name).explain(key)
            equal[key[2]] += not needs
            explained.update([", ".join(sorted(needs))] if needs else [])
    assert set(", ".join(explained).split(", ")) == set(RULES), (
        "a rule that explains nothing is none"
    )
    assert equal == EQUAL
    assert explained == EXPLAINED


@pytest.mark.parametrize("variant", ["no_first_read_elision", "no_link_transfers", "updated_rmw"])
@pytest.mark.parametrize("name", CASES)
def test_timeloop_s_own_variants(name, variant):
    """Three of its switches, among them the one to our convention of psums and the one to our
    networks.
    """
    case = load(name)
    changed = case.case["env_variants_changed_[default,variant]"][variant]
    expected = dict(case.printed)
    for key, (default, value) in changed.items():
        at = tuple(key.split(".")) if "." in key else ("", "", key)
        assert case.printed[at] == default
        expected[at] = value
    rules = ALL - {"neighbour links"} if variant == "no_link_transfers" else ALL
    skip = {
        ("", "", k) for k in ("link_transfers", "utilization_pct")
    }  # not among what the file lists
    assert {k: case.value(k, rules, variant) for k in expected if k not in skip} == {
        k: n for k, n in expected.items() if k not in skip
    }


# -- the numbers we hold to ------------------------------------------------------------------------


def of_oracle(nest: Nest) -> dict[str, tuple[int, ...]]:
    counted = oracle.count(*as_oracle(nest))["primitives"]
    names = ("drains", "arrivals", "update_reads"), ("child_in", "parent_reads")
    return {
        str(b): tuple(
            counted[b.parent, "mac" if b.child == nest.levels else b.child, b.tensor][n]
            for n in names[b.tensor != "ofmap"]
        )
        for b in nest.boundaries
    }


def of_analytic(nest: Nest) -> dict[str, tuple[int, ...]]:
    moved = analytic.moves(nest)
    return {
        str(b): (m.drained, m.arrived, m.updated) if b.tensor == "ofmap" else (m.taken, m.read)
        for b, m in moved.items()
    }


@pytest.mark.parametrize("name", MINI)
def test_ours_are_the_oracle_s(name):
    nest = load(name).nest
    assert of_analytic(nest) == of_oracle(nest)


def test_ours_are_the_oracle_s_with_neighbour_links():
    nest = load("mini_4pe_halo_links").linked
    assert of_analytic(nest) == of_oracle(nest)


@pytest.mark.parametrize("name", [n for n in MINI if "brute_force_check" in CASES[n]])
def test_ours_are_the_file_s_exact_counts(name):
    """The file's own set-based counts, which let psums return; where it says Timeloop agrees,
    nothing else needs a name.
    """
    case, check = load(name), CASES[name]["brute_force_check"]
    exact = {
        (level, t, f): n
        for level, ts in check["ledger_per_instance"].items()
        for t, fs in ts.items()
        for f, n in fs.items()
    }
    assert {k: case.value(k, frozenset({"psums return"})) for k in exact} == exact
    differ = {
        k
        for k in case.printed
        if k in exact and case.explain(k) not in (frozenset(), {"psums return"})
    }
    assert differ == {tuple(text.split(":")[0].split(".")) for text in check["differences"]}
    assert check["agrees"] == (not differ)


@pytest.mark.parametrize("name", CASES)
def test_the_walk_without_rules_is_ours(name):
    """So the rules, and nothing else in ``walked``, make the difference."""
    case = load(name)
    for b, m in case.moved.items():
        if b.tensor != "ofmap" and b.child < case.nest.levels:
            assert (
                walked(case.nest, b.tensor, b.child, False, False) * case.instances(b.child)
                == m.taken
            ), str(b)


@pytest.mark.parametrize(
    "name, drop, times, words",
    [
        # 13 steps: 15 rows, 8 channels, 3 columns, then one more column; anew for each of M 6, C 4,
        # C 8, M 4.
        (
            "eyeriss_alexnet_conv3",
            {
                ("DRAM", "M"),
                ("DRAM", "C"),
                ("shared_glb", "C"),
                ("shared_glb", "M"),
                ("psum_spad", "M"),
            },
            768,
            1800,
        ),
        # Of 14 x 4 steps each 29 rows, 3 channels, 3 columns; anew for each of P 8, Q 2, M 4.
        (
            "eyeriss_ref_mobilenet_conv1",
            {("DRAM", "P"), ("DRAM", "Q"), ("DRAM", "M"), ("psum_spad", "M")},
            64,
            56 * 261,
        ),
    ],
)
def test_overlapping_tiles_are_multicast(name, drop, times, words):
    """The two cases too long for the oracle, without the loops that only repeat the fetches."""
    case = json.loads(json.dumps(CASES[name]))
    for level in case["inputs"]["mapping_outer_to_inner"]:
        level["temporal"] = [x for x in level["temporal"] if (level["level"], x[0]) not in drop]
    sizes = {d: prod(n for dim, n, *_ in bounds(case) if dim == ours) for d, ours in DIM.items()}
    case["inputs"]["problem"] |= sizes
    small, whole = build(case), load(name)
    glb, spad = (whole.names.index(n) for n in ("shared_glb", "ifmap_spad"))
    boundary = f"ifmap {glb}>{spad}"
    assert of_oracle(small) == of_analytic(small)
    assert of_analytic(small)[boundary][1] == words
    assert of_analytic(whole.nest)[boundary][1] == times * words
