"""Files: what is shipped is found and read, and whatever is wrong with a file is one line that says
where and what.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import InputError
from accelsim.base.overrides import apply_overrides
from accelsim.base.shipped import resolve_file, shipped_folder, shipped_names
from accelsim.base.validation import load_model, validate
from accelsim.base.yaml_reading import read_yaml, yaml_scalar
from accelsim.base.yaml_writing import to_yaml
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.mapping import Mapping
from accelsim.workload.network import Workload

MODELS: dict[str, Any] = {
    "architectures": Architecture,
    "dataflows": Dataflow,
    "workloads": Workload,
}
SHIPPED = [(kind, name) for kind in MODELS for name in shipped_names(kind)]

ARCH = """\
name: small
clock_mhz: 200.0
array:
  rows: 12
  cols: 14
bits: {weight: 16, ifmap: 16, psum: 16, ofmap: 16}
levels:
  dram: {}
  glb:
    capacity_bytes: 102400
    banks: 25
    partitions: {weight: 8192}
  spad:
    partitions: {weight: 448, ifmap: 24, ofmap: 48}
networks:
  link: {below: dram}
  noc: {below: glb}
energy:
  unit: mac
  mac: 1.0
  levels: {dram: 200.0, glb: 6.0, spad: 1.0}
  networks: {link: 0.0, noc: 2.0}
"""
FLOW = """\
name: weight_stationary
short: ws
stays: [weight]
order:
  outer: [G, X, M, K]
  inner: [G, X, K]
space: [K:row, M:col]
pe: [X]
sizes: [M:col, K:row]
"""
NET = """\
name: two
layers:
  - {name: a, M: 2, C: 1, H: 8, W: 8, R: 3, S: 3}
  - {name: b, M: 4, C: 2, H: 6, W: 6, R: 3, S: 3, padding: same}
  - {name: c, type: linear, M: 10, C: 4, H: 6, W: 6}
