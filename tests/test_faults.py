"""The check can fail: faults put into the event engine's work, and what ``--check`` says of each.

Every fault goes in where the engine gets its events, its data or its stored words; the command is
the real one. What it must say is worked out here from golden, not taken from it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from nests import random_nest
from quick import slow_but
from test_cli import Done, accelsim

from accelsim.engines import analytic, event, golden
from accelsim.engines.event import machine as event_machine
from accelsim.engines.event import timed
from accelsim.engines.event.movement import movement
from accelsim.engines.event.transfers import Drain, Fill, Open, Pass, PeDrain, PeLoad
from accelsim.engines.event.word_sets import NONE, WordSet
from accelsim.engines.moved import columns
from accelsim.hardware.architecture import load_architecture
from accelsim.mapper.effort import BestTiles, best_tiles
from accelsim.mapping.nest import Boundary, Nest
from accelsim.results import tiles
from accelsim.workload.arithmetic import Number, random_data, wrap
from accelsim.workload.network import load_workload
from accelsim.workload.problem import Problem

LAYER = "conv2"
OTHERS = ("conv1", "fc1", "fc2", "fc3")

# Buffers so small that conv2 goes through them in many tiles.
SMALL_GLB, SMALL_SRAM = ("levels.glb.capacity_bytes", 2500), ("levels.sram.capacity_bytes", 2048)
SMALL_TPU = (
    ("levels.ub.capacity_bytes", 2048),
    ("levels.acc.capacity_bytes", 1024),
    ("array.rows", 16),
    ("array.cols", 8),
)


@dataclass(frozen=True)
class Machine:
    arch: str
    dataflow: str
    overrides: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return f"{self.arch}-{self.dataflow}"

    def check(self, *more: str) -> Done:
        sets = [part for key, value in self.overrides for part in ("--set", f"{key}={value}")]
        return accelsim(
            "run",
            "lenet5",
            "--arch",
            self.arch,
            "--dataflow",
            self.dataflow,
            *sets,
            "--check",
            *more,
        )


EYERISS = [Machine("eyeriss", d, (SMALL_GLB,)) for d in ("ws", "os", "rs", "nlr")]
SYSTOLIC = [Machine("systolic", d, (SMALL_SRAM,)) for d in ("ws", "os", "is")]
TPU = Machine("tpu_v1", "ws", SMALL_TPU)
MACHINES = [*EYERISS, *SYSTOLIC, TPU]

conv2: Problem = next(x for x in load_workload("lenet5").layers if x.name == LAYER).problem(None)


def altered(change: Callable[[Nest, list[Any]], list[Any]]) -> Callable[..., Iterator[Any]]:
    """A ``movement`` that gives what ``change`` makes of the events of a nest."""
    return lambda nest, **how: iter(change(nest, list(movement(nest, **how))))


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[Any]], list[Any]]], None]:
    """``inject(change)``: the event engine carries out ``change(events)`` of conv2 instead of the
    nest's own events.
    """

    def put(change: Callable[[list[Any]], list[Any]]) -> None:
        monkeypatch.setattr(
            event_machine,
            "movement",
            altered(lambda nest, events: change(events) if nest.problem == conv2 else events),
        )

    return put


@pytest.fixture(autouse=True)
def searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault goes into the same few nests: their tiles are looked for once."""
    monkeypatch.setattr(tiles, "best_tiles", best_of)


@cache
def best_of(*asked: Any) -> BestTiles:
    return best_tiles(*asked)


@dataclass(frozen=True)
class Report:
    """What the one bad layer's line says."""

    index: tuple[int, ...] | None = None
    expected: int | None = None
    got: str | None = None
    words: int | None = None
    column: str | None = None
    analytic: int | None = None
    event: int | None = None


POISON = "poison (a word was read where it was not held)"
OUTPUTS = (
    r"ofmap\[n=(\d+),g=(\d+),m=(\d+),e=(\d+),f=(\d+)\]: expected (-?\d+), got (.+?); (\d+) of "
    r"(\d+) words differ"
)
COUNTS = r"(\w+): analytic (\d+), event (-?\d+); \d+ of \d+ columns differ"


