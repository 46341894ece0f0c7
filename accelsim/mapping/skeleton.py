"""The skeleton of a mapping: loops without tile sizes, and what each level keeps.

A skeleton says which loops there are, at which level and over which axis of the array, and which
tensors every level keeps.  That alone settles what the engines' sums look like: chains, boundaries,
the networks words cross, how a tensor is addressed.  Tiles are numbers put into it.  So

- ``Nest`` is a skeleton and one row of tiles: what an engine runs;
- the fixed rule (``rule``, ``rule_many``) grows the tiles of one skeleton;
- the mapper's models (``engines.analytic.closed_form.ClosedForm``) are made of a skeleton and then
  evaluated for as many ``Tiles`` as one likes.

In a nest every loop makes more than one trip.  In a skeleton whose tiles are open a loop may make
one; what hangs on that is asked of the tiles (``unfinished``, ``LargestTile.pairs``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from math import prod
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from accelsim.hardware.architecture import Architecture, Level, Network, structure
from accelsim.mapping.mapping import FUSED, Axis, Loop, Mapping, MappingError
from accelsim.workload.problem import DEPENDS, DIMS, RANKS, TENSORS, Problem, Slide

Ints = npt.NDArray[np.int64]
V = TypeVar("V")
Keep = tuple[frozenset[str], ...]  # what each level keeps, outermost first


# -- projections -----------------------------------------------------------------------------------
#
# How the loops address one tensor at one level: its ranks, and which of its coordinates are words.
# A *plain* rank is one dimension: the index of the loop is the coordinate.  A *sliding* rank is an
# (output, filter) pair of the ifmap: E and R give its row, F and S its column,
# ``h = U*e + D*r - pad``.  Two things change what a word is from level to level, and both are told
# here and nowhere else:
#
# - stored padding: from the level on that the architecture names, the zeros around an ifmap are
#   words like others, so its coordinates count from the corner of the padding (docs/design.md);
# - (k, x) pairs: under a fused loop a chunk of K = C,R,S and of X = N,E,F is no box of the ifmap,
#   and what is held there are pairs of a k and an x, one word each.
#
# ``Skeleton.projection(tensor, level)`` makes one and keeps it; engines, footprints and pages ask.

# real rows and real columns, each [first, end) in coordinates of the padded ifmap
Window = tuple[tuple[int, int], tuple[int, int]]


class TensorRank(NamedTuple):
    """One rank: its dimension, or the two that slide over it and how they do."""

    dims: tuple[str, ...]
    slide: Slide | None


@dataclass(frozen=True)
class Projection:
    """One tensor at one level; ``level == levels`` is the MAC.

    ``stored_padding`` says that padding zeros are words here, ``pairs`` that words are (k, x)
    pairs.  ``window`` is given where the problem has its padding as words (``Nest.framed``) and
    this level has not: the rows and columns that are words here.
    """

    tensor: str
    level: int
    ranks: tuple[TensorRank, ...]
    stored_padding: bool
    pairs: bool
    window: Window | None

    def slide(self, dims: tuple[str, ...]) -> Slide:
        """The slide of the rank of these two dimensions, ("E", "R") or ("F", "S")."""
        slide = self.ranks[3 if dims[0] == "E" else 4].slide
        assert slide is not None, f"{self.tensor} does not slide over {','.join(dims)}"
        return slide


def project(
    problem: Problem,
    arch: Architecture,
    tensor: str,
    level: int,
    *,
    pairs: bool,
    window: Window | None,
) -> Projection:
    """The projection of a tensor at a level; ``window`` is the real part of a padded problem.

    Padding is stored of an operand only: an ifmap that is accumulated has no word for what falls
    outside it.
    """
    stored = tensor == "ifmap" and problem.accumulated != "ifmap" and arch.stores_padding(level)
    window = None if stored or tensor != "ifmap" else window
    return Projection(tensor, level, _ranks(problem, tensor, stored), stored, pairs, window)


@lru_cache(maxsize=1024)
def _ranks(problem: Problem, tensor: str, padded: bool) -> tuple[TensorRank, ...]:
    slide_of = problem.padded_slide if padded else problem.slide
    return tuple(
        TensorRank(dims, slide_of(dims) if len(dims) == 2 else None) for dims in RANKS[tensor]
    )


# -- loops, chains, boundaries ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """A loop without its tile: over a dimension or a fused one, at a level, over rows, columns or
    none.
    """

    dim: str
    level: int
    axis: Axis

    @property
    def spatial(self) -> bool:
        return self.axis != "none"


@dataclass(frozen=True, slots=True)
class TiledLoop(OpenLoop):
    """A loop with its tile; ``trips`` is the most it makes at any position of the loops outside."""

    tile: int
    trips: int


@dataclass(frozen=True)
class Chain:
    """The loops over one dimension, or over a fused one and its parts: independent of all other
    chains, as no two share a dimension.
    """

    name: str
    parts: tuple[str, ...]
    fused: bool
    loops: tuple[int, ...]  # positions in Skeleton.loops, nest order

    def depends(self, tensor: str) -> bool:
        """Whether a tensor's tile changes with this chain."""
        return any(p in DEPENDS[tensor] for p in self.parts)


