"""docs/time.md by hand: words from the oracle's Python sets, step by step; then who waits for what,
one moment after the other.

Slow and obvious on purpose: it shares nothing with the engines but the architecture's numbers and
the footprint's word widths. ``time_of(nest)`` gives (cycles, array cycles, stalls).
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from math import ceil
from typing import Any

import oracle
from nests import as_oracle

from accelsim.mapping.nest import Nest

CHUNKS = 8


# -- words: every step of the nest, as sets --------------------------------------------------------


class Script(oracle.Walk):
    """The oracle's walk, writing down what moves: passes of PE steps, and what happens between
    them.
    """

    def __init__(self, nest: Nest) -> None:
        problem, plain = as_oracle(nest)
        for net in plain.networks:  # a chain adds up the same words as a tree
            net["accumulated"] = "reduce" if net["accumulated"] == "chain" else net["accumulated"]
        super().__init__(problem, plain)
        self.pe = nest.levels - 1
        self.kept = sorted(nest.keep[-1])
        self.passes: list[dict[str, Any]] = []
        self.between: list[dict[str, Any]] = []  # what happened since the last pass
        self.at_end: list[dict[str, Any]] = []
        self.now: dict[str, Any] | None = None  # the PE step going on
        self.target: dict[str, Any] | None = None  # where a drain is written down

    def run(self):
        space = self.space
        outputs = self.boundaries[space.accumulated]
        operands = [b for t in oracle.TENSORS if t != space.accumulated for b in self.boundaries[t]]
        setting = space.setting((), ())
        self.enter(
            space.home(space.accumulated),
            (),
            space.tile(space.accumulated, 0, setting, space.pieces(0, setting)) or oracle.NOTHING,
        )
        previous = None
        for step in space.steps():
            begins = [self.begins(level, step, previous) for level in range(space.mac + 1)]
            fresh = self.new_step(step) if begins[self.pe] else None
            for boundary in reversed(outputs):
                if boundary.child != space.mac and begins[boundary.child]:
                    self.step_accumulated(boundary, step)
            if fresh is not None:
                if begins[self.pe - 1] or not self.passes:
                    self.passes.append(
                        {
                            "between": self.between,
                            "steps": [],
                            "stepped": [k for k in range(self.pe) if begins[k]],
                        }
                    )
                    self.between = []
                self.passes[-1]["steps"].append(fresh)
                self.now = fresh
            for boundary in operands:
                if boundary.child != space.mac and begins[boundary.child]:
                    self.step_operand(boundary, step)
            self.step_mac(step)
            previous = step
        for boundary in reversed(outputs):
            if boundary.child != space.mac:
                self.drain(boundary, self.held[space.accumulated, boundary.child])
        self.at_end = self.between
        return self

    def new_step(self, step):
        return {"macs": 0, "held": [self.words_held(t, step) for t in self.kept],
                "rows": set(), "cols": set(), "load": {}, "into": {},
                "direct": defaultdict(_count), "up": _count(), "updated": _count(),
                "out": _count()}  # fmt: skip

    def words_held(self, tensor, step):
        """The words of a tensor that each PE holds, told apart by the loops that cut them; where
        all are padding, the places of those loops.
        """
        space, words = self.space, {}
        spatial = space.spatial_above(self.pe)
        cut = [k for k, i in enumerate(spatial) if space.depends(tensor, space.loops[i][0])]
        for instance in space.instances(self.pe):
            setting = space.setting(step, instance)
            tile = space.tile(tensor, self.pe, setting, space.pieces(self.pe, setting))
            if tile:
                words[tuple(instance[k] for k in cut)] = tile
        temporal = space.temporal_above(self.pe)
        moves = [k for k, i in enumerate(temporal) if space.depends(tensor, space.loops[i][0])]
        return words or [step[k] for k in moves]

    def by_parent(self, boundary, now, before):
        """Words each parent instance reads: rule 4, told apart."""
        if boundary.kind == "neighbour":
            new, old = boundary.merge(now), boundary.merge(before)
            sent = {key: new[key] - old[key] for key in new}
        else:
            sent = boundary.merge({i: now[i] - before[i] for i in now})
        found = _count()
        for key, words in sent.items():
            real = self.space.padding_exists(boundary.tensor, boundary.parent)
            found[key[: boundary.parent_digits]] += sum(
                1 for w in words if real or self.space.real(boundary.tensor, w)
            )
        return found

    def step_operand(self, boundary, step):
        now, before = self.change_tiles(boundary, step)
        took = self.stepped
        reads = self.by_parent(boundary, {i: now[i] for i in took}, {i: before[i] for i in took})
        taken = {i: len(now[i] - before[i]) for i in now}
        if boundary.child == self.pe:
            self.now["load"][boundary.tensor], self.now["into"][boundary.tensor] = reads, taken
        else:
            self.passes[-1]["between"].append(
                {"what": "fill", "b": boundary, "outer": reads, "inner": taken}
            )

    def step_accumulated(self, boundary, step):
        now, before = self.change_tiles(boundary, step)
        self.drain(boundary, {i: before[i] - now[i] for i in now})
        for instance in now:
            self.enter(boundary.child, instance, now[instance] - before[instance])
        if boundary.child < self.pe and any(now[i] - before[i] for i in now):
            self.between.append({"what": "open", "b": boundary})

    def drain(self, boundary, out):
        inner = boundary.child >= self.pe
        record = (
            self.now
            if inner
            else {"what": "drain", "b": boundary, "up": _count(), "updated": _count()}
        )
        if record is None:
            return
        self.target = record
        for key, words in boundary.merge(out).items():
            self.arrive(boundary, key[: boundary.parent_digits], words)
        if not inner:
            record["out"] = {i: len(words) for i, words in out.items()}
            if any(record["out"].values()):
                self.between.append(record)
        elif boundary.child == self.pe:
            for i, words in out.items():
                record["out"][i] += len(words)

    def arrive(self, boundary, instance, words):
        before = boundary.count["update_reads"]
        super().arrive(boundary, instance, words)
        if boundary.parent < self.pe:  # sums that stay in the PE move nowhere
            self.target["up"][instance] += len(words)
            self.target["updated"][instance] += boundary.count["update_reads"] - before

    def step_mac(self, step):
        space = self.space
        took = {tensor: {} for tensor in oracle.TENSORS}
        for position in self.boundaries[space.accumulated][-1].instances:
            setting = space.setting(step, position)
            pieces = space.pieces(space.mac, setting)
            if all(pieces):
                for axis, used in (("row", self.now["rows"]), ("col", self.now["cols"])):
                    used.add(
                        tuple(
                            at
                            for at, i in zip(position, space.spatial, strict=True)
                            if space.loops[i][3] == axis
                        )
                    )
                for tensor in oracle.TENSORS:
                    took[tensor][position] = space.tile(tensor, space.mac, setting, pieces)
        self.now["macs"] += 1
        for tensor in oracle.TENSORS:
            boundary, words_of = self.boundaries[tensor][-1], took[tensor]
            if tensor == space.accumulated:
                self.drain(boundary, words_of)
            elif boundary.parent < self.pe:
                for instance, n in self.by_parent(
                    boundary, words_of, dict.fromkeys(words_of, oracle.NOTHING)
                ).items():
                    self.now["direct"][tensor][instance] += n


def _count():
    return defaultdict(int)


def most(amounts) -> int:
    return max(amounts.values(), default=0)


# -- ports and channels ----------------------------------------------------------------------------


class Machine:
    """The architecture's numbers."""

    def __init__(self, nest: Nest) -> None:
        self.nest, self.arch = nest, nest.arch
        self.names = nest.arch.level_names

    def clock(self, level: int) -> Fraction:
        """Core cycles per cycle of a level's port."""
        own = self.arch.levels[self.names[level]].port_clock_mhz
        return (
            Fraction(1) if own is None else Fraction(str(self.arch.clock_mhz)) / Fraction(str(own))
        )

    def port(self, level: int, way: str):
        x = self.arch.levels[self.names[level]]
        if x.port_bits is None:
            return None
        return self.names[level], ("" if x.ports == "shared" else way)

    def channel(self, network: str | None, tensor: str, way: str):
        if network is None or self.arch.networks[network].width_bits is None:
            return None
        width = self.arch.networks[network].width_bits
        if isinstance(width, int):
            return network, ""
        if tensor not in width:
            return None
        return network, tensor + (way if tensor == self.nest.problem.accumulated else "")

    def place(self, resource) -> tuple:
        """Outermost first: a level's reads, its writes, the network below it, the next level."""
        name, part = resource
        if name in self.names:
            return self.names.index(name), 0, part
        net = self.arch.networks[name]
        widths = net.width_bits if isinstance(net.width_bits, dict) else {}
        tensor = next((k for k, t in enumerate(widths) if part.startswith(t)), 0)
        return self.names.index(net.below), 1, tensor, part

    def cycles(self, resource, bits: int) -> int:
        name, part = resource
        if name in self.names:
            level = self.arch.levels[name]
            if level.burst_bits:
                bits = ceil(Fraction(bits, level.burst_bits)) * level.burst_bits
            return ceil(Fraction(bits, level.port_bits) * self.clock(self.names.index(name)))
        width = self.arch.networks[name].width_bits
        if isinstance(width, dict):
            width = next(w for t, w in width.items() if part.startswith(t))
        return ceil(Fraction(bits, width))

    def latency(self, level: int) -> int:
        return ceil(self.arch.levels[self.names[level]].latency_cycles * self.clock(level))

    def network(self, b) -> str | None:
        return next(
            (
                name
                for name, net in self.arch.networks.items()
                if net.below == self.names[b.network]
            ),
            None,
        )

    def slots(self, level: int, tensor: str) -> int:
        x = self.arch.levels[self.names[level]]
        return 2 if x.double_buffered or tensor in x.queued else 1

    def width(self, level: int, tensor: str) -> int:
        return self.nest.footprint.word_bits(level, tensor)

    def demand(self, ways) -> dict:
        """Bits by resource, of (resource or None, bits)."""
        found = _count()
        for resource, bits in ways:
            if resource is not None and bits:
                found[resource] += bits
        return found


