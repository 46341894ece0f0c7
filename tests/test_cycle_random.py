"""Random nests through the cycle engine: every count the event engine's, every output golden's,
sampled runs the same.
"""

from __future__ import annotations

import random
from collections import Counter
from math import prod

import pytest
from nests import drawn_nest, random_problem
from quick import slow_but
from test_cycle import differences

from accelsim.hardware.architecture import Architecture
from accelsim.mapping.mapping import FUSED, Loop, Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import DIMS, TENSORS, Problem

# The dimensions of each tensor, fused ones as one; a spatial loop on lines belongs to two tensors
# of three.
WHOLE = {"weight": "GMK", "ifmap": "GKX", "ofmap": "GMX"}
PARTS = {"G": ("G",), "M": ("M",), **FUSED}


def systolic_nest(rng: random.Random, most: int = 400) -> Nest:
    """A random nest that lies on systolic lines: any tensor held, any direction, either way round,
    every option.
    """
    while True:
        try:
            return _draw(rng, random_problem(rng, most))
        except MappingError:
            continue


class _Cuts:
    """Loops as they are drawn, and what is left of every dimension."""

    def __init__(self, rng: random.Random, problem: Problem, names: list[str]) -> None:
        self.rng, self.names, self.loops = rng, names, list[Loop]()
        self.left = dict(problem.size)
        self.fused = {n: p for n, p in FUSED.items() if rng.random() < 0.5}
        self.chunk: dict[str, int] = {}

    def size(self, name: str) -> int:
        return self.chunk.get(name, prod(self.left[p] for p in PARTS.get(name, (name,))))

    def cut(self, dim: str, tile: int, level: int, axis: str = "none") -> None:
        (self.chunk if dim in self.fused else self.left)[dim] = tile
        self.loops.append(Loop(dim=dim, tile=tile, level=self.names[level], axis=axis))

    def closed(self, dim: str) -> bool:
        return any(dim in FUSED[n] for n in self.chunk)

    def parts(self, whole: str) -> list[str]:
        return [whole] if whole in self.fused else list(PARTS[whole])


def _draw(rng: random.Random, problem: Problem) -> Nest:
    held = rng.choice(TENSORS)
    sides = [
        next(x for x in "MKX" if x in WHOLE[held] and x in WHOLE[t]) for t in TENSORS if t != held
    ]
    rng.shuffle(sides)
    (inside,) = set("MKX") - set(WHOLE[held])
    names = [f"l{i}" for i in range(rng.choice((2, 3, 3, 4)))]
    last = len(names) - 2
    cuts = _Cuts(rng, problem, names)
    for level in range(last + 1):
        for d in rng.sample(DIMS, len(DIMS)):
            if not cuts.closed(d) and rng.random() < 0.4:
                cuts.cut(d, rng.randint(1, cuts.left[d]), level)
        for n in cuts.fused:
            if rng.random() < 0.4:
                cuts.cut(n, rng.randint(1, cuts.size(n)), level)
    lines = []
    for side, axis in zip(sides, ("row", "col"), strict=True):
        for d in cuts.parts(side):
            cuts.cut(d, rng.randint(1, min(cuts.size(d), 5 if d in cuts.fused else 3)), last)
            lines.append((d, axis))
    cuts.cut("G", 1, last)
    for d, axis in rng.sample(lines, len(lines)):
        cuts.cut(d, 1, last, axis)
    for d in rng.sample(cuts.parts(inside), len(cuts.parts(inside))):
        if rng.random() < 0.3:
            cuts.cut(d, rng.randint(1, cuts.size(d)), last + 1)
        cuts.cut(d, 1, last + 1)
    between = {n: tuple(t for t in TENSORS if rng.random() < 0.6) for n in names[1:-1]}
    keep = {names[0]: TENSORS, **between, names[-1]: (held,)}
    mapping = Mapping(loops=tuple(cuts.loops), keep=keep, fused=cuts.fused)
    wide = _architecture(rng, names, 10**6, 10**6)
    nest = Nest(problem, Architecture.model_validate(wide), mapping)
    need = [prod(x.trips for x in nest.loops if x.axis == axis) for axis in ("row", "col")]
    wide["array"] |= {"rows": need[0] + rng.randint(0, 2), "cols": need[1] + rng.randint(0, 2)}
    return Nest(problem, Architecture.model_validate(wide), mapping)


