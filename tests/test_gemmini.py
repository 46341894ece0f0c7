"""Gemmini's RTL, predicted tile by tile (reports/gemmini_rtl), and the preset ``gemmini``."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from studies import study_module

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.cli.main import main
from accelsim.mapping.nest import Nest

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "reports" / "gemmini_rtl"


study = partial(study_module, "gemmini_rtl")


def cli(monkeypatch, *args):
    """What ``accelsim`` ends with."""
    monkeypatch.setattr(sys, "argv", ["accelsim", *map(str, args)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


@cache
def parts():
    """The study's two modules: rows and time."""
    study()
    import gemmini_rows
    import gemmini_time

    return gemmini_rows, gemmini_time


@cache
def predicted():
    return study().predict()


@pytest.mark.parametrize("tiling", ["auto", "mapping"])
def test_the_74_rows_are_as_near_as_is_asked(tiling):
    off = study().off(predicted(), "predicted", tiling).abs()
    assert len(off) == 74
    assert off.mean() <= 0.20 and off.max() <= 0.60


def test_the_committed_table_is_what_the_study_gives():
    import pandas as pd

    kept = pd.read_csv(STUDY / "gemmini.csv")
    for tiling in study().TILINGS:
        assert list(kept[f"predicted_{tiling}"]) == list(predicted()[f"predicted_{tiling}"])


@pytest.mark.slow
def test_the_committed_report_is_what_the_study_gives(tmp_path):
    for path in study().main(tmp_path):
        if path.suffix in (".csv", ".md"):
            assert path.read_bytes() == (STUDY / path.name).read_bytes(), path.name


def test_every_constant_names_its_place():
    lines = (STUDY / "machine.yaml").read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(lines):
        if not line.startswith("#"):
            told = line.partition("#")[2] or lines[i - 1]
            assert any(x in told for x in (".scala", "rocket", "RISC-V")), line


# The command --------------------------------------------------------------------------------------


def test_other_rows_go_through_the_same_command(tmp_path, capsys, monkeypatch):
    lines = study().REFERENCE.read_text(encoding="utf-8").splitlines()
    few = tmp_path / "few.csv"
    few.write_text("\n".join([lines[1], *lines[3:6]]) + "\n", encoding="utf-8")
    out = tmp_path / "out.csv"
    assert cli(monkeypatch, "report", "gemmini_rtl", "--rows", few, "-o", out) == 0
    head, *rows = out.read_text(encoding="utf-8").splitlines()
    assert head == "row,rtl_cycles_auto,predicted_auto,rtl_cycles_mapping,predicted_mapping"
    expected = predicted().iloc[1:4]
    assert rows == [
        f"{r.row},{r.rtl_cycles_auto},{r.predicted_auto},{r.rtl_cycles_mapping},{r.predicted_mapping}"
        for r in expected.itertuples()
    ]
    assert cli(monkeypatch, "report", "gemmini_rtl", "--rows", few) == 0
    assert capsys.readouterr().out == out.read_text(encoding="utf-8")


def test_a_spreadsheets_file_is_read_and_a_row_too_long_is_not(tmp_path):
    """A mark at the beginning, other columns first; and a cell too many shifts every number."""
    lines = study().REFERENCE.read_text(encoding="utf-8").splitlines()
    head, row = lines[1].split(","), lines[2].split(",")
    file = tmp_path / "sheet.csv"
    file.write_text(f"{','.join(head[::-1])}\r\n{','.join(row[::-1])}\r\n", encoding="utf-8-sig")
    assert study().rows(file).splitlines()[1].startswith("2,7690,")
    file.write_text(f"{','.join(head)}\n1,{','.join(row)}\n", encoding="utf-8")
    with pytest.raises(InputError, match="more cells than the head has columns") as refused:
        study().rows(file)
    assert f"{file}:2" in str(refused.value)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("P", "0", "at least 1"),
        ("C", "x", "whole number"),
        ("Wstride", "1.5", "whole number"),
        ("rtl_cycles_auto", "", "whole number"),
        ("auto_tiling_R_S_P_Q_C_K_N", "1_1_128", "seven whole numbers"),
        ("mapping", "K2 - P8", "levels such as"),
        ("mapping", "L2[WI] K16X - L1[O] K2", "no level L3"),
        ("mapping", "L3[WIO] K2 - L1[O] Z2", "levels such as"),
    ],
)
def test_a_bad_row_is_one_line_that_names_file_line_and_column(
    tmp_path, capsys, monkeypatch, column, value, says
):
    lines = study().REFERENCE.read_text(encoding="utf-8").splitlines()
    cells = dict(zip(lines[1].split(","), lines[2].split(","), strict=True)) | {column: value}
    bad, out = tmp_path / "bad.csv", tmp_path / "out.csv"
    bad.write_text(f"# a note\n{','.join(cells)}\n{','.join(cells.values())}\n", encoding="utf-8")
    assert cli(monkeypatch, "report", "gemmini_rtl", "--rows", bad, "-o", out) == 2
    message = capsys.readouterr().err
    assert not out.exists() and message.count("\n") == 1
    assert f"{bad}:3: {column}:" in message and says in message


