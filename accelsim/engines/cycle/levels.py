"""The levels outside the PEs: what they hold of one tensor, and what moves between them step by
step (section 4).

A *step* is a setting of the temporal loops outside the PEs.  Operands and sums are walked apart, as
operands must be there when a step's first word is fed and sums of a step may land after the next
one has begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.base.compiled import kernel
from accelsim.engines.cycle.addresses import (
    NOTHING,
    Bools,
    Ints,
    LevelTiles,
    Where,
    address_of,
    apart,
    digits,
    inside,
    numbered,
)
from accelsim.engines.cycle.line_pes import READ
from accelsim.engines.moved import Moved
from accelsim.mapping.nest import Boundary, Nest
from accelsim.workload.arithmetic import wrap

Values = npt.NDArray[Any]


class HazardError(RuntimeError):
    """A word was needed where it was not, or two wanted one place: the engine's own fault, never
    the user's.
    """


class Levels:
    """All three tensors in the levels outside the PEs, and what crosses every boundary."""

    def __init__(self, nest: Nest, data: Mapping[str, Values]) -> None:
        self.nest, acc = nest, nest.problem.accumulated
        self.moves = {b: Moved() for b in nest.boundaries}
        start = {t: np.ascontiguousarray(data[t]).ravel() for t in nest.problem.operands}
        sums = np.zeros(nest.problem.shape(acc), np.int64)
        if nest.problem.bias and nest.problem.direction == "forward":
            sums += data["bias"].astype(np.int64)[None, :, :, None, None]
        start[acc] = sums.ravel()
        self.traffic = {t: Traffic(nest, t, self.moves, x) for t, x in start.items()}
        self.sums = self.traffic[acc]

    def operands_to(self, at: Where) -> None:
        """Move on to a step, operands only."""
        for t in self.nest.problem.operands:
            self.traffic[t].advance(at)


class Traffic:
    """One tensor's words in every level outside the PEs.

    ``start``: the tensor's flat values at its home.  What crosses boundaries is counted in
    ``moves``.  An instance of a level is numbered by the spatial loops outside it, and has a row of
    its own in the store: ``values``, ``held`` (which addresses it has) and ``fresh`` (of sums:
    which have got no arrival yet), all [rows, addresses]; ``outer`` is the row of the instance
    around it.
    """

    def __init__(
        self, nest: Nest, tensor: str, moves: dict[Boundary, Moved], start: npt.NDArray[Any]
    ) -> None:
        self.nest, self.tensor, self.moves = nest, tensor, moves
        self.pe = nest.levels - 1
        self.sums = tensor == nest.problem.accumulated
        self.links = [
            _Link(nest, b) for b in nest.boundaries if b.tensor == tensor and b.child < self.pe
        ]
        keepers = [nest.home(tensor), *(x.b.child for x in self.links)]
        self.innermost = keepers[-1]
        spatial = [x for x in nest.loops if x.spatial]
        self.instances = {
            level: prod(x.trips for x in spatial if x.level < level) for level in range(nest.levels)
        }
        counts = [self.instances[level] for level in keepers]
        self.first_row = dict(zip(keepers, np.cumsum([0, *counts]).tolist(), strict=False))
        shape = sum(counts), len(start)
        short, narrow = np.iinfo(np.int16), not self.sums
        narrow = narrow and start.min() >= short.min and start.max() <= short.max
        wide = np.int32 if nest.arch.bits.psum <= 32 else np.int64  # as sums wrap in the end
        kind: Any = wide if self.sums else np.int16 if narrow else np.int32
        self.values = np.zeros(shape, kind)
        self.values[0] = start
        self.held, self.fresh = np.zeros((2, *shape), np.bool_)
        self.held[0], self.fresh[0] = True, self.sums
        self.outer = np.full(shape[0], -1, np.int64)
        for x in self.links:
            children = np.arange(self.instances[x.b.child])
            mine = self.row(x.b.child, x.b.child, children)
            self.outer[mine] = self.row(x.b.parent, x.b.child, children)

    def row(self, level: int, inside: int, of: Any) -> Any:
        """The row of a level's instance around instance ``of`` (a number or an array) of the level
        ``inside``.
        """
        return self.first_row[level] + of // (self.instances[inside] // self.instances[level])

    # -- moving on ---------------------------------------------------------------------------------

    def advance(self, at: Where) -> None:
        """Move on to a step: sums drain innermost first, then what is new comes in, outermost
        first.
        """
        changes = [(link, link.change(at)) for link in self.links if link.moved(at)]
        for link, news in reversed(changes if self.sums else []):
            self._drain(link, {k: minus(old, new) for k, (old, new) in news.items()})
        for link, news in changes:
            come = {k: minus(new, old) for k, (old, new) in news.items()}
            if not self.sums:
                self._fill(link, news, come)
            for k, names in come.items():
                row, words = self.row(link.b.child, link.b.child, k), link.addresses(names)
                if self.sums:  # they begin at zero
                    place = row, run(words)
                    self.values[place] = 0
                    self.held[place] = self.fresh[place] = True
                self._check_size(link.b, row)

    def finish(self) -> npt.NDArray[np.int64]:
        """Drain every sum that is left; the whole tensor, wrapped to psum width."""
        for link in reversed(self.links):
            self._drain(link, link.held)
        total = wrap(self.values[0], self.nest.arch.number("psum"))
        return total.reshape(self.nest.problem.shape(self.tensor))

    def _fill(self, link: _Link, news: dict[int, tuple[Ints, Ints]], come: dict[int, Ints]) -> None:
        """Operand words that leave a level are forgotten, words that come are copied from the one
        around it; padding zeros are made where they are stored.
        """
        b, m = link.b, self.moves[link.b]
        m.taken += sum(len(w) for w in come.values())
        reads = link.shared(come)
        if b.kind == "neighbour":
            before, now = (link.shared({k: pair[i] for k, pair in news.items()}) for i in (0, 1))
            reads = {g: minus(w, before.get(g, NOTHING)) for g, w in now.items()}
        m.read += sum(int(self.given(b, link.addresses(w)).sum()) for w in reads.values())
        for k, (old, new) in news.items():
            row, words = self.row(b.child, b.child, k), link.addresses(come[k])
            outer, given = self.outer[row], self.given(b, words)
            self.held[row, run(link.addresses(minus(old, new)))] = False
            if not (self.held[outer, run(words)] | ~given).all():
                raise HazardError(f"{b}: a word was taken that the level above does not hold")
            self.values[row, run(words)] = self.values[outer, run(words)] * given
            self.held[row, run(words)] = True

    def _drain(self, link: _Link, out: dict[int, Ints]) -> None:
        """Sums go to the level around theirs; what those who share let go together arrives once."""
        b, m = link.b, self.moves[link.b]
        m.drained += sum(len(w) for w in out.values())
        for group, names in link.shared(out).items():
            row = self.outer[self.row(b.child, b.child, int(np.argmax(link.group == group)))]
            words = link.addresses(names)
            self._arrive(b, row, words, np.zeros(len(words), np.int64))
        for k, names in out.items():
            row, words = self.row(b.child, b.child, k), link.addresses(names)
            place = row, run(words)
            self.held[place] = self.fresh[place] = False
            self._add(self.outer[row], words, self.values[place])

    def _check_size(self, b: Boundary, row: int) -> None:
        room = self.nest.footprint.tile_words(b.child, b.tensor)
        if int(np.count_nonzero(self.held[row])) > room:
            name = self.nest.arch.level_names[b.child]
            raise HazardError(
                f"{name} was given more than the {room} words of {b.tensor} its largest tile has"
            )

    def _add(self, rows: Any, words: Ints, sums: Values) -> tuple[int, int]:
        """Sums come to rows; how many, and how many are the first of their residency."""
        rows = np.atleast_1d(rows)
        sums = sums.astype(self.values.dtype, copy=False)
        arrived, first = add(rows, words, sums, self.values, self.held, self.fresh, self.outer)
        return int(arrived), int(first)

    def _arrive(self, b: Boundary, rows: Any, words: Ints, sums: Values) -> None:
        """Count arrivals, and which of them are added to a word read for it: all but each
        residency's first, unless the level reads zeros too (section 4.6).
        """
        arrived, first = self._add(rows, words, sums)
        zeros = self.nest.arch.first_read == self.nest.arch.level_names[b.parent]
        self.moves[b].arrived += arrived
        self.moves[b].updated += arrived - (0 if zeros else first)

    # -- at the PEs --------------------------------------------------------------------------------

    def land(self, b: Boundary, level: int, instances: Any, words: Ints, values: Values) -> None:
        """Sums of one step that left the PEs arrive: one entry an arrival, by the instance of a
        level each comes from; a negative word is none.
        """
        self._arrive(b, self.row(b.parent, level, instances), words, values)

    def given(self, b: Boundary, words: Ints) -> Bools:
        """Which addresses a boundary's parent has: all but padding that is stored further in."""
        if not b.adds_padding or self.nest.window is None:
            return np.ones(len(words), bool)
        p = self.nest.problem
        return inside(words // p.W % p.H, words % p.W, self.nest.window)

    def read(self, rows: Any, words: Ints, kinds: Values) -> Values:
        """Values of words of the innermost level outside the PEs, 0 of those whose kind has no
        ``READ``: all of one row, or [steps, lines] each line of its own; raises HazardError for any
        it does not hold.
        """
        values, rows = np.empty(words.shape, self.values.dtype), np.atleast_1d(rows)
        flat: Any = [x.reshape(-1, max(1, len(rows))) for x in (words, kinds, values)]
        if fetch(rows, flat[0], flat[1], READ, self.values, self.held, flat[2]):
            raise HazardError(f"a word of {self.tensor} was read where it is not held")
        return values


class _Link:
    """One boundary between two levels outside the PEs: the names each child instance holds, and
    who shares.
    """

    def __init__(self, nest: Nest, b: Boundary) -> None:
        self.nest, self.b = nest, b
        self.tiles = LevelTiles(nest, b.tensor, b.child)
        spatial = [i for i, x in enumerate(nest.loops) if x.spatial and x.level < b.child]
        at = digits(nest, spatial)
        n = prod(nest.loops[i].trips for i in spatial)
        self.where = [{i: int(at[i][k]) for i in spatial} for k in range(n)]
        self.group = numbered(nest, apart(nest, b), at, n)
        self.above = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < b.child]
        self.held: dict[int, Ints] = dict.fromkeys(range(n), NOTHING)
        self.at: tuple[int, ...] | None = None

    def moved(self, at: Where) -> bool:
        now = tuple(at[i] for i in self.above)
        before, self.at = self.at, now
        return now != before

    def change(self, at: Where) -> dict[int, tuple[Ints, Ints]]:
        """What each instance that takes the step held and holds; others stand still (section
        4.3).
        """
        news = {}
        for k, where in enumerate(self.where):
            tile = self.tiles.at({i: at[i] for i in self.above} | where)
            if tile is not None:
                news[k] = (self.held[k], tile)
                self.held[k] = tile
        return news

    def shared(self, words: Mapping[int, Ints]) -> dict[int, Ints]:
        """The union over those who share, by group."""
        groups: dict[int, list[Ints]] = {}
        for k, w in words.items():
            groups.setdefault(int(self.group[k]), []).append(w)
        return {
            g: lists[0] if len(lists) == 1 else np.unique(np.concatenate(lists))
            for g, lists in groups.items()
        }

    def addresses(self, names: Ints) -> Ints:
        return address_of(self.nest, self.b.tensor, self.b.child, names)


