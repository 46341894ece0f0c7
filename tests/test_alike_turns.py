"""A plan whose long loops are cut short is the plan of all passes, number by number."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from math import prod
from typing import Any

import numpy as np
import pytest
from nests import random_architecture, random_mapping, random_problem
from quick import slow_but
from test_pipeline import FLOWS, machine

import accelsim as acc
from accelsim.engines import analytic
from accelsim.engines.analytic import alike_turns, pipeline
from accelsim.engines.analytic.alike_turns import UnlikeError
from accelsim.engines.analytic.array_time import array_time
from accelsim.engines.analytic.settings import StepSettings
from accelsim.hardware.architecture import limited
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.skeleton import Kept
from accelsim.workload.problem import Problem


def stretched(rng: random.Random) -> Problem:
    """A random layer of which one to three dimensions are long."""
    p = random_problem(rng, 300)
    long = rng.sample(["M", "C", "E", "F", "N", "G"], rng.randint(1, 3))
    size = p.size | {d: rng.randint(8, 26) for d in long}
    height, width = (
        (size[out] - 1) * stride + dilation * (size[tap] - 1) + 1 - pads + rng.randrange(stride)
        for out, tap, stride, dilation, pads in (
            ("E", "R", p.stride[0], p.dilation[0], sum(p.padding[:2])),
            ("F", "S", p.stride[1], p.dilation[1], sum(p.padding[2:])),
        )
    )
    kept = {n: getattr(p, n) for n in ("stride", "dilation", "padding", "bias", "direction")}
    return Problem(**size, H=height, W=width, **kept)


def long_nest(seed: int) -> Nest | None:
    """A nest on a machine with ports, by the rule or by random loops; None if none is legal."""
    rng = random.Random(seed)
    try:
        problem = stretched(rng)
        if rng.random() < 0.5:
            arch = machine(rng, inside=rng.random() < 0.5)
            if rng.random() < 0.4:
                flow = acc.load_dataflow(rng.choice(FLOWS))
                return Nest(problem, arch, acc.choose(problem, arch, flow))
        else:
            arch = random_architecture(rng, rng.choice((2, 3, 3, 3, 4)), systolic=0.1)
            ports = {f"levels.{n}.port_bits": rng.choice((None, 8, 32)) for n in arch.level_names}
            arch = acc.load_architecture(arch, ports)
        return Nest(problem, arch, random_mapping(rng, problem, arch))
    except (MappingError, ValueError):
        return None


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def assert_equal(one: Any, other: Any) -> None:
    for field in fields(one):
        pairs = zip(
            leaves(getattr(one, field.name)), leaves(getattr(other, field.name)), strict=True
        )
        for a, b in pairs:
            np.testing.assert_array_equal(a, b, field.name)
            assert getattr(a, "dtype", None) == getattr(b, "dtype", None), field.name


@pytest.mark.parametrize("many", slow_but([600], [600, 9000]))
def test_a_plan_of_few_turns_is_the_plan_of_all(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs as short as they may be, in every direction, with strides, gaps and padding."""
    monkeypatch.setattr(pipeline, "MANY_PASSES", 0)
    monkeypatch.setattr(alike_turns, "SHORTEST", 1)
    seen: Counter[str] = Counter()
    for seed in range(many):
        nest = long_nest(seed)
        if nest is None or not limited(nest.arch) or not (runs := pipeline._runs(nest)):
            continue
        crossing = analytic.moves(nest)
        try:
            alone = array_time(nest)
            whole = pipeline._PassPlanner(nest, alone, crossing, {}).planned()
        except MappingError:
            continue
        try:
            short = pipeline._PassPlanner(nest, alone, crossing, runs).planned()
        except UnlikeError:
            seen["unlike"] += 1
            continue
        assert_equal(short, whole)
        seen[nest.problem.direction] += 1
    assert min(seen.values()) >= many // 600 and seen.total() > many // 60, seen


@pytest.mark.parametrize("name", ["conv1_2", "conv2_2", "conv3_2"])
def test_few_passes_of_a_large_plane_are_laid_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``osc`` goes over a plane output by output: its plans had up to 600 000 settings, listed one
    by one, which took half a second.
    """
    laid_out: list[int] = []
    own = StepSettings.__init__

    def listed(self: StepSettings, *args: Any) -> None:
        own(self, *args)
        laid_out.append(prod(self.shape))

    monkeypatch.setattr(StepSettings, "__init__", listed)
    monkeypatch.setattr(pipeline, "_plans", {})
    monkeypatch.setattr(pipeline, "_times", Kept(1 << 12))
    result = acc.simulate("vgg16", "eyeriss", "osc", layers=[name])
    assert result.records()[0]["cycles"] > 100_000
    assert laid_out and max(laid_out) < 1 << 14


def test_turns_that_differ_are_told() -> None:
    """A factor that changes within a run is no factor of alike turns; the same where it is of one
    turn fewer, as what an advance into it moves.
    """
    problem, arch = acc.Gemm(m=64, k=4, n=4).problem(), acc.load_architecture("eyeriss")
    nest = Nest(problem, arch, acc.choose(problem, arch, acc.load_dataflow("nlr")))
    loop = next(i for i, x in enumerate(nest.loops) if x.trips > 1)
    turns = alike_turns.AlikeTurns(nest, [loop], {})
    turns.whole, turns.cut, turns.shape = (40,), {0: (3, 36)}, (12,)
    for many in (40, 39):
        values = np.full(many, 7)
        values[: many - 37] = values[-4:] = 5
        assert turns.short(values).tolist() == [5] * (many - 37) + [7] * 5 + [5] * 4
        values[20] = 6
        with pytest.raises(UnlikeError):
            turns.short(values)
    spread = turns.spread(np.arange(12))
    assert spread.tolist() == [0, 1, 2, 3, 4] + [5] * 29 + [6, 7, 8, 9, 10, 11]
    assert turns.times().sum() == 40 and turns.summed(np.arange(12)) == spread.sum()
