"""SCALE-Sim 3.0.0: cycles, SRAM traffic and three utilizations of its own report, on the preset of
that name.

``reference/scalesim3.csv`` is what the tool printed; its header says how it was run and what is
known of it. Columns ours = theirs, and the corrections:

- ``cycles`` = total_cycles + 1 (it numbers the last cycle, from 0)
- ``sram_*_reads``, ``sram_ofmap_writes``: equal; but output-stationary it writes folds * (array_h +
  array_w) too many
- ``mapping_efficiency`` = mapping_eff
- ``utilization`` = overall_util over one cycle less, as above
- ``utilization`` = compute_util, output-stationary; weight- and input-stationary it divides by
  array_w - 1 cycles
  more in each fold than the fold lasts
"""

from __future__ import annotations

import csv
import re
from math import ceil
from pathlib import Path

import pytest

import accelsim as acc
from accelsim.cli.common import pairs
from accelsim.engines import event
from accelsim.engines.analytic.array_time import array_time
from accelsim.workload.arithmetic import random_data

REFERENCE = Path(__file__).parent / "reference" / "scalesim3.csv"
EXACT = 1e-12  # the tool adds its averages up fold by fold in floats


def rows() -> list[dict[str, str]]:
    with REFERENCE.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def named(row: dict[str, str]) -> str:
    return f"{row['dataflow']}-{row['array_h']}-{row['layer'].replace(' ', '')}"


def layer(row: dict[str, str]) -> acc.Conv2d:
    """The tool's layer: output sides rounded up, and only as much ifmap as they touch."""
    h, w, r, s, u = (int(row[k]) for k in ("ifmap_h", "ifmap_w", "filter_h", "filter_w", "stride"))
    e, f = ceil((h - r + u) / u), ceil((w - s + u) / u)
    return acc.Conv2d(
        M=int(row["filters"]),
        C=int(row["channels"]),
        H=(e - 1) * u + r,
        W=(f - 1) * u + s,
        R=r,
        S=s,
        stride=u,
    )


def size(row: dict[str, str]) -> dict[str, int]:
    return {"array.rows": int(row["array_h"]), "array.cols": int(row["array_w"])}


def folds(row: dict[str, str]) -> int:
    """How often the array is filled: the two dimensions that lie on it, in pieces of its sides."""
    p = layer(row).problem()
    length = {"K": p.C * p.R * p.S, "X": p.E * p.F, "M": p.M}
    over = {"ws": "KM", "os": "XM", "is": "KX"}[row["dataflow"]]
    return ceil(length[over[0]] / int(row["array_h"])) * ceil(length[over[1]] / int(row["array_w"]))


def test_the_file_is_whole():
    assert REFERENCE.read_text(encoding="utf-8").count("SCALE-Sim 3.0.0") == 1
    assert len(rows()) == 40 and len({named(r) for r in rows()}) == 40
    assert {r["dataflow"] for r in rows()} == {"ws", "os", "is"} and {
        r["stall_cycles"] for r in rows()
    } == {"0"}


@pytest.mark.parametrize("row", rows(), ids=named)
def test_as_the_tool_reports_it(row):
    (ours,) = acc.simulate(layer(row), "scalesim", row["dataflow"], overrides=size(row)).records()
    os = row["dataflow"] == "os"
    theirs = {
        k: float(v) if "util" in k or "eff" in k else int(v)
        for k, v in row.items()
        if k not in ("topology", "layer", "dataflow")
    }

    assert ours["cycles"] - 1 == theirs["total_cycles"]
    assert ours["sram_ifmap_reads"] == theirs["sram_ifmap_reads"]
    assert ours["sram_weight_reads"] == theirs["sram_filter_reads"]
    surplus = folds(row) * (theirs["array_h"] + theirs["array_w"]) if os else 0
    assert ours["sram_ofmap_writes"] == theirs["sram_ofmap_writes"] - surplus

    busy = 100 * ours["utilization"] * ours["cycles"]
    lengthened = ours["cycles"] + (0 if os else folds(row) * (theirs["array_w"] - 1))
    assert 100 * ours["mapping_efficiency"] == pytest.approx(theirs["mapping_eff"], rel=EXACT)
    assert busy / (ours["cycles"] - 1) == pytest.approx(theirs["overall_util"], rel=EXACT)
    assert busy / lengthened == pytest.approx(theirs["compute_util"], rel=EXACT)


@pytest.mark.parametrize("row", [r for r in rows() if r["array_h"] == "128"], ids=named)
def test_as_the_array_executes_it(row):
    # The same cycles from the folds the event engine went through, for the quick ones.
    arch, problem = acc.load_architecture("scalesim", size(row)), layer(row).problem()
    nest = acc.Nest(problem, arch, acc.choose(problem, arch, acc.load_dataflow(row["dataflow"])))
    run = event.run(
        nest,
        random_data(problem, *(arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), 0),
    )  # type: ignore[arg-type]
    assert len(run.folds) and sum(len(f.length) for f in run.folds) == folds(row)
    assert (
        event.array_cycles(nest, run.folds)
        == array_time(nest).cycles
        == int(row["total_cycles"]) + 1
    )


def test_the_page_has_what_other_presets_take():
    """Every row of the table in docs/scalesim.md, and what it says of os and of DRAM as shipped."""
    page = (Path(__file__).parents[1] / "docs" / "scalesim.md").read_text(encoding="utf-8")
    conv3 = acc.Conv2d(M=384, C=256, H=13, W=13, R=3, S=3)

    def cycles(arch: str, side: int, *keys: str, flow: str = "ws") -> int:
        sides = {"array.rows": side, "array.cols": side}
        result = acc.simulate(conv3, arch, flow, overrides=sides | pairs(keys))
        return result.rows[0].columns["cycles"]

    shown = re.findall(r"^\| `(\w+)`(?:, `(\S+)`)? \| (\d+)x\3 \| ([\d ]+) \|", page, re.MULTILINE)
    assert len(shown) == 5
    for arch, key, side, told in shown:
        assert cycles(arch, int(side), *([key] if key else [])) == int(told.replace(" ", ""))
    assert "7 287 and 7 159" in page
    assert cycles("systolic", 128, "dram=unlimited", flow="os") == 7159
    assert "62 907 and 20 341" in page
    assert (cycles("systolic", 128), cycles("tpu_v1", 256)) == (62_907, 20_341)