# -- transfers -------------------------------------------------------------------------------------


class Transfer:
    def __init__(self, machine: Machine, record) -> None:
        b, what = record["b"], record["what"]
        self.what, self.tensor, self.parent, self.child = what, b.tensor, b.parent, b.child
        outside, inside = machine.width(b.parent, b.tensor), machine.width(b.child, b.tensor)
        network = machine.network(b)
        if what == "fill":
            words = most(record["outer"])
            ways = [(machine.port(b.parent, "read"), words * outside),
                    (machine.channel(network, b.tensor, "down"), words * outside),
                    (machine.port(b.child, "write"), most(record["inner"]) * inside)]  # fmt: skip
        else:
            words, read, write = (
                most(record["up"]),
                machine.port(b.parent, "read"),
                machine.port(b.parent, "write"),
            )
            up, down = (machine.channel(network, b.tensor, way) for way in ("up", "down"))
            ways = [(up, words * outside)]
            if machine.arch.accumulate == "in_array":  # sums to add to come down
                if up == down:
                    both = {i: record["up"][i] + record["updated"][i] for i in record["up"]}
                    ways = [(up, most(both) * outside)]
                else:
                    ways.append((down, most(record["updated"]) * outside))
            ways.append((machine.port(b.child, "read"), most(record["out"]) * inside))
            if read == write:
                both = {i: record["up"][i] + record["updated"][i] for i in record["up"]}
                ways.append((read, most(both) * outside))
            else:
                ways += [(write, words * outside), (read, most(record["updated"]) * outside)]
        each = {r: machine.cycles(r, bits) for r, bits in machine.demand(ways).items()}
        self.way = sorted(each, key=machine.place)
        self.longest = max(each.values(), default=0)
        self.lasts = self.longest + (machine.latency(b.parent) if words else 0)
        slowest = [r for r in self.way if each[r] == self.longest]
        self.owner = slowest[0][0] if slowest else machine.names[b.parent]
        self.rank = machine.place(slowest[0]) if slowest else (-1,)
        self.before: list[Any] = []  # transfers and passes that come first
        self.number = 0
        self.requested = self.begun = self.done = None
        self.has = 0  # resources it has got


