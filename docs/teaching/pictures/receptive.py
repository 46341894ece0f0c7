"""Receptive fields: which words of the first ifmap one word of a later layer has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from accelsim.view.style import BLUE, ORANGE, VERMILION, lighter

from .sheet import PLAIN, Sheet


@dataclass(frozen=True)
class Window:
    """A layer along one side: taps, stride, padding and dilation; pooling is one as well."""

    name: str
    taps: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1


@dataclass(frozen=True)
class Field:
    """What a word of a layer's output has seen of the network's input: ``size`` words along a side,
    neighbours ``jump`` words apart, the first word's field beginning at ``start``.
    """

    name: str
    size: int
    jump: int
    start: int


def fields(layers: Sequence[Window]) -> list[Field]:
    """Layer by layer: size grows by (taps - 1) times dilation times the jump before, and the jump
    is multiplied by the stride (A. Araujo and others, "Computing receptive fields of convolutional
    neural networks", Distill 2019).
    """
    told, size, jump, start = [], 1, 1, 0
    for layer in layers:
        size += (layer.taps - 1) * layer.dilation * jump
        start -= layer.pad * jump
        jump *= layer.stride
        told.append(Field(layer.name, size, jump, start))
    return told


def seen(layers: Sequence[Window], at: int) -> list[set[int]]:
    """The words that word ``at`` of the last output has seen, in every layer's input and last in
    the output itself; counted word by word, padding included.
    """
    sets = [{at}]
    for layer in reversed(layers):
        sets.append(
            {
                out * layer.stride - layer.pad + tap * layer.dilation
                for out in sets[-1]
                for tap in range(layer.taps)
            }
        )
    return sets[::-1]


def through(layers: Sequence[Window], words: int, at: int) -> Figure:
    """Rows of words, the input below: what one output word has seen is coloured, with lines to
    what each word reads.
    """
    sizes = [words]
    for layer in layers:
        sizes.append(
            (sizes[-1] + 2 * layer.pad - layer.dilation * (layer.taps - 1) - 1) // layer.stride + 1
        )
    sets, told = seen(layers, at), fields(layers)
    sheet = Sheet(words + 13, 3.2 * len(sizes) + 0.6)
    spacing, shift = [1], [0.0]
    for layer in layers:
        middle = (layer.dilation * (layer.taps - 1) / 2 - layer.pad) * spacing[-1]
        shift.append(shift[-1] + middle)
        spacing.append(spacing[-1] * layer.stride)
    places = [[1 + shift[k] + i * spacing[k] for i in range(n)] for k, n in enumerate(sizes)]
    for k, size in enumerate(sizes):
        y = 0.8 + 3.2 * (len(sizes) - 1 - k)
        if k:
            _lines(sheet, layers[k - 1], sets[k], places[k - 1 : k + 1], y)
        for i in range(size):
            face = lighter((BLUE, ORANGE, VERMILION)[k % 3], 0.4) if i in sets[k] else PLAIN
            sheet.cell(places[k][i], y, i, face, size=6.5)
        name = "ifmap" if k == 0 else layers[k - 1].name
        note = "" if k == 0 else f"sees {told[k - 1].size} words, one every {told[k - 1].jump}"
        sheet.text(words + 2, y + 0.3, name, weight="bold")
        sheet.text(words + 2, y + 1.2, note, size=7, color="#555555")
    return sheet.figure


def _lines(
    sheet: Sheet, layer: Window, coloured: set[int], places: Sequence[Sequence[float]], y: float
) -> None:
    below, above = places
    for out in coloured:
        for tap in range(layer.taps):
            read = out * layer.stride - layer.pad + tap * layer.dilation
            if 0 <= read < len(below) and 0 <= out < len(above):
                xs, ys = (above[out] + 0.5, below[read] + 0.5), (y + 1, y + 3.2)
                sheet.axes.plot(xs, ys, color="#777777", linewidth=0.6, zorder=1)
