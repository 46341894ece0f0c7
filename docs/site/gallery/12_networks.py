"""Networks: parameters, MACs and operations per byte.

A disc a network; shapes and counts follow from the files, nothing is run.
"""

import accelsim as acc
from accelsim.view.network_discs import discs
from accelsim.workload.profile import profile

names = ["lenet5", "alexnet", "squeezenet", "vgg16", "resnet18", "resnet50", "mobilenet_v1"]
discs([profile(acc.load_workload(name)) for name in names]).savefig("networks.png")
