"""``accelsim profile``: the numbers of its rows by hand, its formats, and the picture."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from accelsim.base.errors import InputError
from accelsim.cli.main import main
from accelsim.view.network_discs import discs
from accelsim.view.pages.profile_page import bytes_text, seconds_text, table
from accelsim.workload.layers import Conv2d, MatMul
from accelsim.workload.network import load_workload
from accelsim.workload.profile import profile


def accelsim(*args: Any, code: int = 0) -> tuple[str, str]:
    """The command in this process: what it prints and says."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["accelsim", *map(str, args)]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as left,
        ):
            main()
    finally:
        sys.argv = before
    assert left.value.code == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def test_rows_by_hand() -> None:
    rows = {r.layer: r for r in profile(load_workload("alexnet")).rows}
    conv1 = rows["conv1"]
    assert (conv1.parameters, conv1.macs, conv1.operations) == (34_944, 105_415_200, 0)
    assert (conv1.inputs, conv1.output, conv1.type) == ("3x227x227", "96x55x55", "conv2d")
    assert conv1.activation_bytes == 3 * 227 * 227 + 96 * 55 * 55
    assert conv1.intensity == pytest.approx(105_415_200 / (34_944 + conv1.activation_bytes))
    assert conv1.time_s == pytest.approx(105_415_200 / 2.2e9)
    assert (rows["relu1"].operations, rows["relu1"].macs, rows["relu1"].time_s) == (
        96 * 55 * 55,
        0,
        0,
    )
    assert rows["pool1"].operations == 8 * 96 * 27 * 27
    total = profile(load_workload("alexnet")).total
    assert (total.macs, total.parameters, total.activation_bytes) == (
        724_406_816,
        60_965_224,
        2 * 96 * 55 * 55,
    )


def test_batch_bits_and_clock() -> None:
    one, four = (
        profile(load_workload("lenet5"), batch=n, bits=16, clock_mhz=1.0).total for n in (1, 4)
    )
    assert (four.macs, four.parameters, four.activation_bytes) == (
        4 * one.macs,
        one.parameters,
        4 * one.activation_bytes,
    )
    assert one.time_s == pytest.approx(0.41652)
    assert four.intensity > one.intensity, "weights are read once"
    for key, options in (
        ("batch", {"batch": 0}),
        ("bits", {"bits": 0}),
        ("clock", {"clock_mhz": 0.0}),
    ):
        with pytest.raises(InputError, match=key):
            profile(load_workload("lenet5"), **options)  # type: ignore[arg-type]


def test_a_list_of_layers_and_a_stride_that_does_not_fit() -> None:
    layers = [
        Conv2d(M=2, C=1, H=5, W=6, R=3, S=3, stride=3, name="a"),
        MatMul(m=2, k=3, n=4, products=5, name="b"),
    ]
    a, b = profile(load_workload(layers)).rows
    assert a.note == "the stride drops 2 rows" and not b.note
    assert (b.parameters, b.macs, b.activation_bytes) == (0, 120, 5 * (6 + 12 + 8))
    same = profile(load_workload("resnet18"), layers_only=True)
    assert all(r.macs for r in same.rows)
    assert [r.layer for r in same.rows if r.note] == [
        "conv3_1_shortcut",
        "conv4_1_shortcut",
        "conv5_1_shortcut",
    ]


def test_shortcuts_wait() -> None:
    rows = {r.layer: r for r in profile(load_workload("resnet18")).rows}
    assert rows["conv2_1_conv2"].activation_bytes == 3 * 64 * 56 * 56


def test_formats(tmp_path: Path) -> None:
    out, _ = accelsim("profile", "lenet5", "--format", "csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert (
        list(rows[0])[:2] == ["workload", "layer"]
        and rows[0]["layer"] == "conv1"
        and rows[0]["macs"] == "117600"
    )
    out, _ = accelsim("profile", "lenet5", "alexnet", "--total", "--format", "json")
    assert [(r["workload"], r["layer"], r["parameters"]) for r in json.loads(out)] == [
        ("lenet5", "total", 61_706),
        ("alexnet", "total", 60_965_224),
    ]
    out, _ = accelsim("profile", "lenet5", "--layers")
    assert out == table(profile(load_workload("lenet5"), layers_only=True)) + "\n"
    assert out.splitlines()[-1].split()[:3] == ["total", "61", "706"]
    out, _ = accelsim("profile", "lenet5", "alexnet", "--total")
    assert [line.split()[0] for line in out.splitlines()] == [
        "network",
        "-------",
        "lenet5",
        "alexnet",
    ]
    accelsim("profile", "lenet5", "-o", tmp_path / "p.csv")
    assert (
        (tmp_path / "p.csv")
        .read_text()
        .startswith("workload,layer,type,inputs,output,parameters,macs,operations")
    )
    _, said = accelsim("profile", "lenet", code=2)
    assert "nearest: lenet5" in said
    _, said = accelsim("profile", "lenet5", "--clock", "0", code=2)
    assert "clock: must be positive, got 0.0" in said


def test_the_picture(tmp_path: Path) -> None:
    _, said = accelsim("profile", "alexnet", "vgg16", "resnet50", "--total", "--plot", tmp_path)
    assert "networks.png" in said and (tmp_path / "networks.png").read_bytes().startswith(
        b"\x89PNG"
    )
    svg = (tmp_path / "networks.svg").read_text()
    assert svg.count("<g id=") > 10
    names = (
        "alexnet",
        "vgg16",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "googlenet",
        "mobilenet_v1",
        "mobilenet_v2",
    )
    figure = discs([profile(load_workload(n)) for n in names])
    (axes,) = figure.axes
    assert {t.get_text() for t in axes.texts} == set(names)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [t.get_window_extent(renderer) for t in axes.texts]
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert not a.overlaps(b), "no name covers another"
    with pytest.raises(ValueError, match="no networks"):
        discs([])
    with pytest.raises(ValueError, match="no parameters"):
        discs([profile(load_workload(MatMul(m=1, k=1, n=1, name="a")))])


@pytest.mark.parametrize(
    ("number", "text"),
    [(512, "512 B"), (2048, "2 KB"), (1.5 * 2**20, "1.5 MB"), (2**43, "8192 GB")],
)
def test_bytes(number: float, text: str) -> None:
    assert bytes_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(180.0, "3 min"), (2.5, "2.5 s"), (0.0144, "14.4 ms"), (5e-6, "5 us"), (3e-9, "3 ns")],
)
def test_seconds(number: float, text: str) -> None:
    assert seconds_text(number) == text
