"""The mapper against mappings others published: the Eyeriss chip's of AlexNet, and what Timeloop's
mapper found.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from time import process_time
from typing import Any

import pytest

import accelsim as acc
from accelsim.engines import analytic, moved
from accelsim.engines.analytic.array_time import array_time
from accelsim.mapper import any_dataflow
from accelsim.mapper.objective import Objective
from accelsim.mapping.mapping import Mapping
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import Problem

REFERENCE = Path(__file__).parent / "reference"
KEEP = {
    "dram": ("weight", "ifmap", "ofmap"),
    "glb": ("ifmap", "ofmap"),
    "spad": ("weight", "ifmap", "ofmap"),
}


def rows_of(name: str) -> list[dict[str, str]]:
    lines = [x for x in (REFERENCE / name).read_text().splitlines() if not x.startswith("#")]
    return list(csv.DictReader(lines))


def published(row: dict[str, str]) -> Mapping:
    """A line of JSSC 2017's table as loops (row_stationary.md): segments of the set, then t and r
    sets on rows, then on columns.
    """
    m, n, e, p, q, r, t, rs = (int(row[k]) for k in ("m", "n", "e", "p", "q", "r", "t", "RS"))
    loops = [
        f"G:1:dram M:{m}:dram N:{n}:dram E:{e}:dram C:{q * r}:dram M:{p * t}:glb N:1:glb F:1:glb"
    ]
    segments = -(-e // 14)
    free = 12 // (rs * segments)
    on_rows = t if t <= free else 1
    if t > on_rows:
        loops.append(f"M:{p}:glb:col")
    if segments > 1:
        loops.append("E:14:glb:row")
    if on_rows > 1:
        loops.append(f"M:{p}:glb:row")
    if r > 1:
        loops.append(f"C:{q}:glb:row")
    loops.append("R:1:glb:row E:1:glb:col M:1:spad C:1:spad S:1:spad")
    return acc.Mapping(loops=" ".join(loops), keep=KEEP)  # type: ignore[arg-type]


CHIP = rows_of("eyeriss_jssc17_mapping.csv")


CHIPS = {"first_read": "glb"}  # the chip's counter reads zeros too (reports/eyeriss_chip)


def of(objective: str, columns: Any) -> float:
    return float(columns["energy_mac"] * (columns["cycles"] if objective == "edp" else 1))


def never_worse(
    layer: Any, mappings: list[Any], objective: str, overrides: dict[str, Any], **options: Any
) -> acc.Best:
    """The mapper's best of a layer, which is no worse than any of these mappings."""
    best = acc.map_layer(
        layer, "eyeriss", "rs", objective=objective, overrides=overrides, **options
    )
    ours = best.result.rows[0].columns
    for mapping in mappings:
        chip = (
            acc.simulate(
                layer, "eyeriss", mapping=mapping, overrides=overrides, batch=options["batch"]
            )
            .rows[0]
            .columns
        )
        assert chip["cycles"] is not None, chip["error"]
        assert of(objective, ours) <= of(objective, chip), (
            f"{objective}: {of(objective, ours) / of(objective, chip) - 1:+.2%}"
        )
    return best


@pytest.mark.parametrize("row", CHIP[1:], ids=lambda r: r["layer"])
@pytest.mark.parametrize("overrides", [{}, CHIPS], ids=["eyeriss", "as the chip counts"])
def test_never_worse_than_the_chips_own_mapping(
    row: dict[str, str], overrides: dict[str, Any]
) -> None:
    """The printed table, and the file of what the chip must have run."""
    layer = acc.load_workload("alexnet").select([row["layer"].lower()])
    for objective in ("energy", "edp"):
        assert never_worse(
            layer, [published(row), "eyeriss_alexnet"], objective, overrides, batch=4
        ).certificate.proved


