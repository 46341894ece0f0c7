"""The oracle: data movement counted with Python sets, one temporal step at a time.

Slow and obvious on purpose, and independent: it imports nothing of accelsim. "Rule n" below is
rule n of section 4 (Counting) of the design. Nothing here is a formula: every count is the length
of a set that was built word by word.

    count(problem, nest) -> {'counts', 'networks', 'primitives', 'macs'}
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import prod

DIMENSIONS = ("N", "G", "M", "C", "E", "F", "R", "S")
TENSORS = ("weight", "ifmap", "ofmap")
DEPENDS = {"weight": "GMCRS", "ifmap": "NGCEFRS", "ofmap": "NGMEF"}
ACCUMULATED = {"forward": "ofmap", "grad_weight": "weight", "grad_input": "ifmap"}
OPERAND_KINDS = ("multicast", "systolic", "unicast", "preload", "neighbour")
ACCUMULATED_KINDS = ("reduce", "systolic", "unicast")
NOTHING = frozenset()


@dataclass(frozen=True)
class Problem:
    N: int
    G: int
    M: int
    C: int
    E: int
    F: int
    R: int
    S: int
    H: int
    W: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    direction: str = "forward"


@dataclass(frozen=True)
class Nest:
    loops: tuple  # of (dim, tile, level_index, axis), outermost first
    levels: int  # storage levels; the MAC is inside the last one
    keep: tuple  # per level a frozenset of tensor names
    fused: dict = field(default_factory=dict)  # name -> parts, slowest first
    networks: tuple = ()  # per level {'held': kind, 'streamed': kind, 'accumulated': kind}
    in_array: bool = False
    first_read: int | None = None
    padding_from: int | None = None


# ------------------------------------------------------------------ rules 1 to 3: the tiles


class Space:
    """Loops, pieces, instances, steps and tiles. The MAC is written as level `nest.levels`."""

    def __init__(self, problem: Problem, nest: Nest):
        self.problem, self.nest, self.mac = problem, nest, nest.levels
        if problem.direction not in ACCUMULATED:
            raise ValueError(f"unknown direction {problem.direction!r}")
        if set().union(*nest.keep) != set(TENSORS) or len(nest.keep) != nest.levels:
            raise ValueError("keep needs one set per level, and some level for every tensor")
        if nest.padding_from is not None and nest.padding_from < 1:
            raise ValueError("padding is not stored at the outermost level")
        self.accumulated = ACCUMULATED[problem.direction]
        self._find_loops()
        self._find_groups()
        self.temporal = [i for i, loop in enumerate(self.loops) if loop[3] == "none"]
        self.spatial = [i for i, loop in enumerate(self.loops) if loop[3] != "none"]
        self._pieces, self._words = {}, {}
        for tensor in TENSORS:
            self._check_fused_is_legal(tensor)

    # Rule 1: loops. Those of one trip do not exist.
    def _find_loops(self):
        nest = self.nest
        size = {d: getattr(self.problem, d) for d in DIMENSIONS}  # the largest current range
        self.loops, self.trips, closed, last_level = [], [], set(), 0
        for dim, tile, level, axis in nest.loops:
            if dim not in nest.fused and dim not in DIMENSIONS:
                raise ValueError(f"unknown dimension {dim!r}")
            if axis not in ("none", "row", "col") or tile < 1:
                raise ValueError(f"bad loop {(dim, tile, level, axis)}")
            if not last_level <= level < nest.levels:
                raise ValueError("loops are ordered by level, outermost first")
            last_level = level
            parts = nest.fused.get(dim, (dim,))
            current = size[dim] if dim in size else prod(size[p] for p in parts)
            trips = -(-current // tile)
            if trips <= 1:
                continue
            if dim in closed or (dim in nest.fused and dim not in size and closed & set(parts)):
                raise ValueError(f"{dim} is looped inside a fused loop that contains it")
            if dim in nest.fused:
                closed |= set(parts)
            size[dim] = min(current, tile)
            self.loops.append((dim, tile, level, axis))
            self.trips.append(trips)

    # A group is a dimension or, below a fused loop, the fused dimension's parts together.
    def _find_groups(self):
        self.groups, self.above, self.of, self.not_of = [], [], [], []  # each indexed by level
        for level in range(self.mac + 1):
            over = [i for i, loop in enumerate(self.loops) if loop[2] < level]
            fused = {self.loops[i][0] for i in over} - set(DIMENSIONS)
            groups = [self.parts(name) for name in sorted(fused)]
            groups += [(d,) for d in DIMENSIONS if not any(d in parts for parts in groups)]
            of = {
                t: [g for g, parts in enumerate(groups) if set(parts) & set(DEPENDS[t])]
                for t in TENSORS
            }
            self.groups.append(groups)
            self.above.append(
                [
                    [i for i in over if set(self.parts(self.loops[i][0])) <= set(parts)]
                    for parts in groups
                ]
            )
            self.of.append(of)
            self.not_of.append(
                {t: [g for g in range(len(groups)) if g not in of[t]] for t in TENSORS}
            )
        for group, parts in enumerate(self.groups[self.mac]):
            if len(self.piece(group, self.mac, [0] * len(self.loops))) > 1:
                raise ValueError(f"the nest does not cut {'·'.join(parts)} down to one MAC")

    def parts(self, dim):
        return tuple(self.nest.fused.get(dim, (dim,)))

    def depends(self, tensor, dim):
        return any(part in DEPENDS[tensor] for part in self.parts(dim))

    # Rule 1: pieces. Slicing gives short last pieces, short pieces cut again, and empty ones.
    def piece(self, group, level, setting):
        """The points of a group (tuples, one value per part) left by the loops above `level`."""
        parts = self.groups[level][group]
        ranges = {p: range(getattr(self.problem, p)) for p in parts}
        points = None
        for i in self.above[level][group]:
            dim, tile, _, _ = self.loops[i]
            cut = slice(setting[i] * tile, (setting[i] + 1) * tile)
            if dim in ranges:
                ranges[dim] = ranges[dim][cut]
            else:  # fused: a linear index over the parts' current ranges, first part slowest
                if points is None:
                    points = tuple(product(*(ranges[p] for p in parts)))
                points = points[cut]
        return tuple(product(*(ranges[p] for p in parts))) if points is None else points

    def pieces(self, level, setting):
        result = []
        for group in range(len(self.groups[level])):
            key = (group, level, *[setting[i] for i in self.above[level][group]])
            if key not in self._pieces:
                self._pieces[key] = self.piece(group, level, setting)
            result.append(self._pieces[key])
        return result

    # An instance of a level is a setting of all spatial loops above it, in nest order;
    # so an instance of the parent is the beginning of its child's.
    def spatial_above(self, level):
        return [i for i in self.spatial if self.loops[i][2] < level]

    def temporal_above(self, level):
        return [i for i in self.temporal if self.loops[i][2] < level]

    def instances(self, level):
        return list(product(*(range(self.trips[i]) for i in self.spatial_above(level))))

    def setting(self, step, instance):
        """One trip for every loop (0 where an instance of an outer level says nothing)."""
        setting = self.replaced([0] * len(self.loops), self.temporal, step)
        return self.replaced(setting, self.spatial, instance)

    @staticmethod
    def replaced(setting, loops, trips):
        setting = list(setting)
        for i, trip in zip(loops, trips, strict=False):
            setting[i] = trip
        return setting

    # Rule 3: the lockstep grid. A setting of the temporal loops is a step if, for each dimension
    # separately, some spatial position has a piece.
    def steps(self):
        known = {}
        for step in product(*(range(self.trips[i]) for i in self.temporal)):
            setting = self.setting(step, ())
            if all(self._somewhere(g, setting, known) for g in range(len(self.groups[self.mac]))):
                yield step

    def _somewhere(self, group, setting, known):
        mine = self.above[self.mac][group]
        key = (group, *[setting[i] for i in mine])
        if key not in known:
            spatial = [i for i in mine if i in self.spatial]
            known[key] = any(
                self.piece(group, self.mac, self.replaced(setting, spatial, position))
                for position in product(*(range(self.trips[i]) for i in spatial))
            )
        return known[key]

    # Rules 2 and 3: the tile of one instance at one step.
    def tile(self, tensor, level, setting, pieces):
        """The tensor's words under all loops inside `level`, or None: the tile stands still."""
        if any(not pieces[g] for g in self.not_of[level][tensor]):
            return None  # idle through a dimension T does not depend on (whatever else it lacks)
        of = self.of[level][tensor]
        if any(not pieces[g] for g in of):
            return NOTHING  # idle through one of T's own
        key = (tensor, level, *[setting[i] for g in of for i in self.above[level][g]])
        if key not in self._words:
            words = self._touched(tensor, level, [pieces[g] for g in of])
            if not self.padding_exists(tensor, level):
                words = frozenset(w for w in words if self.real(tensor, w))
            self._words[key] = words
        return self._words[key]

    def _touched(self, tensor, level, pieces):
        names = [part for g in self.of[level][tensor] for part in self.groups[level][g]]
        paired = self.paired(tensor, level)
        words = set()
        for point in product(*pieces):
            at = dict(zip(names, sum(point, ()), strict=True))
            if tensor == "weight":
                words.add((at["G"], at["M"], at["C"], at["R"], at["S"]))
            elif tensor == "ofmap":
                words.add((at["N"], at["G"], at["M"], at["E"], at["F"]))
            else:
                pair = tuple(at[d] for d in DEPENDS["ifmap"])
                words.add(pair if paired else self.unpaired(pair))
        if paired and level < self.mac and len(words) > 1:
            raise ValueError(f"level {level} keeps ifmap below a fused loop: one word only")
        return frozenset(words)

    # Under a fused loop each (k, x) pair of the ifmap is its own word; above it words are real.
    def paired(self, tensor, level):
        return (
            tensor == "ifmap"
            and level > self.home(tensor)
            and any(
                dim in self.nest.fused and at < level and self.depends(tensor, dim)
                for dim, _, at, _ in self.loops
            )
        )

    # The outermost level that keeps a tensor holds all of it, always.
    def home(self, tensor):
        return next(level for level in range(self.mac) if tensor in self.nest.keep[level])

    def unpaired(self, word):
        """The ifmap's word (n, g, c, h, w) of a pair (n, g, c, e, f, r, s); others unchanged."""
        if len(word) != 7:
            return word
        n, g, c, e, f, r, s = word
        p = self.problem
        return (
            n,
            g,
            c,
            p.stride_h * e + p.dilation_h * r - p.pad_top,
            p.stride_w * f + p.dilation_w * s - p.pad_left,
        )

    def real(self, tensor, word):
        if tensor != "ifmap":
            return True
        h, w = self.unpaired(word)[3:]
        return 0 <= h < self.problem.H and 0 <= w < self.problem.W

    # Rule 2: stored padding, from that level inward; operands only.
    def padding_exists(self, tensor, level):
        return (
            self.nest.padding_from is not None
            and level >= self.nest.padding_from
            and tensor != self.accumulated
        )

    # Section 3: in storage below a fused loop weight and ofmap must not depend on it or be
    # injective in it. (The ifmap's case is checked on its tiles, in _touched.)
    def _check_fused_is_legal(self, tensor):
        for dim, _, at, _ in self.loops:
            some = [part in DEPENDS[tensor] for part in self.parts(dim)]
            kept = any(tensor in keep for keep in self.nest.keep[max(at, self.home(tensor)) + 1 :])
            if tensor != "ifmap" and kept and any(some) and not all(some):
                raise ValueError(f"{tensor} is kept below {dim}, in which it is not injective")


