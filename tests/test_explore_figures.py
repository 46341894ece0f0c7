"""Figures of a sweep: what they show is what the frame says, and nothing in them overlaps its edge
or is empty.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import accelsim as acc
from accelsim.view import plots, sweeps

GRID = {"array.rows": [8, 16, 32], "array.cols": [8, 16]}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return acc.sweep("lenet5", "systolic", GRID, dataflows="ws,os", jobs=1)


@pytest.fixture(scope="module")
def gaps() -> pd.DataFrame:
    """Some arrays cannot be built, some hold no tile."""
    grid = {"array.rows": [8, 0, 16], "levels.sram.capacity_bytes": [2, 4096, 65536]}
    return acc.sweep("lenet5", "systolic", grid, dataflows="ws,os", jobs=1)


@pytest.fixture(scope="module")
def totals(frame: pd.DataFrame) -> pd.DataFrame:
    return acc.sweep("lenet5", "systolic", GRID, dataflows="ws,os", jobs=1, total=True)


def drawn(figure: Any) -> np.ndarray:
    """The picture; every text must lie inside it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    whole = figure.bbox
    renderer = canvas.get_renderer()
    for text in figure.findobj(
        lambda a: hasattr(a, "get_text") and a.get_visible() and a.get_text().strip()
    ):
        box = text.get_window_extent(renderer)
        if box.width and box.height and text.get_clip_on() is False:
            assert (
                box.x0 >= whole.x0 - 2
                and box.x1 <= whole.x1 + 2
                and box.y0 >= whole.y0 - 2
                and box.y1 <= whole.y1 + 2
            ), text.get_text()
    picture = np.asarray(canvas.buffer_rgba())[..., :3]
    assert (picture.reshape(-1, 3).std(axis=0) > 3).all()
    return picture


def test_energy_against_latency(frame: pd.DataFrame, totals: pd.DataFrame) -> None:
    data = sweeps.energy_latency_data(frame)
    assert (
        len(data) == 12
        and data["energy"].tolist() == totals["energy_pj"].tolist()
        and data["latency"].tolist() == totals["time_s"].tolist()
    )
    best = acc.pareto(totals, ["time_s", "energy_pj"])
    assert data.index[data["front"]].tolist() == best.index.tolist()
    assert data["point"].tolist()[:3] == ["8x8", "8x8", "8x16"]
    figure = sweeps.energy_latency(frame)
    shown = sum(len(c.get_offsets()) for c in figure.axes[0].collections)
    assert (
        shown == 12 + len(best)
        and figure.axes[0].get_xlabel() == "Latency (µs)"
        and figure.axes[0].get_ylabel() == "Energy (µJ)"
    )
    drawn(figure)
    drawn(sweeps.energy_latency(totals))


def test_heat_map(frame: pd.DataFrame, totals: pd.DataFrame, gaps: pd.DataFrame) -> None:
    tables, x, y, value = sweeps.heat_map_data(frame)
    assert (x, y, value, list(tables)) == ("array.rows", "array.cols", "energy_pj", ["ws", "os"])
    row = totals[
        (totals["array.rows"] == 16) & (totals["array.cols"] == 8) & (totals["dataflow"] == "os")
    ]
    assert tables["os"].loc[8, 16] == row["energy_pj"].item()
    figure = sweeps.heat_map(frame, value="cycles", x="array.cols")
    assert {t.get_text() for t in figure.axes[0].texts} >= {f"{totals['cycles'].max() / 1e3:.3g}"}
    drawn(figure)
    hatched, *_ = sweeps.heat_map_data(gaps)
    assert hatched["ws"].isna().sum().sum() == 5 and hatched["ws"].notna().sum().sum() == 4
    drawn(sweeps.heat_map(gaps))
    many = totals.assign(**{"clock_mhz": np.arange(12) % 3, "dataflow": "ws"})
    least, *_ = sweeps.heat_map_data(many)
    assert least["ws"].to_numpy().min() == totals["energy_pj"].min()


def test_stacks_by_level_and_by_layer(
    frame: pd.DataFrame, totals: pd.DataFrame, gaps: pd.DataFrame
) -> None:
    drawn(sweeps.energy_by_level(frame))
    drawn(sweeps.energy_by_level(gaps))
    figure = sweeps.latency_by_layer(frame)
    words = {t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))}
    fastest = totals.loc[totals.groupby("dataflow")["cycles"].idxmin()]
    assert {
        f"{d} {r:g}x{c:g}"
        for d, r, c in zip(
            fastest["dataflow"], fastest["array.rows"], fastest["array.cols"], strict=True
        )
    } <= words
    assert {"conv1", "fc3"} <= words
    drawn(figure)


