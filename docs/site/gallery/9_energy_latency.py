"""Which design: energy against latency of many arrays.

Each point is a machine and a dataflow; on the line stand those that no other is better than.
"""

import accelsim as acc
from accelsim.view import sweeps

grid = {"array.rows": [4, 8, 16, 32], "array.cols": [4, 8, 16, 32]}
frame = acc.sweep("lenet5", "systolic", grid, dataflows=["ws", "os"], total=True, jobs=1)
sweeps.energy_latency(frame).savefig("energy_latency.png")
