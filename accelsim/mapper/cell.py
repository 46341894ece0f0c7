"""One block of the space with a model of its own: tables of all its choices, and the objectives as
sums of their products.

Which network a word crosses, how wide a sum is and what is fused can depend on which loops have
more than one trip. A *cell* is a part of a skeleton's space where none of that changes.  In it
energy, DRAM traffic and every form of the cycles are constants plus signed products of one table
entry a group; as are the words each level holds and the rows and columns used.  A group is the
families whose tiles meet in one factor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines import moved
from accelsim.engines.analytic.array_time import on_lines
from accelsim.engines.analytic.closed_form import BoundarySums, ClosedForm, Evaluated, Factor
from accelsim.engines.analytic.rank_sums import GROUPS, Cuts, slide_largest
from accelsim.mapper import lower_cycles as time
from accelsim.mapper.lower_cycles import Column
from accelsim.mapper.packed import Packed
from accelsim.mapper.space import TileRows
from accelsim.mapper.time_columns import (
    Bracket,
    SignedTerm,
    extra_columns,
    fold_columns,
    ramp_columns,
    signed,
)
from accelsim.mapping.mapping import FUSED
from accelsim.mapping.skeleton import LargestTile, Skeleton, SlidingRank, depends
from accelsim.workload.problem import DEPENDS, DIMS, RANKS, TENSORS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Limit:
    """``sum of rounded(words x by) <= most``: rows, columns, or bytes (banks) of a level.
    ``parts`` are (usage column, bytes a word, bytes of a unit, times); a part's units are
    ceil(ceil(words x bytes) x times / unit).
    """

    name: str
    parts: tuple[tuple[int, float, int, int], ...]
    most: float

    def used(self, usage: Any) -> Any:
        """Of usage columns (arrays of products), or of lower bounds of them."""
        total: Any = 0
        for column, each, unit, times in self.parts:
            need = (
                np.ceil(usage[column] * each) * times if each != 1 or times != 1 else usage[column]
            )
            total = total + (np.ceil(need / unit) if unit != 1 else need)
        return total


@dataclass
class ChoiceGroup:
    """Choices of some families' tiles and their tables."""

    families: tuple[int, ...]
    tiles: Ints  # [choices, all loops of the families], in the order of ``loops``
    loops: tuple[int, ...]
    terms: (
        Packed  # [choices, terms]: energy, DRAM traffic and cycles are weights @ products of these
    )
    first: Packed  # [choices, brackets]
    ratio: Packed  # [choices, brackets]
    usage: Floats  # [choices, usage columns]
    closer: Packed | None = None  # [choices, terms of the closer forms]
    whole: Packed | None = None  # [choices, columns]: see ``BoundTable``
    kept: Packed | None = None  # [choices, kept terms]
    work: Floats | None = None  # [choices]: steps x rows x columns


