"""The closed form, broken on purpose in many ways: every mutation must show on the random nests of
test_counts.

Each entry replaces one snippet of a module of the closed form; the mutated modules are run beside
the real ones, by Python where those are compiled, and must differ from the oracle (or fail)
somewhere on the same seeds that the counting tests use.
"""

from __future__ import annotations

import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

import oracle
import pytest
from nests import as_oracle, drawn_nest
from quick import slow_but

from accelsim.engines import analytic
from accelsim.engines.analytic import closed_form, rank_sums
from accelsim.mapping.nest import Nest

FEW, SEEDS = range(60), range(1100)
MODULES = {"sums": rank_sums, "analytic": closed_form}  # in the order of their imports

MUTATIONS = {
    "tail trip lost": ("sums", "return -(-extent // tile)", "return max(extent // tile, 1)"),
    "tail not short": ("sums", "return tile if left > tile else left if left > 0 else 0", "return tile if left > 0 else 0"),
    "chunk is the box": ("sums", "return box if chunk < 0 or box == 0 else chunk", "return box"),
    "last trip not ragged": ("sums", "earlier = index_before(mode, index, first_before, tile)", "earlier = index_before(mode, index, first_now, tile)"),
    "no step of history": ("sums", "return index - 1", "return index"),
    "inner loops do not restart": ("sums", "return max(trips(first_before, tile) - 1, 0)", "return index"),
    "inner loops stand": ("sums", "start, stop = 0, 1\n    if mode == STANDS or", "start, stop = 0, 1\n    if mode == STANDS or mode == RESTARTS or"),
    "steps nobody takes": ("sums", "if mode == ADVANCES else 0, trips(first_now, tile)", "if mode == ADVANCES else 0, trips(first_now, tile) + (mode == ADVANCES)"),
    "all kept": ("sums", "often * now * old[row, 4 * width]", "often * now"),
    "nothing kept": ("sums", "often * now * old[row, 4 * width]", "0"),
    "idle counted": ("sums", "often * (now > 0)", "often"),
    "equal classes lost": ("sums", "classes[at, last] += classes[new, last]", "pass"),
    "runs end late": ("sums", "return whole - index if index < whole else 1 if index == whole else ENDLESS", "return whole + 1 - index if index <= whole else ENDLESS"),
    "one instance for its group": ("sums", "SHARES if merged else FIRST", "SHARES"),
    "a group for one instance": ("sums", "SHARES if merged else FIRST", "FIRST"),
    "arrivals as kept": ("sums", '"X": LEFT}', '"X": KEPT}'),
    "one tap reads no padding": ("sums", "r.sizes == (1,) and slide.pad == 0 and", "r.sizes == (1,) and"),
    "all kept of a window": ("sums", "sums[1] += both", "sums[1] += now"),
    "sum for union": ("sums", "sums[2] += now > 0", "sums[2] += now"),
    "union less union": ("sums", "sums[3] += now > 0 and both == now", "sums[3] += now > 0 and before > 0"),
    "arrivals by entry": ("sums", "sums[5] += before > 0 and both == before", "sums[5] += now > 0 and both == now"),
    "links as multicast": ("sums", "sums[6] += now > 0 and before > 0", "sums[6] += now > 0 and both == now"),
    "gaps filled": ("sums", "at += slide[0]", "at += 1"),
    "padding read": ("sums", "at = slide[0] * e_low + slide[1] * tap - slide[2]", "at = slide[0] * e_low + slide[1] * tap"),
    "tap off by one": ("sums", "for tap in range(r_low, r_high):", "for tap in range(r_low, r_high - 1):"),
    "sliding steps nobody takes": ("sums", "    if mode == SHARES:\n        stop = 1\n", "    stop = 1 if mode == SHARES else stop + (mode == ADVANCES)\n"),
    "moved out of the padding": ("sums", "if left and free[0] <= low and high <= free[1]:", "if left:"),
    "edges look alike": ("sums", "if begin + here * tile < free[0]:", "if False:"),
    "tails look alike": ("sums", "(min(end, free[1]) - begin) // tile - here", "trips(min(end, free[1]) - begin, tile) - here"),
    "equal arrangements lost": ("sums", "heads[at, OFTEN] += heads[new, OFTEN]", "pass"),
    "instances told apart": ("sums", "new[MEMBERS] = many", "new[MEMBERS] = min(many, 1)"),
    "met once": ("sums", "sums[choice, at] += often * each", "sums[choice, at] += each"),
    "pairs: no step of history": ("sums", "low[depth + 1, part] += index_before(mode, index[depth], first_before, tile) * tile", "low[depth + 1, part] += index[depth] * tile"),
    "pairs: inner loops do not restart": ("sums", "index_before(mode, index[depth], first_before, tile) * tile", "(index[depth] - (mode == ADVANCES)) * tile"),
    "pairs: chunk without a place": ("sums", "at += low[width - 1] // inner", "at += 0"),
    "pairs: gone ones kept": ("sums", "(kept and not held[0, 4 * width])", "False"),
    "pairs: idle ones held": ("sums", "if words(held, 0, BEFORE) == 0 or", "if"),
    "irrelevant terms dropped": ("analytic", "if not chain.depends(self.b.tensor):\n            return False", "if not chain.depends(self.b.tensor):\n            return True"),
    "sliding terms dropped": ("analytic", "return not any(len(rank) == 2", "return True or not any(len(rank) == 2"),
    "final drain dropped": ("analytic", 'terms = [(1.0, self._factors("X", None, final=True))]', "terms = []"),
    "arrivals telescoped": ("analytic", 'terms.append((-1.0, self._factors("Y", k)))', 'terms.append((-1.0, self._factors("K", k)))'),
    "the MAC remembers": ("analytic", "        if not self.mac:\n            terms +=", "        if True:\n            terms +="),
    "first arrivals read": ("analytic", "updated=arrived - free", "updated=arrived"),
    "parents are one": ("analytic", 'return "g" if x.level < self.b.parent or', 'return "g" if'),
    "outside off by one": ("analytic", "else (sum(i < k for i in own), k in own)", "else (sum(i <= k for i in own), k in own)"),
    "zeros from the parent": ("analytic", 'self.b.child if which in ("S", "O") else self.b.parent', "self.b.child"),
    "zeros not stored": ("analytic", 'self.b.child if which in ("S", "O") else self.b.parent', "self.b.parent"),
    "fused parts stand apart": ("analytic", "if self.nest.loops[i].dim == part]", "if self.nest.loops[i].dim in (part, *chain.parts)]"),
}  # fmt: skip

