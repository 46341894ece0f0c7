"""Plain arrays of the cycle engine: buses, pipelines, trees and chains, edge by edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelsim as acc
from accelsim.engines import cycle
from accelsim.engines.cycle.addresses import NO_WORD
from accelsim.engines.cycle.bus_pes import NEVER, Change, pairs_for, settle
from accelsim.engines.cycle.buses import BusArray
from accelsim.engines.cycle.chain import Chains, Parts
from accelsim.engines.cycle.levels import HazardError
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.mapping import Mapping
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import random_data
from accelsim.workload.problem import TENSORS, Problem


def data_of(nest: Nest) -> dict[str, Any]:
    return random_data(
        nest.problem, *(nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), 0
    )  # type: ignore[arg-type]


def plain(
    loops: str,
    pe: tuple[str, ...],
    sums: str = "reduce",
    stages: int = 1,
    held: str = "multicast",
    **sizes: int,
) -> Nest:
    """A nest on two levels and 6 x 6 PEs."""
    size = {"N": 1, "G": 1, "M": 1, "C": 1, "E": 1, "F": 1, "R": 1, "S": 1} | sizes
    problem = Problem(**size, H=size["E"] + size["R"] - 1, W=size["F"] + size["S"] - 1)
    arch = {
        "name": "plain",
        "clock_mhz": 1.0,
        "array": {"rows": 6, "cols": 6, "pipeline_stages": stages},
        "levels": {"dram": {}, "pe": {}},
        "networks": {
            "bus": {"below": "dram", "held": held, "streamed": "multicast", "accumulated": sums}
        },
        "bits": {"weight": 8, "ifmap": 8, "ofmap": 8, "psum": 32},
        "energy": {"mac": 1.0, "levels": {"dram": 1.0, "pe": 1.0}, "networks": {"bus": 1.0}},
    }
    return Nest(
        problem,
        Architecture.model_validate(arch),
        Mapping(loops=loops, keep={"dram": TENSORS, "pe": pe}),
    )


@pytest.mark.parametrize("kept", [(), ("weight",), ("ofmap",), TENSORS])
@pytest.mark.parametrize("stages", [1, 2, 4])
def test_length(kept, stages):
    """12 steps; a product is there stages - 1 edges after its operands, a tree adds in no time, 3 x
    2 PEs on a chain in 2 + 1 edges.
    """
    loops = "F:1:dram C:3:dram C:1:dram:row R:1:dram:col S:1:pe"
    for sums, more in (("reduce", 0), ("unicast", 0), ("chain", 3)):
        nest = plain(loops, kept, sums, stages, C=3, R=2, F=6, S=2)
        assert cycle.run(nest, data_of(nest)).array_cycles == 12 + stages - 1 + more, sums


def test_row_stationary_on_eyeriss():
    """Filter rows held, psums up the columns: the last sum takes R - 1 links, and 2 edges more in
    the multipliers.
    """
    overrides = {
        "array.rows": 3,
        "array.cols": 4,
        "networks.noc.accumulated": "chain",
        "array.pipeline_stages": 3,
    }
    machine = acc.load_architecture("eyeriss", overrides)
    problem = acc.Conv2d(M=1, C=1, H=6, W=6, R=3, S=3).problem()
    nest = Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow("rs")))
    assert str(nest.mapping) == "F:1:glb R:1:glb:row E:1:glb:col S:1:spad"
    trace = cycle.Trace(1, 99)
    run = cycle.run(nest, data_of(nest), trace=trace)
    assert (run.compute_cycles, run.array_cycles) == (12, 12 + 2 + 2)
    # the filter row r is shared by row r of the PEs, the ifmap row e + r by a diagonal
    first = trace.at(1).query("active")
    assert len(first) == 12
    assert (first["weight_word"] == 3 * first["row"]).all()
    assert (first["ifmap_word"] == 6 * (first["row"] + first["col"])).all()
    words = {(x.tensor, x.word): x.pes for x in trace.crossings(1)}
    assert words["weight", 0] == 4 and [words["ifmap", 6 * h] for h in range(6)] == [
        1,
        2,
        3,
        3,
        2,
        1,
    ]
    # a sum of filter row 0 hops to rows 1 and 2 and comes out: products of edges 1, 2, 3, added on
    # 3, 4, 5
    sets_out = trace.planes["down"].words[:, 0, 0].tolist().index(0)
    assert trace.edges[sets_out] == 5
    assert [int(trace.planes["down"].words[sets_out + i, i, 0]) for i in range(3)] == [0, 0, 0]
    out = [x for e in trace.edges.tolist() for x in trace.crossings(e) if x.way == "out"]
    assert [(x.edge, x.word) for x in out if x.word in (0, 1)] == [(7, 0), (10, 1)]
    assert run.outputs is not None and out[0].value == run.outputs[0, 0, 0, 0, 0]


def test_neighbours_pass_words_on(monkeypatch):
    """Over neighbour links a word comes from the PE that held it; poison it there, and the outputs
    are wrong.
    """
    machine = acc.load_architecture("shidiannao", {"array.rows": 2, "array.cols": 3})
    problem = acc.Conv2d(M=2, C=2, H=4, W=5, R=3, S=3).problem()
    nest = Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow("osp")))
    data = data_of(nest)
    good = cycle.run(nest, data)
    mesh = next(b for b in nest.boundaries if b.kind == "neighbour" and b.child == 2)
    assert good.moves[mesh].read < 0.6 * good.moves[mesh].taken
    plan = BusArray.plan

    def spoiled(self, at, following):
        self.pads["ifmap"].values[:] += 1  # what the PEs have from the step before
        return plan(self, at, following)

    monkeypatch.setattr(BusArray, "plan", spoiled)
    assert not np.array_equal(cycle.run(nest, data).outputs, good.outputs)


def test_bus_words_are_read_once():
    """Four PEs take one weight: read once over a bus, four times by unicast."""
    loops = "M:1:dram F:1:dram:col S:1:pe"
    for held, read in (("multicast", 6), ("unicast", 24)):
        nest = plain(loops, ("weight",), held=held, M=2, F=4, S=3)
        run = cycle.run(nest, data_of(nest))
        (b,) = (b for b in nest.boundaries if b.tensor == "weight" and b.child == 1)
        assert (run.moves[b].taken, run.moves[b].read) == (24, read)


# -- places in the PEs -----------------------------------------------------------------------------


def random_wanted(rng: np.random.Generator, settings: int, macs: int) -> np.ndarray:
    wanted = rng.integers(-1, 9, (settings, macs))
    return np.where(wanted < 0, NO_WORD, wanted * 1_000_003)


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_word_stays_in_its_place(lanes):
    """Random steps of random PEs: each holds what it wants and no more, what it keeps stays,
    and every MAC is told where its word is.
    """
    rng = np.random.default_rng(lanes)
    settings, pes = 3, 4
    names = np.full((pes, settings * lanes), NO_WORD)
    for _ in range(200):
        wanted, active = random_wanted(rng, settings, pes * lanes), rng.random(pes) < 0.7
        before, shape = names.copy(), names.shape
        change = Change(np.full(wanted.shape, NEVER), *np.full((3, *shape), NEVER))
        assert not settle(names, wanted, lanes, active, pairs_for(16), change)
        for pe in range(pes):
            mine = wanted[:, pe * lanes : pe * lanes + lanes]
            if not active[pe]:
                assert (names[pe] == before[pe]).all()
                continue
            assert sorted(names[pe][names[pe] != NO_WORD]) == sorted({*mine.ravel()} - {NO_WORD})
            kept = np.isin(before[pe], mine) & (before[pe] != NO_WORD)
            assert (names[pe][kept] == before[pe][kept]).all()
            assert (change.gone[pe] == np.where(kept, NO_WORD, before[pe])).all()
            assert (change.come[pe] == np.where(kept, NO_WORD, names[pe])).all()
            for (setting, lane), word in np.ndenumerate(mine):
                slot = change.slot[setting, pe * lanes + lane]
                assert slot < 0 if word == NO_WORD else names[pe, slot] == word
            for slot, word in enumerate(names[pe]):
                uses = np.flatnonzero((mine == word).any(axis=1))
                assert word == NO_WORD or change.first[pe, slot] == uses[0]


def test_words_without_room_are_counted():
    names = np.full((1, 2), NO_WORD)
    wanted = np.array([[5], [6], [7], [8]])
    change = Change(np.full((4, 1), NEVER), *np.full((3, 1, 2), NEVER))
    assert settle(names, wanted, 1, np.ones(1, bool), pairs_for(4), change) == 2


# -- the chain itself ------------------------------------------------------------------------------


def line(rows: int, cols: int) -> Chains:
    place = np.indices((1, rows, cols)).reshape(3, -1)
    return Chains(*place)


def parts(edge, who, names, values):
    who = np.asarray(who)
    return Parts(np.full(len(who), edge), who, np.asarray(names), np.asarray(values))


NONE = parts(0, np.zeros(0, int), np.zeros(0, int), np.zeros(0, int))


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 1), (1, 4), (3, 2)])
def test_chain_hops_one_link_an_edge(rows, cols):
    chain, n = line(rows, cols), rows * cols
    rng = np.random.default_rng(0)
    own = {edge: rng.integers(-9, 9, n) for edge in (1, 2, 3, 6)}
    whole = {}
    for edge in range(1, 20):
        mine = parts(edge, np.arange(n), np.full(n, edge), own[edge]) if edge in own else NONE
        out = chain.clock(edge, mine)
        if len(out.edge):
            assert out.edge.tolist() == [edge]
            assert out.name.tolist() == [edge - chain.length]
            whole[int(out.name[0])] = (edge, int(out.value[0]))
    assert whole == {e: (e + rows - 1 + cols - 1, int(v.sum())) for e, v in own.items()}
    assert not chain.under_way
    # many edges at once are the same edges
    at_once = line(rows, cols).clock(
        20, Parts(*(np.concatenate(x) for x in zip(
            *(parts(e, np.arange(n), np.full(n, e), v) for e, v in own.items()), strict=True
        )))
    )  # fmt: skip
    out = zip(at_once.name.tolist(), at_once.edge.tolist(), at_once.value.tolist(), strict=True)
    assert {name: (edge, value) for name, edge, value in out} == whole


def test_chain_passes_through_pes_with_nothing_to_add():
    chain = line(3, 2)
    alone = parts(1, [1], [7], [11])  # row 0, column 1
    out = [chain.clock(e, alone if e == 1 else NONE) for e in range(1, 6)]
    assert [len(x.edge) > 0 for x in out] == [False, False, False, True, False]
    assert out[3].value.tolist() == [11]


def test_chain_refuses_what_cannot_meet():
    chain = line(2, 1)
    chain.clock(1, parts(1, [0, 1], [5, 6], [1, 2]))
    with pytest.raises(HazardError, match="different words meet"):
        chain.clock(2, NONE)
    with pytest.raises(HazardError, match="two sums set out"):
        line(2, 1).clock(3, parts(3, [0, 0], [0, 0], [0, 0]))
