"""The trace against a naive schedule: what every PE of a small array holds and does at every
edge.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from nests import random_nest
from quick import slow_but
from test_cycle import data_of, nest_of
from test_cycle_random import chained, systolic_nest

import accelsim as acc
from accelsim.engines import cycle
from accelsim.engines.moved import columns
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import TENSORS, Problem

SIZE = 3
T = 4


def matrix_nest(held: str, **overrides: Any) -> Nest:
    """weight (m, c), ifmap (c, f), ofmap (m, f), one fold on 3 x 3 PEs with T = 4."""
    arch = acc.load_architecture("systolic", {"array.rows": SIZE, "array.cols": SIZE, **overrides})
    keep = {"dram": TENSORS, "sram": TENSORS, "reg": (held,)}
    sizes = {
        "weight": (SIZE, SIZE, T),
        "ofmap": (SIZE, T, SIZE),
        "ifmap": (T, SIZE, SIZE),
    }  # M, C, F
    loops = {
        "weight": "C:1:sram:row M:1:sram:col F:1:reg",
        "ofmap": "F:1:sram:row M:1:sram:col C:1:reg",
        "ifmap": "C:1:sram:row F:1:sram:col M:1:reg",
    }
    m, c, f = sizes[held]
    problem = Problem(N=1, G=1, M=m, C=c, E=1, F=f, R=1, S=1, H=1, W=f)
    return Nest(problem, arch, Mapping(loops=loops[held], keep=keep))


def test_weights_held_on_3_by_3():
    """Row i, column j works on word t at edge 3 + 1 + t + i + j: three edges of preload, then the
    wave.
    """
    nest = matrix_nest("weight")
    data, trace = data_of(nest), cycle.Trace(1, 50)
    run = cycle.run(nest, data, trace=trace)
    w, x = (
        data["weight"].reshape(SIZE, SIZE).astype(int),
        data["ifmap"].reshape(SIZE, T).astype(int),
    )
    assert run.array_cycles == 11 == len(trace.edges)
    for k, edge in enumerate(trace.edges.tolist()):
        for i, j in np.ndindex(SIZE, SIZE):
            t = edge - 4 - i - j
            works = 0 <= t < T
            assert trace.active[k, i, j] == works
            assert trace.slots[k, i, j] == (t if works else -1)
            assert trace.planes["ifmap"].words[k, i, j] == (i * T + t if works else -2)
            if works:
                assert (
                    trace.planes["weight"].words[k, i, j] == j * SIZE + i
                    and trace.planes["weight"].values[k, i, j] == w[j, i]
                )
                assert trace.planes["ifmap"].values[k, i, j] == x[i, t]
                assert trace.planes["ofmap"].words[k, i, j] == j * T + t
                assert trace.planes["ofmap"].values[k, i, j] == sum(
                    w[j, q] * x[q, t] for q in range(i + 1)
                )
    # the shadow registers while they are filled: the lowest row's weight enters first
    assert trace.planes["shadow"].words[:3, :, 0].tolist() == [[2, -2, -2], [1, 2, -2], [0, 1, 2]]
    for i, j, t in np.ndindex(SIZE, SIZE, T):
        point = {d: v[i, j] for d, v in trace.iterations(4 + t + i + j).items()}
        assert point == {"N": 0, "G": 0, "M": j, "C": i, "E": 0, "F": t, "R": 0, "S": 0}
        assert trace.loops(4 + t + i + j)["F:1:reg"][i, j] == t
    ports = {
        (x.edge, x.port): x.word
        for e in trace.edges.tolist()
        for x in trace.crossings(e)
        if x.way == "in"
    }
    assert {
        (4 + t + i, f"row {i}"): i * T + t for i in range(SIZE) for t in range(T)
    }.items() <= ports.items()
    assert {
        (1 + 2 - i + j, f"column {j}"): j * SIZE + i for i in range(SIZE) for j in range(SIZE)
    }.items() <= ports.items()
    out = {
        (x.edge, x.port): (x.word, x.value)
        for e in trace.edges.tolist()
        for x in trace.crossings(e)
        if x.way == "out"
    }
    want = (w @ x).ravel()
    assert out == {
        (4 + t + 2 + j, f"column {j}"): (j * T + t, want[j * T + t])
        for j in range(SIZE)
        for t in range(T)
    }


@pytest.mark.parametrize("outputs", ["in_place", "accumulators", "register"])
def test_outputs_held_on_3_by_3(outputs):
    """Row i, column j adds product t at edge 1 + t + i + j; a column shifts down when its last row
    is done.
    """
    nest = matrix_nest("ofmap", **{"array.outputs": outputs})
    data, trace = data_of(nest), cycle.Trace(1, 50)
    cycle.run(nest, data, trace=trace)
    w, x = data["weight"].reshape(SIZE, T).astype(int), data["ifmap"].reshape(T, SIZE).astype(int)
    whole = w @ x  # [m, f]
    for k, edge in enumerate(trace.edges.tolist()):
        for i, j in np.ndindex(SIZE, SIZE):
            t = edge - 1 - i - j
            assert trace.active[k, i, j] == (0 <= t < T)
            if 0 <= t < T:
                assert (
                    trace.planes["ifmap"].words[k, i, j],
                    trace.planes["weight"].words[k, i, j],
                ) == (t * SIZE + i, j * T + t)
                assert trace.planes["ofmap"].values[k, i, j] == sum(
                    w[j, q] * x[q, i] for q in range(t + 1)
                )
    out = {
        x.word: (x.edge, x.value)
        for e in trace.edges.tolist()
        for x in trace.crossings(e)
        if x.way == "out"
    }
    for i, j in np.ndindex(SIZE, SIZE):
        edge = T + i + j if outputs == "in_place" else T + SIZE - 1 + j + SIZE - i
        assert out[j * SIZE + i] == (edge, whole[j, i])
    if outputs != "in_place":  # the topmost row's sum on its way down column 0
        plane = trace.planes["ofmap" if outputs == "accumulators" else "shift"]
        assert [int(plane.words[T + SIZE - 1 + i, i + 1, 0]) for i in range(SIZE - 1)] == [0, 0]


def test_turned():
    """Backwards the sums run along the rows: planes are shown as the array stands, and the wave
    comes from the left and the top.
    """
    arch = acc.load_architecture("systolic", {"array.rows": 3, "array.cols": 2})
    problem = Problem(N=1, G=1, M=2, C=3, E=1, F=4, R=1, S=1, H=1, W=4, direction="grad_input")
    keep = {"dram": TENSORS, "sram": TENSORS, "reg": ("weight",)}
    nest = Nest(problem, arch, Mapping(loops="C:1:sram:row M:1:sram:col F:1:reg", keep=keep))
    trace = cycle.Trace()
    run = cycle.run(nest, data_of(nest), trace=trace)
    assert run.array_cycles == 2 + 4 + 2 + 3 - 2  # as 2 rows and 3 columns
    assert trace.active.shape == (9, 3, 2)
    for k, i, j in np.ndindex(*trace.active.shape):
        t = k + 1 - 3 - i - j
        assert trace.active[k, i, j] == (0 <= t < 4)
        if 0 <= t < 4:
            assert (
                trace.planes["weight"].words[k, i, j] == j * 3 + i
                and trace.planes["ofmap"].words[k, i, j] == j * 4 + t
            )
    assert {x.port for x in trace.crossings(9)} == {"row 2"}


CASES = {
    "ws": ("systolic", "ws", {"array.rows": 4, "array.cols": 3}),
    "os": ("systolic", "os", {"array.rows": 4, "array.cols": 3, "array.outputs": "register"}),
    "is": ("tpu_v1", "ws", {"array.rows": 4, "array.cols": 3}),
    "rs": ("eyeriss", "rs", {"array.rows": 4, "array.cols": 3}),
    "rs, small": (
        "eyeriss",
        "rs",
        {"array.rows": 4, "array.cols": 3, "levels.glb.capacity_bytes": 800},
    ),
    "nlr": ("eyeriss", "nlr", {"array.rows": 4, "array.cols": 3}),
    "osp": ("shidiannao", "osp", {"array.rows": 4, "array.cols": 3}),
}


@pytest.mark.parametrize("name", CASES)
def test_counters_end_at_the_totals(name):
    """And never fall; every MAC of the layer is in the trace once, on its own words, products of
    which add up to the outputs.
    """
    arch, flow, overrides = CASES[name]
    nest = nest_of(
        acc.Conv2d(M=4, C=2, H=5, W=5, R=3, S=2, padding=1, bias=False), arch, flow, **overrides
    )
    data, trace = data_of(nest), cycle.Trace(1, 100_000)
    run = cycle.run(nest, data, trace=trace)
    assert trace.edges.tolist() == list(range(1, run.array_cycles + 1))
    counters = trace.counters
    assert (counters.diff().iloc[1:] >= 0).all().all()
    assert trace.moved(run.array_cycles) == run.moves
    assert columns(nest, trace.moved(run.array_cycles)) == columns(nest, run.moves)
    assert int(trace.active.sum()) == run.macs == nest.problem.macs
    seen = set()
    total = np.zeros(run.outputs.shape, np.int64)
    for k, edge in enumerate(trace.edges.tolist()):
        at = trace.iterations(edge)
        for i, j in np.argwhere(trace.active[k]):
            point = tuple(int(at[d][i, j]) for d in ("N", "G", "M", "C", "E", "F", "R", "S"))
            assert point not in seen
            seen.add(point)
            n, g, m, c, e, f, r, s = point
            weight, ifmap = (trace.planes[t] for t in ("weight", "ifmap"))
            assert trace.index("weight", int(weight.words[k, i, j])) == {
                "G": g,
                "M": m,
                "C": c,
                "R": r,
                "S": s,
            }
            if ifmap.words[k, i, j] >= 0:
                assert trace.index("ifmap", int(ifmap.words[k, i, j])) == {
                    "N": n,
                    "G": g,
                    "C": c,
                    "H": e + r - 1,
                    "W": f + s - 1,
                }
            total[n, g, m, e, f] += int(weight.values[k, i, j]) * int(ifmap.values[k, i, j])
    bits = nest.arch.bits.psum
    assert np.array_equal((total + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1), run.outputs)


def test_a_window():
    nest = nest_of(
        acc.Conv2d(M=4, C=2, H=5, W=5, R=3, S=2),
        "systolic",
        "ws",
        **{"array.rows": 4, "array.cols": 3},
    )
    whole, part = cycle.Trace(1, 10_000), cycle.Trace(20, 40)
    first, second = (cycle.run(nest, data_of(nest), trace=t) for t in (whole, part))
    assert first.moves == second.moves and first.array_cycles == second.array_cycles > 40
    assert part.edges.tolist() == list(range(20, 41))
    for name, plane in part.planes.items():
        assert np.array_equal(plane.values, whole.planes[name].values[19:40])
        assert np.array_equal(plane.words, whole.planes[name].words[19:40])
    assert part.at(30).equals(whole.at(30)) and part.crossings(30) == whole.crossings(30)
    assert part.counters.equals(whole.counters.iloc[19:40])
    assert part.pe(2, 1).equals(whole.pe(2, 1).iloc[19:40].reset_index(drop=True))
    assert whole.planes["ifmap"].values.dtype == np.int32
    with pytest.raises(ValueError, match="edge 41 is not in the trace, which has 20 to 40"):
        part.at(41)
    late = cycle.Trace(first.array_cycles + 1, first.array_cycles + 9)
    cycle.run(nest, data_of(nest), trace=late)
    assert not len(late.edges) and late.active.shape == (0, 4, 3)


def test_windows_that_are_refused():
    for first, last in ((0, 5), (5, 4)):
        with pytest.raises(ValueError, match="a window goes from"):
            cycle.Trace(first, last)
    nest = nest_of(acc.Linear(M=8, C=8), "systolic", "ws", **{"array.rows": 512, "array.cols": 512})
    with pytest.raises(ValueError, match="at most 28 edges fit"):
        cycle.run(nest, data_of(nest), trace=cycle.Trace(1, 1000))
    with pytest.raises(ValueError, match="every fold to be run"):
        cycle.run(nest, {}, sample_folds=True, trace=cycle.Trace())


def test_random_traces():
    """Of any nest: as many MACs as there are, counters that end right, words where something is
    shown and nowhere else.
    """
    for seed in range(25):
        rng = random.Random(seed)
        nest = systolic_nest(rng, 150)
        if seed % 3 == 0:
            nest = chained(
                nest_of(
                    acc.Conv2d(M=3, C=3, H=4, W=4, R=2, S=2),
                    "eyeriss",
                    "nlr",
                    **{"array.rows": 3, "array.cols": 2},
                ),
                rng,
            )
        check_trace(nest, seed)


@pytest.mark.parametrize("chunk", slow_but([0], range(8)))
def test_random_traces_of_buses(chunk):
    """The same where PEs of any shape stand idle in some steps, and of (k, x) pairs."""
    for seed in range(chunk * 60, (chunk + 1) * 60):
        rng = random.Random(f"traces of buses {seed}")
        options = {"fuse": 0.5, "spatial": 0.6, "parted": 0.7, "empty": 0.2}
        nest = random_nest(rng, 60, systolic=0.0, **options)
        check_trace(chained(nest, rng) if seed % 2 else nest, seed)


def test_a_trace_of_pairs_in_which_pes_stand_idle():
    """An image past the last one has no pair: the word it stands for is not asked for."""
    problem = Problem(N=3, G=1, M=1, C=2, E=1, F=1, R=1, S=1, H=1, W=1)
    arch = acc.load_architecture("shidiannao", {"array.rows": 2, "array.cols": 2})
    outer = arch.level_names[0]
    nest = Nest(
        problem,
        arch,
        Mapping(loops=f"N:2:{outer} K:1:{outer} N:1:{outer}:row", keep={outer: TENSORS}),
    )
    check_trace(nest, 0)


def test_a_trace_goes_on_while_padding_is_on_its_way():
    """The last slot meets padding: nothing sets out, but the run is as long as if it did."""
    size = {"N": 1, "G": 1, "M": 2, "C": 1, "E": 2, "F": 1, "R": 1, "S": 1, "H": 1, "W": 1}
    problem = Problem(**size, padding=(0, 1, 0, 0), direction="grad_input")
    arch = acc.load_architecture("eyeriss", {"networks.noc.accumulated": "chain"})
    keep = {"dram": TENSORS, "spad": ("ifmap",)}
    check_trace(Nest(problem, arch, Mapping(loops="M:1:glb:row E:1:glb", keep=keep)), 0)


def check_trace(nest: Nest, seed: int) -> None:
    trace = cycle.Trace(1, 2_000)
    with suppress(MappingError):
        run = cycle.run(nest, data_of(nest, seed), trace=trace)
        assert trace.edges.tolist() == list(range(1, run.array_cycles + 1))
        assert int(trace.active.sum()) == run.macs
        assert trace.moved(run.array_cycles) == run.moves
        for plane in trace.planes.values():
            assert not plane.values[~plane.valid].any() and (plane.words >= -2).all()
            if plane.tensor != nest.problem.accumulated:
                assert not plane.values[plane.words == -1].any()  # padding is zero


@pytest.mark.parametrize("seed", range(6))
def test_words_of_scratchpads(seed: int) -> None:
    """An operand that PEs keep comes over a bus (or from a neighbour that has it) and is there
    while it is used; a sum is there once something has been added to it; there is never more than
    PEs have room for.
    """
    rng = random.Random(seed)
    size = rng.randint(4, 6)
    layer = acc.Conv2d(M=rng.randint(2, 5), C=rng.randint(1, 3), H=size, W=size, R=3, S=2)
    arch, flow = rng.choice([("eyeriss", x) for x in ("rs", "ws", "os")] + [("shidiannao", "os")])
    sides = {"array.rows": rng.randint(3, 6), "array.cols": rng.randint(3, 6)}
    nest = nest_of(layer, arch, flow, **sides)
    trace = cycle.Trace(1, 100_000)
    cycle.run(nest, data_of(nest, seed), trace=trace)
    kept = [t for t in TENSORS if t in nest.keep[nest.levels - 1]]
    near = {b.tensor for b in nest.boundaries if b.kind == "neighbour"}
    room = {t: nest.footprint.tile_words(nest.levels - 1, t) * trace.active[0].size for t in kept}
    before: dict[str, set[int]] = {t: set() for t in kept}
    added: set[int] = set()
    most = dict.fromkeys(kept, 0)
    for k, edge in enumerate(trace.edges.tolist()):
        now = {t: set(words.tolist()) for t, words in trace.kept(edge).items()}
        assert set(now) == set(kept)
        for t in kept:
            words = trace.planes[t].words[k]
            used = set(words[words >= 0].tolist())
            came = {c.word for c in trace.crossings(edge) if (c.tensor, c.way) == (t, "in")}
            if t == nest.problem.accumulated:
                added |= used
                assert now[t] <= added
            else:
                assert used <= now[t] and (t in near or now[t] - before[t] <= came <= now[t])
            most[t] = max(most[t], len(now[t]))
        before = now
    assert all(0 < most[t] <= room[t] for t in kept)
