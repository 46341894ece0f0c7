"""``validate``, ``schema``, mapping files and overrides: what is wrong is one line with its place,
exit 2, never a traceback.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import Done, accelsim
from test_files import ARCH, BASES, FLOW, NASTY, NET, SHIPPED

from accelsim.base.errors import InputError
from accelsim.base.shipped import SINGULAR, resolve_file
from accelsim.base.validation import load_model
from accelsim.base.yaml_reading import YamlSource, read_yaml
from accelsim.base.yaml_writing import to_yaml
from accelsim.cli import file_kinds as kinds
from accelsim.mapping.files import MappingFile, load_mapping
from accelsim.mapping.mapping import FUSED, Mapping, MappingError

ROOT = Path(__file__).resolve().parents[1]

KEEP = """\
keep:
  dram: [weight, ifmap, ofmap]
  sram: [weight, ifmap, ofmap]
  reg: [weight]
"""
ONE = (
    """\
name: by_hand
description: weights stay, sixteen filters at a time
loops: [M:16:sram, "K:8:sram", K:1:sram:row, M:1:sram:col, X:1:reg]
"""
    + KEEP
)
TEXT = "loops: M:16:sram K:8:sram K:1:sram:row M:1:sram:col X:1:reg\n" + KEEP
MANY = (
    KEEP
    + """\
