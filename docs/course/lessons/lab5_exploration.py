# %% [markdown]
# # Lab 5: design-space exploration
#
# **Goals.** Let the model run a grid of designs; draw a Pareto front; choose a design under a
# budget and defend it. **Time** 100 minutes. **Reading** Sze and others, chapter 6.
#
# Candidates for LeNet-5 on `systolic`: 4, 8, 16 or 32 rows, as many columns, 4, 16, 64 or 256 KiB
# of SRAM, ws or os: 128 designs. Your number, in `answers/lab5.py`, says how large your chip may
# be.

# %%
import check
import trials
from matplotlib.figure import Figure

student = check.number("lab5")
BUDGET = check.numbers("lab5", student)["budget"]
print(f"your chip may have {BUDGET:,} um2")

# %%
frame = trials.designs()
frame[["array.rows", "array.cols", "dataflow", "area_um2", "cycles", "energy_pj", "time_s"]].head()

# %% [markdown]
# ## Something to plot
#
# Each design is a point: area to the right, cycles upwards, both logarithmic. A design is on the
# front if no other is at least as good in both and better in one. Where does the front run? Draw it
# on paper, for the designs within your budget.


# %%
def picture(budget: float, front: bool = True) -> Figure:
    """All designs, the budget, and the front of those within it."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for flow, mark in (("ws", "o"), ("os", "s")):
        part = frame[frame.dataflow == flow]
        axes.scatter(part.area_um2, part.cycles, s=14, marker=mark, alpha=0.5, label=flow)
    inside = frame[frame.area_um2 <= budget].sort_values(["area_um2", "cycles"])
    best = inside[inside.cycles < inside.cycles.shift(fill_value=10**12).cummin()]
    if front:
        axes.step(best.area_um2, best.cycles, where="post", color="black", label="front")
    axes.axvline(budget, color="#888888", linestyle="--", label="budget")
    axes.set(xscale="log", yscale="log", xlabel="area in um2", ylabel="cycles of one image")
    axes.legend(frameon=False)
    return figure


picture(BUDGET, front=False)

# %% [markdown]
# ## Questions
#
# 5.5 is what you expect; the others are worked out from `frame`.

# %%
check.show("lab5", student)

# %%
answers = {
    "5.1": None,
    "5.2": None,
    "5.3": None,  # a dictionary: {"array.rows": ..., ...}
    "5.4": None,
    "5.5": None,
}
right = check.check("lab5", answers, student)

# %% [markdown]
# ## Look: the front
#
# It is where you choose; everything else someone else has better. Then draw the same with energy in
# place of cycles, or with energy times time. Which designs are on both fronts? Which would you
# build for a camera with a battery, which for a data centre?

# %%
check.after(answers, "5.1 5.2 5.4", lambda: picture(BUDGET))

# %% [markdown]
# What you answered here is copied into `answers/lab5.py`, which is what you hand in; 5.6 is
# answered there, in words.
#
# To read on, when your teacher has handed it out:
# the page on [reuse](pages/reuse.md).
