"""Work of every kind, drawn by a seed, for ``test_threads``: ``python thread_jobs.py SEED JOBS
THREADS`` prints a JSON list of what each job gave, after which the first ones are done again in one
thread.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import accelsim as acc

MACHINES = ("eyeriss", "systolic", "shidiannao", "tpu_v1")
FLOWS = ("ws", "os", "is", "rs", "nlr")
AGAIN = 20  # jobs at most that are done again at the end, by one thread


def layer(draw: random.Random, most: int) -> acc.Conv2d:
    """A small layer: few of each kind, so that threads meet at what is kept."""
    return acc.Conv2d(
        name="conv",
        M=draw.choice((2, 3, most)),
        C=draw.choice((1, 3, most)),
        H=draw.choice((7, most)),
        W=draw.choice((6, most)),
        R=3,
        S=draw.choice((1, 3)),
        stride=draw.choice((1, 2)),
        padding=draw.choice((0, 1)),
    )


def machine(draw: random.Random) -> dict[str, Any]:
    """Keywords of an architecture, other sizes than the preset's mostly."""
    sizes = {"array.rows": draw.randint(2, 7), "array.cols": draw.randint(2, 7)}
    return {"arch": draw.choice(MACHINES), "overrides": draw.choice((sizes, sizes, {}))}


def rows(result: acc.Result) -> str:
    """All that is said of the rows, with what JSON adds."""
    return result.to_json()


def analytic(draw: random.Random) -> str:
    return rows(
        acc.simulate(
            layer(draw, 9),
            dataflow=draw.sample(FLOWS, 2),
            batch=draw.choice((None, 1, 2)),
            direction=draw.choice(("forward", "forward", "grad_weight", "grad_input")),
            **machine(draw),
        )
    )


def resized(draw: random.Random) -> str:
    """One layer on arrays of many sizes: threads meet at one skeleton with tiles of their own."""
    one = acc.Conv2d(name="conv", M=12, C=6, H=14, W=14, R=3, S=3, padding=1)
    sizes = {"array.rows": draw.randint(3, 5), "array.cols": draw.randint(2, 60)}
    return rows(acc.simulate(one, "eyeriss", draw.choice(("rs", "ws")), overrides=sizes))


def carried_out(draw: random.Random) -> str:
    return rows(
        acc.simulate(
            layer(draw, 4),
            dataflow=draw.choice(FLOWS),
            engine=draw.choice(("event", "event", "cycle")),
            **machine(draw),
        )
    )


def compared(draw: random.Random) -> str:
    one = layer(draw, 4)
    return rows(acc.simulate(one, dataflow=draw.choice(FLOWS), check=True, **machine(draw)))


def named(draw: random.Random) -> str:
    name = draw.choice(("lenet5", "alexnet"))
    network = acc.load_workload(name)
    chosen = [draw.choice(network.names)]
    arch = draw.choice(acc.architectures())
    return rows(acc.simulate(name, arch, draw.choice(acc.dataflows()), layers=chosen))


def mapped(draw: random.Random) -> str:
    one = acc.Conv2d(M=draw.choice((4, 6)), C=2, H=6, W=6, R=3, S=3, padding=1)
    best = acc.map_layer(
        one,
        draw.choice(("eyeriss", "systolic")),
        draw.choice(("ws", "os")),
        tiles=draw.choice(("divisors", "even")),
    )
    return f"{best.mapping} {rows(best.result)}"


def swept(draw: random.Random) -> str:
    grid = {"array.rows": sorted(draw.sample(range(2, 9), 3)), "array.cols": [3, 4]}
    one = layer(draw, 6)
    flows = draw.sample(FLOWS, 2)
    return str(acc.sweep(one, draw.choice(MACHINES), grid, dataflows=flows, jobs=1).to_json())


def whole(draw: random.Random) -> str:
    return rows(acc.simulate("lenet5", dataflow="ws", end_to_end=True, **machine(draw)))


KINDS: list[tuple[Callable[[random.Random], str], int]] = [
    (resized, 8),
    (carried_out, 8),
    (analytic, 24),
    (compared, 4),
    (named, 4),
    (mapped, 1),
    (swept, 3),
    (whole, 1),
]


def job(seed: int, number: int) -> str:
    """What a job gives; one that may not be done says why.  Some stretches are of one kind, so that
    threads do the same thing to different numbers.
    """
    draw = random.Random(f"{seed} {number}")
    block = number // 60
    if block % 2 == 0:
        work = KINDS[block // 2 % len(KINDS)][0]
    else:
        (work,) = draw.choices([k for k, _ in KINDS], [often for _, often in KINDS])
    try:
        return f"{work.__name__}: {work(draw)}"
    except ValueError as error:
        return f"{work.__name__}: {type(error).__name__} {error}"


def main(seed: int, jobs: int, threads: int) -> None:
    numbers = list(range(jobs))
    if threads == 1:
        gave = {i: job(seed, i) for i in reversed(numbers)}  # what is kept is met in another order
    else:
        sys.setswitchinterval(1e-6)
        with ThreadPoolExecutor(threads) as pool:
            gave = dict(zip(numbers, pool.map(lambda i: job(seed, i), numbers), strict=True))
        sys.setswitchinterval(5e-3)
    again = [job(seed, i) for i in numbers[: min(AGAIN, jobs // 3)]]
    print(json.dumps([gave[i] for i in numbers] + again))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
