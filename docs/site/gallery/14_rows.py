"""Row-stationary in motion: AlexNet's third layer on Eyeriss.

Weights are shared along rows, ifmap words along diagonals, sums add up down the columns.
"""

import accelsim as acc

acc.animate("alexnet", layer="conv3", arch="eyeriss", dataflow="rs", cycles=120).save("rows.html")
