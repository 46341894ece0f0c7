"""Points evaluated together equal ``simulate``, column for column; the fixed rule over arrays
equals ``choose``.
"""

from __future__ import annotations

import math
import random

import pytest
from quick import slow_but

import accelsim as acc
from accelsim.hardware.architecture import structure
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.rule_many import choose_many
from accelsim.results import batch

NAMES = (
    "workload",
    "layer",
    "arch",
    "dataflow",
    "engine",
    "direction",
    "mapping",
    "batch",
    "error",
    "set",
)


def machines(rng: random.Random, many: int, *, waits: bool = False) -> list[acc.Architecture]:
    preset = rng.choice(["systolic", "eyeriss", "scalesim", "shidiannao", "tpu_v1"])
    found = []
    options = {
        "array.overlap": rng.random() < 0.5,
        "array.partial_folds": rng.choice(["exact", "full"]),
    }
    options |= {
        "array.weight_registers": 2 if options["array.overlap"] and rng.random() < 0.5 else 1
    }
    for _ in range(many):
        keys = {"array.rows": rng.randint(1, 40), "array.cols": rng.randint(1, 40)}
        if preset in ("systolic", "scalesim"):
            keys |= options
        if preset == "systolic":
            keys["levels.sram.capacity_bytes"] = rng.choice([64, 1000, 4096, 65536, 524288])
        keys |= ports(rng) if waits else {"dram": "unlimited"}
        if preset == "eyeriss":
            keys["levels.glb.capacity_bytes"] = 25 * rng.choice([64, 400, 4096])
            keys["levels.glb.partitions"] = {"weight": rng.choice([100, 8192])}
            if not waits:
                keys |= {
                    "levels.dram.port_bits": None,
                    "levels.dram.port_clock_mhz": None,
                    "networks.noc.width_bits": None,
                }
        found.append(acc.load_architecture(preset, keys))
    return found


def ports(rng: random.Random) -> dict[str, object]:
    """Widths, clocks, bursts and latencies of a machine's outermost port, and of the network below
    it.
    """
    return {
        "levels.dram.port_bits": rng.choice([4, 16, 64, 1000]),
        "levels.dram.port_clock_mhz": rng.choice([60.0, 333.3]),
        "levels.dram.burst_bits": rng.choice([1, 96, 512]),
        "levels.dram.latency_cycles": rng.choice([0, 3, 50]),
        "networks.link.width_bits": rng.choice([8, 32, 256]),
    }


def case(seed: int, *, waits: bool = False):
    rng = random.Random(seed)
    archs = machines(rng, 6, waits=waits)
    r, s = rng.randint(1, 5), rng.randint(1, 5)
    size = {
        "H": rng.randint(r, 24),
        "W": rng.randint(s, 24),
        "R": r,
        "S": s,
        "stride": rng.randint(1, 3),
        "padding": rng.randint(0, 2),
    }
    layer = acc.Conv2d(
        M=rng.randint(1, 40), C=rng.randint(1, 20), groups=rng.choice([1, 1, 2]), **size
    )
    direction = rng.choice(["forward", "forward", "grad_input", "grad_weight"])
    return (
        archs,
        layer,
        rng.choice([1, 3]),
        direction,
        rng.choice(["ws", "os", "osp", "is", "rs", "nlr"]),
    )


@pytest.mark.parametrize("chunk", slow_but([0], range(4)))
def test_tiles_of_many_are_those_of_each(chunk):
    legal = 0
    for seed in range(chunk * 25, chunk * 25 + 25):
        archs, layer, n, direction, name = case(seed)
        problem, flow = layer.problem(n).with_direction(direction), acc.load_dataflow(name)
        try:
            found = choose_many(problem, archs, flow)
        except MappingError:
            found = None
        for i, arch in enumerate(archs):
            try:
                one = acc.choose(problem, arch, flow)
            except MappingError:
                continue
            assert found is not None and found.fits[i], (seed, i)
            assert found.tiles.mapping(i) == one, (seed, i)
            legal += 1
    assert legal > 60


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("chunk", slow_but([1], range(4)))
def test_columns_of_many_are_those_of_each(chunk, waits):
    seen = waiting = 0
    for seed in range(1000 + chunk * 12, 1012 + chunk * 12):
        archs, layer, n, direction, name = case(seed, waits=waits)
        groups, left = batch.columns(
            layer.problem(n).with_direction(direction), archs, acc.load_dataflow(name)
        )
        assert sorted([i for g in groups for i in g.at.tolist()] + left.tolist()) == list(
            range(len(archs))
        )
        for g in groups:
            for k, i in enumerate(g.at.tolist()):
                row = acc.simulate(
                    layer, archs[i], name, tiles="rule", batch=n, direction=direction
                ).rows[0]
                assert row.nest is not None, (seed, i)
                waiting += bool(row.columns["stall_cycles"])
                want = {c: v for c, v in row.columns.items() if c not in NAMES}
                got = {c: None if v is None else v[k] for c, v in g.columns.items()}
                assert list(got) == list(want), (seed, i)
                for c, v in want.items():
                    same = (
                        got[c] is v
                        if v is None
                        else math.isclose(got[c], v, rel_tol=1e-12 if isinstance(v, float) else 0)
                    )
                    assert same, (seed, i, c, got[c], v)
                assert (g.mapping_hash[k], g.loops[k]) == (
                    row.provenance["mapping_hash"],
                    row.provenance["loops"],
                )
                seen += 1
    assert seen > 20
    assert waiting > 20 if waits else not waiting


def test_machines_that_differ_in_numbers_are_evaluated_together():
    def kind(**keys):
        return structure(acc.load_architecture("systolic", {"dram": "unlimited"} | keys))

    assert kind(**{"array.rows": 8}) == kind(**{"array.rows": 16})
    assert kind() != kind(**{"bits.weight": 4})
    waits = kind(**{"levels.dram.port_bits": 64})
    assert waits != kind()
    assert waits == kind(**{"levels.dram.port_bits": 8, "levels.dram.latency_cycles": 5})
    assert waits != kind(**{"levels.dram.port_bits": 8, "levels.dram.ports": "separate"})
    late = {"networks.link.width_bits": 8}
    assert kind(**late) == kind(**late, **{"levels.dram.latency_cycles": 5}) != waits
