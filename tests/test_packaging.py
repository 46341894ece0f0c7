"""Packaging: what is built carries the shipped files, and installing it adds accelsim and nothing
else.

Slow, and pip may have to fetch the build backend: run with ``make test-all``, but for what the
build is told.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from accelsim.base.shipped import SINGULAR, shipped_names
from accelsim.base.yaml_reading import read_yaml
from accelsim.version import __version__

ROOT = Path(__file__).resolve().parent.parent
slow = pytest.mark.slow
KINDS = ("workloads", "dataflows", "architectures")
IN_SDIST = [
    *(
        "pyproject.toml",
        "hatch_build.py",
        "Makefile",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        ".ci/run",
        ".gitignore",
    ),
    *(
        "accelsim/base/errors.py",
        "accelsim/py.typed",
        "tests/test_packaging.py",
        "workloads/alexnet.yaml",
    ),
]
SNIPPET = """
import json
import accelsim
from accelsim.base.shipped import shipped_folder, shipped_names
from accelsim.workload.network import load_workload

kinds = ("workloads", "dataflows", "architectures")
print(json.dumps({
    "package": accelsim.__file__,
    "folders": {k: str(shipped_folder(k)) for k in kinds},
    "names": {k: shipped_names(k) for k in kinds},
    "macs": load_workload("alexnet").macs,
}))
"""


def test_one_version_everywhere() -> None:
    """Who cites or reads what changed meets the version that runs, and its day."""
    cited = read_yaml(ROOT / "CITATION.cff").data
    newest = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1].split("\n")[0]
    assert cited["version"] == __version__
    assert newest == f"{__version__}, {cited['date-released']}"


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Environment:
    """A new virtual environment with nothing in it but pip."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.scripts / ("python.exe" if os.name == "nt" else "python")
        self.site = Path(
            run(
                self.python,
                "-c",
                "import sysconfig; print(sysconfig.get_paths()['purelib'])",
                cwd=folder,
            ).strip()
        )

    def install(self, *what: str | Path, cwd: Path) -> set[str]:
        """Installs without dependencies; the names that site-packages gained."""
        before = set(os.listdir(self.site))
        run(self.python, "-m", "pip", "install", "--quiet", "--no-deps", *what, cwd=cwd)
        return set(os.listdir(self.site)) - before

    def borrow_dependencies(self) -> None:
        """Makes this interpreter's packages importable, after the environment's own and without
        their .pth files.
        """
        paths = {sysconfig.get_paths()[k] for k in ("purelib", "platlib")}
        (self.site / "borrowed.pth").write_text("\n".join(sorted(paths)) + "\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel built from the sdist."""
    pytest.importorskip("build.env", reason="needs the package 'build'")
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, ROOT, cwd=out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def test_the_build_is_told_of_every_kind_of_file() -> None:
    """``hatch_build.py`` is read, since what it imports is only where a build is."""
    tree = ast.parse((ROOT / "hatch_build.py").read_text(encoding="utf-8"))
    (told,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "KINDS"
    )
    assert set(told) == {kind for kind in SINGULAR if (ROOT / kind).is_dir()} > {"workloads"}


@slow
def test_sdist_is_complete(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert not set(IN_SDIST) - names
    assert {n.partition("/")[0] for n in names}.isdisjoint(
        {".venv", ".git", ".mypy_cache", ".benchmarks"}
    )


@slow
def test_wheel_carries_the_files(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        names = set(archive.namelist())
    assert {n.partition("/")[0] for n in names} == {"accelsim", f"accelsim-{__version__}.dist-info"}
    for kind in KINDS:
        assert {f"accelsim/{kind}/{name}.yaml" for name in shipped_names(kind)} <= names
    assert "accelsim/py.typed" in names


@slow
def test_wheel_in_an_empty_environment(built: tuple[Path, Path], tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    assert env.install(built[1], cwd=tmp_path) == {"accelsim", f"accelsim-{__version__}.dist-info"}
    env.borrow_dependencies()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = json.loads(run(env.python, "-c", SNIPPET, cwd=elsewhere))
    package = (env.site / "accelsim").resolve()
    assert Path(found["package"]).resolve().parent == package
    assert {k: Path(f).resolve() for k, f in found["folders"].items()} == {
        k: package / k for k in KINDS
    }
    assert found["names"] == {k: shipped_names(k) for k in KINDS}
    assert found["macs"] == 724_406_816
    assert "alexnet" in run(env.scripts / "accelsim", "list", cwd=elsewhere)
    assert not list(elsewhere.iterdir())


@slow
def test_editable_install_reads_the_checkout(tmp_path: Path) -> None:
    env = Environment(tmp_path / "env")
    gained = env.install("--editable", ROOT, cwd=tmp_path)
    assert not {"accelsim", *KINDS} & gained
    env.borrow_dependencies()
    found = json.loads(run(env.python, "-c", SNIPPET, cwd=tmp_path))
    assert {k: Path(f).resolve() for k, f in found["folders"].items()} == {
        k: ROOT / k for k in KINDS
    }