# -- a pass ----------------------------------------------------------------------------------------


class Pass:
    """MAC steps, phases and folds of one pass; ``end`` and ``gaps`` count from its start."""

    def __init__(self, machine: Machine, record) -> None:
        self.record = record
        steps = self.steps = record["steps"]
        self.macs = sum(s["macs"] for s in steps)
        self.needs: list[Transfer] = []
        self.begun = self.free = self.ended = None
        self.number = 0
        self.machine = machine
        nest, arch = machine.nest, machine.arch
        self.busy = _count()
        self.stretch: list[tuple[str, int]] = []
        held = nest.keep[-1]
        self.folds = None
        if arch.systolic and held:
            self.folds = [(s["macs"], len(s["rows"]), len(s["cols"]), s["held"]) for s in steps]
        self.links = 0
        if arch.network_below(nest.levels - 2)[1].accumulated == "chain":
            acc = nest.problem.accumulated
            outside = [k for k in range(nest.levels - 1) if acc in nest.keep[k]][-1]
            for axis in ("row", "col"):
                n = 1
                for loop in nest.loops:
                    inside = loop.level >= outside
                    if loop.axis == axis and inside and not nest.loop_depends(loop, acc):
                        n *= loop.trips
                self.links += n - 1

    def measure(self) -> None:
        """How long it lasts; on lines ``lay_folds`` has found the array's part of it."""
        arch = self.machine.arch
        if self.folds is None:
            self.gaps = self.macs
            self.end = self.macs + arch.array.pipeline_stages - 1 + self.links
        if arch.systolic:
            bits = self.machine.demand(self.words(self.steps, whole=True)["body"])
            self.busy = {r: self.machine.cycles(r, n) for r, n in bits.items()}
            longest = max(self.busy.values(), default=0)
            self.lasts = max(self.gaps, longest)
            if longest > self.gaps:
                slowest = min(
                    (r for r in self.busy if self.busy[r] == longest), key=self.machine.place
                )
                self.stretch.append((slowest[0], longest - self.gaps))
            return
        self.lasts = 0
        exposed = [t for t in self.machine.nest.problem.operands if t in self.machine.nest.keep[-1]
                   and self.machine.slots(len(self.machine.names) - 1, t) == 1]  # fmt: skip
        phases: list[list[Any]] = []
        for k, step in enumerate(self.steps):
            if not k or any(n for t in exposed for n in step["into"].get(t, {}).values()):
                phases.append([])
            phases[-1].append(step)
        for phase in phases:
            macs = sum(s["macs"] for s in phase)
            for part, ways in self.words(phase, exposed).items():
                each = {r: self.machine.cycles(r, n) for r, n in self.machine.demand(ways).items()}
                own = macs if part == "body" else 0
                longest = max(each.values(), default=0)
                self.lasts += max(longest, own)
                for r, n in each.items():
                    self.busy[r] += n
                if longest > own:
                    slowest = min((r for r in each if each[r] == longest), key=self.machine.place)
                    self.stretch.append((slowest[0], longest - own))

    def words(self, steps, exposed=(), *, whole=False) -> dict[str, list[Any]]:
        """(resource, bits) of each part of a phase; all of it in the body if ``whole``."""
        m = self.machine
        nest, pe = m.nest, len(m.names) - 1
        found: dict[str, list[Any]] = {"exposed": [], "ramp": [], "body": [], "tail": []}
        below = next(
            (n for n, net in m.arch.networks.items() if net.below == m.names[pe - 1]), None
        )
        for t in nest.problem.operands:
            keepers = [k for k in range(pe) if t in nest.keep[k]]
            parent = keepers[-1]
            width = m.width(parent, t)
            port, channel = m.port(parent, "read"), m.channel(below, t, "down")
            if t in nest.keep[pe]:
                ahead = any(t in m.arch.levels[m.names[k]].queued for k in range(parent + 1, pe))
                begin = 0 if whole else 1
                for part, some in (
                    ("exposed" if t in exposed else "ramp", steps[:begin]),
                    ("body", steps[begin:]),
                ):
                    words = _most_of([s["load"].get(t, {}) for s in some])
                    found[part].append((channel, words * width))
                    if not ahead:
                        found[part].append((port, words * width))
                if ahead:
                    found["body"].append(
                        (port, _most_of([s["load"].get(t, {}) for s in steps]) * width)
                    )
            else:
                words = _shared([s["direct"].get(t, {}) for s in steps], m, parent)
                found["body"] += [(channel, words * width), (port, words * width)]
        acc = nest.problem.accumulated
        parent = [k for k in range(pe) if acc in nest.keep[k]][-1]
        width = m.width(parent, acc)
        straight = acc not in nest.keep[pe]
        up, down = m.channel(below, acc, "up"), m.channel(below, acc, "down")
        add = (lambda lists: _shared(lists, m, parent)) if straight else _most_of
        last = len(steps) - (0 if whole or straight else 1)
        for part, some in (("body", steps[:last]), ("tail", steps[last:])):
            words = add([s["up"] for s in some])
            found[part] += [
                (up, words * width),
                (m.port(parent, "write"), words * width),
            ]
        updated = add([s["updated"] for s in steps])
        found["body"].append((m.port(parent, "read"), updated * width))
        if m.arch.accumulate == "in_array":
            found["body"].append((down, updated * width))
        return found