def run(words: Ints) -> Any:
    """The same places; as a slice, which is faster, where one follows the other."""
    many = len(words)
    whole = many and words[-1] - words[0] == many - 1 and (words[1:] > words[:-1]).all()
    return slice(int(words[0]), int(words[0]) + many) if whole else words


def minus(words: Ints, other: Ints) -> Ints:
    """The words of a sorted list that another has not."""
    if words is other or not len(words):
        return NOTHING
    if not len(other):
        return words
    rest = np.empty_like(words)
    return rest[: without(words, other, rest)]


@kernel
def without(words: Ints, other: Ints, rest: Ints) -> int:
    """``rest`` gets what is in ``words`` and not in ``other``, all sorted; returns how many."""
    n = k = 0
    for word in words:
        while k < len(other) and other[k] < word:
            k += 1
        if k == len(other) or other[k] != word:
            rest[n] = word
            n += 1
    return n


@kernel
def add(
    rows: Ints, words: Ints, sums: Values, values: Values, held: Bools, fresh: Bools, outer: Ints
) -> tuple[int, int]:
    """Each sum is added in the innermost level, from its row out, that still holds the word: a PE
    may have stood idle meanwhile.  Returns how many there are, and how many are the first of their
    residency.

    rows   [words] or [1], the row each arrives at
    """
    arrived = first = 0
    for n in range(len(rows)):
        mine, has, new = values[rows[n]], held[rows[n]], fresh[rows[n]]
        for k in range(0 if len(rows) == 1 else n, len(words) if len(rows) == 1 else n + 1):
            if words[k] < 0:
                continue
            word = np.uint64(words[k])
            arrived += 1
            if new[word]:
                first += 1
                new[word] = False
            if has[word]:
                mine[word] += sums[k]
            else:
                row = outer[rows[n]]
                while not held[row, word]:
                    row = outer[row]
                values[row, word] += sums[k]
    return arrived, first


