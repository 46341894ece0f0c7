"""How large a buffer: energy by level as the SRAM grows.

A larger buffer is asked less often by DRAM, and costs more at each access.
"""

import accelsim as acc
from accelsim.view import sweeps

grid = {"levels.sram.capacity_bytes": [2**k for k in range(12, 18)]}
frame = acc.sweep("lenet5", "systolic", grid, dataflows=["ws"], total=True, jobs=1)
sweeps.energy_by_level(frame).savefig("buffer.png")
