"""What searches share: times of mappings between arrays, and weights between layers."""

from __future__ import annotations

import random

import numpy as np
import pytest
from nests import random_nest
from quick import slow_but
from test_timed import limited

import accelsim as acc
from accelsim.engines import analytic
from accelsim.engines.analytic import array_time, pipeline
from accelsim.mapper.quick_search import layer_tables
from accelsim.mapper.quick_weights import MachineWeights, _on_machine
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.nest import Nest


@pytest.mark.parametrize("chunk", slow_but([0], range(5)))
def test_time_hangs_on_no_side_that_is_not_told(chunk: int) -> None:
    """The same mapping on an array with more rows or columns, where these are not told."""
    kept = array_time._times, pipeline._times, pipeline._plans
    wider = 0
    for seed in range(chunk * 60, chunk * 60 + 60):
        rng = random.Random(f"sides {seed}")
        nest = limited(random_nest(rng, 300, systolic=rng.choice((0.0, 1.0)), spatial=0.5), rng)
        rows, cols = array_time.sides_told(nest)
        if nest.turned:
            rows, cols = cols, rows
        sides = nest.arch.array.rows, nest.arch.array.cols
        more = [
            n if told else n + rng.choice((1, 3))
            for n, told in zip(sides, (rows, cols), strict=True)
        ]
        array = nest.arch.array.model_copy(update=dict(zip(("rows", "cols"), more, strict=True)))
        larger = Nest(nest.problem, nest.arch.model_copy(update={"array": array}), nest.mapping)
        times = []
        for one in (nest, larger):
            for known in kept:
                known.clear()
            times.append(analytic.time(one, analytic.moves(one)))
        assert times[0] == times[1], (seed, sides, more)
        wider += tuple(more) != sides
    assert wider > 20


def test_what_a_machine_makes_of_a_kind_of_layers_is_what_it_makes_of_each() -> None:
    """Weights told once for layers alike but in sizes, and those of a machine of its own."""
    shared = 0
    layers = (
        acc.load_workload("resnet50").layers[::6] + acc.load_workload("mobilenet_v1").layers[::9]
    )
    for preset, flow in (
        ("systolic", "ws"),
        ("systolic", "is"),
        ("eyeriss", "rs"),
        ("tpu_v1", "ws"),
    ):
        arch = acc.load_architecture(preset)
        for layer in layers:
            tables = layer_tables(layer.problem(), arch, load_dataflow(flow))
            before = len(_on_machine(arch))
            ours, own = (MachineWeights(tables, a) for a in (arch, arch.model_copy()))
            for a, b in zip(ours.together(), own.together(), strict=True):
                np.testing.assert_array_equal(a, b)
            for bits in tables.patterns:
                np.testing.assert_array_equal(ours.of(bits).forms, own.of(bits).forms)
            shared += len(_on_machine(arch)) == before
    assert shared > 20
