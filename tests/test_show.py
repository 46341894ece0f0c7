"""``show`` in words and tables, mappings in ``run`` and ``simulate``, and overrides where they are
seen.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import Done, accelsim
from test_files import ARCH, FLOW, NET, SHIPPED
from test_validate import KEEP, MANY, ONE, TEXT, refused

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.base.shipped import SINGULAR, resolve_file, shipped_names
from accelsim.base.yaml_reading import read_yaml
from accelsim.cli import file_kinds as kinds
from accelsim.mapping.files import load_mapping
from accelsim.mapping.mapping import Mapping
from accelsim.view.describe import describe

SYSTOLIC = ("--arch", "systolic")


def shown(*args: object) -> str:
    done = accelsim("show", *args)
    assert (done.code, done.err) == (0, ""), done
    return done.out


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


# One file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_everything_shipped_is_described(kind: str, name: str) -> None:
    text = shown(name)
    data = read_yaml(resolve_file(kind, name)).data
    assert text.splitlines()[0].split()[0] == name and text.splitlines()[1] == data["description"]
    assert text.isascii() and all(line == line.rstrip() for line in text.splitlines())
    assert text == describe(kinds.load(kinds.find(name)[1], SINGULAR[kind])) + "\n"


def test_an_architecture_in_tables(file: Path) -> None:
    file.write_text(ARCH)
    text = shown(file)
    assert re.search(r"^array +12 rows x 14 columns = 168 PEs$", text, re.MULTILINE)
    assert re.search(r"^clock +200 MHz, 33.6 GMAC/s at most$", text, re.MULTILINE)
    assert re.search(
        r"^words +weight 16 bits, ifmap 16 bits, psum 16 bits, ofmap 16 bits$", text, re.MULTILINE
    )
    assert re.search(r"^dram +weight, ifmap, ofmap +no limit$", text, re.MULTILINE)
    glb = "102 400 bytes in 25 banks of 4 096 for ifmap and ofmap, 8 192 bytes for weight"
    assert re.search(rf"^glb +weight, ifmap, ofmap +{glb}$", text, re.MULTILINE)
    assert re.search(
        r"^spad .* 448 bytes for weight, 24 bytes for ifmap, 48 bytes for ofmap$",
        text,
        re.MULTILINE,
    )
    assert re.search(r"^noc +glb +spad +multicast +multicast +reduce$", text, re.MULTILINE)
    assert re.search(r"^dram +200 +200 +200 +200$", text, re.MULTILINE), (
        "energy of a word of each kind"
    )
    assert "double_buffered" not in text
    assert re.search(
        r"^glb .* yes$", shown(file, "--set", "levels.glb.double_buffered=true"), re.MULTILINE
    )


def test_overrides_are_shown_and_take_effect() -> None:
    text = shown(
        "eyeriss", "--set", "array.rows=32", "--set", "levels.glb.keeps=[weight, ifmap, ofmap]"
    )
    assert text.startswith(
        'eyeriss with array.rows=32, levels.glb.keeps=["weight", "ifmap", "ofmap"]\n'
    )
    assert "32 rows x 14 columns = 448 PEs" in text
    assert shown("lenet5", "--set", "graph.conv1.M=12").startswith("lenet5 with graph.conv1.M=12\n")


def test_a_dataflow_in_sentences_and_loops(file: Path) -> None:
    text = shown("ws")
    assert text.startswith("weight_stationary (ws)\n")
    assert "A PE keeps weight; through it pass ifmap and ofmap.\n" in text
    assert "in this order: M over columns; K over rows; K, X, M, G in the buffers.\n" in text
    loops = [
        line.split("  ")[0]
        for line in (x.strip() for x in text.splitlines())
        if line.startswith(("for", "parallel-for", "ofmap"))
    ]
    assert loops == [
        "for g, m, x, k",
        "for g, m, k",
        "parallel-for k",
        "parallel-for m",
        "for x",
        "ofmap += ifmap * weight",
    ]
    assert "k is c, r, s fused" in text and "x is n, e, f fused" in text
    assert "no buffer keeps weight" in shown("rs") and "fused" not in shown("rs")
    file.write_text(FLOW.replace("stays: [weight]", "stays: []"))
    assert "A PE keeps nothing; through it pass weight, ifmap and ofmap." in shown(file)


def test_a_workload_in_a_table(file: Path) -> None:
    text = shown("alexnet")
    assert re.search(
        r"^conv2 +conv2d +96x27x27 +256 of 48x5x5 +padding 2, 2 groups, bias +256x27x27 "
        r"+223 948 800 +307 456$",
        text,
        re.MULTILINE,
    )
    assert re.search(r"^total +724 406 816 +60 965 224$", text, re.MULTILINE)
    file.write_text(
        NET.replace("padding: same", "stride: [1, 2], padding: [0, 1, 2, 3], dilation: 2, N: 4")
    )
    text = shown(file)
    assert re.search(
        r"^b +conv2d +4 of 2x6x6 +4 of 2x3x3 +stride 1,2, padding 0,1,2,3, dilation 2 +4 of 4x3x4 ",
        text,
        re.MULTILINE,
    )
    file.write_text("name: one\nlayers: [{type: gemm, m: 2, k: 3, n: 4}]\n")
    assert "total" not in shown(file) and re.search(
        r"^layer1 +gemm +3x1x4 +2 of 3x1x1 +2x1x4 +24 +6$", shown(file), re.MULTILINE
    )


def test_a_mapping_as_loops(file: Path) -> None:
    file.write_text(MANY + "loops: M:1:dram K:1:dram X:1:dram\n")
    text = shown(file)
    assert re.findall(r"^(.*):$", text, re.MULTILINE) == [
        "conv1",
        "conv2",
        "v1.a",
        "any other layer",
    ]
    conv2 = text.split("conv2:\n")[1].split("\n\n")[0].splitlines()
    assert conv2 == [
        "dram keeps weight, ifmap, ofmap",
        "sram keeps weight, ifmap, ofmap",
        "for k in pieces of 10  (sram)",
        "  parallel-for k in pieces of 1 over rows  (sram)",
        "    parallel-for m in pieces of 1 over cols  (sram)",
        "      reg keeps weight",
        "      for x in pieces of 1  (reg)",
        "        one MAC",
        "k runs over c, r, s, c slowest",
        "x runs over n, e, f, n slowest",
        "loops: K:10:sram K:1:sram:row M:1:sram:col X:1:reg",
    ]
    file.write_text(ONE)
    assert shown(file).startswith(
        "by_hand\nweights stay, sixteen filters at a time\n\nany layer:\n"
    )


def test_the_file_itself(file: Path) -> None:
    for kind, name in SHIPPED:
        assert shown(name, "--yaml") == resolve_file(kind, name).read_text("utf-8").rstrip() + "\n"
    file.write_text(shown("eyeriss", "--yaml", "--set", "array.rows=32"))
    assert acc.load_architecture(str(file)) == acc.load_architecture("eyeriss", {"array.rows": 32})


def test_a_file_is_known_by_its_keys_and_a_name_by_its_folder(file: Path) -> None:
    for text, first in (
        (ARCH, "small"),
        (FLOW, "weight_stationary (ws)"),
        (NET, "two"),
        (ONE, "by_hand"),
        (TEXT, ""),
    ):
        file.write_text(text)
        assert shown(file).splitlines()[0] == first
    assert refused(accelsim("show", "eyeris")) == (
        "no such workload, architecture, dataflow, mapping or file, got eyeris; "
        "nearest: eyeriss, eyeriss_vgg16, eyeriss_alexnet"
    )
    assert "no such file" in refused(accelsim("show", "./eyeriss.yaml"))


@pytest.mark.parametrize(
    "args",
    [
        ("lenet5", "--mapping", "m.yaml"),
        ("lenet5", "--dataflow", "ws"),
        ("lenet5", *SYSTOLIC),
        ("lenet5", "--batch", "3"),
        ("lenet5", *SYSTOLIC, "--dataflow", "ws", "--yaml"),
        (),
    ],
)
def test_options_that_do_not_go_together(args: tuple[str, ...]) -> None:
    assert refused(accelsim("show", *args)).endswith("(see accelsim show --help)")


def test_nothing_heavy_is_loaded_for_help() -> None:
    heavy = ("pydantic", "ruamel.yaml", "numpy", "pandas", "tqdm")
    code = f"import sys, accelsim.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


# Mappings in run, show and simulate ---------------------------------------------------------------


def test_a_mapping_gives_what_the_rule_gives_with_the_same_loops(file: Path) -> None:
    machine = acc.load_architecture("systolic")
    layers = acc.load_workload("lenet5").layers
    chosen = {
        layer.name: acc.choose(layer.problem(), machine, acc.load_dataflow("ws"))
        for layer in layers
    }
    keep = {k: list(v) for k, v in chosen["conv1"].keep.items()}
    file.write_text(
        json.dumps(
            {"keep": keep, "layers": {name: {"loops": str(m)} for name, m in chosen.items()}}
        )
    )
    by_rule = accelsim(
        *("run", "lenet5", *SYSTOLIC, "--dataflow", "ws", "--tiles", "rule", "--format", "json")
    )
    by_file = accelsim(
        "run",
        "lenet5",
        *SYSTOLIC,
        "--mapping",
        file,
        "--dataflow",
        "ws",
        "--check",
        "--format",
        "json",
    )
    assert by_rule.code == by_file.code == 0
    for rule, mapped in zip(by_rule.rows, by_file.rows, strict=True):
        assert (rule.pop("mapping"), mapped.pop("mapping")) == ("rule", "mine")
        assert (rule.pop("bit_exact"), mapped.pop("bit_exact")) == (None, True)
        assert rule == mapped


def test_columns_of_a_mapping(file: Path) -> None:
    file.write_text(ONE)
    (row,) = accelsim(
        "run", "lenet5", *SYSTOLIC, "--mapping", file, "--layer", "conv2", "--format", "json"
    ).rows
    assert (row["dataflow"], row["mapping"]) == ("by_hand", "mine")
    (row,) = accelsim(
        "run",
        "lenet5",
        *SYSTOLIC,
        "--mapping",
        file,
        "--dataflow",
        "os",
        "--layer",
        "conv2",
        "--format",
        "json",
    ).rows
    assert (row["dataflow"], row["mapping"]) == ("os", "mine")
    assert row["loops"] == "M:16:sram K:8:sram K:1:sram:row M:1:sram:col X:1:reg"
    result = acc.simulate("lenet5", "systolic", mapping=load_mapping(file), layers=["conv2"])
    assert result.rows[0].columns["mapping"] == result.rows[0].columns["dataflow"] == "by_hand"
    loops = Mapping(
        loops=ONE.split("[")[1].split("]")[0].replace(",", " ").replace('"', ""),
        keep=load_mapping(file).keep,
    )  # type: ignore[arg-type]
    assert (
        acc.simulate("lenet5", "systolic", mapping=loops, layers=["conv2"])
        .rows[0]
        .columns["cycles"]
        == row["cycles"]
    )


def test_a_mapping_shown(file: Path) -> None:
    file.write_text(ONE)
    text = shown(
        "lenet5", *SYSTOLIC, "--mapping", file, "--layer", "conv2", "--set", "array.cols=32"
    )
    assert text.startswith(
        "systolic with array.cols=32\n\nconv2 on systolic, by_hand\ndram keeps weight 2400 words"
    )
    assert "parallel-for m in 16 pieces of 1 over cols  (sram)" in text
    assert text.endswith("\nloops: M:16:sram K:8:sram K:1:sram:row M:1:sram:col X:1:reg\n\n")


MISFITS = [
    (
        "K:1:sram:row",
        "K:1:sram:col",
        (),
        r"array: col loops K\(8\) M\(16\) need 128 cols, systolic has 16",
    ),
    (
        "reg: [weight]",
        "reg: [weight]",
        ("levels.reg.capacity_bytes=1", "bits.weight=16"),
        "reg: weight 2 bytes exceed its 1 by 1",
    ),
    (
        "K:8:sram",
        "K:8:sram",
        ("levels.sram.capacity_bytes=4000",),
        r"sram: weight 4800 \+ ifmap 2352 \+ ofmap 12800 bytes exceed its 4000 by 15952",
    ),
    ("K:8:sram", "K:8:glb", (), "loop K:8:glb: no level 'glb' in systolic"),
    ("K:8:sram", "K:8:reg", (), "loop K:1:sram:row: stands inside a loop of level reg"),
    ("reg: [weight]", "spad: [weight]", (), "keep: no level 'spad' in systolic"),
    (
        "[weight, ifmap, ofmap]\n  sram: [weight, ifmap, ofmap]",
        "[weight]\n  sram: [ifmap]",
        (),
        "keep.dram: keeps ofmap, unless a",
    ),
    ('"K:8:sram", ', "C:1:reg, ", (), "stands inside a loop of level reg"),
    ("K:1:sram:row, ", "", (), "K: the innermost tile must be 1, one MAC's; got 8"),
    ("X:1:reg", "E:1:reg", (), "F: the innermost tile must be 1"),
    ("X:1:reg", "X:1:reg, C:1:reg", (), "C is part of K, which is looped outside it"),
]


@pytest.mark.parametrize("case", MISFITS, ids=lambda c: c[3][:40])
def test_a_mapping_that_does_not_fit_is_a_row_with_the_reason(
    case: tuple[str, str, tuple[str, ...], str], file: Path
) -> None:
    old, new, overrides, says = case
    assert old in ONE
    file.write_text(ONE.replace(old, new, 1))
    sets = [part for o in overrides for part in ("--set", o)]
    assert accelsim("validate", file).code == 0, "only the layer and the architecture can tell"
    done = accelsim(
        "run", "lenet5", *SYSTOLIC, "--mapping", file, "--layer", "conv2", "--format", "json", *sets
    )
    (row,) = done.rows
    assert done.code == 1 and row.get("cycles") is None and row["mapping"] == "mine"
    assert re.search(says, row["error"]) and done.err == f"conv2 by_hand: {row['error']}\n"
    nest = accelsim("show", "lenet5", *SYSTOLIC, "--mapping", file, "--layer", "conv2", *sets)
    assert nest.code == 1 and f"  cannot be mapped: {row['error']}\n" in nest.out


def test_layers_without_a_mapping_leave_the_others(file: Path) -> None:
    file.write_text(MANY.replace("v1.a", "fc_3"))
    done = accelsim("run", "lenet5", *SYSTOLIC, "--mapping", file, "--format", "json")
    errors = {r["layer"]: r["error"] for r in done.rows}
    assert done.code == 1 and errors["conv1"] is None and errors["conv2"] is None
    assert errors["fc3"] == "mine has no mapping for fc3; nearest: fc_3"
    table = accelsim("run", "lenet5", *SYSTOLIC, "--mapping", file)
    assert table.code == 1 and "fc1 mine: mine has no mapping for fc1" in table.out


def test_either_a_dataflow_or_a_mapping(file: Path) -> None:
    file.write_text(ONE)
    assert "Missing option '--dataflow' or '--mapping'" in refused(
        accelsim("run", "lenet5", *SYSTOLIC)
    )
    both = accelsim("run", "lenet5", *SYSTOLIC, "--mapping", file, "--dataflow", "ws,os")
    assert refused(both) == "dataflow: a mapping goes with one dataflow at most, got ws, os"
    with pytest.raises(InputError, match="dataflow: must be given, unless a mapping is"):
        acc.simulate("lenet5", "systolic")


# Overrides in results -----------------------------------------------------------------------------


def test_overrides_stand_above_the_table_and_in_json() -> None:
    sets = ("--set", "array.rows=8", "--set", "array.overlap=true")
    run = ("run", "lenet5", *SYSTOLIC, "--dataflow", "ws,os", "--layer", "fc3")
    free = "sram has no port: it is never waited for"
    assert accelsim(*run, *sets).out.startswith(
        f"lenet5 on systolic with array.rows=8, array.overlap=true, batch 1\n{free}\ndataflow"
    )
    assert accelsim(*run).out.startswith(f"lenet5 on systolic, batch 1\n{free}\ndataflow")
    port = ("--set", "levels.dram.port_bits=64")
    assert "\nsram has no port: it is never waited for\ndataflow" in accelsim(*run, *port).out
    assert [r["overrides"] for r in accelsim(*run, *sets, "--format", "json").rows] == [
        {"array.rows": 8, "array.overlap": True}
    ] * 2
    assert [r["overrides"] for r in accelsim(*run, "--format", "json").rows] == [{}, {}]
    csv = accelsim(*run, *sets, "--format", "csv")
    assert csv.out.startswith("workload,")


def test_overrides_from_python_are_plain_values() -> None:
    import numpy as np

    result = acc.simulate(
        "lenet5",
        "systolic",
        "ws",
        layers=["fc3"],
        overrides={"array.rows": np.int64(8), "levels.reg.keeps": ("weight",)},
    )
    assert result.overridden == ('systolic with array.rows=8, levels.reg.keeps=["weight"]',)
    assert json.loads(result.to_json())[0]["overrides"] == {
        "array.rows": 8,
        "levels.reg.keeps": ["weight"],
    }
    assert result._repr_html_().startswith(
        "<p>lenet5 on systolic with array.rows=8, "
        "levels.reg.keeps=[&quot;weight&quot;], batch 1</p>"
        "<p>sram has no port: it is never waited for</p><table>"
    )


def test_list_has_only_what_is_shipped() -> None:
    done = accelsim("list")
    assert isinstance(done, Done) and ("mappings:" in done.out) == bool(shipped_names("mappings"))
    assert KEEP and all(
        re.search(rf"^  {name}\b.* \S", done.out, re.MULTILINE) for _, name in SHIPPED
    )


def test_a_mapping_as_a_file_runs(tmp_path):
    one = ("lenet5", "--layer", "conv1", "--arch", "systolic")
    shown = accelsim("show", *one, "--dataflow", "ws", "--yaml")
    assert shown.code == 0
    file = tmp_path / "loops.yaml"
    file.write_text(shown.out)
    assert accelsim("run", *one, "--mapping", str(file), "--check").code == 0
    for wrong in (("--yaml", "--tiles"), ("--yaml", "--layer", "conv2")):
        refused = accelsim("show", *one, "--dataflow", "ws", *wrong)
        assert refused.code == 2 and not refused.out and refused.err.count("\n") == 1
