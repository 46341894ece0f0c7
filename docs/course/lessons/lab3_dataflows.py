# %% [markdown]
# # Lab 3: three dataflows by hand
#
# **Goals.** Follow every word of a small systolic array, edge by edge; predict times from the skew;
# write a dataflow of your own. **Time** 120 minutes. **Reading** H. T. Kung, *Why systolic
# architectures?*, 1982; the page on skew.
#
# A matrix product: 3 filters (M) over 3 inputs (K) on 5 pixels (X), 45 MACs, on 3 x 3 PEs with one
# register each. Rows and columns count from 0. Edge 1 latches the first word at PE (0, 0); row i is
# fed i edges after row 0, column j j edges after column 0.
#
# - **ws**, weights stay: K over rows, M over columns; pixels stream along the rows, sums travel
# down.
#   Weights shift in from the top first, a row an edge.
# - **os**, sums stay: X over rows, M over columns; ifmap along the rows, weights down the columns.
#   5 pixels on 3 rows are two folds, of 3 and of 2 pixels, without a gap between.
# - **is**, ifmap words stay: K over rows, X over columns.
#
# Draw the array of each on paper first. Then compare.

# %%
import check
import trials
from pictures import arrays

student = ""  # your number

# %% [markdown]
# ## The array at four edges
#
# A word has one colour in all four pictures of a dataflow. What stays? What moves right, what down?

# %%
arrays.snapshots(("ws", "os"))

# %% [markdown]
# ## The skew
#
# A line a PE, a column an edge; coloured where the PE multiplies. Row i begins i edges after row 0,
# column j j edges after column 0: the steps are the skew, and it has to run out at the end.

# %%
arrays.skew(("ws", "os"))

# %% [markdown]
# ## The film
#
# The next cell writes `lab3_film.html`, which plays ws, os and is side by side; open it in a
# browser. From a shell: `python check.py lab3 --film`.

# %%
print(*trials.films([]))

# %% [markdown]
# ## Questions

# %%
check.show("lab3", student)

# %%
answers = {
    "3.1": None,
    "3.2": None,
    "3.3": None,
    "3.4": None,
    "3.5": None,
    "3.6": None,
    "3.7": None,
}
check.check("lab3", answers | {"3.8": None}, student, "answers")
