"""What is said of a result: cycles in parts that add up, energy never below its least, knobs that
are fresh runs, and words about them.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from nests import drawn_nest
from quick import slow_but
from test_cli import accelsim
from test_timed import limited

import accelsim as acc
from accelsim.cli.main import cli
from accelsim.engines import analytic
from accelsim.results.explain import Explanation, explain
from accelsim.results.knobs import numbers
from accelsim.results.layer_row import performance
from accelsim.results.waterfall import parts_of, short_ratio, why_faster
from accelsim.view.explained import explained_data

MACHINES = (
    ("systolic", "ws", {"array.rows": 32, "array.cols": 16, "levels.sram.capacity_bytes": 65536}),
    ("systolic", "os", {"levels.dram.port_bits": 64, "levels.sram.double_buffered": True}),
    ("systolic", "is", {"levels.sram.capacity_bytes": 4096, "levels.dram.port_bits": 16}),
    ("tpu_v1", "ws", {"array.rows": 64, "array.cols": 64}),
    ("eyeriss", "rs", {}),
    ("scalesim", "os", {"array.rows": 8}),
    ("shidiannao", "osp", {}),
)


def layer(rng: random.Random) -> acc.Conv2d:
    r = rng.randint(1, 5)
    size = r + rng.randint(0, 30)
    return acc.Conv2d(
        name="x", M=rng.randint(1, 300), C=rng.randint(1, 200), H=size, W=size, R=r, S=r,
        stride=rng.randint(1, 3), padding=rng.randint(0, 2),
    )  # fmt: skip


def add_up(columns: Any, pes: int) -> None:
    parts = parts_of(columns, pes)
    assert sum(p.cycles for p in parts) == columns["cycles"]
    assert all(isinstance(p.cycles, int) and p.cycles >= 0 for p in parts)
    assert parts[0].cycles == -(-columns["macs"] // pes)


@pytest.mark.parametrize(
    ("waits", "many"),
    slow_but([(False, 100), (True, 100)], [(w, n) for w in (False, True) for n in (100, 500)]),
)
def test_the_waterfall_adds_up_on_random_nests(waits: bool, many: int) -> None:
    """500 small nests of every kind: strides, gaps, fused dimensions, any order of loops; and 500
    with ports, clocks, bursts, latencies, widths and slots.
    """
    for seed in range(many):
        nest = drawn_nest(seed)
        if waits:
            nest = limited(nest, random.Random(seed))
        run = analytic.run(nest)
        assert run.cycles is not None and run.stalls is not None
        spent = performance(nest, run.cycles, run.compute_cycles, run.stalls, run.active_pes)
        add_up({"macs": nest.problem.macs, **spent}, nest.arch.array.rows * nest.arch.array.cols)


machines = pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m[0]} {m[1]}")


@machines
@pytest.mark.parametrize("many", slow_but([8], [8, 40]))
def test_the_waterfall_adds_up_on_presets(
    machine: tuple[str, str, dict[str, Any]], many: int
) -> None:
    arch, flow, keys = machine
    rng = random.Random(f"{arch} {flow}")
    layers = [layer(rng).model_copy(update={"name": f"x{i}"}) for i in range(many)]
    result = acc.simulate(layers, arch, flow, overrides=keys)
    rows = [row for row in result.rows if row.nest is not None]
    assert len(rows) > many // 2
    for row in rows:
        assert row.nest is not None
        array = row.nest.arch.array
        add_up(row.columns, array.rows * array.cols)
    told = explain(result, knobs=False)
    for x, row in zip(told.layers, rows, strict=True):
        assert x.cycles == row.columns["cycles"]
        assert x.spent == pytest.approx(row.columns[f"energy_{x.unit}"])
        assert 0 < x.least <= x.spent * (1 + 1e-12)
        for share in x.energy:
            assert share.least <= share.total * (1 + 1e-12)
            if share.tensors:
                assert sum(share.tensors.values()) == pytest.approx(share.total)
    (total,) = told.totals
    assert total.cycles == sum(x.cycles for x in told.layers)
    assert total.spent == pytest.approx(sum(x.spent for x in told.layers))


@machines
@pytest.mark.parametrize("many", slow_but([1], [1, 3]))
def test_every_knob_is_a_fresh_run(machine: tuple[str, str, dict[str, Any]], many: int) -> None:
    arch, flow, keys = machine
    rng = random.Random(f"knobs {arch} {flow}")
    layers = [layer(rng).model_copy(update={"name": f"x{i}"}) for i in range(many)]
    result = acc.simulate(layers, arch, flow, overrides=keys)
    base = acc.load_architecture(arch, keys)
    for x in result.explain().layers:
        asked = [(k.key, k.after) for k in x.knobs]
        wanted = [(k, n) for k, v in numbers(base).items() for n in (2 * v, v // 2) if n]
        assert sorted(asked) == sorted(wanted)
        assert [k.product for k in x.knobs] == sorted(k.product for k in x.knobs)
        for knob in x.knobs:
            try:
                fresh = acc.simulate(
                    layers, base, flow, layers=[x.identity["layer"]],
                    overrides={knob.key: knob.after},
                ).rows[0].columns  # fmt: skip
            except acc.InputError as error:
                assert knob.why == str(error)
                continue
            if fresh.get("cycles") is None:
                assert knob.why == fresh["error"] and knob.cycles is None
                continue
            assert (knob.cycles, knob.energy) == (fresh["cycles"], fresh[f"energy_{x.unit}"])


def test_knobs_keep_the_mapping_settings() -> None:
    """Under a mapper each machine is searched anew; under a file the file's loops stay."""
    layer = acc.Gemm(name="g", m=4, k=3, n=4)
    keys = {"array.rows": 3, "array.cols": 3, "levels.sram.capacity_bytes": 512}
    searched = acc.simulate(layer, "systolic", "ws", mapper="edp", overrides=keys)
    (x,) = searched.explain().layers
    base = acc.load_architecture("systolic", keys)
    for knob in x.knobs[:4]:
        fresh = acc.simulate(layer, base, "ws", mapper="edp", overrides={knob.key: knob.after})
        assert knob.cycles == fresh.rows[0].columns["cycles"]
    mapping = searched.rows[0].nest.mapping  # type: ignore[union-attr]
    filed = acc.simulate(layer, base, mapping=mapping)
    (y,) = filed.explain().layers
    doubled = next(k for k in y.knobs if k.key == "levels.sram.capacity_bytes" and k.after == 1024)
    assert doubled.cycles == y.cycles