def reported(machine: Machine) -> Report:
    """Runs the check on conv2 and another layer: exit 1, one line, on conv2 alone; what it says."""
    done = machine.check("--layer", LAYER, "--layer", "fc3", "--format", "json")
    rows = {r["layer"]: r for r in done.rows}
    assert done.code == 1 and rows["fc3"]["error"] is None and rows["fc3"]["bit_exact"] is True
    assert done.err.count("\n") == 1 and done.err.startswith(f"{LAYER} {machine.dataflow}: ")
    line = done.err.rstrip("\n").removeprefix(f"{LAYER} {machine.dataflow}: ")
    assert rows[LAYER]["error"] == line
    match = re.fullmatch(rf"(?:{OUTPUTS})?(?:; )?(?:{COUNTS})?", line)
    assert match and match[0], line
    n, g, m, e, f, expected, got, words, total, column, predicted, measured = match.groups()
    assert rows[LAYER]["bit_exact"] is (got is None)
    found = Report()
    if got is not None:
        index = tuple(map(int, (n, g, m, e, f)))
        assert int(total) == conv2.words("ofmap")
        assert int(expected) == answers(machine)[index]
        assert got != expected
        found = replace(found, index=index, expected=int(expected), got=got, words=int(words))
    if column is not None:
        assert predicted != measured and column in rows[LAYER] | {"macs": 0}
        found = replace(found, column=column, analytic=int(predicted), event=int(measured))
    return found


def drawn(machine: Machine) -> dict[str, np.ndarray]:
    """The operands and bias the command draws for conv2."""
    arch = load_architecture(machine.arch)
    return random_data(conv2, *(arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), 0)


def answers(machine: Machine, **other: np.ndarray) -> np.ndarray:
    """conv2's right outputs, or those of other data."""
    return golden.accumulate(
        conv2, drawn(machine) | other, load_architecture(machine.arch).number("psum")
    )


def touched(tensor: str, words: WordSet) -> np.ndarray:
    """Which outputs some of an operand's words have a part in, padding apart."""
    ones = {t: np.ones(conv2.shape(t), np.int64) for t in conv2.operands}
    mask = np.zeros(conv2.words(tensor), np.int64)
    mask[words.flat] = 1
    data = ones | {
        tensor: mask.reshape(conv2.shape(tensor)),
        "bias": np.zeros((conv2.G, conv2.M), np.int64),
    }
    return golden.accumulate(conv2, data, Number(48)) > 0


def levels(machine: Machine) -> tuple[str, ...]:
    return load_architecture(machine.arch).level_names


def flipped(weight: np.ndarray, word: tuple[int, ...], bit: int) -> np.ndarray:
    """A copy with one bit of one word flipped."""
    copy = weight.copy()
    copy[word] ^= (
        copy.dtype.type(1 << bit) if bit < 8 * copy.itemsize - 1 else copy.dtype.type(-(1 << bit))
    )
    return copy


