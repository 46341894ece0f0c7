"""How a search ends: which of equal mappings it gives, and what a limit leaves."""

from __future__ import annotations

from itertools import product

import pytest
from test_mapper import measured

import accelsim as acc
from accelsim.hardware.architecture import load_architecture
from accelsim.mapper import deadline, layer_search
from accelsim.mapper import search as search_module
from accelsim.mapper.effort import Effort
from accelsim.mapper.layer_search import best_mapping
from accelsim.mapper.quick_search import full_measures
from accelsim.mapper.space import rows, under
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose


def test_of_equal_traffic_the_search_gives_the_mapping_with_fewer_cycles() -> None:
    """DRAM traffic alone leaves many mappings: on a 4x4 array the first of them took 576 steps, and
    there is one of the same traffic that fills the array."""
    layer = acc.Gemm(m=8, n=6, k=12).directed(None, "forward")
    arch = load_architecture("systolic", {"array.rows": 4, "array.cols": 4})
    flow = load_dataflow("ws")
    chosen = best_mapping(layer, arch, flow, objective="dram", tiles="divisors")
    nest = Nest(layer, arch, chosen.mapping)
    skeleton = under(layer, arch, flow)
    listed = [rows(skeleton, f, "divisors").tiles.tolist() for f in skeleton.families]
    every = []
    for choice in product(*listed):
        tiles = [1] * len(skeleton.loops)
        for family, own in zip(skeleton.families, choice, strict=True):
            for i, tile in zip(family.loops, own, strict=True):
                tiles[i] = tile
        one = measured(skeleton, tuple(tiles))
        if one is not None:
            every.append(one)
    least = min(one["dram"] for one in every)
    mine = full_measures(nest)
    assert mine["dram"] == least
    assert mine["cycles"] <= min(one["cycles"] for one in every if one["dram"] == least)


@pytest.mark.parametrize("objective", ["edp", "dram", "front"])
def test_a_limit_that_has_passed_before_the_tables_are_ready_gives_the_rules_mapping(
    objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock takes a second: the limit ends the preparation at its first look."""
    now = iter(range(1_000_000))
    for module in (layer_search, deadline, search_module):
        monkeypatch.setattr(module, "monotonic", lambda: float(next(now)))
    layer = acc.Conv2d(M=24, C=12, H=9, W=9, R=3, S=3).directed(None, "forward")
    arch, flow = load_architecture("eyeriss"), load_dataflow("rs")
    chosen = best_mapping(layer, arch, flow, objective=objective, tiles="divisors", limit=1.5)
    assert chosen.mapping == choose(layer, arch, flow)
    assert chosen.certificate.stopped == "limit" and chosen.certificate.rule
    assert chosen.certificate.gap > 0
    assert next(now) < 60  # looks, and so seconds, until it had its answer


@pytest.mark.parametrize("effort", ["thorough", "proved"])
def test_an_interrupt_ends_all_layers(effort: Effort, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended one layer's search, whose best was kept as a row, and the next layer's began."""
    begun = []
    whole = search_module.Search._run

    def interrupted(self: search_module.Search) -> None:
        begun.append(self)
        whole(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(search_module.Search, "_run", interrupted)
    layers = [acc.Conv2d(M=10, C=6, H=n, W=7, R=3, S=3, name=f"of{n}") for n in (7, 9)]
    small = {"array.rows": 4, "array.cols": 4, "levels.sram.capacity_bytes": 1024}
    with pytest.raises(KeyboardInterrupt):
        acc.simulate(layers, "systolic", "ws", effort=effort, overrides=small)
    assert len(begun) == 1
