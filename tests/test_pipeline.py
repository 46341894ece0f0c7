"""The recurrence over classes of passes is the timed event engine, to the cycle and to whoever was
waited for; elsewhere near it.

The two share no code: words per step come from closed forms here and from index lists there, and
SimPy knows no recurrence.
"""

from __future__ import annotations

import random
import statistics
from collections import OrderedDict
from contextlib import suppress

import pytest
from quick import slow_but

import accelsim as acc
from accelsim.base import compiled
from accelsim.engines import analytic
from accelsim.engines.analytic import array_time, closed_form, pass_clock, pipeline, settings
from accelsim.engines.event import timed
from accelsim.mapper.quick_search import layer_tables
from accelsim.mapping import skeleton
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.results import batch
from accelsim.workload.problem import TENSORS

FLOWS = ("ws", "os", "is", "rs", "nlr")


def layer(rng: random.Random) -> acc.Conv2d:
    r, s = rng.randint(1, 3), rng.randint(1, 3)
    size = {
        "H": rng.randint(r, 12),
        "W": rng.randint(s, 12),
        "R": r,
        "S": s,
        "stride": rng.randint(1, 3),
        "padding": rng.randint(0, 1),
    }
    return acc.Conv2d(
        M=rng.randint(1, 20), C=rng.randint(1, 9), groups=rng.choice([1, 1, 2]), **size
    )


def machine(rng: random.Random, *, inside: bool) -> acc.Architecture:
    """A preset with a narrow outermost port; with ``inside`` ports and widths everywhere else,
    too.
    """
    preset = rng.choice(["systolic", "eyeriss", "scalesim", "shidiannao"])
    buffer = {"systolic": "sram", "scalesim": "sram", "eyeriss": "glb", "shidiannao": "nb"}[preset]
    network = {"systolic": "lines", "scalesim": "lines", "eyeriss": "noc", "shidiannao": "mesh"}[
        preset
    ]
    keys = {
        "array.rows": rng.randint(1, 8),
        "array.cols": rng.randint(1, 8),
        "levels.dram.port_bits": rng.choice([4, 8, 16, 64]),
    }
    keys |= {
        "levels.dram.ports": rng.choice(["shared", "separate"]),
        "levels.dram.latency_cycles": rng.choice([0, 0, 3]),
    }
    keys |= {
        "levels.dram.burst_bits": rng.choice([None, 64]),
        "levels.dram.port_clock_mhz": rng.choice([None, 333.0]),
    }
    keys |= {
        f"levels.{buffer}.double_buffered": rng.random() < 0.5,
        "networks.noc.width_bits": None,
    }
    if preset != "eyeriss":
        del keys["networks.noc.width_bits"]
    if preset in ("systolic", "scalesim"):
        overlap = rng.random() < 0.6
        keys |= {
            "array.overlap": overlap,
            "array.weight_registers": 2 if overlap and rng.random() < 0.5 else 1,
        }
        keys |= {"array.outputs": rng.choice(["in_place", "accumulators", "register"])}
        keys |= {
            "array.partial_folds": rng.choice(["exact", "full"]),
            "levels.sram.priced_bytes": None,
        }
        keys |= {"levels.sram.capacity_bytes": rng.choice([200, 400, 1000])}
    if inside:
        keys |= {
            f"levels.{buffer}.port_bits": rng.choice([None, 16, 64]),
            f"levels.{buffer}.ports": rng.choice(["shared", "separate"]),
        }
        keys |= {
            f"networks.{network}.width_bits": rng.choice(
                [None, 16, {"weight": 16, "ifmap": 8, "ofmap": 32}]
            )
        }
        keys |= {"networks.link.width_bits": rng.choice([None, 32])}
    return acc.load_architecture(preset, keys)


def nests(seed: int, *, inside: bool = False):
    rng = random.Random(seed)
    arch, one, n = machine(rng, inside=inside), layer(rng), rng.choice([1, 2])
    direction = rng.choice(["forward", "forward", "grad_input", "grad_weight"])
    problem, flow = one.problem(n).with_direction(direction), acc.load_dataflow(rng.choice(FLOWS))
    try:
        return Nest(problem, arch, acc.choose(problem, arch, flow))
    except MappingError:
        return None


def both(nest: Nest):
    return pipeline.time(nest, analytic.moves(nest)), timed.simulate(nest)


def some(table: dict[str, int]) -> dict[str, int]:
    return {k: n for k, n in table.items() if n}


