"""Where a film's chapters begin, and where it opens: at work, not at an empty or padded array.

``filming`` and ``vector_film`` call it with what the PEs do frame by frame.
"""

from __future__ import annotations

import numpy as np

from accelsim.view.player.film import (
    MAC,
    NOTHING,
    OUT,
    PADDING,
    Bools,
    Chapter,
    FilmPlane,
    Ints,
)

OPERATION = ("weight", "ifmap", "ofmap", "psum")  # registers that a MAC reads and writes
MOST_FOLDS = 8  # that have a chapter of their own


def working(state: Ints, planes: tuple[FilmPlane, ...], margin: Bools | None) -> tuple[Ints, Ints]:
    """PEs that multiply in every frame, and those of them that have no padding to multiply.

    ``margin``: which ifmap addresses are stored padding, if any are.
    """
    busy = (state & MAC) > 0
    padded = np.zeros(busy.shape, bool)
    for plane in planes:
        padded |= plane.words == PADDING
        if margin is not None and plane.tensor == "ifmap":
            padded |= margin[np.maximum(plane.words, 0)] & (plane.words >= 0)
    return busy.sum(axis=(1, 2)), (busy & ~padded).sum(axis=(1, 2))


def opening(state: Ints, planes: tuple[FilmPlane, ...], margin: Bools | None) -> int:
    """The first frame with nearly as many products that are not of padding as any frame has; with
    sums on their way too, if there ever are.
    """
    _, real = working(state, planes, margin)
    works = 10 * real >= 8 * real.max(initial=0)
    there = [
        (p.words != NOTHING).any(axis=(1, 2)) for p in planes if p.label in (*OPERATION, "sum down")
    ]
    full = works & np.logical_and.reduce([x for x in there if x.any()] or [works])
    return int((full if full.any() else works).argmax())


def chapters(
    state: Ints, planes: tuple[FilmPlane, ...], fold: Ints, numbers: Ints, word: str
) -> tuple[Chapter, ...]:
    """First word, fill, steady, sums on their way, first result, drain, and the folds that follow.

    ``fold`` (frame, row, column) counts in ``numbers``, the run's own; ``word`` is fold or pass.
    """
    busy, _ = working(state, planes, None)
    here = np.zeros(len(state), bool)
    for plane in planes:
        here |= (plane.words != NOTHING).any(axis=(1, 2))
    latest = fold.reshape(len(fold), -1).max(axis=1, initial=-1)
    starts = {int(k): int((latest >= k).argmax()) for k in np.unique(latest[latest >= 0])}
    marks = [(int(here.argmax()), "first word", "The first word enters the array.")]
    marks += _of_the_first(busy, starts) if starts else []
    marks += _of_sums(state, planes)
    later = [k for k in starts if k > min(starts)] if starts else []
    thin = max(1, -(-len(later) // MOST_FOLDS))
    for k in later[::thin]:
        n = int(numbers[k]) + 1
        marks.append((starts[k], f"{word} {n}", f"The first PE works on {word} {n}."))
    return _in_order(marks)


def _of_the_first(busy: Ints, starts: dict[int, int]) -> list[tuple[int, str, str]]:
    """Fill, steady and drain of the first fold."""
    begins = min(starts.values())
    ends = min((t for t in starts.values() if t > begins), default=len(busy))
    most = int(busy[begins:ends].max())
    full = begins + int((busy[begins:ends] == most).argmax())
    last = begins + int(np.flatnonzero(busy[begins:ends] == most)[-1])
    marks = [(begins, "fill", "The first PE multiplies; more follow.")]
    marks.append((full, "steady", f"{most} PEs multiply, as many as there is work for."))
    if last + 1 < len(busy) and busy[last + 1] < most:
        marks.append((last + 1, "drain", "The first PEs have no work left; sums still leave."))
    return marks


def _of_sums(state: Ints, planes: tuple[FilmPlane, ...]) -> list[tuple[int, str, str]]:
    """The first sum that is added on its way from PE to PE, and the first result."""
    marks = []
    for plane in planes:
        moving = (plane.words != NOTHING).any(axis=(1, 2))
        if plane.label == "sum down" and moving.any():
            told = "Sums of a column are added on their way from PE to PE."
            marks.append((int(moving.argmax()), "sums add up", told))
    out = ((state & OUT) > 0).any(axis=(1, 2))
    if out.any():
        marks.append((int(out.argmax()), "first result", "The first result leaves the array."))
    return marks


def _in_order(marks: list[tuple[int, str, str]]) -> tuple[Chapter, ...]:
    """By frame; of several at one frame the last of ``marks``, which says most."""
    by_frame = {frame: (name, told) for frame, name, told in marks}
    return tuple(Chapter(t, *by_frame[t]) for t in sorted(by_frame))
