# %% [markdown]
# # Lab 5: design-space exploration
#
# **Goals.** Let the model run a grid of designs; draw a Pareto front; choose a design under a
# budget
# and defend it. **Time** 100 minutes. **Reading** Sze and others, chapter 6.
#
# Candidates for LeNet-5 on `systolic`: 4, 8, 16 or 32 rows, as many columns, 4, 16, 64 or 256 KiB
# of
# SRAM, ws or os: 128 designs. The chip may have 400 000 um2 (your variant may say another number).

# %%
import check
import trials
from matplotlib.figure import Figure

student = ""  # your number
BUDGET = 400_000

# %%
frame = trials.designs()
frame[["array.rows", "array.cols", "dataflow", "area_um2", "cycles", "energy_pj", "time_s"]].head()

# %% [markdown]
# ## Something to plot, and to argue
#
# Each design is a point: area to the right, cycles upwards, both logarithmic. A design is on the
# front if no other is at least as good in both. The front is where you choose; everything else
# someone else has better.


# %%
def picture(budget: float) -> Figure:
    """All designs, the budget, and the front of those within it."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for flow, mark in (("ws", "o"), ("os", "s")):
        part = frame[frame.dataflow == flow]
        axes.scatter(part.area_um2, part.cycles, s=14, marker=mark, alpha=0.5, label=flow)
    inside = frame[frame.area_um2 <= budget].sort_values(["area_um2", "cycles"])
    front = inside[inside.cycles < inside.cycles.shift(fill_value=10**12).cummin()]
    axes.step(front.area_um2, front.cycles, where="post", color="black", label="front")
    axes.axvline(budget, color="#888888", linestyle="--", label="budget")
    axes.set(xscale="log", yscale="log", xlabel="area in um2", ylabel="cycles of one image")
    axes.legend(frameon=False)
    return figure


picture(BUDGET)

# %% [markdown]
# Now the same with energy in place of cycles, or with energy times time. Which designs are on both
# fronts? Which would you build for a camera with a battery, which for a data centre?

# %% [markdown]
# ## Questions

# %%
check.show("lab5", student)

# %%
answers = {f"5.{k}": None for k in range(1, 6)}
check.check("lab5", answers, student)
