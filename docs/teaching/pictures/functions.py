"""Pooling, normalization and activations, computed by the program's own operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from accelsim.view.style import GREEN, WIDTH, house_style, lighter, series_look
from accelsim.workload.graph.entries import OPERATORS

from .sheet import HUES, Sheet


def computed(kind: str, x: Any, weights: dict[str, Any] | None = None, **fields: Any) -> Any:
    """One operator of a network on one input, without its batch."""
    op = OPERATORS[kind](**({"type": kind} | fields))
    return op.run([np.asarray(x, float)[None]], weights or {})[0]


def pooling(words: Any) -> Figure:
    """Largest, mean and global mean of the same map; each window has one colour."""
    x = np.asarray(words)
    side = len(x)
    sheet = Sheet(4 * side + 10.5, side + 4.2)
    faces = [[HUES[(i // 2) * (side // 2) + j // 2] for j in range(side)] for i in range(side)]
    sheet.title(0.8, 0.8, "ifmap", "windows of 2 x 2, stride 2")
    sheet.map(0.8, 2.8, x.tolist(), faces)
    small = [row[::2] for row in faces[::2]]
    at = side + 3.2
    for title, kind, note in (
        ("max_pool", "max_pool", "the largest of each window"),
        ("average_pool", "average_pool", "the mean of each window"),
    ):
        out = computed(kind, x[None], R=2, stride=2)[0]
        sheet.title(at, 0.8, title, note)
        sheet.map(at, 2.8, [[f"{v:g}" for v in row] for row in out], small, size=7)
        at += side + 2.6
    whole = computed("global_average_pool", x[None]).ravel()[0]
    sheet.title(at - 0.4, 0.8, "global average", "one word a channel")
    sheet.cell(at, 2.8, f"{whole:.3g}", lighter(GREEN, 0.6), w=1.6, size=7)
    return sheet.figure


def activations(names: tuple[str, ...] = ("relu", "sigmoid", "tanh", "gelu", "silu")) -> Figure:
    """The functions, and beside them their slopes, which the backward pass multiplies with."""
    x = np.linspace(-4, 4, 401)
    with house_style():
        figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        for k, name in enumerate(names):
            y = computed(name, x)
            colour = series_look(k)["color"]
            dashes = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))[k % 5]
            left.plot(x, y, color=colour, linestyle=dashes, label=name)
            right.plot(x, np.gradient(y, x), color=colour, linestyle=dashes)
        for axes, title in ((left, "activation f(x)"), (right, "slope f'(x)")):
            axes.set_title(title, fontsize=9, loc="left")
            axes.grid(True, color="#dddddd", linewidth=0.5)
            axes.set_xlabel("x", fontsize=8)
            axes.tick_params(labelsize=7)
        left.set_ylim(-1.3, 3)
        left.legend(fontsize=7, frameon=False)
    return figure


def normalization(channels: int = 4, seed: int = 1) -> Figure:
    """Values of each channel before and after a normalization over each channel of the batch, and
    what the running program multiplies and adds in its place.
    """
    draw = np.random.default_rng(seed)
    means, sizes = draw.uniform(-3, 3, channels), draw.uniform(0.3, 2, channels)
    x = means[:, None] + sizes[:, None] * draw.standard_normal((channels, 400))
    mean, var = x.mean(1), x.var(1)
    y = (x - mean[:, None]) / np.sqrt(var + 1e-5)[:, None]
    with house_style():
        figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
        for axes, data, title in zip(
            figure.subplots(1, 2, sharey=True), (x, y),
            ("before: each channel its own mean and spread", "after: mean 0, variance 1"),
            strict=True,
        ):  # fmt: skip
            parts = axes.boxplot(list(data), showfliers=False, patch_artist=True, widths=0.6)
            for k, box in enumerate(parts["boxes"]):
                box.set_facecolor(HUES[k])
            for line in parts["medians"]:
                line.set_color("black")
            axes.set_title(title, fontsize=9, loc="left")
            axes.set_xlabel("channel", fontsize=8)
            axes.tick_params(labelsize=7)
            axes.axhline(0, color="#999999", linewidth=0.6)
    return figure
