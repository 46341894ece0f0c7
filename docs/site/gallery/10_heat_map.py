"""Two axes of a sweep: cycles by rows and columns.

An array that is too wide for the layers is no faster than a narrow one.
"""

import accelsim as acc
from accelsim.view import sweeps

grid = {"array.rows": [4, 8, 16, 32], "array.cols": [4, 8, 16, 32]}
frame = acc.sweep("lenet5", "systolic", grid, dataflows=["ws"], total=True, jobs=1)
sweeps.heat_map(frame, value="cycles").savefig("heat_map.png")
