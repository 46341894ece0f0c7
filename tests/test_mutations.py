"""The closed form, broken on purpose in many ways: every mutation must show on the random nests of
test_counts.

Each entry replaces one snippet of ``rank_sums.py`` or ``closed_form.py``; the mutated modules are run beside the real ones
and must differ from the oracle (or fail) somewhere on the same seeds that the counting tests use.
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

from accelsim.engines import analytic
from accelsim.engines.analytic import closed_form
from accelsim.engines.analytic import rank_sums as tables
from accelsim.mapping.nest import Nest

SEEDS = range(1100)

MUTATIONS = {
    "tail trip lost": ("tables", "trips.append(-(-current[part] // tile))", "trips.append(max(current[part] // tile, 1))"),
    "tail not short": ("tables", "hi[part] = np.minimum(hi[part], lo[part] + tile)", "hi[part] = lo[part] + tile"),
    "chunk tail not short": ("tables", "np.minimum(last, first + (i + 1) * tile)", "first + (i + 1) * tile"),
    "last trip not ragged": ("tables", "np.maximum(-(-size // self.loops[i][1]) - 1, 0)", "np.int64(self.trips[i] - 1)"),
    "no step of history": ("tables", "before[fixed[-1]] = now[fixed[-1]] - 1", "before[fixed[-1]] = now[fixed[-1]]"),
    "inner loops do not restart": ("tables", "line.last(before, line.temporal[outside + own :])", "pass"),
    "steps nobody takes": ("tables", "x = int((before.size() * step_exists(line, index[0])).sum())", "x = int(np.asarray(before.size()).sum())"),
    "all kept": ("tables", "o = 0 if own else int(np.asarray(now.common(before)).sum())", "o = 0 if own else s"),
    "nothing kept": ("tables", "o = 0 if own else int(np.asarray(now.common(before)).sum())", "o = 0"),
    "idle counted": ("tables", "for m in (True, False)", "for m in (True, True)"),
    "union for sum": ("tables", "now.sum(),\n", "now.any(axis=merged).sum(),\n"),
    "sum for union": ("tables", "            u.sum(),\n", "            now.sum(),\n"),
    "union less union": ("tables", "(u & ~came).sum()", "(u & x).sum()"),
    "arrivals by entry": ("tables", "(x & ~went).sum()", "(u & ~came).sum()"),
    "links as multicast": ("tables", "(u & x).sum(),\n        ]", "(u & ~came).sum(),\n        ]"),
    "gaps filled": ("tables", "(e >= 0) & (e % slide.stride == 0) &", "(e >= 0) &"),
    "padding read": ("tables", "np.arange(slide.size)[:, None] + slide.pad", "np.arange(slide.size)[:, None]"),
    "tap off by one": ("tables", "& (r_lo + step < r_hi)", "& (r_lo + step <= r_hi)"),
    "sliding steps nobody takes": ("tables", "sets.append(part & steps)", "sets.append(part)"),
    "chunks overlap wholly": ("tables", "return np.where(both > 0, np.maximum(same, 0), 0)", "return np.asarray(both)"),
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
    "fused parts stand apart": ("analytic", "if i in self.loops and part in (None, x.dim):", "if i in self.loops and x.dim in (part, *chain.parts):"),
}  # fmt: skip


@cache
def cases() -> tuple[tuple[Nest, dict[str, Any]], ...]:
    """Nests and what the oracle says crosses their boundaries."""
    drawn = []
    for seed in SEEDS:
        nest = drawn_nest(seed)
        drawn.append((nest, oracle.count(*as_oracle(nest))["primitives"]))
    return tuple(drawn)


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
    """``moves`` of an analytic engine with one snippet replaced."""
    sources = {
        name: Path(str(m.__file__)).read_text()
        for name, m in (("tables", tables), ("analytic", closed_form))
    }
    assert sources[module].count(old) == 1, f"{module} has {sources[module].count(old)} of {old!r}"
    sources[module] = sources[module].replace(old, new)
    sources["analytic"] = sources["analytic"].replace(
        "accelsim.engines.analytic.rank_sums", "mutated_tables"
    )
    twins = {}
    for name in ("tables", "analytic"):
        twins[name] = sys.modules[f"mutated_{name}"] = types.ModuleType(f"mutated_{name}")
        exec(compile(sources[name], f"mutated {name}", "exec"), twins[name].__dict__)
    return twins["analytic"].moves


def test_unmutated_agrees() -> None:
    assert all(agrees(analytic.moves, nest, truth) for nest, truth in cases())


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_caught(name: str) -> None:
    run = mutated(*MUTATIONS[name])
    for nest, truth in cases():
        try:
            if not agrees(run, nest, truth):
                return
        except Exception:
            return
    pytest.fail(f"{name}: no difference on {len(SEEDS)} nests")
