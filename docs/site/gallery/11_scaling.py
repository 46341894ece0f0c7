"""How far an array scales: speed against the number of PEs.

Twice the PEs are seldom twice the speed: memory and short layers do not grow along.
"""

import accelsim as acc
from accelsim.view import sweeps

grid = {"array.rows": [4, 8, 16, 32, 64]}
frame = acc.sweep("lenet5", "systolic", grid, dataflows=["ws", "os"], jobs=1)
sweeps.scaling(frame).savefig("scaling.png")
