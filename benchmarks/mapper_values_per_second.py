"""Objective values a second in the mapper's search: AlexNet CONV2 of batch 4 on Eyeriss,
row-stationary, divisors, one core.

Only mappings whose objective was computed and compared are counted, against all CPU time of the
search: bounds, clusters and legality included, tables apart.  Run: python
benchmarks/mapper_values_per_second.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core

import time

import accelsim as acc
from accelsim.mapper.layer_search import spread
from accelsim.mapper.objective import Objective
from accelsim.mapper.search import Search
from accelsim.mapper.space import under

# The memory's timing off and on: with ports, cycles are the largest of several forms, each a matrix
# product of its own.
UNTIMED = {
    "levels.dram.port_bits": None,
    "levels.dram.port_clock_mhz": None,
    "networks.noc.width_bits": None,
    "networks.link.width_bits": None,
}


def main() -> None:
    problem = acc.load_workload("alexnet").select(["conv2"]).layers[0].problem(4)
    flow = acc.load_dataflow("rs")
    for label, overrides in (("array alone", UNTIMED), ("as shipped", {})):
        skeleton = under(problem, acc.load_architecture("eyeriss", overrides), flow)
        for text in ("energy", "edp"):
            goal = Objective.parse(text)
            start = time.process_time()
            tally, tables, space = spread(skeleton, "divisors", goal.measures)
            ready = time.process_time() - start
            start = time.process_time()
            state = Search(tables, goal, tally).run()
            spent = time.process_time() - start
            print(
                f"{label}, {text}: {tally.evaluated / spent / 1e6:.0f} M values a second "
                f"({tally.evaluated:,} of a space of {space:,} in {spent:.2f} s, tables "
                f"{ready:.2f} s), proved {state.value:.6g}"
            )


if __name__ == "__main__":
    main()
