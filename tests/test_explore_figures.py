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
from accelsim.view.swept.heat_map import sound_top
from accelsim.view.swept.swept_roofline import port_words

GRID = {"array.rows": [8, 16, 32], "array.cols": [8, 16]}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return acc.sweep("lenet5", "systolic", GRID, dataflows="ws,os", jobs=1, tiles="rule")


@pytest.fixture(scope="module")
def gaps() -> pd.DataFrame:
    """Some arrays cannot be built, some hold no tile."""
    grid = {"array.rows": [8, 0, 16], "levels.sram.capacity_bytes": [2, 4096, 65536]}
    return acc.sweep("lenet5", "systolic", grid, dataflows="ws,os", jobs=1, tiles="rule")


@pytest.fixture(scope="module")
def totals(frame: pd.DataFrame) -> pd.DataFrame:
    return acc.sweep(
        "lenet5", "systolic", GRID, dataflows="ws,os", jobs=1, tiles="rule", total=True
    )


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
    frame = acc.sweep("lenet5", "eyeriss", grid, dataflows="ws,rs,nlr,os", jobs=1, tiles="rule")
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


# What a paper's reader would stumble over ---------------------------------------------------------


def words(figure: Any) -> list[str]:
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]


def test_column_figures_fit_a_column_and_their_text_is_readable(frame: pd.DataFrame) -> None:
    result = acc.simulate("lenet5", "systolic", "ws,os", layers=["conv2", "fc3"])
    for figure in (
        sweeps.energy_latency(frame),
        sweeps.roofline(frame),
        result.plot.roofline(),
        result.explain().layers[0].figure(),
    ):
        assert figure.get_size_inches()[0] == 3.4
        sizes = [
            t.get_fontsize()
            for t in figure.findobj(lambda a: hasattr(a, "get_fontsize"))
            if t.get_text().strip() and t.get_visible()
        ]
        assert min(sizes) >= 6
        drawn(figure)


def test_letters_stand_for_the_named_points(frame: pd.DataFrame) -> None:
    data = sweeps.energy_latency_data(frame)
    best = data[data["front"]].sort_values("latency")
    text = "\n".join(words(sweeps.energy_latency(frame)))
    for letter, place in (("A", best.index[0]), ("C", best.index[-1])):
        if len(best) > 2:
            assert f"{letter}  {data['point'][place]}, {data['dataflow'][place]}" in text
    assert ("Pareto front" in text) == (len(best) > 0)
    assert "sram has no port: it is never waited for" in text


def test_a_roofline_has_the_slope_of_the_port() -> None:
    machines = {"array.rows": [4, 8], "levels.dram.port_bits": [32]}
    frame = acc.sweep("lenet5", "systolic", machines, dataflows="ws", jobs=1, tiles="rule")
    assert port_words(frame, "dram") == 4.0
    assert "4 words a cycle" in words(sweeps.roofline(frame))
    two = acc.sweep("lenet5", "systolic", machines | {"levels.dram.port_bits": [32, 64]},
                    dataflows="ws", jobs=1, tiles="rule")  # fmt: skip
    assert port_words(two, "dram") is None
    assert port_words(frame.assign(arch="mine"), "dram") is None
    eyeriss = acc.sweep(
        "lenet5", "eyeriss", {"array.rows": [6, 12]}, dataflows="rs", jobs=1, tiles="rule"
    )
    preset = acc.load_architecture("eyeriss")
    port = preset.levels["dram"]
    rate = (port.port_bits or 0) * (port.port_clock_mhz or preset.clock_mhz) / preset.clock_mhz
    assert port_words(eyeriss, "dram") == pytest.approx(rate / 16)


@pytest.mark.parametrize(
    ("memories", "slope", "said"),
    [
        (["unlimited"], None, "dram and sram have no port: they are never waited for"),
        ([{"port_bits": 32}], "4 words a cycle", "sram has no port: it is never waited for"),
        (["unlimited", {"port_bits": 32}], None, ""),
    ],
)
def test_a_whole_level_as_an_axis_is_read(
    memories: list[Any], slope: str | None, said: str
) -> None:
    """The preset's port was drawn instead, and stood below points of an unlimited memory."""
    swept = acc.sweep("lenet5", "systolic", {"levels.dram": memories}, dataflows=["ws"])
    figure = sweeps.roofline(swept)
    words = [t.get_text() for t in figure.axes[0].texts if "words" in t.get_text()]
    assert words == ([slope] if slope else [])
    assert (figure.get_supxlabel() or "") == said


def test_of_many_points_the_fastest_stand_out(frame: pd.DataFrame) -> None:
    many = pd.concat([frame.assign(set=f"x{i}") for i in range(12)], ignore_index=True)
    figure = sweeps.roofline(many)
    (grey, *coloured) = figure.axes[0].collections
    assert len(grey.get_offsets()) == len(many)
    assert sum(len(c.get_offsets()) for c in coloured) == len(
        many[["layer", "dataflow"]].drop_duplicates()
    )
    drawn(figure)


def test_one_bad_corner_does_not_flatten_a_heat_map(frame: pd.DataFrame) -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        values = rng.uniform(1, 3, rng.integers(10, 60))
        bad = rng.integers(0, 4)
        values[:bad] *= 100
        top, many = sound_top(values)
        if 10 * bad <= len(values):
            assert many == bad and top <= 3
        else:
            assert many == 0 and top == values.max()
    corner = pd.concat([frame.assign(**{"clock_mhz": float(i)}) for i in range(4)])
    bad = (corner["array.rows"] == 8) & (corner["array.cols"] == 8) & (corner["clock_mhz"] == 0)
    corner.loc[bad & (corner["dataflow"] == "ws"), "energy_pj"] *= 500
    figure = sweeps.heat_map(corner, x="array.rows", y="clock_mhz")
    assert not any("beyond" in w for w in words(figure))  # the least over columns hides it
    flat = corner[corner["array.cols"] == 8]
    assert any("(1 cell beyond, up to" in w for w in words(sweeps.heat_map(flat)))


def test_names_of_machines_are_not_cut() -> None:
    grid = {"array.rows": [4, 8], "array.cols": [4, 8], "levels.sram.capacity_bytes": [4096, 8192]}
    frame = acc.sweep("lenet5", "systolic", grid, dataflows="ws,os", jobs=1, tiles="rule")
    figure = sweeps.latency_by_layer(frame)
    assert not any("…" in word for word in words(figure))
    assert sum("sram 8 KB" in word or "sram 4 KB" in word for word in words(figure)) >= 2
    drawn(figure)


def test_a_legend_names_what_is_there() -> None:
    frame = acc.simulate("lenet5", "systolic", "ws").to_frame()
    tiny = frame.assign(energy_static_pj=frame["energy_pj"] * 1e-5)
    tiny["energy_pj"] += tiny["energy_static_pj"] - frame["energy_static_pj"]
    (legend,) = plots.energy(tiny).legends or [plots.energy(tiny).artists[0]]
    told = [t.get_text() for t in legend.get_texts()]
    assert "static" not in told and "DRAM" in told
