# %% [markdown]
# # Lab 2: loop nests and reuse
#
# **Goals.** Read a loop nest; count by hand how often a tile is fetched; choose loops that fetch
# nothing twice. **Time** 110 minutes. **Reading** the page on reuse; Sze and others, chapter 5.
#
# A layer of 8 filters over 4 channels, 3 x 3, on 8 x 8 pixels padded by 1, on 4 x 4 PEs with an
# SRAM of 1024 bytes, room for one set of tiles. Weights and ifmap words have 8 bits, psums 32.
#
# A loop is written `dim:tile:level`: it cuts the dimension into pieces of `tile` that live below
# `level`. K is C, R, S as one dimension, X is N, E, F.

# %%
import check
import trials
from matplotlib.figure import Figure

INNER = "K:4:sram K:1:sram:row M:1:sram:col X:1:reg"
WORKED = f"E:2:dram M:4:dram {INNER}"

# %% [markdown]
# ## A nest, worked through
#
# Read WORKED from the outside: the ofmap rows are cut in four quarters of 2, and for each of them
# the
# filters in two halves of 4. So there are eight steps, and each needs its tiles in the SRAM:
#
# | step | ofmap rows | filters | ifmap rows it reads | read from DRAM now |
# |---|---|---|---|---|
# | 1 | 0-1 | 0-3 | 0-2 (and one of padding) | ifmap rows 0-2, weights of 0-3 |
# | 2 | 0-1 | 4-7 | 0-2 | weights of 4-7 |
# | 3 | 2-3 | 0-3 | 1-4 | ifmap rows 3-4, weights of 0-3 |
# | 4 | 2-3 | 4-7 | 1-4 | weights of 4-7 |
# | ... | | | | |
# | 8 | 6-7 | 4-7 | 5-7 | weights of 4-7 |
#
# What the step before had is still there and is not read again: rows 1 and 2 at step 3. What was
# there longer ago is not: the weights of filters 0-3. In all 8 ifmap rows of 8 x 4 words come once,
# 256 words, and the weights come with each of eight steps, 8 x 144 = 1152 words. A tile takes 144
# bytes of weights, up to 4 x 8 x 4 of ifmap and 4 x 16 psums of 4 bytes: 528 of 1024.
#
# Below is the same nest as the program prints it, with the tile that each level keeps, and what is
# read. Find these numbers in it.

# %%
print(trials.tried(WORKED))

# %% [markdown]
# From a shell the same is `python check.py lab2 --try "M:4:dram E:4:dram ..."`.
#
# Below, the table as a picture: which ifmap rows are in the SRAM at each step, and which are new?
# Draw the same for A and B of the questions before you answer them.


# %%
def rows_in_the_buffer(steps: list[range], title: str) -> Figure:
    """A line a step: rows that are read now in orange, rows that were there in blue."""
    figure = Figure(figsize=(5, 0.4 * len(steps) + 0.8))
    axes = figure.subplots()
    before: set[int] = set()
    for k, rows in enumerate(steps):
        for row in rows:
            axes.barh(k, 0.9, left=row, color="#56B4E9" if row in before else "#E69F00")
        before = set(rows)
    axes.set_yticks(range(len(steps)), [f"step {k + 1}" for k in range(len(steps))])
    axes.set_xlabel("ifmap row (orange: read from DRAM; blue: was there)")
    axes.set_title(title, loc="left")
    axes.invert_yaxis()
    return figure


WINDOWS = [range(3), range(1, 5), range(3, 7), range(5, 8)]
rows_in_the_buffer([rows for rows in WINDOWS for _ in range(2)], "WORKED")

# %% [markdown]
# ## Try loops
#
# Change the text and run the cell again. An error says what does not fit.

# %%
try:
    print(trials.tried(f"M:8:dram E:8:dram {INNER}"))
except ValueError as error:
    print("not legal:", error)

# %% [markdown]
# ## Questions

# %%
check.show("lab2")

# %%
answers = {
    "2.1": None,
    "2.2": None,
    "2.3": None,
    "2.4": None,
    "2.5": None,
    "2.6": None,
    "2.7": None,
}
check.check("lab2", answers | {"2.8": None})