# What the first few nests do not show.
LATE = (
    *("arrivals by entry", "links as multicast", "arrivals telescoped", "pairs: idle ones held"),
    *("pairs: no step of history", "pairs: inner loops do not restart"),
    "pairs: chunk without a place",
)


@cache
def case(seed: int) -> tuple[Nest, dict[str, Any]]:
    """A nest and what the oracle says crosses its boundaries."""
    nest = drawn_nest(seed)
    return nest, oracle.count(*as_oracle(nest))["primitives"]


def agrees(run: Any, nest: Nest, truth: dict[Any, Any]) -> bool:
    for b, m in run(nest).items():
        want = truth[b.parent, "mac" if b.child == nest.levels else b.child, b.tensor]
        acc = b.tensor == nest.problem.accumulated
        if acc and (m.drained, m.arrived, m.updated) != (
            want["drains"],
            want["arrivals"],
            want["update_reads"],
        ):
            return False
        if not acc and (m.taken, m.read) != (want["child_in"], want["parent_reads"]):
            return False
    return True


def mutated(module: str, old: str, new: str) -> Any:
    """``moves`` of an analytic engine with one snippet replaced; its kernels are run by Python."""
    sources = {name: Path(str(m.__file__)).read_text() for name, m in MODULES.items()}
    assert sources[module].count(old) == 1, f"{module} has {sources[module].count(old)} of {old!r}"
    sources[module] = sources[module].replace(old, new)
    for name in sources:
        text = sources[name].replace(
            "from accelsim.base.compiled import kernel",
            "kernel = lambda function: function",
        )
        for twin, m in MODULES.items():
            text = text.replace(m.__name__, f"mutated_{twin}")
        sources[name] = text
    for name in MODULES:
        made = sys.modules[f"mutated_{name}"] = types.ModuleType(f"mutated_{name}")
        exec(compile(sources[name], f"mutated {name}", "exec"), made.__dict__)
    return sys.modules["mutated_analytic"].moves  # type: ignore[attr-defined]


@pytest.mark.parametrize("seeds", slow_but([FEW], [FEW, SEEDS]), ids=len)
def test_unmutated_agrees(seeds: range) -> None:
    assert all(agrees(analytic.moves, *case(seed)) for seed in seeds)


@pytest.mark.parametrize("name", slow_but(MUTATIONS.keys() - LATE, MUTATIONS))
def test_mutation_is_caught(name: str) -> None:
    run = mutated(*MUTATIONS[name])
    for seed in SEEDS:
        try:
            if not agrees(run, *case(seed)):
                return
        except Exception:
            return
    pytest.fail(f"{name}: no difference on {len(SEEDS)} nests")
