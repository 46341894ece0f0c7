"""What a file says is kept or named: tables, problems and large networks, each against a second
reader that knows nothing of the importers.
"""

from __future__ import annotations

import csv
import io
import json
import re
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_importers import CONV, accelsim, refused

from accelsim.base import yaml_writing
from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_JSON_NODES, MAX_NODES
from accelsim.base.shipped import shipped_names
from accelsim.base.yaml_reading import read_yaml
from accelsim.base.yaml_writing import to_yaml
from accelsim.hardware.architecture import load_architecture
from accelsim.importers.scalesim import export_scalesim, import_scalesim
from accelsim.importers.scalesim_config import import_scalesim_config
from accelsim.importers.timeloop import import_timeloop
from accelsim.results.simulate import simulate
from accelsim.workload.layers import Conv2d, Gemm, Linear, MatMul
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.profile import profile

LARGE = ("inception_v3", "mobilenet_v1", "mobilenet_v2", "resnet101", "resnet152")
LARGE += ("mixtral_8x7b", "qwen3_8b")
NETWORKS = [
    pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name
    for name in shipped_names("workloads")
]
HEAD = "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides,"


def table(tmp_path: Path, text: str | bytes) -> Any:
    file = tmp_path / "t.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return import_scalesim(file)


# SCALE-Sim ----------------------------------------------------------------------------------------


def test_depthwise_by_its_name(tmp_path: Path) -> None:
    """The tool makes four layers of one channel of it, of 78 cycles each on 4x4 PEs."""
    read = table(tmp_path, f"{HEAD}\nmyDP1,6,6,3,3,4,1,1,\nmydp1,6,6,3,3,4,1,1,\n")
    first, second = read.workload.layers
    assert first == Conv2d(M=1, C=1, H=6, W=6, R=3, S=3, groups=4, name="myDP1")
    assert second == Conv2d(M=1, C=4, H=6, W=6, R=3, S=3, name="mydp1")
    assert "myDP1: depthwise" in read.notes[0]
    size = {"array.rows": 4, "array.cols": 4}
    rows = simulate(read.workload, "scalesim", "ws", overrides=size).rows
    assert [row.columns["cycles"] for row in rows] == [312, 234]


def test_a_first_row_of_numbers_is_a_layer(tmp_path: Path) -> None:
    read = table(tmp_path, "a,6,6,3,3,4,1,1,\nb,6,6,3,3,4,1,1,\n")
    assert read.workload.names == ("a", "b") and "line 1 is a layer" in read.notes[0]
    read = table(tmp_path, "a,5,6,7,\n")
    assert read.workload.layers == (Gemm(m=6, k=7, n=5, name="a"),)


def test_titles_and_columns_beyond(tmp_path: Path) -> None:
    read = table(
        tmp_path, f"My net,,\n{HEAD}\nAlphaGo,\na,6,6,3,3,4,2,1,\n{HEAD}\nb,6,6,3,3,4,2,1\n"
    )
    assert read.workload.names == ("a", "b")
    assert [note for note in read.notes if "is a title" in note] == [
        "line 1: My net is a title: left out",
        "line 3: AlphaGo is a title: left out",
    ]
    read = table(tmp_path, f"{HEAD}Batch Size,\na,6,6,3,3,4,2,1,5,\nb,6,6,3,3,4,2,1,,\n")
    assert [layer.problem().N for layer in read.workload.layers] == [5, 1]
    read = table(tmp_path, f"{HEAD}Eh,Ew\na,6,6,3,3,4,2,1,4,4\n")
    assert [note for note in read.notes if "not read" in note] == [
        "a: column 9 (4) is not read",
        "a: column 10 (4) is not read",
    ]
    read = table(tmp_path, "Layer,M,N,K,Batch\nqk,5,6,7,8,\nfc,5,6,7,1,\n")
    assert read.workload.layers == (
        MatMul(m=6, k=7, n=5, products=8, name="qk"),
        Gemm(m=6, k=7, n=5, name="fc"),
    )
    swapped = HEAD.replace("IFMAP Height,IFMAP Width", "IFMAP Width,IFMAP Height")
    read = table(tmp_path, f"{swapped}\na,6,7,3,3,4,2,1,\n")
    assert read.workload.layers[0].problem().H == 6
    assert "column 2 is called IFMAP Width, read by its place: ifmap height" in read.notes[0]