"""
BASES = {"architectures": ARCH, "dataflows": FLOW, "workloads": NET}


def refusal(file: Path, kind: str = "architectures", **options: Any) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as e:
        load_model(file, MODELS[kind], kind, **options)
    line = str(e.value)
    assert line.isprintable(), "one line, nothing that upsets a terminal"
    return line


# What is shipped ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_shipped_files_load_and_survive_a_round_trip(kind: str, name: str, tmp_path: Path) -> None:
    model = load_model(resolve_file(kind, name), MODELS[kind], kind)
    copy = tmp_path / "copy.yaml"
    copy.write_text(to_yaml(model), encoding="utf-8")
    assert load_model(copy, MODELS[kind], kind) == model


@pytest.mark.parametrize("name", ["row_stationary", "row-stationary", "Row-Stationary", "rs", "RS"])
def test_names_of_a_dataflow(name: str) -> None:
    assert resolve_file("dataflows", name) == shipped_folder("dataflows") / "row_stationary.yaml"


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text(ARCH)
    assert resolve_file("architectures", str(tmp_path / "mine.yaml")) == tmp_path / "mine.yaml"
    monkeypatch.chdir(tmp_path)
    assert resolve_file("architectures", "mine.yaml") == Path("mine.yaml")


def resolve_error(kind: str, name: str) -> str:
    with pytest.raises(InputError) as e:
        resolve_file(kind, name)
    return str(e.value)


def test_unknown_names() -> None:
    assert resolve_error("architectures", "eyeris").endswith("got eyeris; nearest: eyeriss")
    nearest = "nearest: weight_stationary, weight_stationary_planes, weight_stationary_groups"
    assert resolve_error("dataflows", "weight_stationery").endswith(nearest)
    assert "choices: eyeriss" in resolve_error("architectures", "zzz")
    assert "got nothing" in resolve_error("workloads", "")


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(ARCH)
    assert (
        resolve_error("architectures", f"{tmp_path}/mein.yaml")
        == f"{tmp_path}/mein.yaml: no such file; choices: mine.yaml"
    )
    assert (
        resolve_error("architectures", "eyeriss.yaml")
        == "eyeriss.yaml: no such file; choices: eyeriss"
    )
    assert "cannot be read" in resolve_error("architectures", "\0.yaml")
    assert "cannot be read" in resolve_error("architectures", "a" * 5000 + ".yaml")


def test_importing_files_is_light() -> None:
    code = (
        "import sys, accelsim.base.validation, accelsim.base.yaml_writing; print([m for m in"
        " ('pydantic', 'ruamel.yaml', 'numpy') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


# Broken files -------------------------------------------------------------------------------------
# kind, what is replaced, by what, where the error must point (line below the edit, column or None),
# what it must say

ARRAY = "  rows: 12\n"
BROKEN: list[tuple[str, str, str, int, int | None, str]] = [
    # misspelt names, at every depth
    (
        "architectures",
        "levels:\n",
        "levles:\n",
        0,
        1,
        "levles: no such key, got levles; nearest: levels",
    ),
    (
        "architectures",
        ARRAY,
        "  rwos: 12\n",
        0,
        3,
        "array.rwos: no such key, got rwos; nearest: rows",
    ),
    (
        "architectures",
        "    banks",
        "    bancs",
        0,
        5,
        "levels.glb.bancs: no such key, got bancs; nearest: banks",
    ),
    (
        "architectures",
        "weight: 8192",
        "wieght: 8192",
        0,
        18,
        "levels.glb.partitions.wieght: .*nearest: weight",
    ),
    (
        "architectures",
        "unit: mac",
        "unit: macs",
        0,
        9,
        "energy.unit: must be 'mac' or 'pj', got macs; nearest: mac",
    ),
    ("architectures", "below: glb", "below: glbb", 0, 9, "networks.noc.below: no level 'glbb'"),
    ("architectures", "dram: 200.0", "drma: 200.0", 0, 3, "energy.levels: must name exactly dram"),
    (
        "dataflows",
        "stays: [weight]",
        "stays: [wheight]",
        0,
        9,
        "stays.0: .*got wheight; nearest: weight",
    ),
    ("dataflows", "outer:", "outre:", 0, 3, "order.outre: no such key, got outre; nearest: outer"),
    ("dataflows", "K:row, M:col]\npe", "K:rwo, M:col]\npe", -6, 1, "'K:rwo'"),
    ("dataflows", "[G, X, M, K]", "[G, Y, M, K]", 0, 14, "order.outer.1: must be 'N', .*got Y"),
    (
        "workloads",
        "padding: same",
        "padding: smae",
        0,
        60,
        "layers.b.padding: .*valid or same, got smae",
    ),
    (
        "workloads",
        "padding: same",
        "pading: same",
        0,
        51,
        "layers.b.pading: no such key, got pading; nearest: padding",
    ),
    (
        "workloads",
        "type: linear",
        "type: linaer",
        0,
        21,
        "layers.c.type: .*got linaer; nearest: linear",
    ),
    # keys left out
    ("architectures", ARRAY, "", -1, 1, "array.rows: must be given"),
    ("architectures", "name: small\n", "", 0, 1, "name: must be given"),
    ("workloads", "M: 2, ", "", 0, 5, "layers.a.M: must be given"),
    # wrong types, quoted numbers, YAML booleans
    (
        "architectures",
        "rows: 12",
        "rows: twelve",
        0,
        9,
        "array.rows: must be a whole number, got twelve",
    ),
    (
        "architectures",
        "rows: 12",
        'rows: "12"',
        0,
        9,
        'array.rows: must be a whole number without quotes, got "12"',
    ),
    (
        "architectures",
        "rows: 12",
        "rows: 12.5",
        0,
        9,
        "array.rows: must be a whole number, got 12.5",
    ),
    (
        "architectures",
        "rows: 12",
        "rows: true",
        0,
        9,
        "array.rows: must be a whole number, got true",
    ),
    (
        "architectures",
        "rows: 12",
        "rows: yes",
        0,
        9,
        "array.rows: must be true or false, or in quotes",
    ),
    (
        "architectures",
        "rows: 12",
        "rows: off",
        0,
        9,
        "array.rows: must be true or false, or in quotes",
    ),
    ("architectures", "rows: 12", "rows:", 0, 3, "array.rows: must be a whole number, got nothing"),
    (
        "architectures",
        "rows: 12",
        "rows: [12]",
        0,
        9,
        r"array.rows: must be a whole number, got \[12\]",
    ),
    (
        "architectures",
        "rows: 12",
        "rows: {a: 12}",
        0,
        9,
        "array.rows: must be a whole number, got a mapping",
    ),
    (
        "architectures",
        "  dram: {}",
        "  dram: 5",
        0,
        9,
        "levels.dram: must be a mapping of keys to values, got 5",
    ),
    (
        "architectures",
        "clock_mhz: 200.0",
        'clock_mhz: "200"',
        0,
        12,
        "clock_mhz: must be a number without quotes",
    ),
    ("architectures", "name: small", "name: 7", 0, 7, r"name: must be text \(in quotes\), got 7"),
    ("dataflows", "pe: [X]", "pe: X", 0, 5, "pe: must be a list, got X"),
    ("workloads", "M: 2", "M: two", 0, 18, "layers.a.M: must be a whole number, got two"),
    (
        "workloads",
        "type: linear",
        "type: [linear]",
        0,
        21,
        "layers.c.type: must be 'conv2d', 'linear'",
    ),
    (
        "workloads",
        "  - {name: c",
        "  - c\n  - {name: c",
        0,
        5,
        "layers.2: must be a mapping of keys to values, got c",
    ),
    # numbers out of range
    ("architectures", "rows: 12", "rows: 0", 0, 9, "array.rows: must be greater than 0, got 0"),
    ("architectures", "rows: 12", "rows: -3", 0, 9, "array.rows: must be greater than 0, got -3"),
    (
        "architectures",
        "rows: 12",
        "rows: " + "9" * 40,
        0,
        9,
        r"array.rows: must be a number of at most 2\^53",
    ),
    (
        "architectures",
        "rows: 12",
        "rows: " + "9" * 5000,
        0,
        9,
        r"array.rows: must be a number of at most 2\^53",
    ),
    ("architectures", "weight: 16", "weight: 17", 0, 16, "bits.weight: must be at most 16, got 17"),
    (
        "architectures",
        "clock_mhz: 200.0",
        "clock_mhz: .nan",
        0,
        12,
        "clock_mhz: must be a finite number, got .nan",
    ),
    (
        "architectures",
        "clock_mhz: 200.0",
        "clock_mhz: -.inf",
        0,
        12,
        "clock_mhz: must be a finite number",
    ),
    (
        "architectures",
        "clock_mhz: 200.0",
        "clock_mhz: 1e999",
        0,
        12,
        "clock_mhz: must be a finite number, got 1e999",
    ),
    (
        "architectures",
        "clock_mhz: 200.0",
        "clock_mhz: nan",
        0,
        12,
        "clock_mhz: must be a number, got nan",
    ),
    (
        "architectures",
        "  mac: 1.0",
        "  mac: -1.0",
        0,
        8,
        "energy.mac: must be at least 0, got -1.0",
    ),
    ("workloads", "M: 2", "M: 3000000000", 0, 18, "layers.a.M: must be at most 2147483647"),
    # scalars that other YAML readers take differently
    ("architectures", "rows: 12", "rows: 012", 0, 9, "array.rows: must be a decimal number"),
    ("architectures", "rows: 12", "rows: 0x10", 0, 9, "array.rows: must be a decimal number"),
    ("architectures", "rows: 12", "rows: 1_000", 0, 9, "array.rows: must be a decimal number"),
    ("architectures", "rows: 12", "rows: 1:30", 0, 9, "array.rows: must be a decimal number"),
    # YAML itself
    ("architectures", "  rows", "\trows", 0, 1, "tabs are not allowed"),
    (
        "architectures",
        ARRAY,
        ARRAY + "  rows: 13\n",
        1,
        3,
        "array.rows: is given twice, first on line 4",
    ),
    (
        "workloads",
        "name: b",
        "name: a",
        -1,
        None,
        "layers.b|every layer needs a name of its own, got a twice",
    ),
    ("architectures", "rows: 12", "rows: &x 12", 0, 9, "array.rows: anchors"),
    ("architectures", "rows: 12", "rows: *x", 0, 9, "array.rows: anchors"),
    (
        "architectures",
        "rows: 12",
        "rows: !!int 12",
        0,
        9,
        r"array.rows: tags \(!\) are not allowed",
    ),
    ("architectures", "rows: 12", "rows: 12]", 0, None, "must be a whole number|is not YAML"),
    ("architectures", "dram: {}", "dram: {", 2, 19, "is not YAML"),
    (
        "architectures",
        "rows: 12",
        "rows: 12: 13",
        0,
        11,
        "is not YAML: mapping values are not allowed here",
    ),
    ("architectures", "rows: 12", "12: rows", 0, 3, "array: a key must be a name, got 12"),
    ("architectures", "rows: 12", "? [a]\n  : 12", 0, 5, "array: a key must be a name, got a list"),
    ("architectures", "rows: 12", "<<: {rows: 12}", 0, 3, "array: a key must be a name, got <<"),
    ("architectures", "energy:", "---\nenergy:", 0, 1, "only one document is allowed"),
    ("architectures", "name: small", "%YAML 1.1\n---\nname: small", 1, 1, "directives"),
    ("architectures", "name: small", "name: sm\x07all", 0, 9, "character 0x0007 is not allowed"),
    (
        "architectures",
        "name: small",
        'name: "\\ud800"',
        0,
        7,
        "name: must be text without lone surrogates",
    ),
    ("architectures", "name: small", 'name: "\\UFFFFFFFF"', 0, None, "is not YAML"),
    ("architectures", "name: small", "name: small\0", 0, 12, "must be text, not binary"),
    # what only the whole model can tell
    (
        "architectures",
        "banks: 25",
        "banks: 24",
        -2,
        3,
        "levels.glb: capacity_bytes 102400 is not a whole number of 24 banks",
    ),
    (
        "architectures",
        "dram: {}",
        "dram: {capacity_bytes: 8}",
        0,
        3,
        "levels.dram: the outermost level keeps all tensors",
    ),
    (
        "workloads",
        "R: 3, S: 3}",
        "R: 9, S: 3}",
        0,
        5,
        r"layers.a: the filter \(R=9, dilation 1\) is larger than the padded ifmap",
    ),
    (
        "workloads",
        "M: 2, C: 1",
        "M: 2000000000, C: 2000000000",
        0,
        5,
        r"layers.a: a layer may have at most 2\^53 MACs",
    ),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda c: f"{c[0]}-{c[2].strip()[:25]!r}")
def test_broken_files(case: tuple[str, str, str, int, int | None, str], tmp_path: Path) -> None:
    kind, old, new, below, column, says = case
    text = BASES[kind]
    assert old in text
    file = tmp_path / "bad.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    said = refusal(file, kind)
    at = re.match(re.escape(str(file)) + r":(\d+):(\d+): ", said)
    assert at, said
    assert re.search(says, said), said
    if not says.startswith("layers.b|"):
        assert int(at[1]) == text[: text.index(old)].count("\n") + 1 + below, said
    assert column is None or int(at[2]) == column, said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r":1:1: an architecture file must be a mapping of keys to values, got nothing"),
        (b"# only a comment\n", r":1:1: an architecture file must be a mapping"),
        (b"- 1\n- 2\n", r":1:1: .* got \[1, 2\]"),
        (b"just words\n", r":1:1: .* got 'just words'"),
        (b"name: a\ndescription: \xff\xfe\n", r":2:14: must be UTF-8 text, got byte 0xff"),
        (bytes(range(256)), r":1:1: must be text, not binary|UTF-8"),
        ("name: a\n".encode("utf-16"), r":1:1: must be UTF-8 text"),
        (b"name: a\n" * 70_000, r": must be at most 500000 bytes"),
        (b"#\n" * 30_000, r": must have at most 20000 lines, got 30001"),
        (b"a: " + b"x" * 20_000, r":1: a line must have at most 10000 characters"),
        (b"a: " + b"[" * 5_000, r":1:\d+: must not be nested more than 20 deep"),
        (
            b"a: [\n" + (b"1, " * 3_000 + b"\n") * 30 + b"]\n",
            r": must have at most 40000 keys and values",
        ),
        (b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", r":1:4: a: anchors"),
        (b"a: &a [*a]\n", r":1:4: a: anchors"),
    ],
)
def test_files_that_are_not_even_a_mapping(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    said = refusal(file)
    assert said.startswith(str(file))
    assert re.search(says, said), said


def test_what_is_not_a_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: must be a file, got a directory"
    assert refusal(tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: no such file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    assert refusal(tmp_path / "pipe.yaml").endswith("must be a file, got something else")


HOSTILE = """
import resource, sys, time
from pathlib import Path
from accelsim.base.errors import InputError
from accelsim.base.overrides import apply_overrides
from accelsim.base.validation import load_model, validate
from accelsim.base.yaml_reading import read_yaml, yaml_scalar
from accelsim.base.shipped import resolve_file, shipped_folder, shipped_names
from accelsim.base.yaml_writing import to_yaml
from accelsim.workload.network import Workload

