"""Random nests through every engine: outputs to the bit, every count of every boundary, every
cycle.

Outputs are compared with the eight nested loops of golden, counts with the oracle's Python sets,
cycles with DESIGN section 5 written out fold by fold.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import oracle
import pytest
from nests import STRATA, as_oracle, drawn_nest, random_nest, strata
from quick import slow_but

from accelsim.engines import analytic, event, golden, moved
from accelsim.engines.analytic.array_time import array_time
from accelsim.engines.run import Folds
from accelsim.hardware.architecture import load_architecture
from accelsim.mapping.mapping import Mapping
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import random_data
from accelsim.workload.problem import TENSORS, Problem

FEW, FEW_CHUNK = 3_300, 165
QUICK = 330  # nests whose strata are counted; the first chunk of them runs
MANY, MANY_CHUNK = 50_600, 1_100
MACS = 300


def differences(nest: Nest, seed: int) -> Iterator[str]:
    """Everything the engines and the references do not agree on, a line each."""
    problem, arch = nest.problem, nest.arch
    moves = analytic.moves(nest)
    data = random_data(
        problem, *(arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), seed
    )  # type: ignore[arg-type]
    run = event.run(nest, data)
    if not np.array_equal(golden.loops(problem, data, arch.number("psum")), run.outputs):
        yield "outputs of event differ from golden"
    if run.macs != problem.macs:
        yield f"macs: event {run.macs}, the problem has {problem.macs}"

    truth = oracle.count(*as_oracle(nest))
    for engine, shown in (
        ("analytic", moved.columns(nest, moves)),
        ("event", moved.columns(nest, run.moves)),
    ):
        for column, count in columns_of(nest, truth).items():
            if shown[column] != count:
                yield f"{column}: {engine} {shown[column]}, oracle {count}"
    counted = truth["primitives"]
    for b in nest.boundaries:
        one = counted[b.parent, "mac" if b.child == nest.levels else b.child, b.tensor]
        if b.tensor == problem.accumulated:
            want = {
                "taken": 0,
                "read": 0,
                "drained": one["drains"],
                "arrived": one["arrivals"],
                "updated": one["update_reads"],
            }
        else:
            want = {
                "taken": one["child_in"],
                "read": one["parent_reads"],
                "drained": 0,
                "arrived": 0,
                "updated": 0,
            }
        for engine, got in (("analytic", moves[b]), ("event", run.moves[b])):
            for name, count in want.items():
                if getattr(got, name) != count:
                    yield f"{b} ({b.kind}) {name}: {engine} {getattr(got, name)}, oracle {count}"

    time = array_time(nest)
    for name, closed, executed in (
        ("cycles", time.cycles, event.array_cycles(nest, run.folds)),
        ("compute cycles", time.compute, run.compute_cycles),
        ("active PEs", time.active_pes, run.active_pes),
        ("cycles, fold by fold", time.cycles, by_the_page(nest, run.folds)),
    ):
        if closed != executed:
            yield f"{name}: analytic {closed}, event {executed}"


@pytest.mark.parametrize("chunk", slow_but([0], range(4)))
def test_fused_dimensions_of_any_kind(chunk):
    """Any parts fused, levels that keep nothing, loops on one axis at several levels."""
    for seed in range(chunk * 50, (chunk + 1) * 50):
        rng = random.Random(f"parted {seed}")
        options = {"fuse": 0.5, "spatial": 0.6, "parted": 0.8, "empty": 0.3}
        nest = random_nest(rng, 200, systolic=0.4, **options)
        assert not list(differences(nest, seed)), f"seed {seed}"


@pytest.mark.parametrize("arch", ["systolic", "shidiannao"])
@pytest.mark.parametrize("fused", [("EF", "N"), ("NE", "F")])
def test_two_fused_dimensions_past_a_level_that_keeps_nothing(arch, fused):
    """A PE stood idle while others went on, and its sums were added twice."""
    problem = Problem(N=2, G=1, M=1, C=1, E=4, F=2, R=1, S=1, H=4, W=2)
    machine = load_architecture(arch)
    outer, inner, pe = machine.level_names[0], machine.level_names[1], machine.level_names[-1]
    mapping = Mapping(
        loops=f"Y:1:{outer} X:3:{outer} X:1:{inner}",
        fused={"X": tuple(fused[0]), "Y": tuple(fused[1])},
        keep={outer: TENSORS, inner: (), pe: ("ofmap",)},
    )
    nest = Nest(problem, machine, mapping)
    psum = machine.number("psum")
    data = random_data(problem, *(machine.number(k) for k in ("weight", "ifmap", "ofmap")), psum, 0)
    run = event.run(nest, data)
    assert np.array_equal(run.outputs, golden.loops(problem, data, psum))
    assert run.moves == analytic.moves(nest)


def columns_of(nest: Nest, truth: dict) -> dict[str, int]:
    """The oracle's counts under the contract's names."""
    columns = {}
    names = nest.arch.level_names
    for (level, tensor), count in truth["counts"].items():
        columns |= {f"{names[level]}_{tensor}_{kind}": n for kind, n in count.items()}
    below = {net.below: name for name, net in nest.arch.networks.items()}
    for (level, tensor), count in truth["networks"].items():
        if names[level] in below:
            name = below[names[level]]
            columns[f"{name}_{tensor}_deliveries"] = count["deliveries"]
            if tensor == nest.problem.accumulated:
                columns[f"{name}_{tensor}_additions"] = count["additions"]
    return columns


def by_the_page(nest: Nest, folds: Iterable[Folds]) -> int:
    """DESIGN section 5 as it stands there: when each fold starts, how long it is, and which ends
    last.
    """
    array, held = nest.arch.array, nest.keep[nest.levels - 1]
    steps = [
        tuple(map(int, x))
        for f in folds
        for x in zip(f.length, f.rows, f.cols, f.held, strict=True)
    ]
    if not nest.arch.systolic or not held:
        return sum(t for t, _, _, _ in steps)
    sizes: list[tuple[int, int, int]] = []
    for k, (t, *rest) in enumerate(steps):  # what stays in the PEs is not loaded again: one fold
        if k and rest == list(steps[k - 1][1:]):
            sizes[-1] = (sizes[-1][0] + t, rest[0], rest[1])
        else:
            sizes.append((t, rest[0], rest[1]))
    rows, cols = array.rows, array.cols
    if nest.turned:  # sums travel along the rows
        rows, cols, sizes = cols, rows, [(t, c, r) for t, r, c in sizes]
    if array.partial_folds == "full":
        sizes = [(t, rows, cols) for t, _, _ in sizes]
    start = end = 0
    for f, (t, r, c) in enumerate(sizes):
        before, left = sizes[f - 1][:2] if f else (0, 0)  # T and r of the fold before
        if nest.problem.accumulated in held:
            length = t + r + c - 2 + (0 if array.outputs == "in_place" else rows)
            # of mixed folds shifted out section 5 says nothing; the hardware in tests/rtl does
            leaves = {
                "in_place": before,
                "accumulators": before + left - 1,
                "register": max(before, before + left - t),
            }
            wait = leaves[array.outputs]
        else:
            length = t + rows + c - 2
            wait = max(before, r) if array.weight_registers == 2 else before + r - 1
            if not f or not array.overlap:
                start += r  # the first preload, or every one, is exposed
        if f and array.overlap:
            start += wait
        end = max(end, start + length)
        if not array.overlap:
            start = end
    return end


def check(seed: int) -> tuple[bool, bool]:
    """One random nest; returns whether its time is that of a systolic array, and whether sums are
    held in it.
    """
    nest = drawn_nest(seed, MACS)
    case = (
        f"seed {seed}: {nest.problem}\n  mapping {nest.mapping}\n"
        f"  fused {dict(nest.mapping.fused)}\n  keep {[sorted(k) for k in nest.keep]}\n"
        f"  {nest.arch.array}\n  networks {nest.arch.networks}"
    )
    try:
        wrong = list(differences(nest, seed))
    except Exception as error:
        error.add_note(case)
        raise
    assert not wrong, "\n  ".join([case, *wrong])
    held = nest.keep[nest.levels - 1]
    return nest.arch.systolic and bool(held), nest.problem.accumulated in held


@pytest.mark.parametrize(("many", "least"), slow_but([(QUICK, 25)], [(QUICK, 25), (FEW, 330)]))
def test_strata(many, least, record_property):
    """At least 300 of 3 000 in each stratum; sizes are shown with pytest -rP."""
    sizes = Counter(s for seed in range(many) for s in strata(drawn_nest(seed, MACS)))
    for name in STRATA:
        print(f"{sizes[name]:5d} of {many}  {name}")
        record_property(name, sizes[name])
    assert all(sizes[name] >= least for name in STRATA), sizes


def check_chunk(start: int, count: int) -> None:
    kinds = [check(seed) for seed in range(start, start + count)]
    assert kinds.count((True, True)) > count / 25 and kinds.count((True, False)) > count / 25, (
        "too few systolic nests to compare cycles on"
    )


@pytest.mark.parametrize("start", slow_but([0], range(0, FEW, FEW_CHUNK)))
def test_random_nests(start):
    check_chunk(start, FEW_CHUNK)


def test_neighbours_of_several_parents_hold_the_same_words() -> None:
    """What a child of one parent held is no word on the way to another's (96 reads of 84)."""
    check(38159)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(FEW, FEW + MANY, MANY_CHUNK))
