"""The mapper against mappings others published: the Eyeriss chip's of AlexNet, and what Timeloop's mapper found."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import pytest

import accelsim as acc
from accelsim.engines import analytic, counts
from accelsim.engines.array_time import array_time
from accelsim.explore.mapper import any_dataflow
from accelsim.explore.mapper.objective import Objective
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.mapping import Mapping
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import Problem

REFERENCE = Path(__file__).parent / "reference"
KEEP = {"dram": ("weight", "ifmap", "ofmap"), "glb": ("ifmap", "ofmap"), "spad": ("weight", "ifmap", "ofmap")}


def rows_of(name: str) -> list[dict[str, str]]:
    lines = [x for x in (REFERENCE / name).read_text().splitlines() if not x.startswith("#")]
    return list(csv.DictReader(lines))


def published(row: dict[str, str]) -> Mapping:
    """A line of JSSC 2017's table as loops (row_stationary.md): segments of the set, then t and r sets on rows, then on columns."""
    m, n, e, p, q, r, t, rs = (int(row[k]) for k in ("m", "n", "e", "p", "q", "r", "t", "RS"))
    loops = [f"G:1:dram M:{m}:dram N:{n}:dram E:{e}:dram C:{q * r}:dram M:{p * t}:glb N:1:glb F:1:glb"]
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


@pytest.mark.parametrize("row", [*CHIP[1:], pytest.param(CHIP[0], marks=pytest.mark.slow)], ids=lambda r: r["layer"])
def test_never_worse_than_the_chips_own_mapping(row: dict[str, str]) -> None:
    layer = acc.load_workload("alexnet").select([row["layer"].lower()])
    chip = acc.simulate(layer, "eyeriss", mapping=published(row), batch=4).rows[0].columns
    assert chip["cycles"] is not None, chip["error"]
    tiles = "even" if row["layer"] == "CONV1" else "divisors"  # the chip's 55 rows in strips of 7 do not divide
    for objective in ("energy", "edp"):
        best = acc.map_layer(layer, "eyeriss", "rs", objective=objective, batch=4, tiles=tiles)
        ours = best.result.rows[0].columns
        assert best.certificate.proved
        of = {"energy": lambda x: x["energy_mac"], "edp": lambda x: x["energy_mac"] * x["cycles"]}[objective]
        assert of(ours) <= of(chip), f"{of(ours) / of(chip) - 1:+.2%}"


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv4", "conv5"])
@pytest.mark.parametrize("objective", ["energy", "edp"])
def test_all_integers_of_alexnet_are_proved(layer: str, objective: str) -> None:
    start = process_time()
    best = acc.map_layer(acc.load_workload("alexnet").select([layer]), "eyeriss", "rs", objective=objective, tiles="all")
    assert best.certificate.proved and best.certificate.left == 0, str(best.certificate)
    assert process_time() - start < 300  # one process; wall time is the machine's


# -- Timeloop ---------------------------------------------------------------------------------------------------------

DIM = {"N": "N", "M": "M", "C": "C", "Q": "E", "P": "F", "S": "R", "R": "S"}  # theirs: ours
LEVELS = ("DRAM", "shared_glb", "ifmap_spad", "weights_spad", "psum_spad")
SHAPES = {"alexnet_conv3": (384, 192, 13, 3, 1, 15), "alexnet_conv5": (256, 256, 13, 3, 1, 15)}


