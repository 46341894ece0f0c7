"""The quick search against brute force, the fixed rule and itself."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from nests import random_problem
from quick import slow_but
from test_mapper import machine, measured

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.engines.analytic import pipeline
from accelsim.engines.analytic.closed_form import terms_of
from accelsim.hardware.architecture import Architecture, load_architecture, structure
from accelsim.mapper import quick_rows, quick_search, quick_tables
from accelsim.mapper.kept_arrays import KeptArrays
from accelsim.mapper.layer_counts import write_columns
from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_search import (
    Quick,
    _QuickSearch,
    _State,
    full_measures,
    layer_tables,
    quick_mapping,
)
from accelsim.mapper.quick_tables import LayerTables
from accelsim.mapper.space import under
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.mapping.rule import choose
from accelsim.workload.problem import Direction, Problem

GOALS = [Objective.parse(x) for x in ("energy", "cycles", "edp", "dram", "energy*cycles^2")]
FLOWS = ("rs", "ws", "os", "is", "nlr", "osp")
Case = tuple[Problem, Architecture, Dataflow]


def drawn(seed: int, most: int = 400) -> Case:
    """A small layer on a small machine of any kind that the dataflow has tiles for."""
    rng = random.Random(seed)
    while True:
        problem, arch = random_problem(rng, most), machine(rng)
        flow = load_dataflow(rng.choice(FLOWS))
        try:
            if layer_tables(problem, arch, flow).space:
                return problem, arch, flow
        except MappingError:
            continue


def searched(case: Case, goal: Objective) -> Quick | None:
    try:
        return quick_mapping(*case, goal)
    except MappingError:
        return None


def wrong(case: Case, goal: Objective) -> list[str]:
    """What brute force over the same tiles, one nest at a time, says against the search."""
    problem, arch, _ = case
    tables = layer_tables(*case)
    if tables.space > 600:
        return []
    every = [
        (tiles, measures)
        for choice in product(*[range(len(t)) for t in tables.tiles])
        if (measures := measured(tables.skeleton, tiles := tables.tile_row(choice))) is not None
    ]
    chosen = searched(case, goal)
    if chosen is None:
        return ["nothing found, and there are mappings"] if every else []
    own = full_measures(Nest(problem, arch, chosen.mapping))
    told = [f"{k}: {chosen.measures[k]} not {v}" for k, v in own.items()
            if not np.isclose(chosen.measures[k], v, rtol=1e-9)]  # fmt: skip
    least = min([float(goal.of(m)) for _, m in every], default=np.inf)
    if chosen.bound > min(least, chosen.value) * (1 + 1e-9):
        told.append(f"bound {chosen.bound} above {least}")
    if chosen.gap == 0 and chosen.value > least * (1 + 1e-9):
        told.append(f"{chosen.value} is called the best, {least} is better")
    if chosen.value > least * 1.1:
        told.append(f"{chosen.value}, and there is {least}")
    return told


@pytest.mark.parametrize("chunk", slow_but([0], range(8)))
def test_what_is_called_the_best_is(chunk: int) -> None:
    for seed in range(chunk * 4, chunk * 4 + 4):
        case, goal = drawn(seed), GOALS[seed % len(GOALS)]
        assert not wrong(case, goal), (seed, goal.text, wrong(case, goal))


# Tiles that only the skeleton with all its loops had, for a nest that lacks some of them: 2284.
ONCE_WRONG = (2284,)


@pytest.mark.parametrize("seed", ONCE_WRONG)
def test_what_was_once_wrong(seed: int) -> None:
    case, goal = drawn(seed), GOALS[seed % len(GOALS)]
    assert not wrong(case, goal)


TWO_SIZES = ((3, 4, 1, 1, 1, 1), (5, 3, 4, 4, 2, 2))


@pytest.mark.parametrize("size", slow_but([TWO_SIZES[:1]], [(size,) for size in TWO_SIZES]))
@pytest.mark.parametrize("flow", ["wsg", "osg"])
def test_a_dimension_that_is_there_once_cuts_no_line(flow: str, size: tuple[int, ...]) -> None:
    """Flows with groups side by side run dense layers on systolic lines: boundaries that a layer
    with groups would not have.
    """
    arch = load_architecture("systolic", {"array.rows": 4, "array.cols": 4})
    layer = acc.Conv2d(**dict(zip("MCHWRS", size, strict=True)))
    case = layer.problem(1), arch, load_dataflow(flow)
    assert not wrong(case, GOALS[0])


@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("flow", ["wsg", "osg", "wsp", "ws", "os", "is"])
def test_an_array_of_one_row_maps_what_the_rule_maps(flow: str, side: str) -> None:
    """No loop lies over an axis of one PE, so none cuts a line: groups side by side, too."""
    arch, dataflow = load_architecture("systolic", {f"array.{side}": 1}), load_dataflow(flow)
    for size in ((2, 3, 5, 4, 2), (6, 1, 4, 4, 3), (1, 4, 6, 3, 1)):
        layer = acc.Conv2d(**dict(zip("MCHWR", size, strict=True)), S=2, groups=3)
        for direction in get_args(Direction):
            problem = layer.directed(None, direction)
            try:
                rule = full_measures(Nest(problem, arch, choose(problem, arch, dataflow)))
            except MappingError:
                continue
            found = quick_mapping(problem, arch, dataflow, GOALS[2])
            assert found.value <= GOALS[2].of(rule) * (1 + 1e-9), (size, direction)


@pytest.mark.parametrize("seed", range(12))
def test_bounds_are_below_where_ifmaps_are_pairs(seed: int) -> None:
    """Under ``is`` the PEs keep (k, x) pairs.  The first step's words were counted as all of them,
    so 60 cycles were bounded at 67.
    """
    rng, flow = random.Random(seed), load_dataflow("is")
    size = {"array.rows": rng.choice((3, 5, 30)), "array.cols": 3, "levels.dram.port_bits": 128}
    arch = load_architecture("eyeriss", size)
    layer = acc.Gemm(m=rng.choice((1, 3, 8)), k=rng.choice((5, 9, 16)), n=rng.choice((1, 8)))
    tables = layer_tables(layer.problem(), arch, flow)
    search = _QuickSearch(tables, arch, GOALS[1], lambda: None, _State())
    for choice in product(*[range(len(t)) for t in tables.tiles]):
        tiles = tables.tile_row(np.array(choice))
        if (true := measured(tables.skeleton.on(arch), tiles)) is not None:
            low = search.closely.of(np.array([choice]))
            assert all(low[m][0] <= true[m] * (1 + 1e-9) for m in true), (choice, low, true)


def test_nothing_is_proved_where_padding_is_counted_among_sums() -> None:
    """Gradients of an ifmap whose PEs keep (k, x) pairs: 200 sums were counted where 90 arrive."""
    size = {"array.rows": 8, "array.cols": 8, "levels.dram.port_bits": 24}
    glb = {"capacity_bytes": 128, "partitions.weight": 64, "banks": 2, "double_buffered": True}
    arch = load_architecture("eyeriss", size | {f"levels.glb.{k}": v for k, v in glb.items()})
    layer = acc.Conv2d(
        M=1, C=1, H=12, W=5, R=1, S=1, stride=2, padding=2, dilation=(2, 1), groups=5
    )
    problem, flow = layer.directed(None, "grad_input"), load_dataflow("is")
    tables = layer_tables(problem, arch, flow)
    every = [
        measured(tables.skeleton.on(arch), tables.tile_row(np.array(choice)))
        for choice in product(*[range(len(t)) for t in tables.tiles])
    ]
    for goal in GOALS[:3]:
        least = min(goal.of(m) for m in every if m is not None)
        found = quick_mapping(problem, arch, flow, goal)
        assert found.bound <= least <= found.value <= 1.01 * least


@pytest.mark.parametrize(("arch", "flow"), [("systolic", "ws"), ("eyeriss", "is")])
def test_a_dimension_as_long_as_there_is_none_is_refused_at_once(arch: str, flow: str) -> None:
    """Without laying its coordinates out: that took a minute, or 80 GB."""
    row = acc.simulate(acc.Gemm(m=512, k=512, n=2**31 - 1), arch, flow).rows[0]
    assert "steps, at most 16777216 can be timed" in str(row.error)


def test_what_the_rule_maps_is_mapped_where_not_all_loops_have_lines() -> None:
    """Filters fill the columns, so the rule lays no groups over them and ifmaps have a line."""
    arch, flow = load_architecture("systolic"), load_dataflow("osg")
    problem = acc.Conv2d(M=16, C=3, H=8, W=6, R=1, S=1, groups=2).problem()
    rule = full_measures(Nest(problem, arch, choose(problem, arch, flow)))
    found = quick_mapping(problem, arch, flow, GOALS[2])
    assert found.rule and found.measures == rule and found.gap > 0


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(10))
def test_what_is_called_the_best_is_on_many(chunk: int) -> None:
    for seed in range(1000 + chunk * 150, 1150 + chunk * 150):
        case, goal = drawn(seed), GOALS[seed % len(GOALS)]
        assert not wrong(case, goal), (seed, goal.text, wrong(case, goal))


def larger(seed: int) -> Case:
    """A layer of up to 40 000 MACs: many have more tiles than are valued one and all."""
    rng = random.Random(seed)
    name, flow = rng.choice(
        [("systolic", f) for f in ("ws", "os", "is")]
        + [("eyeriss", "rs"), ("shidiannao", "osp"), ("tpu_v1", "ws"), ("scalesim", "ws")]
    )
    size = {"array.rows": rng.choice((4, 8, 12)), "array.cols": rng.choice((4, 14))}
    if name == "systolic":
        size |= {"levels.sram.capacity_bytes": rng.choice((1000, 4096))}
        if rng.random() < 0.6:
            size |= {"levels.dram.port_bits": 32, "levels.sram.double_buffered": True}
    return random_problem(rng, 40_000), load_architecture(name, size), load_dataflow(flow)


@pytest.mark.parametrize("seed", slow_but(range(10), range(24)))
def test_never_worse_than_the_rule(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the space is valued whole nor by descent, and the figures are the engine's."""
    case, goal = larger(seed), GOALS[seed % len(GOALS)]
    if seed % 2:
        monkeypatch.setattr(quick_search, "EXHAUSTIVE", 0)
    chosen = searched(case, goal)
    problem, arch, flow = case
    try:
        rule = full_measures(Nest(problem, arch, choose(problem, arch, flow)))
    except MappingError:
        return
    assert chosen is not None
    assert chosen.value <= goal.of(rule) * (1 + 1e-9)
    own = full_measures(Nest(problem, arch, chosen.mapping))
    assert chosen.measures == pytest.approx(own, rel=1e-9)
    assert chosen.bound <= chosen.value