def test_a_file_of_other_columns_and_a_study_without_rows_are_refused(
    tmp_path, capsys, monkeypatch
):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="a column is missing: row"):
        study().rows(other)
    with pytest.raises(InputError, match="cannot be read"):
        study().rows(tmp_path / "none.csv")
    assert cli(monkeypatch, "report", "axis_systolic_array", "--rows", other) == 2
    assert "predicts no rows" in capsys.readouterr().err
    assert cli(monkeypatch, "report", "gemmini_rtl", "-o", other) == 2
    assert "must be a directory" in capsys.readouterr().err


# The parts, against plain loops over addresses ----------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_lines_and_requests_are_those_of_the_addresses(seed):
    _, time = parts()
    m, rng = time.load_machine(), random.Random(seed)
    apart = rng.choice([64, 96, 100, 256, 1000, 72, 144])
    width = rng.randint(1, apart)
    rows = time.Rows(64, width, apart, rng.randrange(0, apart - width + 1))
    lines, requests = 0, 0
    for i in range(rows.count):
        first = rows.offset + i * apart
        lines += (first + width - 1) // 64 - first // 64 + 1
        for piece in range(first, first + width, 64):
            last = min(piece + 64, first + width) - 1
            requests += last // 64 - piece // 64 + 1
    assert rows.lines(m) == pytest.approx(lines)
    assert rows.requests(m) == pytest.approx(requests)


@pytest.mark.parametrize("seed", range(20))
def test_tiles_cover_a_layer_once(seed):
    rows, _ = parts()
    rng = random.Random(seed)
    size = {d: rng.randint(1, 5) for d in rows.DIMS}
    cut = rows.Tiling(
        {d: rng.randint(1, n) for d, n in size.items()}, "".join(rng.sample(rows.DIMS, 7))
    )
    seen = np.zeros([size[d] for d in rows.DIMS], int)
    whole = np.zeros([size[d] for d in "PQKN"], int)
    for tile in rows.tiles(size, cut):
        at = {d: slice(tile.begin[d], tile.begin[d] + tile.size[d]) for d in rows.DIMS}
        seen[tuple(at[d] for d in rows.DIMS)] += 1
        whole[tuple(at[d] for d in "PQKN")] += tile.whole
    assert (seen == 1).all() and (whole == 1).all()


