# %% [markdown]
# # Lab 3: three dataflows by hand, and rows
#
# **Goals.** Follow every word of a small systolic array, edge by edge; predict times from the skew;
# write a dataflow of your own; say why row-stationary's words move as they do, and what that saves.
# **Time** 135 minutes. **Reading** H. T. Kung, *Why systolic architectures?*, 1982.
#
# Your number, in `answers/lab3.py`, says how many pixels you have; everything below follows it.
# What is shown only after you have answered says so: predict first, then look. A wrong prediction
# costs nothing here.

# %%
import check
import trials
from pictures import arrays

student = check.number("lab3")
mine = check.numbers("lab3", student)

# %% [markdown]
# ## Words on an array
#
# A matrix product: M filters over K inputs on X pixels, on an array of PEs. Rows and columns count
# from 0. An *edge* is the end of a clock cycle, when registers latch: after edge 3 the registers
# hold what cycle 3 brought. A PE has a register for a word of each tensor and multiplies what
# arrives on the edge at which it latches it. Row i is fed i edges after row 0, column j j edges
# after column 0.
#
# - **ws**, weights stay: K over rows, M over columns; pixels stream along the rows, sums travel
#   down. Before that, weights shift in: edge 1 latches the first weight of column 0 in PE (0, 0);
#   at each edge the column's weights move one row down and the next enters. Column j's weights come
#   j edges later than column 0's.
# - **os**, sums stay: X over rows, M over columns; ifmap words stream along the rows, weights down
#   the columns. Pixels for which there are no rows are a further *fold*, without a gap between.
# - **is**, ifmap words stay: K over rows, X over columns; weights stream along the rows, filter
#   after filter, sums travel down. Pixels for which there are no columns are a further fold.
#
# What stays has a *second register* in each PE: there the next fold's words shift in while those of
# this fold are used.
#
# ## An example: 2 filters, 2 inputs, 3 pixels on 2 x 2 PEs
#
# `w10` is weight w[1,0], of filter 1 for input 0; `i02` is ifmap word i[0,2], of input 0 and pixel
# 2; `o12` is the sum of filter 1 for pixel 2. Weights are from pink to orange, ifmap words from
# teal to violet, sums from yellow to green, and a word has one colour in all of these arrays. A
# dashed word shifts in: it is not used yet. Grey PEs do not multiply.

# %%
arrays.snapshots(("ws", "os", "is"), edges=range(1, 6), pixels=3, side=2)

# %% [markdown]
# Under ws the weights of column 0 are in after edge 2, so PE (0, 0) multiplies first at edge 3, and
# PE (1, 1) two edges later. Follow w01 at edges 1 and 2, then i00, then the sum o00: what stays,
# what moves right, what down? And under os and is?
#
# Below, a line a PE, a column an edge, coloured where the PE multiplies, one colour for each i + j.
# The steps are the *skew*:
# PE (i, j) does what PE (0, 0) did i + j edges before, and all of it has to run out at the end.
# Find the two edges of shifting in, the three pixels and the two edges of skew in ws; the two folds
# in os and in is, of which the second needs fewer rows or columns.

# %%
arrays.skew(("ws", "os", "is"), pixels=3, side=2)

# %% [markdown]
# ## Yours: 3 filters, 3 inputs, on 3 x 3 PEs
#
# Draw the array for each dataflow on paper, write the words in, and answer. Then run the cells.

# %%
check.show("lab3", student, "3.1 3.2 3.3 3.4 3.5 3.6 3.7")

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
right = check.check("lab3", answers, student)

# %% [markdown]
# ## Look: your array
#
# The weights shift in at the first edges; then the array at work. Where was your drawing another?

# %%
check.after(
    answers,
    "3.1 3.2",
    lambda: arrays.snapshots(("ws",), edges=range(1, 8), pixels=mine["pixels"]),
)

# %%
check.after(
    answers,
    "3.2 3.3 3.4 3.7",
    lambda: arrays.skew(("ws", "os", "is"), pixels=mine["pixels"]),
)

# %% [markdown]
# ## Look: the film
#
# The next cell writes `lab3_film.html`, which plays ws, os and is side by side with your pixels:
# open it in a browser. From a shell: `python check.py lab3 --film`.
#
# - It begins at edge 1; what the film calls cycle n is edge n. `w1,0` is w[1,0], and so on (its
#   maps write w[m,c], i[c,w] and o[m,f]: c is k, w and f are x).
# - Where a PE has four lines, the second is the register in which the next word to stay shifts in.
# - The buttons under the array colour it by one tensor alone; then point at a PE to see where its
#   word is in all three films.
# - In the counts, *reads* and *writes* are words that a memory gives and takes, *deliveries* words
#   that reach the PEs by the `lines` (the wires from neighbour to neighbour) or the `link` (between
#   the memories), *additions* sums that are added on their way.

