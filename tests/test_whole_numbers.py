"""Counts, cycles and totals are whole numbers to 2^63 - 1 on every way they take: rows, arrays,
frames, CSV, JSON, Parquet, a store and back.  What is larger is refused, by column and row.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.base.limits import MAX_COUNT
from accelsim.explore import evaluate
from accelsim.explore.columns import Table, column, pack
from accelsim.explore.output import json_text, table_csv, write_parquet
from accelsim.explore.pareto import on_front
from accelsim.explore.store import Store
from accelsim.explore.totals import frame_totals
from accelsim.hardware.ports import too_long
from accelsim.results.layer_row import Row
from accelsim.results.result import Result

COUNTS = ("macs", "cycles", "compute_cycles", "dram_weight_reads", "noc_ofmap_additions")
LAYERS = [acc.Gemm(name=f"g{i}", m=2 + i, k=2, n=2) for i in range(3)]

near = st.one_of(
    st.integers(1, 1000),
    st.builds(lambda d: 2**53 + d, st.integers(-3, 3)),
    st.builds(lambda d: 2**62 + d, st.integers(-3, 3)),
    st.builds(lambda d: MAX_COUNT - d, st.integers(0, 3)),
    st.integers(1, MAX_COUNT),
)
layer_counts = st.lists(
    st.one_of(st.none(), st.fixed_dictionaries(dict.fromkeys(COUNTS, near))),
    min_size=len(LAYERS),
    max_size=len(LAYERS),
)


def rows_of(counts: list[dict[str, int] | None]) -> list[Row]:
    """Rows with these counts; a layer without any could not be mapped."""
    rows = []
    for layer, own in zip(LAYERS, counts, strict=True):
        lead = {"workload": "w", "layer": layer.name, "arch": "a", "dataflow": "ws"}
        lead |= {
            "engine": "analytic",
            "direction": "forward",
            "mapping": "m",
            "batch": 2,
            "set": "",
        }
        if own is None:
            rows.append(Row({**lead, "macs": 8, "bit_exact": None, "error": "does not fit"}))
            continue
        ratios = {"time_s": own["cycles"] / 2e8, "utilization": 0.5, "mapping_efficiency": 0.75}
        ratios |= {"active_pes": 3, "mean_active_pes": 1.5, "gmacs_per_s": 1.0, "error": None}
        rows.append(Row({**lead, "bit_exact": None, **own, **ratios}))
    return rows


def sums_of(counts: list[dict[str, int] | None]) -> dict[str, int] | None:
    """The exact totals, None where a layer has no result."""
    done = [own for own in counts if own is not None]
    if len(done) < len(counts):
        return None
    return {name: sum(own[name] for own in done) for name in COUNTS}


@settings(max_examples=40, deadline=None)
@given(layer_counts)
@example([dict.fromkeys(COUNTS, 2**62), dict.fromkeys(COUNTS, 2**62), dict.fromkeys(COUNTS, 1)])
@example([dict.fromkeys(COUNTS, 2**53 + 1), None, dict.fromkeys(COUNTS, MAX_COUNT)])
def test_a_result_is_exact_on_every_way(counts: list[dict[str, int] | None]) -> None:
    result = Result(tuple(rows_of(counts)))
    frame = result.to_frame()
    text = list(csv.DictReader(io.StringIO(result.to_csv())))
    records = json.loads(result.to_json())
    for i, own in enumerate(counts):
        for name in COUNTS if own is not None else ():
            assert own is not None
            assert int(text[i][name]) == records[i][name] == frame[name][i] == own[name]
    done = [own for own in counts if own is not None]
    if not done:
        return
    total = result.to_frame(total=True).iloc[-1]
    sums = {name: sum(own[name] for own in done) for name in COUNTS if name != "macs"}
    sums["macs"] = sum(own["macs"] if own else 0 for own in counts)
    (told,) = result.totals()
    if max(*sums.values()) <= MAX_COUNT:
        assert {name: told[name] for name in sums} == sums
        assert {name: int(total[name]) for name in sums} == sums
    else:
        large = {name: n for name, n in sums.items() if n > MAX_COUNT}
        name, number = next((n, large[n]) for n in told if n in large)
        assert told["cycles"] is None and told["layer"] == "total"
        assert told["error"] == (
            f"{name} would be {number}: the largest whole number a column holds is 2^63 - 1"
        )
        assert f"total ws: {told['error']}" in result.failures


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(counts=layer_counts)
@example(counts=[dict.fromkeys(COUNTS, 2**62)] * 3)
@example(counts=[dict.fromkeys(COUNTS, 2**53 + 1), None, dict.fromkeys(COUNTS, MAX_COUNT)])
def test_a_sweep_is_exact_on_every_way(
    counts: list[dict[str, int] | None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    rows = {row.columns["layer"]: row for row in rows_of(counts)}

    def simulated(layer: Any, *rest: Any, **options: Any) -> Result:
        row = rows[layer.name]
        return Result((Row(row.columns, None if row.columns["error"] else object()),))  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "simulate", simulated)
    monkeypatch.setattr(evaluate, "WORTH", 100)
    path = Path(tempfile.mkdtemp(dir=tmp_path)) / "s.sqlite"
    swept = acc.sweep(LAYERS, "systolic", dataflows="ws", jobs=1, store=path)
    with Store(path, create=False) as store:
        table = store.table()
    again = Table.of(swept)
    write_parquet(table, tmp_path / "t.parquet")
    parquet = pd.read_parquet(tmp_path / "t.parquet", dtype_backend="numpy_nullable")
    ways = {
        "frame": swept.astype(object).where(swept.notna(), None).to_dict("records"),
        "csv": list(csv.DictReader(io.StringIO(table_csv(table)))),
        "json": json.loads(json_text(again)),
        "parquet": parquet.to_dict("records"),
        "store": acc.read_store(path).to_dict("records"),
    }
    for way, records in ways.items():
        for own, record in zip(counts, records, strict=True):
            for name in COUNTS if own is not None else ():
                assert own is not None and int(record[name]) == own[name], way
    if all(own is None for own in counts):
        return
    sums = sums_of(counts)
    with Store(path, create=False) as store:
        (studied,) = store.studies()
    assert studied["finished"] == len(LAYERS)
    direct = acc.sweep(LAYERS, "systolic", dataflows="ws", jobs=1, store=path, total=True)
    for totals in (frame_totals(swept), acc.read_store(path, total=True), direct):
        row = totals.iloc[0]
        if sums is None:
            assert row["status"] == "unmappable"
        elif max(sums.values()) <= MAX_COUNT:
            assert row["status"] == "ok" and {n: int(row[n]) for n in COUNTS} == sums
        else:
            name = next(n for n in totals.columns if sums.get(n, 0) > MAX_COUNT)
            assert (
                row["status"] == "error"
                and pd.isna(row["cycles"])
                and row["error"]
                == (
                    f"total: {name} would be {sums[name]}: "
                    "the largest whole number a column holds is 2^63 - 1"
                )
            )
    other = swept[swept["layer"] != "g0"]
    both = acc.compare(swept, other, ["cycles"], how="outer")
    for _, row in both.iterrows():
        own = counts[int(row["layer"][1:])]
        assert own is None or int(row["cycles_a"]) == own["cycles"]


def test_a_front_tells_neighbours_apart() -> None:
    frame = pd.DataFrame({"cycles": [2**60, 2**60 + 1, 2**60], "energy_pj": [1.0, 1.0, 2.0]})
    assert on_front(frame, ["cycles", "energy_pj"]).tolist() == [True, False, False]
    some = pd.DataFrame({"cycles": pd.array([2**60 + 1, None, 2**60], "Int64")})
    assert on_front(some, ["cycles"]).tolist() == [False, False, True]


def test_what_does_not_fit_names_column_and_row() -> None:
    with pytest.raises(InputError, match=r"^a: a whole number of row 2 must be at most 2\^63 - 1"):
        pack([0, 1], [{"status": "ok", "a": 1}, {"status": "ok", "a": 2**63}])
    with pytest.raises(InputError, match=r"^b: a whole number of row 1 must be at most 2\^53"):
        column([2**53 + 1, 0.5], "b")


# From the engines ---------------------------------------------------------------------------------


def test_many_large_layers_have_no_wrapped_total() -> None:
    """1100 layers of nearly 2^53 MACs together pass 2^63."""
    layers = [acc.Gemm(m=2**30, k=1, n=2**23 - 1, name=f"g{i}") for i in range(1100)]
    overrides = {"array.rows": 1, "array.cols": 1, "levels.dram.port_bits": None}
    machine = acc.load_architecture("systolic", overrides)
    sizes = {"levels.sram.capacity_bytes": [65536, 131072]}
    totals = acc.sweep(layers, machine, sizes, dataflows="os", jobs=1, total=True)
    assert totals["status"].tolist() == ["error", "error"]
    assert totals["error"][0].startswith("total: macs would be 9907917999099084800")
    result = acc.simulate(layers, "systolic", "os", overrides=overrides)
    assert result.failures[0].startswith("total os: macs would be 9907917999099084800")
    assert str(result).endswith(result.failures[0]) or result.failures[0] in str(result)


MACHINES = (
    {"array.rows": 2**20, "array.cols": 2**20},
    {"array.rows": 2**42, "array.cols": 2**41},
    {"array.rows": 2**53, "array.cols": 2**53},
    {"levels.dram.port_bits": 1, "levels.dram.port_clock_mhz": 1e-12},
    {"levels.dram.port_bits": 1, "levels.dram.port_clock_mhz": 1e-30},
    {"levels.dram.port_bits": 1, "levels.dram.port_clock_mhz": 1e-3},
    {"levels.dram.port_bits": 1, "levels.dram.latency_cycles": 2**50},
    {"levels.dram.port_bits": 1, "levels.dram.latency_cycles": 2**12},
    {"levels.dram.port_bits": 1, "levels.dram.burst_bits": 2**53},
    {"networks.link.width_bits": 1, "clock_mhz": 123.456789},
)


@pytest.mark.parametrize("machine", MACHINES, ids=str)
@pytest.mark.parametrize("flow", ["ws", "os"])
def test_extreme_machines_are_exact_or_refused(machine: dict[str, Any], flow: str) -> None:
    """Points evaluated together are those of ``simulate``, and no time or share has wrapped."""
    layers = [
        acc.Gemm(name="small", m=2**8, k=2**8, n=2**8),
        acc.Gemm(name="large", m=2**24, k=2**14, n=2**14 + 1),
        acc.Gemm(name="thin", m=2**30, k=1, n=2**22 + 1),
    ]
    arch = acc.load_architecture("systolic", machine)
    sizes = [65536, 131072]
    frame = acc.sweep(
        layers, arch, {"levels.sram.capacity_bytes": sizes}, dataflows=flow, jobs=1
    ).set_index(["levels.sram.capacity_bytes", "layer"])
    for size in sizes:
        for row in acc.simulate(
            layers, arch, flow, overrides={"levels.sram.capacity_bytes": size}
        ).rows:
            swept = frame.loc[(size, row.columns["layer"])]
            cycles = row.columns.get("cycles")
            if cycles is None:
                assert swept["error"] == row.columns["error"] and "\n" not in swept["error"]
                continue
            for name, value in row.columns.items():
                assert name in ("layer", "set") or value is None or swept[name] == value, name
            array = arch.array.rows * arch.array.cols
            assert row.columns["utilization"] == row.columns["macs"] / (array * cycles)
            counts = [v for k, v in row.columns.items() if isinstance(v, int) and k != "batch"]
            assert all(0 <= n <= MAX_COUNT for n in counts)
            bits = arch.levels["dram"].port_bits
            if bits and row.nest is not None:
                words = sum(row.columns[f"dram_{t}_reads"] for t in ("weight", "ifmap"))
                rate = bits * (arch.levels["dram"].port_clock_mhz or arch.clock_mhz)
                assert cycles * 1.001 >= words * 8 * arch.clock_mhz / rate


def test_the_vector_unit_is_exact_or_refused() -> None:
    """A unit so slow that a pooling takes more than 2^63 cycles, and one that just does not."""
    for slow, refused in ((1e-12, False), (1e-18, True)):
        rates = {"vector.rates": {"add": slow, "compare": slow}}
        result = acc.simulate("lenet5", "systolic", "ws", end_to_end=True, overrides=rates)
        rows = [r for r in result.rows if r.nest is None]
        assert rows and all(0 < (r.columns.get("cycles") or 1) <= MAX_COUNT for r in rows)
        told = [r.error for r in rows if r.error]
        assert bool(told) == refused
        assert all("cycles would be" in (why or "") for why in told)


def test_presets_are_let_pass() -> None:
    """The bound refuses no layer that people have: 10^14 words on every preset."""
    for name in acc.architectures():
        assert too_long(acc.load_architecture(name), 10**15, 10**14) is None