def test_machines_that_share_tables_have_the_mappings_they_have_alone() -> None:
    """Whatever was asked before, and however often."""
    layer = acc.Conv2d(M=24, C=12, H=9, W=9, R=3, S=3, padding=1).directed(None, "forward")
    flow, goal = load_dataflow("ws"), Objective.parse("edp")
    sizes = [{"levels.sram.capacity_bytes": n} for n in (512, 2048, 16384)]
    machines = [load_architecture("systolic", x) for x in sizes]
    alone = []
    for arch in machines:
        quick_search._tables.clear()
        alone.append(quick_mapping(layer, arch, flow, goal))
    quick_search._tables.clear()
    assert [quick_mapping(layer, arch, flow, goal) for arch in reversed(machines)] == alone[::-1]
    assert [quick_mapping(layer, arch, flow, goal) for arch in machines] == alone


def test_of_equal_traffic_the_mapping_with_fewer_cycles() -> None:
    """DRAM traffic alone leaves many mappings; what is chosen has no equal with fewer cycles."""
    layer = acc.Gemm(m=6, n=4, k=8).directed(None, "forward")
    arch = load_architecture("systolic", {"array.rows": 4, "array.cols": 4})
    case = layer, arch, load_dataflow("ws")
    tables, goal = layer_tables(*case), Objective.parse("dram")
    every = [
        measures
        for choice in product(*[range(len(t)) for t in tables.tiles])
        if (measures := measured(tables.skeleton, tables.tile_row(choice))) is not None
    ]
    chosen = quick_mapping(*case, goal)
    least = min(m["dram"] for m in every)
    assert chosen.measures["dram"] == least
    assert chosen.measures["cycles"] == min(m["cycles"] for m in every if m["dram"] == least)