def lay_folds(passes: list[Pass], machine: Machine) -> None:
    """DESIGN section 5 over the whole layer: of each pass, when the next one may start (``gaps``)
    and when its last result is there, or its last word is used up (``end``), from its own start.
    """
    nest, array = machine.nest, machine.arch.array
    os, rows = nest.problem.accumulated in nest.keep[-1], array.rows
    folds: list[tuple[Any, list[tuple[Pass, int]]]] = []  # what tells it apart; who streams words
    for p in passes:
        for t, *size in p.folds:
            if folds and folds[-1][0] == size:  # the same words: nothing is loaded or let go
                folds[-1][1].append((p, t))
            else:
                folds.append((size, [(p, t)]))
    sizes = [(r, c) for (r, c, _), _ in folds]
    if array.partial_folds == "full":
        sizes = [(array.rows, array.cols)] * len(folds)
    if _turned(nest):
        rows, sizes = array.cols, [(c, r) for r, c in sizes]
    now, streamed = 0, 0  # when the next fold may begin; when the last one had all its words
    starts: dict[int, int] = {}
    results: dict[int, int] = {}
    for k, ((r, c), (_, parts)) in enumerate(zip(sizes, folds, strict=True)):
        at = now + (r if not os and (k == 0 or not array.overlap) else 0)
        first_word = at
        for n, (p, t) in enumerate(parts):
            starts.setdefault(id(p), at if n else now)
            at += t
            out = 0
            if n == len(parts) - 1:
                if os and array.overlap and array.outputs == "register" and k:
                    at = max(at, streamed + sizes[k - 1][0])  # sums before are still on their way
                out = 0 if array.outputs == "in_place" else rows
            there = at + c - 2 + (r + out if os else rows)
            results[id(p)] = max(results.get(id(p), 0), there)
        streamed = at
        r_next = sizes[k + 1][0] if k + 1 < len(sizes) else r
        if not array.overlap:
            now = there
        elif os:
            now = at + (r - 1 if array.outputs == "accumulators" else 0)
        else:
            now = max(at, first_word + r_next) if array.weight_registers == 2 else at + r_next - 1
    for p, following in zip(passes, [*passes[1:], None], strict=True):
        p.gaps = (now if following is None else starts[id(following)]) - starts[id(p)]
        p.end = results[id(p)] - starts[id(p)]


