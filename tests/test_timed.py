"""The timed event engine: random machines against docs/time.md done by hand (slow_time), formulas,
and faults put into it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import slow_time
from nests import drawn_nest
from quick import slow_but

import accelsim as acc
from accelsim.engines import event, golden, timeline
from accelsim.engines.event import movement, pes, timed
from accelsim.engines.event.timed import channels, engine, feed, inside, resources
from accelsim.engines.event.transfers import Pass
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import random_data
from accelsim.workload.problem import TENSORS

ALL = ("weight", "ifmap", "ofmap")


# -- random machines -------------------------------------------------------------------------------


def limited(nest: Nest, rng: random.Random) -> Nest:
    """The same nest on a machine with ports, clocks, bursts, latencies, widths, slots, chains and
    stages at random.
    """
    arch = nest.arch.model_dump()
    *outside, inside = arch["levels"]
    for level in (arch["levels"][name] for name in outside):  # what lies in the PEs has no limits
        if rng.random() < 0.5:
            level |= {
                "port_bits": rng.choice((1, 3, 8, 16, 64)),
                "ports": rng.choice(("shared", "separate")),
            }
            if rng.random() < 0.3:
                level["port_clock_mhz"] = rng.choice((0.3, 0.5, 2.0, 7.0))
            if rng.random() < 0.3:
                level["burst_bits"] = rng.choice((8, 64, 100))
        if rng.random() < 0.3:
            level["latency_cycles"] = rng.choice((1, 5, 40))
        level["double_buffered"] = rng.random() < 0.4
        level["queued"] = tuple(t for t in level["keeps"] if rng.random() < 0.3)
    arch["levels"][inside] |= {
        "double_buffered": rng.random() < 0.4,
        "queued": tuple(t for t in arch["levels"][inside]["keeps"] if rng.random() < 0.3),
    }
    for net in arch["networks"].values():
        kind = rng.random() if net["below"] != inside else 1.0
        if kind < 0.3:
            net["width_bits"] = rng.choice((1, 8, 13, 64))
        elif kind < 0.6:
            net["width_bits"] = {
                t: rng.choice((1, 8, 16, 64)) for t in TENSORS if rng.random() < 0.7
            }
        if net["accumulated"] == "reduce" and net["streamed"] != "systolic" and rng.random() < 0.4:
            net["accumulated"] = "chain"
    if not Architecture.model_validate(arch).systolic and rng.random() < 0.3:
        arch["array"]["pipeline_stages"] = rng.choice((2, 4))
    return Nest(nest.problem, Architecture.model_validate(arch), nest.mapping)


@cache
def limited_nest(seed: int) -> Nest:
    return limited(drawn_nest(seed), random.Random(seed))


def operands(nest: Nest, seed: int = 0) -> dict[str, np.ndarray]:
    return random_data(
        nest.problem, *(nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), seed
    )  # type: ignore[arg-type]


by_hand = cache(slow_time.time_of)  # nests are told apart as objects


def differs(nest: Nest) -> str | None:
    """What the engine's time and the time by hand do not agree on."""
    got, (cycles, array, stalls) = timed.simulate(nest), by_hand(nest)
    if (got.cycles, got.array_cycles) != (cycles, array):
        return f"cycles {got.cycles}, array {got.array_cycles}; by hand {cycles}, {array}"
    hidden = sum(stalls.values()) - (
        cycles - array
    )  # behind a systolic array's skew; otherwise every wait counts
    if hidden and not nest.arch.systolic:
        return f"by hand stalls do not add up: {stalls}"
    if not hidden and got.stalls != stalls:
        return f"stalls {got.stalls}; by hand {stalls}"
    return None