def test_many_random_nests(start):
    check_chunk(start, MANY_CHUNK)


# The table of section 5: F full folds of T on an array of R x C, and one fold of r x c.
R, C = 5, 3
OS = ({"outputs": "in_place"}, {"outputs": "accumulators"}, {"outputs": "register"})
WS = ({"weight_registers": 1}, {"weight_registers": 2})


def systolic_nest(held: str, folds: tuple[int, int], t: int, r: int, c: int, options: dict) -> Nest:
    """``folds`` over rows and columns of r x c each, streaming ``t`` words."""
    overrides = {
        f"array.{k}": v for k, v in {"rows": R, "cols": C, "weight_registers": 1, **options}.items()
    }
    arch = load_architecture("systolic", overrides)
    (rows, cols), keep = (
        folds,
        {
            "dram": ("weight", "ifmap", "ofmap"),
            "sram": ("weight", "ifmap", "ofmap"),
            "reg": (held,),
        },
    )
    if held == "ofmap":
        size, loops = (
            {"F": rows * r, "M": cols * c, "C": t},
            f"M:{c}:sram X:{r}:sram X:1:sram:row M:1:sram:col K:1:reg",
        )
    elif held == "weight":
        size, loops = (
            {"C": rows * r, "M": cols * c, "F": t},
            f"M:{c}:sram K:{r}:sram K:1:sram:row M:1:sram:col X:1:reg",
        )
    else:
        size, loops = (
            {"C": rows * r, "F": cols * c, "M": t},
            f"X:{c}:sram K:{r}:sram K:1:sram:row X:1:sram:col M:1:reg",
        )
    problem = Problem(N=1, G=1, E=1, R=1, S=1, H=1, W=size["F"], **size)
    return Nest(problem, arch, Mapping(loops=loops, keep=keep))


