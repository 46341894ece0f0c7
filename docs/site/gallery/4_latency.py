"""Where the time goes: AlexNet's convolutions on Eyeriss, cycle by cause.

The array waits for whatever is narrow: under weight-stationary that is the one-word ifmap bus.
"""

import accelsim as acc

layers = ["conv1", "conv2", "conv3"]
result = acc.simulate("alexnet", arch="eyeriss", dataflow="rs,ws", layers=layers)
result.plot.latency().savefig("latency.png")