def saved(rows: list[list[str]], rng: np.random.Generator) -> bytes:
    """A table as one spreadsheet or another saves it, perhaps with titles among its rows."""
    rows = [list(row) for row in rows]
    if rng.random() < 0.3:
        titled = [[*([[f"Stage {i}"]] if i else []), row] for i, row in enumerate(rows)]
        rows = [row for several in titled for row in several]
    if rng.random() < 0.2:
        rows = [
            ["", *rows[0]],
            *([str(i) if len(r) > 1 else "", *r] for i, r in enumerate(rows[1:])),
        ]
    if rng.random() < 0.3:
        rows = [[f"{c}.0" if c.isdigit() else c for c in row] for row in rows]
    if rng.random() < 0.3:
        rows = [row + [""] * int(rng.integers(4)) for row in rows]
    if rng.random() < 0.3:
        rows = [[f" {cell}\t" for cell in row] if rng.random() < 0.5 else row for row in rows]
    out = io.StringIO()
    end = str(rng.choice(["\n", "\r\n", "\r"]))
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    separator = str(rng.choice([",", ";", "\t"]))
    writer = csv.writer(out, delimiter=separator, lineterminator=end, quoting=int(quoting))
    for row in rows:
        writer.writerow(row)
        if rng.random() < 0.1:
            out.write(end)
    text = (f"sep={separator}{end}" if rng.random() < 0.1 else "") + out.getvalue()
    return text.encode(str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"])))


@pytest.mark.parametrize("seed", range(80))
def test_tables_as_spreadsheets_save_them(tmp_path: Path, seed: int) -> None:
    """MACs and weights of every row that was written, whatever stands between the cells."""
    rng = np.random.default_rng(seed)
    products = bool(rng.random() < 0.3)
    head = ["Layer", "M", "N", "K"] if products else HEAD.rstrip(",").split(",")
    rows: list[list[str]] = []
    for i in range(int(rng.integers(1, 7))):
        name = f"{rng.choice(['conv', 'DP', 'Größe ', 'fc, last'])}{i}"
        filters = [int(n) for n in rng.integers(1, 5, 2)]
        sizes = [f + int(n) for f, n in zip(filters, rng.integers(0, 9, 2), strict=True)]
        rest = [int(n) for n in rng.integers(1, 40, 2)] + [int(rng.integers(1, 4))]
        numbers = [int(n) for n in rng.integers(1, 2000, 3)] if products else sizes + filters + rest
        rows.append([name, *map(str, numbers)])
    read = table(tmp_path, saved([head, *rows], rng)).workload
    for layer, row in zip(read.layers, rows, strict=True):
        assert layer.name == row[0].replace(", ", "_").replace(" ", "_")
        n = [int(x) for x in row[1:]]
        if products:
            macs, weights = prod(n), n[1] * n[2]
        else:
            e, f = (ceil((n[i] - n[i + 2] + n[6]) / n[6]) for i in (0, 1))
            macs, weights = e * f * prod(n[2:6]), prod(n[2:6])
        assert (layer.macs, layer.parameters) == (macs, weights), row


@pytest.mark.parametrize("name", NETWORKS)
def test_a_table_is_a_fixed_point(tmp_path: Path, name: str) -> None:
    """Written, read and written again: the same text, and the same MACs and weights."""
    workload = load_workload(name)
    for form in ("gemm", "conv"):
        try:
            text = export_scalesim(workload, form)  # type: ignore[arg-type]
        except InputError as error:
            rules = (
                "write the products (gemm)",
                "at most 10000 rows",
                "no transposed convolutions",
            )
            assert any(rule in str(error) for rule in rules)
            continue
        again = table(tmp_path, text).workload
        assert again.macs == workload.macs
        weights = sum(x.problem().words("weight") for x in again.layers)
        assert weights == sum(x.problem().words("weight") for x in workload.layers)
        assert export_scalesim(again, form) == text  # type: ignore[arg-type]
        (tmp_path / "w.yaml").write_text(to_yaml(again))
        assert load_workload(tmp_path / "w.yaml") == again


def test_depthwise_rows_are_written_as_such(tmp_path: Path) -> None:
    """One row for all channels; a name that only looks so loses its capitals."""
    workload = Workload.model_validate(
        {
            "name": "n",
            "layers": [
                {"name": "dw", "M": 2, "C": 1, "H": 6, "W": 6, "R": 3, "S": 3, "groups": 4},
                {"name": "aDPb", "M": 2, "C": 1, "H": 6, "W": 6, "R": 3, "S": 3},
                {"name": "DP_" + "x" * 97, "M": 2, "C": 1, "H": 3, "W": 3, "R": 3, "S": 3},
            ],
        }
    )
    text = export_scalesim(workload)
    assert text.splitlines()[1:3] == ["DP_dw,6,6,3,3,4,2,1,", "adpb,6,6,3,3,1,2,1,"]
    again = table(tmp_path, text).workload
    assert [x.problem().G for x in again.layers] == [4, 1, 1]


CONFIG = """[general]
run_name = "my chip"
[architecture_presets]
ArrayHeight: 12
ArrayWidth: 14
ifmapsramszkB: 64
FilterSramSzkB: 32
OfmapSramSz: 16
IfmapOffset: 0
Dataflow : os
Bandwidth : 10,20,30
MemoryBanks: 2
[sparsity]
SparsitySupport : false
SparseRep : ellpack_block
[run_presets]
InterfaceBandwidth: CALC
"""


def test_configurations(tmp_path: Path) -> None:
    file = tmp_path / "scale.cfg"
    file.write_text(CONFIG)
    _, said = accelsim("import", file, "-o", tmp_path / "a.yaml")
    machine = load_architecture(tmp_path / "a.yaml")
    assert machine.name == "my_chip" and (machine.array.rows, machine.array.cols) == (12, 14)
    assert machine.levels["sram"].priced_bytes == 112 * 1024
    preset = {"array": machine.array.model_copy(update={"rows": 32, "cols": 32})}
    same = machine.model_copy(update=preset | {"levels": load_architecture("scalesim").levels})
    named = {"name": "scalesim", "description": load_architecture("scalesim").description}
    assert same.model_copy(update=named) == load_architecture("scalesim")
    assert "run with --dataflow os" in said and "memorybanks 2" in said
    assert "sparserep" in said and "sparsitysupport" not in said and "offset" not in said
    file.write_text(CONFIG.replace("CALC", "USER"))
    widths = import_scalesim_config(file).overrides["networks.link.width_bits"]
    assert widths == {"ifmap": 80, "weight": 160, "ofmap": 240}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ArrayHeight: 12", "ArrayHeight: 0", "arrayheight: must be a whole number of at least 1"),
        ("ArrayWidth: 14", "", "arraywidth: must be a whole number of at least 1, got nothing"),
        ("Dataflow : os", "Dataflow : rs", "dataflow: must be one of ws, os, is, got rs"),
        ("CALC", "NONE", "interfacebandwidth: must be CALC or USER, got NONE"),
        ("[architecture_presets]", "[other]", "must have a section [architecture_presets]"),
        ("[general]", "", ":2: must have sections of keys and values"),
        ("Bandwidth : 10,20,30", "Bandwidth : 10,20", "bandwidth: must be one or three"),
    ],
)
def test_configurations_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "scale.cfg"
    text = CONFIG.replace("CALC", "USER") if "Bandwidth :" in old else CONFIG
    file.write_text(text.replace(old, new))
    assert message in refused(import_scalesim_config, file)


