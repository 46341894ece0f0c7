"""Figures: the data add up to the frame's totals, every bar and label is there, and no text covers
another.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd  # type: ignore[import-untyped,unused-ignore]
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from quick import slow_but

from accelsim.view import plots

ALEXNET = {  # layer: macs in millions
    "conv1": 105.4, "conv2": 223.9, "conv3": 149.5, "conv4": 112.1, "conv5": 74.8,
    "fc6": 37.7, "fc7": 16.8, "fc8": 4.1,
}  # fmt: skip
FLOWS = (
    "weight-stationary",
    "output-stationary",
    "row-stationary",
    "input-stationary",
    "no-local-reuse",
)
TENSORS = ("weight", "ifmap", "ofmap")


def resnet(count: int) -> dict[str, float]:
    """As many layers as asked, named as in ResNet-50."""
    names = [
        "conv1",
        *(
            f"layer{i}.{j}.{part}"
            for i in range(1, 6)
            for j in range(4)
            for part in ("conv1", "conv2", "conv3", "downsample")
        ),
    ]
    rng = np.random.default_rng(1)
    return {name: float(rng.uniform(10, 240)) for name in names[:count]}


def results(
    layers: dict[str, float] = ALEXNET,
    flows: tuple[str, ...] = FLOWS[:3],
    unit: str = "mac",
    workload: str = "alexnet",
    arch: str = "eyeriss",
) -> pd.DataFrame:
    """A frame with the contract's columns and plausible numbers."""
    rng = np.random.default_rng(7)
    levels = (
        {"dram": 200.0, "glb": 6.0, "spad": 1.0}
        if arch == "eyeriss"
        else {"dram": 200.0, "ub": 6.0, "acc": 6.0, "reg": 1.0}
    )
    hops = (
        {"link": 0.0, "noc": 2.0} if arch == "eyeriss" else {"link": 0.0, "bus": 1.0, "lines": 2.0}
    )
    touches = {
        "dram": 0.005,
        "glb": 0.1,
        "ub": 0.1,
        "acc": 0.08,
        "spad": 3.0,
        "reg": 2.0,
        "link": 0.005,
        "noc": 0.3,
        "bus": 0.1,
        "lines": 0.9,
    }
    price = 1.0 if unit == "mac" else 3.1
    rows: list[dict[str, Any]] = []
    for layer, millions in layers.items():
        for number, flow in enumerate(flows):
            macs = round(millions * 1e6)
            row: dict[str, Any] = {
                "workload": workload,
                "layer": layer,
                "arch": arch,
                "dataflow": flow,
                "engine": "analytic",
                "batch": 4,
                "macs": macs,
            }
            mapped = float(rng.uniform(0.6, 1.0))
            row["compute_cycles"] = round(macs / (168 * mapped))
            row["fill_drain_cycles"] = round(row["compute_cycles"] * rng.uniform(0.02, 0.15))
            memory = 3.0 if layer.startswith("fc") else 0.3
            row["stall_dram_cycles"] = round(row["compute_cycles"] * rng.uniform(0, memory))
            row["stall_noc_cycles" if "noc" in hops else "stall_lines_cycles"] = round(
                row["compute_cycles"] * rng.uniform(0, 0.1)
            )
            row["stall_cycles"] = sum(v for k, v in row.items() if k.startswith("stall_"))
            row["cycles"] = row["compute_cycles"] + row["fill_drain_cycles"] + row["stall_cycles"]
            row["utilization"] = macs / (168 * row["cycles"])
            row["mapping_efficiency"] = macs / (168 * row["compute_cycles"])
            tensors = dict.fromkeys(TENSORS, 0.0)
            parts = {"compute": macs * price}
            for place, cost in (levels | hops).items():
                parts[place] = 0.0
                for tensor in TENSORS:
                    fc = 20 if layer.startswith("fc") and tensor == "weight" else 1
                    words = round(
                        macs
                        * touches[place]
                        * fc
                        * (0.6 + 0.5 * number)
                        * rng.uniform(0.3, 1.0)
                        / 3
                    )
                    kinds = ("reads", "writes") if place in levels else ("deliveries", "additions")
                    row[f"{place}_{tensor}_{kinds[0]}"], row[f"{place}_{tensor}_{kinds[1]}"] = (
                        words,
                        words // 2,
                    )
                    parts[place] += words * cost * price
                    tensors[tensor] += words * cost * price
            row |= {f"energy_{name}_{unit}": value for name, value in (parts | tensors).items()}
            row[f"energy_{unit}"] = sum(parts.values())
            rows.append(row)
    return pd.DataFrame(rows)