def _turned(nest: Nest) -> bool:
    """Whether an operand is held and sums can travel along the rows only: rows and columns then
    change roles.
    """
    acc, held = nest.problem.accumulated, nest.keep[-1]
    if acc in held:
        return False
    axes = {
        t: {x.axis for x in nest.loops if x.spatial and nest.loop_depends(x, t)}
        for t in oracle.TENSORS
    }  # that tell its words apart
    streamed = [t for t in nest.problem.operands if t not in held]

    def fits(sums: str, across: str) -> bool:
        return sums not in axes[acc] and all(across not in axes[t] for t in streamed)

    return fits("col", "row") and not fits("row", "col")


def _most_of(lists) -> int:
    """The most words of any one instance over several steps."""
    total = _count()
    for amounts in lists:
        for i, n in amounts.items():
            total[i] += n
    return most(total)


def _shared(lists, machine: Machine, parent: int) -> int:
    """Words straight to or from the MACs: all instances' together, spread evenly."""
    instances = 1
    for loop in machine.nest.loops:
        if loop.spatial and loop.level < parent:
            instances *= loop.trips
    return ceil(Fraction(sum(n for amounts in lists for n in amounts.values()), instances))


# -- who waits for what ----------------------------------------------------------------------------


def plan(nest: Nest) -> tuple[Machine, list[Pass], list[Transfer]]:
    """Passes and transfers, each with what it waits for."""
    script, machine = Script(nest).run(), Machine(nest)
    acc, pe = nest.problem.accumulated, nest.levels - 1
    passes: list[Pass] = []
    transfers: list[Transfer] = []
    last_fill: dict[
        tuple[str, int], list[Transfer]
    ] = {}  # by tensor and level: what its words wait for
    last_drain: dict[int, Transfer] = {}  # by the level drained
    ends: dict[int, list[Pass]] = {k: [] for k in range(1, pe)}  # the last pass of each step
    tiles: dict[int, list[Transfer | None]] = {k: [] for k in range(1, pe)}
    number = 0
    keepers = [k for k in range(pe) if acc in nest.keep[k]]
    for record in [
        *script.passes,
        {"between": script.at_end, "steps": None, "stepped": range(pe)},
    ]:
        mine = Pass(machine, record) if record["steps"] is not None else None
        if passes:
            for level in record["stepped"]:
                if level:
                    ends[level].append(passes[-1])
        changed: dict[int, Transfer | None] = {}
        # drains first, innermost first; then fills, tensor by tensor from the outermost in
        order = [x for x in record["between"] if x["what"] == "drain"]
        order += [
            x
            for t in oracle.TENSORS
            for x in record["between"]
            if x["what"] == "fill" and x["b"].tensor == t
        ]
        order += [x for x in record["between"] if x["what"] == "open"]
        for x in order:
            b = x["b"]
            move = Transfer(machine, x) if x["what"] != "open" else None
            if move is not None and (x["what"] == "fill" and not any(x["inner"].values())):
                move = None
            if move is not None and move.lasts == 0:
                move = None
            if move is not None:
                number += 1
                move.number = number
                transfers.append(move)
            if x["what"] == "fill":
                slots = machine.slots(b.child, b.tensor)
                outer = last_fill.get((b.tensor, b.parent), [])
                if move is None:
                    last_fill[b.tensor, b.child] = last_fill.get((b.tensor, b.child), []) + outer
                    continue
                if len(ends[b.child]) >= slots:
                    move.before.append(ends[b.child][-slots])
                move.before += outer
                last_fill[b.tensor, b.child] = [move]
                mine.needs.append(move)
            else:
                changed[b.child] = move or changed.get(b.child)
                if move is not None:
                    move.before.append(ends[b.child][-1])
                    within = [i for i in keepers if i > b.child][:1]
                    if within and within[0] in last_drain:
                        move.before.append(last_drain[within[0]])
                    last_drain[b.child] = move
        for level, move in changed.items():
            tiles[level].append(move)
            slots = machine.slots(level, acc)
            if mine is not None and len(tiles[level]) >= slots and tiles[level][-slots] is not None:
                mine.needs.append(tiles[level][-slots])
        if mine is not None:
            number += 1
            mine.number = number
            passes.append(mine)
    if passes[0].folds is not None:
        lay_folds(passes, machine)
    for one in passes:
        one.measure()
    return machine, passes, transfers


