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
from nests import random_architecture, random_mapping, random_nest, random_problem
from quick import slow_but
from test_pipeline import FLOWS, machine

import accelsim as acc
from accelsim.engines import analytic
from accelsim.engines.analytic import alike_turns, pipeline
from accelsim.engines.analytic import array_time as array_lists
from accelsim.engines.analytic.alike_turns import UnlikeError
from accelsim.engines.analytic.array_time import FoldFrame, array_time, lines_time, on_lines
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
            arch = random_architecture(rng, rng.choice((2, 3, 3, 3, 4)), systolic=0.5)
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


@pytest.mark.parametrize("many", slow_but([400], [400, 9000]))
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
        seen["lines"] += on_lines(nest)
    assert len(seen) == 5 and min(seen.values()) >= many // 300, seen


@pytest.mark.parametrize("many", slow_but([400], [400, 6000]))
def test_words_that_stream_on_are_told_together(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Array and passes take as long where every turn of a fold is listed."""
    fewer = 0
    for seed in range(many):
        nest = random_nest(random.Random(seed), systolic=1.0, stored=0.0, fuse=0.2)
        frame = FoldFrame.of(nest)
        if frame.listed == frame.outside:
            continue
        together = timed(nest)
        with monkeypatch.context() as patch:
            patch.setattr(FoldFrame, "_listed", lambda self, _: list(self.outside))
            patch.setattr(FoldFrame, "of", FoldFrame)  # made anew
            assert timed(nest) == together, seed
        fewer += on_lines(nest)
    assert fewer > many // 40


def timed(nest: Nest) -> Any:
    """Edges of the array, as one and pass by pass; or why there are none."""
    if not on_lines(nest):
        return None
    passes = [x for x in nest.loops if not x.spatial and x.level < nest.levels - 2]
    try:
        times = array_lists.pass_times(nest, prod(x.trips for x in passes))
        return lines_time(nest), [x.tolist() for x in times]
    except MappingError as error:
        return str(error)


@pytest.mark.parametrize(
    ("arch", "flow", "network", "name"),
    [
        ("eyeriss", "osc", "vgg16", "conv1_2"),
        ("eyeriss", "osc", "vgg16", "conv2_2"),
        ("eyeriss", "osc", "vgg16", "conv3_2"),
        ("systolic", "output_stationary_moc_mop", "vgg16", "conv2_1"),
        ("systolic", "output_stationary_moc_sop", "mobilenet_v1", "conv2_dw"),
        ("systolic", "output_stationary_moc_sop", "mobilenet_v1", "conv8_1_pw"),
    ],
)
def test_few_passes_of_a_large_plane_are_laid_out(
    arch: str, flow: str, network: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dataflows that go over a plane output by output: their plans had up to 600 000 passes and
    three million folds, listed one by one, which took up to half a second.
    """
    laid_out: list[int] = []
    own = StepSettings.__init__

    def listed(self: StepSettings, *args: Any) -> None:
        own(self, *args)
        laid_out.append(prod(self.shape))

    monkeypatch.setattr(StepSettings, "__init__", listed)
    monkeypatch.setattr(pipeline, "_plans", {})
    for module in (pipeline, array_lists):
        monkeypatch.setattr(module, "_times", Kept(1 << 12))
    result = acc.simulate(network, arch, flow, layers=[name])
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
