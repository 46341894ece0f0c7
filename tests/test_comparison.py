"""Six dataflows at equal area against the published equations (reports/dataflow_comparison)."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies import study_module

import accelsim as acc

ROOT = Path(__file__).resolve().parents[1]


study = partial(study_module, "dataflow_comparison")
KINDS = ("RS", "WS", "OSA", "OSB", "OSC", "NLR")
RULES = ("choice", "kept", "cut", "unwired")


@cache
def equations():
    """The study's module of the published equations."""
    study()
    import published

    return published


@cache
def reference():
    return json.loads(study().REFERENCE.read_text(encoding="utf-8"))


@cache
def frame():
    return study().rows(
        (256,), {"CONV": (1, 16)}, tried=4
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
def test_with_the_papers_rules_every_cell_is_the_references_to_every_digit(batch):
    some = table().query(f'batch == {batch} and rules == "paper\'s"')
    assert len(some) == 6
    assert list(some["rank"]) == list(some["rank_reference"])
    assert list(some["energy"].round(3)) == list(some["energy_reference"])
    assert list(some["dram"].round(6)) == list(some["dram_reference"])


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("name", KINDS)
def test_the_equations_give_every_printed_part(name, batch):
    """Energy by level of the twelve cells, four digits each."""
    s, parts, macs = study(), Counter(), 0
    (kind,) = (x for x in s.KINDS if x.name == name)
    for layer in s.load_workload("alexnet").layers:
        if layer.name not in s.PARTS["CONV"]:
            continue
        p = s.padded(layer.problem(batch))
        tiles = s.best_tiles(name, p, 256, s.buffer_bytes(256, kind.rf_words) // 2)
        for (level, _), words in s.count(name, p, tiles).items():
            parts[s.LEVELS[level]] += words * s.PRICE[level]
        macs += p.macs
    printed = reference()["model"][f"CONV_J256_N{batch}"][name]["parts_per_mac"]
    assert {k: round(v / macs, 4) for k, v in parts.items()} | {"ALU": 1.0} == printed


def test_between_ours_and_the_papers_lie_the_four_rules_and_nothing_else():
    """In every layer, of energy and of DRAM accesses; and of the choice, ours is never dearer."""
    kept = pd.read_csv(study().HERE / "energy.csv")
    for some in (frame(), kept[kept["error"].isna()]):
        for ours, theirs, tail in (
            ("energy", "energy_paper", ""),
            ("dram_words", "dram_words_paper", "_dram"),
        ):
            total = some[ours] + sum(some[f"{rule}{tail}"] for rule in RULES)
            assert np.allclose(total, some[theirs], rtol=1e-9, atol=0)
        assert (some["choice"] >= 0).all() and (some["kept"] >= 0).all()


@pytest.mark.parametrize(
    ("batch", "missing"),
    [
        (1, {"OSA": ("choice", "kept"), "OSB": ("kept",), "OSC": ("kept",), "NLR": ("unwired",)}),
        (16, {"OSB": ("choice",), "OSC": ("choice", "kept"), "NLR": ("unwired",)}),
    ],
)
def test_by_our_rules_what_misses_does_so_for_a_rule(batch, missing):
    """Cells within 10 % of energy and 15 % of DRAM, but for those rules: with them ours is within
    1 % and 2 % of what is printed.
    """
    some = table().query(f"batch == {batch} and rules == 'ours'").set_index("dataflow")
    off = some[(some["energy_off"].abs() > 0.10) | (some["dram_off"].abs() > 0.15)]
    assert set(off.index) == set(missing)
    sums = study().totals(frame()).query(f"batch == {batch}").set_index("dataflow")
    for name, rules in missing.items():
        cell, printed = sums.loc[name], some.loc[name]
        energy = cell["energy"] + sum(cell[x] for x in rules)
        dram = cell["dram_words"] + sum(cell[f"{x}_dram"] for x in rules)
        assert energy == pytest.approx(printed["energy_reference"], rel=0.01)
        assert name == "NLR" or dram == pytest.approx(printed["dram_reference"], rel=0.03)
    assert some.index[0] == "RS" and some["rank"].iloc[0] == 1


@pytest.mark.parametrize("name", KINDS)
def test_of_any_layer_and_tiles_the_count_differs_by_the_rules(name):
    """Random layers and tiles: every level and tensor, to the word."""
    s, rng = study(), random.Random(name)
    (kind,) = (x for x in s.KINDS if x.name == name)
    for _ in range(12):
        stride, size = rng.randint(1, 2), rng.randint(4 if name == "RS" else 1, 9)
        window = rng.randint(stride, 3)  # with RS no plane is narrower than a filter, see ``apart``
        side = (size - 1) * stride + window
        layer = acc.Conv2d(
            N=rng.randint(1, 4), C=2 * rng.randint(1, 5), M=2 * rng.randint(1, 8), H=side, W=side,
            R=window, S=window, stride=stride, groups=rng.randint(1, 2),
        )  # fmt: skip
        p, tiles = layer.problem(), []
        for some in equations().FITTING[name](
            equations().Layer(p), 60, rng.choice([150, 400, 2000])
        ):
            many = len(next(iter(some.values())))
            tiles += [{k: int(v[i]) for k, v in some.items()} for i in range(many)]
        if name == "WS":  # no nest has part of a line
            tiles = [one for one in tiles if one["f"] == p.F]
        if name == "RS":  # see ``apart``
            tiles = [one for one in tiles if one["q"] * one["r"] < p.C]
        if not tiles:
            continue
        one = rng.choice(tiles)
        ours = s.counted(kind, p, 60, one)
        total = Counter(ours.words)
        for words in s.apart(kind, one, ours).values():
            total.update(words)
        theirs = s.count(name, p, one)
        off = {
            key: (total[key], theirs[key]) for key in theirs if abs(total[key] - theirs[key]) > 1e-6
        }
        assert not off, (p, one)


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


def test_figure_10_has_four_words_of_the_register_file_a_mac():
    """All eight bars, to the printed digits: a weight, a pixel, and a psum read and written."""
    kept = pd.read_csv(study().HERE / "energy.csv")
    of = kept.query("dataflow == 'RS' and batch == 16 and pes == 256").set_index("layer")
    names = {"fc1": "fc6", "fc2": "fc7", "fc3": "fc8"}
    for layer, (_, _, rf) in reference()["fig10_rs_256pe_n16_1e9"]["values"].items():
        assert round(4 * of.loc[names.get(layer, layer), "macs"] / 1e9, 2) == rf


@pytest.mark.parametrize(
    ("energy", "conv", "fc"), [("energy_paper", (1.35, 2.55), 1.3), ("energy", (1.35, 2.57), 1.29)]
)
def test_headline(energy, conv, fc):
    """The paper: row-stationary is 1.4 to 2.5 times as good on CONV, at least 1.3 times on FC above
    batch 16; from the committed table.

    By the paper's rules it is, to the printed digit: 1.390 to 2.527 on CONV.  By ours the others
    keep what tiles share, and the smallest lead is 1.36 on CONV and 1.294 on FC.
    """
    sums = study().totals(pd.read_csv(study().HERE / "energy.csv")).set_index("dataflow")
    for (part, pes, batch), some in sums.groupby(["part", "pes", "batch"]):
        others = (some[energy] / some[energy]["RS"]).drop("RS").dropna()
        if part == "CONV":
            assert conv[0] <= others.min() and others.max() <= conv[1], (pes, batch, others)
            if energy == "energy_paper":
                assert round(others.min(), 1) == 1.4 and round(others.max(), 1) <= 2.5
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