@dataclass(frozen=True)
class Boundary:
    """Two consecutive keepers of a tensor; child ``== levels`` is the MAC.

    ``network`` is the one its words cross, None where no wire is modelled; ``kind`` is how that
    carries this tensor.
    """

    tensor: str
    parent: int
    child: int
    network: str | None
    kind: str
    merged: tuple[str, ...]  # axes along which children of one parent share a word
    adds_padding: bool = False  # the child holds padding zeros as words and the parent does not

    def __str__(self) -> str:
        return f"{self.tensor} {self.parent}>{self.child}"


class SlidingRank(NamedTuple):
    """A sliding rank of a largest tile: its two dimensions, their sizes, how one slides over the
    other, and for each the loops that cut it.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, int]
    slide: Slide
    cuts: tuple[tuple[int, ...], tuple[int, ...]]


class LargestTile(NamedTuple):
    """What the largest tile of a tensor at a level is made of, whatever the tiles' sizes.

    Ranks share no dimension, so its words are a product.  No piece of a dimension is longer than
    the tile of the innermost loop outside the level that cuts it, nor a chunk of a fused dimension
    than that of the innermost loop over that: the tiles of the loops ``innermost`` are factors.
    Dimensions that are ``uncut`` are whole, ``whole`` words together.  Of a sliding rank see
    ``footprint.sliding_words``.  All of it is one (k, x) pair where a loop of ``pairs`` makes more
    than one trip.
    """

    pairs: tuple[int, ...]
    innermost: tuple[int, ...]
    uncut: tuple[str, ...]
    whole: int
    sliding: tuple[SlidingRank, ...]


@dataclass(eq=False)
class OpenForm:
    """What skeletons and nests share that differ in tiles and in the architecture's numbers only:
    sweeps and searches make thousands of one form.

    ``projections, largest, above``  as a skeleton keeps them
    ``same``                         a nest's other properties that hang on its form, by name
    ``kept``                         what engines keep with it; nothing in there changes
    ``token``                        equal to none but itself: the key of what is kept elsewhere,
                                     which then does not keep the form
    """

    projections: dict[tuple[str, int], Projection] = field(default_factory=dict)
    largest: dict[tuple[int, str], LargestTile] = field(default_factory=dict)
    above: dict[int, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    same: dict[str, Any] = field(default_factory=dict)
    kept: dict[Hashable, Any] = field(default_factory=dict)
    token: object = field(default_factory=object)

    def once(self, key: Hashable, make: Callable[[], V]) -> V:
        """What is kept by a key, made by whoever asks first."""
        known: V | None = self.kept.get(key)
        if known is None:
            known = self.kept[key] = make()
        return known


class Kept(dict[Hashable, V]):
    """What was worked out of nests and skeletons, by all that it hangs on: at most so many, then
    all are forgotten.  Threads may ask together; one that finds nothing works it out for itself.
    """

    def __init__(self, most: int) -> None:
        self.most = most

    def of(self, key: Hashable, make: Callable[[], V]) -> V:
        """What is kept of a key, or made now."""
        known = self.get(key)
        return self.keep(key, make()) if known is None else known

    def keep(self, key: Hashable, value: V) -> V:
        """Keep this from now on."""
        if len(self) >= self.most:
            self.clear()
        self[key] = value
        return value


TURNED = {"E": "F", "F": "E", "R": "S", "S": "R"}  # rows for columns
FORMS = 1 << 9  # forms kept, the last used
_forms: OrderedDict[Hashable, OpenForm] = OrderedDict()
_forms_lock = Lock()


def _form_of(key: Hashable) -> OpenForm:
    """The one form of a key."""
    with _forms_lock:
        form = _forms.get(key)
        if form is None:
            form = _forms[key] = OpenForm()
            if len(_forms) > FORMS:
                _forms.popitem(last=False)
        else:
            _forms.move_to_end(key)
        return form


# Properties that hang on a skeleton's loops, its problem and its machine's structure alone.
OF_LOOPS = "chains", "chain_of", "families", "homes", "boundaries", "unfinished", "turned"


class Skeleton:
    """Loops in nest order and what each level keeps, of one problem on one architecture.

    ``final`` says at which levels sums need no further addition, where the caller knows (the
    mapper splits a space by it); else every loop is taken to make more than one trip.  Nothing of
    a skeleton changes once it is made.
    """

    loops: Sequence[OpenLoop]

    def __init__(
        self,
        problem: Problem,
        arch: Architecture,
        keep: Keep,
        loops: Sequence[OpenLoop],
        fused: Map[str, tuple[str, ...]] = FUSED,
        final: tuple[bool, ...] | None = None,
    ) -> None:
        self.problem, self.arch, self.keep = problem, arch, keep
        self.loops, self.fused = tuple(loops), fused
        self.levels = len(keep)
        self._final = final
        self._projections: dict[tuple[str, int], Projection] = {}
        self._largest: dict[tuple[int, str], LargestTile] = {}
        self._loops_above: dict[int, dict[str, tuple[int, ...]]] = {}

    def share(self) -> Skeleton:
        """The same with what others of its form know, for skeletons that are made again and
        again.
        """
        form = self.form
        self._projections, self._largest, self._loops_above = (
            form.projections, form.largest, form.above,
        )  # fmt: skip
        self.__dict__.update(form.same)
        return self

    def part(self, loops: Sequence[int], final: tuple[bool, ...] | None = None) -> Skeleton:
        """The skeleton of some of the loops: the others make one trip."""
        return Skeleton(
            self.problem, self.arch, self.keep, [self.loops[i] for i in loops], self.fused, final
        )

    def on(self, arch: Architecture, final: tuple[bool, ...] | None = None) -> Skeleton:
        """The same on another machine of its structure, with sums final at other levels; what it
        knows of its loops, the other one knows.
        """
        other = Skeleton(self.problem, arch, self.keep, self.loops, self.fused, final)
        other._projections, other._largest, other._loops_above = (
            self._projections, self._largest, self._loops_above,
        )  # fmt: skip
        known = self.__dict__
        other.__dict__.update({name: known[name] for name in OF_LOOPS if name in known})
        return other

    @cached_property
    def form(self) -> OpenForm:
        """What it has in common with all that differ from it in tiles and numbers of the machine
        only.
        """
        return self._form(tuple([(x.dim, x.level, x.axis) for x in self.loops]))

    def _form(self, loops: tuple[tuple[str, int, str], ...]) -> OpenForm:
        """The form of these loops on the same problem and structure."""
        fused, kind = tuple(self.fused.items()), structure(self.arch)
        return _form_of((self.problem, kind, loops, self.keep, fused, self.window, self._final))

    @property
    def either_way(self) -> object:
        """The token of its form, or of the form that has E for F and F for E: one for both where
        the two differ by name only, so that what counts words and cycles is the same for both.

        So it is of a pointwise layer on a square: rows and columns are as many and as far apart,
        every output has a word of its own, and none is padding.  With taps a chunk of fused
        dimensions has other words when its parts are turned about.
        """
        return self.form.once("either way", self._either_way)

    def _either_way(self) -> object:
        token = self.form.token
        if not self.problem.rows_are_columns or self.window is not None:
            return token
        loops = tuple([(x.dim, x.level, x.axis) for x in self.loops])
        turned = tuple([(TURNED.get(d, d), level, axis) for d, level, axis in loops])
        return token if loops <= turned else self._form(turned).token

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles look their form up anew."""
        return {name: value for name, value in self.__dict__.items() if name != "form"}

    # -- chains ------------------------------------------------------------------------------------

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """One chain per plain dimension, looped or not, and one per fused dimension in use."""
        of_dim: dict[str, list[int]] = {}
        for i, loop in enumerate(self.loops):
            of_dim.setdefault(loop.dim, []).append(i)
        used = sorted(of_dim.keys() - set(DIMS))
        inside = {p for name in used for p in self.fused[name]}
        chains = [
            Chain(dim, (dim,), False, tuple(of_dim.get(dim, ())))
            for dim in DIMS
            if dim not in inside
        ]
        for name in used:
            parts = self.fused[name]
            loops = sorted(i for d in (*parts, name) for i in of_dim.get(d, ()))
            chains.append(Chain(name, parts, True, tuple(loops)))
        return tuple(chains)

    @cached_property
    def chain_of(self) -> dict[str, Chain]:
        """The chain that cuts each dimension."""
        return {p: c for c in self.chains for p in c.parts}

    @cached_property
    def families(self) -> tuple[Chain, ...]:
        """The chains that have loops: their tiles are chosen together, apart from all others."""
        return tuple(c for c in self.chains if c.loops)

    def loop_depends(self, loop: OpenLoop, tensor: str) -> bool:
        """Whether a tensor's tile changes when a loop advances."""
        return depends(loop.dim, tensor, self.fused)

    # -- who keeps what ----------------------------------------------------------------------------

    def keepers(self, tensor: str) -> list[int]:
        """Levels that keep a tensor, outermost first."""
        return [i for i, kept in enumerate(self.keep) if tensor in kept]

    @cached_property
    def homes(self) -> dict[str, int]:
        """The outermost level that keeps each tensor: all of it, from before the first step until
        after the last.
        """
        return {t: next((i for i, kept in enumerate(self.keep) if t in kept), 0) for t in TENSORS}

    def home(self, tensor: str) -> int:
        """The outermost level that keeps a tensor."""
        return self.homes[tensor]

    @cached_property
    def bounded(self) -> list[tuple[int, str, Level, list[str]]]:
        """Levels that can overflow: number, name, and the tensors they keep."""
        return [
            (i, name, level, [t for t in TENSORS if t in self.keep[i]])
            for i, (name, level) in enumerate(self.arch.levels.items())
            if level.capacity_bytes is not None or level.partitions
        ]

    # -- boundaries --------------------------------------------------------------------------------

    @cached_property
    def boundaries(self) -> tuple[Boundary, ...]:
        """Every boundary, tensor by tensor, outermost first; the last of each tensor is its
        MAC's.  Raises MappingError where a tensor would have no line to travel.
        """
        boundaries = []
        for tensor in TENSORS:
            chain = [*self.keepers(tensor), self.levels]
            boundaries += [self._boundary(tensor, p, c) for p, c in pairwise(chain)]
        return tuple(boundaries)

    def _boundary(self, tensor: str, parent: int, child: int) -> Boundary:
        name, net = self.network_between(parent, child)
        if tensor == self.problem.accumulated:
            kind: str = net.accumulated
        else:
            kind = net.held if tensor in self.keep[-1] else net.streamed
        adds = tensor == "ifmap" and (
            self.projection(tensor, child).stored_padding
            and not self.projection(tensor, parent).stored_padding
        )
        merged = self._merged(tensor, parent, child, kind)
        return Boundary(tensor, parent, child, name, kind, merged, adds)

    def network_between(self, parent: int, child: int) -> tuple[str | None, Network]:
        """The network that words cross from a keeper to the next: the one just outside the child.

        The MAC's is the innermost if its parent is inside the PEs; else the one that enters them.
        """
        last = self.levels - 1
        if child <= last:
            return self.arch.network_below(child - 1)
        return self.arch.network_below(last if parent == last else max(last - 1, 0))

    def _merged(self, tensor: str, parent: int, child: int, kind: str) -> tuple[str, ...]:
        """Axes along which a word is one for all children: both where the network fans out, the
        one without a loop that the tensor depends on where it is of systolic lines.
        """
        if kind in ("multicast", "reduce", "chain", "neighbour"):
            return ("row", "col")
        if kind in ("unicast", "preload"):
            return ()
        across: dict[str, bool] = {}  # axis with loops -> does the tensor depend on them
        cut: set[str] = set()  # axes along which it has more than one word
        for loop in self.loops:
            if loop.spatial and parent <= loop.level < child:
                needs = self.loop_depends(loop, tensor)
                across[loop.axis] = across.get(loop.axis, False) or needs
                if needs and self._length(loop.dim) > 1:
                    cut.add(loop.axis)
        free = [a for a in ("col", "row") if not across.get(a, False)]
        if not free and tensor != self.problem.accumulated:
            # A dimension that the layer has once (groups of a dense one) cuts nothing.
            free = [a for a in ("col", "row") if a not in cut]
            if not free:
                raise MappingError(
                    f"{tensor} is streamed over systolic lines but depends on the loops of both"
                    " rows and columns; it has no line to travel"
                )
        with_loops = [a for a in free if a in across]
        return tuple((with_loops or free)[:1])

    def _length(self, dim: str) -> int:
        """How long a dimension is, a fused one as all of its parts."""
        return prod([self.problem.size[p] for p in self.fused.get(dim, (dim,))])

    @cached_property
    def turned(self) -> bool:
        """Whether sums travel along the rows of a systolic array that holds an operand: rows and
        columns then change roles (docs/design.md, section 5).
        """
        acc, held = self.problem.accumulated, self.keep[-1]
        if not self.arch.systolic or acc in held:
            return False
        streamed = [t for t in self.problem.operands if t not in held]

        def free(tensor: str, axis: str) -> bool:
            return not any(x.axis == axis and self.loop_depends(x, tensor) for x in self.loops)

        natural = free(acc, "row") and all(free(t, "col") for t in streamed)
        return not natural and free(acc, "col") and all(free(t, "row") for t in streamed)

    # -- words -------------------------------------------------------------------------------------

    window: Window | None = None  # of a nest framed by its padding: the real rows and columns

    def projection(self, tensor: str, level: int) -> Projection:
        """How the loops address a tensor at a level; ``levels`` is the MAC."""
        projection = self._projections.get((tensor, level))
        if projection is None:
            pairs = level > self.homes[tensor] and bool(self._pair_loops(tensor, level))
            projection = self._projections[tensor, level] = project(
                self.problem, self.arch, tensor, level, pairs=pairs, window=self.window
            )
        return projection

    def _pair_loops(self, tensor: str, level: int) -> tuple[int, ...]:
        """The loops that make a tensor's words (k, x) pairs at a level: fused ones, of an ifmap."""
        if tensor != "ifmap":
            return ()
        return tuple([i for i, x in enumerate(self.loops) if x.dim not in DIMS and x.level < level])

    @cached_property
    def unfinished(self) -> tuple[tuple[int, ...], ...]:
        """By level, the loops that leave the sums arriving there unfinished, if they make more
        than one trip.

        A sum is final there, and has ofmap width from there on, if every loop that reduces stands
        inside the next keeper, or is spatial and added on the way.
        """
        return tuple([self._unfinished(level) for level in range(self.levels)])

    def _unfinished(self, level: int) -> tuple[int, ...]:
        acc = self.problem.accumulated
        child = next((i for i in range(level + 1, self.levels) if acc in self.keep[i]), self.levels)
        adds = self.network_between(level, child)[1].accumulated != "unicast"
        return tuple(
            [
                i
                for i, x in enumerate(self.loops)
                if x.level < child
                and not (adds and x.spatial and x.level >= level)
                and not self.loop_depends(x, acc)
            ]
        )

    @cached_property
    def final(self) -> tuple[bool, ...]:
        """By level, whether sums arriving there need no further addition."""
        if self._final is not None:
            return self._final
        return tuple([not loops for loops in self.unfinished])

    def word_bits(self, level: int, tensor: str) -> int:
        """Width of a tensor's words at a level, in bits: sums have the psum's until they are
        final.
        """
        bits = self.arch.bits
        if tensor == self.problem.accumulated and not self.final[level]:
            return bits.psum
        return int(getattr(bits, tensor))

    def largest_tile(self, level: int, tensor: str) -> LargestTile:
        """What the largest tile of a tensor at a level is made of: all of the tensor at its
        home.
        """
        largest = self._largest.get((level, tensor))
        if largest is None:
            largest = self._largest[level, tensor] = self._largest_tile(level, tensor)
        return largest

    def _largest_tile(self, level: int, tensor: str) -> LargestTile:
        above = self._above(0 if level == self.homes[tensor] else level)
        size = self.problem.size
        pairs, innermost, done = list[int](), list[int](), set[str]()
        for name in self._fused_names:
            if name in above and tensor == "ifmap":
                pairs += above[name]
            elif name in above and depends(name, tensor, self.fused):
                innermost.append(above[name][-1])
                done.update(self.fused[name])
        uncut, sliding = list[str](), list[SlidingRank]()
        for dims in RANKS[tensor]:
            d = dims[0]
            if len(dims) == 2:
                slide = self.projection(tensor, level).slide(dims)
                cuts = above.get(d, ()), above.get(dims[1], ())
                sliding.append(SlidingRank(dims, (size[d], size[dims[1]]), slide, cuts))
            elif d in above and d not in done:
                innermost.append(above[d][-1])
            elif d not in done:
                uncut.append(d)
        whole = prod([size[d] for d in uncut])
        return LargestTile(tuple(pairs), tuple(innermost), tuple(uncut), whole, tuple(sliding))

    @cached_property
    def _fused_names(self) -> list[str]:
        """The fused dimensions that have loops."""
        return [c.name for c in self.chains if c.fused]

    def _above(self, level: int) -> dict[str, tuple[int, ...]]:
        """The loops outside a level, by dimension."""
        above = self._loops_above.get(level)
        if above is None:
            above = self._loops_above[level] = {}
            for i, x in enumerate(self.loops):
                if x.level < level:
                    above[x.dim] = (*above[x.dim], i) if x.dim in above else (i,)
        return above

    # -- tiles -------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises MappingError where a dimension longer than one is looped nowhere."""
        for d, n in self.problem.size.items():
            if n > 1 and not self.chain_of[d].loops:
                raise MappingError(f"{d} is looped nowhere, and the layer has {d}={n}")

    def mapping_with(self, tiles: Sequence[int]) -> Mapping:
        """The mapping of a tile for each loop; loops of one trip are left out, and with them the
        fused dimensions that no loop is left of.
        """
        trips = [1] * len(self.loops)
        for chain in self.families:
            own = most_trips(self, chain, [int(tiles[i]) for i in chain.loops])
            for i, n in zip(chain.loops, own, strict=True):
                trips[i] = n
        used = {x.dim for x, n in zip(self.loops, trips, strict=True) if n > 1}
        return self._mapping(tiles, trips, used)

    def _mapping(self, tiles: Sequence[int], trips: Sequence[int], used: set[str]) -> Mapping:
        names = self.arch.level_names
        loops = [
            _loop(x.dim, int(tile), names[x.level], x.axis)
            for x, tile, n in zip(self.loops, tiles, trips, strict=True)
            if n > 1
        ]
        keep = {n: tuple(t for t in TENSORS if t in self.keep[i]) for i, n in enumerate(names)}
        fused = {name: parts for name, parts in self.fused.items() if name in used}
        return Mapping.model_validate({"loops": tuple(loops), "keep": keep, "fused": fused})

    def mapping_with_trips(self, tiles: Sequence[int], trips: Sequence[int]) -> Mapping:
        """The mapping of tiles whose trips are known; it names every fused dimension of the
        skeleton, as the fixed rule's mappings do whatever the layer.
        """
        return self._mapping(tiles, trips, {x.dim for x in self.loops})