def swap(store: Any, words: WordSet) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Exchanges two unequal sums a buffer holds; returns where they are, the first first."""
    values = store.data[words.flat]
    at = np.stack(np.unravel_index(words.flat, conv2.shape("ofmap")), axis=1)
    other = int(np.flatnonzero(values != values[0])[0])
    delta = np.zeros_like(values)
    delta[0], delta[other] = values[other] - values[0], values[0] - values[other]
    store.data[words.flat] += delta
    return tuple(map(int, at[0])), tuple(map(int, at[other]))


def restarting(run: Callable[..., Any], seen: list[int]) -> Callable[..., Any]:
    """A run of the engine that starts counting anew."""

    def again(nest: Nest, *more: Any, **how: Any) -> Any:
        seen[0] = 0
        return run(nest, *more, **how)

    return again


def instead_of_runs(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    """Both ways to run the event engine, with the time of memory and without, changed alike."""
    for module in (event, timed):
        monkeypatch.setattr(module, "run", change(module.run))


def with_flipped(word: tuple[int, ...], bit: int) -> Callable[..., Callable[..., Any]]:
    """A change of a run: of conv2 it gets weights of which one bit is another."""

    def change(run: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(nest: Nest, data: Any, *more: Any, **how: Any) -> Any:
            if nest.problem == conv2:
                data = data | {"weight": flipped(data["weight"], word, bit)}
            return run(nest, data, *more, **how)

        return faulty

    return change


def first(where: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(where)[0])


def pick(
    events: list[Any], kind: type, which: int, good: Callable[[Any], bool] = lambda _: True
) -> int:
    """The place of the first, a middle or the last event of a kind."""
    found = [i for i, x in enumerate(events) if isinstance(x, kind) and good(x)]
    return found[(0, len(found) // 2, -1)[which]]


def without(events: list[Any], i: int) -> list[Any]:
    return [*events[:i], *events[i + 1 :]]


def instead(events: list[Any], i: int, *new: Any) -> list[Any]:
    return [*events[:i], *new, *events[i + 1 :]]


def of(tensor: str) -> Callable[[Any], bool]:
    return lambda x: x.boundary.tensor == tensor


WHICH = (0, 1, 2)
FILLED = [
    (m, t)
    for m in MACHINES
    for t in ("weight", "ifmap")
    if (m.dataflow, t) not in (("rs", "weight"),) and (m, t) != (TPU, "weight")
]
filled = pytest.mark.parametrize(("machine", "tensor"), FILLED, ids=str)
everywhere = pytest.mark.parametrize("machine", MACHINES, ids=str)
which_one = pytest.mark.parametrize(
    "which", slow_but((0, 2), WHICH), ids=("first", "middle", "last")
)


@everywhere
def test_nothing_wrong_nothing_said(machine, inject):
    inject(lambda events: events)
    done = machine.check()
    assert done.code == 0 and done.err == "" and "differ" not in done.out


@pytest.mark.parametrize("machine", slow_but((EYERISS[2], TPU), MACHINES), ids=str)
def test_every_format_says_it(machine, monkeypatch):
    instead_of_runs(monkeypatch, with_flipped((0, 7, 3, 2, 4), 2))
    table, text, data = (machine.check("--format", form) for form in ("table", "csv", "json"))
    assert (table.code, text.code, data.code) == (1, 1, 1)
    assert table.err == "" and text.err == data.err and text.err.count("\n") == 1
    right, wrong = (
        answers(machine),
        answers(machine, weight=flipped(drawn(machine)["weight"], (0, 7, 3, 2, 4), 2)),
    )
    index = first(right != wrong)
    where = "ofmap[n={},g={},m={},e={},f={}]".format(*index)
    differ = f"{(right != wrong).sum()} of {right.size} words differ"
    line = (
        f"{LAYER} {machine.dataflow}: {where}: expected {right[index]}, got {wrong[index]}; "
        f"{differ}"
    )
    assert text.err == f"{line}\n" and line in table.out.splitlines()
    exact = {r["layer"]: r["bit_exact"] for r in data.rows}
    assert exact == dict.fromkeys(OTHERS, True) | {LAYER: False}
    shown = {
        x.split()[1]: x.split()[-1]
        for x in table.out.splitlines()
        if x.startswith(f"{machine.dataflow} ")
    }
    assert shown == dict.fromkeys(OTHERS, "yes") | {LAYER: "NO", "total": "NO"}


# -- words that are not there ----------------------------------------------------------------------


@which_one
@filled
def test_a_dropped_fill(machine, tensor, which, inject):
    # The words are sent for and never come; what they replace goes all the same.
    dropped: list[Fill] = []

    def change(events):
        i = pick(events, Fill, which, of(tensor))
        dropped.append(events[i])
        return instead(
            events,
            i,
            Fill(
                events[i].boundary,
                tuple((instance, NONE, gone) for instance, _, gone in events[i].takes),
                (),
            ),
        )

    inject(change)
    said = reported(machine)
    fill = dropped[0]
    assert any(touched(tensor, come)[said.index] for _, come, _ in fill.takes)
    assert said.column == f"{levels(machine)[0]}_{tensor}_reads"
    assert said.analytic - said.event == sum(n for _, n in fill.reads)


@which_one
@filled
def test_a_tile_evicted_early(machine, tensor, which, inject):
    evicted: list[WordSet] = []

    def change(events):
        i = pick(events, Fill, which, of(tensor))
        fill = events[i]
        evicted.extend(come for _, come, _ in fill.takes)
        out = Fill(
            fill.boundary, tuple((instance, NONE, come) for instance, come, _ in fill.takes), ()
        )
        return instead(events, i, fill, out)

    inject(change)
    said = reported(machine)
    assert any(touched(tensor, words)[said.index] for words in evicted)
    assert said.got == POISON
    assert said.column is None


@which_one
@everywhere
def test_psums_evicted_before_they_leave(machine, which, inject):
    lost: list[WordSet] = []

    def change(events):
        i = pick(events, Drain, which, lambda x: x.boundary.parent == 0)
        drain = events[i]
        lost.extend(words for _, words in drain.children)
        return instead(
            events,
            i,
            Fill(
                drain.boundary,
                tuple((instance, NONE, words) for instance, words in drain.children),
                (),
            ),
            drain,
        )

    inject(change)
    said = reported(machine)
    gone = np.zeros(conv2.words("ofmap"), bool)
    for words in lost:
        gone[words.flat] = True
    gone = gone.reshape(conv2.shape("ofmap"))
    assert said == Report(first(gone), said.expected, POISON, int(gone.sum()))


@which_one
@pytest.mark.parametrize(
    "machine", [m for m in MACHINES if m.dataflow in ("ws", "is", "rs")], ids=str
)
def test_a_dropped_load_of_the_pes(machine, which, inject):
    dropped: list[PeLoad] = []

    def change(events):
        i = pick(events, Pass, which, lambda p: any(load.taken for load in p.loads))
        load = next(load for load in events[i].loads if load.taken)
        dropped.append(load)
        return instead(
            events, i, replace(events[i], loads=tuple(x for x in events[i].loads if x is not load))
        )

    inject(change)
    said = reported(machine)
    load = dropped[0]
    assert any(touched(load.boundary.tensor, words)[said.index] for _, words in load.words)
    assert said.column == f"{levels(machine)[load.boundary.parent]}_{load.boundary.tensor}_reads"
    assert said.analytic - said.event == load.read


@which_one
@everywhere
def test_psums_that_never_started(machine, which, inject):
    inject(
        lambda events: without(
            events, pick(events, Open, which, lambda x: any(w.count for _, w in x.children))
        )
    )
    said = reported(machine)
    assert said.got == POISON


@which_one
@everywhere
def test_a_drain_lost_on_its_way(machine, which, inject):
    # Complete sums leave their buffer and never arrive: the outputs keep what they began with, the
    # bias.
    dropped: list[Drain] = []

    def change(events):
        i = pick(events, Drain, which, lambda x: x.boundary.parent == 0)
        dropped.append(events[i])
        return instead(
            events,
            i,
            Fill(
                events[i].boundary,
                tuple((instance, NONE, words) for instance, words in events[i].children),
                (),
            ),
        )

    inject(change)
    said = reported(machine)
    lost = np.concatenate([w.flat for _, w in dropped[0].children])
    right, bias = answers(machine), drawn(machine)["bias"]
    wrong = right.copy()
    wrong.flat[lost] = np.broadcast_to(bias[None, :, :, None, None], right.shape).flat[lost]
    index = first(wrong != right)
    assert (
        said.index == index
        and said.got == str(wrong[index])
        and said.words == (wrong != right).sum()
    )
    assert (said.column, said.analytic - said.event) == ("dram_ofmap_writes", len(lost))


@which_one
@pytest.mark.parametrize("kind", [Fill, Drain])
@everywhere
def test_a_transfer_that_never_was(machine, kind, which, inject):
    # Nothing comes and nothing goes: later words may then find their buffer full.
    good = of("ifmap") if kind is Fill else lambda x: x.boundary.parent == 0
    inject(lambda events: without(events, pick(events, kind, which, good)))
    done = machine.check("--layer", LAYER, "--layer", "fc3", "--format", "json")
    assert done.code == 1 and done.err.count("\n") == 1
    assert done.err.startswith(f"{LAYER} {machine.dataflow}: ")
    assert ("expected" in done.err and "analytic" in done.err) or re.search(
        r"a buffer of \d+ words was given \d+", done.err
    )
    assert [(r["layer"], r["error"] is None) for r in done.rows] == [(LAYER, False), ("fc3", True)]


# -- words that are wrong --------------------------------------------------------------------------


@which_one
@everywhere
def test_two_psums_swapped_as_they_leave(machine, which, inject, monkeypatch):
    swapped: list[tuple[int, ...]] = []
    seen = [0]
    carry_out = event_machine._Machine.carry_out

    def faulty(self, now):
        if self.nest.problem == conv2 and isinstance(now, Drain) and now.boundary.parent == 0:
            if seen[0] == counted[which]:
                instance, words = now.children[0]
                swapped[:] = swap(self.store("ofmap", now.boundary.child, instance), words)
            seen[0] += 1
        carry_out(self, now)

    drains: list[Drain] = []
    inject(
        lambda events: (
            drains.extend(x for x in events if isinstance(x, Drain) and x.boundary.parent == 0)
            or events
        )
    )
    assert machine.check("--layer", LAYER).code == 0
    assert sum(w.count for x in drains for _, w in x.children) == conv2.words(
        "ofmap"
    )  # each leaves once, complete
    counted = (0, len(drains) // 2, len(drains) - 1)
    monkeypatch.setattr(event_machine._Machine, "carry_out", faulty)
    instead_of_runs(monkeypatch, lambda run: restarting(run, seen))
    said = reported(machine)
    a, b = swapped
    right, bias, psum = (
        answers(machine),
        drawn(machine)["bias"],
        load_architecture(machine.arch).number("psum"),
    )
    took = wrap(right[b] - bias[0, b[2]] + bias[0, a[2]], psum)
    assert said == Report(a, int(right[a]), str(took), 2)


@pytest.mark.parametrize(
    "machine", [EYERISS[1], EYERISS[2], SYSTOLIC[0], SYSTOLIC[1], TPU], ids=str
)
def test_two_psums_swapped_half_way(machine, monkeypatch):
    # After the first pass, in the level that gathers sums from the array; more is added to both
    # afterwards or not.
    swapped: list[tuple[int, ...]] = []
    opened: list[Open] = []
    seen = [0]
    carry_out = event_machine._Machine.carry_out

    def faulty(self, now):
        carry_out(self, now)
        if self.nest.problem == conv2 and isinstance(now, Open):
            opened[:] = [now]
        if self.nest.problem == conv2 and isinstance(now, (Pass, PeDrain)) and not seen[0]:
            instance, words = opened[0].children[0]
            store = self.store("ofmap", opened[0].level, instance)
            if len(np.unique(store.data[words.flat])) > 1:
                swapped[:] = swap(store, words)
                seen[0] = 1

    monkeypatch.setattr(event_machine._Machine, "carry_out", faulty)
    instead_of_runs(monkeypatch, lambda run: restarting(run, seen))
    said = reported(machine)
    assert said.index == swapped[0] and said.words == 2 and said.column is None
    assert said.got == str(int(said.got))


@pytest.mark.parametrize(
    ("word", "bit"), [((0, 0, 0, 0, 0), 0), ((0, 7, 3, 2, 4), 3), ((0, 15, 5, 4, 4), 7)], ids=str
)
@everywhere
def test_one_flipped_weight_bit(machine, word, bit, monkeypatch):
    instead_of_runs(monkeypatch, with_flipped(word, bit))
    said = reported(machine)
    right, wrong = (
        answers(machine),
        answers(machine, weight=flipped(drawn(machine)["weight"], word, bit)),
    )
    index = first(right != wrong)
    assert said == Report(index, int(right[index]), str(wrong[index]), int((right != wrong).sum()))
    assert said.index[2] == word[1]


# -- counts that are wrong -------------------------------------------------------------------------


def one_more(p: Pass, role: str, what: str) -> tuple[Pass, Boundary]:
    """A pass with one word more in what its MACs take (``operand``) or make (``sum``)."""
    take = next(
        t
        for t in p.takes
        if (t.boundary.tensor == "ofmap") == (role == "sum")
        and (what != "taken" or t.boundary.network)
    )
    wrong = replace(take, **{what: getattr(take, what) + 1})
    return replace(p, takes=tuple(wrong if t is take else t for t in p.takes)), take.boundary


@which_one
@everywhere
def test_a_miscounted_take(machine, which, inject):
    boundaries: list[Boundary] = []

    def change(events):
        i = pick(events, Pass, which)
        wrong, boundary = one_more(events[i], "operand", "shared")
        boundaries.append(boundary)
        return instead(events, i, wrong)

    inject(change)
    said = reported(machine)
    b = boundaries[0]
    assert said == Report(
        column=f"{levels(machine)[b.parent]}_{b.tensor}_reads",
        analytic=said.event - 1,
        event=said.event,
    )


def _with_pass(change: Callable[[Pass], Pass]) -> Callable[[list[Any]], list[Any]]:
    def changed(events):
        i = pick(events, Pass, 1)
        return instead(events, i, change(events[i]))

    return changed


def _with_load(**more: int) -> Callable[[list[Any]], list[Any]]:
    def change(p: Pass) -> Pass:
        load = p.loads[0]
        return replace(
            p,
            loads=(
                replace(load, **{k: getattr(load, k) + v for k, v in more.items()}),
                *p.loads[1:],
            ),
        )

    return _with_pass(change)


def _with_drain(**more: int) -> Callable[[list[Any]], list[Any]]:
    def changed(events):
        i = pick(events, PeDrain, 1)
        return instead(
            events, i, replace(events[i], **{k: getattr(events[i], k) + v for k, v in more.items()})
        )

    return changed


def _with_reads(events: list[Any]) -> list[Any]:
    i = pick(events, Fill, 1, of("ifmap"))
    (instance, n), *rest = events[i].reads
    return instead(events, i, replace(events[i], reads=((instance, n + 1), *rest)))


def _with_fewer_arrivals(events: list[Any]) -> list[Any]:
    i = pick(events, Drain, 1, lambda x: x.boundary.parent == 0)
    return instead(events, i, replace(events[i], arrivals=()))


WS, OS, RS = SYSTOLIC[0], EYERISS[1], EYERISS[2]
MISCOUNTS = {
    "a MAC more": (WS, _with_pass(lambda p: replace(p, macs=p.macs + 1)), "macs", 1),
    "a MAC less": (RS, _with_pass(lambda p: replace(p, macs=p.macs - 1)), "macs", -1),
    "an operand taken": (
        WS,
        _with_pass(lambda p: one_more(p, "operand", "taken")[0]),
        "lines_ifmap_deliveries",
        1,
    ),
    "a sum made": (
        WS,
        _with_pass(lambda p: one_more(p, "sum", "taken")[0]),
        "lines_ofmap_additions",
        1,
    ),
    "a sum arrived": (
        WS,
        _with_pass(lambda p: one_more(p, "sum", "shared")[0]),
        "sram_ofmap_reads",
        1,
    ),
    "a PE took one more": (WS, _with_load(taken=1), "reg_weight_writes", 1),
    "a PE was read one more": (RS, _with_load(read=1), "dram_weight_reads", 1),
    "a residency fewer": (
        OS,
        _with_pass(lambda p: replace(p, opened=p.opened - 1)),
        "spad_ofmap_reads",
        1,
    ),
    "a PE drained one more": (OS, _with_drain(drained=1), "spad_ofmap_reads", 1),
    "a sum of PEs arrived": (OS, _with_drain(arrived=1), "glb_ofmap_reads", 1),
    "a word read for a fill": (RS, _with_reads, "dram_ifmap_reads", 1),
    "no arrivals": (WS, _with_fewer_arrivals, "dram_ofmap_writes", None),
}


@pytest.mark.parametrize("name", MISCOUNTS)
def test_miscounts(name, inject):
    machine, change, column, more = MISCOUNTS[name]
    inject(change)
    said = reported(machine)
    assert (said.index, said.got) == (None, None)
    assert said.column == column
    assert more is None or said.event - said.analytic == more


# -- everything at once ----------------------------------------------------------------------------


def idle(x: Any) -> bool:
    """Whether an event brings and takes nothing, so that nobody could miss it."""
    if isinstance(x, Fill):
        return not any(come.count for _, come, _ in x.takes)
    return isinstance(x, Open) and not any(words.count for _, words in x.children)


@pytest.mark.parametrize("start", slow_but([0, 10], range(0, 60, 10)))
def test_no_event_can_be_left_out(start, monkeypatch):
    """Random nests, events of each left out in turn: outputs or counts differ, or a buffer
    overflows.
    """
    for seed in range(start, start + 10):
        rng = random.Random(f"left out {seed}")
        nest = random_nest(rng, 200)
        data = random_data(
            nest.problem, *(nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), seed
        )  # type: ignore[arg-type]
        right, counts = (
            golden.accumulate(nest.problem, data, nest.arch.number("psum")),
            columns(nest, analytic.moves(nest)),
        )
        every: list[Any] = []
        monkeypatch.setattr(
            event_machine,
            "movement",
            altered(lambda _, events, every=every: every.extend(events) or events),
        )
        event.run(nest, data)
        at = [i for i, x in enumerate(every) if not idle(x)]
        for i in rng.sample(at, min(len(at), 30)):
            monkeypatch.setattr(
                event_machine, "movement", altered(lambda _, events, i=i: without(events, i))
            )
            try:
                run = event.run(nest, data)
            except RuntimeError:
                continue
            same = (
                np.array_equal(run.outputs, right)
                and columns(nest, run.moves) == counts
                and run.macs == nest.problem.macs
            )
            assert not same, (
                f"seed {seed}: nobody misses event {i}, "
                f"{every[i]}\n{nest.problem}\n{nest.mapping}\n{nest.keep}"
            )