@pytest.mark.parametrize("seed", range(20))
def test_work_is_that_of_its_instructions(seed):
    _, time = parts()
    m, rng = time.load_machine(), random.Random(seed)
    size = {d: rng.randint(1, 40 if d in "PCK" else 3) for d in "RSPQCKN"}
    one = [
        max(min(16, size["P"] - p), 4)
        for _ in range(size["Q"] * size["N"])
        for p in range(0, size["P"], 16)
    ]
    one[0] = 16
    blocks = -(-size["C"] // 16) * -(-size["K"] // 16) * size["R"] * size["S"]
    assert m.way == 36
    assert time.work(size, m) == pytest.approx(blocks * max(sum(one), 36 / 5 * len(one)) + 36)


def test_a_cache_that_replaces_at_random_has_what_chance_leaves():
    """Against a cache of lines with a victim drawn at each miss, in the mean of many."""
    _, time = parts()
    lines, steps, runs = 64, "abacbdcadbbac" * 3, 200
    sizes = {"a": 20, "b": 12, "c": 3, "d": 8}
    rng, missed = random.Random(7), np.zeros(len(steps))
    for _ in range(runs):
        held: list[tuple[str, int] | None] = [None] * lines
        for i, piece in enumerate(steps):
            for k in range(sizes[piece]):
                if (piece, k) not in held:
                    held[rng.randrange(lines)] = (piece, k)
                    missed[i] += 1 / sizes[piece] / runs
    cached = time.LineCache(lines)
    shares = [cached.take((piece,), sizes[piece]) for piece in steps]
    assert np.abs(np.array(shares) - missed).max() < 0.06


def test_what_a_run_leaves_in_the_cache():
    rows, time = parts()
    m = time.load_machine()
    small, large = (
        next(x for x in rows.read_rows(study().REFERENCE) if x.row == row) for row in ("76", "136")
    )
    assert time.left_over(small, m) > 0.95 and time.left_over(large, m) < 0.06
    assert time.left_over(small, replace(m, cache_bytes=0)) == 0.0
    # only second runs find it: the first column's rows are as if there were none
    for layer in (small, large):
        auto, mapping = (layer.tilings[t] for t in study().TILINGS)
        cold = replace(m, warm=False)
        assert time.cycles(layer, auto, m) == time.cycles(layer, auto, cold)
        assert time.cycles(layer, mapping, m) < time.cycles(layer, mapping, cold)


@pytest.mark.parametrize("seed", range(20))
def test_unfinished_sums_are_those_that_a_walk_finds(seed):
    """Tile by tile, with a set of the sums that are begun and not whole."""
    rows, time = parts()
    m, rng = replace(time.load_machine(), dim=1), random.Random(seed)
    size = {d: rng.randint(1, 5) for d in rows.DIMS}
    cut = rows.Tiling(
        {d: rng.randint(1, n) for d, n in size.items()}, "".join(rng.sample(rows.DIMS, 7))
    )
    layer = rows.MeasuredLayer("0", size, (1, 1), {}, {}, None)
    words, lines, most = {}, 0.0, 0
    begun: set[tuple[int, ...]] = set()
    before = None
    for tile in rows.tiles(size, cut):
        place = tuple(tile.begin[d] for d in "PQKN")
        words[place] = np.prod([tile.size[d] for d in "PQKN"])
        if before is not None and before != place:
            lines += 4 * (words[before] * (before in begun) + words[place] * (place in begun)) / 64
        begun.add(place)
        most = max(most, sum(words[x] for x in begun))
        if tile.whole:
            begun.remove(place)
        before = place
    steps = list(rows.tiles(size, cut))
    counted = sum(
        time.sum_lines(tile, last, size, m)
        for last, tile in zip([None, *steps], steps, strict=False)
    )
    assert counted == pytest.approx(lines)
    assert time.unfinished(layer, cut, m) == most


def test_the_tiler_finds_the_tile_that_was_measured():
    """Every convolution of the table; and it is at least as large as a tile can be by one more."""
    from gemmini_tiler import own_tile

    rows, _ = parts()
    convolutions = [x for x in rows.read_rows(study().REFERENCE) if x.kind != "product"]
    assert len(convolutions) == 69
    for layer in convolutions:
        tile, tries = own_tile(layer.size, max(layer.stride))
        assert tile == layer.tilings["auto"].tile, layer.row
        assert tries == layer.tilings["auto"].tries >= 1
        assert layer.tilings["mapping"].tries == 0


@pytest.mark.parametrize("seed", range(30))
def test_no_layer_is_faster_than_its_work_or_its_bytes(seed, tmp_path):
    """Random layers and tilings go through the file: never below what the array and the memory bus
    need at the least, and a slower memory or fewer products in the mesh never save a cycle.
    """
    rows, time = parts()
    rng = random.Random(seed)
    most = {"R": 4, "S": 4, "P": 40, "Q": 40, "C": 200, "K": 200, "N": 3}
    size = {d: rng.randint(1, most[d]) for d in rows.DIMS}
    cut = {d: rng.randint(1, n) for d, n in size.items()}
    outer = " ".join(f"{d}{-(-size[d] // n)}" for d, n in cut.items() if n < size[d]) or "N1"
    inner = " ".join(f"{d}{n}" for d, n in cut.items())
    cells = size | {
        "row": seed,
        "Wstride": rng.randint(1, 3),
        "Hstride": rng.randint(1, 3),
        "mapping": f"L3[WIO] {outer} - L2[WI] N1 - L1[O] {inner} - L0[W] N1",
        "auto_tiling_R_S_P_Q_C_K_N": "_".join(str(cut[d]) for d in rows.DIMS),
        "rtl_cycles_auto": 1,
        "rtl_cycles_mapping": 1,
    }
    file = tmp_path / "one.csv"
    head, row = ",".join(map(str, cells)), ",".join(map(str, cells.values()))
    file.write_text(f"{head}\n{row}\n", encoding="utf-8")
    (layer,) = rows.read_rows(file)
    m = time.load_machine()
    slower = replace(m, memory_bytes=4), replace(m, products_in_mesh=2)
    for tiling in study().TILINGS:
        spent = time.cycles(layer, layer.tilings[tiling], m)
        least = max(layer.macs / 256, size["R"] * size["S"] * size["C"] * size["K"] / 16)
        assert spent >= least
        assert all(time.cycles(layer, layer.tilings[tiling], x) >= spent for x in slower)


# The preset ---------------------------------------------------------------------------------------


def test_the_two_memories_lie_side_by_side():
    arch = acc.load_architecture("gemmini")
    layer = parts()[0].read_rows(study().REFERENCE)[1]
    nest = Nest(
        layer.layer().problem(),
        acc.load_architecture("gemmini", study().ROOM),
        layer.mapping("auto"),
    )
    way = {(b.tensor, arch.level_names[b.parent]) for b in nest.boundaries}
    assert ("weight", "spad") in way and ("weight", "acc") not in way
    assert ("ofmap", "acc") in way and ("ofmap", "spad") not in way


def test_every_engine_says_the_same_of_the_preset():
    layer = acc.Conv2d(M=20, C=10, H=8, W=8, R=3, S=3)
    rows = [
        acc.simulate(layer, "gemmini", "ws", engine=engine).records()[0]
        for engine in ("analytic", "event", "cycle")
    ]
    assert len({row["cycles"] for row in rows}) == 1
    assert all(row["error"] is None for row in rows)
    assert all(row["bit_exact"] for row in rows[1:])


def test_a_rows_tiling_is_a_mapping_of_the_preset():
    import pandas as pd

    kept = pd.read_csv(STUDY / "gemmini.csv").set_index("row")
    arch = acc.load_architecture("gemmini", study().ROOM)
    for layer in parts()[0].read_rows(study().REFERENCE)[:3]:
        for tiling in study().TILINGS:
            (row,) = acc.simulate(layer.layer(), arch, mapping=layer.mapping(tiling)).records()
            assert row["error"] is None
            assert row["cycles"] == kept.loc[int(layer.row), f"plain_{tiling}"]
            assert row["macs"] == layer.macs


# Memories side by side, and what works beside the array -------------------------------------------


def test_the_vector_unit_reads_one_memory_and_writes_the_other():
    rows = {
        row["layer"]: row
        for row in acc.simulate("lenet5", "gemmini", "ws", end_to_end=True).records()
    }
    softmax, words = rows["softmax"], 10
    assert softmax["spad_ifmap_reads"] == 3 * softmax["dram_ifmap_reads"] == 3 * words
    assert softmax["acc_ofmap_writes"] == 2 * softmax["dram_ofmap_writes"] == 2 * words
    # without the key it stands where both may be: at the memory, which is then read three times
    plain = acc.load_architecture("gemmini").model_dump(mode="json", exclude_none=True)
    del plain["vector"]["at"]
    machine = acc.Architecture(**plain)
    *_, last = acc.simulate("lenet5", machine, "ws", end_to_end=True).records()
    assert last["dram_ifmap_reads"] == 3 * words and last["spad_ifmap_reads"] == 0


@pytest.mark.parametrize(
    ("key", "level", "says"),
    [
        ("ifmap", "acc", "keeps ifmap (dram, spad), got acc"),
        ("weight", "reg", "keeps weight (dram, spad), got reg"),
        ("ofmap", "sram", "keeps ofmap (dram, acc), got sram"),
    ],
)
def test_the_unit_is_where_the_tensor_is_kept(key, level, says):
    with pytest.raises(InputError) as refused:
        acc.load_architecture("gemmini", {f"vector.at.{key}": level})
    assert says in str(refused.value) and f"vector.at.{key}" in str(refused.value)


def test_naming_where_the_unit_is_anyway_changes_nothing():
    named = {"vector.at.ifmap": "sram", "vector.at.ofmap": "sram", "vector.at.weight": "sram"}
    one, other = (
        acc.simulate("lenet5", "systolic", "ws", end_to_end=True, overrides=keys).records()
        for keys in ({}, named)
    )
    assert [row | {"set": ""} for row in one] == [row | {"set": ""} for row in other]


@pytest.mark.parametrize(
    ("arch", "flow", "says"),
    [
        ("gemmini", "ws", "must keep ifmaps and ofmaps both (spad keeps weight, ifmap; acc keeps"),
        ("systolic", "osa", "output_stationary_soc_mop sends ofmap past sram"),
    ],
)
def test_buffers_that_cannot_be_fused_are_refused_with_the_reason(arch, flow, says):
    with pytest.raises(InputError, match="nothing can stay on the chip") as refused:
        acc.simulate("lenet5", arch, flow, fuse_buffers=True)
    assert says in str(refused.value)
