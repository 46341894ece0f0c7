"""Combinations of choices valued as arrays, a block at a time: energy and DRAM traffic exactly, of
cycles a lower bound.

``quick_search`` asks ``Blocks.of`` for all combinations of some choices of every family, and
``Blocks.few`` for some more closely.  Counts are sums of products (``quick_tables``), so a block of
combinations of two groups of families is one matrix product for each form of the measures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.mapper.objective import Objective
from accelsim.mapper.quick_tables import LayerTables
from accelsim.mapper.quick_weights import MachineWeights, Weights

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
AT_ONCE = 1 << 16  # combinations that lie in memory together


@dataclass(frozen=True)
class _Side:
    """Combinations of some families' choices, as they enter products.

    ``rows`` [combinations, families], ``terms`` [combinations, terms], ``use`` [combinations,
    usage columns], ``bits`` and ``kind`` [combinations]; ``tied`` [combinations] is a number for
    the filter tiles that the other side's outputs meet.
    """

    rows: Ints
    terms: Floats
    use: Floats
    bits: Ints
    kind: Ints
    tied: Ints


@dataclass(frozen=True)
class _Layout:
    """Families on two sides; ``places`` is where each is in a row of left, then right.  ``fold``
    [terms, kinds] sums terms whose column on the right is one, ``kinds`` says which.
    """

    left: list[int]
    right: list[int]
    places: Ints
    fold: Floats
    kinds: Ints


class Blocks:
    """Values all combinations of some choices of every family, a block at a time.

    Families are on two sides: left those that decide where sums are final, and filters, on whose
    tiles the factors of outputs depend; the others where it costs least.  What is left then picks
    weights and tables, and a block is one matrix product, over the different columns that the right
    side has.
    """

    def __init__(self, tables: LayerTables, weights: MachineWeights, goal: Objective) -> None:
        self.tables, self.weights, self.goal = tables, weights, goal
        filters = {tie.filter for tie in tables.ties.values()}
        self.many = len(tables.families)
        self.decide = [f for f in range(self.many) if f in filters or tables.unfinished[f].any()]
        self.free = [f for f in range(self.many) if f not in self.decide]
        self.every = bool(tables.covered.all())
        asked = set(goal.measures)
        if "energy" in asked and weights.static:
            asked.add("cycles")
        self.asked = [m in asked for m in ("energy", "dram", "cycles")]
        self._layouts: dict[tuple[int, ...], _Layout] = {}

    def of(self, picks: Sequence[Ints]) -> Iterator[tuple[Floats, Ints, Ints, Ints]]:
        """For every block of the combinations of ``picks`` [choices] of each family: values, with
        inf where one is not legal [left, right]; the choices of either side; and where each family
        is in a row of left, then right.
        """
        layout = self._layout([len(x) for x in picks])
        left, right = self._side(layout.left, picks, lead=True), self._side(layout.right, picks)
        code = left.tied << self.tables.skeleton.levels | left.bits
        for k in np.unique(code):
            own = np.flatnonzero(code == k)
            weights = self.weights.of(int(left.bits[own[0]]))
            terms, use = self._joined(layout, right, left.rows[own[0]])
            forms = self._forms(weights)
            wide = max(min(len(terms), AT_ONCE // 8), 1)
            high = max(AT_ONCE // wide, 1)
            for a in range(0, len(own), high):
                rows = own[a : a + high]
                each = [(left.terms[rows] * w) @ layout.fold for w, _ in forms]
                for b in range(0, len(terms), wide):
                    there = slice(b, b + wide)
                    legal = self._legal(weights, left.use[rows], use[there])
                    if not self.every:
                        kind = left.kind[rows][:, None] + right.kind[None, there]
                        legal &= self.tables.covered.ravel()[kind]
                    value = self._block(each, forms, terms[there], legal)
                    yield value, left.rows[rows], right.rows[there], layout.places

    def _forms(self, weights: Weights) -> list[tuple[Floats, float]]:
        """The forms the objective asks for: energy, dram, and those of the cycles."""
        energy, dram, cycles = self.asked
        used = [energy, dram, *[cycles] * (len(weights.forms) - 2)]
        return [
            (w, float(c))
            for w, c, u in zip(weights.forms, weights.constant, used, strict=True)
            if u
        ]

    def _legal(self, weights: Weights, left: Floats, right: Floats) -> Bools:
        """Which combinations of rows of either side's usage keep all limits [left, right]."""
        legal = np.ones((len(left), len(right)), bool)
        for limit in weights.limits:
            columns = [c for c, *_ in limit.parts]
            if all(unit == 1 and float(each).is_integer() for _, each, unit, _ in limit.parts):
                scale = np.array([each * times for _, each, _, times in limit.parts])
                legal &= (left[:, columns] * scale) @ right[:, columns].T <= limit.most
            else:
                used = {c: left[:, c, None] * right[None, :, c] for c in columns}
                legal &= limit.used(used) <= limit.most
        return legal

    def _block(
        self, each: list[Floats], forms: list[tuple[Floats, float]], right: Floats, legal: Bools
    ) -> Floats:
        """Values [left, right] of the legal ones, inf of the others."""
        value = np.full(legal.shape, np.inf)
        if 8 * np.count_nonzero(legal) < legal.size:
            row, column = np.nonzero(legal)
            there = right[column]
            value[row, column] = self._value(
                [
                    np.einsum("ij,ij->i", x[row], there) + c
                    for x, (_, c) in zip(each, forms, strict=True)
                ]
            )
            return value
        got = self._value([x @ right.T + c for x, (_, c) in zip(each, forms, strict=True)])
        return np.where(legal, got, value)

    def _value(self, forms: list[Floats]) -> Floats:
        """The objective of the forms asked for."""
        energy, dram, cycles = self.asked
        at = iter(forms)
        none = np.zeros(1)
        first = [next(at) if energy else none, next(at) if dram else none]
        return np.asarray(self.goal.of(self.measures([*first, *(at if cycles else [none])])))

    def _layout(self, sizes: list[int]) -> _Layout:
        """The sides that cost least for so many choices of each family."""
        best = min(
            (frozenset(x) for n in range(len(self.free) + 1) for x in combinations(self.free, n)),
            key=lambda more: self._cost(more, sizes),
        )
        key = tuple(sorted(best))
        if key not in self._layouts:
            self._layouts[key] = self._make(key)
        return self._layouts[key]

    def _cost(self, more: frozenset[int], sizes: list[int]) -> float:
        """Numbers that are worked on, about, with these families on the left beside those that must
        be."""
        t = self.tables
        left = prod(sizes[f] for f in range(self.many) if f in more or f in self.decide)
        right = prod(sizes[f] for f in self.free if f not in more)
        across = [tie for tie in t.ties.values() if tie.outer not in self.decide]
        blocks = prod(
            min(tie.terms.shape[1], sizes[tie.filter]) for tie in across if tie.outer not in more
        )
        terms = len(t.constant)
        kinds = len(set(self._classes([f for f in self.free if f not in more])))
        return left * terms * 8.0 + right * terms * 3.0 * blocks + left * right * (kinds / 4 + 8)

    def _classes(self, right: list[int]) -> list[tuple[int, ...]]:
        """Of each term which column every family on the right has for it."""
        t = self.tables
        columns = [t.classes[f] for f in right]
        columns += [tie.classes for tie in t.ties.values() if tie.outer in right]
        return list(zip(*columns, strict=True)) if columns else [()] * len(t.constant)

    def _make(self, more: tuple[int, ...]) -> _Layout:
        left = sorted([*self.decide, *more])
        right = [f for f in self.free if f not in more]
        known: dict[tuple[int, ...], int] = {}
        which = [known.setdefault(c, len(known)) for c in self._classes(right)]
        fold = np.zeros((len(which), len(known)))
        fold[np.arange(len(which)), which] = 1.0
        kinds = np.array([which.index(k) for k in range(len(known))])
        return _Layout(left, right, np.argsort([*left, *right]), fold, kinds)

    def measures(self, forms: Sequence[Any]) -> dict[str, Any]:
        """Energy, cycles and dram of the forms' values."""
        cycles = forms[2]
        for more in forms[3:]:
            cycles = np.maximum(cycles, more)
        energy = forms[0] + self.weights.static * cycles if self.weights.static else forms[0]
        return {"energy": energy, "cycles": cycles, "dram": forms[1]}

    def few(self, choices: Ints, *, closer: bool = True) -> dict[str, Floats]:
        """Measures [combinations] of some combinations [combinations, families]; with the
        ``closer`` forms of the cycles.
        """
        t = self.tables
        terms = np.repeat(t.constant[None, :], len(choices), axis=0)
        bits = np.zeros(len(choices), np.int64)
        for f, own in enumerate(t.own):
            terms *= own[choices[:, f]]
            bits |= t.unfinished[f][choices[:, f]]
        for tie in t.ties.values():
            terms *= tie.terms[choices[:, tie.outer], tie.which[choices[:, tie.filter]]]
        forms = np.zeros((3, len(choices)))
        for b in np.unique(bits):
            at, weights = np.flatnonzero(bits == b), self.weights.of(int(b))
            each = weights.forms @ terms[at].T + weights.constant[:, None]
            forms[:2, at], forms[2, at] = each[:2], each[2:].max(axis=0)
            if closer and len(weights.closer):
                more = weights.closer @ terms[at].T + weights.closer_constant[:, None]
                forms[2, at] = np.maximum(forms[2, at], more.max(axis=0))
        return self.measures(list(forms))

    def usage(self, choices: Ints) -> Floats:
        """Rows, columns and words of the stores [combinations, usage columns] of some combinations
        [combinations, families].
        """
        t = self.tables
        use = np.repeat(t.whole[None, :], len(choices), axis=0)
        for f, own in enumerate(t.usage):
            use *= own[choices[:, f]]
        for tie in t.ties.values():
            use *= tie.use[choices[:, tie.outer], tie.which[choices[:, tie.filter]]]
        return use

    def _side(self, families: list[int], picks: Sequence[Ints], *, lead: bool = False) -> _Side:
        """All combinations of the choices of families on one side; the constants are the ``lead``
        side's.
        """
        t = self.tables
        grid = [x.ravel() for x in np.meshgrid(*[picks[f] for f in families], indexing="ij")]
        many = len(grid[0]) if grid else 1
        terms, use = np.empty((many, len(t.constant))), np.empty((many, len(t.whole)))
        terms[:], use[:] = (t.constant, t.whole) if lead else (1.0, 1.0)
        bits, kind = np.zeros(many, np.int64), np.zeros(many, np.int64)
        for f, rows in zip(families, grid, strict=True):
            terms *= t.own[f][rows]
            use *= t.usage[f][rows]
            bits |= t.unfinished[f][rows]
            kind += t.kinds[f][rows] * prod(t.covered.shape[f + 1 :])
        place = dict(zip(families, grid, strict=True))
        tied = np.zeros(many, np.int64)
        for tie in t.ties.values():
            taps, outs = place.get(tie.filter), place.get(tie.outer)
            if taps is not None and outs is not None:
                terms *= tie.terms[outs, tie.which[taps]]
                use *= tie.use[outs, tie.which[taps]]
            elif taps is not None:
                tied = tied * tie.terms.shape[1] + tie.which[taps]
        rows = np.stack(grid, axis=1) if grid else np.zeros((1, 0), np.int64)
        return _Side(rows, terms, use, bits, kind, tied)

    def _joined(self, layout: _Layout, right: _Side, left: Ints) -> tuple[Floats, Floats]:
        """The different columns of the right side's terms, and its usage, with what it shares with
        these choices on the left.
        """
        terms, use = right.terms[:, layout.kinds], right.use
        for tie in self.tables.ties.values():
            if tie.outer in layout.right:
                outs = right.rows[:, layout.right.index(tie.outer)]
                taps = tie.which[left[layout.left.index(tie.filter)]]
                terms = terms * tie.terms[outs, taps][:, layout.kinds]
                use = use * tie.use[outs, taps]
        return terms, use


__all__ = ["Blocks"]
