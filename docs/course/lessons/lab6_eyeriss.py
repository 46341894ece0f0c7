# %% [markdown]
# # Lab 6: Eyeriss
#
# **Goals.** Lay a convolution's rows on the array as the chip does; say what a stride costs it;
# compare the model's time with the chip's. **Time** 110 minutes. **Reading** Chen, Krishna, Emer,
# Sze, *Eyeriss*, JSSC 2017.
#
# The chip has 12 x 14 PEs with scratchpads and 108 KB of global buffer and runs row-stationary.
# This lab builds on the last part of lab 3: PE (r, e) slides filter row r over one ifmap row and
# makes its part of ofmap row e. What is shown only after you have answered says so.

# %%
import check
from pictures import arrays

import accelsim as acc

student = check.number("lab6")

# %% [markdown]
# ## Rows with a stride
#
# Your grid of lab 3 had stride 1. Fill one with stride 2, for four ofmap rows.

# %%
arrays.rows_to_fill(3, 4)

# %%
check.show("lab6", student, "6.1 6.2")

# %%
answers = {
    "6.1": [
        # e = 0, e = 1, e = 2, e = 3
        [None, None, None, None],  # r = 0
        [None, None, None, None],  # r = 1
        [None, None, None, None],  # r = 2
    ],
    "6.2": None,  # a list of five
}
right = check.check("lab6", answers, student)

# %% [markdown]
# ## Look: the diagonal, steeper

# %%
check.after(answers, "6.1", lambda: arrays.row_stationary(3, 4))

# %%
check.after(answers, "6.1", lambda: arrays.row_stationary(3, 4, stride=2))

# %% [markdown]
# To see words move on the chip: `accelsim animate alexnet --layer conv3 --arch eyeriss --dataflow
# rs`.
#
# ## The same chip under other dataflows
#
# Which level takes the most energy? What do you expect, from lab 3?

# %%
check.show("lab6", student, "6.4 6.5")

# %%
answers |= {"6.4": None, "6.5": None}
right = check.check("lab6", {name: answers[name] for name in ("6.4", "6.5")}, student)


# %%
def other() -> object:
    """Energy of conv3 under four dataflows, by component."""
    flows = acc.simulate(
        "alexnet", "eyeriss", "rs,ws,os,nlr", layers=["conv3"], batch=4, tiles="rule"
    )
    return flows.plot.energy()


check.after(answers, "6.4 6.5", other)

# %% [markdown]
# ## The chip's own mappings, and more layers
#
# 6.3 and 6.6 are asked of `acc.simulate` with `tiles="rule"` as in the cell above, with other
# layers; 6.7 of the table below.

# %%
check.show("lab6", student, "6.3 6.6 6.7 6.8")


# %%
def chip() -> object:
    """The convolutions as the chip ran them."""
    rows = acc.simulate(
        "alexnet",
        "eyeriss",
        mapping="eyeriss_alexnet",
        batch=4,
        layers=["conv1", "conv2", "conv3", "conv4", "conv5"],
    ).to_frame()
    return rows[["layer", "macs", "active_pes", "cycles", "stall_dram_cycles", "utilization"]]


check.after(answers, "6.2", chip)

# %%
answers |= {"6.3": None, "6.6": None, "6.7": None}
right = check.check("lab6", {name: answers[name] for name in ("6.3", "6.6", "6.7")}, student)

# %% [markdown]
# What you answered here is copied into `answers/lab6.py`, which is what you hand in; 6.8 is
# answered there, in words.
#
# To read on, when your teacher has handed it out:
# the page on [row-stationary](pages/row_stationary.md).