@pytest.mark.parametrize("chunk", slow_but([0], range(4)))
def test_one_level_is_exact(chunk):
    exact = 0
    for seed in range(chunk * 60, chunk * 60 + 60):
        nest = nests(seed)
        if nest is None:
            continue
        ours, theirs = both(nest)
        assert ours.cycles == ours.array + sum(ours.stalls.values()), seed
        assert ours.bound >= ours.array and theirs.cycles >= ours.bound, seed
        if ours.exact:
            assert some(ours.stalls) == some(theirs.stalls), (seed, nest.mapping)
            assert ours.cycles == theirs.cycles, seed
            exact += 1
    assert exact > 15


@pytest.mark.parametrize(
    ("first", "many"),
    slow_but([(5000, 40)], [(5000, 40), (5000, 250), (5500, 250), (6000, 250)]),
)
def test_ports_everywhere_are_exact_or_near(first, many):
    """Passes and transfers that meet on a port are served in the event engine's order; where words
    of a setting are an estimate, the time is near.
    """
    errors, exact = [], 0
    for seed in range(first, first + many):
        nest = nests(seed, inside=True)
        if nest is None:
            continue
        ours, theirs = both(nest)
        assert theirs.cycles >= ours.bound, seed
        if ours.exact:
            assert ours.cycles == theirs.cycles, seed
            assert some(ours.stalls) == some(theirs.stalls), seed
            exact += 1
        else:
            errors.append(abs(ours.cycles / theirs.cycles - 1))
    errors.sort()
    print(
        f"{exact} nests exact; {len(errors)} others: median {statistics.median(errors):.2%}, "
        f"nine in ten below {errors[len(errors) * 9 // 10]:.2%}, worst {errors[-1]:.2%}"
    )
    assert exact > 0.4 * many and len(errors) > 0.08 * many
    assert statistics.median(errors) <= 0.01 and errors[-1] <= 0.1


# A setting by itself: where the words of each were shared out, or a phase or a place was told
# wrongly, and the cycles the event engine has.
SINGLE = [
    ("eyeriss", {"levels.glb.port_bits": 64}, "rs"),
    ("eyeriss", {"levels.glb.port_bits": 64, "levels.dram.port_bits": 8}, "ws"),
    ("eyeriss", {}, "nlr"),
    ("shidiannao", {"levels.dram.port_bits": 64, "levels.nb.port_bits": 128}, "os"),
    ("systolic", {"levels.dram.port_bits": 64, "levels.sram.port_bits": 128}, "ws"),
    ("systolic", {"levels.dram.port_bits": 64, "levels.sram.port_bits": 128}, "os"),
]


@pytest.mark.parametrize(("preset", "keys", "dataflow"), SINGLE)
def test_layers_of_presets_are_exact(preset, keys, dataflow):
    """Padding, groups, strides and a partial sum read back over a port that others use."""
    arch = acc.load_architecture(preset, keys)
    shapes = (
        {"M": 24, "C": 6, "H": 13, "W": 11, "R": 3, "S": 3, "padding": 1, "groups": 2},
        {"M": 20, "C": 3, "H": 23, "W": 23, "R": 5, "S": 5, "stride": 2, "padding": 2},
        {"M": 70, "C": 130, "H": 4, "W": 4, "R": 1, "S": 1},
    )
    for shape in shapes:
        problem = acc.Conv2d(**shape).problem(2)
        nest = Nest(problem, arch, acc.choose(problem, arch, acc.load_dataflow(dataflow)))
        ours, theirs = both(nest)
        assert ours.exact and ours.cycles == theirs.cycles, shape
        assert some(ours.stalls) == some(theirs.stalls), shape