@pytest.mark.parametrize("overrides", [{}, CHIPS], ids=["eyeriss", "as the chip counts"])
@pytest.mark.parametrize(
    ("objective", "tiles"),
    [
        ("energy", "divisors"),
        *(pytest.param(x, "even", marks=pytest.mark.slow) for x in ("energy", "edp")),
    ],
)
def test_never_worse_than_the_chips_own_conv1(
    objective: str, tiles: str, overrides: dict[str, Any]
) -> None:
    """Its 55 rows in strips of 7 do not divide: its own space is that of even tiles.  For energy
    divisors do as well.
    """
    layer = acc.load_workload("alexnet").select(["conv1"])
    best = never_worse(
        layer, [published(CHIP[0]), "eyeriss_alexnet"], objective, overrides, batch=4, tiles=tiles
    )
    assert best.certificate.proved


VGG = [x.name for x in acc.load_workload("vgg16").layers if x.name.startswith("conv")]


@pytest.mark.slow
@pytest.mark.parametrize("name", VGG)
def test_never_worse_than_the_chips_own_vgg16(name: str) -> None:
    layer = acc.load_workload("vgg16").select([name])
    for objective in ("energy", "edp"):
        never_worse(layer, ["eyeriss_vgg16"], objective, CHIPS, batch=3, tiles="even", limit=60)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv4", "conv5"])
@pytest.mark.parametrize("objective", ["energy", "edp"])
def test_all_integers_of_alexnet_are_proved(layer: str, objective: str) -> None:
    start = process_time()
    best = acc.map_layer(
        acc.load_workload("alexnet").select([layer]),
        "eyeriss",
        "rs",
        objective=objective,
        tiles="all",
    )
    assert best.certificate.left == 0, str(best.certificate)
    assert best.certificate.gap <= (0.0 if objective == "energy" else 0.04), str(best.certificate)
    assert process_time() - start < 300  # one process; wall time is the machine's


# -- Timeloop --------------------------------------------------------------------------------------

DIM = {"N": "N", "M": "M", "C": "C", "Q": "E", "P": "F", "S": "R", "R": "S"}  # theirs: ours
LEVELS = ("DRAM", "shared_glb", "ifmap_spad", "weights_spad", "psum_spad")
SHAPES = {  # M, C, E, R, stride, H
    "alexnet_conv1": (64, 3, 55, 11, 4, 227),
    "alexnet_conv2": (192, 64, 27, 5, 1, 31),
    "alexnet_conv3": (384, 192, 13, 3, 1, 15),
    "alexnet_conv4": (256, 384, 13, 3, 1, 15),
    "alexnet_conv5": (256, 256, 13, 3, 1, 15),
}
MACHINE = acc.load_architecture(REFERENCE / "timeloop_eyeriss.yaml")
KEPT = tuple(
    frozenset(x)
    for x in (("weight", "ifmap", "ofmap"), ("ifmap", "ofmap"), ("ifmap",), ("weight",), ("ofmap",))
)
# What that machine's own file allows (eyeriss_like/arch.yaml of timeloop-accelergy-exercises): M
# and Q over columns, M, C and S over rows, in the PE nothing at the ifmap's store, C and R at the
# weights', M at the sums'.  Theirs are R for S and S for R.
ALLOWED = any_dataflow.Allowed(
    (KEPT,),
    {(1, "col"): "ME", (1, "row"): "MCR", (2, "none"): "", (3, "none"): "CS", (4, "none"): "M"},
)


def timeloop_problem(layer: str) -> Problem:
    m, c, e, r, stride, side = SHAPES[layer]
    return Problem(N=1, G=1, M=m, C=c, E=e, F=e, R=r, S=r, H=side, W=side, stride=(stride, stride))


