"""Compiled loops: who waits for them, what is said then, and that all works where they cannot be
compiled or kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EVERY_KERNEL
from quick import slow_but

from accelsim.base.compiled import WAITING

ROOT = Path(__file__).parents[1]
OWN = """
from accelsim.base.compiled import kernel

@kernel
def squares(n: int) -> int:
    total = 0
    for i in range(n):
        total += i * i
    return total
"""
ASKED = "import own_kernels; print(own_kernels.squares(5), own_kernels.squares(6))"
ROW = """
import accelsim as acc
layer = acc.Conv2d(M=3, C=2, H=7, W=7, R=3, S=3, padding=1)
for arch, dataflow in (("eyeriss", "is"), ("systolic", "ws")):
    print(acc.simulate(layer, arch, dataflow).rows[0])
"""
BLOCKED = "import sys\nsys.modules['numba'] = None\n"


def started(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Python on its own with some code."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it wrote: stdout, stderr.  It must have ended well."""
    out, error = process.communicate()
    assert process.returncode == 0, error
    return out, error


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    """A module with a kernel of its own, in an environment where nothing was compiled yet."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_kernels.py").write_text(OWN)
    path = os.pathsep.join([str(tmp_path / "code"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    kept = str(tmp_path / "kept")
    return {"PYTHONPATH": path, "HOME": kept, "XDG_CACHE_HOME": kept, "NUMBA_CACHE_DIR": ""}


def test_commands_that_count_nothing_load_no_compiler() -> None:
    """One after another in one process, which has no compiler after any of them."""
    commands = [
        ["--help"],
        ["list"],
        ["show", "eyeriss"],
        ["show", "lenet5", "--arch", "eyeriss", "--dataflow", "rs"],
        ["validate", str(ROOT / "architectures" / "eyeriss.yaml")],
    ]
    code = (
        "import sys\nfrom accelsim.cli.main import main\n"
        f"for command in {commands}:\n"
        "    sys.argv[1:] = command\n"
        "    try:\n        main()\n    except SystemExit as end:\n        assert not end.code\n"
        "    assert 'numba' not in sys.modules, f'numba was loaded by {command}'\n"
        "    print('did', *command)\n"
    )
    out, _ = said(started(code))
    assert [line for line in out.splitlines() if line.startswith("did ")] == [
        " ".join(["did", *command]) for command in commands
    ]


def test_a_first_run_says_what_it_waits_for(own: dict[str, str]) -> None:
    """Once, on stderr; from the second run on nothing is compiled and nothing said, and of the
    compiler only what calls is loaded.
    """
    assert said(started(ASKED, **own)) == ("30 55\n", WAITING + "\n")
    names = "('scipy.linalg', 'numba.np.linalg')"
    loaded = f"; import sys; print([x for x in {names} if x in sys.modules])"
    assert said(started(ASKED + loaded, **own)) == ("30 55\n[]\n", "")


@pytest.mark.parametrize("anywhere", slow_but([True], [True, False]))
def test_a_package_that_cannot_be_written(
    own: dict[str, str], tmp_path: Path, anywhere: bool
) -> None:
    """Then code is kept in the user's cache; and if that cannot be written, nowhere."""
    (tmp_path / "code" / "__pycache__").touch()  # a file: no directory can be made of it
    if not anywhere:
        (tmp_path / "kept").touch()
    for _ in range(2):
        out, error = said(started(ASKED, **own))
        assert out == "30 55\n"
    assert (error == "") == anywhere
    assert any((tmp_path / "kept").rglob("*.nbi")) == anywhere


def test_two_processes_compile_at_once(own: dict[str, str]) -> None:
    both = [started(ASKED, **own) for _ in range(2)]
    assert [said(process)[0] for process in both] == ["30 55\n"] * 2
    assert said(started(ASKED, **own)) == ("30 55\n", "")


def test_the_same_rows_without_a_compiler() -> None:
    """Compiled, switched off, and not there at all."""
    compiled = said(started(ROW))
    assert said(started(ROW, NUMBA_DISABLE_JIT="1")) == compiled
    assert said(started(BLOCKED + ROW)) == compiled
    assert compiled[1] == "" and "None" not in compiled[0].split()[0]


