"""Feature maps with a stated share of zeros, and the MACs that zeros spare.

``engines/analytic/link_coding`` counts the zeros of what it codes; the maps are for studies of the
code in Python, where no real one is at hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.arithmetic import Number
from accelsim.workload.problem import Problem

Floats = NDArray[np.float64]


def feature_map(
    shape: tuple[int, ...], number: Number, zeros: float, rng: np.random.Generator, *, blur: int = 0
) -> NDArray[Any]:
    """Values as a ReLU leaves them, exactly ``round(zeros * size)`` of them zero, the others from 1
    to ``number.high``.

    A normal field is cut off at its ``zeros`` quantile.  ``blur`` is how many times the field is
    averaged over 2x2 neighbours on the last two axes: 0 scatters the zeros evenly, more makes them
    lie together, as in real feature maps. Returns ``shape`` in ``number.dtype``.  Raises ValueError
    for a share outside 0 to 1, or a type without positive values.
    """
    if not 0 <= zeros <= 1:
        raise ValueError(f"zeros is a share from 0 to 1, got {zeros}")
    if number.high < 1:
        raise ValueError(f"a type with positive values is needed, got {number.bits} bits")
    field = rng.standard_normal(shape)
    for _ in range(blur):
        for axis in (-1, -2):
            field = field + np.roll(field, 1, axis)
    flat = field.reshape(-1)
    order = np.argsort(flat, kind="stable")
    cut = round(zeros * flat.size)
    words = np.zeros(flat.size, np.int64)
    if cut < flat.size:
        above = flat[order[cut:]] - flat[order[cut]]
        top = float(above[-1]) or 1.0
        words[order[cut:]] = np.clip(np.round(above / top * number.high), 1, number.high)
    return words.reshape(shape).astype(number.dtype)


def rectified(accumulators: NDArray[np.int64], number: Number, zeros: float) -> NDArray[Any]:
    """Accumulators as the next layer gets them: a bias that makes a share ``zeros`` of them
    negative, ReLU, scaled to ``number``.

    Where it lies zero follows from the sums; how often is stated.  Returns the same shape in
    ``number.dtype``.
    """
    cut = float(np.quantile(accumulators, zeros))
    above = np.maximum(accumulators - cut, 0.0)
    top = float(above.max()) or 1.0
    scaled = np.ceil(above / top * number.high)  # what is above the cut stays above zero
    return np.asarray(np.minimum(scaled, number.high).astype(number.dtype))


def zero_share(values: NDArray[Any]) -> float:
    """Share of zeros among values."""
    return (values.size - int(np.count_nonzero(values))) / values.size if values.size else 0.0


def macs_gated(problem: Problem, ifmap: NDArray[Any], padding_is_read: bool) -> int:
    """MACs whose ifmap operand is zero: gated multipliers, the same cycles.

    ``ifmap`` of shape ``problem.shape("ifmap")``.  ``padding_is_read`` says whether padding zeros
    are words at the MAC (``nest.projection("ifmap", nest.levels).stored_padding``): then MACs on
    them are gated as well.  Where padding is not stored no word is there to be found zero, and a
    MAC on it does all but touch it (docs/design.md, section 4, rule 7).  Raises ValueError where
    the ifmap is no operand, or of another shape.
    """
    if problem.accumulated == "ifmap":
        raise ValueError("the ifmap is accumulated here, not an operand")
    if ifmap.shape != problem.shape("ifmap"):
        raise ValueError(f"the ifmap must have shape {problem.shape('ifmap')}, got {ifmap.shape}")
    rows, cols = (_uses(problem, rank) for rank in (("E", "R"), ("F", "S")))
    zero = (ifmap == 0).astype(np.float64)
    # per plane at most E*R*F*S pairs, far below 2^53
    gated = int(
        np.einsum(
            "nchw,h,w->nc",
            zero.reshape(-1, problem.C, *ifmap.shape[-2:]),
            rows,
            cols,
            optimize=True,
        ).sum()
    )
    real = int(rows.sum()) * int(cols.sum())
    padding = problem.E * problem.R * problem.F * problem.S - real
    planes = problem.N * problem.G * problem.C
    return problem.M * (gated + (padding * planes if padding_is_read else 0))


def _uses(problem: Problem, rank: tuple[str, str]) -> Floats:
    """How many (output, tap) pairs of a sliding rank touch each of its coordinates: [size]."""
    slide = problem.slide(rank)
    out, tap = (np.arange(problem.size[d]) for d in rank)
    at = (slide.stride * out[:, None] + slide.dilation * tap - slide.pad).reshape(-1)
    return np.bincount(at[(at >= 0) & (at < slide.size)], minlength=slide.size).astype(np.float64)
