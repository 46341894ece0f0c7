"""What combinations should come to, told before any is timed, beside what they come to; and what
the outermost port makes them take.
"""

from __future__ import annotations

import random
from contextlib import suppress
from math import log
from statistics import median
from typing import Any

import numpy as np
import pytest
from nests import random_nest, random_problem
from quick import slow_but
from test_timed import limited

import accelsim as acc
from accelsim.engines import analytic
from accelsim.engines.analytic import closed_form
from accelsim.engines.analytic.closed_form import ClosedForm
from accelsim.hardware.architecture import Architecture, structure
from accelsim.mapper import lower_cycles, quick_search
from accelsim.mapper.joining import BestPool, Joiner
from accelsim.mapper.layer_counts import write_columns
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_measures import ChoiceMeasures
from accelsim.mapper.quick_search import full_measures, layer_tables, quick_mapping
from accelsim.mapper.quick_tables import LayerTables
from accelsim.mapper.quick_weights import MachineWeights
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest

KEPT = ("ifmap", "ofmap"), ("ofmap",), ("weight", "ifmap", "ofmap"), ("ifmap",)


def lines(rng: random.Random) -> Architecture:
    """Systolic lines below a slow outermost port, with one buffer or two: slots, ports, latencies,
    bursts and clocks of every kind.
    """

    def level(**more: Any) -> dict[str, Any]:
        if rng.random() < 0.25:
            more["double_buffered"] = True
        if rng.random() < 0.3:
            more |= {"port_bits": rng.choice((4, 16, 64)), "ports": _ports(rng)}
        if rng.random() < 0.15:
            more["latency_cycles"] = rng.choice((1, 3))
        return more

    dram: dict[str, Any] = {"port_bits": rng.choice((1, 3, 8, 64)), "ports": _ports(rng)}
    for name, some in (
        ("latency_cycles", (1, 5, 17)), ("burst_bits", (16, 64)), ("port_clock_mhz", (33.0, 250.0)),
    ):  # fmt: skip
        if rng.random() < 0.35:
            dram[name] = rng.choice(some)
    link = {"below": "dram"} | ({"width_bits": rng.choice((2, 32))} if rng.random() < 0.2 else {})
    levels, networks = {"dram": dram}, {"link": link}
    if rng.random() < 0.7:
        levels["ub"], networks["bus"] = level(keeps=list(rng.choice(KEPT))), {"below": "ub"}
    levels["acc"] = level(keeps=list(rng.choice(KEPT)))
    held = rng.choice(("preload", "multicast"))
    networks["lines"] = {
        "below": "acc", "held": held, "streamed": "systolic", "accumulated": "systolic",
    }  # fmt: skip
    return Architecture.model_validate({
        "name": "lines",
        "clock_mhz": 100.0,
        "array": {
            "rows": rng.choice((2, 3, 4, 8, 16)),
            "cols": rng.choice((2, 3, 5, 8, 16)),
            "overlap": True,
            "weight_registers": rng.choice((1, 2)),
            "outputs": rng.choice(("in_place", "accumulators", "register")),
            "partial_folds": rng.choice(("exact", "full")),
        },
        "levels": levels | {"reg": {"keeps": ["weight"]}},
        "networks": networks,
        "accumulate": rng.choice(("at_level", "in_array")),
        "bits": {"weight": 8, "ifmap": 8, "psum": rng.choice((16, 32)), "ofmap": 8},
        "energy": {"table": "horowitz45"},
    })  # fmt: skip


def _ports(rng: random.Random) -> str:
    return rng.choice(("shared", "shared", "separate"))


# ResNet-50 on ``systolic``: layer, rows, columns, KB, dataflow.
POINTS = [
    ("conv2_3_reduce", 20, 24, 64, "os"),
    ("conv5_3_reduce", 28, 12, 128, "ws"),
    ("conv4_3_reduce", 28, 24, 64, "is"),
    ("conv5_2_conv", 100, 28, 512, "os"),
    ("conv4_2_conv", 104, 32, 48, "ws"),
    ("conv3_2_expand", 36, 68, 96, "ws"),
    ("conv4_1_shortcut", 24, 16, 96, "is"),
    ("conv1", 52, 44, 256, "os"),
    ("conv5_1_reduce", 16, 64, 64, "ws"),
    ("fc", 64, 20, 128, "is"),
]


def test_the_few_that_are_timed_are_the_best_of_those_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, goal = {x.name: x for x in acc.load_workload("resnet50").layers}, Objective.parse("edp")
    few, many, worse = 0, 0, []
    for name, rows, cols, kilobytes, flow in POINTS:
        sizes = {"array.rows": rows, "array.cols": cols}
        more = {"levels.sram.capacity_bytes": 1024 * kilobytes}
        arch = acc.load_architecture("systolic", sizes | more)
        asked = layers[name].problem(), arch, load_dataflow(flow), goal
        quick = quick_mapping(*asked)
        with monkeypatch.context() as every:
            every.setattr(quick_search, "NEAR", 2.0)
            every.setattr(quick_search, "TIMED", quick_search.KEPT)
            best = quick_mapping(*asked)
        few, many = few + quick.timed, many + best.timed
        worse.append(quick.value / best.value)
    assert few <= 2 * len(POINTS) < many / 4
    assert max(worse) <= 1.05
    assert median(worse) <= 1.002