def time_of(nest: Nest) -> tuple[int, int, dict[str, int]]:
    """Cycles, array cycles, and the stalls as they come, not yet less what stays hidden behind a
    systolic array's skew.
    """
    machine, passes, transfers = plan(nest)
    used_between = {r for x in transfers for r in x.way} | _possible(machine)
    stalls: dict[str, int] = dict.fromkeys([*machine.arch.levels, *machine.arch.networks], 0)
    holder: dict[Any, Any] = {}
    queues: dict[Any, list[Any]] = defaultdict(list)
    resources = sorted(
        {r for x in transfers for r in x.way} | {r for p in passes for r in p.busy},
        key=machine.place,
    )
    times = {0}
    running: list[Transfer] = []
    index, chunks = 0, None  # the pass that is next or going on, and its requests if it is going on
    free = 0
    open_transfers = list(transfers)
    while times:
        now = min(times)
        times = {t for t in times if t > now}
        for x in [x for x in running if x.done == now]:
            running.remove(x)
            for r in x.way:
                holder[r] = None
        moving = True
        while moving:  # everything of this cycle that follows at once
            moving = False
            for x in list(open_transfers):
                ready = [y.done if isinstance(y, Transfer) else y.ended for y in x.before]
                if all(t is not None and t <= now for t in ready):
                    open_transfers.remove(x)
                    moving = True
                    if x.way:
                        queues[x.way[0]].append((now, x.what != "drain", x.number, x))
                    else:
                        x.done = now + x.lasts
                        running.append(x)
                        times.add(x.done)
            if chunks is not None:
                moving |= chunks.advance(now, times, queues, holder)
                if chunks.over is not None and chunks.over <= now:
                    free = passes[index - 1].free = chunks.over
                    chunks = None
                    moving = True
            if (
                chunks is None
                and index < len(passes)
                and all(x.done is not None and x.done <= now for x in passes[index].needs)
            ):
                p = passes[index]
                index += 1
                p.begun = now
                if now > free:
                    last = min(p.needs, key=lambda x: (-x.done, x.rank))
                    stalls[last.owner] += now - free
                for owner, n in p.stretch:
                    stalls[owner] += n
                chunks = Chunks(
                    machine,
                    p,
                    [r for r in resources if r in used_between and p.busy.get(r)],
                    stalls,
                )
                moving = True
        for r in resources:
            while holder.get(r) is None and queues[r]:
                first = min(queues[r], key=lambda q: q[:3])
                queues[r].remove(first)
                holder[r] = first
                x = first[3]
                if not isinstance(x, Transfer):
                    x.granted(r, now, times)
                    continue
                x.has += 1
                if x.has < len(x.way):
                    queues[x.way[x.has]].append((now, x.what != "drain", x.number, x))
                else:
                    x.done = now + x.lasts
                    running.append(x)
                    times.add(x.done)
    assert index == len(passes) and all(x.done is not None for x in transfers), (
        "not everything happened"
    )
    systolic = passes[0].folds is not None
    at, array = 0, 0
    for p in passes:
        array = max(array, at + p.end) if systolic else at + p.end
        at += p.gaps
    end = max(p.ended for p in passes) if systolic else passes[-1].ended
    for x in sorted((x for x in transfers if x.done > end), key=lambda x: (x.done, x.rank)):
        stalls[x.owner] += max(x.done - end, 0)
        end = max(x.done, end)
    return end, array, stalls