def test_all_kernels_are_ready_before_the_tests() -> None:
    """What ``conftest`` runs first calls every kernel of the package, or one that calls it."""
    code = (
        "\nimport sys\nfrom accelsim.base.compiled import _Kernel\n"
        "every = {f'{module.__name__}.{name}': kernel for module in list(sys.modules.values())\n"
        "         if module.__name__.startswith('accelsim')\n"
        "         for name, kernel in vars(module).items() if isinstance(kernel, _Kernel)}\n"
        "met = [kernel for kernel in every.values() if kernel.ready is not None]\n"
        "for kernel in met:\n"
        "    met += [other for other in kernel.calls().values() if other not in met]\n"
        "print([name for name, kernel in every.items() if kernel not in met])\n"
    )
    assert said(started(EVERY_KERNEL + code)) == ("[]\n", "")


def test_what_is_loaded_makes_ready_only_what_is_called(own: dict[str, str]) -> None:
    """The kernels that another calls are in its code: they are made ready to compile it, and no
    more when it is loaded.  That it was compiled is known by their being made ready.
    """
    path = Path(own["PYTHONPATH"].split(os.pathsep)[0]) / "own_kernels.py"
    path.write_text(
        OWN.replace("total += i * i", "total += one(i)")
        + "\n@kernel\ndef one(i: int) -> int:\n    return i * i\n"
    )
    asked = ASKED + "; print(own_kernels.one.linked is None)"
    assert said(started(asked, **own))[0] == "30 55\nFalse\n"
    assert said(started(asked, **own)) == ("30 55\nTrue\n", "")


def test_what_is_compiled_stays_small() -> None:
    """A first run waits for as much as is compiled, and no clock tells it the same twice.  What is
    made of all kernels is 47 functions for Python and 3.3 MB (24 busy CPU s); another
    machine's code is a little larger or smaller.  A kernel that kernels call has no code of its
    own: it would be optimised, and its machine code made, once more.
    """
    code = (
        "\nimport sys\nfrom accelsim.base.compiled import _Kernel\n"
        "rooms = [x for name, x in sys.modules.items() if name.startswith('accelsim')]\n"
        "every = {id(x): x for room in rooms for x in vars(room).values()}.values()\n"
        "sizes = []\n"
        "for kernel in every:\n"
        "    if isinstance(kernel, _Kernel) and kernel.ready is not None:\n"
        "        kept = kernel.ready._cache._cache_file\n"
        "        for kind, file in kept._load_index().items():\n"
        "            if kind[0] in kernel.ready.overloads:\n"
        "                sizes.append(os.path.getsize(kept._data_path(file)))\n"
        "print(len(sizes), sum(sizes))\n"
    )
    functions, size = map(int, said(started("import os" + EVERY_KERNEL + code))[0].split())
    assert 40 <= functions <= 50
    assert 1e6 < size < 4e6


def test_a_kernel_that_kernels_call_is_no_function_of_its_own(own: dict[str, str]) -> None:
    """Neither in the process that compiles nor in the cache, until Python calls it as well."""
    path = Path(own["PYTHONPATH"].split(os.pathsep)[0]) / "own_kernels.py"
    path.write_text(
        OWN.replace("total += i * i", "total += one(i)")
        + "\n@kernel\ndef one(i: int) -> int:\n    return i * i\n"
    )
    where = path.parent / "__pycache__"
    asked = ASKED + "; print(own_kernels.one.ready is None)"
    assert said(started(asked, **own))[0] == "30 55\nTrue\n"
    assert {x.name.split("-")[0] for x in where.glob("*.nbc")} == {"own_kernels.squares"}
    assert said(started(ASKED + "; print(own_kernels.one(7))", **own))[0] == "30 55\n49\n"
    assert {x.name.split("-")[0] for x in where.glob("*.nbc")} == {
        "own_kernels.squares",
        "own_kernels.one",
    }


def test_what_is_loaded_is_machine_code_and_names(own: dict[str, str]) -> None:
    """Not the text it was made of, which takes longer to read and which nothing takes in."""
    text = (
        "; lines = [len(list(block.instructions))"
        " for made in own_kernels.squares.ready.overloads.values()"
        " for one in made.library._shared_module.functions for block in one.blocks]"
        "; print(len(lines) > 0, max(lines))"
    )
    said(started(ASKED, **own))
    assert said(started(ASKED + text, **own)) == ("30 55\nTrue 1\n", "")
