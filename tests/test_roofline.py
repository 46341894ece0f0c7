"""The roofline: data worked out by hand, nothing above a roof, and a picture that has what it
should.
"""

from __future__ import annotations

import numpy as np
import pytest

import accelsim as acc
from accelsim.view.roofline import roofline_data
from accelsim.view.style import series_look

PORT = {"levels.dram.port_bits": 64, "levels.dram.port_clock_mhz": 100.0}


def test_by_hand():
    result = acc.simulate(acc.Gemm(m=16, k=16, n=16), "systolic", "ws", overrides=PORT)
    (row,) = roofline_data(result).to_dict("records")
    # 8-bit weights, ifmaps and ofmaps of 256 words each cross the port once
    assert row["macs_per_byte"] == pytest.approx(4096 / 768)
    assert row["peak_gmacs_per_s"] == pytest.approx(256.0)
    assert row["bandwidth_gb_per_s"] == pytest.approx(0.8)
    assert row["attainable_gmacs_per_s"] == pytest.approx(0.8 * 4096 / 768)
    assert row["bound"] == "memory"


def test_nothing_stands_above_its_roof():
    for overrides in ({"dram": "unlimited"}, PORT):
        data = roofline_data(acc.simulate("lenet5", "systolic", "ws,os,is", overrides=overrides))
        assert (data["gmacs_per_s"] <= data["attainable_gmacs_per_s"] * (1 + 1e-12)).all()
        assert (data["bound"] == "compute").all() or overrides is PORT


def test_picture():
    figure = acc.simulate("lenet5", "systolic", "ws,os", overrides=PORT).plot.roofline()
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["ws", "os"]
    assert any("GB/s" in t.get_text() for t in axes.texts)
    nothing = acc.simulate(
        acc.Conv2d(M=4, C=4, H=9, W=9, R=9, S=9),
        "systolic",
        "ws",
        overrides={"levels.sram.capacity_bytes": 1},
    )
    with pytest.raises(ValueError, match="no layer was mapped"):
        nothing.plot.roofline()


@pytest.mark.parametrize("overrides", [{}, {"dram": "unlimited"}, {"levels.dram.port_bits": 32}])
@pytest.mark.parametrize(
    ("workload", "machine", "flows"),
    [
        ("alexnet", "systolic", "ws"),
        ("lenet5", "systolic", "ws"),
        ("alexnet", "eyeriss", "ws,os,rs"),
    ],
)
def test_no_note_covers_another_or_a_roof(
    workload: str, machine: str, flows: str, overrides: dict[str, object]
) -> None:
    """AlexNet's "conv1 to conv5 (5)" lay across the slanted roof."""
    figure = acc.simulate(workload, machine, flows, overrides=overrides).plot.roofline()
    (axes,) = figure.axes
    figure.canvas.draw()
    notes = [*axes.texts, *axes.get_legend().get_texts()]
    boxes = [note.get_window_extent() for note in notes]
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:k])
        for line in axes.lines[1:]:
            ends = axes.transData.transform(line.get_xydata())
            assert not any(box.contains(*at) for at in np.linspace(*ends, 500)), notes[k]


def test_no_two_dataflows_look_alike() -> None:
    """The eighth had the colour and the marker of the first."""
    looks = [tuple(series_look(place).items()) for place in range(40)]
    assert len(set(looks)) == len(looks)
