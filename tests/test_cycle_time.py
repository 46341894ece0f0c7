"""Closed form against clock: cycles, compute cycles, active PEs, every count and every output of
random layers.

Every dataflow, preset, option of the array and direction; arrays of 1x1 to 16x16 and a few up to
64x32.  ``make test`` does some hundreds, ``make test-all`` more than a thousand.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from quick import slow_but

import accelsim as acc
from accelsim.engines import analytic, cycle, golden
from accelsim.engines.analytic.array_time import array_time
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import random_data

FLOWS = ("ws", "os", "osp", "is", "rs", "nlr")
OPEN_MEMORY = {
    "levels.dram.port_bits": None,
    "levels.dram.port_clock_mhz": None,
    "networks.noc.width_bits": None,
}
SIZES = {"small": (1, 8), "middle": (8, 16), "large": (17, 64)}


def random_layer(rng: random.Random, most: int) -> acc.Layer:
    if rng.random() < 0.3:
        return acc.Gemm(
            m=rng.randint(1, 6 * most), k=rng.randint(1, 5 * most), n=rng.randint(1, 4 * most)
        )
    r, s = rng.randint(1, 3), rng.randint(1, 3)
    size = {
        "H": rng.randint(2 * r, 9),
        "W": rng.randint(2 * s, 9),
        "R": r,
        "S": s,
        "stride": rng.randint(1, 3),
    }
    size |= {"padding": tuple(rng.randint(0, 2) for _ in range(4)), "dilation": rng.randint(1, 2)}
    return acc.Conv2d(
        M=rng.randint(1, most), C=rng.randint(1, 5), groups=rng.choice([1, 1, 2]), **size
    )


def drawn(seed: int, size: str) -> Nest | None:
    rng = random.Random(f"{size} {seed}")
    preset = rng.choice(["systolic", "systolic", "scalesim", "eyeriss", "shidiannao", "tpu_v1"])
    low, high = SIZES[size]
    keys = {"array.rows": rng.randint(low, high), "array.cols": rng.randint(low, min(high, 32))}
    if preset in ("systolic", "scalesim", "tpu_v1"):
        overlap = rng.random() < 0.7
        keys |= {
            "array.overlap": overlap,
            "array.weight_registers": 2 if overlap and rng.random() < 0.5 else 1,
        }
        keys |= {"array.outputs": rng.choice(["in_place", "accumulators", "register"])}
        keys |= {"array.partial_folds": rng.choice(["exact", "full"])}
    if (
        preset == "systolic"
    ):  # a small buffer cuts streams, and words then stay where they are from fold to fold
        keys |= {"levels.sram.capacity_bytes": rng.choice([524288, 524288, 900, 400])}
    if preset == "eyeriss":
        keys |= OPEN_MEMORY | {
            "networks.noc.accumulated": rng.choice(["chain", "reduce"]),
            "array.pipeline_stages": rng.randint(1, 3),
        }
    try:
        one = random_layer(rng, 10 if size == "small" else 20)
        direction = rng.choice(["forward", "forward", "grad_input", "grad_weight"])
        problem = one.problem(rng.choice([1, 2])).with_direction(direction)
        arch = acc.load_architecture(preset, keys)
        return Nest(problem, arch, acc.choose(problem, arch, acc.load_dataflow(rng.choice(FLOWS))))
    except (ValueError, MappingError):
        return None


def compare(seed: int, nest: Nest) -> str | None:
    """The kind of case, or None where the clocked array refuses it."""
    arch, p = nest.arch, nest.problem
    data = random_data(p, *(arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), seed)
    try:
        run = cycle.run(nest, data)
    except MappingError:
        return None
    where = f"seed {seed}: {p}\n  {nest.mapping}\n  {arch.name} {arch.array}"
    time, moves = array_time(nest), analytic.moves(nest)
    assert (run.outputs == golden.accumulate(p, data, arch.number("psum"))).all(), where
    assert (run.array_cycles, run.compute_cycles, run.active_pes) == (
        time.cycles,
        time.compute,
        time.active_pes,
    ), where
    assert run.macs == p.macs, where
    for b, moved in moves.items():
        assert vars(run.moves[b]) == vars(moved), f"{where}\n  {b}"
    held = "none" if not nest.keep[-1] else "sums" if p.accumulated in nest.keep[-1] else "operand"
    return f"{'lines' if arch.systolic else 'buses'} {held} {p.direction}"


def check(size: str, seeds: range, least: int) -> Counter:
    seen: Counter = Counter()
    for seed in seeds:
        nest = drawn(seed, size)
        if nest is not None and (kind := compare(seed, nest)) is not None:
            seen[kind] += 1
    assert sum(seen.values()) >= least, seen
    return seen


@pytest.mark.parametrize("chunk", slow_but([0], range(4)))
def test_small_arrays(chunk):
    seen = check("small", range(chunk * 75, chunk * 75 + 75), 25)
    assert len(seen) >= 8, seen


@pytest.mark.parametrize(("middle", "large"), slow_but([(8, 3)], [(8, 3), (30, 8)]))
def test_middle_and_large_arrays(middle: int, large: int):
    check("middle", range(middle), middle // 2)
    check("large", range(large), 3 * large // 8)


STILL = {  # one stream in pieces: nothing is loaded or let go between them
    "one register": ("ws", {"levels.sram.capacity_bytes": 600, "array.weight_registers": 1}, 351),
    "no overlap": (
        "ws",
        {"levels.sram.capacity_bytes": 600, "array.weight_registers": 1, "array.overlap": False},
        351,
    ),
    "sums": ("os", {"levels.sram.capacity_bytes": 300, "array.outputs": "accumulators"}, 170),
}


@pytest.mark.parametrize("name", STILL)
def test_words_that_stay_are_not_loaded_again(name):
    flow, keys, cycles = STILL[name]
    layer = (
        acc.Conv2d(M=4, C=1, H=20, W=20, R=3, S=3)
        if flow == "ws"
        else acc.Conv2d(M=8, C=16, H=4, W=4, R=3, S=3)
    )
    problem, arch = layer.problem(1), acc.load_architecture("systolic", keys)
    nest = Nest(problem, arch, acc.choose(problem, arch, acc.load_dataflow(flow)))
    assert array_time(nest).cycles == cycles and compare(1, nest) is not None


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(10))
def test_a_thousand_small_arrays(chunk):
    check("small", range(1000 + chunk * 270, 1270 + chunk * 270), 100)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(4))
def test_more_middle_and_large_arrays(chunk):
    check("middle", range(1000 + chunk * 60, 1060 + chunk * 60), 25)
    check("large", range(1000 + chunk * 12, 1012 + chunk * 12), 3)