layer = "  - {name: a%d, M: 1, C: 1, H: 3, W: 3, R: 3, S: 3, q: 1}\\n"
texts = [
    "a:\\n" + ("  " + "x " * 4900 + "\\n") * 50,
    "a: |\\n" + "  x\\n" * 19_990,
    "a: !" + "x" * 9_900,
    "a: '" + "\\n" * 19_990,
    ("# " + "x" * 9_000 + "\\n") * 50,
    "name: a\\nlayers: [" + ("1, " * 3_000 + "\\n") * 6 + "]",
    "name: a\\nlayers:\\n" + "".join(layer % i for i in range(2_000)),
    "name: a\\n" + "".join(f"key{i}: 1\\n" for i in range(19_000)),
    "a: [" + "{b: [" * 2_000,
    "".join(" " * i + "a:\\n" for i in range(700)),
]
file = Path(sys.argv[1])
for text in texts:
    file.write_text(text)
    # Seconds of our own: other work on the machine is not the file's cost.
    start = time.process_time()
    try:
        load_model(file, Workload, "workloads")
    except InputError as e:
        took = time.process_time() - start
        assert took < 2, (took, text[:40], str(e)[:200])
    else:
        raise SystemExit(f"accepted: {text[:40]!r}")
# Where there is one: getrusage counts what the test's own process had before it became this.
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
peak = [int(x.split()[1]) for x in lines if x.startswith("VmHWM")]
print(*(peak or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_hostile_files_cost_little(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(tmp_path / "x.yaml")], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    kilobytes = int(run.stdout) / (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 300_000


def test_scalars() -> None:
    plain = {
        "1": 1,
        "-1": -1,
        "1.5": 1.5,
        ".5": 0.5,
        "1e3": 1000.0,
        "true": True,
        "False": False,
        "~": None,
        "": None,
    }
    assert {text: yaml_scalar(text) for text in plain} == plain
    for word in ("N", "y", "n", "K:1:sram:row", "2017-01-01", "1.2.3", "nan", "e5", "-"):
        assert yaml_scalar(word) == word


def test_yaml_that_is_fine(tmp_path: Path) -> None:
    file = tmp_path / "fine.yaml"
    file.write_bytes(
        (
            "\ufeff---\r\n"
            + ARCH.replace("\n", "\r\n")
            + "description: |\r\n  two\r\n  lines\r\n...\r\n"
        ).encode()
    )
    assert load_model(file, Architecture, "architectures").description == "two\nlines\n"


def test_input_errors_survive_pickling() -> None:
    error = InputError(
        "no such key",
        file="a.yaml",
        line=3,
        column=5,
        key="array.rwos",
        got="rwos",
        choices=["rows", "cols"],
    )
    assert str(error) == "a.yaml:3:5: array.rwos: no such key, got rwos; nearest: rows"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.line, copy.key, copy.nearest) == (
        str(error),
        3,
        "array.rwos",
        ("rows",),
    )


# No mutation of a valid file ends in a traceback --------------------------------------------------

# fmt: off
NASTY_TOKENS = [
    "~", "null", "true", "yes", "0", "-1", "0x1F", "1e999", ".nan", "99999999999999999999",
    "9007199254740992", "2147483647", "1e5", "0.0", "''", '""', "[]", "{}", "[[]]", "{a: 1}",
    "[1, 1]", "*a", "&a ", "!!binary ", "<<", "|", ">", "?", "-", ":", "#", ",", "@", "`", "'",
    "weight", "ofmap", "dram", "M", "K:row", "X", "0:row", ":row", "same", "valid", "linear",
    "gemm", "conv2d", "\t", "\r", "\0", "\ufeff",
]
# fmt: on
NASTY = st.sampled_from(NASTY_TOKENS) | st.text(max_size=4)
TEXTS = [
    (kind, (shipped_folder(kind) / f"{name}.yaml").read_text("utf-8"))
    for kind, name in SHIPPED
    if name != "resnet50"
]
TEXTS += [(kind, text) for kind, text in BASES.items() for _ in range(3)]


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, str]:
    """A valid file with one to four tokens replaced, repeated, moved, dropped or preceded by
    something nasty.
    """
    kind, text = draw(st.sampled_from(TEXTS))
    parts = re.findall(r"\w+|\s+|.", text)
    for _ in range(draw(st.integers(1, 4))):
        i, j = draw(st.integers(0, len(parts) - 1)), draw(st.integers(0, len(parts) - 1))
        match draw(st.sampled_from(["replace", "insert", "drop", "cut", "swap", "repeat"])):
            case "replace":
                parts[i] = draw(NASTY)
            case "insert":
                parts.insert(i, draw(NASTY))
            case "drop":
                parts[i] = ""
            case "cut":
                parts[i : i + 8] = [""]
            case "swap":
                parts[i], parts[j] = parts[j], parts[i]
            case "repeat":
                parts[i:i] = parts[j : j + 12]
    return kind, "".join(parts)


def loads_or_is_refused(tmp_path_factory: pytest.TempPathFactory, mutated: tuple[str, str]) -> None:
    """In one printable line that names the file; what loads is written and read as it was."""
    kind, text = mutated
    file = tmp_path_factory.getbasetemp() / "mutated.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        model = load_model(file, MODELS[kind], kind)
    except InputError as e:
        assert str(e).startswith(str(file))
        assert str(e).isprintable()
    else:
        file.write_text(to_yaml(model), "utf-8")
        assert load_model(file, MODELS[kind], kind) == model


@settings(max_examples=100, deadline=None)
@given(mutated=mutations())
def test_mutations_load_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, mutated: tuple[str, str]
) -> None:
    loads_or_is_refused(tmp_path_factory, mutated)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(mutated=mutations())
