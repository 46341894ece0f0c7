"""What moving every word costs: VGG-16's convolutions, batch 1, through the event engine with
counting and checking, against the fast golden model alone.  All in one run; prints a table of
ratios.

golden   ``golden.accumulate``, for each layer the best of 3
event    ``event.run``, once
checked  that, its columns of counts, the golden outputs worked out once more, and their comparison:
         what the ratio takes
+ counts that, the analytic counts and their comparison with the event's: all that ``--check`` does
         with given data
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import accelsim as acc
from accelsim.engines import analytic, event, golden
from accelsim.engines.moved import columns
from accelsim.results import check
from accelsim.workload.arithmetic import random_data

LIMITS = {
    ("tpu_v1", "ws"): 3.0,
    ("eyeriss", "rs"): 3.0,
    ("eyeriss", "ws"): 4.0,
    ("eyeriss", "os"): 4.0,
}
LAYERS = [x for x in acc.load_workload("vgg16").layers if x.name.startswith("conv")]


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def layer_times(layer: Any, machine: Any, flow: Any) -> tuple[float, float, float, float, int]:
    """Seconds of golden, event, checked and + counts, as in the module's text; and how many passes
    there were.
    """
    problem = layer.problem()
    psum = machine.number("psum")
    data = random_data(problem, *(machine.number(k) for k in ("weight", "ifmap", "ofmap")), psum, 0)
    nest = acc.Nest(problem, machine, acc.choose(problem, machine, flow))
    alone = min(seconds(lambda: golden.accumulate(problem, data, psum))[0] for _ in range(3))

    engine, run = seconds(lambda: event.run(nest, data))
    counting, counted = seconds(lambda: columns(nest, run.moves))
    checking, wrong = seconds(
        lambda: check.outputs(problem, golden.accumulate(problem, data, psum), run.outputs)
    )
    closed, differ = seconds(lambda: check.counts(columns(nest, analytic.moves(nest)), counted))
    assert wrong is None and differ is None and run.macs == problem.macs
    checked = engine + counting + checking
    return alone, engine, checked, checked + closed, len(run.folds)


@pytest.fixture(scope="module")
def warm() -> None:
    """Threads and caches of BLAS are up before anything is timed."""
    a = np.random.default_rng(0).random((2000, 2000))
    seconds(lambda: a @ a)


@pytest.mark.parametrize(("arch", "flow"), LIMITS, ids=["-".join(k) for k in LIMITS])
def test_event_against_golden(arch, flow, warm, capsys):
    machine, dataflow, limit = (
        acc.load_architecture(arch),
        acc.load_dataflow(flow),
        LIMITS[arch, flow],
    )
    lines = []
    total = np.zeros(4)
    passes = 0
    for layer in LAYERS:
        *times, n = layer_times(layer, machine, dataflow)
        total += times
        passes += n
        lines.append((layer.name, *times, n))
    lines.append(("total", *total, passes))
    ratio, whole = total[2] / total[0], total[3] / total[0]
    with capsys.disabled():
        print(
            f"\n\nVGG-16 conv, batch 1, {arch} {flow}: event with counting and checking against "
            "golden alone"
        )
        print(
            f"{'layer':8} {'golden s':>9} {'event s':>9} {'checked s':>9} {'+ counts s':>10} "
            f"{'ratio':>7} {'passes':>7}"
        )
        for name, alone, engine, checked, everything, n in lines:
            print(
                f"{name:8} {alone:9.3f} {engine:9.3f} {checked:9.3f} {everything:10.3f} "
                f"{checked / alone:7.2f} {n:7}"
            )
        print(
            f"ratio {ratio:.2f}"
            + ("" if limit is None else f", at most {limit:g} asked for")
            + f"; {whole:.2f} with + counts"
        )
    assert limit is None or ratio <= limit