def test_waiting_is_named_where_something_else_binds() -> None:
    """A third of the cycles may wait where the MACs take the most."""
    for arch, dataflow, layer in (("systolic", "os", "conv2"), ("tpu_v1", "ws", "fc1")):
        (x,) = acc.simulate("lenet5", arch, dataflow, layers=[layer]).explain(knobs=False).layers
        stalls = {p.name: p.cycles for p in x.parts if p.name.startswith("stall_") and p.cycles}
        most = max(stalls, key=lambda name: stalls[name]).removeprefix("stall_")
        of_it = "" if len(stalls) == 1 else "most of it "
        assert f"of the cycles are waiting, {of_it}for {most}." in str(x)
        assert not x.binds.name.startswith("stall_")


def test_words_and_records(tmp_path: Path) -> None:
    keys = {"array.rows": 32, "array.cols": 32, "levels.sram.capacity_bytes": 65536}
    keys |= {"dram": "unlimited", "levels.sram.double_buffered": False}
    result = acc.simulate(
        "resnet50", "systolic", "ws,os", layers=["conv5_3_conv"], overrides=keys, tiles="rule"
    )
    told = result.explain()
    text = str(told)
    assert "Filling and draining the array binds (96.9% of the cycles). It takes 32 times" in text
    assert "dram and sram have no port: they are never waited for." in text
    assert (
        "Twice levels.sram.capacity_bytes makes it worse (cycles x1.000, energy x1.013): an access "
        "to a larger level costs more, and the fixed rule fills it whether that pays or not."
    ) in text
    assert (
        "Twice levels.spad.partitions.ifmap makes it worse (cycles x1.097, energy x1.004): the "
        "fixed rule takes the largest tile that fits, not the best one."
        in str(acc.simulate("alexnet", "eyeriss", "rs", tiles="rule").explain())
    )
    assert "os takes 123 872 cycles" in text or "os takes" in text
    first, second = told.layers
    (line, energy) = told.comparisons()
    assert line == why_faster(first.parts, second.parts, ("ws", "os"))
    assert energy.startswith("It takes ")
    records = json.loads(told.to_json(tmp_path / "told.json"))
    assert [sum(r["parts"].values()) for r in records] == [r["cycles"] for r in records]
    assert json.loads((tmp_path / "told.json").read_text()) == records
    assert told._repr_html_().count("<table>") == 6
    assert isinstance(told, Explanation) and repr(told) == "<Explanation of 2 layers>"


