# %% [markdown]
# # Lab 2: loop nests and reuse
#
# **Goals.** Read a loop nest; count by hand how often a tile is fetched; choose loops that fetch
# nothing twice. **Time** 110 minutes. **Reading** Sze and others, chapter 5.
#
# A layer of 8 filters (M) over 4 channels (C), 3 x 3 (R, S), on 8 x 8 pixels padded by 1, so 8 x 8
# ofmap words (E, F), on 4 x 4 PEs with an SRAM of 1024 bytes: room for one set of tiles, which the
# next step's replace. Weights and ifmap words have 8 bits (a byte a word), psums 32.
#
# A loop is written `dim:tile:level`, outermost first: it cuts the dimension into pieces of `tile`
# that live below `level`. K is C, R, S as one dimension, X is N, E, F.

# %%
import check
import trials
from matplotlib.figure import Figure

student = check.number("lab2")
INNER = "K:4:sram K:1:sram:row M:1:sram:col X:1:reg"
WORKED = f"E:2:dram M:4:dram {INNER}"

# %% [markdown]
# ## A nest, worked through
#
# Read WORKED from the outside: the ofmap rows are cut in four quarters of 2, and for each of them
# the filters in two halves of 4. So there are eight steps, and each needs its tiles in the SRAM:
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
# A buffer holds the tiles of the step before, nothing older. What the step before had is still
# there and is not read again: rows 1 and 2 at step 3. What was there longer ago is not: the weights
# of filters 0-3. In all 8 ifmap rows of 8 x 4 words come once,
# 256 words, and the weights come with each of eight steps, 8 x 144 = 1152 words. A tile takes 144
# bytes of weights, up to 4 x 8 x 4 of ifmap and 4 x 16 psums of 4 bytes: 528 of 1024.
#
# Below is the same nest as the program prints it, with the tile that each level keeps
# (`parallel-for` lies side by side on the PEs), and what is read. Find the 256,
# the 1152 and the bytes of a tile. In the SRAM an ofmap word is a psum, of 4 bytes; when it is
# finished it goes to DRAM as 1 byte, so all 512 take 512 bytes there. Where loops at dram cut C, R
# or S, sums may have to go out before they are finished, and DRAM has room for psums: 2048 bytes.

# %%
print(trials.tried(WORKED))

# %% [markdown]
# From a shell the same is `python check.py lab2 --try "M:4:dram E:4:dram ..."`.
#
# Below, the table as a picture: which ifmap rows are in the SRAM at each step, and which are new? A
# box stands over the number of its row.


# %%
def rows_in_the_buffer(steps: list[range], title: str) -> Figure:
    """A line a step: rows that are read now in orange, rows that were there in blue."""
    figure = Figure(figsize=(5, 0.4 * len(steps) + 1.0), layout="constrained")
    axes = figure.subplots()
    before: set[int] = set()
    for k, rows in enumerate(steps):
        for row in rows:
            axes.barh(k, 0.9, left=row - 0.45, color="#56B4E9" if row in before else "#E69F00")
        before = set(rows)
    axes.set_xticks(range(8))
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
# N, M, C, E, F, R, S and the fused K and X may be cut, at `dram` or at `sram`, as often as you like
# and to smaller and smaller tiles; each order is another nest. What may lie on a row or a column of
# PEs is at most 4. Below, ofmap rows and columns and the channels are cut at dram, and the filters
# only inside the SRAM, so that its tile has all of them. It fits, but reads words again: which, and
# why?

# %%
print(trials.tried(f"E:2:dram F:4:dram C:2:dram M:4:sram {INNER}"))

# %% [markdown]
# Change the text and run the cell again. An error says what does not fit.

# %%
try:
    print(trials.tried(f"M:8:dram E:8:dram {INNER}"))
except ValueError as error:
    print("not legal:", error)

# %% [markdown]
# ## Questions
#
# Draw the picture above for A and for B before you answer: `rows_in_the_buffer` takes a range of
# rows for each step.

# %%
check.show("lab2", student)

# %%
answers = {
    "2.1": None,
    "2.2": None,
    "2.3": None,
    "2.4": None,
    "2.5": None,
    "2.6": None,
    "2.7": None,
    "2.8": None,  # the loops, as one text
}
right = check.check("lab2", answers, student)

# %% [markdown]
# ## When you have argued
#
# 2.9 is answered in words, in `answers/lab2.py`: argue first. Then try: the loops of the next cell
# run on 512 bytes, in place of 1024. How few words again can you come to, and was that your answer?

# %%
halved = None  # "E:2:dram M:4:dram " + INNER, say; with all filters in the SRAM, M:4:sram before it
if halved:
    print(trials.tried(halved, 512))

# %% [markdown]
# What you answered here is copied into `answers/lab2.py`, which is what you hand in.
#
# To read on, when your teacher has handed it out:
# the page on [reuse](pages/reuse.md).
