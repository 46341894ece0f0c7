"""Cross-correlation beside convolution, and the backward pass as correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from accelsim import Problem
from accelsim.engines import golden
from accelsim.view.style import BLUE, GREEN, VERMILION, lighter
from accelsim.workload.arithmetic import Number

from .sheet import HUES, PALE, Sheet

Map = NDArray[Any]
WEIGHT, IFMAP, OFMAP = (lighter(c, 0.65) for c in (VERMILION, BLUE, GREEN))


def accumulated(problem: Problem, **maps: Map) -> Map:
    """What the golden model accumulates from maps of one channel, as one map."""
    data = {name: np.asarray(m).reshape(problem.shape(name)) for name, m in maps.items()}
    out = golden.accumulate(problem, data, Number(32))
    return out.reshape(out.shape[-2:])


def _problem(ifmap: Map, weight: Map) -> Problem:
    (h, w), (r, s) = ifmap.shape, weight.shape
    return Problem(N=1, G=1, M=1, C=1, E=h - r + 1, F=w - s + 1, R=r, S=s, H=h, W=w)


def two_ways(ifmap: Map, weight: Map) -> Figure:
    """The same ifmap and filter, once as every framework has it and once as mathematics has it."""
    p = _problem(ifmap, weight)
    turned = weight[::-1, ::-1]
    sheet = Sheet(24, 2 * (p.H + 3.4))
    for k, (title, note, shown) in enumerate(
        (
            ("cross-correlation: Conv2d()", "O[e,f] = sum of I[e+r, f+s] W[r,s]", weight),
            ("convolution: Conv2d(flip=True)", "the filter is turned by half a turn first", turned),
        )
    ):
        y = 0.8 + k * (p.H + 3.4)
        sheet.title(0.8, y, title, note)
        out = accumulated(p, ifmap=ifmap, weight=shown)
        y += 2.0
        _map(sheet, 0.8, y, ifmap, IFMAP)
        sheet.frame(0.8, y, p.S, p.R, HUES[1])
        _map(sheet, p.W + 3.4, y, weight, WEIGHT)
        sheet.text(p.W + 2.1, y + p.R / 2, "*", size=14, ha="center")
        x = p.W + p.S + 4.4
        if k:
            sheet.arrow((x, y + p.R / 2), (x + 1.6, y + p.R / 2))
            sheet.text(x + 0.8, y + p.R / 2 - 0.7, "turn", ha="center", size=7)
            _map(sheet, x + 2, y, turned, WEIGHT)
            x += p.S + 2
        sheet.text(x + 1.2, y + p.R / 2, "=", size=12, ha="center")
        _map(sheet, x + 2.2, y, out, OFMAP)
        sheet.frame(x + 2.2, y, 1, 1, HUES[1])
    return sheet.figure


def backward(ifmap: Map, weight: Map, upstream: Map) -> Figure:
    """A forward pass and its two gradients with their numbers: both are correlations, and the one
    for the ifmap has the filter turned and zeros around the upstream gradient.
    """
    p = _problem(ifmap, weight)
    out = accumulated(p, ifmap=ifmap, weight=weight)
    to_weight = accumulated(p.with_direction("grad_weight"), ifmap=ifmap, ofmap=upstream)
    to_ifmap = accumulated(p.with_direction("grad_input"), weight=weight, ofmap=upstream)
    framed = np.pad(upstream, ((p.R - 1,) * 2, (p.S - 1,) * 2))
    rows = (
        ("forward", "O = I * W", (ifmap, IFMAP), (weight, WEIGHT), (out, OFMAP)),
        (
            "gradient of the weights", "dW = I * dO: the upstream gradient is the filter",
            (ifmap, IFMAP), (upstream, OFMAP), (to_weight, WEIGHT),
        ),
        (
            "gradient of the ifmap", "dI = (dO in zeros) * (W turned by half a turn)",
            (framed, OFMAP), (weight[::-1, ::-1], WEIGHT), (to_ifmap, IFMAP),
        ),
    )  # fmt: skip
    heights = [len(a) + 3.4 for _, _, (a, _), _, _ in rows]
    sheet = Sheet(20, sum(heights))
    y = 0.8
    for (title, note, a, b, c), height in zip(rows, heights, strict=True):
        sheet.title(0.8, y, title, note)
        x = 0.8
        for (words, face), sign in ((a, "*"), (b, "="), (c, "")):
            around = (p.R - 1, p.S - 1) if words is framed else (0, 0)
            _map(sheet, x, y + 2, words, face, around)
            x += words.shape[1] + 1
            sheet.text(x, y + 3.4, sign, size=12, ha="center")
            x += 1
        y += height
    return sheet.figure


def _map(
    sheet: Sheet, x: float, y: float, words: Map, face: str, around: tuple[int, int] = (0, 0)
) -> None:
    """A map of numbers; ``around`` it that many rows and columns are zeros that were put there."""
    (h, w), (a, b) = words.shape, around
    for i in range(h):
        for j in range(w):
            zero = i < a or i >= h - a or j < b or j >= w - b
            sheet.cell(x + j, y + i, words[i, j], PALE if zero else face, dashed=zero)