def failed(frame: pd.DataFrame, *places: int, status: str | None = None) -> pd.DataFrame:
    """The frame with some rows as they are when no legal mapping exists."""
    frame = frame.copy()
    measured = frame.columns[list(frame.columns).index("macs") + 1 :]
    frame[measured] = frame[measured].astype(float)
    frame.loc[list(places), measured] = np.nan
    frame["error"] = [
        "spad: weight overflows by 312 bytes" if i in places else None for i in frame.index
    ]
    if status:
        frame["status"] = [status if i in places else "ok" for i in frame.index]
    return frame


Drawing = Callable[[pd.DataFrame], Figure]
CASES: dict[str, Callable[[], pd.DataFrame]] = {
    "alexnet": results,
    "one layer, one dataflow": lambda: results({"conv1": 105.4}, FLOWS[2:3]),
    "one layer, five dataflows": lambda: results({"conv1": 105.4}, FLOWS),
    "five dataflows": lambda: results(flows=FLOWS),
    "pj": lambda: results(unit="pj", arch="tpu_v1", flows=("ws",)),
    "vgg": lambda: results(resnet(13)),
    "twenty layers": lambda: results(resnet(20)),
    "resnet50": lambda: results(resnet(53), workload="resnet50"),
    "one dataflow": lambda: results(resnet(53), FLOWS[:1]),
    "sixty layers, five dataflows": lambda: results(resnet(60), FLOWS),
    "gaps": lambda: failed(results(), 4, 9, 10, 11, 23, status="unmappable"),
    "gaps in resnet50": lambda: failed(results(resnet(53)), *range(4, 40), 100),
    "nothing mapped": lambda: failed(results({"conv1": 1.0}), 0, 1, 2),
    "two architectures": lambda: pd.concat([results(), results(arch="tpu_v1", flows=FLOWS[:1])]),
    "odd names": lambda: results(
        {"a$b$_" + "x" * 60: 0.3, "b": 1.0}, ("a_dataflow_with_a_very_long_name", "ws")
    ),
}


def texts(figure: Figure) -> list[Text]:
    """Every text that can be seen."""
    shown = [
        t
        for t in figure.findobj(Text)
        if isinstance(t, Text) and t.get_visible() and t.get_text().strip()
    ]
    for axes in figure.axes:  # ticks off the axis are kept, but not drawn
        low, high = axes.get_ylim()
        unseen = {
            id(tick.label1)
            for tick in axes.yaxis.get_major_ticks()
            if not low <= tick.get_loc() <= high
        }
        shown = [t for t in shown if id(t) not in unseen]
    return shown


