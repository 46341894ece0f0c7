# %% [markdown]
# # Lab 1: counting
#
# **Goals.** Work out the shape of an ofmap; count MACs and parameters; say how often a weight is
# used and what that means for a layer's speed. **Time** 75 minutes. **Reading** Sze, Chen, Yang,
# Emer, *Efficient Processing of Deep Neural Networks*, chapter 2.
#
# A convolution layer has M filters of C x R x S words that slide over C x H x W words of ifmap and
# make M x E x F words of ofmap.

# %%
import check
from pictures import sliding

import accelsim as acc
from accelsim.view.network_blocks import blocks
from accelsim.workload.profile import profile

student = check.number("lab1")
mine = check.numbers("lab1", student)


def layer(side: int, taps: int, **more: int) -> acc.Conv2d:
    return acc.Conv2d(M=1, C=1, H=side, W=side, R=taps, S=taps, **more)


# %% [markdown]
# ## The window slides
#
# The filter lies on R x S words; each place makes one word of the ofmap. With stride U it moves U
# words at a time, and `padding` puts zeros around the ifmap. So
#
#     E = floor((H + 2 pad - R) / U) + 1
#
# Change the numbers below and look.

# %%
sliding.windows(
    {"stride 1, no padding": layer(5, 3), "stride 2, padding 1": layer(5, 3, stride=2, padding=1)}
)

# %% [markdown]
# What if the stride does not fit? The last windows would hang over the edge, so there are none, and
# some words are never read.

# %%
sliding.windows(
    {"stride 3": layer(5, 3, stride=3), "stride 3, padding 2": layer(5, 3, stride=3, padding=2)}
)

# %% [markdown]
# ## Counting
#
# Every ofmap word is a sum of C x R x S products: that many multiply-accumulates (MACs). A small
# layer, all of its numbers:

# %%
small = acc.Conv2d(M=4, C=3, H=9, W=9, R=3, S=3, padding=1, bias=True)
p = small.problem()
print(f"ofmap {p.M} x {p.E} x {p.F}, {p.macs} MACs, {small.parameters} parameters")
print(f"each weight is used {p.macs // p.words('weight')} times")

# %% [markdown]
# And a whole network, layer by layer: most parameters lie in the fully connected layers, most MACs
# in the convolutions.

# %%
blocks(profile(acc.load_workload("lenet5")))

# %% [markdown]
# ## Questions
#
# Work them out by hand; a calculator is enough. Their numbers are those of your variant. The last
# one is answered in words.

# %%
check.show("lab1", student)

# %%
answers = {
    "1.1": None,
    "1.2": None,
    "1.3": None,
    "1.4": None,
    "1.5": None,
    "1.6": None,
    "1.7": None,
    "1.8": None,  # a dictionary: {"M": ..., "C": ..., ...}
}
right = check.check("lab1", answers, student)

# %% [markdown]
# ## Look: your layer
#
# The one of 1.1, counted by the program, and its windows along one axis: the last must lie inside.


# %%
def last_windows() -> str:
    """Where the filter of 1.1 lies, first and last, along an axis."""
    side, taps, stride = mine["ifmap_side"], mine["filter_side"], mine["stride"]
    rows = acc.Conv2d(M=mine["filters"], C=3, H=side, W=side, R=taps, S=taps, stride=stride)
    e = rows.problem().E
    begin = stride * (e - 1)
    return (
        f"{e} windows: words 0 to {taps - 1}, {stride} to {stride + taps - 1}, ..., {begin} to "
        f"{begin + taps - 1} of 0 to {side - 1}; {side - begin - taps} words are left over; "
        f"{rows.problem().macs} MACs"
    )


check.after(answers, "1.1 1.2", lambda: print(last_windows()))

# %% [markdown]
# What you answered here is copied into `answers/lab1.py`, which is what you hand in; 1.9 is
# answered there, in words.
#
# To read on, when your teacher has handed it out:
# the pages on the [sliding window](pages/sliding_window.md) and on [counting layer by
# layer](pages/layer_by_layer.md).