# ------------------------------------------------------------------ rules 2, 4, 5: the boundaries


class Boundary:
    """Rule 2: two consecutive levels that keep T, or the innermost that keeps it and the MAC."""

    def __init__(self, space: Space, tensor, parent, child):
        self.space, self.tensor, self.parent, self.child = space, tensor, parent, child
        nest, last = space.nest, space.nest.levels - 1
        if child != space.mac:
            self.network = child - 1
        else:
            self.network = last if parent == last else last - 1
        if tensor == space.accumulated:
            self.role = "accumulated"
        else:
            self.role = "held" if tensor in nest.keep[last] else "streamed"
        self.kind = nest.networks[self.network][self.role]
        known = ACCUMULATED_KINDS if self.role == "accumulated" else OPERAND_KINDS
        if self.kind not in known:
            raise ValueError(f"network {self.network}: {self.role} cannot be {self.kind!r}")
        self.parent_digits = len(space.spatial_above(parent))
        self.told_apart = self._told_apart()
        self.instances = space.instances(child)
        self.count = dict.fromkeys(
            ("child_in", "parent_reads", "drains", "arrivals", "entries", "update_reads"), 0
        )

    # Rules 4 and 5: who shares. Two children's equal words of one step merge when the children
    # agree on the digits (spatial loops) told apart here.
    def _told_apart(self):
        digits = self.space.spatial_above(self.child)
        in_parent = list(range(self.parent_digits))
        between = list(range(self.parent_digits, len(digits)))
        if self.kind in ("multicast", "neighbour", "reduce"):
            return in_parent  # all children of one parent instance share
        if self.kind in ("unicast", "preload"):
            return in_parent + between  # nobody shares
        axis_of = {d: self.space.loops[digits[d]][3] for d in between}
        uses = {
            axis_of[d]
            for d in between
            if self.space.depends(self.tensor, self.space.loops[digits[d]][0])
        }
        has = set(axis_of.values())
        if uses == {"row", "col"}:
            if self.role == "streamed":
                raise ValueError(f"streamed {self.tensor} depends on both axes of the array")
            return in_parent + between
        line = "row" if uses == {"col"} or (not uses and has == {"row"}) else "col"
        return in_parent + [d for d in between if axis_of[d] != line]

    def merge(self, words_of):
        """Unions of the children's words over those who share: {key: words}; a key begins with
        the parent's instance."""
        merged = defaultdict(set)
        for instance, words in words_of.items():
            merged[tuple(instance[d] for d in self.told_apart)] |= words
        return merged

    # Rule 4: what the parent reads to serve one step.
    def service(self, now, before):
        """`now`, `before`: the tile of every child instance at this step and at its previous one
        (equal where it stands still)."""
        if self.kind == "neighbour":
            new, old = self.merge(now), self.merge(before)
            sent = [new[key] - old[key] for key in new]
        else:
            sent = self.merge({i: now[i] - before[i] for i in now}).values()
        if not self.space.padding_exists(self.tensor, self.parent):  # rule 2: never above it
            sent = [[w for w in words if self.space.real(self.tensor, w)] for words in sent]
        return sum(len(words) for words in sent)


