"""The cycle engine knows no closed form: what it imports, what it loads when it runs, and where its
cycles come from.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from quick import slow_but

import accelsim as acc
from accelsim.engines import cycle
from accelsim.engines.cycle.systolic import SystolicArray
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import random_data

PACKAGE = Path(str(cycle.__file__)).parent
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.glob("*.py"))}
ALLOWED = (
    "accelsim.engines.cycle",
    "accelsim.engines.moved",
    "accelsim.engines.run",
    "accelsim.mapping",
    "accelsim.workload",
    "accelsim.hardware",
    "accelsim.base",
)
# The rooms beside it, and the arithmetic of a memory the clocked array does not have.
FORBIDDEN = (
    "accelsim.engines.analytic",
    "accelsim.engines.event",
    "accelsim.engines.golden",
    "accelsim.hardware.ports",
)


def imported(source: str) -> Iterator[str]:
    """Every module a source imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            yield ast.unparse(node)


def strangers(source: str) -> list[str]:
    """Modules of accelsim a source must not import, and imports made at run time."""
    return [
        name
        for name in imported(source)
        if name.startswith(".")
        or "(" in name
        or (name.startswith("accelsim") and not name.startswith(ALLOWED))
        or name.startswith(FORBIDDEN)
    ]


def lengths(source: str) -> list[str]:
    """Sums that look like a length of section 5: several variables and a constant 2."""

    def terms(node: ast.expr) -> Iterator[ast.expr]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            yield from terms(node.left)
            yield from terms(node.right)
        else:
            yield node

    sums = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            parts = list(terms(node))
            constants = [p.operand if isinstance(p, ast.UnaryOp) else p for p in parts]
            constants = [p for p in constants if isinstance(p, ast.Constant)]
            if any(p.value == 2 for p in constants) and len(parts) - len(constants) > 1:
                sums.append(ast.unparse(node))
    return sums


def test_imports_nothing_of_the_other_engines():
    rooms = {f"accelsim.engines.{p.name}" for p in PACKAGE.parent.iterdir() if p.is_dir()}
    rooms = {name for name in rooms if not name.endswith(("cycle", "__pycache__"))}
    assert rooms == {name for name in FORBIDDEN if name.startswith("accelsim.engines.")}
    assert len(SOURCES) > 10
    assert {name: strangers(text) for name, text in SOURCES.items() if strangers(text)} == {}


def test_the_import_check_can_fail():
    for line in (
        "from accelsim.engines.analytic.array_time import array_time",
        "from accelsim.hardware.ports import port",
        "from accelsim.engines import analytic",
        "import accelsim.engines.analytic.fold_time as f",
        "def f():\n    from accelsim.engines import event",
        "from ..analytic.array_time import array_time",
        "import importlib\nimportlib.import_module('accelsim.engines.analytic.rank_sums')",
        "__import__('accelsim.engines.analytic.array_time')",
    ):
        assert strangers(line), line
    assert not strangers("import numpy\nfrom accelsim.engines.moved import Moved")


def test_works_out_no_length():
    assert {name: lengths(text) for name, text in SOURCES.items() if lengths(text)} == {}
    for line in ("x = t + r + c - 2", "y = f * (t + r - 1) + r + c - 2", "z = -2 + t + r"):
        assert lengths(line), line


def loaded(first: str = "") -> set[str]:
    """Modules of accelsim in a fresh interpreter that did ``first`` and then ran layers on lines
    and on buses.
    """
    program = f"""
{first}
import sys
import numpy as np
import accelsim as acc
from accelsim.engines.cycle import run
from accelsim.mapping.nest import Nest
for arch, flow in (("systolic", "ws"), ("systolic", "os"), ("eyeriss", "rs")):
    machine = acc.load_architecture(arch, {{"array.rows": 4, "array.cols": 3}})
    problem = acc.Conv2d(M=3, C=2, H=5, W=5, R=3, S=3).problem()
    nest = Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow(flow)))
    data = {{t: np.ones(problem.shape(t), np.int8) for t in ("weight", "ifmap")}}
    for sample in (False, True):
        assert run(nest, data, sample_folds=sample).array_cycles > 0
print(*sorted(m for m in sys.modules if m.startswith("accelsim.")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_loads_none_of_them_when_it_runs():
    modules = loaded()
    assert "accelsim.engines.cycle.clocking" in modules
    assert not [m for m in modules if m.startswith(FORBIDDEN)]


@pytest.mark.parametrize("name", slow_but(FORBIDDEN[:1], FORBIDDEN))
def test_the_check_of_what_is_loaded_can_fail(name):
    assert any(m.startswith(FORBIDDEN) for m in loaded(f"import {name}"))


def test_cycles_are_the_edge_of_the_last_result(monkeypatch):
    """What a run reports is the largest edge at which the clocked array latched a result, and
    nothing else.
    """
    edges = []
    run_to = SystolicArray.run_to

    def watched(self, *to):
        before = int(self.sums.landed.sum())

        def look():
            nonlocal before
            many = int(self.sums.landed.sum())
            edges.extend([self.edge] * (many - before))
            before = many

        self.watch = look
        run_to(self, *to)

    monkeypatch.setattr(SystolicArray, "run_to", watched)
    for flow in ("ws", "os", "is"):
        edges.clear()
        machine = acc.load_architecture("systolic", {"array.rows": 5, "array.cols": 4})
        problem = acc.Conv2d(M=6, C=2, H=6, W=7, R=3, S=2).problem()
        nest = Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow(flow)))
        data = random_data(
            problem, *(machine.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), 0
        )
        assert cycle.run(nest, data).array_cycles == max(edges)
