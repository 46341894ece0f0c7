"""Why: one layer explained.

Cycles as a waterfall from the ideal, energy beside the least it can be, and the numbers of the
machine that would help.
"""

import accelsim as acc

result = acc.simulate("alexnet", arch="eyeriss", dataflow="ws", layers=["conv3"])
result.explain().layers[0].figure().savefig("why.png")