@lru_cache(maxsize=1 << 13)
def _loop(dim: str, tile: int, level: str, axis: Axis) -> Loop:
    """A loop of a mapping; the same for all who want it, as it is frozen."""
    return Loop.model_validate({"dim": dim, "tile": tile, "level": level, "axis": axis})


@dataclass(frozen=True)
class Tiles:
    """Many choices of tiles of one skeleton.

    ``rows`` [mappings, loops] are words of each loop's tile, ``trips`` [mappings, loops] the most
    it makes.
    """

    skeleton: Skeleton
    rows: Ints
    trips: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def mapping(self, at: int) -> Mapping:
        """The mapping of one row, loops of one trip left out."""
        return self.skeleton.mapping_with_trips(self.rows[at].tolist(), self.trips[at].tolist())


def most_trips(
    skeleton: Skeleton, chain: Chain, tiles: Sequence[Any], least: Any = min
) -> list[Any]:
    """Most trips of a chain's loops under these tiles, one an entry of ``chain.loops``.

    Tiles are whole numbers, or arrays [mappings] with ``least=np.minimum``.
    """
    size = skeleton.problem.size
    ranges: dict[str, Any] = {p: size[p] for p in chain.parts}  # what enters the next loop
    trips = []
    for i, tile in zip(chain.loops, tiles, strict=True):
        dim = skeleton.loops[i].dim
        if dim not in ranges:  # the first loop over a fused dimension: all that its parts left
            ranges[dim] = prod([ranges[p] for p in chain.parts])
        trips.append(-(-ranges[dim] // tile))
        ranges[dim] = least(ranges[dim], tile)
    return trips


def depends(dim: str, tensor: str, fused: Map[str, tuple[str, ...]]) -> bool:
    """Whether a tensor depends on a dimension, or on any part of a fused one."""
    of = DEPENDS[tensor]
    return dim in of if dim in DIMS else any(p in of for p in fused[dim])


__all__ = [
    "Boundary",
    "Chain",
    "Keep",
    "Kept",
    "LargestTile",
    "OpenForm",
    "OpenLoop",
    "Skeleton",
    "SlidingRank",
    "TiledLoop",
    "Tiles",
    "depends",
    "most_trips",
]
