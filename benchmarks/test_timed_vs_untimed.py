"""What time costs: AlexNet's convolutions on eyeriss rs, batch 4, real data, through the timed
event engine and through the untimed one, in one run on one core.

Prints CPU seconds of both and the memory of the process, which is this benchmark's own.

Run: python -m pytest benchmarks/test_timed_vs_untimed.py
"""

from __future__ import annotations

import resource
import time
from typing import Any

import accelsim as acc
from accelsim.engines import event
from accelsim.engines.event import pes, timed
from accelsim.workload.arithmetic import random_data

NUMBERS = ("weight", "ifmap", "ofmap", "psum")


def test_timed_takes_at_most_three_times_the_untimed_run(capsys: Any) -> None:
    """And at most 15 s and 2 GB."""
    arch, flow = acc.load_architecture("eyeriss"), acc.load_dataflow("rs")
    spent = {event.run: 0.0, timed.run: 0.0}
    for layer in acc.load_workload("alexnet").layers:
        if layer.name.startswith("conv"):
            problem = layer.problem(4)
            nest = acc.Nest(problem, arch, acc.choose(problem, arch, flow))
            numbers = [arch.number(k) for k in NUMBERS]
            data = random_data(problem, *numbers, 0)  # type: ignore[arg-type]
            for run in spent:
                pes._known.cache_clear()
                start = time.process_time()
                run(nest, data)
                spent[run] += time.process_time() - start
    untimed, with_time = spent.values()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    with capsys.disabled():
        print(f"\nuntimed {untimed:.2f} s, timed {with_time:.2f} s, {memory:.2f} GB")
    assert with_time < 3 * untimed
    assert with_time < 15
    assert memory < 2
