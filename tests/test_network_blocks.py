"""A network in coloured blocks: every kind has its colour, in a terminal and in a picture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accelsim.cli.main import main
from accelsim.view.network_blocks import BLOCKS, blocks, blocks_text, family
from accelsim.workload.graph.entries import OPERATORS
from accelsim.workload.layers import Gemm
from accelsim.workload.network import load_workload
from accelsim.workload.profile import profile


def test_every_operator_has_a_family() -> None:
    assert {family(kind) for kind in (*OPERATORS, "gemm")} == set(BLOCKS)
    for kind, name in (
        ("depthwise", "convolution"),
        ("gemm", "matrix product"),
        ("matmul", "matrix product"),
        ("max_pool", "pooling"),
        ("batch_norm", "normalization"),
        ("softmax", "activation"),
        ("add", "combination"),
    ):
        assert family(kind) == name
    assert len({colour for _, colour in BLOCKS.values()}) == len(BLOCKS)


def test_a_line_a_layer_with_its_colour_and_counts() -> None:
    shown = profile(load_workload("lenet5"))
    text = blocks_text(shown)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = plain.splitlines()[3:-2]
    assert [line.split()[:2] for line in lines] == [[r.type, r.layer] for r in shown.rows]
    assert "156 ██████ " in lines[0] and lines[0].split()[5] == "118k"
    starts = {line.index(row.layer, 16) for line, row in zip(lines, shown.rows, strict=True)}
    assert len(starts) == 1, "columns begin under each other, whatever a block is coloured"
    for line, row in zip(text.splitlines()[3:], shown.rows, strict=False):
        assert line.startswith(f"\x1b[48;5;{BLOCKS[family(row.type)][1]}m")


def test_a_picture_has_a_block_a_layer() -> None:
    for workload in ("lenet5", Gemm(m=2, k=2, n=2, name="one")):
        shown = profile(load_workload(workload))
        figure = blocks(shown)
        chain, *panels = figure.axes
        assert len(chain.patches) == len(shown.rows)
        assert [len(axes.patches) for axes in panels] == [
            sum(bool(n) for n in column)
            for column in zip(
                *((r.parameters, r.macs, r.activation_bytes) for r in shown.rows), strict=True
            )
        ]


def test_from_the_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: str) -> int:
        monkeypatch.setattr("sys.argv", ["accelsim", *args])
        with pytest.raises(SystemExit) as done:
            main()
        return int(done.value.code or 0)

    assert run("profile", "lenet5", "--blocks", "-o", str(tmp_path / "b.txt")) == 0
    text = (tmp_path / "b.txt").read_text()
    assert "conv2d" in text and "\x1b" not in text, "no colours in a file"
    assert run("profile", "lenet5", "--blocks", "--plot", str(tmp_path)) == 0
    assert (tmp_path / "lenet5_blocks.png").stat().st_size > 5000
    for more in (["--total"], ["--format", "csv"]):
        assert run("profile", "lenet5", "--blocks", *more) == 2
        assert "--blocks is a table of layers" in capsys.readouterr().err
