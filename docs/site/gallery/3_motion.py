"""The array in motion: LeNet-5's second layer, weight- and output-stationary side by side.

Every register of every PE, cycle by cycle. The file needs nothing but a browser.
"""

import accelsim as acc

acc.animate("lenet5", layer="conv2", arch="systolic", dataflow="ws,os", cycles=300).save(
    "motion.html"
)
