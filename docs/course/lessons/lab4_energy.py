# %% [markdown]
# # Lab 4: energy and the memory hierarchy
#
# **Goals.** Put a price on each word that moves; say why a larger memory is dearer to read and when
# it pays all the same; compare dataflows by their psums. **Time** 90 minutes. **Reading** M.
# Horowitz, *Computing's energy problem*, ISSCC 2014; Sze and others, chapter 5.
#
# On `systolic` (45 nm) a MAC of 8-bit words costs 0.3 pJ. The layer is LeNet-5's conv2 unless
# another is named. Tiles are the fixed rule's, and the SRAM holds one set of them.

# %%
import check

import accelsim as acc

student = ""  # your number
PLAIN = {"levels.sram.double_buffered": False, "dram": "unlimited"}
chip = acc.load_architecture("systolic", PLAIN)
print(chip)

# %% [markdown]
# ## One layer under three dataflows
#
# Every number is a column of this table.

# %%
result = acc.simulate("lenet5", chip, "ws,os,is", layers=["conv2"], tiles="rule")
frame = result.to_frame().set_index("dataflow")
frame[[c for c in frame if c.startswith("energy_") and c.endswith("_pj")]].T

# %%
result.plot.energy()

# %% [markdown]
# ## A smaller SRAM
#
# What an access costs grows with the memory. The next cell runs os with several sizes; what changes
# and what does not?

# %%
for size in (16384, 131072, 524288):
    less = PLAIN | {"levels.sram.capacity_bytes": size}
    row = acc.simulate("lenet5", "systolic", "os", layers=["conv2"], tiles="rule", overrides=less)
    c = row.rows[0].columns
    print(f"{size:7d} bytes: {c['energy_pj']:9.0f} pJ, of which SRAM {c['energy_sram_pj']:8.0f}")

# %% [markdown]
# ## Questions

# %%
check.show("lab4", student)

# %%
answers = {f"4.{k}": None for k in range(1, 9)}
check.check("lab4", answers, student)