def check(seed: int) -> None:
    nest = limited_nest(seed)
    data = operands(nest, seed)
    plain = event.run(nest, data)
    run = timed.run(nest, data)
    time_ = run.timing
    assert np.array_equal(run.outputs, golden.loops(nest.problem, data, nest.arch.number("psum")))
    assert (run.moves, run.macs, run.compute_cycles, run.active_pes) == (
        plain.moves,
        plain.macs,
        plain.compute_cycles,
        plain.active_pes,
    )
    assert run.overflow is None
    assert (
        time_.array_cycles == event.array_cycles(nest, plain.folds)
        and time_.compute_cycles == plain.compute_cycles
    )
    assert (
        time_.cycles == time_.array_cycles + sum(time_.stalls.values())
        and min(time_.stalls.values()) >= 0
    )
    assert set(time_.stalls) == {*nest.arch.levels, *nest.arch.networks}
    assert time_.cycles >= max([time_.array_cycles, *time_.busy.values()])
    assert timed.simulate(nest) == time_
    assert differs(nest) is None


@pytest.mark.parametrize("start", slow_but([180], range(0, 240, 60)))
def test_random_nests(start):
    for seed in range(start, start + 60):
        try:
            check(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1_000, 9_000, 500))
def test_many_random_nests(start):
    for seed in range(start, start + 500):
        try:
            check(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def test_nothing_to_wait_for():
    for seed in range(400, 460):
        nest = drawn_nest(seed)
        run = timed.run(nest, operands(nest))
        time_ = run.timing
        assert time_.cycles == time_.array_cycles == event.array_cycles(nest, run.folds)
        assert not any(time_.stalls.values()) and not time_.busy


@pytest.mark.parametrize("many", slow_but([10], [10, 30]))
def test_parts_of_a_pass_do_not_matter(many, monkeypatch):
    # What is planned at once is cut where it would take too much room: the same pass then comes in
    # several parts.
    seeds = [s for s in range(200) if timed.limited_inside(limited_nest(s))][:many]
    whole = [timed.simulate(limited_nest(s)) for s in seeds]
    pes._known.cache_clear()
    monkeypatch.setattr(movement, "ROWS_LIMIT", 10)
    split = 0
    for seed, before in zip(seeds, whole, strict=True):
        nest = limited_nest(seed)
        run = timed.run(nest, operands(nest))
        assert run.timing == before == timed.simulate(nest), f"seed {seed}"
        assert np.array_equal(
            run.outputs, golden.loops(nest.problem, operands(nest), nest.arch.number("psum"))
        )
        passes = sum(
            isinstance(e, Pass)
            for e in movement.movement(nest.framed() if event.stores_padding(nest) else nest)
        )
        split += passes > len({tuple(p.at[i] for i in _outside(nest)) for p in _passes(nest)})
    pes._known.cache_clear()
    assert split > many // 3


def _passes(nest: Nest) -> list[Pass]:
    events = movement.movement(nest.framed() if event.stores_padding(nest) else nest)
    return [e for e in events if isinstance(e, Pass)]


def _outside(nest: Nest) -> list[int]:
    return [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < nest.levels - 2]


# -- one buffer: the formulas and the recurrence of the design -------------------------------------


def groups_nest(
    n: int,
    *,
    g: int = 1,
    c: int = 4,
    f: int = 6,
    m: int = 2,
    level: dict[str, Any] | None = None,
    **more: Any,
) -> Nest:
    """Groups one after another through one buffer: each step loads weights and an ifmap, computes,
    and drains an ofmap.

    ``n`` groups in steps of ``g``; PEs keep nothing and take one MAC a cycle each, m of them side
    by side.  16-bit words.
    """
    arch = {
        "name": "one buffer", "clock_mhz": 100.0, "array": {"rows": 1, "cols": m},
        "levels": {"dram": {}, "buf": {"double_buffered": True, **(level or {})}, "pe": {}},
        "networks": {"link": {"below": "dram"}, "bus": {"below": "buf"}},
        "bits": {"weight": 16, "ifmap": 16, "psum": 16, "ofmap": 16},
        "energy": {
            "mac": 1.0,
            "levels": {"dram": 1.0, "buf": 1.0, "pe": 1.0}, "networks": {"link": 1.0, "bus": 1.0},
        },
    }  # fmt: skip
    for key, value in more.items():
        place, name = key.split("__")
        arch["levels" if place in arch["levels"] else "networks"][place][name] = value
    problem = acc.Problem(N=1, G=n, M=m, C=c, E=1, F=f, R=1, S=1, H=1, W=f)
    keep = {"dram": ALL, "buf": ALL, "pe": ()}
    loops = f"G:{g}:dram G:1:buf M:1:buf:col C:1:buf F:1:buf"
    return Nest(problem, Architecture.model_validate(arch), acc.Mapping(loops=loops, keep=keep))


@dataclass
class Step:
    loads: list[int]
    compute: int
    drain: int


def steps_of(n: int, g: int, c: int, f: int, m: int, cycles: Any) -> list[Step]:
    """The steps of ``groups_nest``; ``cycles(words)`` is what so many words take."""
    steps = []
    while n > 0:
        now = min(g, n)
        steps.append(
            Step([cycles(now * m * c), cycles(now * c * f)], now * c * f, cycles(now * m * f))
        )
        n -= now
    return steps


def recurrence(steps: list[Step], slots: int, shared: bool) -> int:
    """C_i = max(L_i, C_{i-1} + c_{i-1}, D_{i-slots}), each channel serving whoever asked first, of
    equals the drain.
    """
    n = len(steps)
    loaded = [0] * n  # how many of a step's loads are done, and when the last was
    when, begun, done, drained = [0] * n, [None] * n, [None] * n, [None] * n
    free = {"in": 0, "out": 0}
    while None in drained:
        for i, step in enumerate(steps):
            if (
                begun[i] is None
                and loaded[i] == len(step.loads)
                and (not i or done[i - 1] is not None)
            ):
                room = i - slots
                if room < 0 or drained[room] is not None:
                    begun[i] = max(
                        [
                            when[i],
                            *(done[i - 1 : i] if i else ()),
                            *([drained[room]] if room >= 0 else ()),
                        ]
                    )
                    done[i] = begun[i] + step.compute
        # (when, 0 for a drain, step): the next load and the next drain that can be asked for
        asked = []
        for i, step in enumerate(steps):
            if loaded[i] < len(step.loads) and (i < slots or done[i - slots] is not None):
                asked.append((0 if i < slots else done[i - slots], 1, i))
            if drained[i] is None and done[i] is not None:
                asked.append((done[i], 0, i))
        at, load, i = min(asked)
        channel = "in" if shared or load else "out"
        start = max(at, free[channel])
        free[channel] = start + (steps[i].loads[loaded[i]] if load else steps[i].drain)
        if load:
            loaded[i], when[i] = loaded[i] + 1, free[channel]
        else:
            drained[i] = free[channel]
    return max(drained)


@pytest.mark.parametrize("ports", ["shared", "separate"])
@pytest.mark.parametrize("slots", [1, 2])
def test_the_recurrence(ports, slots):
    rng = random.Random(slots)
    for _ in range(40):
        n, g, c, f, m = (
            rng.randint(1, 9),
            rng.randint(1, 3),
            rng.randint(1, 6),
            rng.randint(1, 9),
            rng.randint(1, 5),
        )
        bits, latency, burst = (
            rng.choice((1, 5, 16, 64, 200)),
            rng.choice((0, 0, 7)),
            rng.choice((1, 1, 48)),
        )
        more = {} if burst == 1 else {"dram__burst_bits": burst}
        nest = groups_nest(
            n, g=g, c=c, f=f, m=m, level={"double_buffered": slots == 2},
            dram__port_bits=bits, dram__ports=ports, dram__latency_cycles=latency, **more,
        )  # fmt: skip
        steps = steps_of(
            n,
            g,
            c,
            f,
            m,
            lambda words, b=burst, w=bits, x=latency: -(-(-(-16 * words // b) * b) // w) + x,
        )
        want = recurrence(steps, slots, ports == "shared")
        got = timed.simulate(nest)
        assert got.cycles == want, (n, g, c, f, m, bits, latency, burst)
        assert (
            got.array_cycles == sum(s.compute for s in steps)
            and got.stalls["dram"] == got.stall_cycles
        )


def test_formulas_of_the_design():
    for n, bits in [(2, 8), (3, 16), (6, 64), (7, 128), (5, 16), (4, 400)]:
        (first, *_) = steps_of(n, 1, 6, 9, 3, lambda words, w=bits: -(-16 * words // w))
        load, compute, drain = sum(first.loads), first.compute, first.drain
        own, one = (
            timed.simulate(
                groups_nest(n, c=6, f=9, m=3, dram__port_bits=bits, dram__ports=p)
            ).cycles
            for p in ("separate", "shared")
        )
        assert own == load + compute + drain + (n - 1) * max(load, compute, drain)
        assert one == max(
            load + n * compute + drain,
            n * (load + drain) + max(compute - load, 0) + max(compute - drain, 0),
        )
        alone = groups_nest(
            n,
            c=6,
            f=9,
            m=3,
            level={"double_buffered": False},
            dram__port_bits=bits,
            dram__ports="shared",
        )
        assert timed.simulate(alone).cycles == n * (load + compute + drain)


def test_half_the_width_of_a_full_channel_takes_twice_as_long():
    steps = steps_of(8, 1, 6, 9, 3, lambda words: words)
    words = sum(sum(s.loads) + s.drain for s in steps)
    for bits in (2, 4, 8):
        time_ = timed.simulate(groups_nest(8, c=6, f=9, m=3, dram__port_bits=bits))
        assert time_.busy["dram"] == 16 * words // bits
        assert (
            0 <= time_.cycles - time_.busy["dram"] <= steps[0].compute
        )  # the channel never rests but for one step's work
    channel = {
        bits: timed.simulate(groups_nest(8, c=6, f=9, m=3, dram__port_bits=bits)).busy["dram"]
        for bits in (2, 4)
    }
    assert channel[2] == 2 * channel[4]


def test_clocks_and_latencies():
    # A port at 60 MHz beside a core at 100: 5/3 cycles for each of the port's, rounded up once a
    # transfer; so is the latency.
    port = {"dram__port_bits": 16, "dram__port_clock_mhz": 60.0, "dram__latency_cycles": 2}
    nest = groups_nest(1, c=2, f=2, m=2, **port)
    loads = [-(-4 * 5 // 3) + 4] * 2
    assert timed.simulate(nest).cycles == sum(loads) + 4 + (-(-4 * 5 // 3) + 4)


def test_a_chain_and_stages():
    layer = acc.Conv2d(M=4, C=6, H=6, W=6, R=3, S=3).problem()
    over = {
        "networks.noc.accumulated": "chain",
        "array.pipeline_stages": 3,
        "levels.dram": {},
        "networks.noc.width_bits": None,
    }
    arch = acc.load_architecture("eyeriss", over)
    nest = acc.Nest(layer, arch, acc.choose(layer, arch, acc.load_dataflow("rs")))
    links = sum(
        np.prod(
            [x.trips for x in nest.loops if x.axis == axis and not nest.loop_depends(x, "ofmap")],
            initial=1,
        )
        - 1
        for axis in ("row", "col")
    )
    time_ = timed.simulate(nest)
    assert links > 0 and time_.cycles == time_.compute_cycles + 2 + links


# -- inside a pass ---------------------------------------------------------------------------------


def pe_nest(queued: tuple[str, ...] = (), width: Any = None, port: int | None = None) -> Nest:
    """o[m, f] += w[m, c] i[c, f]: PEs keep a weight, an ifmap word and a sum; two filters side by
    side, c and f in turn.
    """
    arch = {
        "name": "one PE array", "clock_mhz": 100.0, "array": {"rows": 1, "cols": 2},
        "levels": {"dram": {"port_bits": port}, "pe": {"queued": queued}},
        "networks": {"bus": {"below": "dram", "width_bits": width}},
        "bits": {"weight": 8, "ifmap": 8, "psum": 8, "ofmap": 8},
        "energy": {"mac": 1.0, "levels": {"dram": 1.0, "pe": 1.0}, "networks": {"bus": 1.0}},
    }  # fmt: skip
    problem = acc.Problem(N=1, G=1, M=2, C=3, E=1, F=4, R=1, S=1, H=1, W=4)
    mapping = acc.Mapping(loops="M:1:dram:col C:1:dram F:1:dram", keep={"dram": ALL, "pe": ALL})
    return Nest(problem, Architecture.model_validate(arch), mapping)


def test_phases_by_hand():
    # For each of 3 channels a phase of 4 MAC steps: 2 weights first, then each step one ifmap word
    # down and 2 sums up. Exposed: 2 words. Ramp: 1 ifmap word. Body: 3 more of them beside 6 sums
    # and 4 MAC steps. Tail: 2 sums.
    channels_ = {"weight": 8, "ifmap": 8, "ofmap": 8}
    time_ = timed.simulate(pe_nest(("ifmap", "ofmap"), channels_))
    assert (
        time_.cycles == 3 * (2 + 1 + 6 + 2)
        and time_.compute_cycles == 12
        and time_.stalls["bus"] == 21
    )
    # One channel for all: 3 ifmap words and 6 sums in the body take turns.
    assert timed.simulate(pe_nest(("ifmap", "ofmap"), 8)).cycles == 3 * (2 + 1 + 9 + 2)
    # Nothing exposed: one phase, of 12 steps. Ramp: 2 weights beside 1 ifmap word.
    assert timed.simulate(pe_nest(ALL, channels_)).cycles == 2 + 22 + 2
    # All exposed: a phase for every step.
    assert timed.simulate(pe_nest((), channels_)).cycles == 3 * (2 + 1 + 2) + 9 * (1 + 1 + 2)
    # The memory's port carries everything, and again what is read to be added to: first arrivals
    # are not.
    ramp, body, tail = 2 + 1, 11 * 1 + 4 + 22 + 16, 2
    assert timed.simulate(pe_nest(ALL, None, 8)).cycles == ramp + body + tail


def test_events_without_steps_are_refused():
    nest = pe_nest(ALL, 8)
    with pytest.raises(ValueError, match="stepwise=True"):
        timed.run(nest, operands(nest), movement.movement(nest))
    timed.run(nest, operands(nest), movement.movement(nest, stepwise=True))


# -- the faults it must not have -------------------------------------------------------------------

FAULTS: dict[str, tuple[Any, str, Any]] = {
    "fills before drains": (
        channels, "arrival", lambda now, drain, place: (now, 1 if drain else 0, place),
    ),
    "last come, first served": (
        channels, "arrival", lambda now, drain, place: (-now, 0 if drain else 1, place),
    ),
    "the nest before the clock": (channels, "arrival", lambda now, drain, place: (place, 0, now)),
    "drains whenever there are any": (
        channels, "arrival", lambda now, drain, place: (0 if drain else now + 1, 0, place),
    ),
    "one request for a whole pass": (engine, "CHUNKS", 1),
    "no latency": (resources.Limits, "latency", lambda self, level: 0),
    "the innermost is the slowest": (
        resources.Limits, "slowest",
        lambda self, each: max(sorted(each)[::-1], key=lambda x: x[1], default=(None, 0)),
    ),
    "nothing exposed": (inside, "exposed_operands", lambda nest: frozenset()),
    "sums come without a tail": (inside.PassWords, "after", lambda self, drain, first: None),
    "transfers do not wait": (channels, "wait_for", lambda events: iter(())),
    "drains do not wait for those inside": (
        feed.TransferFeed, "inner", property(lambda self: {}, lambda self, value: None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_shows(name, monkeypatch):
    module, attribute, wrong = FAULTS[name]
    monkeypatch.setattr(module, attribute, wrong, raising=False)
    if attribute == "wait_for":
        monkeypatch.setattr(engine, attribute, wrong)
    for seed in range(240):
        try:
            if differs(limited_nest(seed)) is not None:
                return
        except Exception:
            return
    pytest.fail(f"{name}: the same time on all nests")


def test_an_endless_wait_is_told(monkeypatch):
    monkeypatch.setattr(channels.Channel, "release", lambda self: None)
    with pytest.raises(RuntimeError, match="stands still at cycle"):
        timed.simulate(groups_nest(3, dram__port_bits=8))


# -- who was busy when, and what was held ----------------------------------------------------------


@pytest.mark.parametrize("many", slow_but([40], [40, 120]))
def test_timeline_and_occupancy(many):
    for seed in range(many):
        nest = limited_nest(seed)
        time_ = timed.simulate(nest, timeline=True)
        assert time_.timeline is not None and time_.occupancy is not None
        assert (time_.cycles, time_.stalls, time_.busy) == (lambda x: (x.cycles, x.stalls, x.busy))(
            timed.simulate(nest)
        )
        frame = time_.timeline.to_frame()
        assert list(frame.columns) == [
            "resource",
            "what",
            "tensor",
            "start",
            "end",
            "words",
            "step",
        ]
        shared = (
            (frame["what"] == "pass") & (frame["tensor"] == "") & (frame["resource"] != "array")
        ).any()  # then passes may be held up
        assert frame.attrs == {"note": "", "resources": [*time_.busy, "array"]}
        for name, rows in frame.groupby("resource"):
            start, end = rows["start"].to_numpy(), rows["end"].to_numpy()
            assert (start[1:] >= end[:-1]).all() and start[0] >= 0, (
                f"seed {seed}: {name} is used twice at once"
            )
            assert end.max() <= time_.cycles
            if name in time_.busy and not shared:
                assert (end - start).sum() == time_.busy[name], f"seed {seed}: {name}"
        held = time_.occupancy.to_frame()
        assert (held["words"] >= 0).all()
        last = held.sort_values("time", kind="stable").groupby(["level", "tensor"])["words"].last()
        assert not last[last.index.get_level_values("tensor") == nest.problem.accumulated].any()


def test_occupancy_by_hand():
    # One buffer of two slots: weights 4, ifmap 8, ofmap 8 words a step. While one step is worked on
    # the next comes in.
    time_ = timed.simulate(groups_nest(3, c=2, f=4, m=2, dram__port_bits=16), timeline=True)
    assert time_.occupancy is not None
    held = {
        t: rows[["time", "words"]].to_numpy().tolist()
        for t, rows in time_.occupancy.to_frame().groupby("tensor")
    }
    # L0 0-12, L1 12-24, C0 12-20, D0 24-32 asked for at 20 behind L1, C1 24-32, L2 (asked for at
    # 20) 32-44, D1 44-52, C2 44-52, D2 52-60
    assert time_.cycles == 60
    assert held["weight"] == [[0, 4], [12, 8], [20, 4], [32, 4], [52, 4]] or held["weight"] == [
        [0, 4],
        [12, 8],
        [20, 4],
        [32, 4],
    ]
    assert max(n for _, n in held["ifmap"]) == 16 and max(n for _, n in held["ofmap"]) == 16
    assert held["ofmap"][-1] == [60, 0]


def test_a_long_timeline_is_merged(monkeypatch):
    nest = groups_nest(60, c=2, f=3, dram__port_bits=16)
    whole = timed.simulate(nest, timeline=True)
    monkeypatch.setattr(timeline, "MOST_ROWS", 50)
    short = timed.simulate(nest, timeline=True)
    assert (
        whole.timeline is not None
        and short.timeline is not None
        and short.occupancy is not None
        and whole.occupancy is not None
    )
    before, after = whole.timeline.to_frame(), short.timeline.to_frame()
    assert (
        whole.timeline.note == ""
        and f"the same {short.timeline.merged} cycles are one" in short.timeline.note
    )
    assert len(after) <= 50 < len(before) and after.attrs["note"] == short.timeline.note
    assert after["words"].sum() == before["words"].sum()
    assert (after["end"] - after["start"]).sum() == (before["end"] - before["start"]).sum()
    assert len(short.occupancy) <= 50 < len(whole.occupancy)
    assert short.occupancy.to_frame()["words"].max() == whole.occupancy.to_frame()["words"].max()