def _architecture(rng: random.Random, names: list[str], rows: int, cols: int) -> dict:
    overlap = rng.random() < 0.75
    networks = {
        f"n{i}": {
            "below": n,
            "held": rng.choice(("multicast", "unicast", "neighbour")),
            "accumulated": rng.choice(("reduce", "unicast")),
        }
        for i, n in enumerate(names[:-2])
    }
    networks["lines"] = {
        "below": names[-2],
        "held": "preload",
        "streamed": "systolic",
        "accumulated": "systolic",
    }
    return {
        "name": "random",
        "clock_mhz": 1.0,
        "levels": {n: {} for n in names},
        "networks": networks,
        "array": {
            "rows": rows,
            "cols": cols,
            "overlap": overlap,
            "weight_registers": rng.choice((1, 2)) if overlap else 1,
            "outputs": rng.choice(("in_place", "accumulators", "register")),
            "partial_folds": rng.choice(("exact", "exact", "full")),
        },
        **({"padding": {"stored_from": rng.choice(names[1:])}} if rng.random() < 0.25 else {}),
        **({"first_read": rng.choice(names)} if rng.random() < 0.2 else {}),
        "bits": {"weight": 8, "ifmap": 8, "ofmap": 8, "psum": rng.choice((8, 17, 32, 48))},
        "signed": {t: rng.random() < 0.6 for t in (*TENSORS, "psum")},
        "energy": {
            "mac": 1.0,
            "levels": dict.fromkeys(names, 1.0),
            "networks": dict.fromkeys(networks, 1.0),
        },
    }


def chained(nest: Nest, rng: random.Random) -> Nest:
    """The same nest on a plain array whose sums hop, with a few pipeline stages."""
    name, net = nest.arch.network_below(nest.levels - 2)
    networks = dict(nest.arch.networks) | {
        str(name): net.model_copy(update={"accumulated": "chain"})
    }
    array = nest.arch.array.model_copy(update={"pipeline_stages": rng.randint(1, 4)})
    return Nest(
        nest.problem,
        nest.arch.model_copy(update={"array": array, "networks": networks}),
        nest.mapping,
    )


def check(nest: Nest, seed: int) -> str:
    """Runs a nest; returns what became of it."""
    case = (
        f"seed {seed}: {nest.problem}\n  {nest.mapping}\n  {[sorted(k) for k in nest.keep]}\n"
        f"  {nest.arch.array}\n  {nest.arch.networks}"
    )
    try:
        wrong, _ = differences(nest, seed)
    except MappingError as error:
        return f"refused: {error}"
    except Exception as error:
        error.add_note(case)
        raise
    assert not wrong, "\n  ".join([case, *wrong])
    return "ran"


FEW = {"lines": 130, "buses": 130, "chains": 110}
SHARES = slow_but([6], [6, 1])  # a sixth in make test
MANY = 4000


def run_many(kind: str, seeds: range) -> Counter:
    outcomes: Counter = Counter()
    for seed in seeds:
        rng = random.Random(seed)
        if kind == "lines":
            nest = systolic_nest(rng)
        else:
            nest = drawn_nest(seed, 200)
            if (
                nest.arch.systolic
            ):  # the lines' own nests are drawn above; most of these hold several tensors
                continue
            nest = chained(nest, rng) if kind == "chains" else nest
        outcomes[check(nest, seed)] += 1
    return outcomes


@pytest.mark.parametrize("part", SHARES)
def test_lines(part):
    outcomes = run_many("lines", range(FEW["lines"] // part))
    assert outcomes["ran"] > 0.9 * outcomes.total(), outcomes
    assert all(
        "leaves gaps" in why or "keep their word" in why for why in outcomes if why != "ran"
    ), outcomes


def test_results_that_wait_long():
    """A fold may end after many later ones; its results keep their place until then."""
    nest = systolic_nest(random.Random(144), 3000)
    assert check(nest, 144) == "ran"


@pytest.mark.parametrize("part", SHARES)
def test_buses(part):
    outcomes = run_many("buses", range(FEW["buses"] // part))
    assert set(outcomes) == {"ran"}, outcomes  # nothing plain is refused


@pytest.mark.parametrize("part", SHARES)
def test_chains(part):
    outcomes = run_many("chains", range(1000, 1000 + FEW["chains"] // part))
    assert outcomes["ran"] > FEW["chains"] // part / 5, outcomes
    assert all("chains join PEs of one MAC" in why for why in outcomes if why != "ran"), outcomes


@pytest.mark.slow
@pytest.mark.parametrize("kind", FEW)
@pytest.mark.parametrize("start", range(0, MANY, 500))
def test_many(kind, start):
    assert run_many(kind, range(10_000 + start, 10_500 + start))["ran"]
