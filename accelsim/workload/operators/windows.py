"""Sliding windows over maps: pooling, its gradients and padding share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from accelsim.workload.arithmetic import Array
from accelsim.workload.layers import Sides

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
MAX_TAPS = 2**22  # they are counted one by one
_NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@dataclass(frozen=True)
class WindowSide:
    """Windows along one side: ``out`` of them of ``taps``, the first ``before`` words outside;
    ``after`` words are read beyond the end.

    ``pad`` is the padding the file states at the end, which ``count_padding`` counts; a window that
    ``ceil`` adds may reach beyond it.
    """

    size: int
    taps: int
    stride: int
    dilation: int
    before: int
    after: int
    pad: int
    out: int

    def real(self, padded: bool = False) -> NDArray[np.int64]:
        """How many of a window's taps are words, of shape (out,); with the stated padding if
        ``padded``.
        """
        at = (
            np.arange(self.out)[:, None] * self.stride
            + np.arange(self.taps)[None, :] * self.dilation
            - self.before
        )
        low, high = (-self.before, self.size + self.pad) if padded else (0, self.size)
        return np.asarray(((at >= low) & (at < high)).sum(axis=1), np.int64)


def side(
    size: int, taps: int, stride: int, dilation: int, pads: tuple[int, int], ceil: bool
) -> WindowSide:
    """The windows along a side; ``ceil`` adds one over the tail that a stride leaves, if it begins
    on a word or the padding before.

    Raises ValueError if there is no window, or one of nothing but padding.
    """
    before, pad = pads
    reach = dilation * (taps - 1) + 1
    span = size + before + pad - reach
    if span < 0:
        raise ValueError(
            f"the window ({taps}, dilation {dilation}) is larger than the padded input ({size},"
            f" padding {before}+{pad})"
        )
    out = (-(-span // stride) if ceil else span // stride) + 1
    if ceil and (out - 1) * stride >= size + before:
        out -= 1
    if out * taps > MAX_TAPS:
        raise ValueError(
            f"windows along one side may have at most 2^22 taps together, got {out} of {taps}"
        )
    windows_along = WindowSide(
        size,
        taps,
        stride,
        dilation,
        before,
        max((out - 1) * stride + reach - size - before, 0),
        pad,
        out,
    )
    if not windows_along.real().all():
        raise ValueError(
            f"padding ({before}+{pad}) leaves windows without a word: it must be smaller than the"
            f" window ({taps})"
        )
    return windows_along


def windows(x: Array, rows: WindowSide, cols: WindowSide, fill: float | int) -> Array:
    """All windows of maps (N, C, H, W): a view or copy of shape (N, C, E, F, R, S), ``fill`` where
    there is no word.
    """
    framed = np.pad(
        x,
        ((0, 0), (0, 0), (rows.before, rows.after), (cols.before, cols.after)),
        constant_values=fill,
    )
    reach = tuple(s.dilation * (s.taps - 1) + 1 for s in (rows, cols))
    view = sliding_window_view(framed, reach, axis=(2, 3))
    return view[:, :, :: rows.stride, :: cols.stride, :: rows.dilation, :: cols.dilation][
        :, :, : rows.out, : cols.out
    ]


def pad(x: Array, sides: Sides, mode: PaddingMode = "zeros", value: float | int = 0) -> Array:
    """Maps (..., H, W) with (top, bottom, left, right) words around.

    ``zeros`` puts ``value``; ``reflect`` mirrors without repeating the edge, ``replicate`` repeats
    the edge, ``circular`` goes round.  Raises ValueError if there are not enough words to mirror or
    go round once.
    """
    height, width = x.shape[-2:]
    for size, most in ((height, max(sides[:2])), (width, max(sides[2:]))):
        if (mode == "reflect" and most >= size) or (mode == "circular" and most > size):
            raise ValueError(f"{mode} padding of {most} needs more than the {size} words there are")
    edges = [(0, 0)] * (x.ndim - 2) + [sides[:2], sides[2:]]
    if mode == "zeros":
        return np.pad(x, edges, constant_values=value)
    how: Any = _NUMPY_MODES[mode]
    return np.asarray(np.pad(x, edges, mode=how))