# Machines whose cycles are far from their bounds: one slot or two, words that come during passes.
FAR = [
    ("tpu_v1", {}, "ws", 0.05),
    ("tpu_v1", {"levels.ub.double_buffered": True}, "ws", 0.05),
    ("systolic", {"levels.sram.double_buffered": False}, "ws", 0.005),
    ("systolic", {"levels.sram.double_buffered": False}, "os", 0.005),
    ("systolic", {"array.rows": 64, "array.cols": 64, "levels.dram.port_bits": 32}, "ws", 0.05),
]


@pytest.mark.parametrize(("preset", "more", "flow", "off"), FAR)
def test_what_is_expected_is_about_what_comes(
    preset: str, more: dict[str, Any], flow: str, off: float
) -> None:
    """Of the best kept, nine of ten; their bounds are up to many times less."""
    arch, goal = acc.load_architecture(preset, more), Objective.parse("edp")
    wrong, bound = [], []
    for layer in acc.load_workload("resnet50").layers[1:50:9]:
        tables = layer_tables(layer.problem(), arch, load_dataflow(flow))
        weights = MachineWeights(tables, arch)
        pool = BestPool.empty(24, len(tables.families))
        every = [np.arange(len(x)) for x in tables.tiles]
        Joiner(tables, weights, goal).join(every, pool, 1 << 16, lambda: None)
        rows = pool.rows[np.isfinite(pool.values)]
        measures = ChoiceMeasures(tables, weights)
        low, late = measures.expected(rows, measures.usage(rows))
        for n, row in enumerate(rows):
            cycles = _cycles(tables, arch, row)
            wrong.append(abs(log(cycles / late["cycles"][n])))
            bound.append(cycles / low["cycles"][n])
    assert len(wrong) > 80 and max(bound) > 1.02
    assert np.quantile(wrong, 0.9) < off


@pytest.mark.parametrize("chunk", slow_but([0], range(4)))
def test_nothing_takes_less_than_its_bound(chunk: int) -> None:
    """And nothing is expected to."""
    asked = 0
    for seed in range(chunk * 80, chunk * 80 + 80):
        rng = random.Random(seed)
        problem = random_problem(rng, rng.choice((60, 400, 3000)), ("forward",))
        arch, flow = lines(rng), load_dataflow(rng.choice(("ws", "ws", "is", "nlr")))
        try:
            tables = layer_tables(problem, arch, flow)
        except MappingError:
            continue
        if not (tables.space and tables.families and tables.exact):
            continue
        choices = np.array([[rng.randrange(len(x)) for x in tables.tiles] for _ in range(8)])
        measures = ChoiceMeasures(tables, MachineWeights(tables, arch))
        low, late = measures.expected(choices, measures.usage(choices))
        assert (late["cycles"] >= low["cycles"]).all()
        assert (late["energy"] >= low["energy"]).all()
        for n, choice in enumerate(choices):
            if tables.covered[tuple(k[i] for k, i in zip(tables.kinds, choice, strict=True))]:
                with suppress(MappingError):
                    cycles = _cycles(tables, arch, choice)
                    assert low["cycles"][n] <= cycles * (1 + 1e-9), (seed, choice)
                    asked += 1
    assert asked > 100


@pytest.mark.parametrize("chunk", slow_but([0], range(4)))
def test_no_form_is_above_the_closed_form(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On machines of any kind, whose PEs hold something or nothing."""
    terms_of = closed_form.terms_of

    def with_those_of_time(nest: Nest, *_: Any) -> Any:
        return terms_of(nest, ("quick", structure(nest.arch)), write_columns)

    monkeypatch.setattr(closed_form, "terms_of", with_those_of_time)
    empty = 0
    for seed in range(chunk * 100, chunk * 100 + 100):
        rng = random.Random(f"forms {seed}")
        nest = limited(random_nest(rng, 300, systolic=rng.choice((0.0, 1.0)), spatial=0.5), rng)
        model = ClosedForm(nest)
        sums = model.evaluate(model.rows_of(np.array([[x.tile] for x in nest.loops])))
        columns = {x: sums.of(*x) for x in model.columns}
        forms = [*lower_cycles.forms(nest), *lower_cycles.closer_forms(nest)]
        least = float(lower_cycles.cycles(columns, forms).max())
        cycles = analytic.time(nest, analytic.moves(nest)).cycles
        assert least <= cycles * (1 + 1e-12), seed
        empty += nest.arch.level_in_pe is None
    assert empty > 10


def _cycles(tables: LayerTables, arch: Architecture, choice: np.ndarray) -> float:
    mapping = tables.skeleton.mapping_with(tables.tile_row(choice))
    return full_measures(Nest(tables.skeleton.problem, arch, mapping))["cycles"]


@pytest.mark.parametrize("chunk", slow_but([0], range(4)))
def test_no_bound_of_the_cycles_is_below_what_the_outermost_port_takes(chunk: int) -> None:
    told = 0
    for seed in range(chunk * 60, chunk * 60 + 60):
        rng = random.Random(seed)
        problem, arch = random_problem(rng, 3000), lines(rng)
        try:
            tables = layer_tables(problem, arch, load_dataflow(rng.choice(("ws", "is", "os"))))
        except MappingError:
            continue
        if not (tables.space and tables.families):
            continue
        weights = MachineWeights(tables, arch)
        choices = np.array([[rng.randrange(len(x)) for x in tables.tiles] for _ in range(20)])
        bounds = ChoiceMeasures(tables, weights).of(choices)["cycles"]
        assert (bounds >= weights.port_cycles).all(), seed
        told += weights.port_cycles > 0
    assert told > 10
