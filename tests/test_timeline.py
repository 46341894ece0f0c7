"""Pictures of a timed run: nothing is lost in the bars, few and many rows are drawn, and no text
covers another.
"""

from __future__ import annotations

import json
import time
from itertools import combinations

import numpy as np
import pandas as pd  # type: ignore[import-untyped,unused-ignore]
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_timed import groups_nest, limited_nest

import accelsim as acc
from accelsim.engines.event import timed
from accelsim.view import gantt as timeline


def made(rows: int) -> pd.DataFrame:
    """Passes one after another, and before each a weight and an ifmap over one port, an ofmap
    after; as many rows as asked.
    """
    rng = np.random.default_rng(0)
    events, now = [], 0
    for step in range(-(-rows // 4)):
        load, work = (int(n) for n in rng.integers(1, 40, 2))
        times = [now, now + load, now + 2 * load, now + 2 * load + work, now + 3 * load + work]
        kinds = (
            ("dram", "fill", "weight"),
            ("dram", "fill", "ifmap"),
            ("array", "pass", ""),
            ("dram", "drain", "ofmap"),
        )
        events += [
            (*kind, a, b, b - a, step)
            for kind, a, b in zip(kinds, times[:-1], times[1:], strict=True)
        ]
        now = times[-1]
    frame = pd.DataFrame(
        events[:rows], columns=["resource", "what", "tensor", "start", "end", "words", "step"]
    )
    frame.attrs |= {"note": "", "resources": ["dram", "noc.ofmap.up", "array"]}
    return frame


def texts(figure: Figure) -> list[Text]:
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


def assert_readable(figure: Figure) -> None:
    """No text stands over another or beyond the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = {t: t.get_window_extent(canvas.get_renderer()) for t in texts(figure)}
    boxes = {t: b for t, b in boxes.items() if b.width and b.height}
    whole = figure.bbox.padded(1)
    for text, box in boxes.items():
        assert (
            whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1
        ), text.get_text()
    for (a, x), (b, y) in combinations(boxes.items(), 2):
        assert not x.padded(-0.5).overlaps(y.padded(-0.5)), f"{a.get_text()!r} and {b.get_text()!r}"


@pytest.mark.parametrize("rows", [1, 50, 3_000, 50_000])
def test_no_cycle_is_lost_in_the_bars(rows):
    frame = made(rows)
    bars = timeline.gantt_data(frame)
    area = (
        ((bars["end"] - bars["start"]) * bars["height"])
        .groupby([bars["resource"], bars["role"]])
        .sum()
    )
    role = frame["tensor"].where(frame["resource"] != "array", "pass").rename("role")
    want = (frame["end"] - frame["start"]).groupby([frame["resource"], role]).sum()
    assert area.index.equals(want.index) and np.allclose(area, want)
    assert (bars["height"] > 0).all() and (bars["bottom"] + bars["height"] <= 1 + 1e-9).all()
    assert len(bars) <= 4 * timeline.POINTS + 1
    wide = frame["end"] - frame["start"] >= frame["end"].max() / timeline.POINTS
    assert np.count_nonzero(bars["height"] == 1) >= wide.sum() and (wide.all() or rows > 1)


def test_rows_of_equal_time_share_a_point():
    # 10 000 rows in turn of 3 and 1 cycles: every point is three quarters weight, one quarter ifmap
    # above it.
    start = np.arange(10_000) // 2 * 4 + np.arange(10_000) % 2 * 3
    frame = pd.DataFrame(
        {"resource": "dram", "what": "fill", "tensor": ["weight", "ifmap"] * 5_000, "start": start}
    )
    frame["end"] = start + np.array([3, 1] * 5_000)
    bars = timeline.gantt_data(frame, points=500)
    assert len(bars) == 1_000
    for role, bottom, height in (("weight", 0, 0.75), ("ifmap", 0.75, 0.25)):
        mine = bars[bars["role"] == role]
        assert np.allclose(mine["bottom"], bottom) and np.allclose(mine["height"], height)


@pytest.mark.parametrize("rows", [1, 50, 50_000])
def test_gantt_draws(rows):
    start = time.process_time()
    figure = timeline.gantt(
        made(rows), "A title that says which layer of which network ran on what"
    )
    FigureCanvasAgg(figure).draw()
    assert time.process_time() - start < 20  # a second or so, alone
    assert_readable(figure)
    (axes,) = figure.axes
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert names == (
        ["DRAM"] if rows == 1 else ["array", "DRAM"]
    )  # from below; what did nothing is left out
    assert axes.get_xlabel() == "Cycles"
    assert {t.get_text() for t in axes.get_legend().get_texts()} <= {
        "weight",
        "ifmap",
        "ofmap",
        "passes",
    }


def test_gantt_of_a_run():
    seen: set[str] = set()
    for seed in range(30):
        result = timed.simulate(limited_nest(seed), timeline=True)
        assert result.timeline is not None and result.occupancy is not None
        figure = timeline.gantt(result.timeline.to_frame())
        (axes,) = figure.axes
        seen |= {t.get_text() for t in axes.get_legend().get_texts()}
        if seed % 10 == 0:
            assert_readable(figure)
            if len(result.occupancy):
                assert_readable(timeline.occupancy(result.occupancy.to_frame(), "held"))
    assert seen == {
        "weight",
        "ifmap",
        "ofmap",
        "inside passes",
        "passes",
        "passes: words before and after the MACs",
    }


def test_what_is_merged_is_said():
    frame = made(50)
    frame.attrs["note"] = "rows that start in the same 64 cycles are one"
    assert frame.attrs["note"] in {t.get_text() for t in texts(timeline.gantt(frame))}
    assert_readable(timeline.gantt(frame, "with a title"))


def test_the_mean_of_a_step_function():
    edges = np.linspace(0, 10, 6)
    assert timeline.mean_between(np.array([1.0, 4.0]), np.array([8.0, 2.0]), edges).tolist() == [
        4,
        8,
        2,
        2,
        2,
    ]
    assert timeline.mean_between(np.array([0.0]), np.array([3.0]), edges).tolist() == [
        3,
        3,
        3,
        3,
        3,
    ]


def test_occupancy_draws():
    result = timed.simulate(groups_nest(6, dram__port_bits=16), timeline=True)
    assert result.occupancy is not None
    figure = timeline.occupancy(result.occupancy.to_frame(), "One buffer")
    assert_readable(figure)
    assert figure.axes[0].get_ylabel() == "buf, words"
    rng = np.random.default_rng(0)
    many = pd.DataFrame(
        {
            "level": np.repeat(["glb", "ub"], 25_000),
            "tensor": "ifmap",
            "time": np.tile(np.arange(25_000) * 7, 2),
        }
    )
    many["words"] = rng.integers(0, 9_000, len(many))
    many.attrs["note"] = "of the same 64 cycles only the most is told"
    figure = timeline.occupancy(many)
    assert [a.get_ylabel() for a in figure.axes] == ["GLB, words", "UB, words"]
    assert_readable(figure)


def test_bad_frames_are_one_sentence():
    frame = made(8)
    with pytest.raises(ValueError, match="the frame has no column tensor, end"):
        timeline.gantt(frame.drop(columns=["tensor", "end"]))
    with pytest.raises(ValueError, match="no rows to draw"):
        timeline.gantt(frame[:0])
    with pytest.raises(ValueError, match="the frame has no column words"):
        timeline.occupancy(pd.DataFrame({"level": ["glb"], "tensor": ["ifmap"], "time": [0]}))
    with pytest.raises(ValueError, match="held anything"):
        timeline.occupancy(pd.DataFrame({"level": [], "tensor": [], "time": [], "words": []}))


def test_a_chrome_trace_is_the_timeline(tmp_path):
    result = acc.simulate("lenet5", "eyeriss", ["rs", "ws"], layers=["conv1"], engine="event",
                          timeline=True)  # fmt: skip
    text = result.to_trace(tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == text + "\n"
    events = json.loads(text)["traceEvents"]
    assert [e["args"]["name"] for e in events if e["name"] == "process_name"] == [
        "conv1 rs",
        "conv1 ws",
    ]
    for pid, row in enumerate(result.rows, 1):
        frame = result.timeline("conv1", row.columns["dataflow"])
        threads = {
            e["tid"]: e["args"]["name"]
            for e in events
            if e["pid"] == pid and e["name"] == "thread_name"
        }
        rows = [e for e in events if e["pid"] == pid and e["ph"] == "X"]
        assert list(threads.values()) == frame.attrs["resources"]
        assert [threads[e["tid"]] for e in rows] == list(frame["resource"])
        assert [e["ts"] for e in rows] == list(frame["start"])
        assert max(e["ts"] + e["dur"] for e in rows) == row.columns["cycles"]
        assert any(e["ph"] == "C" and "glb" in e["name"] for e in events if e["pid"] == pid)
    with pytest.raises(ValueError, match="no timeline"):
        acc.simulate("lenet5", "eyeriss", "rs", layers=["conv1"]).to_trace()


def test_folds_are_told_one_by_one():
    """Preload, words, and results on their way out of a systolic array."""
    free = {"array.rows": 4, "array.cols": 4, "dram": "unlimited"}
    arch = acc.load_architecture("systolic", free)
    layer = acc.Conv2d(M=8, C=4, H=4, W=4, R=1, S=1)
    result = acc.simulate(layer, arch, "ws", tiles="rule", engine="event", timeline=True)
    frame = result.timeline()
    assert list(frame["what"]) == ["between", "pass", "pass", "leave"]
    assert frame["end"].max() == result.rows[0].columns["cycles"]
