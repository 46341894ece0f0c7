"""What a question about a design is answered for unless somebody says otherwise: the best tiles,
and a memory that takes time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import accelsim as acc
from accelsim.cli.main import cli

SMALL = {"array.rows": 32, "array.cols": 32, "levels.sram.capacity_bytes": 65536}
FREE = SMALL | {"dram": "unlimited", "levels.sram.double_buffered": False}


def conv5_3(**options: Any) -> dict[str, Any]:
    result = acc.simulate("resnet50", "systolic", "ws", layers=["conv5_3_conv"], **options)
    return dict(result.rows[0].columns)


def test_a_layer_gets_the_best_tiles() -> None:
    """The first thing people ask: 32 times fewer cycles than the rule's."""
    best, rule = conv5_3(overrides=FREE), conv5_3(overrides=FREE, tiles="rule")
    assert (best["cycles"], rule["cycles"]) == (112_990, 3_612_735)
    assert (best["mapping"], rule["mapping"]) == ("best", "rule")
    assert best == conv5_3(overrides=FREE, tiles="best", objective="edp", effort="quick")
    waiting = conv5_3(overrides=SMALL), conv5_3(overrides=SMALL, tiles="rule")
    assert [row["cycles"] for row in waiting] == [163_732, 7_418_875]  # docs/mapper.md


PAIR = [
    acc.Conv2d(name="conv", M=6, C=3, H=12, W=12, R=5, S=5),
    acc.Gemm(name="product", m=10, k=24, n=12),
]


@pytest.mark.parametrize(
    ("arch", "flows"),
    [
        ("systolic", "ws,os,is"),
        ("eyeriss", "rs,ws"),
        ("shidiannao", "osp"),
        ("tpu_v1", "ws"),
        ("scalesim", "ws,os"),
    ],
)
def test_every_door_answers_alike(arch: str, flows: str) -> None:
    """``simulate``, a sweep, and each with its default said, on every preset."""
    own = "rule" if arch == "scalesim" else "best"
    rows = acc.simulate(PAIR, arch, flows).to_frame()
    said = acc.simulate(PAIR, arch, flows, tiles=own).to_frame()
    swept = acc.sweep(PAIR, arch, dataflows=flows, jobs=1)
    assert set(rows.mapping) == {own} == set(swept.mapping)
    for name in ("cycles", "active_pes", "stall_cycles"):
        assert rows[name].tolist() == said[name].tolist() == swept[name].tolist(), name


def test_an_objective_asks_for_a_search() -> None:
    (row,) = acc.simulate("lenet5", "scalesim", "ws", layers=["fc3"], objective="cycles").rows
    assert row.columns["mapping"] == "best_cycles"
    frame = acc.sweep("lenet5", "scalesim", dataflows="ws", objective="cycles", jobs=1)
    assert set(frame.mapping) == {"best_cycles"}


def test_the_published_memory_is_waited_for() -> None:
    """TPU v1's 34 GB/s carry fc6's 102.76 MB in 2.12 M cycles; without it the array alone."""
    fc6 = {"layers": ["fc6"], "overrides": {"dram": "unlimited"}}
    (row,) = acc.simulate("vgg16", "tpu_v1", "ws", layers=["fc6"]).rows
    (free,) = acc.simulate("vgg16", "tpu_v1", "ws", **fc6).rows  # type: ignore[arg-type]
    assert free.columns["cycles"] == 401_919
    assert row.columns["cycles"] == pytest.approx(102_760_448 * 8 / 388, rel=0.002)
    unwaited = {name for name in acc.architectures() if not _waits(str(name))}
    assert unwaited == {"scalesim"}


def _waits(name: str) -> bool:
    arch = acc.load_architecture(name)
    return arch.levels[arch.level_names[0]].port_bits is not None


def test_unlimited_is_one_word() -> None:
    for name in ("eyeriss", "systolic", "tpu_v1", "shidiannao"):
        for key in ("dram", "levels.dram"):
            level = acc.load_architecture(name, {key: "unlimited"}).levels["dram"]
            assert (level.port_bits, level.port_clock_mhz, level.latency_cycles) == (None, None, 0)
    for wrong in ("fast", 64, None):
        with pytest.raises(acc.InputError, match="dram: a level is unlimited"):
            acc.load_architecture("systolic", {"dram": wrong})
    memories = {"levels.dram": ["unlimited", {"port_bits": 64}]}
    frame = acc.sweep("lenet5", "systolic", memories, dataflows="ws", jobs=1, total=True)
    assert frame.cycles.is_monotonic_increasing and frame.stall_dram_cycles.tolist()[0] == 0
    assert frame["levels.dram"].tolist() == ["unlimited", '{"port_bits": 64}']


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({"dram": ["unlimited"]}, "dram: is no axis; .*choices: levels.dram"),
        ({"default_tiles": ["rule"]}, "default_tiles: is no axis"),
    ],
)
def test_what_is_no_axis(grid: dict[str, list[str]], says: str) -> None:
    with pytest.raises(acc.InputError, match=says):
        acc.sweep("lenet5", "systolic", grid, dataflows="ws", jobs=1)


