"""Words setting by setting add up to the closed form's totals, whatever loops are listed, and are
what event moves in each step.
"""

from __future__ import annotations

import random

import pytest
from nests import drawn_nest
from quick import slow_but

from accelsim.engines import analytic
from accelsim.engines.analytic.settings import StepSettings
from accelsim.engines.event.movement import Drain, Fill, Pass, movement
from accelsim.mapping.nest import Nest

CHUNKS, EACH = 5, 60
chunks = pytest.mark.parametrize("chunk", slow_but([0, 1], range(CHUNKS)))


def temporal(nest: Nest, child: int) -> list[int]:
    return [i for i, x in enumerate(nest.loops) if not x.spatial and x.level < child]


@chunks
def test_settings_add_up_to_the_closed_form(chunk):
    for seed in range(chunk * EACH, (chunk + 1) * EACH):
        nest, rng = drawn_nest(seed), random.Random(seed)
        total = analytic.moves(nest)
        for b in nest.boundaries:
            loops = temporal(nest, b.child)
            for cut in {0, len(loops), rng.randint(0, len(loops))}:
                m = StepSettings(nest, loops[:cut]).moves(b)
                assert (m.first >= 0).all() and (m.rest >= 0).all() and (m.last >= 0).all(), (
                    seed,
                    b,
                    cut,
                )
                want = total[b].arrived if b.tensor == nest.problem.accumulated else total[b].read
                assert int((m.first + m.rest + m.last).sum()) == want, (seed, b, cut)
                if (
                    b.tensor != nest.problem.accumulated
                    and not nest.projection(b.tensor, b.child).pairs
                ):
                    assert int(m.taken.sum()) == total[b].taken, (seed, b, cut)


@chunks
def test_each_step_is_what_event_moves(chunk):
    seen = 0
    for seed in range(chunk * EACH, (chunk + 1) * EACH):
        nest = drawn_nest(seed)
        last = nest.levels - 1
        framed = (
            nest.framed()
            if nest.arch.padding is not None and nest.problem.accumulated != "ifmap"
            else nest
        )
        outer = [i for i in temporal(nest, last) if nest.loops[i].level < last - 1]
        for b in [
            b
            for b in nest.boundaries
            if b.child == last - 1 and not nest.projection(b.tensor, b.child).pairs
        ]:
            fills, drains, steps = [], [], 0
            for event in movement(framed):
                if isinstance(event, Fill) and str(event.boundary) == str(b):
                    fills.append((steps, sum(n for _, n in event.reads)))
                elif isinstance(event, Drain) and str(event.boundary) == str(b):
                    drains.append((steps - 1, sum(n for _, n in event.arrivals)))
                elif isinstance(event, Pass):
                    steps += 1
            settings = StepSettings(nest, outer)
            there, m = settings.exists, settings.moves(b)
            if int(there.sum()) != steps:  # a pass too large to plan at once is cut
                continue
            words = m.last[there] if b.tensor == nest.problem.accumulated else m.first[there]
            moved = dict(drains if b.tensor == nest.problem.accumulated else fills)
            assert [int(w) for w in words] == [moved.get(i, 0) for i in range(steps)], (seed, b)
            seen += steps
    assert seen > 200
