"""What a buffer holds, and when: weights, ifmap words and sums of a timed run.

The SRAM of the run above, tensor upon tensor: it fills ahead of the array, and sums leave at the
end.
"""

import accelsim as acc
from accelsim.view.gantt import occupancy

result = acc.simulate(
    "lenet5", arch="systolic", dataflow="ws", layers=["conv2"], engine="event", timeline=True
)
occupancy(result.rows[0].timing.occupancy.to_frame(), "LeNet-5 conv2, ws").savefig("occupancy.png")
