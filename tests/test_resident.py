"""Tensors that lie whole inside the outermost level: every engine, the oracle, the fixed rule, and
what is refused.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from nests import random_nest
from quick import slow_but
from test_counts import differences
from test_cycle import differences as cycle_differences
from test_pipeline import FLOWS, layer, machine, some
from test_timed import differs, limited

import accelsim as acc
from accelsim.engines import analytic
from accelsim.engines.analytic import pipeline
from accelsim.engines.event import timed
from accelsim.engines.moved import columns
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.workload.problem import TENSORS


def resident(nest: Nest) -> list[str]:
    return [t for t in TENSORS if nest.home(t)]


def drawn(seed: int, most: int = 200) -> Nest:
    """A random nest of at least one tensor that never leaves the chip."""
    rng = random.Random(f"resident {seed}")
    while True:
        nest = random_nest(rng, most, resident=0.6, spatial=rng.choice((0.0, 0.2, 0.35)))
        if resident(nest):
            return nest


@pytest.mark.parametrize("start", slow_but([100], range(0, 400, 100)))
def test_counts_and_outputs_of_random_nests(start):
    seen: Counter[str] = Counter()
    for seed in range(start, start + 100):
        nest = drawn(seed)
        wrong = list(differences(nest, seed))
        assert not wrong, f"seed {seed}: {nest.problem} {nest.mapping} {nest.keep}\n" + "\n".join(
            wrong
        )
        seen.update("accumulated" if t == nest.problem.accumulated else t for t in resident(nest))
        seen["fused"] += any(
            nest.projection("ifmap", level).pairs for level in range(nest.levels + 1)
        ) and "ifmap" in resident(nest)
    assert min(seen[k] for k in ("accumulated", "weight", "ifmap", "ofmap", "fused")) >= 3, seen


@pytest.mark.parametrize("start", slow_but([0], range(0, 120, 40)))
def test_clocked_registers(start):
    ran = 0
    for seed in range(start, start + 40):
        nest = drawn(seed, 60)
        try:
            differences, _ = cycle_differences(nest, seed)
        except MappingError:  # what the clocked array cannot run
            continue
        assert not differences, f"seed {seed}: {differences}"
        ran += 1
    assert ran > 8


@pytest.mark.parametrize("start", slow_but([0], range(0, 80, 40)))
def test_time_of_random_machines(start):
    for seed in range(start, start + 40):
        assert differs(limited(drawn(seed, 120), random.Random(seed))) is None, f"seed {seed}"


@pytest.mark.parametrize("many", slow_but([60], [60, 200]))
def test_the_recurrence_is_the_timed_engine(many):
    exact = 0
    for seed in range(many):
        rng = random.Random(f"rule {seed}")
        arch, one = machine(rng, inside=False), layer(rng)
        stays = frozenset(rng.sample(("ifmap", "ofmap"), rng.randint(1, 2)))
        try:
            nest = Nest(
                p := one.problem(rng.choice((1, 2))),
                arch,
                choose(p, arch, acc.load_dataflow(rng.choice(FLOWS)), stays),
            )
        except MappingError:
            continue
        assert set(resident(nest)) == stays
        ours, theirs = pipeline.time(nest, analytic.moves(nest)), timed.simulate(nest)
        if ours.exact:
            assert some(ours.stalls) == some(theirs.stalls), seed
            exact += 1
    assert exact > 0.15 * many


def test_by_hand():
    """Two output channels over one channel of 4 words, an SRAM that holds the ifmap: the DRAM sees
    weights and sums alone.
    """
    one, arch = acc.Conv2d(M=2, C=1, H=1, W=4, R=1, S=1), acc.load_architecture("systolic")
    loops = "M:1:dram F:1:sram"
    full = {"dram": TENSORS, "sram": TENSORS, "reg": ("weight",)}
    usual = Nest(one.problem(), arch, Mapping(loops=loops, keep=full))
    kept = Nest(
        one.problem(), arch, Mapping(loops=loops, keep=full | {"dram": ("weight", "ofmap")})
    )
    before, after = (columns(n, analytic.moves(n)) for n in (usual, kept))
    assert (
        before["dram_ifmap_reads"],
        before["sram_ifmap_writes"],
        before["sram_ifmap_reads"],
    ) == (4, 4, 8)
    assert (after["dram_ifmap_reads"], after["sram_ifmap_writes"], after["sram_ifmap_reads"]) == (
        0,
        0,
        8,
    )
    assert {k: v for k, v in before.items() if "ifmap" not in k} == {
        k: v for k, v in after.items() if "ifmap" not in k
    }


def test_all_of_it_is_what_it_takes():
    one = acc.Conv2d(M=4, C=8, H=16, W=16, R=3, S=3, padding=1)
    arch = acc.load_architecture("systolic", {"levels.sram.capacity_bytes": 4096})
    ws = acc.load_dataflow("ws")
    mapping = choose(one.problem(), arch, ws, frozenset({"ifmap"}))
    nest = Nest(one.problem(), arch, mapping)
    assert nest.footprint.tile_words(1, "ifmap") == 8 * 16 * 16
    with pytest.raises(
        MappingError,
        match=r"does not fit systolic even with tiles of one word: "
        r"sram: .* ifmap 2048 .* exceed its 2047",
    ):
        choose(
            one.problem(),
            acc.load_architecture("systolic", {"levels.sram.capacity_bytes": 2047}),
            ws,
            frozenset({"ifmap"}),
        )


def test_refusals():
    arch = acc.load_architecture("systolic")
    p = acc.Conv2d(M=2, C=2, H=4, W=4, R=1, S=1).problem()
    with pytest.raises(
        MappingError,
        match=r"keep.dram: keeps weight, unless a level between it and reg holds it whole",
    ):
        Nest(
            p,
            arch,
            Mapping(
                loops="M:1:dram C:1:dram E:1:sram F:1:sram",
                keep={"dram": ("ifmap", "ofmap"), "reg": ("weight",)},
            ),
        )
    with pytest.raises(
        MappingError,
        match=r"keep.sram: holds ifmap whole, so no loop outside it may lie over rows or columns",
    ):
        keep = {"dram": ("weight", "ofmap"), "sram": ("ifmap",), "reg": ("weight",)}
        Nest(p, arch, Mapping(loops="M:1:dram:row C:1:dram E:1:sram F:1:sram", keep=keep))
    with pytest.raises(
        MappingError, match=r"weight has no level between dram and reg to lie in whole"
    ):
        choose(p, acc.load_architecture("tpu_v1"), acc.load_dataflow("ws"), frozenset({"weight"}))
