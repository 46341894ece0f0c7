"""Public functions check what they are given, once, and in one way: wrong types and values are one
line of a documented error, and leave nothing behind that the next call would meet.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import accelsim as acc

LAYER = acc.Conv2d(name="conv", M=4, C=3, H=8, W=8, R=3, S=3, padding=1)
TINY = acc.Conv2d(name="tiny", M=2, C=1, H=4, W=4, R=3, S=3)
PROBLEM, ARCH = LAYER.problem(), acc.load_architecture("eyeriss")
FLOW = acc.load_dataflow("ws")
MAPPING = acc.choose(PROBLEM, ARCH, FLOW)
FRAME = pd.DataFrame({"cycles": [1, 2, 3], "energy_pj": [3.0, 2.0, 2.5], "layer": ["a", "b", "c"]})
ERRORS = (acc.InputError, acc.MappingError, acc.StoreError, acc.SweepError, ValueError)

WRONG: list[Any] = [
    None, True, False, 0, 1, -1, 3, 10**30, 1.0, 1.5, float("nan"), float("inf"), np.int64(1),
    np.float64(1), np.bool_(True), np.array([1, 2]), np.array(1), "", "conv1", "no such", "a,b",
    "x" * 300, "\0", "\ud800", "no/such/file.yaml", b"ws", [], ["systolic"], [1], [[]], (), (None,),
    {}, {"array.rows": 4}, {1: 2}, {"array.rows": [4, 5]}, {"array.rows": None}, {"no.key": 1},
    set(), {"ws"}, range(3), object(), int, len, Path("no/such"), Path("."), LAYER, [LAYER, 1],
    PROBLEM, ARCH, FLOW, MAPPING, FRAME, Exception("x"), 1j, slice(1),
]  # fmt: skip

Call = tuple[Callable[..., Any], dict[str, Any]]
TOGETHER = {"engine": "event", "timeline": True}


def calls(folder: Path) -> dict[str, Call]:
    """A right call of every public function, and the arguments that are made wrong: all of them."""
    swept: dict[str, Any] = {
        "workload": TINY, "arch": "systolic", "grid": {"array.rows": [2, 3]}, "points": None,
        "zipped": None, "constraints": (), "dataflows": "ws", "mapping": None, "mapper": None,
        "tiles": "divisors", "limit": None, "engine": "analytic", "direction": "forward",
        "batch": None, "store": None, "seed": 0, "name": "sweep",
    }  # fmt: skip
    simulated: dict[str, Any] = {
        "workload": LAYER, "arch": "eyeriss", "dataflow": "rs", "mapping": None, "mapper": None,
        "limit": None, "engine": "analytic", "layers": ["conv"], "batch": 1,
        "direction": "forward", "overrides": {}, "check": False, "seed": 0, "timeline": False,
        "sample_folds": False, "end_to_end": False, "fuse_buffers": False, "data": None,
        "weights": None, "processes": 1, "progress": None,
    }  # fmt: skip
    mapped: dict[str, Any] = {
        "arch": "systolic", "dataflow": "ws", "objective": "edp", "tiles": "divisors",
        "limit": None, "batch": None, "direction": "forward", "overrides": None, "check": False,
        "progress": None,
    }  # fmt: skip
    store = folder / "store.sqlite"
    if not store.exists():
        acc.sweep(TINY, "systolic", dataflows="ws", store=store, jobs=1)
    study = folder / "study.yaml"
    study.write_text("workload: lenet5\narch: systolic\ndataflows: ws\n", encoding="utf-8")
    return {
        "simulate": (acc.simulate, simulated),
        "sweep": (acc.sweep, swept | {"sample": None, "objective": None, "total": False, "jobs": 1,
                  "pool": None, "on_error": "record", "progress": False}),
        "search": (acc.search, swept | {"layers": ["tiny"], "objective": "edp", "trials": 1,
                   "jobs": 1, "pool": None, "progress": False}),
        "study": (acc.Study, swept | {"sample": None, "objective": None, "layers": (),
                  "total": False, "description": ""}),
        "map_layer": (acc.map_layer, {"layer": TINY} | mapped),
        "map_network": (acc.map_network, {"workload": TINY, "layers": (), "processes": 1} | mapped),
        "train_step": (acc.train_step, {"network": "no such", "images": None, "targets": None,
                       "arch": "eyeriss", "dataflow": "ws", "mapping": None, "engine": "analytic",
                       "weights": None, "loss": "cross_entropy", "rate": 0.01, "bits": 8,
                       "batch": None, "seed": 0, "overrides": None, "progress": None}),
        "animate": (acc.animate, {"workload": TINY, "arch": "systolic", "dataflow": "ws",
                    "layer": None, "mapping": None, "overrides": None, "batch": None,
                    "direction": "forward", "seed": 0, "first": 1, "cycles": 20,
                    "numbers": "small"}),
        "compare": (acc.compare, {"a": FRAME, "b": FRAME, "columns": ["cycles"], "on": ["layer"],
                    "how": "inner"}),
        "pareto": (acc.pareto, {"frame": FRAME, "columns": ["cycles", "energy_pj"],
                   "maximize": ()}),
        "sensitivity": (acc.sensitivity, {"frame": FRAME, "column": "cycles", "keys": ["layer"]}),
        "read_store": (acc.read_store, {"store": store, "where": None, "columns": None,
                       "study": None, "total": False}),
        "load_study": (acc.load_study, {"path": study}),
        "from_torch": (acc.from_torch, {"module": None, "example_input": None, "name": "",
                       "dims": None}),
        "load_workload": (acc.load_workload, {"source": "lenet5"}),
        "load_architecture": (acc.load_architecture, {"arch": "eyeriss", "overrides": None,
                              "text": False}),
        "load_dataflow": (acc.load_dataflow, {"dataflow": "ws"}),
        "load_mapping": (acc.load_mapping, {"mapping": MAPPING}),
        "choose": (acc.choose, {"problem": PROBLEM, "arch": ARCH, "dataflow": FLOW}),
        "nest": (acc.Nest, {"problem": PROBLEM, "arch": ARCH, "mapping": MAPPING}),
        "problem": (acc.Problem, {"N": 1, "G": 1, "M": 2, "C": 1, "E": 2, "F": 2, "R": 3, "S": 3,
                    "H": 4, "W": 4, "stride": (1, 1), "dilation": (1, 1),
                    "padding": (0, 0, 0, 0), "bias": False, "flip": False,
                    "direction": "forward"}),
        "conv2d": (acc.Conv2d, {"name": "a", "M": 1, "C": 1, "H": 4, "W": 4, "R": 3, "S": 3,
                   "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": False, "N": 1,
                   "flip": False}),
        "conv_transpose": (acc.ConvTranspose2d, {"M": 1, "C": 1, "H": 4, "W": 4, "R": 3, "S": 3,
                           "stride": 1, "padding": 0, "dilation": 1, "extra": 0}),
        "linear": (acc.Linear, {"M": 1, "C": 1, "H": 1, "W": 1, "bias": False, "N": 1}),
        "gemm": (acc.Gemm, {"m": 1, "n": 1, "k": 1, "bias": False}),
        "matmul": (acc.MatMul, {"m": 1, "n": 1, "k": 1, "products": 1}),
        "loop": (acc.Loop, {"dim": "M", "tile": 1, "level": "dram", "axis": "none"}),
        "mapping": (acc.Mapping, {"loops": MAPPING.loops, "keep": MAPPING.keep,
                    "fused": MAPPING.fused}),
        "dataflow": (acc.Dataflow, FLOW.model_dump()),
        "workload": (acc.Workload, {"name": "w", "layers": (LAYER,), "description": ""}),
        "architecture": (acc.Architecture, ARCH.model_dump()),
    }  # fmt: skip


def row() -> dict[str, Any]:
    return dict(acc.simulate(LAYER, "eyeriss", "rs", batch=1).rows[0].columns)


RIGHT = row()


def wrong_call(name: str, call: Call, draw: random.Random) -> str | None:
    """One or two arguments made wrong: what came of it that should not have, or None."""
    function, right = call
    wrong = {
        key: draw.choice(WRONG)
        for key in draw.sample(sorted(right), min(draw.choice((1, 1, 2)), len(right)))
    }
    try:
        function(**{**right, **wrong})
    except ERRORS as error:
        text = str(error)
        if len(text.splitlines()) != 1 or type(error).__module__.startswith("pydantic"):
            return f"{name} {wrong!r}: {type(error).__name__} {text[:300]!r}"
    except Exception as error:
        return f"{name} {wrong!r}: {type(error).__name__} {str(error)[:200]!r}"
    return None


@pytest.mark.parametrize(
    ("seed", "each"), [(1, 12), *[pytest.param(s, 70, marks=pytest.mark.slow) for s in (2, 3)]]
)
def test_wrong_arguments_are_one_line(seed: int, each: int, tmp_path: Path) -> None:
    """And the right call afterwards gives the right row."""
    every, faults = calls(tmp_path), []
    for name, call in every.items():
        draw = random.Random(f"{seed} {name}")
        faults += [wrong_call(name, call, draw) for _ in range(each)]
        assert row() == RIGHT, name
    assert not [fault for fault in faults if fault]


def test_every_public_function_is_called(tmp_path: Path) -> None:
    functions = {function for function, _ in calls(tmp_path).values()}
    listed = {acc.workloads, acc.architectures, acc.dataflows, acc.mappings}  # take nothing
    made = {acc.Result, acc.Animation}  # by the program only
    for name in acc.__all__:
        thing = getattr(acc, name)
        if callable(thing) and not (isinstance(thing, type) and issubclass(thing, Exception)):
            assert thing in functions | listed | made, name