# %%
check.after(
    answers,
    trials.FLOWS_ASKED,
    lambda: print("wrote", trials.write_film("lab3_film.html", mine["pixels"])),
)

# %% [markdown]
# ## A dataflow of your own
#
# `accelsim show ws --yaml` prints ws as a file. Its keys:
#
# - `stays`: the tensors whose words stay in the PEs.
# - `space`: what lies over the array: `K:row` gives each row its own k.
# - `pe`: the dimension a PE runs through by itself while its word stays.
# - `order`: the loops in time, outermost first: `outer` of the memories outside, `inner` of the
#   buffer beside the array.
# - `sizes`: what is made as large as fits, one after another: `M:col` as many m as there are
#   columns, `K:buffer` as many k as the buffer holds. What comes first has first choice.
#
# Write your file into the folder `answers`: both the check and `--film` look for it there.

# %%
check.show("lab3", student, "3.8 3.9 3.10")

# %%
answers |= {"3.8": None, "3.9": None}
right = check.check("lab3", {name: answers[name] for name in ("3.8", "3.9")}, student)

# %% [markdown]
# With its name in place of `None` the next cell writes its film.

# %%
mine_yaml = None  # "mine.yaml"
if mine_yaml:
    check.after(
        answers,
        trials.OWN_ASKED,
        lambda: print("wrote", trials.own_film(mine_yaml, check.HERE / "answers", mine["pixels"])),
    )

# %% [markdown]
# ## Rows that stay
#
# Now a convolution, and PEs that do more: each has a few registers and slides one filter *row* over
# one ifmap *row*, a convolution in one dimension. This is **row-stationary**. A filter of R rows
# makes an ofmap row from R ifmap rows, so R PEs have to work together for each ofmap row: give PE
# (r, e) filter row r, and let it make that row's part of ofmap row e. Which ifmap row does it need?
#
# What an access takes in energy, in MACs, whatever the word:
#
# | from a register in the PE | from a neighbour PE | from the buffer | from DRAM |
# |---|---|---|---|
# | 1 | 2 | 6 | 200 |
#
# (65 nm; Y.-H. Chen, J. Emer, V. Sze, *Eyeriss: a spatial architecture for energy-efficient
# dataflow for convolutional neural networks*, ISCA 2016, table IV.) To add to a sum that is kept
# somewhere takes two: it is read and written.

# %%
arrays.rows_to_fill(3, 3)

# %%
check.show("lab3", student, "3.11 3.12 3.13")

# %% [markdown]
# Fill the grid, then give each number of it a colour of its own, on paper. What do PEs of one row
# have in common, what those of one column, and where are ifmap rows equal?

# %%
answers["3.11"] = [
    # e = 0, e = 1, e = 2
    [None, None, None],  # r = 0
    [None, None, None],  # r = 1
    [None, None, None],  # r = 2
]
answers |= {"3.12": None, "3.13": None}
right = check.check("lab3", {name: answers[name] for name in ("3.11", "3.12", "3.13")}, student)

# %% [markdown]
# ## Look: rows on the array

# %%
check.after(answers, "3.11", lambda: arrays.row_stationary(3, 3))

# %%
check.after(answers, "3.12", lambda: arrays.row_stationary(*mine["rows"]))

# %% [markdown]
# `lab3_rows.html` is the same as a film, value by value: a filter of 3 x 3 over 5 x 5 ifmap words.
# Colour it by weights, by ifmap words, by sums, one after another, and play: which PEs have a word
# at the same time, and how do they lie? Where does a sum go? (These are Eyeriss' PEs: a product is
# two edges on its way, so a sum is two edges behind its words; edges 6 to 8 show sums on their way.
# And in the chip sums go the other way along the same line, which comes to the same.)
#
# Eyeriss' network brings a word to all PEs that share it *at once*: nothing creeps along the
# diagonal, and the table prices each further PE as a step. In the counts, `dram` is the memory
# outside the chip, `glb` its buffer, `noc` the network, `spad` the registers of a PE; `sum across`
# is a sum that comes from the PE above, `pass` what the PEs do with the rows they hold. Weights go
# past the buffer in this chip, from DRAM to the PEs.

# %%
check.after(answers, trials.ROWS_ASKED, lambda: print("wrote", trials.write_film("lab3_rows.html")))

# %% [markdown]
# ## In words

# %%
check.show("lab3", student, "3.14")

# %% [markdown]
# 3.10 and 3.14 are answered in `answers/lab3.py`. Copy what you answered here into that file, too:
# it is what you hand in, with your dataflow.
#
# To read on, when your teacher has handed it out:
# the pages on [skew](pages/skew.md) and on [row-stationary](pages/row_stationary.md).