@pytest.mark.parametrize("seed", range(30))
def test_configurations_as_another_reader_reads_them(tmp_path: Path, seed: int) -> None:
    """A line at a time: sizes, memories and bandwidths are the numbers that stand there, and every
    other key that says something is in a note.
    """
    rng = np.random.default_rng(seed)
    keys = ("ArrayHeight", "ArrayWidth", "IfmapSramSzkB", "FilterSramSzkB", "OfmapSramSzkB")
    given = {key: str(rng.integers(1, 5_000)) for key in keys}
    given["Dataflow"] = str(rng.choice(["os", "ws", "is"]))
    words = [str(n) for n in rng.integers(1, 400, rng.choice([1, 3]))]
    given["Bandwidth"] = str(rng.choice([",", ", "])).join(words)
    others = {f"Key{i}": str(rng.choice(["1", "true", "False", "x y"])) for i in range(4)}
    lines = [
        f"{''.join(c.upper() if rng.random() < 0.5 else c.lower() for c in key)}"
        f"{rng.choice([' = ', ':', ' : ', '='])}{value}"
        for key, value in rng.permutation(np.array([*(given | others).items()], dtype=object))
    ]
    mode = str(rng.choice(["CALC", "USER"]))
    text = "[general]\nrun_name = r\n[architecture_presets]\n" + "\n# a remark\n".join(lines)
    (tmp_path / "s.cfg").write_text(f"{text}\n[run_presets]\nInterfaceBandwidth: {mode}\n")
    read = import_scalesim_config(tmp_path / "s.cfg")
    second = {k.lower(): v for k, v in re.findall(r"^(\w+)\s*[:=]\s*(.*)$", text, re.MULTILINE)}
    kilobytes = [int(second[key.lower()]) for key in keys[2:]]
    wanted: dict[str, Any] = {
        "name": "r",
        "array.rows": int(second["arrayheight"]),
        "array.cols": int(second["arraywidth"]),
        "levels.sram.priced_bytes": 1024 * sum(kilobytes),
    }
    if mode == "USER":
        every = [8 * int(n) for n in second["bandwidth"].split(",")]
        wanted["networks.link.width_bits"] = dict(
            zip(("ifmap", "weight", "ofmap"), every * (3 // len(every)), strict=True)
        )
    assert read.overrides == wanted
    said = " ".join(read.notes)
    assert f"run with --dataflow {second['dataflow']}" in said
    for key, value in others.items():
        assert (f"{key.lower()} {value}" in said) == (value != "False")


# Batch and shared weights -------------------------------------------------------------------------


def test_a_profile_has_the_batch_of_the_file() -> None:
    """64 MACs an input, four inputs: 256."""
    layer = Conv2d(M=1, C=1, H=8, W=8, R=1, S=1, N=4, name="a")
    assert profile(load_workload(layer)).total.macs == 256
    assert profile(load_workload(layer), batch=2).total.macs == 128
    for stated in (Linear(M=2, C=3, N=5), Gemm(m=2, k=3, n=4, N=5), MatMul(m=2, k=3, n=4, N=5)):
        assert stated.macs == 5 * stated.problem(1).macs == stated.problem(5).macs
        assert profile(load_workload(stated)).total.macs == stated.macs
    mixed = profile(load_workload([layer, Linear(M=2, C=3, name="b")]))
    assert mixed.batch is None and mixed.total.macs == 256 + 6


def tied(**second: Any) -> dict[str, Any]:
    graph = [
        {"name": "a", "M": 3, "R": 3, "padding": 1, "bias": True},
        {"name": "relu", "type": "relu"},
        {"name": "b", "M": 3, "R": 3, "padding": 1, "bias": True} | second,
        {"name": "fc", "type": "linear", "M": 2},
    ]
    return {"name": "n", "batch": 2, "input": [3, 6, 6], "graph": graph}


def test_shared_weights_count_once(tmp_path: Path) -> None:
    whole, weight = tied(share="a"), tied(share={"weight": "a"})
    counts = []
    for data in (tied(), whole, weight):
        workload = Workload.model_validate(data)
        graph = workload.network
        assert graph is not None
        total = profile(workload).total
        assert total.macs == workload.macs == 2 * (2 * 81 * 36 + 216)
        assert (
            total.parameters == workload.parameters == sum(map(prod, graph.all_parameters.values()))
        )
        counts.append(total.parameters)
        (tmp_path / "w.yaml").write_text(to_yaml(workload))
        assert load_workload(tmp_path / "w.yaml") == workload
    assert counts == [84 + 84 + 216, 84 + 216, 84 + 3 + 216]
    run = simulate(Workload.model_validate(whole), "systolic", "ws", end_to_end=True, check=True)
    assert [row.columns["bit_exact"] for row in run.rows if "bit_exact" in row.columns].count(
        False
    ) == 0
    assert {row.columns["batch"] for row in run.rows} == {2}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"share": "nothing"}, "graph.b.share: no such node, got nothing"),
        ({"share": "relu"}, "graph.b.share: relu has no weight"),
        ({"share": "b"}, "graph.b.share: nodes must not share in a circle, got b"),
        ({"share": {"scale": "a"}}, "graph.b.share: there are weight, bias, got scale"),
        ({"share": "a", "R": 1, "padding": 0}, "must have shape 3x3x1x1, a has 3x3x3x3"),
    ],
)
def test_what_cannot_be_shared(tmp_path: Path, second: dict[str, Any], message: str) -> None:
    (tmp_path / "w.yaml").write_text(json.dumps(tied(**second)))
    assert message in refused(load_workload, tmp_path / "w.yaml")