def check_layout(figure: Figure) -> None:
    """No text covers another or leaves the figure."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    figure.draw_without_rendering()
    boxes = {t: t.get_window_extent() for t in texts(figure)}
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in boxes.items():
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, (
            f"{text.get_text()!r} leaves the figure"
        )
    for (one, a), (two, b) in combinations(boxes.items(), 2):
        shared = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(shared) <= 0, f"{one.get_text()!r} and {two.get_text()!r} overlap"


def heights(figure: Figure) -> list[float]:
    """Of every bar piece."""
    return [
        patch.get_height() for axes in figure.axes for bars in axes.containers for patch in bars
    ]


def legend(figure: Figure) -> list[str]:
    return [
        t.get_text()
        for box in figure.findobj(Legend)
        if isinstance(box, Legend)
        for t in box.get_texts()
    ]


def totals(data: pd.DataFrame, value: str) -> Any:
    return data.groupby(["layer", "dataflow"], sort=False)[value].sum().to_numpy()


# ---------------------------------------------------------------------------------------------- dat


@pytest.mark.parametrize("unit", ["mac", "pj"])
@pytest.mark.parametrize("arch", ["eyeriss", "tpu_v1"])
@pytest.mark.parametrize("by", ["level", "tensor"])
def test_energy_adds_up(unit: str, arch: str, by: plots.By) -> None:
    frame = results(unit=unit, arch=arch)
    data = plots.energy_data(frame, by)
    assert totals(data, "energy") == pytest.approx(frame[f"energy_{unit}"].to_numpy(), rel=1e-12)
    assert set(data["unit"]) == {unit} and set(data["gap"]) == {""}
    if by == "tensor":
        assert list(data["component"].unique()) == ["compute", *TENSORS]
    elif arch == "eyeriss":
        assert dict(zip(data["component"], data["role"], strict=True)) == {
            "compute": "compute", "spad": "pe", "noc": "network", "link": "network",
            "glb": "buffer", "dram": "dram",
        }  # fmt: skip
    else:
        assert list(data["component"].unique()) == [
            "compute",
            "reg",
            "lines",
            "bus",
            "link",
            "acc",
            "ub",
            "dram",
        ]


def test_energy_left_over_is_other() -> None:
    frame = results()
    frame["energy_mac"] *= 1.25
    data = plots.energy_data(frame)
    assert totals(data, "energy") == pytest.approx(frame["energy_mac"].to_numpy())
    assert data.loc[data["component"] == "other", "energy"].to_numpy() == pytest.approx(
        frame["energy_mac"].to_numpy() / 5
    )
    frame["energy_static_mac"] = frame["energy_mac"] / 5
    assert totals(plots.energy_data(frame), "energy") == pytest.approx(
        frame["energy_mac"].to_numpy()
    )
    assert totals(plots.energy_data(frame, "tensor"), "energy") == pytest.approx(
        frame["energy_mac"].to_numpy()
    )


def test_a_share_of_a_component_is_not_counted_twice() -> None:
    frame = results()
    frame["energy_dram_weight_mac"] = frame["energy_dram_mac"] / 2
    assert totals(plots.energy_data(frame), "energy") == pytest.approx(
        frame["energy_mac"].to_numpy()
    )


def test_unknown_levels_are_placed_by_order_and_networks_by_their_counts() -> None:
    frame = results().rename(
        columns=lambda c: (
            str(c)
            .replace("dram", "far")
            .replace("glb", "mid")
            .replace("spad", "near")
            .replace("noc", "web")
        )
    )
    data = plots.energy_data(frame)
    roles = dict(zip(data["component"], data["role"], strict=True))
    assert (roles["far"], roles["mid"], roles["near"], roles["web"]) == (
        "dram",
        "buffer",
        "pe",
        "network",
    )


def test_latency_adds_up() -> None:
    frame = results()
    data = plots.latency_data(frame)
    assert totals(data, "cycles") == pytest.approx(frame["cycles"].to_numpy())
    assert list(data["component"].unique()) == ["compute", "fill_drain", "stall_noc", "stall_dram"]


@pytest.mark.parametrize(
    "dropped, extra",
    [
        (["stall_dram_cycles", "stall_noc_cycles"], "stall"),
        (["stall_dram_cycles", "stall_noc_cycles", "stall_cycles"], "other"),
        (["compute_cycles", "fill_drain_cycles"], "other"),
        (["stall_noc_cycles"], "stall"),
    ],
)
def test_latency_without_some_columns_still_adds_up(dropped: list[str], extra: str) -> None:
    frame = results().drop(columns=dropped)
    data = plots.latency_data(frame)
    assert totals(data, "cycles") == pytest.approx(frame["cycles"].to_numpy())
    assert extra in set(data["component"])
    empty = results().assign(**dict.fromkeys(dropped, None))
    assert totals(plots.latency_data(empty), "cycles") == pytest.approx(frame["cycles"].to_numpy())


def test_utilization_adds_up_to_one() -> None:
    frame = results()
    data = plots.utilization_data(frame)
    assert totals(data, "share") == pytest.approx(np.ones(len(frame)))
    table = data.pivot_table(
        index=["layer", "dataflow"], columns="component", values="share", sort=False
    )
    assert table["busy"].to_numpy() == pytest.approx(frame["utilization"].to_numpy())
    assert (table["busy"] + table["waiting"]).to_numpy() == pytest.approx(
        frame["mapping_efficiency"].to_numpy()
    )
    bare = plots.utilization_data(frame.drop(columns="mapping_efficiency"))
    assert totals(bare, "share") == pytest.approx(np.ones(len(frame)))


def test_a_failed_row_is_nan_with_a_reason() -> None:
    frame = failed(results(), 1, status="unmappable")
    for data, value in (
        (plots.energy_data(frame), "energy"),
        (plots.latency_data(frame), "cycles"),
        (plots.utilization_data(frame), "share"),
    ):
        bad = (data["layer"] == "conv1") & (data["dataflow"] == FLOWS[1])
        assert data.loc[bad, value].isna().all() and data.loc[~bad, value].notna().all()
        assert set(data.loc[bad, "gap"]) == {"unmappable"} and set(data.loc[~bad, "gap"]) == {""}
    assert set(plots.energy_data(failed(results(), 1))["gap"]) == {"", "not mapped"}


def test_a_row_whose_check_failed_is_not_drawn_as_a_result() -> None:
    frame = results()
    frame["error"] = [None] * 5 + ["outputs differ from golden"] + [None] * (len(frame) - 6)
    data = plots.latency_data(frame)
    assert (
        set(data.loc[data["cycles"].isna(), "gap"]) == {"check failed"}
        and data["cycles"].isna().sum() == 4
    )


def test_nothing_mapped_and_so_no_columns() -> None:
    rows = [{"layer": layer, "dataflow": "ws", "error": "does not fit"} for layer in ("a", "b")]
    for figure in (
        plots.demo(pd.DataFrame(rows)),
        plots.energy(pd.DataFrame(rows), by="tensor"),
        plots.utilization(pd.DataFrame(rows)),
    ):
        assert {t.get_text() for t in texts(figure)} >= {"a", "b", "not mapped"}
        check_layout(figure)


def test_nullable_columns_and_totals() -> None:
    frame = results()
    total = frame.iloc[:1].assign(layer="total", cycles=frame["cycles"].sum())
    both = pd.concat([frame, total], ignore_index=True).convert_dtypes()
    pd.testing.assert_frame_equal(
        plots.latency_data(both), plots.latency_data(frame), check_dtype=False
    )


def test_the_frame_is_not_changed() -> None:
    frame = failed(results(), 3)
    before = frame.copy(deep=True)
    plots.demo(frame)
    plots.utilization(frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.drop(columns=["layer", "cycles"]), "no column layer"),
        (lambda f: f.drop(columns="cycles"), "no column cycles"),
        (lambda f: f.drop(columns="energy_mac"), "energy_mac or energy_pj"),
        (lambda f: f.assign(energy_pj=1.0), "two units"),
        (lambda f: f.assign(energy_mac=f["energy_mac"] / 2), "more than the total"),
        (lambda f: pd.concat([f, f]), "more than one row for layer conv1 and weight-stationary"),
    ],
)
def test_a_frame_that_cannot_be_drawn_says_why(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plots.energy(change(results()))


def test_energy_by_something_else_or_without_its_columns() -> None:
    with pytest.raises(ValueError, match="level or tensor"):
        plots.energy(results(), by="colour")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no energy by tensor"):
        plots.energy(results().drop(columns=[f"energy_{t}_mac" for t in TENSORS]), by="tensor")


# ------------------------------------------------------------------------------------------- figure


QUICK_CASES = (  # of the many panels one, and one with gaps; the few bars of every kind
    (plots.demo, "gaps"),
    (plots.demo, "odd names"),
    (plots.demo, "one layer, five dataflows"),
    (plots.energy, "pj"),
    (plots.energy, "two architectures"),
    (plots.energy, "nothing mapped"),
    (plots.utilization, "vgg"),
    (plots.utilization, "gaps in resnet50"),
)


@pytest.mark.parametrize(
    ("draw", "case"),
    slow_but(
        QUICK_CASES,
        [(f, case) for f in (plots.energy, plots.utilization, plots.demo) for case in CASES],
    ),
)
def test_no_text_overlaps(draw: Drawing, case: str) -> None:
    check_layout(draw(CASES[case]()))


@pytest.mark.parametrize("case", slow_but(["alexnet"], ["alexnet", "resnet50"]))
def test_a_note_has_room_under_the_title(case: str) -> None:
    note = "dram and sram have no port: they are never waited for"
    figure = plots.demo(CASES[case](), note=note)
    assert note in [t.get_text() for t in texts(figure)]
    check_layout(figure)


@pytest.mark.parametrize(
    ("layers", "flows"),
    slow_but(
        [(1, 1), (2, 5), (11, 2), (17, 3), (37, 1)],
        [(n, m) for n in (1, 2, 4, 11, 17, 25, 37, 60) for m in (1, 2, 3, 5)],
    ),
)
def test_no_text_overlaps_for_any_number_of_bars(layers: int, flows: int) -> None:
    check_layout(plots.latency(results(resnet(layers), FLOWS[:flows])))


@pytest.mark.parametrize(
    "case, missing",
    slow_but(
        [("gaps", 5), ("nothing mapped", 3)],
        [
            *[("alexnet", 0), ("gaps", 5), ("resnet50", 0), ("gaps in resnet50", 37)],
            ("nothing mapped", 3),
        ],
    ),
)
def test_every_row_has_its_bars_or_a_word(case: str, missing: int) -> None:
    frame = CASES[case]()
    rows = len(frame) - missing
    figure = plots.energy(frame)
    assert len(heights(figure)) == rows * (
        5 if rows else 0
    )  # compute, spad, noc, glb, dram; the link costs nothing
    assert sum(t.get_text() in ("unmappable", "not mapped") for t in texts(figure)) == missing
    assert sum(heights(figure)) == pytest.approx(frame["energy_mac"].sum())
    assert sum(heights(plots.latency(frame))) == pytest.approx(frame["cycles"].sum())
    assert len(heights(plots.demo(frame))) == rows * (5 + 4 if rows else 0)
    assert len(heights(plots.utilization(frame))) == rows * (2 if rows else 0)


def test_bars_stand_on_each_other() -> None:
    frame = failed(results(), 4)
    tops: dict[float, float] = {}
    for bars in plots.latency(frame).axes[0].containers:
        for patch in bars:
            assert patch.get_y() == pytest.approx(tops.get(patch.get_x(), 0.0))
            tops[patch.get_x()] = patch.get_y() + patch.get_height()
    assert [tops[x] for x in sorted(tops)] == pytest.approx(frame["cycles"].dropna().to_list())


def test_a_row_that_is_not_there_is_a_labelled_gap() -> None:
    figure = plots.energy(results().drop(index=[4]))
    assert [t.get_text() for t in texts(figure)].count("no data") == 1


def test_labels() -> None:
    figure = plots.demo(results())
    shown = [t.get_text() for t in texts(figure)]
    assert "alexnet on eyeriss, batch 4, analytic engine" in shown
    assert r"Energy ($10^{9}$ MAC energies)" in shown and "Cycles" in shown and "2.0 M" in shown
    assert [shown.count(name) for name in ("ws", "os", "rs", "conv1", "fc8")] == [16, 16, 16, 2, 2]
    assert legend(figure) == [
        "compute",
        "spad",
        "NoC",
        "GLB",
        "DRAM",
        "compute",
        "fill and drain",
        "stall: NoC",
        "stall: DRAM",
    ]
    assert "Energy (mJ)" in [t.get_text() for t in texts(plots.energy(CASES["pj"]()))]
    unknown = (
        results().drop(columns=["stall_dram_cycles", "stall_noc_cycles"]).assign(stall_cycles=None)
    )
    assert "Cycles (stalls not known)" in [t.get_text() for t in texts(plots.latency(unknown))]
    panels = [t.get_text() for t in texts(plots.energy(CASES["resnet50"]()))]
    assert all(panels.count(name) == 1 for name in (*FLOWS[:3], *resnet(53)))


@pytest.mark.parametrize(
    "scale, label", [(1e-9, "pJ"), (1e-6, "nJ"), (1e-3, "µJ"), (1.0, "mJ"), (1e3, "J"), (1e7, "J")]
)
def test_joules(scale: float, label: str) -> None:
    frame = results({"conv2": 223.9}, FLOWS[:2], unit="pj")
    energies = [c for c in frame.columns if str(c).startswith("energy_")]
    frame[energies] *= scale
    figure = plots.energy(frame)
    assert f"Energy ({label})" in [t.get_text() for t in texts(figure)]
    check_layout(figure)


def test_colours_are_fixed_per_role_and_every_stack_has_its_own_hatching() -> None:
    def looks(figure: Figure) -> dict[str, tuple[Any, Any]]:
        return {
            str(bars.get_label()): (bars[0].get_facecolor(), bars[0].get_hatch())
            for axes in figure.axes
            for bars in axes.containers
        }

    eyeriss, tpu, wait = (
        looks(plots.energy(results())),
        looks(plots.energy(results(arch="tpu_v1"))),
        looks(plots.latency(results())),
    )
    assert eyeriss["DRAM"] == tpu["DRAM"] == wait["stall: DRAM"]
    assert eyeriss["compute"] == tpu["compute"] == wait["compute"]
    assert (eyeriss["spad"], eyeriss["NoC"], eyeriss["GLB"]) == (
        tpu["reg"],
        tpu["lines"],
        tpu["acc"],
    )
    for stack in (eyeriss, tpu, wait, looks(plots.energy(results(), by="tensor"))):
        assert (
            len({colour for colour, _ in stack.values()})
            == len({hatch for _, hatch in stack.values()})
            == len(stack)
        )


# ---------------------------------------------------------------------------------------------- fil


def test_save_writes_both_files_and_nothing_else(tmp_path: Path) -> None:
    figure = plots.demo(results())
    png, svg = plots.save(figure, tmp_path / "new" / "folder", "front")
    assert (
        sorted(p.name for p in png.parent.iterdir())
        == ["front.png", "front.svg"]
        == [png.name, svg.name]
    )
    raw = png.read_bytes()
    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    wide, high = int.from_bytes(raw[16:20], "big"), int.from_bytes(raw[20:24], "big")
    assert (wide, high) == tuple(int(x * 150) for x in figure.get_size_inches())
    assert ElementTree.fromstring(svg.read_bytes()).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_same_frame_gives_the_same_bytes_whatever_the_style(tmp_path: Path) -> None:
    frame = results({"conv1": 105.4, "fc8": 4.1})
    first = [p.read_bytes() for p in plots.save(plots.demo(frame), tmp_path, "one")]
    before = dict(matplotlib.rcParams)
    again = [p.read_bytes() for p in plots.save(plots.demo(frame), tmp_path, "one")]
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context(
        {
            "font.size": 20,
            "axes.grid": True,
            "svg.hashsalt": "x",
            "savefig.bbox": "tight",
            "font.family": "serif",
        }
    ):
        styled = [p.read_bytes() for p in plots.save(plots.demo(frame), tmp_path, "two")]
    assert first == again == styled
    assert b"<dc:date>" not in first[1]


def test_a_failed_save_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"conv1": 105.4, "fc8": 4.1}
    figure = plots.utilization(results(few))
    paths = plots.save(figure, tmp_path, "kept")
    before = [p.read_bytes() for p in paths]

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save(plots.utilization(results(few)), tmp_path, "kept")
    assert [p.read_bytes() for p in paths] == before and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(ValueError, match="file name"):
        plots.save(figure, tmp_path, "../escaped")


def test_importing_is_cheap_and_drawing_needs_no_pyplot() -> None:
    cheap = (
        "import sys, accelsim.view.plots;"
        "assert not {'matplotlib', 'pandas'} & set(sys.modules), 'heavy import'"
    )
    drawn = (
        "import sys, pandas as pd; from accelsim.view import plots;"
        "plots.latency(pd.DataFrame([{'layer': 'a', 'dataflow': 'ws', 'cycles': 3}]));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    for code in (cheap, drawn):
        subprocess.run(
            [sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1], timeout=60
        )
