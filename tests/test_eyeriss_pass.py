"""One processing pass of each AlexNet layer, as the chip ran it, on clocked registers: bits, counts
and cycles.
"""

from __future__ import annotations

import pytest

import accelsim as acc
from accelsim.engines import analytic, cycle, golden
from accelsim.engines.analytic.array_time import array_time
from accelsim.mapping.files import sources
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import random_data

# filters p t, channels q r and ofmap rows of a pass: JSSC 2017, table III (conv3 as measured)
PASSES = {
    "conv1": (32, 1, 7),
    "conv2": (16, 2, 27),
    "conv3": (32, 6, 13),
    "conv4": (32, 6, 13),
    "conv5": (32, 6, 13),
}
ACTIVE = {"conv1": 154, "conv2": 135, "conv3": 156, "conv4": 156, "conv5": 156}


@pytest.mark.parametrize("name", PASSES)
def test_one_pass(name):
    layer = next(x for x in acc.load_workload("alexnet").layers if x.name == name)
    whole = layer.problem(1)
    m, c, e = PASSES[name]
    stride = whole.stride[0] if isinstance(whole.stride, tuple) else whole.stride
    # the pass alone is a layer: its filters, channels and rows, of which it needs so many ifmap
    # rows; padding stands in the GLB
    size = {
        "H": (e - 1) * stride + whole.R,
        "W": (whole.F - 1) * stride + whole.S,
        "R": whole.R,
        "S": whole.S,
        "stride": stride,
    }
    one = acc.Conv2d(name=name, M=m, C=c, **size)
    problem, arch = one.problem(1), acc.load_architecture("eyeriss")
    nest = Nest(problem, arch, sources(None, "eyeriss_alexnet")[0].mapping_of(name, problem, arch))
    data = random_data(problem, *(arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), 5)
    run, time = cycle.run(nest, data), array_time(nest)
    assert (run.outputs == golden.accumulate(problem, data, arch.number("psum"))).all()
    assert (run.array_cycles, run.compute_cycles, run.active_pes) == (
        time.cycles,
        time.compute,
        time.active_pes,
    )
    assert run.active_pes == ACTIVE[name]
    assert run.compute_cycles == {"conv1": 9680, "conv2": 4320}.get(
        name, run.compute_cycles
    )  # as published per pass
    for b, moved in analytic.moves(nest).items():
        assert vars(run.moves[b]) == vars(moved), b