def test_many_mutations_load_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, mutated: tuple[str, str]
) -> None:
    loads_or_is_refused(tmp_path_factory, mutated)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_load_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(content)
    try:
        read_yaml(file, "workloads")
    except InputError as e:
        assert str(e).isprintable()


@given(st.text())
def test_any_text_survives_dumping(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "dumped.yaml"
    model = validate(
        {"name": "a", "description": text, "layers": [{"type": "linear", "M": 1, "C": 1}]}, Workload
    )
    file.write_bytes(to_yaml(model).encode())
    assert load_model(file, Workload, "workloads") == model


# Overrides ----------------------------------------------------------------------------------------


@pytest.fixture
def arch_file(tmp_path: Path) -> Path:
    (tmp_path / "arch.yaml").write_text(ARCH)
    return tmp_path / "arch.yaml"


def overridden(file: Path, **overrides: Any) -> Architecture:
    return load_model(
        file, Architecture, "architectures", {k.replace("__", "."): v for k, v in overrides.items()}
    )


def test_overrides(arch_file: Path) -> None:
    assert overridden(arch_file, array__rows=32).array.rows == 32
    assert (
        overridden(arch_file, levels__glb__capacity_bytes=51200).levels["glb"].capacity_bytes
        == 51200
    )
    assert overridden(arch_file, levels__glb__banks=None).levels["glb"].banks is None
    assert overridden(arch_file, energy__levels__dram=100).energy.levels["dram"] == 100
    assert overridden(arch_file, levels__spad__keeps=("weight", "ifmap", "ofmap")).levels[
        "spad"
    ].keeps == ("weight", "ifmap", "ofmap")


def test_overrides_of_what_the_file_leaves_to_its_default(arch_file: Path) -> None:
    arch = overridden(
        arch_file, signed__weight=False, array__overlap=True, levels__glb__partitions__ofmap=64
    )
    assert (arch.signed.weight, arch.signed.ifmap, arch.array.overlap) == (False, True, True)
    assert arch.levels["glb"].partitions == {"weight": 8192, "ofmap": 64}


def test_overrides_with_numpy_numbers(arch_file: Path) -> None:
    assert [overridden(arch_file, array__rows=n).array.rows for n in np.array([8, 16])] == [8, 16]


def test_overrides_from_the_command_line(arch_file: Path) -> None:
    texts = {
        "array.rows": "32",
        "array.overlap": "true",
        "levels.glb.keeps": "[weight, ifmap, ofmap]",
        "name": "'12'",
    }
    arch = load_model(arch_file, Architecture, "architectures", texts, from_text=True)
    assert (arch.array.rows, arch.array.overlap, arch.levels["glb"].keeps, arch.name) == (
        32,
        True,
        ("weight", "ifmap", "ofmap"),
        "12",
    )


def test_overrides_leave_the_data_alone() -> None:
    data = {"array": {"rows": 1}}
    assert apply_overrides(data, {"array.rows": 2}) == {"array": {"rows": 2}}
    assert data == {"array": {"rows": 1}}
    with pytest.raises(InputError, match="no such key"):
        apply_overrides(data, {"array.cols": 2})


def test_overrides_reach_layers_by_name_and_number(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(NET)
    net = load_model(
        tmp_path / "net.yaml", Workload, "workloads", {"layers.b.M": 6, "layers.0.stride": [1, 2]}
    )
    assert (net.layers[1].problem().M, net.layers[0].problem().stride) == (6, (1, 2))
    said = refusal(tmp_path / "net.yaml", "workloads", overrides={"layers.d1.M": 6})
    assert said == "layers.d1.M: no such entry in a list of 3, got d1; choices: a, b, c"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("array.rwos", "1", "array.rwos: no such key, got rwos; nearest: rows"),
        ("arry.rows", "1", "arry.rows: no such key, got arry; nearest: array"),
        ("levels.gbl.banks", "1", "levels.gbl.banks: no such key, got gbl; nearest: glb"),
        ("levels.glb.partitions.wieght", "1", "no such key, got wieght; nearest: weight"),
        ("array.rows.x", "1", "array.rows.x: there are no keys below a single value"),
        ("array.", "1", "array.: no such key, got nothing"),
        ("", "1", "no such key, got nothing"),
        ("array.rows", "0", "arch.yaml: array.rows: must be greater than 0, got 0"),
        ("array.rows", "many", "arch.yaml: array.rows: must be a whole number, got 'many'"),
        ("array.rows", "'12'", "arch.yaml: array.rows: must be a whole number without quotes"),
        ("array.rows", "yes", "array.rows: must be true or false"),
        ("array.rows", "", "arch.yaml: array.rows: must be a whole number, got nothing"),
        ("array.rows", "[1", "array.rows: is not YAML"),
        ("array.rows", "\n&a", "array.rows: anchors"),
        ("array.rows", "1e999", "array.rows: must be a finite number"),
        ("array", "1", "arch.yaml: array: must be a mapping of keys to values, got 1"),
        (
            "levels.glb.banks",
            "24",
            r"arch.yaml:9:3: levels.glb: capacity_bytes 102400 .* \(overridden: levels.glb.banks\)",
        ),
        (
            "levels.spad.keeps",
            "[weigth]",
            "arch.yaml: levels.spad.keeps.0: .*got 'weigth'; nearest: weight",
        ),
    ],
)
def test_impossible_overrides(key: str, value: str, says: str, arch_file: Path) -> None:
    said = refusal(arch_file, overrides={key: value}, from_text=True)
    assert re.search(says, said), said


