"""The closed form, broken on purpose in many ways: every mutation must show on the random nests of
test_counts.

Each entry replaces one snippet of a module of the closed form; the mutated modules are run beside
the real ones, by Python where those are compiled, and must differ from the oracle (or fail) somewhere on the same seeds that the counting tests use.
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
from accelsim.engines.analytic import chain_positions, closed_form, piece_classes, rank_sums
from accelsim.mapping.nest import Nest

SEEDS = range(1100)
MODULES = {
    "kernels": piece_classes,
    "positions": chain_positions,
    "tables": rank_sums,
    "analytic": closed_form,
}  # in the order of their imports

MUTATIONS = {
    "tail trip lost": ("kernels", "return -(-extent // tile)", "return max(extent // tile, 1)"),
    "tail not short": ("kernels", "return min(max(extent - index * tile, 0), tile)", "return tile if extent > index * tile else 0"),
    "chunk is the box": ("kernels", "return words if extents[parts] < 0 or words == 0 else extents[parts]", "return words"),
    "last trip not ragged": ("kernels", "before = index_before(mode, index, extents[FIRST_BEFORE], tile)", "before = index_before(mode, index, extents[FIRST_NOW], tile)"),
    "no step of history": ("kernels", "return index - 1", "return index"),
    "inner loops do not restart": ("kernels", "return max(trips(first_before, tile) - 1, 0)", "return index"),
    "inner loops stand": ("kernels", "if mode == STANDS:\n        return 0,", "if mode in (STANDS, RESTARTS):\n        return 0,"),
    "steps nobody takes": ("kernels", "return 1, trips(first_now, tile)", "return 1, trips(first_now, tile) + 1"),
    "all kept": ("kernels", "often * now * one[4 * width]", "often * now"),
    "nothing kept": ("kernels", "often * now * one[4 * width]", "0"),
    "idle counted": ("kernels", "often * (now > 0)", "often"),
    "equal classes lost": ("kernels", "classes[at, last] += new[last]", "pass"),
    "runs end late": ("kernels", "for edge in range(whole, whole + 2):", "for edge in range(whole + 1, whole + 2):"),
    "one instance for its group": ("tables", "SHARES if merged else FIRST", "SHARES"),
    "a group for one instance": ("tables", "SHARES if merged else FIRST", "FIRST"),
    "arrivals as kept": ("tables", '"X": LEFT}', '"X": KEPT}'),
    "one tap reads no padding": ("tables", "r.sizes == (1,) and slide.pad == 0 and", "r.sizes == (1,) and"),
    "all kept of a window": ("kernels", "sums[1] += now and before", "sums[1] += now"),
    "sum for union": ("kernels", "total[2] += union", "total[2] = total[0]"),
    "union less union": ("kernels", "total[3] += union and marks[CAME, at] != group", "total[3] += union and before"),
    "arrivals by entry": ("kernels", "total[5] += before and marks[WENT, at] != group", "total[5] += union and marks[CAME, at] != group"),
    "links as multicast": ("kernels", "total[6] += union and before", "total[6] += union and marks[CAME, at] != group"),
    "gaps filled": ("kernels", "at += slide[0]", "at += 1"),
    "padding read": ("kernels", "at = slide[0] * e_low + slide[1] * tap - slide[2]", "at = slide[0] * e_low + slide[1] * tap"),
    "tap off by one": ("kernels", "for tap in range(r_low, r_high):", "for tap in range(r_low, r_high - 1):"),
    "sliding steps nobody takes": ("kernels", "            if mode == SHARES:\n                stop = 1\n", "            stop = 1 if mode == SHARES else stop + (mode == ADVANCES)\n"),
    "moved out of the padding": ("kernels", "if left and free_low <= low and high <= free_high:", "if left:"),
    "edges look alike": ("kernels", "if begin + here * tile < low:", "if False:"),
    "tails look alike": ("kernels", "(min(end, high) - begin) // tile - here", "trips(min(end, high) - begin, tile) - here"),
    "equal arrangements lost": ("kernels", "new_heads[at, OFTEN] += head[OFTEN]", "pass"),
    "instances told apart": ("kernels", "new[MEMBERS] = share(old, head[MEMBERS], tile, members)", "new[MEMBERS] = min(share(old, head[MEMBERS], tile, members), 1)"),
    "met once": ("kernels", "sums[choice, at] += often * each", "sums[choice, at] += each"),
    "pairs: no step of history": ("positions", "before[fixed[-1]] = now[fixed[-1]] - 1", "before[fixed[-1]] = now[fixed[-1]]"),
    "pairs: inner loops do not restart": ("positions", "line.last(before, line.temporal[outside + own :])", "pass"),
    "pairs: chunk tail not short": ("positions", "np.minimum(last, first + (i + 1) * tile)", "first + (i + 1) * tile"),
    "pairs: steps nobody takes": ("analytic", "& step_exists(line, index[0])", "& True"),
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
    """``moves`` of an analytic engine with one snippet replaced; its kernels are run by Python."""
    sources = {name: Path(str(m.__file__)).read_text() for name, m in MODULES.items()}
    assert sources[module].count(old) == 1, f"{module} has {sources[module].count(old)} of {old!r}"
    sources[module] = sources[module].replace(old, new)
    package = "accelsim.engines.analytic"
    for name in sources:
        text = sources[name].replace(
            "from accelsim.base.compiled import kernel, kernel_with_arrays",
            "kernel = kernel_with_arrays = lambda function: function",
        )
        text = text.replace(
            f"from {package} import piece_classes", "import mutated_kernels as piece_classes"
        )
        for twin, m in MODULES.items():
            text = text.replace(m.__name__, f"mutated_{twin}")
        sources[name] = text
    for name in MODULES:
        made = sys.modules[f"mutated_{name}"] = types.ModuleType(f"mutated_{name}")
        exec(compile(sources[name], f"mutated {name}", "exec"), made.__dict__)
    return sys.modules["mutated_analytic"].moves  # type: ignore[attr-defined]


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