def test_more_architectures_than_bars(totals: pd.DataFrame) -> None:
    many = pd.concat(
        [totals.assign(**{"array.rows": totals["array.rows"] + 100 * i}) for i in range(6)],
        ignore_index=True,
    )
    many["set"] = [
        f"array.rows={r}, array.cols={c}"
        for r, c in zip(many["array.rows"], many["array.cols"], strict=True)
    ]
    figure = sweeps.energy_by_level(many)
    words = " ".join(t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text")))
    assert "the 24 of 36 architectures of least energy" in words


def test_roofline(frame: pd.DataFrame) -> None:
    data = sweeps.roofline_data(frame)
    assert len(data) == len(frame) and data["outer"].unique().tolist() == ["dram"]
    row = frame.iloc[7]
    words = sum(
        row[f"dram_{t}_{w}"] for t in ("weight", "ifmap", "ofmap") for w in ("reads", "writes")
    )
    assert data["macs_per_word"][7] == pytest.approx(row["macs"] / words)
    assert (data["macs_per_cycle"] <= data["pes"] + 1e-9).all() and data["pes"].tolist() == (
        frame["array.rows"] * frame["array.cols"]
    ).tolist()
    drawn(sweeps.roofline(frame))
    drawn(sweeps.roofline(frame, words_per_cycle=4))
    assert sweeps.roofline_data(frame, "sram")["outer"][0] == "sram"


def test_scaling(frame: pd.DataFrame, gaps: pd.DataFrame) -> None:
    data = sweeps.scaling_data(frame)
    best = data[data["best"]]
    assert not best.duplicated(["dataflow", "pes"]).any()
    for _, row in data.iterrows():
        smaller = data[
            (data["dataflow"] == row["dataflow"])
            & (data["pes"] <= row["pes"])
            & (data.index != row.name)
        ]
        assert row["best"] == (smaller["cycles"] > row["cycles"]).all()
    drawn(sweeps.scaling(frame))
    drawn(sweeps.scaling(gaps))


def test_relative_energy_and_every_figure(tmp_path: Path) -> None:
    grid = {"array.rows": [6, 12], "levels.glb.capacity_bytes": [51200, 102400]}
    frame = acc.sweep("lenet5", "eyeriss", grid, dataflows="ws,rs,nlr,os", jobs=1)
    names = []
    for name, figure in sweeps.every(frame):
        names.append(name)
        drawn(figure)
    assert names == [
        "energy_latency",
        "heat_map",
        "energy_by_level",
        "latency_by_layer",
        "roofline",
        "scaling",
    ]
    assert sweeps.energy_latency_data(frame)["point"][0] == "rows 6, glb 50 KB"
    first, second = (
        plots.save(sweeps.scaling(frame), tmp_path / d, "s")[0].read_bytes() for d in "ab"
    )
    assert first == second


@pytest.mark.parametrize(
    ("draw", "change", "says"),
    [
        (sweeps.energy_latency, lambda f: f[:0], "no rows"),
        (sweeps.energy_latency, lambda f: f.drop(columns="cycles"), "no column cycles"),
        (
            sweeps.energy_latency,
            lambda f: f.assign(cycles=np.nan),
            "no network all of whose layers",
        ),
        (
            sweeps.energy_latency,
            lambda f: pd.concat([f, f.assign(workload="b")]),
            "several of workload",
        ),
        (sweeps.heat_map, lambda f: f[f["array.rows"] == 8], "fewer than two axes"),
        (lambda f: sweeps.heat_map(f, value="nothing"), lambda f: f, "no column nothing"),
        (
            sweeps.scaling,
            lambda f: f[(f["array.rows"] == 8) & (f["array.cols"] == 8)],
            "one size only",
        ),
        (
            sweeps.roofline,
            lambda f: f.drop(columns=[c for c in f if str(c).endswith("_reads")]),
            "no counts of a level",
        ),
        (lambda f: sweeps.roofline(f, outer="l9"), lambda f: f, "no counts of a level l9"),
    ],
)
def test_frames_that_lack_something(draw: Any, change: Any, says: str, frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=says):
        draw(change(frame))


def test_layers_are_wanted_where_they_are(totals: pd.DataFrame) -> None:
    for draw in (sweeps.roofline, sweeps.latency_by_layer):
        with pytest.raises(ValueError, match="wants a row per layer"):
            draw(totals)