def test_why_names_every_part_that_differs() -> None:
    keys = {"levels.sram.capacity_bytes": 65536, "levels.dram.port_bits": 32}
    a = acc.simulate("alexnet", "systolic", "ws", overrides=keys)
    b = acc.simulate("alexnet", "systolic", "ws", overrides=keys | {"levels.dram.port_bits": 64})
    (line, energy) = a.explain(knobs=False).against(b.explain(knobs=False))
    cycles = [r.totals()[0]["cycles"] for r in (a, b)]
    assert f"{cycles[1]:,}".replace(",", " ") in line and "fewer waiting for dram" in line
    assert "(fewer)" in line and "fill and drain" not in line
    assert "of its energy" in energy
    same = a.explain(knobs=False)
    assert "the same" in same.against(same)[0]


def test_nearly_as_many_is_not_one_times() -> None:
    assert [short_ratio(x) for x in (2.0, 0.5123, 228_438 / 228_470, 1.00002, 1.0)] == [
        *("2", "0.512", "0.9999", "1.00002", "1")
    ]


def test_two_stores_are_compared_in_words(tmp_path: Path) -> None:
    machines = [{"levels.dram.port_bits": n, "levels.sram.capacity_bytes": 8192} for n in (16, 32)]
    for name, keys in zip("ab", machines, strict=True):
        arch = acc.load_architecture("systolic", keys)
        acc.sweep("lenet5", arch, dataflows="ws", jobs=1, store=tmp_path / f"{name}.sqlite")
    done = accelsim("compare", *(tmp_path / f"{name}.sqlite" for name in "ab"))
    assert done.code == 0
    a, b = (acc.simulate("lenet5", "systolic", "ws", overrides=keys) for keys in machines)
    line = done.out.strip().splitlines()[-1]
    parts = [result.explain(knobs=False).whole[0].parts for result in (a, b)]
    assert line == f"Over the points in both, {why_faster(*parts, ('the first', 'the second'))}"
    assert "waiting for dram" in line


def test_the_picture_shows_what_is_told(tmp_path: Path) -> None:
    result = acc.simulate("lenet5", "eyeriss", "rs", layers=["fc2"])
    told = result.explain()
    for x in (*told.layers, *told.totals):
        data = explained_data(x)
        cycles = data["cycles"]
        assert cycles["cycles"].iloc[:-1].sum() == cycles["cycles"].iloc[-1] == x.cycles
        assert (cycles["start"] + cycles["cycles"]).iloc[-2] == x.cycles
        assert data["energy"]["total"].sum() == pytest.approx(x.spent)
    labels = [axes.get_xlabel() for axes in told.layers[0].figure().axes]
    assert labels == ["cycles", "energy (MAC energies)", "over the machine as it is"]
    paths = told.save(tmp_path)
    assert len(paths) == 2 * (len(told.layers) + len(told.totals))
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_vector_unit_is_told_too() -> None:
    result = acc.simulate("lenet5", "eyeriss", "rs", end_to_end=True)
    told = result.explain()
    assert told.totals[0].cycles == result.totals()[0]["cycles"]
    assert any(p.name == "vector" and p.cycles for p in told.totals[0].parts)


def test_the_command(tmp_path: Path) -> None:
    runner = CliRunner()

    def ask(*args: str) -> Any:
        return runner.invoke(cli, ["explain", *args], standalone_mode=False)

    base = ["lenet5", "--arch", "systolic", "--dataflow", "ws"]
    done = ask(*base, "--layer", "conv2", "--layer", "fc3", "--plot", str(tmp_path / "p"))
    assert done.return_value == 0, done.exception
    assert "= cycles" in done.output and "one number changed" in done.output
    assert len(list((tmp_path / "p").iterdir())) == 6
    out = tmp_path / "x.json"
    assert ask(*base, "--layer", "conv1", "--no-knobs", "-o", str(out)).return_value == 0
    assert [r["layer"] for r in json.loads(out.read_text())] == ["conv1"]
    assert "Missing option" in str(ask("lenet5", "--arch", "systolic").exception)
    assert ask(*base, "--layer", "conv1", "--tiles", "best", "-o", str(out)).return_value == 0
    best = acc.simulate("lenet5", "systolic", "ws", layers=["conv1"], tiles="best")
    assert json.loads(out.read_text()) == json.loads(best.explain().to_json())
    ruled = ask(*base, "--tiles", "rule", "--effort", "quick")
    assert "--effort wants --tiles best" in str(ruled.exception)
    for ending in (".csv", ".parquet"):
        other = tmp_path / f"x{ending}"
        assert "is written here, not" in str(ask(*base, "-o", str(other)).exception)
        assert not other.exists()
    none = ask("lenet5", "--arch", "tpu_v1", "--dataflow", "os")
    assert none.return_value == 1 and "nothing to explain" in none.output
    with pytest.raises(ValueError, match="nothing to explain"):
        acc.simulate("lenet5", "tpu_v1", "os").explain()