def cycles(nest: Nest) -> int:
    """The array's cycles; analytic and event give the same."""
    data = random_data(
        nest.problem, *(nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), 0
    )  # type: ignore[arg-type]
    executed = event.array_cycles(nest, event.run(nest, data).folds)
    assert array_time(nest).cycles == executed
    return executed


@pytest.mark.parametrize("held", ["weight", "ifmap"])
@pytest.mark.parametrize("t", [1, 4, 5, 9])
def test_section_5_operands_held(held, t):
    for r, c in ((R, C), (2, 3), (1, 1), (5, 2)):
        for overlap in (False, True):
            assert (
                cycles(systolic_nest(held, (1, 1), t, r, c, {"overlap": overlap}))
                == r + t + R + c - 2
            )
    for folds in ((2, 1), (1, 3), (2, 3)):
        F = folds[0] * folds[1]
        assert cycles(systolic_nest(held, folds, t, R, C, {"overlap": False})) == F * (
            R + t + R + C - 2
        )
        one, two = (cycles(systolic_nest(held, folds, t, R, C, {"overlap": True, **o})) for o in WS)
        assert one == F * (t + R - 1) + R + C - 1
        assert two == (F - 1) * max(t, R) + t + 2 * R + C - 2


@pytest.mark.parametrize("t", [1, 4, 5, 9])
def test_section_5_outputs_held(t):
    for r, c in ((R, C), (2, 3), (1, 1), (5, 2)):
        for overlap in (False, True):
            got = [
                cycles(systolic_nest("ofmap", (1, 1), t, r, c, {"overlap": overlap, **o}))
                for o in OS
            ]
            assert got == [t + r + c - 2, t + r + R + c - 2, t + r + R + c - 2]
    for folds in ((2, 1), (1, 3), (2, 3)):
        F = folds[0] * folds[1]
        got = [cycles(systolic_nest("ofmap", folds, t, R, C, {"overlap": False, **o})) for o in OS]
        assert got == [F * (t + R + C - 2), F * (t + R + R + C - 2), F * (t + R + R + C - 2)]
        got = [cycles(systolic_nest("ofmap", folds, t, R, C, {"overlap": True, **o})) for o in OS]
        assert got == [
            F * t + R + C - 2,
            F * (t + R - 1) + R + C - 1,
            (F - 1) * max(t, R) + t + 2 * R + C - 2,
        ]


def test_a_fully_clocked_array():
    # partial_folds: full counts every fold as R x C, whatever it uses
    for held in ("weight", "ifmap", "ofmap"):
        small = cycles(
            systolic_nest(held, (2, 2), 4, 2, 1, {"overlap": False, "partial_folds": "full"})
        )
        assert small == cycles(systolic_nest(held, (2, 2), 4, R, C, {"overlap": False}))


def test_a_chunk_of_a_short_piece_reaches_further():
    # F in pieces of 3 and 1; four of X = N, E, F are rows 0 and 1 of the first piece, but rows 0 to
    # 3 of the second.
    problem = Problem(N=1, G=1, M=1, C=1, E=4, F=4, R=1, S=1, H=4, W=4, direction="grad_input")
    arch = load_architecture("systolic")
    keep = {"dram": ("weight", "ifmap", "ofmap"), "sram": ("ofmap",), "reg": ()}
    nest = Nest(problem, arch, Mapping(loops="F:3:dram X:4:dram X:1:sram", keep=keep))
    assert not list(differences(nest, 0))