def _possible(machine: Machine) -> set:
    """Ports that transfers between levels may use at all."""
    nest, found = machine.nest, set()
    for b in nest.boundaries:
        if b.child < nest.levels - 1:
            acc = b.tensor == nest.problem.accumulated
            if acc:
                found |= {
                    machine.port(b.parent, "read"),
                    machine.port(b.parent, "write"),
                    machine.port(b.child, "read"),
                }
            else:
                found |= {machine.port(b.parent, "read"), machine.port(b.child, "write")}
    return found


class Chunks:
    """A pass going on; over ports that transfers use too, what moves in it goes in eight
    requests.
    """

    def __init__(self, machine: Machine, p: Pass, ports: list[Any], stalls: dict[str, int]) -> None:
        self.machine, self.p, self.ports, self.stalls = machine, p, ports, stalls
        self.k, self.shift, self.over = 0, 0, None
        self.open: dict[Any, Any] = {}  # port -> [asked, granted, cycles]
        self.asked = False

    def edge(self, k: int) -> int:
        return self.p.lasts * k // CHUNKS

    def advance(self, now, times, queues, holder) -> bool:
        p = self.p
        if self.over is not None:
            return False
        for r, (_, granted, cycles) in list(self.open.items()):
            if (
                granted is not None
                and granted + cycles == now
                and holder.get(r) is not None
                and holder[r][3] is self
            ):
                holder[r] = None
        if not self.ports:
            return self._end(p.begun + p.lasts, times)
        if self.asked:
            if any(
                granted is None or granted + cycles > now
                for _, granted, cycles in self.open.values()
            ):
                return False
            waits = [(granted - asked, r) for r, (asked, granted, _) in self.open.items()]
            longest = max((w for w, _ in waits), default=0)
            if longest:
                self.shift += longest
                self.stalls[
                    min((r for w, r in waits if w == longest), key=self.machine.place)[0]
                ] += longest
            self.k, self.asked, self.open = self.k + 1, False, {}
        if self.k == CHUNKS:
            return self._end(max(now, p.begun + p.lasts + self.shift), times)
        start = p.begun + self.edge(self.k) + self.shift
        if start > now:
            times.add(start)
            return False
        self.asked = True
        for r in self.ports:
            n = (
                p.busy[r] * self.edge(self.k + 1) // p.lasts
                - p.busy[r] * self.edge(self.k) // p.lasts
            )
            if n:
                self.open[r] = [now, None, n]
                queues[r].append((now, True, p.number, self))
        return True

    def granted(self, r, now, times) -> None:
        self.open[r][1] = now
        times.add(now + self.open[r][2])

    def _end(self, at, times) -> bool:
        self.over = at
        self.p.ended = at + self.p.end - self.p.gaps
        times |= {at, self.p.ended}
        return True
