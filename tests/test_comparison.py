"""Six dataflows at equal area against the published equations (reports/dataflow_comparison)."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies import study_module

ROOT = Path(__file__).resolve().parents[1]


study = partial(study_module, "dataflow_comparison")


@cache
def reference():
    return json.loads(study().REFERENCE.read_text(encoding="utf-8"))


@cache
def frame():
    return study().rows(
        (256,), {"CONV": (1, 16)}, tried=12
    )  # finds what 60 find, see test_more_tiles_find_no_better


@cache
def table():
    return study().comparison(frame(), reference())


def test_the_same_area():
    for kind in study().KINDS:
        assert kind.rf_words == reference()["rf_words_16b_per_pe"][kind.name]
        assert study().buffer_bytes(256, kind.rf_words) == pytest.approx(
            reference()["global_buffer_bytes_256_pe"][kind.name], abs=5
        )


@pytest.mark.parametrize("batch", [1, 16])
def test_with_the_papers_rules_every_cell_is_the_references(batch):
    some = table().query(f'batch == {batch} and rules == "paper\'s"')
    assert len(some) == 6
    assert list(some["rank"]) == list(some["rank_reference"])
    assert some["energy_off"].abs().max() < 0.01
    assert some["dram_off"].abs().max() < 0.07


@pytest.mark.parametrize(
    ("batch", "missing"),
    [
        (1, {"OSA": "whole", "OSB": "whole", "OSC": "whole", "NLR": "unwired"}),
        (16, {"OSB": "whole", "OSC": "whole", "NLR": "unwired"}),
    ],
)
def test_by_our_rules_what_misses_does_so_for_a_rule(batch, missing):
    """Cells within 10 % of energy and 15 % of DRAM, but for those two rules: with the rule our
    tiles cost no less than the reference.
    """
    some = table().query(f"batch == {batch} and rules == 'ours'").set_index("dataflow")
    off = some[(some["energy_off"].abs() > 0.10) | (some["dram_off"].abs() > 0.15)]
    assert set(off.index) == set(missing)
    for name, rule in missing.items():
        cell = some.loc[name]
        assert (cell["energy"] - cell["energy_reference"]) * cell[rule] < 0
        assert cell["energy"] + cell[rule] >= 0.99 * cell["energy_reference"]
    assert some.index[0] == "RS" and some["rank"].iloc[0] == 1


def test_the_papers_order_by_our_rules_at_batch_16():
    some = table().query("batch == 16 and rules == 'ours'")
    assert list(some["rank"]) == list(some["rank_reference"])


def test_row_stationary_against_figure_10():
    """ISCA 2016, figure 10: ALU, DRAM and RF energy of every CONV layer, 256 PEs, batch 16; bars
    are read to two digits.
    """
    of = frame().query("dataflow == 'RS' and batch == 16").set_index("layer")
    printed = reference()["fig10_rs_256pe_n16_1e9"]
    for layer, values in printed["values"].items():
        if layer.startswith("conv"):
            ours = [of.loc[layer, part] / 1e9 for part in ("compute", "dram", "pe")]
            assert np.allclose(ours, values, rtol=0.15), (layer, ours, values)
            assert sum(ours) == pytest.approx(sum(values), rel=0.08)


@pytest.mark.parametrize(
    ("energy", "conv", "fc"), [("energy_paper", (1.40, 2.55), 1.3), ("energy", (1.35, 2.57), 1.29)]
)
def test_headline(energy, conv, fc):
    """The paper: row-stationary is 1.4 to 2.5 times as good on CONV, at least 1.3 times on FC above
    batch 16; from the committed table.

    By the paper's rules it is.  By ours the others keep what tiles share, and the smallest lead is
    1.36 on CONV and 1.294 on FC.
    """
    sums = study().totals(pd.read_csv(study().HERE / "energy.csv")).set_index("dataflow")
    for (part, pes, batch), some in sums.groupby(["part", "pes", "batch"]):
        others = (some[energy] / some[energy]["RS"]).drop("RS").dropna()
        if part == "CONV":
            assert conv[0] <= others.min() and others.max() <= conv[1], (pes, batch, others)
        elif batch > 16:
            assert others.min() >= fc, (pes, batch, others)


def test_the_committed_table_is_what_the_study_gives():
    kept = pd.read_csv(study().HERE / "comparison.csv")
    assert np.allclose(kept["energy"], table()["energy"], rtol=1e-5)
    assert np.allclose(kept["dram"], table()["dram"], rtol=1e-5)


@pytest.mark.slow
def test_more_tiles_find_no_better():
    """CONV on 256 PEs: five times as many tiles counted exactly change no cell."""
    more = study().rows((256,), {"CONV": (1, 16)}, tried=60)
    assert np.allclose(more["energy"], frame()["energy"], rtol=1e-9) and np.allclose(
        more["energy_paper"], frame()["energy_paper"], rtol=1e-9
    )
