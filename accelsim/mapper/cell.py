"""One block of the space with a model of its own: tables of all its choices, and the objectives as
sums of their products.

Which network a word crosses, how wide a sum is and what is fused can depend on which loops have more than one trip.
A *cell* is a part of a skeleton's space where none of that changes.  In it energy, DRAM traffic and every form of the
cycles are constants plus signed products of one table entry a group; as are the words each level holds and the rows and
columns used.  A group is the families whose tiles meet in one factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import floor, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.engines import moved as counts
from accelsim.engines.analytic.array_time import holds, on_lines
from accelsim.engines.analytic.closed_form import BoundarySums, ClosedForm, Evaluated, Factor
from accelsim.engines.analytic.pipeline import overlaps
from accelsim.engines.analytic.rank_sums import TileChain, irrelevant
from accelsim.mapper import lower_cycles as time
from accelsim.mapper.factors import line_sum, values
from accelsim.mapper.packed import Packed
from accelsim.mapper.slides import Cuts, pair_table
from accelsim.mapper.space import TileRows
from accelsim.mapping.footprint import plain_words
from accelsim.mapping.mapping import FUSED
from accelsim.mapping.skeleton import (
    Boundary,
    Chain,
    LargestTile,
    Skeleton,
    TileFactor,
    depends,
    most_trips,
)
from accelsim.workload.problem import DEPENDS, DIMS, RANKS, TENSORS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Column = time.Column


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
    tiles: Ints  # [choices, all slots of the families], in the order of ``slots``
    slots: tuple[int, ...]
    terms: (
        Packed  # [choices, terms]: energy, DRAM traffic and cycles are weights @ products of these
    )
    first: Packed  # [choices, brackets]
    ratio: Packed  # [choices, brackets]
    usage: Floats  # [choices, usage columns]
    closer: Packed | None = None  # [choices, terms of the closer forms]
    whole: Packed | None = None  # [choices, columns]: see ``search.Table``
    kept: Packed | None = None  # [choices, kept terms]
    work: Floats | None = None  # [choices]: steps x rows x columns


class Cell:
    """A skeleton's choices with one signature: the slots that are loops at all, and where sums are
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
        self._terms()

    # -- objectives as weights of terms and brackets -----------------------------------------------

    def _terms(self) -> None:
        nest, model = self.part, self.model
        self.terms: list[tuple[Factor, ...]] = list(model.factors)
        columns: dict[Column, dict[int, float]] = {}
        for at, column in enumerate(model.columns):
            columns[column] = {
                int(t): float(model.matrix[t, at]) for t in np.flatnonzero(model.matrix[:, at])
            }
        sides = {b: BoundarySums(nest, b) for b in nest.boundaries}
        self._runs = {b for b, side in sides.items() if leaves_as_it_came(nest, side)}
        for b in self._runs:
            columns[b, "arrived"] = {}
            for sign, parts in sides[b].terms("U", "K"):
                columns[b, "arrived"][len(self.terms)] = sign
                self.terms.append(tuple(parts))
        for column, factors in extra_columns(nest):
            columns[column] = {len(self.terms): 1.0}
            self.terms.append(factors)
        folds = dict(fold_columns(nest)) if on_lines(nest) else {}
        for column, begun in folds.items():
            signs = [
                (sign, x)
                for first, same in begun
                for sign, x in ((1.0, first), (-1.0, same))
                if x is not None
            ]
            columns[column] = {len(self.terms) + i: sign for i, (sign, _) in enumerate(signs)}
            self.terms += [tuple(x) for _, x in signs]
        ramps = ramp_columns(nest, sides)
        for column, signed in ramps.items():
            columns[column] = {len(self.terms) + i: sign for i, (sign, _) in enumerate(signed)}
            self.terms += [tuple(x) for _, x in signed]
        self._merge(columns)
        self.brackets: list[tuple[tuple[Factor, ...], tuple[Factor, ...] | None]] = []
        known: dict[Any, int] = {}
        pieces: dict[Column, list[int]] = {}
        for column in columns:
            where, name = column
            if column in ramps:
                continue
            name = "read" if where in self._runs and name == "arrived" else name
            listed: list[tuple[list[Factor], list[Factor] | None]]
            if column in folds:
                listed = folds[column]
            else:
                listed = (
                    [(list(self.terms[t]), None) for t in columns[column]]
                    if where is None
                    else sides[where].brackets(name)
                )
            for first, second in listed:
                key = (same_factors(first), None if second is None else same_factors(second))
                if key not in known:
                    known[key] = len(self.brackets)
                    self.brackets.append((tuple(first), None if second is None else tuple(second)))
                pieces.setdefault(column, []).append(known[key])
        self.in_terms, self.in_brackets = columns, pieces
        linear = self._linear()
        for i, form in enumerate(time.closer_forms(nest) if ramps else ()):
            linear[f"closer{i}"] = form
        same: dict[
            Any, Column
        ] = {}  # columns that always count alike are one: what one gains another may cost
        home = {
            c: same.setdefault(
                (None if c[0] is None else c[0].tensor, frozenset(columns[c].items())), c
            )
            for c in columns
        }
        self.weights: dict[str, dict[Column, float]] = {}
        for name, (constant, weights) in linear.items():
            merged: dict[Column, float] = {}
            for column, w in weights.items():
                merged[home[column]] = merged.get(home[column], 0.0) + w
            self.weights[name] = merged
            linear[name] = constant, merged
        self.constants = {name: constant for name, (constant, _) in linear.items()}
        self.by_term, self.by_bracket = {}, {}
        for name, (_, weights) in linear.items():
            t, p = np.zeros(len(self.terms)), np.zeros(len(self.brackets))
            for column, w in weights.items():
                for term, sign in columns[column].items():
                    t[term] += w * sign
                for piece in pieces.get(column, ()):
                    p[piece] += w
            self.by_term[name], self.by_bracket[name] = t, p

    def _merge(self, columns: dict[Column, dict[int, float]]) -> None:
        """Terms of equal factors are one."""
        known: dict[Any, int] = {}
        home = [known.setdefault(same_factors(factors), t) for t, factors in enumerate(self.terms)]
        for column, signs in columns.items():
            merged: dict[int, float] = {}
            for t, sign in signs.items():
                merged[home[t]] = merged.get(home[t], 0.0) + sign
            columns[column] = merged

    def _linear(self) -> dict[str, tuple[float, dict[Column, float]]]:
        """Energy but for its static part, bits over the outermost level's port, and the forms of
        the cycles: ``cycles0``...
        """
        nest, model = self.part, self.model
        n = len(model.columns)
        unit = model.moves(Evaluated(np.vstack([np.zeros(n), np.eye(n)]), tuple(model.columns)))
        priced = counts.energy(nest, unit, nest.problem.macs, 0.0)
        energy = np.broadcast_to(
            np.asarray(priced[f"energy_{nest.arch.energy.unit}"], np.float64), n + 1
        )
        traffic: Any = np.zeros(n + 1)
        for b, m in unit.items():
            if b.parent == 0:
                words = m.arrived + m.updated if b.tensor == nest.problem.accumulated else m.read
                traffic = traffic + words * nest.word_bits(0, b.tensor)
        found = {}
        for name, v in (("energy", energy), ("dram", traffic)):
            found[name] = (
                float(v[0]),
                {c: float(w) for c, w in zip(model.columns, v[1:] - v[0], strict=True) if w},
            )
        for i, (constant, weights) in enumerate(time.forms(nest)):
            found[f"cycles{i}"] = (constant, weights)
        return found

    @property
    def forms(self) -> list[str]:
        return [name for name in self.constants if name.startswith("cycles")]

    @property
    def closer(self) -> list[str]:
        return [name for name in self.constants if name.startswith("closer")]

    @cached_property
    def static(self) -> float:
        """Energy a cycle, of leakage."""
        arch, nest = self.skeleton.arch, self.part
        none = self.model.moves(
            Evaluated(np.zeros((1, len(self.model.columns))), tuple(self.model.columns))
        )
        unit = f"energy_{arch.energy.unit}"
        a, b = (
            counts.energy(nest, none, nest.problem.macs, t)[unit]
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
        return tuple(i for f in families for i in self.families[f].loops)

    def tables(
        self, families: tuple[int, ...], tiles: Ints, used: Sequence[str], *, lead: bool
    ) -> tuple[Floats, Floats, Floats]:
        """terms, first and ratio of choices; of the terms and brackets that ``used`` measures
        weigh.

        Factors of dimensions of one word, which no family has, are the ``lead`` group's.
        """
        slots = self.columns_of(families)
        at = {s: i for i, s in enumerate(slots)}
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
        memo: dict[Any, Floats] = {}

        def value(factors: Sequence[Factor]) -> Floats:
            total = np.ones(len(tiles))
            for f in factors:
                ours = any(chains[n].parts[0] in mine for n in f.chains)
                if ours or (lead and all(chains[n].parts[0] in homeless for n in f.chains)):
                    key = f.identity
                    if key not in memo:
                        memo[key] = (
                            _fold_values(self.part, f, columns)
                            if f.identity[0] == "fold"
                            else values(self.part, f, columns)
                        )
                    total = total * memo[key]
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
        found = []
        for column in self.in_terms:
            for sign in {float(np.sign(self.weights[m].get(column, 0.0))) for m in used} - {0.0}:
                if column[0] is None or mine & DEPENDS[column[0].tensor]:
                    for t, s in self.in_terms[column].items():
                        if t in at_term and s:
                            found.append(np.sign(s) * sign * terms[:, at_term[t]])
                else:
                    for b in self.in_brackets[column]:
                        if b in at_bracket:
                            found += [
                                sign * first[:, at_bracket[b]],
                                -sign * ratio[:, at_bracket[b]],
                            ]
        return np.stack(found, axis=1) if found else np.zeros((len(terms), 0))

    def used_columns(self, used: Sequence[str]) -> list[Column]:
        """Columns that weigh in some of these measures; the steps where none does."""
        return [c for c in self.in_terms if any(c in self.weights[m] for m in used)] or [time.STEPS]

    def used_terms(self, used: Sequence[str]) -> list[int]:
        return sorted({t for column in self.used_columns(used) for t in self.in_terms[column]})

    def used_brackets(self, used: Sequence[str]) -> list[int]:
        return sorted(
            {b for column in self.used_columns(used) for b in self.in_brackets.get(column, ())}
        )

    # -- what the levels hold ----------------------------------------------------------------------

    @cached_property
    def _stores(self) -> list[tuple[int, str]]:
        return [
            (i, t) for i in range(1, len(self.part.keep)) for t in TENSORS if t in self.part.keep[i]
        ]

    def usage(self, families: tuple[int, ...], tiles: Ints, trips: Ints, *, lead: bool) -> Floats:
        """Rows, columns, then words of each tensor each level keeps, as far as these families
        decide; [choices, 2 + stores].
        """
        slots = self.columns_of(families)
        axes = [self.skeleton.loops[s].axis for s in slots]
        found = [np.prod(trips[:, [a == axis for a in axes]], axis=1) for axis in ("row", "col")]
        for level, tensor in self._stores:
            largest = self.part.largest_tile(level, tensor)
            found.append(self._words(families, slots, tiles, largest, lead))
        return np.stack(found, axis=1).astype(np.float64)

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
        for factor in largest.factors:
            if not mine & set(factor.dims):
                continue
            if factor.slide is None:
                words = words * plain_words(factor, size, own, np.minimum)
            elif not (lead and self._elsewhere(factor.dims, families)):
                words = words * self._slid(factor, own, len(tiles))
        return words

    def _dims_of(self, families: tuple[int, ...], lead: bool) -> set[str]:
        """Dimensions of families; the ``lead`` group has those of no family too, for a rank of one
        output and one tap may be nothing but padding.
        """
        mine = {p for f in families for p in self.families[f].parts}
        return mine | set(DIMS) - {p for f in self.families for p in f.parts} if lead else mine

    def _slid(self, factor: TileFactor, tiles: dict[int, Ints], choices: int) -> Ints:
        """Words of a sliding rank's largest tile [choices]: every different way to cut outputs with
        every different way to cut taps.
        """
        assert factor.slide is not None
        cuts, different, rows = [], [], []
        for d, loops in zip(factor.dims, factor.cuts, strict=True):
            cut = np.array([tiles[i] for i in loops], np.int64).reshape(len(loops), choices).T
            unique, back = np.unique(cut, axis=0, return_inverse=True)
            cuts.append(Cuts(self.skeleton.problem.size[d], "t" * len(loops)))
            different.append(unique)
            rows.append(back.reshape(-1))
        table = pair_table(factor.slide, cuts[0], cuts[1], "most", different[0], different[1])
        return table[rows[0], rows[1]].astype(np.int64)

    def _elsewhere(self, rank: tuple[str, ...], families: tuple[int, ...]) -> bool:
        """Whether a rank with a dimension of one word is another group's."""
        return any(
            set(rank) & set(f.parts) for i, f in enumerate(self.families) if i not in families
        )

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """Every constraint on usage; column 0 is rows, 1 columns, then the stores."""
        arch = self.skeleton.arch
        found = [
            Limit("array.rows", ((0, 1, 1, 1),), arch.array.rows),
            Limit("array.cols", ((1, 1, 1, 1),), arch.array.cols),
        ]
        for i, name in enumerate(arch.level_names):
            level = arch.levels[name]
            if i == 0:
                continue
            times = 2 if level.double_buffered else 1
            shared = []
            for column, (at, tensor) in enumerate(self._stores, 2):
                if at != i:
                    continue
                each = self.part.word_bits(i, tensor) / 8
                if tensor in level.partitions:
                    most = floor(level.partitions[tensor] // times / each + 1e-9)
                    found.append(
                        Limit(f"levels.{name}.partitions.{tensor}", ((column, 1, 1, 1),), most)
                    )
                elif level.capacity_bytes is not None:
                    shared.append((column, each, 1, times))
            if shared and level.banks and level.capacity_bytes is not None:
                size = level.capacity_bytes // level.banks
                found.append(
                    Limit(
                        f"levels.{name}.banks",
                        tuple((c, e, size, t) for c, e, _, t in shared),
                        level.banks,
                    )
                )
            elif shared and level.capacity_bytes is not None:
                found.append(
                    Limit(f"levels.{name}.capacity_bytes", tuple(shared), level.capacity_bytes)
                )
        return tuple(found)


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


def same_factors(factors: Sequence[Factor]) -> tuple[Any, ...]:
    return tuple(sorted((f.identity for f in factors), key=repr))


def extra_columns(nest: Skeleton) -> Iterator[tuple[Column, tuple[Factor, ...]]]:
    """The ways of sums that are added from PE to PE: columns only the cycles need."""
    if not on_lines(nest) and time.adds_in_a_chain(nest):
        for column, axis in ((time.ROW_WAY, "row"), (time.COL_WAY, "col")):
            yield column, tuple(_way(nest, c, axis) for c in nest.chains)


def fold_columns(
    nest: Skeleton,
) -> Iterator[tuple[Column, list[tuple[list[Factor], list[Factor] | None]]]]:
    """Folds of an array with lines, and their rows and columns summed over them, as brackets
    (first, what is the same fold).

    A fold begins where a loop that cuts the held words advances, those inside it at their first
    (``array_time.merged``); where the words stay but the size of the fold changes another one
    begins, which is not counted.
    """
    outside = [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < nest.levels - 1]
    runs: list[
        tuple[int, int]
    ] = []  # [from, to) of ``outside``: neighbouring loops that cut the held words
    for n, i in enumerate(outside):
        if holds(nest, nest.loops[i]):
            runs = (
                [*runs[:-1], (runs[-1][0], n + 1)]
                if runs and runs[-1][1] == n
                else [*runs, (n, n + 1)]
            )
    for column, axis in ((time.FOLDS, ""), (time.FOLD_ROWS, "row"), (time.FOLD_COLS, "col")):

        def upto(n: int, axis: str = axis) -> list[Factor]:
            return [
                _fold(nest, c, axis, sum(i in c.loops for i in outside[:n])) for c in nest.chains
            ]

        first: list[tuple[list[Factor], list[Factor] | None]] = (
            [] if runs and runs[0][0] == 0 else [(upto(0), None)]
        )
        yield column, first + [(upto(to), upto(start) if start else None) for start, to in runs]


def _fold(nest: Skeleton, chain: Chain, axis: str, outside: int) -> Factor:
    """Settings of a chain's first ``outside`` temporal loops; or over them, the rows (columns) of
    PEs its loops use.
    """
    loops = [nest.loops[i] for i in chain.loops]
    kinds = tuple(("g" if x.axis == axis else "m") if x.spatial else "t" for x in loops)

    def value(tiles: dict[str, tuple[int, ...]]) -> int:
        part = [chain.parts.index(x.dim) if x.dim in chain.parts else -1 for x in loops]
        line = TileChain(
            tuple(nest.problem.size[p] for p in chain.parts),
            tuple(zip(part, tiles[chain.name], kinds, strict=True)),
        )
        return irrelevant(line, outside, False).U

    return Factor((chain.name,), ("fold", chain.name, kinds, outside), value)


def ramp_columns(
    nest: Skeleton, sides: dict[Boundary, BoundarySums]
) -> dict[Column, list[tuple[float, list[Factor]]]]:
    """Words of the first step of every phase, as signed products: what comes where a loop advances
    with which a phase begins.

    Phases begin with passes, and inside them where a loop advances that cuts a tensor the PEs do
    not take in ahead, or one outside such a loop.
    """
    last = nest.levels - 1
    waited = [
        t for t in nest.problem.operands if t in nest.keep[last] and not overlaps(nest, last, t)
    ]
    cuts = [
        i
        for i, x in enumerate(nest.loops)
        if not x.spatial and x.level < last and any(nest.loop_depends(x, t) for t in waited)
    ]
    found = {}
    for column, b in time.ramp_boundaries(nest).items():
        if b not in sides or sides[b].mac:
            continue
        first, *others = sides[b].brackets("read")
        signed = [(1.0, first[0])]
        for k, (came, kept) in zip(sides[b].temporal, others, strict=True):
            inside = [j for j in cuts if j > k]
            if nest.loops[k].level >= last - 1 and k not in cuts and not inside:
                continue
            each = [(1.0, came)] + ([(-1.0, kept)] if kept is not None else [])
            signed += each
            if (
                nest.loops[k].level >= last - 1 and k not in cuts
            ):  # unless none of the loops inside advances
                still = [_still(nest, c, tuple(i in inside for i in c.loops)) for c in nest.chains]
                signed += [(-sign, [*factors, *still]) for sign, factors in each]
        found[column] = signed
    return found


def _still(nest: Skeleton, chain: Chain, which: tuple[bool, ...]) -> Factor:
    """1 where these loops of a chain have one trip, else 0."""

    def value(tiles: dict[str, tuple[int, ...]]) -> int:
        return int(
            all(
                n == 1
                for n, take in zip(most_trips(nest, chain, tiles[chain.name]), which, strict=True)
                if take
            )
        )

    return Factor((chain.name,), ("fold", chain.name, "still", which), value)


def _way(nest: Skeleton, chain: Chain, axis: str) -> Factor:
    """Most pieces of a chain along an axis, if sums are added over them."""
    b = next(
        b
        for b in reversed(nest.boundaries)
        if b.tensor == nest.problem.accumulated and b.parent < nest.levels - 1
    )
    loops = [nest.loops[i] for i in chain.loops]
    free = not any(depends(x.dim, b.tensor, nest.fused) for x in loops)
    counted = tuple(free and x.axis == axis and x.level >= b.parent for x in loops)

    def value(tiles: dict[str, tuple[int, ...]]) -> int:
        return prod(
            n
            for n, take in zip(most_trips(nest, chain, tiles[chain.name]), counted, strict=True)
            if take
        )

    return Factor((chain.name,), ("fold", chain.name, "way", counted), value)


def _fold_values(nest: Skeleton, factor: Factor, columns: dict[str, Ints]) -> Floats:
    chain = next(c for c in nest.chains if c.name == factor.chains[0])
    tiles = columns[chain.name]
    if not chain.fused and factor.identity[2] not in ("way", "still"):
        return line_sum(
            nest.problem.size[chain.name],
            tiles,
            "".join(factor.identity[2]),
            "first",
            factor.identity[3],
            False,
        )
    unique, back = np.unique(tiles, axis=0, return_inverse=True)
    found = np.array(
        [factor.value({chain.name: tuple(int(x) for x in t)}) for t in unique], np.float64
    )
    return found[back.reshape(-1)]


# -- cells of a skeleton ---------------------------------------------------------------------------


@dataclass(frozen=True)
class TileBlock:
    """A cell's share of a skeleton: which rows of each family are in it."""

    there: tuple[int, ...]
    final: tuple[bool, ...]
    picks: tuple[Ints, ...]


def every_block(skeleton: Skeleton) -> list[TileBlock]:
    """The cells of a skeleton whatever its tiles: every loop may have one trip or more.  Rows are
    of no use.
    """
    trips = [
        np.array(list(product((1, 2), repeat=len(f.loops))), np.int64).reshape(-1, len(f.loops))
        for f in skeleton.families
    ]
    return blocks(skeleton, [TileRows(t, t, 0, 0) for t in trips])


def blocks(skeleton: Skeleton, listed: Sequence[TileRows]) -> list[TileBlock]:
    """The cells of a skeleton that have a mapping, by what the families' loops of one trip
    leave.
    """
    signatures = [
        _signatures(skeleton, f, r) for f, r in zip(skeleton.families, listed, strict=True)
    ]
    found = []
    for combo in product(*signatures):
        there = tuple(
            sorted(set(range(len(skeleton.loops))) - {s for absent, _, _ in combo for s in absent})
        )
        final = tuple(all(flags[i] for _, flags, _ in combo) for i in range(len(skeleton.keep)))
        found.append(TileBlock(there, final, tuple(index for _, _, index in combo)))
    return found


def _signatures(
    skeleton: Skeleton, family: Chain, listed: TileRows
) -> list[tuple[frozenset[int], tuple[bool, ...], Ints]]:
    """(slots that are no loops, where the family lets sums be final, rows) for each kind of
    choice.
    """
    arch, problem = skeleton.arch, skeleton.problem
    slots = [skeleton.loops[i] for i in family.loops]
    lines = any(
        n.streamed == "systolic" or n.held == "systolic" or n.accumulated == "systolic"
        for n in arch.networks.values()
    )
    absent: list[npt.NDArray[np.bool_]] = []
    fused = [i for i, s in enumerate(slots) if s.dim in FUSED]
    for i, s in enumerate(slots):
        alone = listed.trips[:, i] == 1
        if s.spatial and lines and i not in fused:
            absent.append(alone)
        elif i in fused:
            gone = (listed.trips[:, fused] == 1).all(axis=1)
            absent.append(alone if s.spatial and lines else gone)
        else:
            absent.append(np.zeros(len(alone), bool))
    acc = problem.accumulated
    final = [np.ones(len(listed.trips), bool) for _ in skeleton.keep]
    if arch.bits.psum != getattr(arch.bits, acc):
        for level, unfinished in enumerate(skeleton.unfinished):
            for i, loop in enumerate(family.loops):
                if loop in unfinished:
                    final[level] &= listed.trips[:, i] == 1
    code = np.zeros(len(listed.trips), np.int64)
    for flag in (*absent, *final):
        code = code * 2 + flag
    n, bits = len(slots), len(absent) + len(final)
    found = []
    for c in np.flatnonzero(np.bincount(code)):
        u = [bool(c >> i & 1) for i in reversed(range(bits))]
        found.append(
            (
                frozenset(family.loops[i] for i in range(n) if u[i]),
                tuple(u[n:]),
                np.flatnonzero(code == c),
            )
        )
    return found


__all__ = [
    "Cell",
    "ChoiceGroup",
    "Limit",
    "TileBlock",
    "blocks",
    "every_block",
    "extra_columns",
    "fold_columns",
    "leaves_as_it_came",
    "same_factors",
]
