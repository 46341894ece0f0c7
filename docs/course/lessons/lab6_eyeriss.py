# %% [markdown]
# # Lab 6: Eyeriss
#
# **Goals.** Lay a convolution's rows on the array as the chip does; say in words why words move as
# they do; compare the model's time with the chip's. **Time** 110 minutes. **Reading** Chen,
# Krishna,
# Emer, Sze, *Eyeriss*, JSSC 2017; the page on row-stationary.
#
# The chip has 12 x 14 PEs with scratchpads and 108 KB of global buffer and runs row-stationary.

# %%
import check
from pictures import arrays

import accelsim as acc

student = ""  # your number

# %% [markdown]
# ## Why rows slide diagonally
#
# One ofmap row e is a sum over the filter rows r: filter row r slid over ifmap row e + r. Give that
# pair of rows to PE (r, e). Then
#
# - filter row r is the same along a **row** of PEs: one word is sent to all of them at once;
# - ifmap row e + r is the same wherever r + e is: along a **diagonal**;
# - ofmap row e is the same along a **column**: its psums are added from PE to PE, down it.
#
# Each PE slides its filter row over its ifmap row by itself, a one-dimensional convolution, with
# both rows in its scratchpad. So each word that is fetched is used many times, of all three kinds.

# %%
arrays.row_stationary(3, 4)

# %% [markdown]
# With stride 2 the row is 2 e + r, the diagonal is steeper, and fewer PEs share a row.

# %%
arrays.row_stationary(3, 4, stride=2)

# %% [markdown]
# ## The chip's own mappings

# %%
chip = acc.simulate(
    "alexnet", "eyeriss", mapping="eyeriss_alexnet", batch=4,
    layers=["conv1", "conv2", "conv3", "conv4", "conv5"],
)  # fmt: skip
chip.to_frame()[["layer", "macs", "cycles", "stall_dram_cycles", "utilization"]]

# %% [markdown]
# ## The same chip under other dataflows

# %%
other = acc.simulate("alexnet", "eyeriss", "rs,ws,os", layers=["conv3"], batch=4, tiles="rule")
other.plot.energy()

# %% [markdown]
# To see the words move: `accelsim animate alexnet --layer conv3 --arch eyeriss --dataflow rs`.
#
# ## Questions

# %%
check.show("lab6", student)

# %%
answers = {f"6.{k}": None for k in range(1, 7)}
check.check("lab6", answers, student)
