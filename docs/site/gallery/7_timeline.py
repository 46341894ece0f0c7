"""Who was busy when: a layer on the timed event engine.

Array, ports and networks on one clock: fills go on while the array works.
"""

import accelsim as acc

result = acc.simulate(
    "lenet5", arch="systolic", dataflow="ws", layers=["conv2"], engine="event", timeline=True
)
result.plot.timeline().savefig("timeline.png")