def test_gradients_of_shared_weights_add_up() -> None:
    """Against finite differences of the float network, every word of the shared filter."""
    from accelsim.workload.graph.backward import gradients
    from accelsim.workload.graph.float_run import evaluate
    from accelsim.workload.graph.weights import random_images, random_weights

    graph = Workload.model_validate(tied(share="a")).network
    assert graph is not None
    weights, images = random_weights(graph, 1), random_images(graph, 2, 1)
    tensors = evaluate(graph, images, weights)
    out = graph.outputs[0]
    _, slopes = gradients(graph, tensors, weights, (out, np.ones_like(tensors[out])))
    assert set(slopes) == set(weights)
    for at in np.ndindex(3, 3, 3, 3):
        sums = []
        for step in (1e-6, -1e-6):
            moved = weights["a.weight"].copy()
            moved[at] += step
            sums.append(evaluate(graph, images, weights | {"a.weight": moved})[out].sum())
        assert slopes["a.weight"][at] == pytest.approx(
            (sums[0] - sums[1]) / 2e-6, rel=1e-4, abs=1e-4
        )


# What was written can be read ---------------------------------------------------------------------


def test_a_large_table_is_read_again(tmp_path: Path) -> None:
    rows = "".join(f"layer{i},16,16,3,3,4,{i % 50 + 1},1,\n" for i in range(4_000))
    (tmp_path / "t.csv").write_text(f"{HEAD}\n{rows}")
    accelsim("import", tmp_path / "t.csv", "-o", tmp_path / "w.yaml")
    again = load_workload(tmp_path / "w.yaml")
    assert again == import_scalesim(tmp_path / "t.csv").workload and len(again.layers) == 4_000
    assert (tmp_path / "w.yaml").read_text().startswith('{"name": "t",\n"description"')
    broken = (
        (tmp_path / "w.yaml").read_text().replace('"layer3777", "M": 28', '"layer3777", "M": 0')
    )
    (tmp_path / "w.yaml").write_text(broken)
    said = refused(load_workload, tmp_path / "w.yaml")
    line = next(i for i, x in enumerate(broken.split("\n"), 1) if "layer3777" in x)
    assert f"w.yaml:{line}:" in said and "layers.layer3777.M: must be greater than 0, got 0" in said