layers:
  conv1:
    loops:
      - K:8:sram
      - K:1:sram:row
      - M:1:sram:col
      - X:1:reg
  conv2: {loops: [K:10:sram, K:1:sram:row, M:1:sram:col, X:1:reg], \
fused: {K: [C, R, S], X: [N, E, F]}}
  v1.a: {loops: M:1:dram C:1:dram E:1:dram F:1:dram R:1:dram S:1:dram, \
keep: {dram: [weight, ifmap, ofmap]}}
"""
)
MAPPINGS = {"one": ONE, "text": TEXT, "many": MANY}


def refused(done: Done) -> str:
    """The one line with which a command refuses its input."""
    assert (done.code, done.out) == (2, ""), done
    line = done.err.removesuffix("\n")
    assert line and line.isprintable(), done.err
    return line


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


# validate -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text"), [*BASES.items(), *(("mappings", text) for text in MAPPINGS.values())]
)
def test_valid_files_are_recognised_by_their_keys(kind: str, text: str, file: Path) -> None:
    file.write_text(text)
    name = re.search(r"^name: (\w+)", text, re.MULTILINE)
    said = f"{file}: valid {SINGULAR[kind]} {name[1] if name else 'mine'}\n"
    assert (
        accelsim("validate", file)
        == accelsim("validate", file, "--kind", SINGULAR[kind])
        == Done(0, said, "")
    )


def test_shipped_files_are_valid() -> None:
    paths = [resolve_file(kind, name) for kind, name in SHIPPED]
    done = accelsim("validate", *paths)
    assert done == Done(
        0,
        "".join(
            f"{p}: valid {SINGULAR[kind]} {name}\n"
            for p, (kind, name) in zip(paths, SHIPPED, strict=True)
        ),
        "",
    )


def test_every_file_gets_its_line(tmp_path: Path) -> None:
    for name, text in (
        ("a", ARCH),
        ("b", FLOW.replace("outer", "outre")),
        ("c", NET),
        ("d", ONE.replace("X:1:reg", "X:0:reg")),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
    done = accelsim("validate", *(tmp_path / f"{n}.yaml" for n in "abcde"))
    assert done.code == 2
    assert (
        done.out
        == f"{tmp_path}/a.yaml: valid architecture small\n{tmp_path}/c.yaml: valid workload two\n"
    )
    b, d, e = done.err.splitlines()
    assert b.startswith(f"{tmp_path}/b.yaml:5:3: order.outre: no such key")
    assert d.startswith(f"{tmp_path}/d.yaml:3:60: loops.4: a tile is at least 1")
    assert e.startswith(f"{tmp_path}/e.yaml: no such file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "a: 1\n",
            r"mine.yaml:1:1: must have the keys of one kind of file, .* or study \(validate takes"
            r" --kind\), got a",
        ),
        ("name: a\n", "must have the keys of one kind of file, .*, got none of them"),
        (
            "loops: [M:1:dram]\nenergy: {}\n",
            "must have the keys of one kind of file, architecture or mapping .*, got loops, energy",
        ),
        ("[]\n", r"a YAML file must be a mapping of keys to values, got \[\]"),
        ("", "a YAML file must be a mapping of keys to values, got nothing"),
    ],
)
def test_files_of_no_kind(text: str, says: str, file: Path) -> None:
    file.write_text(text)
    assert re.search(says, refused(accelsim("validate", file)))
    assert refused(accelsim("show", file)) == refused(accelsim("validate", file))


def test_misspelt_keys_do_not_hide_the_kind(file: Path) -> None:
    for text, kind in (
        (ARCH, "architecture"),
        (FLOW, "dataflow"),
        (NET, "workload"),
        (ONE, "mapping"),
    ):
        source = YamlSource("x", {f"{k}s": v for k, v in _data(text, file).items()}, {})
        assert kinds.recognise(source) == kind


def _data(text: str, file: Path) -> dict[str, Any]:
    file.write_text(text)
    return read_yaml(file).data


def test_kind_overrules_the_keys(file: Path) -> None:
    file.write_text(NET)
    assert "layers: must be a mapping of keys to values" in refused(
        accelsim("validate", "--kind", "mapping", file)
    )


@pytest.mark.parametrize(
    "args", [("validate",), ("validate", "--kind", "net", "x.yaml"), ("schema",), ("schema", "net")]
)
def test_bad_usage_is_one_line(args: tuple[str, ...]) -> None:
    assert refused(accelsim(*args)).endswith(f"(see accelsim {args[0]} --help)")


# Mapping files ------------------------------------------------------------------------------------


def test_a_mapping_for_every_layer(file: Path) -> None:
    file.write_text(TEXT)
    mappings = load_mapping(file)
    assert (mappings.name, mappings.description) == ("mine", "")
    assert mappings.mapping("any") == mappings.mapping("other")
    assert str(mappings.mapping("any")) == "M:16:sram K:8:sram K:1:sram:row M:1:sram:col X:1:reg"
    file.write_text(ONE)
    assert load_mapping(str(file)).mapping("any") == mappings.mapping("any"), (
        "names do not make mappings differ"
    )
    assert load_mapping(str(file)).name == "by_hand"


def test_mappings_by_layer(file: Path) -> None:
    file.write_text(MANY)
    mappings = load_mapping(file)
    assert str(mappings.mapping("conv2")).startswith("K:10:sram")
    assert mappings.mapping("conv1").keep == {
        "dram": ("weight", "ifmap", "ofmap"),
        "sram": ("weight", "ifmap", "ofmap"),
        "reg": ("weight",),
    }
    assert mappings.mapping("conv1").fused == FUSED
    assert set(mappings.mapping("v1.a").keep) == {"dram"}
    with pytest.raises(MappingError, match="mine has no mapping for conv_1; nearest: conv1"):
        mappings.mapping("conv_1")
    file.write_text(MANY + "loops: M:1:dram K:1:dram X:1:dram\n")
    assert str(load_mapping(file).mapping("conv_1")) == "M:1:dram K:1:dram X:1:dram"


def test_mapping_files_survive_a_round_trip(file: Path) -> None:
    for text in MAPPINGS.values():
        file.write_text(text)
        mappings = load_model(file, MappingFile, "mapping")
        file.write_text(to_yaml(mappings))
        assert load_model(file, MappingFile, "mapping") == mappings


def test_mappings_from_python() -> None:
    mapping = Mapping(
        loops="M:1:dram K:1:dram X:1:dram", keep={"dram": ["weight", "ifmap", "ofmap"]}
    )  # type: ignore[arg-type]
    assert load_mapping(mapping).mapping("any") == mapping
    with pytest.raises(
        InputError, match=r"mapping: must be a shipped name or a \.yaml file, got nope"
    ):
        load_mapping("nope")


# base, what is replaced, by what, line, column or None, what it must say
BROKEN: list[tuple[str, str, str, int, int | None, str]] = [
    ("one", "loops: [", "lops: [", 3, 1, "lops: no such key, got lops; nearest: loops"),
    ("one", "keep:\n", "kep:\n", 4, 1, "kep: no such key, got kep; nearest: keep"),
    ("one", "reg: [weight]", "reg: [wieght]", 7, 9, "keep.reg.0: no tensor 'wieght'"),
    (
        "one",
        "reg: [weight]",
        "reg: [weight, weight]",
        7,
        3,
        "keep.reg: a tensor stands twice, got weight, weight",
    ),
    ("one", "reg: [weight]", "reg: weight", 7, 8, "keep.reg: must be a list, got weight"),
    ("one", "reg: [weight]", "reg: [7]", 7, 9, r"keep.reg.0: must be text \(in quotes\), got 7"),
    ("one", "reg: [weight]", "reg:", 7, 3, "keep.reg: must be a list, got nothing"),
    ("one", "reg: [weight]", "sram: [weight]", 7, 3, "keep.sram: is given twice, first on line 6"),
    ("one", KEEP, "", 1, 1, "keep must be given: which tensors each level keeps"),
    ("one", KEEP, "keep: [dram]\n", 4, 7, "keep: must be a mapping of keys to values"),
    (
        "one",
        "M:16:sram",
        "Q:16:sram",
        3,
        9,
        r"loops.0: no dimension 'Q' \(have N, G, M, C, E, F, R, S, K, X\), got Q:16:sram",
    ),
    ("one", "M:16:sram", "m:16:sram", 3, 9, "loops.0: no dimension 'm'"),
    (
        "one",
        "M:16:sram",
        "M:0:sram",
        3,
        9,
        r"loops.0: a tile is at least 1 and at most 2\^53, got 'M:0:sram'",
    ),
    ("one", "M:16:sram", "M:-1:sram", 3, 9, "loops.0: a loop is written dim:tile:level"),
    ("one", "M:16:sram", "M:1.5:sram", 3, 9, "loops.0: a loop is written dim:tile:level"),
    ("one", "M:16:sram", "M:nan:sram", 3, 9, "loops.0: a loop is written dim:tile:level"),
    (
        "one",
        "M:16:sram",
        f"M:{'9' * 5000}:sram",
        3,
        9,
        "loops.0: a tile is at least 1 and at most 2",
    ),
    (
        "one",
        "M:16:sram",
        "M:16",
        3,
        9,
        r"loops.0: a loop is written dim:tile:level\[:row\|:col\], got 'M:16'",
    ),
    (
        "one",
        "K:1:sram:row",
        "K:1:sram:rows",
        3,
        32,
        "loops.2: a loop is written .* got 'K:1:sram:rows'",
    ),
    ("one", "M:16:sram", "16", 3, 9, "loops.0: a loop is written dim:tile:level.*, got 16"),
    ("one", "M:16:sram", "1:2:3", 3, 9, "loops.0: must be a decimal number"),
    ("one", "M:16:sram", "[M, 16]", 3, 9, "loops.0: a loop is written"),
    (
        "one",
        "M:16:sram",
        "{dim: M, tile: '16', level: sram}",
        3,
        24,
        "loops.0.tile: must be a whole number without quotes",
    ),
    (
        "one",
        "M:16:sram",
        "{dim: M, tile: 16, levle: sram}",
        3,
        28,
        "loops.0.levle: no such key, got levle; nearest: level",
    ),
    ("one", "M:16:sram", "M: 16:sram", 3, 9, r"loops.0.M: no such key, got M"),
    (
        "one",
        "[M:16:sram",
        "[" + "M:16:sram, " * 120 + "M:16:sram",
        3,
        8,
        "loops: must have at most 100 entries",
    ),
    ("one", "loops: [", "loops: 5 #[", 3, 8, "loops: must be a list, got 5"),
    ("one", "name: by_hand", "name: 7", 1, 7, r"name: must be text \(in quotes\), got 7"),
    (
        "one",
        "name: by_hand",
        "name: by hand",
        1,
        7,
        "name: must have no spaces or commas, got by hand",
    ),
    (
        "one",
        "name: by_hand",
        "fused: {K: [C, Q]}",
        1,
        9,
        "fused.K: parts are taken once each from C,R,S or from N,E,F, got C,Q",
    ),
    ("one", "name: by_hand", "fused: {M: [C, R]}", 1, 9, "fused.M: M is a dimension already"),
    ("one", "name: by_hand", "fused: {X: [N, E, F]}", 3, 20, "loops.1: no dimension 'K'"),
    ("text", "X:1:reg", "X:1:reg Y:1:reg", 1, 1, "loops: no dimension 'Y' .*, got Y:1:reg"),
    ("text", "X:1:reg", "X;1:reg", 1, 8, r"loops: a loop is written .* got 'X;1:reg'"),
    (
        "many",
        "conv1:\n    loops:",
        "conv1:\n    lops:",
        7,
        5,
        "layers.conv1.lops: no such key, got lops; nearest: loops",
    ),
    (
        "many",
        "      - K:8:sram\n",
        "      - Q:8:sram\n",
        8,
        9,
        "layers.conv1.loops.0: no dimension 'Q'",
    ),
    (
        "many",
        "K: [C, R, S], X",
        "K: [C, R, R], X",
        12,
        76,
        "layers.conv2.fused.K: parts are taken once each",
    ),
    (
        "many",
        "S:1:dram, keep",
        "S:1:drum:up, keep",
        13,
        17,
        r"layers.v1.a.loops: a loop is written",
    ),
    (
        "many",
        "M:1:dram C:1:dram",
        "Y:1:dram C:1:dram",
        13,
        10,
        "layers.v1.a.loops: no dimension 'Y'",
    ),
    ("many", KEEP, "", 2, 3, "layers.conv1: keep must be given, here or for the whole file"),
    ("many", "layers:\n", "layers: {}\nlops:\n", 6, 1, "lops: no such key"),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda c: f"{c[0]}-{c[2].strip()[:25]!r}")
def test_broken_mapping_files(case: tuple[str, str, str, int, int | None, str], file: Path) -> None:
    base, old, new, line, column, says = case
    text = MAPPINGS[base]
    assert old in text
    file.write_text(text.replace(old, new, 1))
    said = refused(accelsim("run", "lenet5", "--arch", "systolic", "--mapping", file))
    at = re.match(re.escape(str(file)) + r":(\d+):(\d+): ", said)
    assert at and re.search(says, said), said
    assert int(at[1]) == line and (column is None or int(at[2]) == column), said
    assert said == refused(accelsim("validate", "--kind", "mapping", file))
    assert said == refused(accelsim("show", "lenet5", "--arch", "systolic", "--mapping", file))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.yaml", "nowhere.yaml: no such file"),
        (".", r"\.: must be a file|must be a shipped name or a .yaml file, got \."),
        ("./", "must be a file, got a directory"),
        ("ws_by_hand", "mapping: must be a shipped name or a .yaml file, got ws_by_hand"),
        ("", "mapping: must be a shipped name or a .yaml file, got nothing"),
        ("a\nb.yaml", r"a\\nb.yaml: no such file"),
    ],
)
def test_mappings_that_are_not_there(name: str, says: str) -> None:
    assert re.search(
        says, refused(accelsim("run", "lenet5", "--arch", "systolic", "--mapping", name))
    )


# Overrides ----------------------------------------------------------------------------------------

IMPOSSIBLE = [
    ("array.rwos=8", "array.rwos: no such key, got rwos; nearest: rows"),
    ("levels.glb.banks.x=1", "there are no keys below a single value"),
    ("levels.gbl.banks=25", "levels.gbl.banks: no such key, got gbl; nearest: glb"),
    ("array.rows=8.5", "array.rows: must be a whole number, got 8.5"),
    ("array.rows='8'", "array.rows: must be a whole number without quotes, got '8'"),
    ("array.rows=yes", "array.rows: must be true or false"),
    ("array.rows=-8", "array.rows: must be greater than 0, got -8"),
    ("array.rows=99999999999999999999", r"array.rows: must be a number of at most 2\^53"),
    ("array.overlap=1", "array.overlap: must be true or false, got 1"),
    ("array=8", "array: must be a mapping of keys to values, got 8"),
    ("array.outputs=down", "array.outputs: must be 'in_place', .*, got 'down'"),
    (
        "levels.glb.banks=24",
        r"levels.glb: capacity_bytes 102400 is not a whole number of 24 banks \(overridden:"
        r" levels.glb.banks\)",
    ),
    (
        "levels.spad.keeps=[weight]",
        r"partitions names ifmap, which the level does not keep .*\(overridden:"
        r" levels.spad.keeps\)",
    ),
    (
        "networks.noc.below=spad",
        r"networks: exactly one must lie below glb, got 0 \(overridden: networks.noc.below\)",
    ),
    ("bits.psum=1e999", "bits.psum: must be a finite number, got 1e999"),
    ("clock_mhz=[1", "clock_mhz: is not YAML"),
    ("clock_mhz=.nan", "clock_mhz: must be a finite number"),
    ("=8", "--set wants KEY=VALUE, got =8"),
    ("array.rows", "--set wants KEY=VALUE, got array.rows"),
    ("array.rows=&a 8", "array.rows: anchors"),
]


@pytest.mark.parametrize(("override", "says"), IMPOSSIBLE)
def test_impossible_overrides(override: str, says: str, file: Path) -> None:
    said = refused(
        accelsim("run", "lenet5", "--arch", "eyeriss", "--dataflow", "ws", "--set", override)
    )
    assert re.search(says, said), said
    assert said == refused(
        accelsim("show", "lenet5", "--arch", "eyeriss", "--dataflow", "ws", "--set", override)
    )
    assert re.search(says, refused(accelsim("show", "eyeriss", "--set", override)))


# JSON Schema --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", kinds.MODELS)
def test_committed_schemas_are_up_to_date(kind: str) -> None:
    shown = accelsim("schema", kind)
    assert shown.code == 0
    committed = (ROOT / "schemas" / f"{kind}.json").read_text("utf-8")
    assert json.loads(committed) == json.loads(shown.out), (
        f"run: accelsim schema {kind} -o schemas/{kind}.json"
    )


@pytest.mark.parametrize("kind", kinds.MODELS)
def test_schemas_know_every_key_that_the_model_knows(kind: str) -> None:
    schema = kinds.schema(kind)
    fields = kinds.MODELS[kind].model_fields
    assert set(schema["properties"]) == {x.alias or name for name, x in fields.items()}
    assert schema["additionalProperties"] is False
    assert "``" not in json.dumps(schema) and '"gt"' not in json.dumps(schema)


def test_schema_to_a_file(tmp_path: Path) -> None:
    assert accelsim("schema", "mapping", "-o", tmp_path / "m.json") == Done(0, "", "")
    assert (tmp_path / "m.json").read_text() == accelsim("schema", "mapping").out
    assert "cannot be written" in refused(
        accelsim("schema", "mapping", "-o", tmp_path / "no" / "m.json")
    )


@cache
def checker_of(kind: str) -> Any:
    """Of a schema that is one itself."""
    checker = pytest.importorskip("jsonschema").Draft202012Validator
    checker.check_schema(schema := kinds.schema(kind))
    return checker(schema)


def schema_says(kind: str, data: Any) -> list[str]:
    return [e.message for e in checker_of(kind).iter_errors(data)]


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_shipped_files_agree_with_their_schema(kind: str, name: str) -> None:
    assert schema_says(SINGULAR[kind], read_yaml(resolve_file(kind, name)).data) == []


def test_mappings_agree_with_their_schema(file: Path) -> None:
    for text in MAPPINGS.values():
        assert schema_says("mapping", _data(text, file)) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("architecture", ARCH.replace("rows: 12", "rwos: 12")),
        ("architecture", ARCH.replace("rows: 12", "rows: 0")),
        ("architecture", ARCH.replace("rows: 12", "rows: '12'")),
        ("dataflow", FLOW.replace("stays: [weight]", "stays: [wieght]")),
        ("workload", NET.replace("M: 2", "M: 0")),
        ("workload", NET.replace("type: linear, ", "")),
        ("mapping", ONE.replace("M:16:sram", "M:16")),
        ("mapping", ONE.replace("[weight]", "[wieght]")),
        ("mapping", KEEP),
        ("mapping", MANY.replace("    loops:", "    lops:")),
    ],
)
def test_schemas_refuse_what_the_models_refuse(kind: str, text: str, file: Path) -> None:
    assert schema_says(kind, _data(text, file))
    refused(accelsim("validate", "--kind", kind, file))


# No mutation of a valid mapping file ends in a traceback ------------------------------------------

# fmt: off
TOKENS = st.sampled_from([
    "M", "C", "K", "X", "E", "F", "R", "S", "N", "G", "Q", "0", "1", "2", "3", "5", "7", "16",
    "1000000", "99999999999999999999", "-1", ":row", ":col", ":none", "sram", "dram", "reg", "glb",
    "weight", "ifmap", "ofmap", "keep", "loops", "layers", "fused", "conv2", "fc3", "[]", "{}",
    "M:1:dram", "K:2:sram:row", "X:3:dram", "E:2:sram", ", ",
]) | NASTY
# fmt: on


@st.composite
def mutated_mappings(draw: st.DrawFn) -> str:
    """A valid mapping file with one to four tokens replaced, moved, repeated, dropped or preceded
    by something else.
    """
    parts = re.findall(r"\w+|\s+|.", draw(st.sampled_from(list(MAPPINGS.values()))))
    for _ in range(draw(st.integers(1, 4))):
        i, j = draw(st.integers(0, len(parts) - 1)), draw(st.integers(0, len(parts) - 1))
        match draw(
            st.sampled_from(["replace", "replace", "insert", "drop", "cut", "swap", "repeat"])
        ):
            case "replace":
                parts[i] = draw(TOKENS)
            case "insert":
                parts.insert(i, draw(TOKENS))
            case "drop":
                parts[i] = ""
            case "cut":
                parts[i : i + 8] = [""]
            case "swap":
                parts[i], parts[j] = parts[j], parts[i]
            case "repeat":
                parts[i:i] = parts[j : j + 12]
    return "".join(parts)


def judged(done: Done) -> int:
    """The exit code of a command that refused its input in one line, or gave its result."""
    assert done.code in (0, 1, 2) and "internal" not in done.err and "memory" not in done.err, (
        done.err
    )
    if done.code == 2:
        refused(done)
    return done.code


@settings(max_examples=150, deadline=None)
@given(
    text=mutated_mappings(),
    arch=st.sampled_from(["systolic", "eyeriss", "tpu_v1"]),
    direction=st.sampled_from(["forward", "grad_input"]),
)
def test_no_mutated_mapping_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, text: str, arch: str, direction: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "mutated.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    where = (
        "lenet5",
        "--arch",
        arch,
        "--mapping",
        file,
        "--layer",
        "conv2",
        "--layer",
        "fc3",
        "--direction",
        direction,
    )
    codes = [
        judged(accelsim("validate", "--kind", "mapping", file)),
        judged(accelsim("run", *where)),
        judged(accelsim("show", *where)),
    ]
    assert codes[0] in (0, 2) and codes[1] == codes[2] and (codes[0] == 2) == (codes[1] == 2)
    judged(accelsim("show", file))


KEYS = [
    "array.rows",
    "array.cols",
    "array.overlap",
    "array.weight_registers",
    "levels",
    "levels.sram.capacity_bytes",
    "levels.reg.keeps",
]
KEYS += [
    "levels.reg.capacity_bytes",
    "networks.lines.held",
    "networks.link.below",
    "bits.psum",
    "bits.weight",
    "clock_mhz",
    "name",
    "energy",
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(KEYS) | st.text(max_size=6), TOKENS | st.text(max_size=6)),
        min_size=1,
        max_size=3,
    )
)
def test_no_override_ends_in_a_traceback(overrides: list[tuple[str, str]]) -> None:
    sets = [part for key, value in overrides for part in ("--set", f"{key}={value}")]
    code = judged(accelsim("show", "systolic", *sets))
    assert judged(accelsim("show", "systolic", "--yaml", *sets)) == code
    assert (
        judged(
            accelsim(
                "show", "lenet5", "--layer", "fc3", "--arch", "systolic", "--dataflow", "ws", *sets
            )
        )
        == 2
    ) == (code == 2)


@pytest.mark.skipif(sys.platform == "win32", reason="the time is checked elsewhere")
def test_tiles_that_cut_across_one_another_are_refused_not_worked_off(file: Path) -> None:
    loops = " ".join(f"F:{n}:dram" for n in range(40, 0, -1))
    file.write_text(f"loops: {loops} M:1:sram C:1:sram E:1:sram R:1:sram S:1:sram\n{KEEP}")
    net = file.with_name("net.yaml")
    net.write_text("name: n\nlayers:\n  - {name: a, M: 2, C: 2, H: 50, W: 50, R: 3, S: 3}\n")
    done = accelsim("run", net, "--arch", "systolic", "--mapping", file)
    assert done.code == 1 and "F: its loops cut 48 into up to" in done.out
    file.write_text(f"loops: M:1:dram C:1:dram E:1:dram F:1:dram R:1:dram S:1:dram\n{KEEP}")
    done = accelsim("run", "vgg16", "--layer", "conv1_2", "--arch", "systolic", "--mapping", file)
    assert done.code == 1 and "make 1849688064 steps, at most 16777216 can be timed" in done.out
