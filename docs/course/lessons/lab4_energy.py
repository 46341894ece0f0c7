# %% [markdown]
# # Lab 4: energy and the memory hierarchy
#
# **Goals.** Put a price on each word that moves; say why a larger memory is dearer to read and when
# it pays all the same; compare dataflows by their psums. **Time** 90 minutes. **Reading** M.
# Horowitz, *Computing's energy problem*, ISSCC 2014; Sze and others, chapter 5.
#
# On `systolic` (45 nm) a MAC of 8-bit words costs 0.3 pJ. The layer is LeNet-5's conv2 unless
# another is named. Tiles are the fixed rule's, and the SRAM holds one set of them. What is shown
# only after you have answered says so: say what you expect first.

# %%
import check
from matplotlib.figure import Figure

import accelsim as acc
from accelsim.hardware.energy import prices

student = check.number("lab4")
PLAIN = {"levels.sram.double_buffered": False, "dram": "unlimited"}
chip = acc.load_architecture("systolic", PLAIN)
print(chip)


# %% [markdown]
# The lower table is what a word takes at each level. As a picture: one 8-bit word, and one MAC.


# %%
def costs() -> Figure:
    """Energy of an 8-bit word at each level, and of a MAC, on a logarithmic scale."""
    price = prices(chip)
    names = [*price.levels, "MAC"]
    each = [level["weight"].of(8) for level in price.levels.values()] + [price.mac]
    figure = Figure(figsize=(5, 2), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, each, color="#56B4E9")
    axes.set(xscale="log", xlabel="pJ")
    axes.invert_yaxis()
    return figure


costs()

# %% [markdown]
# ## What do you expect?
#
# 4.1 and 4.2 are worked out from the table. 4.4 and 4.5 are what you expect: which words are moved
# most often, and how wide are they?

# %%
check.show("lab4", student, "4.1 4.2 4.4 4.5")

# %%
answers = {"4.1": None, "4.2": None, "4.4": None, "4.5": None}
right = check.check("lab4", answers, student)

# %% [markdown]
# ## Look: one layer under three dataflows
#
# Every number is a column of this table.


# %%
def three() -> acc.Result:
    """The layer under each dataflow."""
    return acc.simulate("lenet5", chip, "ws,os,is", layers=["conv2"], tiles="rule")


def table() -> object:
    """Energy by component and by tensor, a column a dataflow."""
    frame = three().to_frame().set_index("dataflow")
    return frame[[c for c in frame if c.startswith("energy_") and c.endswith("_pj")]].T


check.after(answers, "4.1 4.4 4.5", table)

# %%
check.after(answers, "4.1 4.4 4.5", lambda: three().plot.energy())

# %%
check.show("lab4", student, "4.3 4.6")

# %%
answers |= {"4.3": None, "4.6": None}
right = check.check("lab4", {name: answers[name] for name in ("4.3", "4.6")}, student)

# %% [markdown]
# ## A smaller SRAM
#
# What an access costs grows with the memory. How small may it be before words have to come from
# DRAM again? Try sizes.


# %%
def with_sram(size: int) -> dict[str, float]:
    """The row of conv2 under os with an SRAM of so many bytes."""
    less = PLAIN | {"levels.sram.capacity_bytes": size}
    result = acc.simulate(
        "lenet5", "systolic", "os", layers=["conv2"], tiles="rule", overrides=less
    )
    return dict(result.rows[0].columns)


def dram_words(size: int) -> int:
    """Words to and from DRAM."""
    return int(sum(v for k, v in with_sram(size).items() if k.startswith("dram_")))


for size in (524288,):
    print(f"{size:7d} bytes: {dram_words(size)} words to and from DRAM")

# %%
check.show("lab4", student, "4.7 4.8 4.9")

# %%
answers |= {"4.7": None, "4.8": None}
right = check.check("lab4", {name: answers[name] for name in ("4.7", "4.8")}, student)

# %% [markdown]
# ## Look: what each size takes


# %%
def sizes() -> None:
    """Energy with three sizes: what changes, what does not?"""
    for size in (16384, 131072, 524288):
        row = with_sram(size)
        part = f"of which SRAM {row['energy_sram_pj']:8.0f}"
        print(f"{size:7d} bytes: {row['energy_pj']:9.0f} pJ, {part}")


check.after(answers, "4.7 4.8", sizes)

# %% [markdown]
# What you answered here is copied into `answers/lab4.py`, which is what you hand in; 4.9 is
# answered there, in words.
