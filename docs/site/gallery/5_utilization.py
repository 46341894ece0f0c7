"""Utilization: how many PEs work, and how much of the time.

LeNet-5 is too small for most arrays; which of its layers fill one depends on the dataflow.
"""

import accelsim as acc

result = acc.simulate("lenet5", arch="systolic", dataflow="ws,os,is")
result.plot.utilization().savefig("utilization.png")
