"""Roofline: what the DRAM port lets each layer reach.

Fully connected layers use each weight once; no dataflow helps them but a larger batch.
"""

import accelsim as acc

result = acc.simulate("alexnet", arch="eyeriss", dataflow="rs", batch=4)
result.plot.roofline().savefig("roofline.png")