class Cell:
    """A skeleton's choices with one signature: the loops that are loops at all, and where sums are
    final.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        there: tuple[int, ...],
        final: tuple[bool, ...],
        picks: Sequence[TileRows],
    ) -> None:
        self.skeleton, self.there, self.picks = skeleton, there, picks
        self.families = skeleton.families
        self.part = skeleton.part(there, final)
        self.model = ClosedForm(self.part)
        self.terms: list[tuple[Factor, ...]] = []
        self.brackets: list[tuple[tuple[Factor, ...], tuple[Factor, ...] | None]] = []
        self.in_terms: dict[Column, dict[int, float]] = {}  # term -> sign
        self.in_brackets: dict[Column, list[int]] = {}
        self._known: dict[Any, int] = {}
        self._tabulate()

    # -- objectives as weights of terms and brackets -----------------------------------------------

    def _tabulate(self) -> None:
        """Every column as signed terms and as brackets, and every form as weights of either."""
        part, model = self.part, self.model
        sides = {b: BoundarySums(part, b) for b in part.boundaries}
        entries = [b for b, side in sides.items() if leaves_as_it_came(part, side)]
        folds = dict(fold_columns(part)) if on_lines(part) else {}
        ramps = ramp_columns(part, sides)
        self.terms = list(model.terms.factors)
        for column, signs in zip(model.columns, model.matrix.T, strict=True):
            self.in_terms[column] = {int(t): float(signs[t]) for t in np.flatnonzero(signs)}
        for b in entries:
            self._set_terms((b, "arrived"), sides[b].terms("U", "K"))
        for column, factors in extra_columns(part):
            self._set_terms(column, [(1.0, factors)])
        for column, brackets in folds.items():
            self._set_terms(column, signed(brackets))
        for column, signs_of in ramps.items():
            self._set_terms(column, signs_of)
        self._merge()
        for column in self.in_terms:
            if column in ramps:
                continue
            where, name = column
            if column in folds:
                self._set_brackets(column, folds[column])
            elif where is None:
                self._set_brackets(
                    column, [(list(self.terms[t]), None) for t in self.in_terms[column]]
                )
            else:
                as_entries = name == "arrived" and where in entries
                self._set_brackets(column, sides[where].brackets("read" if as_entries else name))
        linear = self._linear()
        for i, form in enumerate(time.closer_forms(part) if ramps else ()):
            linear[f"closer{i}"] = form
        self._weigh({name: (c, self._joined(weights)) for name, (c, weights) in linear.items()})

    def _set_terms(self, column: Column, terms: Sequence[SignedTerm]) -> None:
        """A column as signed products."""
        base = len(self.terms)
        self.in_terms[column] = {base + i: sign for i, (sign, _) in enumerate(terms)}
        self.terms += [tuple(factors) for _, factors in terms]

    def _set_brackets(self, column: Column, brackets: Sequence[Bracket]) -> None:
        """A column as a sum of brackets, each listed once in ``self.brackets``."""
        for first, kept in brackets:
            key = same_factors(first), None if kept is None else same_factors(kept)
            if key not in self._known:
                self._known[key] = len(self.brackets)
                self.brackets.append((tuple(first), None if kept is None else tuple(kept)))
            self.in_brackets.setdefault(column, []).append(self._known[key])

    def _merge(self) -> None:
        """Terms of equal factors are one."""
        known: dict[Any, int] = {}
        home = [known.setdefault(same_factors(factors), t) for t, factors in enumerate(self.terms)]
        for column, signs in self.in_terms.items():
            merged: dict[int, float] = {}
            for t, sign in signs.items():
                merged[home[t]] = merged.get(home[t], 0.0) + sign
            self.in_terms[column] = merged

    def _joined(self, weights: Mapping[Column, float]) -> dict[Column, float]:
        """Weights with columns that always count alike as one: what one gains another may cost."""
        first: dict[Any, Column] = {}
        home = {
            c: first.setdefault((None if c[0] is None else c[0].tensor, frozenset(t.items())), c)
            for c, t in self.in_terms.items()
        }
        joined: dict[Column, float] = {}
        for column, w in weights.items():
            joined[home[column]] = joined.get(home[column], 0.0) + w
        return joined

    def _weigh(self, linear: Mapping[str, tuple[float, dict[Column, float]]]) -> None:
        """Every form as weights of the terms, and of the brackets."""
        self.constants = {name: constant for name, (constant, _) in linear.items()}
        self.weights = {name: weights for name, (_, weights) in linear.items()}
        self.by_term, self.by_bracket = dict[str, Floats](), dict[str, Floats]()
        for name, weights in self.weights.items():
            of_terms, of_brackets = np.zeros(len(self.terms)), np.zeros(len(self.brackets))
            for column, w in weights.items():
                for term, sign in self.in_terms[column].items():
                    of_terms[term] += w * sign
                for bracket in self.in_brackets.get(column, ()):
                    of_brackets[bracket] += w
            self.by_term[name], self.by_bracket[name] = of_terms, of_brackets

    def _linear(self) -> dict[str, tuple[float, dict[Column, float]]]:
        """Energy but for its static part, bits over the outermost level's port, and the forms of
        the cycles: ``cycles0``...
        """
        nest, model = self.part, self.model
        n = len(model.columns)
        unit = model.moves(Evaluated(np.vstack([np.zeros(n), np.eye(n)]), model.columns))
        priced = moved.energy(nest, unit, nest.problem.macs, 0.0)
        energy = np.broadcast_to(
            np.asarray(priced[f"energy_{nest.arch.energy.unit}"], np.float64), n + 1
        )
        traffic: Any = np.zeros(n + 1)
        for b, m in unit.items():
            if b.parent == 0:
                words = m.arrived + m.updated if b.tensor == nest.problem.accumulated else m.read
                traffic = traffic + words * nest.word_bits(0, b.tensor)
        linear = {}
        for name, v in (("energy", energy), ("dram", traffic)):
            linear[name] = (
                float(v[0]),
                {c: float(w) for c, w in zip(model.columns, v[1:] - v[0], strict=True) if w},
            )
        for i, (constant, weights) in enumerate(time.forms(nest)):
            linear[f"cycles{i}"] = (constant, weights)
        return linear

    @property
    def forms(self) -> list[str]:
        """Names of the forms of the cycles."""
        return [name for name in self.constants if name.startswith("cycles")]

    @property
    def closer(self) -> list[str]:
        """Names of the forms with ramps, which are worked out for few mappings."""
        return [name for name in self.constants if name.startswith("closer")]

    @cached_property
    def static(self) -> float:
        """Energy a cycle, of leakage."""
        arch, nest = self.skeleton.arch, self.part
        none = self.model.moves(
            Evaluated(np.zeros((1, len(self.model.columns))), self.model.columns)
        )
        unit = f"energy_{arch.energy.unit}"
        a, b = (
            moved.energy(nest, none, nest.problem.macs, t)[unit]
            for t in (0.0, 1.0 / (arch.clock_mhz * 1e6))
        )
        return float(np.ravel(b)[0] - np.ravel(a)[0])

    # -- groups ------------------------------------------------------------------------------------

    def grouped(self) -> list[tuple[int, ...]]:
        """Families whose dimensions meet in one factor."""
        of = {i: {i} for i in range(len(self.families))}
        home = {p: i for i, f in enumerate(self.families) for p in f.parts}
        meets = [set(g) for g in self.model.groups]
        for rank in RANKS["ifmap"]:
            meets.append(set(rank))
        for names in meets:
            dims = [p for n in names for p in FUSED.get(n, (n,))]
            joined = (
                set().union(*(of[home[d]] for d in dims if d in home))
                if any(d in home for d in dims)
                else set()
            )
            for i in joined:
                of[i] = joined
        return list(dict.fromkeys(tuple(sorted(v)) for v in of.values()))

    def columns_of(self, families: tuple[int, ...]) -> tuple[int, ...]:
        """The loops of families, in the order of a group's columns."""
        return tuple(i for f in families for i in self.families[f].loops)

    def tables(
        self, families: tuple[int, ...], tiles: Ints, used: Sequence[str], *, lead: bool
    ) -> tuple[Floats, Floats, Floats]:
        """terms, first and ratio of choices; of the terms and brackets that ``used`` measures
        weigh.

        Factors of dimensions of one word, which no family has, are the ``lead`` group's.
        """
        loops = self.columns_of(families)
        at = {s: i for i, s in enumerate(loops)}
        chains = {c.name: c for c in self.part.chains}
        mine = {p for f in families for p in self.families[f].parts}
        homeless = set(DIMS) - {p for f in self.families for p in f.parts}
        empty = tiles[:, :0]
        columns = {
            n: tiles[:, [at[self.there[i]] for i in c.loops]]
            for n, c in chains.items()
            if c.parts[0] in mine
        }
        columns |= {n: empty for n, c in chains.items() if c.parts[0] in homeless}
        memo: dict[Any, Ints] = {}  # table -> [choices, its columns]

        def value(factors: Sequence[Factor]) -> Floats:
            total = np.ones(len(tiles))
            for f in factors:
                ours = any(chains[n].parts[0] in mine for n in f.chains)
                if ours or (lead and all(chains[n].parts[0] in homeless for n in f.chains)):
                    if f.table not in memo:
                        memo[f.table] = f.table.of(columns)
                    total = total * memo[f.table][:, f.column]
            return total

        terms = np.stack([value(self.terms[t]) for t in self.used_terms(used)], axis=1)
        firsts, ratios = [], []
        for b in self.used_brackets(used):
            first, second = self.brackets[b]
            p = value(first)
            firsts.append(p)
            ratios.append(
                np.zeros(len(tiles)) if second is None else value(second) / np.maximum(p, 1.0)
            )
        return terms, np.stack(firsts, axis=1), np.clip(np.stack(ratios, axis=1), 0.0, 1.0)

    def costs(
        self,
        families: tuple[int, ...],
        used: Sequence[str],
        terms: Floats,
        first: Floats,
        ratio: Floats,
    ) -> Floats:
        """Entries of choices no measure falls with: [choices, costs].

        A column of counts is ``prod S - sum of prod kept``, so it rises with its S and falls with
        what is kept; and it is a sum of ``prod first x (1 - prod ratio)``.  Families its tensor
        does not depend on enter a bracket by one factor (the ratio is 1), so there the brackets are
        told apart; elsewhere the first form is, in which what one loop brings does not count
        against what another does.
        """
        at_term = {t: i for i, t in enumerate(self.used_terms(used))}
        at_bracket = {b: i for i, b in enumerate(self.used_brackets(used))}
        mine = {p for f in families for p in self.families[f].parts}
        costs = []
        for column in self.in_terms:
            for sign in {float(np.sign(self.weights[m].get(column, 0.0))) for m in used} - {0.0}:
                if column[0] is None or mine & DEPENDS[column[0].tensor]:
                    for t, s in self.in_terms[column].items():
                        if t in at_term and s:
                            costs.append(np.sign(s) * sign * terms[:, at_term[t]])
                else:
                    for b in self.in_brackets[column]:
                        if b in at_bracket:
                            costs += [
                                sign * first[:, at_bracket[b]],
                                -sign * ratio[:, at_bracket[b]],
                            ]
        return np.stack(costs, axis=1) if costs else np.zeros((len(terms), 0))

    def used_columns(self, used: Sequence[str]) -> list[Column]:
        """Columns that weigh in some of these measures; the steps where none does."""
        return [c for c in self.in_terms if any(c in self.weights[m] for m in used)] or [time.STEPS]

    def used_terms(self, used: Sequence[str]) -> list[int]:
        """Terms that weigh in some of these measures; and so ``used_brackets``."""
        return sorted({t for column in self.used_columns(used) for t in self.in_terms[column]})

    def used_brackets(self, used: Sequence[str]) -> list[int]:
        return sorted(
            {b for column in self.used_columns(used) for b in self.in_brackets.get(column, ())}
        )

    # -- what the levels hold ----------------------------------------------------------------------

    @cached_property
    def _stores(self) -> list[tuple[int, str]]:
        """Level and tensor of each usage column but the first two."""
        return [
            (i, t) for i in range(1, len(self.part.keep)) for t in TENSORS if t in self.part.keep[i]
        ]

    def usage(self, families: tuple[int, ...], tiles: Ints, trips: Ints, *, lead: bool) -> Floats:
        """Rows, columns, then words of each tensor each level keeps, as far as these families
        decide; [choices, 2 + stores].
        """
        loops = self.columns_of(families)
        axes = [self.skeleton.loops[s].axis for s in loops]
        used = [np.prod(trips[:, [a == axis for a in axes]], axis=1) for axis in ("row", "col")]
        for level, tensor in self._stores:
            largest = self.part.largest_tile(level, tensor)
            used.append(self._words(families, loops, tiles, largest, lead))
        return np.stack(used, axis=1).astype(np.float64)

    def _words(
        self,
        families: tuple[int, ...],
        loops: tuple[int, ...],
        tiles: Ints,
        largest: LargestTile,
        lead: bool,
    ) -> Ints:
        """Words of the largest tile, these families' factors of it [choices]; ``tiles`` [choices,
        loops].
        """
        words = np.ones(len(tiles), np.int64)
        if largest.pairs:
            return words
        size, mine = self.skeleton.problem.size, self._dims_of(families, lead)
        column = {loop: i for i, loop in enumerate(loops)}
        own = {i: tiles[:, column[s]] for i, s in enumerate(self.there) if s in column}
        words *= prod(size[d] for d in largest.uncut if d in mine)
        for i in largest.innermost:
            if i in own:
                words = words * own[i]
        for rank in largest.sliding:
            if mine & set(rank.dims) and not (lead and self._elsewhere(rank.dims, families)):
                words = words * self._slid(rank, own, len(tiles))
        return words

    def _dims_of(self, families: tuple[int, ...], lead: bool) -> set[str]:
        """Dimensions of families; the ``lead`` group has those of no family too, for a rank of one
        output and one tap may be nothing but padding.
        """
        mine = {p for f in families for p in self.families[f].parts}
        return mine | set(DIMS) - {p for f in self.families for p in f.parts} if lead else mine

    def _slid(self, rank: SlidingRank, tiles: dict[int, Ints], choices: int) -> Ints:
        """Words of a sliding rank's longest piece [choices]."""
        cuts = [
            Cuts((size,), (0,) * len(loops), (GROUPS,) * len(loops))
            for size, loops in zip(rank.sizes, rank.cuts, strict=True)
        ]
        e, r = (
            np.array([tiles[i] for i in loops], np.int64).reshape(len(loops), choices).T
            for loops in rank.cuts
        )
        return slide_largest(rank.slide, cuts[0], cuts[1], e, r)

    def _elsewhere(self, rank: tuple[str, ...], families: tuple[int, ...]) -> bool:
        """Whether a rank with a dimension of one word is another group's."""
        return any(
            set(rank) & set(f.parts) for i, f in enumerate(self.families) if i not in families
        )

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """Every constraint on usage; column 0 is rows, 1 columns, then the stores."""
        return limits_of(self.part, self._stores)