def boundaries_of(space: Space, tensor):
    """Outermost first; the last one ends at the MAC."""
    keepers = [level for level in range(space.mac) if tensor in space.nest.keep[level]]
    return [
        Boundary(space, tensor, parent, child) for parent, child in pairwise([*keepers, space.mac])
    ]


# ------------------------------------------------------------------ rules 4 to 7: the walk


class Walk:
    def __init__(self, problem: Problem, nest: Nest):
        self.space = space = Space(problem, nest)
        self.nest, self.macs = nest, 0
        self.boundaries = {t: boundaries_of(space, t) for t in TENSORS}
        # what each child instance holds of each tensor: its tile at its own previous step (rule 3)
        self.held = {
            (b.tensor, b.child): dict.fromkeys(b.instances, NOTHING)
            for t in TENSORS
            for b in self.boundaries[t]
        }
        # the accumulated tensor: words in each instance's tile that nothing has arrived for yet
        self.fresh = {
            b.parent: {i: set() for i in space.instances(b.parent)}
            for b in self.boundaries[space.accumulated]
        }
        self.entered = dict.fromkeys(self.fresh, 0)

    def run(self):
        space, accumulated = self.space, self.space.accumulated
        outputs = self.boundaries[accumulated]
        operands = [b for t in TENSORS if t != accumulated for b in self.boundaries[t]]
        # Rule 6, at home (mostly the outermost): its tile is there from the start; each word is
        # fresh once, ever.
        setting = space.setting((), ())
        everything = space.tile(accumulated, 0, setting, space.pieces(0, setting))
        self.enter(space.home(accumulated), (), everything or NOTHING)
        previous = None
        for step in space.steps():
            begins = [self.begins(level, step, previous) for level in range(space.mac + 1)]
            # innermost first: a child drains before its parent's own tile changes
            for boundary in reversed(outputs):
                if boundary.child != space.mac and begins[boundary.child]:
                    self.step_accumulated(boundary, step)
            for boundary in operands:
                if boundary.child != space.mac and begins[boundary.child]:
                    self.step_operand(boundary, step)
            self.step_mac(step)
            previous = step
        # Rule 5: the whole tile at the end, innermost level first.
        for boundary in reversed(outputs):
            if boundary.child != space.mac:
                self.drain(boundary, self.held[accumulated, boundary.child])
        for boundary in outputs:
            boundary.count["entries"] = self.entered[boundary.parent]
        return self.result()

    # Rule 3: a level steps when a temporal loop above it does.
    def begins(self, level, step, previous):
        outer = len(self.space.temporal_above(level))
        return previous is None or step[:outer] != previous[:outer]

    def change_tiles(self, boundary, step):
        """Rule 3, one step of every child instance: (tiles now, tiles before)."""
        space = self.space
        before = self.held[boundary.tensor, boundary.child]
        now = {}
        self.stepped = []
        for instance in boundary.instances:
            setting = space.setting(step, instance)
            pieces = space.pieces(boundary.child, setting)
            tile = space.tile(boundary.tensor, boundary.child, setting, pieces)
            now[instance] = before[instance] if tile is None else tile
            if tile is not None:
                self.stepped.append(instance)
        self.held[boundary.tensor, boundary.child] = now
        return now, before

    # Rule 4: operands.
    def step_operand(self, boundary, step):
        now, before = self.change_tiles(boundary, step)
        boundary.count["child_in"] += sum(len(now[i] - before[i]) for i in now)
        took = self.stepped  # an instance that stands still passes nothing on to its neighbours
        boundary.count["parent_reads"] += boundary.service(
            {i: now[i] for i in took}, {i: before[i] for i in took}
        )

    # Rule 5: the accumulated tensor.
    def step_accumulated(self, boundary, step):
        now, before = self.change_tiles(boundary, step)
        self.drain(boundary, {i: before[i] - now[i] for i in now})
        for instance in now:
            new = now[instance] - before[instance]
            boundary.count["child_in"] += len(new)
            self.enter(boundary.child, instance, new)

    # Rule 5: out travels up; what shares merges on the way.
    def drain(self, boundary, out):
        boundary.count["drains"] += sum(len(words) for words in out.values())
        for key, words in boundary.merge(out).items():
            self.arrive(boundary, key[: boundary.parent_digits], words)

    # Rule 6: P writes what arrives, and reads as much, less first arrivals.
    def arrive(self, boundary, instance, words):
        fresh = self.fresh[boundary.parent][instance]
        parent_is_paired = self.space.paired(boundary.tensor, boundary.parent)
        for word in words:
            boundary.count["arrivals"] += 1
            name = word if parent_is_paired else self.space.unpaired(word)
            first = name in fresh
            fresh.discard(name)
            if not first or self.nest.first_read == boundary.parent:
                boundary.count["update_reads"] += 1

    # Rule 6: every residency starts from zero at every level.
    def enter(self, level, instance, words):
        self.fresh[level][instance] |= words
        self.entered[level] += len(words)

    # Rule 7: the MAC, a child without memory.
    def step_mac(self, step):
        space = self.space
        took = {tensor: {} for tensor in TENSORS}
        for position in self.boundaries[space.accumulated][-1].instances:
            setting = space.setting(step, position)
            pieces = space.pieces(space.mac, setting)
            if all(pieces):  # otherwise there is no MAC at this position in this step
                self.macs += 1
                for tensor in TENSORS:  # on padding: no word of the ifmap, unless it is stored
                    took[tensor][position] = space.tile(tensor, space.mac, setting, pieces)
        for tensor in TENSORS:
            boundary, words_of = self.boundaries[tensor][-1], took[tensor]
            boundary.count["child_in"] += sum(len(words) for words in words_of.values())
            if tensor == space.accumulated:
                self.drain(boundary, words_of)
            else:
                boundary.count["parent_reads"] += boundary.service(
                    words_of, dict.fromkeys(words_of, NOTHING)
                )

    def result(self):
        nest, space = self.nest, self.space
        counts = {
            (level, t): {"reads": 0, "writes": 0} for level in range(nest.levels) for t in TENSORS
        }
        networks = {
            (level, t): {"deliveries": 0, "additions": 0}
            for level in range(nest.levels)
            for t in TENSORS
        }
        primitives = {}
        for tensor in TENSORS:
            for b in self.boundaries[tensor]:
                n = b.count
                to_mac = b.child == space.mac
                primitives[b.parent, "mac" if to_mac else b.child, tensor] = n
                network = networks[b.network, tensor]
                if tensor == space.accumulated:
                    counts[b.parent, tensor]["writes"] += n["arrivals"]
                    counts[b.parent, tensor]["reads"] += n["update_reads"]
                    if not to_mac:
                        counts[b.child, tensor]["reads"] += n["drains"]
                    network["deliveries"] += n["arrivals"]
                    if nest.in_array:
                        network["deliveries"] += n["update_reads"]
                    network["additions"] += n["drains"] - n["arrivals"]
                else:
                    counts[b.parent, tensor]["reads"] += n["parent_reads"]
                    if not to_mac:
                        counts[b.child, tensor]["writes"] += n["child_in"]
                    network["deliveries"] += n["child_in"]
        return {"counts": counts, "networks": networks, "primitives": primitives, "macs": self.macs}


def count(problem: Problem, nest: Nest) -> dict:
    """Words moved by `nest` on `problem`.

    counts[(level, tensor)]    {'reads', 'writes'}, every level and tensor (zero if not kept)
    networks[(i, tensor)]      {'deliveries', 'additions'}, i = the network below level i
    primitives[(parent, child or 'mac', tensor)]
                               {'child_in', 'parent_reads', 'drains', 'arrivals', 'entries',
                                'update_reads'}
    macs                       MAC slots executed, padding included
    """
    return Walk(problem, nest).run()
