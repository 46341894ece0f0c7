"""Where the energy goes: AlexNet on Eyeriss under three dataflows.

Row-stationary spends it in the scratchpads, next to the MACs; the others spend it on the way to
them.
"""

import accelsim as acc

layers = ["conv1", "conv2", "conv3"]
result = acc.simulate("alexnet", arch="eyeriss", dataflow="rs,ws,os", layers=layers, batch=4)
result.plot.energy().savefig("energy.png")