def test_a_limit_gives_what_there_is() -> None:
    """One that has passed before the search begins gives the rule's mapping, and says so."""
    layer = acc.Conv2d(M=24, C=12, H=9, W=9, R=3, S=3).directed(None, "forward")
    case = layer, load_architecture("eyeriss"), load_dataflow("rs")
    chosen = quick_mapping(*case, Objective.parse("edp"), deadline=0.0)
    assert chosen.stopped == "limit" and chosen.rule
    assert chosen.mapping == choose(*case)
    assert chosen.gap > 0


SMALL = acc.Conv2d(M=10, C=6, H=7, W=7, R=3, S=3, name="small")
MACHINE = {"array.rows": 4, "array.cols": 4, "levels.sram.capacity_bytes": 1024}


def test_a_quick_run_loads_nothing_that_it_does_not_ask() -> None:
    """The exact search, pictures, frames and the clock of memory are for who wants them."""
    heavy = "accelsim.mapper.layer_search", "pandas", "matplotlib", "simpy", "accelsim.explore"
    code = (
        "import sys\nfrom accelsim.cli.main import main\n"
        "sys.argv[1:] = 'run lenet5 --arch systolic --dataflow ws --layer conv1'.split()\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_rows_say_where_their_tiles_are_from() -> None:
    rule, best, proved = (
        acc.simulate(SMALL, "systolic", "ws", overrides=MACHINE, **options).rows[0].columns
        for options in ({"tiles": "rule"}, {}, {"effort": "proved"})
    )
    assert "gap" not in rule and rule["mapping"] == "rule"
    assert best["mapping"] == "best" and best["tiles"] in ("quick", "rule")
    assert proved["mapping"] == "best_proved"
    edp = [r["cycles"] * r["energy_pj"] for r in (rule, best, proved)]
    assert edp == sorted(edp, reverse=True)
    assert 0 <= proved["gap"] <= best["gap"] < 1


@pytest.mark.parametrize("objective", ["energy", "cycles", "dram"])
def test_an_objective_is_made_least(objective: str) -> None:
    least, other = (
        acc.simulate(SMALL, "systolic", "ws", overrides=MACHINE, tiles="best", objective=o)
        .rows[0]
        .columns
        for o in (objective, "edp")
    )
    key = {"energy": "energy_pj", "cycles": "cycles"}.get(objective)
    if key is None:
        words = [
            sum(
                v
                for k, v in row.items()
                if k.startswith("dram_") and k.endswith(("reads", "writes"))
            )
            for row in (least, other)
        ]
        assert words[0] <= words[1]
    else:
        assert least[key] <= other[key]


def test_a_sweep_has_the_rows_of_simulate_with_any_number_of_jobs() -> None:
    grid = {"levels.sram.capacity_bytes": [512, 4096], "array.rows": [4, 8]}
    frames = [
        acc.sweep(SMALL, "systolic", grid, dataflows="ws,os", tiles="best", jobs=jobs)
        for jobs in (1, 2)
    ]
    assert frames[0].equals(frames[1])
    for row in frames[0].to_dict("records"):
        overrides = {key: row[key] for key in grid}
        one = acc.simulate(SMALL, "systolic", row["dataflow"], tiles="best", overrides=overrides)
        assert row["cycles"] == one.rows[0].columns["cycles"]
        assert (row["tiles"], row["gap"]) == tuple(one.rows[0].columns[k] for k in ("tiles", "gap"))


@pytest.mark.parametrize("options", [{"best_of": "ws,os"}, {"dataflow": "best"}])
def test_the_best_dataflow_of_each_layer_beside_one_for_all(options: dict[str, Any]) -> None:
    layers = [SMALL, acc.Gemm(m=40, n=3, k=5, name="gemm")]
    frame = acc.simulate(
        layers, "systolic", tiles="best", objective="energy", overrides=MACHINE, **options
    ).to_frame()
    own = frame[frame["dataflow"] != "best"]
    best = frame[frame["dataflow"] == "best"]
    assert best["layer"].tolist() == ["small", "gemm"]
    assert own["error"].isna().all()
    for row in best.to_dict("records"):
        same = own[own["layer"] == row["layer"]]
        assert row["energy_pj"] <= same["energy_pj"].min()
        if row["best_dataflow"] not in set(same["dataflow"]):
            continue
        chosen = same[same["dataflow"] == row["best_dataflow"]].iloc[0]
        assert (row["cycles"], row["energy_pj"]) == (chosen["cycles"], chosen["energy_pj"])
    totals = frame.groupby("dataflow")["energy_pj"].sum()
    assert totals["best"] == totals.min()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tiles": "some"}, "tiles: must be one of best, rule"),
        ({"tiles": "best", "effort": "much"}, "effort: must be one of quick, thorough, proved"),
        ({"tiles": "best", "objective": "beauty"}, "objective: must be"),
        ({"tiles": "rule", "effort": "quick"}, "effort: goes with tiles: best"),
        ({"tiles": "rule", "objective": "edp"}, "objective: goes with tiles: best"),
        ({"tiles": "best", "limit": -1}, "limit: must be above 0"),
    ],
)
def test_what_does_not_go_together_is_one_line(options: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        acc.simulate(SMALL, "systolic", "ws", **options)


@pytest.mark.parametrize(
    ("arch", "flow"),
    [
        ("systolic", "ws"),
        ("systolic", "is"),
        ("eyeriss", "rs"),
        ("eyeriss", "ws"),
        ("shidiannao", "osp"),
    ],
)
def test_terms_of_a_structure_are_those_of_each_layer(arch: str, flow: str) -> None:
    """Written down once with other numbers in their places: as though for the layer itself, whose
    numbers may be equal, and which may accumulate another tensor.
    """
    rng = random.Random(arch + flow)
    machine, dataflow = acc.load_architecture(arch), acc.load_dataflow(flow)
    for _ in range(8):
        size, taps, pad = rng.choice([1, 7, 8]), rng.choice([1, 3]), rng.choice([0, 1])
        layer = acc.Conv2d(
            M=rng.choice([1, 3, 8]), C=rng.choice([1, 3, 8]), H=size + taps, W=8 + taps,
            R=taps, S=rng.choice([taps, 2]), padding=pad, stride=rng.choice([1, 2]),
        )  # fmt: skip
        direction = rng.choice(["forward", "grad_weight", "grad_input"])
        skeleton = under(layer.directed(None, direction), machine, dataflow)
        known = terms_of(skeleton, ("quick", structure(machine)), write_columns)
        own = write_columns(skeleton).done()
        assert known.columns == own.columns and np.array_equal(known.signs, own.signs)
        assert known.factors == own.factors
        for one, other in zip(known.uses, own.uses, strict=True):
            assert (one.table, one.columns, one.once) == (other.table, other.columns, other.once)
            assert np.array_equal(one.terms, other.terms)


@pytest.mark.parametrize("seed", range(12))
def test_layers_that_share_a_family_have_the_tables_they_have_alone(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer's neighbours, each with one number changed or on an array of other sides, are counted
    beside it: what is alike is the same array, and all of it what each counts by itself.
    """
    problem, arch, flow = drawn(seed)
    cases = [(problem, arch)]
    for dim in "NMC":
        cases.append((replace(problem, **{dim: problem.size[dim] + 1}), arch))
    wider = arch.array.model_copy(update={"cols": arch.array.cols + 1})
    cases.append((problem, arch.model_copy(update={"array": wider})))

    def tables(case: tuple[Problem, Architecture]) -> LayerTables:
        return LayerTables(under(*case, flow))

    beside = [tables(case) for case in cases]
    arrays = [id(x) for t in beside for x in t.own if len(t.own) > 1]
    assert len(set(arrays)) < len(arrays) or not arrays
    for case, shared in zip(cases, beside, strict=True):
        for page in (quick_rows, quick_tables):
            monkeypatch.setattr(page, "shared", KeptArrays(1 << 23))
        alone = tables(case)
        for name in ("tiles", "trips", "own", "usage", "unfinished", "kinds"):
            for a, b in zip(getattr(shared, name), getattr(alone, name), strict=True):
                np.testing.assert_array_equal(a, b)
        assert shared.ties.keys() == alone.ties.keys()
        for at, tie in shared.ties.items():
            np.testing.assert_array_equal(tie.terms, alone.ties[at].terms)
            np.testing.assert_array_equal(tie.use, alone.ties[at].use)
        for name in ("constant", "whole", "signs", "covered"):
            np.testing.assert_array_equal(getattr(shared, name), getattr(alone, name))
        assert (shared.others, shared.exact) == (alone.others, alone.exact)


def test_where_there_is_no_room_for_a_word_nothing_is_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row stationary wants a weight, an ifmap word and a sum in a register of 4 bytes: that was
    said after all skeletons without some loops had been searched, which took a second.
    """

    def searched_too(*_: Any) -> None:
        raise AssertionError("a skeleton without some loops")

    monkeypatch.setattr(LayerTables, "without", searched_too)
    problem = acc.Conv2d(M=24, C=12, H=9, W=9, R=3, S=3, padding=1).directed(None, "forward")
    machine, flow = load_architecture("systolic"), load_dataflow("rs")
    with pytest.raises(MappingError, match="does not fit systolic even with tiles of one word"):
        quick_mapping(problem, machine, flow, Objective.parse("edp"))


@pytest.mark.slow
def test_no_room_is_said_only_where_no_mapping_is_legal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of small machines whose innermost level holds a few bytes; the same with all searched."""
    cases, told = [], []
    for seed in range(120):
        problem, arch, flow = drawn(seed, 200)
        level, rng = arch.level_names[-1], random.Random(seed)
        size = {f"levels.{level}.capacity_bytes": rng.randint(1, 6), f"levels.{level}.banks": None}
        with suppress(InputError):
            cases.append((problem, load_architecture(arch, size), flow))
    own = _QuickSearch.too_small

    def small(search: _QuickSearch) -> bool:
        told.append(own(search))
        return told[-1]

    monkeypatch.setattr(_QuickSearch, "too_small", small)
    goal = GOALS[2]
    sooner = [searched(case, goal) for case in cases]
    monkeypatch.setattr(_QuickSearch, "too_small", lambda _: False)
    assert sooner == [searched(case, goal) for case in cases]
    assert sum(told) > 10 and any(sooner)


def test_what_cannot_be_listed_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mappings of a large product have more phases than are timed: that is told before their
    transfers are worked out, which took seconds.
    """

    def worked_out(*_: Any) -> None:
        raise AssertionError("transfers of a mapping that is refused")

    monkeypatch.setattr(pipeline._PassPlanner, "_operand", worked_out)
    problem = acc.Gemm(m=16384, k=16384, n=16384).directed(None, "forward")
    with pytest.raises(MappingError, match="3145728 steps to time, more than the 1048576"):
        quick_mapping(
            problem, load_architecture("systolic"), load_dataflow("os"), Objective.parse("edp")
        )
