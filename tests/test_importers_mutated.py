"""Files with bytes changed, cut, doubled or moved: whatever kind they were, the shell answers in
lines of its own (exit 2, nothing is written), or what it writes can be read again.

2 000 of every kind, of which the quick part tries the first few.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_importers import CONV, GEMM, NEW, TOPOLOGY, V0, V1
from test_importers_caffe import HEAD, LAST, PLAIN, layer
from test_importers_kept import BASE, CONFIG

from accelsim.base.shipped import shipped_folder
from accelsim.cli.main import main
from accelsim.hardware.architecture import load_architecture
from accelsim.workload.network import load_workload

FEW, MANY = 20, 2000


def mutated(raw: bytes, rng: np.random.Generator) -> bytes:
    """A file with a few bytes changed, cut, doubled or swapped."""
    data = bytearray(raw)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(data) or 1))
        match int(rng.integers(6)):
            case 0:
                data[at : at + 1] = bytes([int(rng.integers(256))])
            case 1:
                del data[at : at + int(rng.integers(1, 30))]
            case 2:
                data[at:at] = data[at : at + int(rng.integers(1, 60))]
            case 3:
                data[at:at] = [
                    b"{",
                    b"}",
                    b"[",
                    b"99999999999999999999",
                    b"-1",
                    b": ",
                    b'"',
                    b",",
                    b"\x00",
                    b"\n",
                ][int(rng.integers(10))]
            case 4:
                del data[at:]
            case _:
                other = int(rng.integers(len(data) or 1))
                data[at : at + 8], data[other : other + 8] = (
                    data[other : other + 8],
                    data[at : at + 8],
                )
        if not data:
            data = bytearray(b" ")
    return bytes(data)


# What is changed ----------------------------------------------------------------------------------


def shipped(kind: str, name: str) -> Callable[[], bytes]:
    return lambda: (shipped_folder(kind) / f"{name}.yaml").read_bytes()


def plain(text: str) -> Callable[[], bytes]:
    return text.encode


def onnx_model(name: str) -> Callable[[], bytes]:
    def raw() -> bytes:
        pytest.importorskip("onnx")
        from test_importers_onnx import ARCHITECTURES

        return bytes(ARCHITECTURES[name]().proto().SerializeToString())

    return raw


def onnx_outside() -> bytes:
    """A model of a named length whose weights lie in another file."""
    pytest.importorskip("onnx")
    from test_importers_onnx_kept import model, node, words

    nodes = [node("Conv", "x w", "a"), node("Dropout", "a", "b m"), node("Conv", "b w", "y")]
    proto = model(nodes, {"x": ["n", 3, "len"]}, ["y"], {"w": words(3, 3, 2)})
    tensor = proto.graph.initializer[0]
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="w.bin")
    tensor.external_data.add(key="offset", value="8")
    return bytes(proto.SerializeToString())


def caffe_kinds() -> bytes:
    """Every layer without weights."""
    layers = [
        layer(kind.split()[0], fields, tops=f"t{i}")
        for i, (kind, (fields, _)) in enumerate(PLAIN.items())
    ]
    return f"{HEAD}{''.join(layers)}{LAST % 'data'}".encode()


TEMPLATE = "{{include_text('base.yaml')}}\nproblem:\n  <<<: *problem_base\n  instance: {C: 8}\n"
STUDY = """name: study
workload: alexnet
layers: [conv3, conv5]
arch: systolic
dataflows: [ws, os]
grid: {array.rows: [8, 16], "*.word_bits": [8, 16]}
"""
SPARSE = f"Title\n{TOPOLOGY}x,1,1,1,1,1,1,1,1:2,9\n"
# A command, the file it is given, and what is in it; those of one kind share its 2 000.
IMPORT, VALIDATE = ("import",), ("validate", "--kind")
KINDS: dict[str, tuple[tuple[str, ...], str, list[Callable[[], bytes]]]] = {
    "scalesim": (IMPORT, "m.csv", [plain(TOPOLOGY), plain(SPARSE)]),
    "scalesim-config": (IMPORT, "m.cfg", [plain(CONFIG)]),
    "timeloop": (IMPORT, "m.yaml", [plain(CONV), plain(GEMM), plain(TEMPLATE)]),
    "caffe": (IMPORT, "m.prototxt", [plain(NEW), plain(V1), plain(V0), caffe_kinds]),
    "onnx": (
        (*IMPORT, "--dim", "len=9"),
        "m.onnx",
        [*map(onnx_model, ("plain_cnn", "attention", "unet")), onnx_outside],
    ),
    "workload": (
        (*VALIDATE, "workload"),
        "m.yaml",
        [shipped("workloads", name) for name in ("lenet5", "gpt2", "vit_s_block")],
    ),
    "architecture": (
        (*VALIDATE, "architecture"),
        "m.yaml",
        [shipped("architectures", name) for name in ("eyeriss", "tpu_v1")],
    ),
    "dataflow": (
        (*VALIDATE, "dataflow"),
        "m.yaml",
        [shipped("dataflows", name) for name in ("row_stationary", "weight_stationary")],
    ),
    "mapping": ((*VALIDATE, "mapping"), "m.yaml", [shipped("mappings", "eyeriss_alexnet")]),
    "study": ((*VALIDATE, "study"), "m.yaml", [plain(STUDY)]),
}


def answered(*args: object) -> tuple[int, str]:
    """The exit code of a command in this process, and what it said on stderr."""
    said, before = io.StringIO(), sys.argv
    sys.argv = ["accelsim", *map(str, args)]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            main()
    except SystemExit as left:
        return int(left.code or 0), said.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("main ends by leaving")


@pytest.mark.parametrize("first", [0, pytest.param(FEW, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_changed_files(kind: str, first: int, tmp_path: Path) -> None:
    command, name, made = KINDS[kind]
    texts = [text() for text in made]
    file, out = tmp_path / name, tmp_path / "out.yaml"
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "w.bin").write_bytes(bytes(100))
    words: list[Any] = [*command, file, *(["-o", out] if command[0] == "import" else [])]
    before = {*tmp_path.iterdir(), file}
    good, count = 0, MANY - FEW if first else FEW
    for seed in range(first, first + count):
        file.write_bytes(mutated(texts[seed % len(texts)], np.random.default_rng(seed)))
        began = time.process_time()
        code, said = answered(*words)
        assert time.process_time() - began < 4, seed
        if code == 0:
            good += 1
            if command[0] == "import":
                read = load_architecture if kind == "scalesim-config" else load_workload
                read(out)
                out.unlink()
        else:
            assert code == 2, (seed, said)
            assert said.startswith((str(file), str(tmp_path))), (seed, said)
            assert all(line.isprintable() for line in said.splitlines()), (seed, said)
        assert {*tmp_path.iterdir()} == before, seed
    assert good < count
    assert good or not first