def limits_of(part: Skeleton, stores: Sequence[tuple[int, str]]) -> tuple[Limit, ...]:
    """Every constraint on usage: column 0 is rows, 1 columns, then the ``stores``, each a level and
    a tensor it keeps.
    """
    arch = part.arch
    limits = [
        Limit("array.rows", ((0, 1, 1, 1),), arch.array.rows),
        Limit("array.cols", ((1, 1, 1, 1),), arch.array.cols),
    ]
    for i, name in enumerate(arch.level_names):
        level = arch.levels[name]
        if i == 0:
            continue
        times = 2 if level.double_buffered else 1
        shared = []
        for column, (at, tensor) in enumerate(stores, 2):
            if at != i:
                continue
            each = part.word_bits(i, tensor) / 8
            if tensor in level.partitions:
                most = floor(level.partitions[tensor] // times / each + 1e-9)
                limits.append(
                    Limit(f"levels.{name}.partitions.{tensor}", ((column, 1, 1, 1),), most)
                )
            elif level.capacity_bytes is not None:
                shared.append((column, each, 1, times))
        if shared and level.banks and level.capacity_bytes is not None:
            size = level.capacity_bytes // level.banks
            parts = tuple((c, e, size, t) for c, e, _, t in shared)
            limits.append(Limit(f"levels.{name}.banks", parts, level.banks))
        elif shared and level.capacity_bytes is not None:
            limits.append(
                Limit(f"levels.{name}.capacity_bytes", tuple(shared), level.capacity_bytes)
            )
    return tuple(limits)


def leaves_as_it_came(nest: Skeleton, side: BoundarySums) -> bool:
    """Whether arrivals of sums may be counted as their entries are: every residency of a word
    begins and ends once.

    Not so where pieces overlap (an accumulated ifmap, fused ranks), nor where a dimension the sum
    does not depend on is spread over several parents, which may be idle at different times.
    """
    b = side.b
    if (
        b.tensor != nest.problem.accumulated
        or side.mac
        or not side.shares
        or b.tensor == "ifmap"
        or b.kind == "neighbour"
    ):
        return False
    if any(x.dim in FUSED for x in nest.loops):
        return False
    return not any(
        x.spatial
        and x.level < b.child
        and not depends(x.dim, b.tensor, FUSED)
        and (x.level < b.parent or x.axis not in b.merged)
        for x in nest.loops
    )


def same_factors(factors: Sequence[Factor]) -> frozenset[tuple[Factor, int]]:
    """What makes a product equal to another, whatever its order."""
    return frozenset(Counter(factors).items())


__all__ = [
    "Cell",
    "ChoiceGroup",
    "Limit",
    "leaves_as_it_came",
    "limits_of",
    "same_factors",
]