def timeloop_loops(text: str, size: dict[str, int]) -> list[tuple[str, int, str, str]]:
    """(dimension, tile, level, axis) of a mapping as Timeloop prints it, outermost first."""
    found, level = [], "DRAM"
    for part in text.split(" / "):
        if (named := re.match(r"(\w+) \[", part.strip("| "))) is not None:
            level = named[1]
        elif (
            loop := re.search(r"for (\w) in \[0:(\d+)\)(?: \(Spatial-(\w)\))?", part)
        ) is not None:
            axis = {"X": "col", "Y": "row", None: "none"}[loop[3]]
            home = "shared_glb" if level.startswith("inter_PE") else level
            found.append((DIM[loop[1]], int(loop[2]), home, axis))
    left, cut = dict(size), []
    for dim, trips, level, axis in found:
        left[dim] //= trips
        cut.append((dim, left[dim], level, axis))
    return cut


def timeloop_mapping(row: dict[str, str], problem: Problem) -> Mapping:
    loops = [
        f"{d}:{t}:{level}" + ("" if a == "none" else f":{a}")
        for d, t, level, a in timeloop_loops(row["mapping"], problem.size)
    ]
    keep: dict[str, Any] = {
        "DRAM": ("weight", "ifmap", "ofmap"),
        "shared_glb": ("ifmap", "ofmap"),
        "ifmap_spad": ("ifmap",),
        "weights_spad": ("weight",),
        "psum_spad": ("ofmap",),
    }
    return acc.Mapping(loops=" ".join(loops), keep=keep)  # type: ignore[arg-type]


def theirs(layer: str, problem: Problem) -> list[dict[str, float]]:
    """What each of their mappings of a layer takes on that machine, as we count."""
    found = []
    for row in rows_of("timeloop_mapper.csv"):
        if row["layer"] == layer:
            mapping = timeloop_mapping(row, problem)
            for x in mapping.loops:
                assert x.dim in ALLOWED.loops.get(
                    (MACHINE.level_names.index(x.level), x.axis), x.dim
                )
            nest = Nest(problem, MACHINE, mapping)
            moves, cycles = analytic.moves(nest), array_time(nest).cycles
            found.append(
                {
                    "energy": moved.energy(nest, moves, problem.macs, 0.0)["energy_pj"],
                    "cycles": cycles,
                }
            )
    return found


def test_what_a_machine_allows_is_kept_to() -> None:
    problem, goal = (
        Problem(N=1, G=1, M=4, C=2, E=4, F=1, R=3, S=1, H=6, W=1),
        Objective.parse("energy"),
    )
    state, tally, whole, _ = any_dataflow.search(problem, MACHINE, goal, None, None, ALLOWED)
    assert (
        state.best is not None
        and state.rest > 0.8 * state.value
        and tally.evaluated + tally.bound <= whole
    )
    mapping = state.best.skeleton.mapping_with(state.best.tiles)
    Nest(problem, MACHINE, mapping)
    assert state.best.skeleton.keep == KEPT
    assert all(
        x.dim in ALLOWED.loops.get((MACHINE.level_names.index(x.level), x.axis), x.dim)
        for x in mapping.loops
    )


@pytest.mark.slow
@pytest.mark.parametrize("layer", SHAPES)
def test_never_worse_than_timeloop(layer: str) -> None:
    """Within what that machine allows; their four mappings a layer took it up to a minute each."""
    problem = timeloop_problem(layer)
    rows = theirs(layer, problem)
    assert len(rows) == 4
    for text in ("energy", "edp"):
        goal = Objective.parse(text)
        state, *_ = any_dataflow.search(problem, MACHINE, goal, None, None, ALLOWED)
        assert state.best is not None
        nest = Nest(problem, MACHINE, state.best.skeleton.mapping_with(state.best.tiles))
        ours = {
            "energy": moved.energy(nest, analytic.moves(nest), problem.macs, 0.0)["energy_pj"],
            "cycles": array_time(nest).cycles,
        }
        assert float(goal.of(ours)) == pytest.approx(
            state.value, rel=1e-8
        )  # conv2: 1.5e-9, sums of signed products in float64
        for x in rows:
            assert float(goal.of(ours)) <= float(goal.of(x)) * (1 + 1e-9), (
                f"{text}: {goal.of(ours) / goal.of(x) - 1:+.2%}"
            )
        assert state.rest >= 0.9 * state.value