# The best dataflow of each layer --------------------------------------------------------------


def test_a_sweep_has_the_best_dataflow_of_each_layer() -> None:
    grid = {"array.rows": [8, 16], "levels.sram.capacity_bytes": [2048, 65536]}
    frame = acc.sweep(PAIR, "systolic", grid, best_of="ws,os,is", jobs=1)
    frame["edp"] = frame.cycles * frame.energy_pj
    best, rest = frame[frame.dataflow == "best"], frame[frame.dataflow != "best"]
    places = [*grid, "layer"]
    assert len(best) == 4 * 2 and len(rest) == 3 * len(best)
    least = rest.groupby(places).edp.min()
    assert (best.set_index(places).edp == least.loc[best.set_index(places).index]).all()
    for _, row in best.iterrows():
        same = rest[(rest[places] == row[places]).all(axis=1)].set_index("dataflow")
        assert row.cycles == same.cycles[row.best_dataflow]
    totals = acc.sweep(PAIR, "systolic", grid, best_of="ws,os,is", jobs=1, total=True)
    sums = frame.groupby([*grid, "dataflow"]).cycles.sum()
    for _, row in totals.iterrows():
        assert row.cycles == sums[tuple(row[[*grid, "dataflow"]])]


def test_the_best_of_all_leaves_out_what_maps_only_some() -> None:
    frame = acc.sweep(PAIR, "systolic", dataflows="best", objective="cycles", jobs=1)
    assert (frame.status == "ok").all() and {"ws", "os", "best"} <= set(frame.dataflow)
    rows = acc.simulate(PAIR, "systolic", "best", objective="cycles").to_frame()
    for table in (frame, rows):
        told = table[table.dataflow == "best"]
        assert told.cycles.tolist() == table.groupby("layer", sort=False).cycles.min().tolist()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"best_of": "ws,os", "dataflows": "ws"}, "best_of: goes without dataflows"),
        ({"best_of": "ws,os", "mapper": "edp"}, "mapper: does not go with the best dataflow"),
        ({"dataflows": "best", "mapping": "x"}, "mapping: does not go with the best dataflow"),
        ({"best_of": "ws,os", "objective": "dram"}, "objective: of a best dataflow"),
    ],
)
def test_what_does_not_go_with_the_best_dataflow(options: dict[str, Any], says: str) -> None:
    with pytest.raises(acc.InputError, match=says):
        acc.sweep("lenet5", "systolic", jobs=1, **options)


def test_a_study_says_it_too(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("workload: lenet5\narch: systolic\nbest_of: [ws, os]\ntiles: rule\n")
    frame = acc.load_study(file).run(jobs=1)
    assert set(frame.dataflow) == {"ws", "os", "best"} and set(frame.mapping) == {"rule"}
    words = ["sweep", str(file), "--best-of", "ws,is", "--rows", "9", "--jobs", "1"]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == 0 and " best " in done.stdout and " is " in done.stdout
    # the rule's rows have an objective too, where it chooses among dataflows
    chosen = [*words, "--objective", "cycles", "--tiles", "rule"]
    done = CliRunner().invoke(cli, chosen, standalone_mode=False)
    assert done.return_value == 0 and " best " in done.stdout
    with pytest.raises(acc.InputError, match="best_of: goes with sweep"):
        acc.load_study(file).search(trials=2)


def test_a_table_says_whose_tiles_and_which_dataflow_its_rows_have() -> None:
    ruled = "tiles: the fixed rule's, not the best found"
    assert str(acc.simulate("lenet5", "systolic", "ws", tiles="rule")).splitlines()[1] == ruled
    told = str(acc.simulate("lenet5", "systolic", "best")).splitlines()
    assert ruled not in told
    assert {line.split("  ")[0] for line in told if line.startswith("best (")} <= {
        "best (is)", "best (os)", "best (osb)", "best (ws)",
    }  # fmt: skip
    assert any(line.startswith("best (os") for line in told)
