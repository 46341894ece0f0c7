"""Small array helpers on lists of words, for the PEs of a pass (``pes``).

A list of words is an array whose last axis is padded with NOWHERE: ``[steps, PEs, words]``, or
``[rows, words]`` with a row a (step, PE).  Nothing here knows a nest.  Two ways of finding equal
words stand side by side where it matters: a table of flags if the numbers are dense, sorting if
they are not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelsim.engines.event.ranks import NOWHERE, outer_sum
from accelsim.engines.event.transfers import Ints

Bools = npt.NDArray[np.bool_]


def cross(masks: list[Bools]) -> Bools:
    """Masks rank by rank, each [steps, PEs, words of the rank], to one over words, [steps, PEs,
    words]: a word is there if it is in every rank.
    """
    total = masks[0]
    for x in masks[1:]:
        total = (total[:, :, :, None] & x[:, :, None, :]).reshape(*x.shape[:2], -1)
    return total


def sums(lists: list[Ints]) -> Ints:
    """The words of tiles given rank by rank: offsets added up, [steps, PEs, words]."""
    words = lists[0]
    for x in lists[1:]:
        words = (words[:, :, :, None] + x[:, :, None, :]).reshape(*x.shape[:2], -1)
    return words


def values_of(offsets: Ints) -> Ints:
    """The different offsets of a table, sorted, ``[offsets]``."""
    return sorted_set(offsets[offsets != NOWHERE])


def encode(tables: list[Ints]) -> tuple[list[Ints], Ints]:
    """Tables of small numbers whose sums number the words without gaps, and the word of each
    number, ``[words]``: mixed radix over the different offsets of each rank.
    """
    values = [values_of(t) for t in tables]
    codes = []
    radix = 1
    for t, v in zip(reversed(tables), reversed(values), strict=True):
        codes.append(np.searchsorted(v, t) * radix)
        radix *= len(v)
    return codes[::-1], outer_sum(values)


def kept_in(tiles: Ints, other: Ints) -> Bools:
    """``kept`` on tables [steps, rows, words]."""
    wide = (tiles.shape[0] * tiles.shape[1], tiles.shape[2])
    return kept(tiles.reshape(wide), other.reshape(-1, other.shape[2])).reshape(tiles.shape)


def pick(values: Ints, shape: tuple[int, ...], there: Bools) -> Ints:
    """A value a (step, PE), repeated for each of its words that is there: ``[words there]``."""
    return np.broadcast_to(values[:, :, None], shape)[there]


def shift(tile: Ints, by: int) -> Ints:
    """A tile seen from another base; NOWHERE stays."""
    return np.where(tile == NOWHERE, NOWHERE, tile + by)


def paste(tiles: Ints, where: npt.NDArray[np.bool_], other: Ints | None) -> Ints:
    """Replace some rows by other lists, or by none; widen as needed."""
    width = max(tiles.shape[1], 0 if other is None else other.shape[1])
    wide = np.full((len(tiles), width), NOWHERE)
    wide[:, : tiles.shape[1]] = tiles
    wide[where] = NOWHERE
    if other is not None:
        wide[where, : other.shape[1]] = other
    return wide


def kept(words: Ints, other: Ints) -> npt.NDArray[np.bool_]:
    """Which words of each row stand in the same row of the other: ``[rows, words]``.

    Small rows are compared word by word; larger ones by sorting (row, word) as one number.
    """
    if words.shape[1] * other.shape[1] <= 64 or len(words) < 2:
        return np.asarray((words[:, :, None] == other[:, None, :]).any(axis=2) & (words != NOWHERE))
    real, there = words != NOWHERE, other != NOWHERE
    low = min(int(words[real].min(initial=0)), int(other[there].min(initial=0)))
    span = max(int(words[real].max(initial=0)), int(other[there].max(initial=0))) - low + 1
    row = np.arange(len(words))[:, None] * span - low
    keys = np.sort((row + other)[there])
    mine = (row + words)[real]
    same = np.zeros(words.shape, bool)
    if len(keys):
        same[real] = keys[np.minimum(np.searchsorted(keys, mine), len(keys) - 1)] == mine
    return same


def distinct(groups: Ints, words: Ints, times: Ints | None = None) -> int:
    """How many different (group, word) there are, each as often as its group occurs."""
    if not len(words):
        return 0
    low = int(words.min())
    span = int(words.max()) - low + 1
    size = (int(groups.max()) + 1) * span
    if size > 1 << 27 or size > 256 * len(words) + 1024:
        different = np.unique(groups * span + (words - low)) // span
        return len(different) if times is None else int(times[different].sum())
    seen = np.zeros(size, bool)
    seen[groups * span + (words - low)] = True
    if times is None:
        return int(np.count_nonzero(seen))
    return weighed(seen.reshape(-1, span), times[: size // span])


def per_group(groups: Ints, words: Ints, n: int) -> Ints:
    """How many different words each of ``n`` groups has, ``[n]``."""
    if not len(words):
        return np.zeros(n, np.int64)
    low = int(words.min())
    span = int(words.max()) - low + 1
    if n * span > 1 << 27 or n * span > 256 * len(words) + 1024:
        return np.bincount(np.unique(groups * span + (words - low)) // span, minlength=n)
    seen = np.zeros(n * span, bool)
    seen[groups * span + (words - low)] = True
    return np.asarray(np.count_nonzero(seen.reshape(n, span), axis=1))


def weighed(rows: Bools, times: Ints) -> int:
    """How many are set, each row as often as it occurs."""
    return sum(
        n * int(np.count_nonzero(rows if (times == n).all() else rows[times == n]))
        for n in set(times.tolist())
    )


def sorted_set(words: Ints) -> Ints:
    """Each word once, sorted."""
    if not len(words):
        return words
    low = int(words.min())
    span = int(words.max()) - low + 1
    if span > 256 * len(words) + 1024:
        return np.unique(words)
    seen = np.zeros(span, bool)
    seen[words - low] = True
    return np.flatnonzero(seen) + low