def test_what_no_reader_would_take_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_writing, "MAX_NODES", 40)
    monkeypatch.setattr(yaml_writing, "MAX_JSON_NODES", 400)
    layer = {"M": 1, "C": 1, "H": 1, "W": 1, "R": 1, "S": 1}
    layers = [layer | {"name": f"a{i}"} for i in range(30)]
    assert "is too large for a file" in refused(
        to_yaml, Workload.model_validate({"name": "n", "layers": layers})
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": "a", "name": "b"}', "name: is given twice"),
        ('{"name": 1e999}', "must be a finite number"),
        ('{"name": 12345678901234567890123}', "must be a number of at most 2^53"),
        ('{"name": NaN}', "must be a finite number"),
        ('{"a": ' + "[" * 30 + "]" * 30 + "}", "must not be nested more than 20 deep"),
        ('{"a": ' + "[" * 100_000, "must not be nested more than 20 deep"),
        ('{"a": [' + "1," * MAX_JSON_NODES + "1]}", f"must have at most {MAX_JSON_NODES} keys"),
        ('{"a": "\\ud800"}', "must be text without lone surrogates"),
        ('{"": 1}', "a key must be a name"),
        ('{"a": [' + "1," * 300_000 + "}", "is not JSON (expecting value)"),
        ('{"a": "' + "x" * 11_000_000 + '"}', "must be at most 10000000 bytes"),
    ],
)
def test_json_is_checked_like_yaml(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "w.yaml").write_text(text)
    assert message in refused(read_yaml, tmp_path / "w.yaml", "")


