"""What a combination takes at the least, told before it is timed: never more than it then takes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from nests import random_problem
from quick import slow_but

import accelsim as acc
from accelsim.hardware.architecture import Architecture
from accelsim.mapper import quick_search
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_measures import ChoiceMeasures
from accelsim.mapper.quick_search import full_measures, layer_tables, quick_mapping
from accelsim.mapper.quick_tables import LayerTables
from accelsim.mapper.quick_weights import MachineWeights
from accelsim.mapper.waited_passes import WaitedPasses
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


def asked(seed: int) -> tuple[int, int]:
    """How many combinations of a random layer and machine are told closer than by the forms, and
    how many are told to the cycle; none takes less than it is told to.
    """
    rng = random.Random(seed)
    problem = random_problem(rng, rng.choice((60, 400, 3000)), ("forward",))
    arch, flow = lines(rng), load_dataflow(rng.choice(("ws", "ws", "is", "nlr")))
    try:
        tables = layer_tables(problem, arch, flow)
    except MappingError:
        return 0, 0
    waited = WaitedPasses(tables, tables.skeleton.on(arch))
    if not (tables.space and tables.families and waited.applies):
        return 0, 0
    measures, closer, exact = ChoiceMeasures(tables, MachineWeights(tables, arch)), 0, 0
    for _ in range(8):
        choice = np.array([rng.randrange(len(x)) for x in tables.tiles])
        if not tables.covered[tuple(k[i] for k, i in zip(tables.kinds, choice, strict=True))]:
            continue
        try:
            cycles = _cycles(tables, arch, choice)
        except MappingError:
            continue
        usage = measures.usage(choice[None, :])[0]
        least = waited.cycles(choice, usage, tables.bits_of(choice))
        assert least <= cycles, (seed, choice)
        closer += least > measures.of(choice[None, :])["cycles"][0]
        exact += least == cycles
    return closer, exact


def _cycles(tables: LayerTables, arch: Architecture, choice: np.ndarray) -> float:
    mapping = tables.skeleton.mapping_with(tables.tile_row(choice))
    return full_measures(Nest(tables.skeleton.problem, arch, mapping))["cycles"]


@pytest.mark.parametrize("chunk", slow_but([0], range(8)))
def test_nothing_takes_less_than_it_is_told_to(chunk: int) -> None:
    closer, exact = np.sum([asked(seed) for seed in range(chunk * 80, chunk * 80 + 80)], axis=0)
    assert closer > 60
    assert exact > 10


def test_what_is_told_to_be_slower_is_not_timed_and_nothing_else_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = acc.Conv2d(M=64, C=64, H=56, W=56, R=1, S=1)
    arch, flow = acc.load_architecture("tpu_v1"), load_dataflow("ws")
    timed: list[Nest] = []
    monkeypatch.setattr(quick_search, "check_work", timed.append)
    goal = Objective.parse("edp")
    quick = quick_mapping(layer.problem(), arch, flow, goal)
    few = len(timed)
    layer_tables(layer.problem(), arch, flow).timed.clear()
    monkeypatch.setattr(WaitedPasses, "applies", False)
    assert quick_mapping(layer.problem(), arch, flow, goal) == quick
    assert few < 3 < len(timed) - few


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