@kernel
def fetch(
    rows: Ints, words: Ints, kinds: Ints, mark: int, values: Values, held: Bools, out: Values
) -> int:  # fmt: skip
    """Values of words [words, rows] that are read, 0 of others; how many are missing."""
    missing = 0
    for j in range(len(rows)):
        mine, has = values[rows[j]], held[rows[j]]
        wanted, kind, got = words[:, j], kinds[:, j], out[:, j]
        for i in range(len(wanted)):
            got[i] = 0
            if kind[i] & mark:
                word = np.uint64(wanted[i])
                missing += not has[word]
                got[i] = mine[word]
    return missing


def steps(nest: Nest) -> Iterator[dict[int, int]]:
    """Settings of the temporal loops outside the PEs at which some PE has work, in nest order."""
    loops = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < nest.levels - 1]
    known: dict[Any, bool] = {}
    still = {c.name: {i: 0 for i in c.loops if i not in loops} for c in nest.chains}
    own = {c.name: [i for i in c.loops if i in loops] for c in nest.chains}

    def exists(at: dict[int, int]) -> bool:
        """If any instance has work in a dimension, the first one has."""
        for c in nest.chains:
            if len(own[c.name]) < 2:  # a single loop's trips all exist
                continue
            mine = {i: at[i] for i in own[c.name]}
            key = (c.name, *mine.values())
            if key not in known:
                known[key] = bool(nest.pieces(c, still[c.name] | mine).exists)
            if not known[key]:
                return False
        return True

    for setting in np.ndindex(*(nest.loops[i].trips for i in loops)):
        at = dict(zip(loops, setting, strict=True))
        if exists(at):
            yield at
