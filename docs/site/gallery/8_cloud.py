"""The space of mappings: energy against cycles of random legal tiles.

The line is the front, the square the fixed rule. Most tiles are far from the best ones.
"""

import accelsim as acc
from accelsim.explore.cloud import cloud
from accelsim.view.space_picture import space

layer = acc.Conv2d(name="layer", M=32, C=16, H=28, W=28, R=3, S=3, padding=1)
space(cloud(layer, "systolic", "ws", points=1500)).savefig("cloud.png")