@pytest.mark.parametrize("seed", range(15))
def test_json_and_yaml_say_the_same(tmp_path: Path, seed: int) -> None:
    """Of one text the same data, and every key at the same place."""
    from accelsim.base.json_reading import read_json
    from accelsim.base.yaml_reading import YamlReader

    rng = np.random.default_rng(seed)

    def value(depth: int) -> Any:
        match int(rng.integers(6 if depth < 4 else 4)):
            case 0:
                return int(rng.integers(-1000, 1000))
            case 1:
                return str(rng.choice(['a "b"', "", "ü\n", "x{y}[z],", "true"]))
            case 2:
                return float(rng.normal())
            case 3:
                return [True, False, None][int(rng.integers(3))]
            case 4:
                return [value(depth + 1) for _ in range(int(rng.integers(4)))]
            case _:
                return {f"k{i}": value(depth + 1) for i in range(int(rng.integers(4)))}

    data = {"name": "n", "x": [value(0) for _ in range(5)], "y": value(0)}
    text = json.dumps(data, ensure_ascii=bool(rng.integers(2)), indent=[None, 1][rng.integers(2)])
    read, places = read_json(text, "f")
    yaml = YamlReader(text, "f")
    assert read == yaml.document() == data
    assert set(places) == set(yaml.places)
    for path, place in yaml.places.items():
        assert (places[path].key, places[path].value) == (place.key, place.value), path


@pytest.mark.parametrize("name", NETWORKS)
def test_yaml_is_a_fixed_point(tmp_path: Path, name: str) -> None:
    workload = load_workload(name)
    (tmp_path / "w.yaml").write_text(to_yaml(workload))
    again = load_workload(tmp_path / "w.yaml")
    assert again == workload and to_yaml(again) == to_yaml(workload)
    assert MAX_NODES == 40_000  # what is shipped is far below it: YAML


# Timeloop -----------------------------------------------------------------------------------------

BASE = """problem_base_ignore: &problem_base
  version: 0.4
  instance: {N: 1, C: 1, H: 1, G: 1, R: 1, S: 1, M: 1, P: 1, Q: 1, Wstride: 1, Hstride: 1}
  shape: !Shape
    dimensions: [C, M, R, S, N, P, Q, G]
    coefficients: [{name: Wstride, default: 1}, {name: Hstride, default: 1}]
    data_spaces:
    - {name: Weights, projection: [C, [[M]], [[R]], [[S]], [[G]]]}
    - {name: Inputs, projection: [[[N]], [[C]], [[R], [P, Wstride]], [[S], [Q, Hstride]], [[G]]]}
    - {name: Outputs, projection: [[[N]], [[M]], [[Q]], [[P]], [[G]]], read_write: true}
"""


def problem(tmp_path: Path, text: str) -> Any:
    file = tmp_path / "problem.yaml"
    file.write_text(text)
    return import_timeloop(file)


def test_templates_with_a_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "in").mkdir()
    text = """{{include_text('../base.yaml')}}
problem:
  <<<: *problem_base
  instance: {C: 8, M: 4, R: 3, S: 3, P: 5, Q: 5, HStride: 2, WStride: 2}
"""
    read = problem(tmp_path / "in", text)
    p = read.workload.layers[0].problem()
    assert (p.M, p.C, p.E, p.F, p.R, p.S) == (4, 8, 5, 5, 3, 3)
    assert p.stride == (1, 1), "the base says Wstride: 1, and Timeloop knows no other"
    assert "WStride 2 is no size of the shape: not read" in read.notes
    assert "H 1 is no size of the shape: not read" in read.notes
    said = refused(problem, tmp_path / "in", text.replace("C: 8", "C: 0"))
    assert said.startswith(f"{tmp_path / 'in' / 'problem.yaml'}:4:"), "a line of the file itself"
    flat = refused(problem, tmp_path / "in", text.replace("<<<", "<<"))
    assert "problem.instance.N" in flat, "a plain merge key replaces the whole instance"