def as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels of the recurrence as they stand, run by Python, and no plan or time known."""
    for name, kernel in vars(pass_clock).items():
        if isinstance(kernel, compiled._Kernel):
            for module in (pass_clock, pipeline):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, kernel.function)
    monkeypatch.setattr(pipeline, "_plans", {})
    monkeypatch.setattr(pipeline, "_times", skeleton.Kept(1 << 12))


@pytest.mark.parametrize("many", slow_but([40], [40, 120]))
def test_turns_added_up_are_those_gone_through(many, monkeypatch):
    """Plain Python, pass by pass, none left out, is the compiled loop that adds repeating turns
    up.
    """
    some_nests = [
        x for seed in range(7000, 7000 + many) if (x := nests(seed, inside=seed % 2 == 1))
    ]
    fast = [pipeline.time(nest, analytic.moves(nest)) for nest in some_nests]
    as_python(monkeypatch)
    monkeypatch.setattr(pass_clock, "same", lambda *_: False)
    assert fast == [pipeline.time(nest, analytic.moves(nest)) for nest in some_nests]
    assert len(some_nests) > many // 2


def test_a_long_loop_costs_its_first_turns(monkeypatch):
    """Of 10 000 passes a few are gone through; each further one takes as long as the others."""
    as_python(monkeypatch)
    gone: list[int] = []
    one = pass_clock.one_pass
    monkeypatch.setattr(pass_clock, "one_pass", lambda *args: (gone.append(1), one(*args)))
    arch = acc.load_architecture("systolic", {"array.cols": 4, "levels.dram.port_bits": 8})
    whole = dict.fromkeys(("dram", "sram"), TENSORS) | {"reg": ("weight",)}
    cycles = []
    for m in (40, 40_000, 80_000):
        mapping = acc.Mapping(loops="M:4:dram K:1:sram:row M:1:sram:col X:1:reg", keep=whole)
        nest = Nest(acc.Gemm(m=m, k=4, n=4).problem(), arch, mapping)
        cycles.append(pipeline.time(nest, analytic.moves(nest)).cycles)
    assert len(gone) < 100
    assert (cycles[2] - cycles[1]) * 9_990 == (cycles[1] - cycles[0]) * 10_000


@pytest.mark.parametrize("many", slow_but([12], [12, 40]))
def test_what_nests_of_a_form_share_changes_no_time(monkeypatch, many):
    """Nests are timed alike in any order, whatever others of their forms were asked for before, and
    where next to nothing is kept.
    """
    some_nests = [
        x for seed in range(8000, 8000 + many) if (x := nests(seed, inside=seed % 2 == 1))
    ]
    other_tiles = [Nest(x.problem, x.arch, halved(x)) for x in some_nests]
    every = [*some_nests, *other_tiles]
    fresh = []
    for nest in every:
        forget(monkeypatch)
        one = Nest(nest.problem, nest.arch, nest.mapping)
        fresh.append(pipeline.time(one, analytic.moves(one)))
    for most, order in ((1 << 22, 1), (1 << 22, -1), (1, 1)):
        forget(monkeypatch)
        monkeypatch.setattr(settings, "MOST_POSITIONS", most)
        again = [Nest(x.problem, x.arch, x.mapping) for x in every[::order]]
        assert [pipeline.time(x, analytic.moves(x)) for x in again][::order] == fresh
    assert len(some_nests) > many // 2 and len({x.form for x in again}) < len(again)


def halved(nest: Nest) -> acc.Mapping:
    """A mapping of the same form with the outermost loop's tile cut in two, if it can be."""
    loops = list(nest.mapping.loops)
    first = loops[0]
    if first.axis == "none" and first.tile > 3 and nest.loops[0].trips > 1:
        half = first.model_copy(update={"tile": -(-first.tile // 2)})
        with suppress(MappingError):
            cut = nest.mapping.model_copy(update={"loops": (half, *loops[1:])})
            Nest(nest.problem, nest.arch, cut)
            return cut
    return nest.mapping


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As though nothing was asked before."""
    monkeypatch.setattr(skeleton, "_forms", OrderedDict())
    monkeypatch.setattr(pipeline, "_plans", {})
    for module in (pipeline, array_time):
        monkeypatch.setattr(module, "_times", skeleton.Kept(1 << 12))
    for name in ("_moves", "_models"):
        monkeypatch.setattr(closed_form, name, OrderedDict())


def late_machines() -> list[acc.Architecture]:
    """Machines of one structure whose DRAM has no port: only a latency says that it takes time."""
    keys = {"dram": "unlimited", "networks.noc.width_bits": 16}
    return [
        acc.load_architecture("eyeriss", keys | {"levels.dram.latency_cycles": n})
        for n in (0, 40, 0, 80)
    ]


def turned_about(rng: random.Random) -> tuple[Nest, Nest] | None:
    """A nest of a square layer without padding and the one with E for F and R for S, if there is
    one and it is another.
    """
    side, taps = rng.randint(2, 12), rng.choice([1, 1, 1, 2])
    stride, groups = rng.randint(1, 3), rng.choice([1, 1, 2])
    one = acc.Conv2d(
        M=rng.randint(1, 20), C=rng.randint(1, 9), groups=groups,
        H=side, W=side, R=taps, S=taps, stride=stride,
    )  # fmt: skip
    direction = rng.choice(["forward", "forward", "grad_input", "grad_weight"])
    problem = one.problem(rng.choice([1, 2])).with_direction(direction)
    arch, flow = machine(rng, inside=True), acc.load_dataflow(rng.choice(FLOWS))
    try:
        tables = layer_tables(problem, arch, flow)
        row = tables.tile_row([rng.randrange(len(t)) for t in tables.tiles])
        nest = Nest(problem, arch, tables.skeleton.mapping_with(row))
        loops = [x.model_copy(update={"dim": ABOUT.get(x.dim, x.dim)}) for x in nest.mapping.loops]
        other = Nest(problem, arch, nest.mapping.model_copy(update={"loops": tuple(loops)}))
    except (MappingError, ValueError):
        return None
    return None if other.mapping == nest.mapping else (nest, other)


ABOUT = {"E": "F", "F": "E", "R": "S", "S": "R"}


@pytest.mark.parametrize("chunk", slow_but((0,), range(8)))
def test_nests_that_differ_in_names_are_one_to_time(chunk: int) -> None:
    """Nests that are timed once are equal in all that is kept of them, each worked out for itself;
    and the nests of a layer with taps are never taken for one another.
    """
    rng, alike, timed_ = random.Random(700 + chunk), 0, 0
    for _ in range(60):
        pair = turned_about(rng)
        if pair is None:
            continue
        nest, other = pair
        if nest.either_way != other.either_way:
            assert nest.either_way is nest.form.token and nest.problem.R > 1
            continue
        alike += 1
        assert nest.problem.R == 1 and nest.form.token is not other.form.token
        assert array_time._array_time(nest) == array_time._array_time(other)
        moved = [
            {(b.tensor, b.parent, b.child): m for b, m in analytic.moves(x).items()} for x in pair
        ]
        assert moved[0] == moved[1]
        with suppress(MappingError):
            one, two = (pipeline._time(x, analytic.moves(x)) for x in pair)
            assert one == two
            assert one == analytic.time(nest, analytic.moves(nest))
            timed_ += 1
    assert alike > 2 and timed_ > 1


def test_a_latency_alone_is_waited_for_whatever_was_asked_before(monkeypatch):
    """The plan of a machine that is never late was taken for one that is."""
    problem, flow = acc.Conv2d(M=16, C=8, H=12, W=12, R=3, S=3).problem(), acc.load_dataflow("ws")
    never, late = late_machines()[:2]
    for archs in ([never, late], [late, never]):
        monkeypatch.setattr(pipeline, "_plans", {})
        monkeypatch.setattr(pipeline, "_times", skeleton.Kept(1 << 12))
        some_nests = [Nest(problem, arch, acc.choose(problem, arch, flow)) for arch in archs]
        cycles = [pipeline.time(nest, analytic.moves(nest)).cycles for nest in some_nests]
        assert sorted(cycles) == [33165, 33245] and (cycles[0] < cycles[1]) == (archs[0] is never)


def test_points_that_differ_in_a_latency_alone_are_timed_as_each():
    layer, archs = acc.Conv2d(M=16, C=8, H=12, W=12, R=3, S=3), late_machines()
    groups, left = batch.columns(layer.problem(), archs, acc.load_dataflow("ws"))
    assert not len(left)
    together = {int(i): int(g.columns["cycles"][k]) for g in groups for k, i in enumerate(g.at)}
    assert together == {
        i: acc.simulate(layer, arch, "ws", tiles="rule").rows[0].columns["cycles"]
        for i, arch in enumerate(archs)
    }
    assert together[0] == together[2] < together[1] < together[3]


def test_nothing_to_wait_for_is_the_array_alone():
    for preset in ("systolic", "scalesim", "tpu_v1", "shidiannao"):
        (row,) = acc.simulate(
            acc.Conv2d(M=8, C=4, H=9, W=9, R=3, S=3),
            preset,
            "os" if preset == "shidiannao" else "ws",
            overrides={"dram": "unlimited"},
        ).records()
        assert (
            row["stall_cycles"] == 0
            and row["cycles"] == row["compute_cycles"] + row["fill_drain_cycles"]
        )


def test_a_saturated_port_of_half_the_width_takes_twice_as_long():
    big = acc.Conv2d(M=32, C=16, H=16, W=16, R=1, S=1)
    cycles = [
        acc.simulate(big, "systolic", "ws", overrides={"levels.dram.port_bits": n}).records()[0][
            "stall_dram_cycles"
        ]
        for n in (2, 1)
    ]
    assert cycles[1] == pytest.approx(2 * cycles[0], rel=0.02)
