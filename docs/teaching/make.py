"""Draws every picture of the teaching pages:  python docs/teaching/make.py

Each is written to docs/figures/teaching as PNG, the same bytes every time.  With names as arguments
only these are drawn.  decks.py draws them finer, for slides.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from pictures import arrays, correlation, functions, im2col, receptive, sliding

import accelsim as acc
from accelsim.view.network_blocks import blocks
from accelsim.view.style import house_style
from accelsim.workload.profile import profile

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "figures" / "teaching"

IFMAP = [[1, 2, 0, 1], [0, 1, 3, 2], [2, 0, 1, 1], [1, 1, 0, 2]]
FILTER = [[1, 0, -1], [2, 1, 0], [0, 1, 1]]
UPSTREAM = [[1, -1], [0, 2]]
SMALL_NET = (
    receptive.Window("conv 3", 3),
    receptive.Window("pool 2, stride 2", 2, 2),
    receptive.Window("conv 3", 3),
)
DILATED = tuple(receptive.Window(f"conv 3, dilation {d}", 3, dilation=d) for d in (1, 2, 4))


def _conv(side: int, taps: int, **more: int) -> acc.Conv2d:
    return acc.Conv2d(M=1, C=1, H=side, W=side, R=taps, S=taps, **more)


def _maps() -> tuple[correlation.Map, correlation.Map, correlation.Map]:
    from numpy import array

    return array(IFMAP), array(FILTER), array(UPSTREAM)


def _large(figure: Figure) -> Figure:
    """A wide figure with its words larger, to be read from a seat when it fills a slide."""
    for axes in figure.axes:
        for text in axes.texts:
            text.set_fontsize(1.35 * text.get_fontsize())
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "sliding": lambda: sliding.windows(
        {"stride 1": _conv(5, 3), "stride 2": _conv(5, 3, stride=2)}
    ),
    "padding": lambda: sliding.windows(
        {"padding 1": _conv(5, 3, padding=1), "padding 2": _conv(4, 3, padding=2)}
    ),
    "dilation": lambda: sliding.windows(
        {"dilation 2": _conv(7, 3, dilation=2), "dilation 3": _conv(7, 3, dilation=3)}
    ),
    "invalid_stride": lambda: sliding.windows(
        {"stride 3 does not fit": _conv(5, 3, stride=3), "stride 2 fits": _conv(5, 3, stride=2)}
    ),
    "correlation": lambda: correlation.two_ways(*_maps()[:2]),
    "backward": lambda: correlation.backward(*_maps()),
    "im2col": im2col.matrix,
    "receptive": lambda: receptive.through(SMALL_NET, 12, 1),
    "receptive_dilated": lambda: receptive.through(DILATED, 17, 1),
    "pooling": lambda: functions.pooling([[1, 3, 2, 0], [4, 2, 1, 1], [0, 5, 6, 2], [1, 2, 3, 7]]),
    "normalization": functions.normalization,
    "activations": functions.activations,
    "network": lambda: blocks(profile(acc.load_workload("lenet5"))),
    "network_residual": lambda: blocks(profile(acc.load_workload("resnet18"))),
    "dataflow_ws": lambda: _large(arrays.snapshots(("ws",))),
    "dataflow_os": lambda: _large(arrays.snapshots(("os",))),
    "dataflow_is": lambda: _large(arrays.snapshots(("is",))),
    "reuse": lambda: arrays.moved(
        acc.Conv2d(M=16, C=8, H=16, W=16, R=3, S=3, padding=1, name="conv"), ("ws", "os", "is")
    ),
    "reuse_eyeriss": lambda: arrays.moved(
        acc.Conv2d(M=64, C=32, H=14, W=14, R=3, S=3, padding=1, name="conv"),
        ("rs", "ws", "os", "is", "nlr"),
        "eyeriss",
    ),
    "skew": lambda: arrays.skew(("ws", "os")),
    "row_stationary": arrays.row_stationary,
    "row_stationary_stride2": lambda: arrays.row_stationary(stride=2),
}


def png(name: str, dpi: float | None = None) -> bytes:
    """A picture of that name, in its own resolution unless given."""
    figure, target = PICTURES[name](), BytesIO()
    with house_style():
        figure.savefig(target, format="png", dpi=dpi or figure.dpi)
    return target.getvalue()


def main(names: list[str]) -> None:
    """Draw the pictures of these names, or all."""
    for name in names or PICTURES:
        path = OUT / f"{name}.png"
        path.write_bytes(png(name))
        print(f"drew {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