def test_spellings_of_coefficients(tmp_path: Path) -> None:
    """WStride became stride 1 without a word."""
    read = problem(tmp_path, CONV.replace("Wstride: 2,", "WStride: 4,"))
    assert read.workload.layers[0].stride == (1, 4)
    assert read.notes == ("WStride is read as Wstride, as the shape spells it",)
    said = refused(problem, tmp_path, CONV.replace("Wstride: 2,", "Wstrid: 4,"))
    assert "no such dimension or coefficient, got Wstrid; nearest: Wstride" in said
    read = problem(tmp_path, CONV.replace("Wstride: 2,", "Wpad: 4, densities: {A: 0.5},"))
    assert read.notes == (
        "Wpad 4 is no size of the shape: not read",
        "densities is no size of the shape: not read",
    )
    read = problem(tmp_path, CONV.replace("  instance:", "  mode: fast\n  instance:"))
    assert read.notes == ("problem.mode is not read",)


def test_the_own_shapes_of_the_tool(tmp_path: Path) -> None:
    sizes = "C: 3, {}: 2, R: 3, S: 3, N: 1, P: 4, Q: 5, Wstride: 2"
    layers = [
        problem(tmp_path, text).workload.layers[0]
        for letter in "MK"
        for text in (
            "problem: {shape: cnn_layer, instance: {" + sizes.format(letter) + "}}\n",
            "problem: {" + sizes.format(letter) + "}\n",
        )
    ]
    assert len(set(layers)) == 1 and layers[0].macs == 3 * 2 * 3 * 3 * 4 * 5
    gemm = problem(tmp_path, "problem: {shape: gemm_ABZ, instance: {M: 4, N: 5, K: 6}}\n")
    assert gemm.workload.layers == (Gemm(m=4, k=6, n=5, name="problem"),)


def test_an_unknown_letter_is_what_is_blamed(tmp_path: Path) -> None:
    said = refused(
        problem, tmp_path, CONV.replace("[[[G]], [[C]], [[M]]", "[[[G]], [[X]], [[M]]", 1)
    )
    assert "the projection of Weights names what is no dimension, got X" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{include_text('no.yaml')}}\n", ":1:1: there is no such file to include, got no.yaml"),
        ("a: 1\n{{include_text('/etc/passwd')}}\n", ":2:1: must be a YAML file"),
        ("{{include_text('problem.yaml')}}\n", "must not include itself"),
        ("{% for i in x %}\n", "of templates only {{include_text('FILE')}}"),
        ("a: *b\n", "there is no such anchor"),
        ("a: {<<: 3}\n", "must be mappings to put in here, got"),
        (
            "".join(
                f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 1}]\n" for i in range(9)
            ),
            "must have at most 40000 keys and values",
        ),
    ],
)
def test_what_is_no_problem(tmp_path: Path, text: str, message: str) -> None:
    assert message.split(", got")[0] in refused(problem, tmp_path, text)


@pytest.mark.parametrize("seed", range(50))
def test_problems_as_another_reader_reads_them(tmp_path: Path, seed: int) -> None:
    """MACs are the product of all dimensions, as ruamel reads them; what is not read is named."""
    from ruamel.yaml import YAML

    rng = np.random.default_rng(seed)
    letters = [*rng.permutation([*"CMRSNPQG"])]
    sizes = {str(x): int(rng.integers(1, 6)) for x in letters}
    sizes |= {
        key: int(rng.integers(1, 4)) for key in ("Wstride", "Hdilation") if rng.random() < 0.7
    }
    extra = {key: int(rng.integers(1, 4)) for key in ("H", "Wpad", "notes") if rng.random() < 0.3}
    given = dict(rng.permutation(np.array([*(sizes | extra).items()], dtype=object)))
    shared, own = dict([*given.items()][:4]), dict([*given.items()][4:])
    merge = str(rng.choice(["<<", "<<<"]))
    head = CONV.split("  instance:")[0]
    whole = {"instance": {**own}, "shared": shared}
    text = head + f"  shared: &s {json.dumps(shared)}\n"
    text += "  instance: {" + f"{merge}: *s, " + json.dumps(own)[1:] + "\n"
    read = problem(tmp_path, text.replace("}\n", "}\n"))
    other = YAML(typ="safe", pure=True).load(head)["problem"]["shape"]
    union = whole["shared"] | whole["instance"]
    layer = read.workload.layers[0]
    assert layer.macs == prod(union[x] for x in other["dimensions"])
    p = layer.problem()
    assert p.stride[1] == union.get("Wstride", 1) and p.dilation[0] == union.get("Hdilation", 1)
    assert {note.split()[0] for note in read.notes} == {*extra, "problem.shared"}