def test_overrides_too_large_to_be_exact(arch_file: Path) -> None:
    assert refusal(arch_file, overrides={"array.rows": 10**30}).startswith(
        "array.rows: must be a number of at most 2^53"
    )


def test_mappings_load_too(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("loops: [M:16:sram, K:1:sram:row]\nkeep: {dram: [weight, ifmap, ofmap]}\n")
    mapping = load_model(file, Mapping, "mappings")
    assert str(mapping) == "M:16:sram K:1:sram:row"
    file.write_text(to_yaml(mapping))
    assert load_model(file, Mapping, "mappings") == mapping
    file.write_text("loops:\n  - M:16:sram\n  - M;1\nkeep: {}\n")
    with pytest.raises(
        InputError, match=r"map.yaml:3:5: loops.1: a loop is written dim:tile:level"
    ):
        load_model(file, Mapping, "mappings")


def test_overrides_of_an_architecture_object() -> None:
    for name in ("eyeriss", "tpu_v1", "systolic", "scalesim", "shidiannao"):
        arch = load_architecture(name)
        assert load_architecture(arch, {"array.rows": arch.array.rows}) == arch
        assert load_architecture(arch, {"array.rows": 3}) == load_architecture(
            name, {"array.rows": 3}
        )
    with pytest.raises(InputError, match="no such key, got row; nearest: rows"):
        load_architecture(arch, {"array.row": 3})
