"""docs/engines.md quotes the program and shows a run: both are compared with what is there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import accelsim as acc
from accelsim.engines import analytic, cycle, event
from accelsim.engines.cycle.trace import Trace
from accelsim.mapping.nest import Nest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "engines.md").read_text()
WEIGHT = np.array([[1, 2], [3, 4]]).reshape(1, 2, 2, 1, 1)
IFMAP = np.array([[1, 2, 3], [4, 5, 6]]).reshape(1, 1, 2, 1, 3)


def example() -> Nest:
    arch = acc.load_architecture(
        "systolic", {"array.rows": 2, "array.cols": 2, "dram": "unlimited"}
    )
    problem = acc.Conv2d(M=2, C=2, H=1, W=3, R=1, S=1).problem()
    return Nest(problem, arch, acc.choose(problem, arch, acc.load_dataflow("ws")))


def test_quoted_lines_are_the_programs() -> None:
    """Every quotation stands in the functions it names, without a gap but where it says ``...``."""
    quoted = re.findall(r"```python\n# (\S+): (.*?)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(quoted) == PAGE.count("```python") == 10
    for name, functions, text in quoted:
        source = (ROOT / "accelsim" / name).read_text()
        shown = dict.fromkeys(functions.split(", "), "")
        for part in text.split("...\n"):
            assert source.count(part) == 1, f"{name}: {part}"
            above = re.findall(r"def (\w+)", source[: source.index(part)])
            shown[above[-1]] += part
        assert list(shown) == functions.split(", ") and all(shown.values()), name


def shown(value: int, word: int) -> str:
    return "." if word < 0 else str(value)


def test_the_table_is_the_run() -> None:
    trace = Trace(1, 20)
    run = cycle.run(example(), {"weight": WEIGHT, "ifmap": IFMAP}, trace=trace)
    table = PAGE.split("  edge    ifmap")[1].split("```")[0].splitlines()[1:]
    assert run.array_cycles == len(trace.edges) == len(table) == 7
    ifmap, ofmap = trace.planes["ifmap"], trace.planes["ofmap"]
    for edge, line in enumerate(table):
        cells = [str(edge + 1)]
        for pe in np.ndindex(2, 2):
            for plane in (ifmap, ofmap):
                cells.append(shown(plane.values[edge][pe], plane.words[edge][pe]))
        leaving = [str(x.value) for x in trace.crossings(edge + 1) if x.way == "out"]
        assert line.split() == cells + leaving, edge + 1


def test_four_answers_are_one() -> None:
    """Outputs, counts and cycles, and the numbers the page says of them."""
    nest, data = example(), {"weight": WEIGHT, "ifmap": IFMAP}
    expected = [9, 12, 15, 19, 26, 33]
    clocked, carried, closed = cycle.run(nest, data), event.run(nest, data), analytic.run(nest)
    assert clocked.outputs.ravel().tolist() == carried.outputs.ravel().tolist() == expected
    assert (WEIGHT[0, :, :, 0, 0] @ IFMAP[0, 0, :, 0]).ravel().tolist() == expected
    assert clocked.moves == carried.moves == closed.moves
    assert clocked.array_cycles == closed.cycles == carried.array_cycles == 7
    assert closed.compute_cycles == 3
    sides = {(b.tensor, b.parent): moved for b, moved in closed.moves.items()}
    for tensor, words in (("weight", 4), ("ifmap", 6), ("ofmap", 6)):
        for level in (0, 1):
            moved = sides[tensor, level]
            assert (moved.arrived if tensor == "ofmap" else moved.read) == words
    assert sides["ifmap", 1].taken == sides["weight", 2].taken == sides["ofmap", 1].drained == 12