def timeloop_machine() -> Architecture:
    """eyeriss_alexnet_conv3 of timeloop_cases.json: words and pJ an access (a row's, over its words).

    Its levels are sized in words, whatever is in them; a word is a byte here.
    """
    return Architecture.model_validate(
        {
            "name": "timeloop_eyeriss", "clock_mhz": 1.0, "array": {"rows": 12, "cols": 14},
            "levels": {
                "DRAM": {},
                "shared_glb": {"keeps": ["ifmap", "ofmap"], "capacity_bytes": 131072},
                "ifmap_spad": {"keeps": ["ifmap"], "capacity_bytes": 24},
                "weights_spad": {"keeps": ["weight"], "capacity_bytes": 384},
                "psum_spad": {"keeps": ["ofmap"], "capacity_bytes": 16},
            },
            "networks": {f"below_{n}": {"below": n} for n in LEVELS[:-1]},
            "bits": {"weight": 8, "ifmap": 8, "psum": 8, "ofmap": 8},
            "energy": {
                "unit": "pj", "mac": 0.207692,
                "levels": {"DRAM": 64.0, "shared_glb": (18.183829 + 14.137929) / 16, "ifmap_spad": (0.202442 + 0.176713) / 4,
                           "weights_spad": (1.976602 + 1.881657) / 4, "psum_spad": (0.2513 + 0.2191) / 2},
                "networks": {f"below_{n}": 0.0 for n in LEVELS[:-1]},
            },
        }
    )  # fmt: skip


def timeloop_problem(layer: str) -> Problem:
    m, c, e, r, stride, side = SHAPES[layer]
    return Problem(N=1, G=1, M=m, C=c, E=e, F=e, R=r, S=r, H=side, W=side, stride=(stride, stride))


def timeloop_loops(text: str, size: dict[str, int]) -> list[tuple[str, int, str, str]]:
    """(dimension, tile, level, axis) of a mapping as Timeloop prints it, outermost first."""
    found, level = [], "DRAM"
    for part in text.split(" / "):
        if (named := re.match(r"(\w+) \[", part.strip("| "))) is not None:
            level = named[1]
        elif (loop := re.search(r"for (\w) in \[0:(\d+)\)(?: \(Spatial-(\w)\))?", part)) is not None:
            axis = {"X": "col", "Y": "row", None: "none"}[loop[3]]
            home = "shared_glb" if level.startswith("inter_PE") else level
            found.append((DIM[loop[1]], int(loop[2]), home, axis))
    left, cut = dict(size), []
    for dim, trips, level, axis in found:
        left[dim] //= trips
        cut.append((dim, left[dim], level, axis))
    return cut


KEPT = tuple(frozenset(x) for x in (("weight", "ifmap", "ofmap"), ("ifmap", "ofmap"), ("ifmap",), ("weight",), ("ofmap",)))


def timeloop_mapping(row: dict[str, str], problem: Problem) -> Mapping:
    loops = [f"{d}:{t}:{level}" + ("" if a == "none" else f":{a}") for d, t, level, a in timeloop_loops(row["mapping"], problem.size)]
    keep: dict[str, Any] = {"DRAM": ("weight", "ifmap", "ofmap"), "shared_glb": ("ifmap", "ofmap"), "ifmap_spad": ("ifmap",),
                            "weights_spad": ("weight",), "psum_spad": ("ofmap",)}  # fmt: skip
    return acc.Mapping(loops=" ".join(loops), keep=keep)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("layer", SHAPES)
def test_never_worse_than_timeloop(layer: str) -> None:
    problem, machine = timeloop_problem(layer), timeloop_machine()
    theirs = []
    for row in rows_of("timeloop_mapper.csv"):
        if row["layer"] != layer:
            continue
        nest = Nest(problem, machine, timeloop_mapping(row, problem))
        moves, cycles = analytic.run(nest), array_time(nest).cycles
        energy = counts.energy(nest, moves, problem.macs, 0.0)["energy_pj"]
        theirs.append({"energy": energy, "cycles": cycles})
    assert theirs
    for text in ("energy", "edp"):
        goal = Objective.parse(text)
        state, *_ = any_dataflow.search(problem, machine, goal, monotonic() + 45, None, [KEPT])
        best = min(float(goal.of(x)) for x in theirs)
        assert state.value <= best * (1 + 1e-9), f"{text}: {state.value / best - 1:+.2%}"
