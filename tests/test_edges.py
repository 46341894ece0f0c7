"""What lies outside the program: names a file system cannot have, full devices, directories that
are gone or cannot be written, archives that unpack to far more than they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick import slow_but
from test_cli import COMMAND, accelsim, shell
from test_validate import refused

import accelsim as acc
from accelsim.explore.store import StoreError
from accelsim.workload.graph.weights import load_arrays

RUN = ("run", "lenet5", "--arch", "systolic", "--dataflow", "ws", "--layer", "conv1")
MAP = ("map", "lenet5", "--arch", "systolic", "--dataflow", "ws", "--layer", "conv1")
SHOWN = ("animate", "lenet5", "--arch", "systolic", "--dataflow", "ws", "--layer", "conv1")
TRAIN = ("train", "lenet5", "--arch", "systolic", "--dataflow", "ws")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (RUN, "-o"), (RUN, "--plot"), (RUN, "--timeline"), (RUN, "--data"), (RUN, "--weights"),
        (MAP, "-o"), (MAP, "--save"), (MAP, "--plot"), (SHOWN, "-o"), (TRAIN, "--save"),
        (TRAIN, "--gradients"), (("sweep", "x.yaml"), "-o"), (("sweep", "x.yaml"), "--store"),
        (("results", "x.sqlite"), "-o"), (("export", "lenet5"), "-o"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["", "x" * 256 + ".csv", "file/x.csv", "no/such/directory/x.csv"])
def test_names_that_cannot_be(
    command: tuple[str, ...], option: str, name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """One line that names the option, before anything is worked out."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    if option in ("--plot", "--timeline") and name.startswith("no"):
        return  # a directory, which is made
    extra = ["--engine", "event"] if option == "--timeline" else []
    line = refused(accelsim(*command, *extra, option, name))
    assert "internal error" not in line and ("-o" not in line.split() or option == "-o")


def test_the_option_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "x.yaml"
    assert f"--save {nowhere}: cannot be written" in refused(accelsim(*MAP, "--save", nowhere))
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = accelsim(*RUN, "--engine", "event", "--timeline", blocked / "x")
    assert done.code == 2 and done.err.startswith("accelsim run: --timeline")


@pytest.mark.parametrize("ending", ["parquet", "xlsx", "png", "npz"])
def test_a_table_is_not_written_under_the_name_of_something_else(
    ending: str, tmp_path: Path
) -> None:
    target = tmp_path / f"x.{ending}"
    assert f"not .{ending}" in refused(accelsim(*RUN, "-o", target))
    assert not target.exists()
    assert accelsim(*RUN, "-o", target, "--format", "csv").code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
@pytest.mark.parametrize(
    ("command", "option"),
    slow_but(
        [(("list",), ()), (RUN, ("-o", "/dev/full"))],
        [(RUN, ()), (("list",), ()), (RUN, ("-o", "/dev/full"))],
    ),
)
def test_a_full_device(command: tuple[str, ...], option: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        words = [*COMMAND, *command, *option]
        done = subprocess.run(words, stdout=full, stderr=-1, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "no space left on device" in done.stderr.lower()


@pytest.mark.parametrize(
    ("command", "option"),
    slow_but(
        [(RUN, ("-o", "x.csv"))], [(RUN, ("-o", "x.csv")), (RUN, ()), (MAP, ("--save", "x.yaml"))]
    ),
)
def test_a_working_directory_that_is_gone(
    tmp_path: Path, command: tuple[str, ...], option: tuple[str, ...]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os, sys; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); "
    code += "sys.argv[0] = 'accelsim'; from accelsim.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *command, *option],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.returncode in (0, 2) and "internal error" not in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode == 2:
        assert done.stderr.count("\n") == 1


def test_an_invalid_backend_is_not_asked(tmp_path: Path) -> None:
    """Pictures of the shell are files: they need no window, and no word of matplotlib's caches."""
    told = {**os.environ, "MPLBACKEND": "nonsense", "MPLCONFIGDIR": str(tmp_path / "empty")}
    (tmp_path / "empty").mkdir()
    done = shell(*RUN, "--plot", tmp_path / "drawn", env=told)
    assert done.returncode == 0 and (tmp_path / "drawn" / "latency.png").exists()
    assert all(line.startswith("drew ") for line in done.stderr.splitlines()), done.stderr


# -- archives --------------------------------------------------------------------------------------


def bomb(path: Path, shape: tuple[int, ...], name: str = "x") -> None:
    """Zeros of a shape, packed to a thousandth."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as stream,
    ):
        head = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, head)
        for _ in range(8 * int(np.prod(shape)) >> 20):
            stream.write(bytes(1 << 20))


def test_shapes_are_read_before_anything_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "bomb.npz"
    bomb(file, (64, 1 << 16))
    graph = acc.load_workload("lenet5").network
    first = next(iter(graph.all_parameters))
    whole: dict[str, Any] = {"end_to_end": True, "engine": "event"}
    calls = (
        lambda: acc.train_step("lenet5", arch="systolic", dataflow="ws", weights=file),
        lambda: acc.train_step("lenet5", file, arch="systolic", dataflow="ws"),
        lambda: acc.simulate("lenet5", "systolic", "ws", weights=file, **whole),
        lambda: acc.simulate("lenet5", "systolic", "ws", data=file, **whole),
    )
    for name in ("x", first, "input"):
        bomb(file, (64, 1 << 16), name)  # 32 MB
        tracemalloc.start()
        for call in calls:
            with pytest.raises(acc.InputError, match=r"must have|no such|must be given"):
                call()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 8e6
    assert load_arrays(file)["input"].shape == (64, 1 << 16)


# -- stores that can only be read ------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="has no such modes")
def test_a_store_in_a_directory_that_cannot_be_written() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        store = folder / "runs.sqlite"
        acc.sweep("lenet5", "systolic", dataflows="ws", store=store, jobs=1)
        right = acc.read_store(store)
        store.chmod(0o444)
        folder.chmod(0o555)
        if os.geteuid() == 0:
            os.seteuid(65534)
        try:
            assert acc.read_store(store).equals(right)
            done = accelsim("results", store)
            assert done.code == 0 and "conv1" in done.out
            with pytest.raises(StoreError, match=r"read-only|cannot be"):
                acc.sweep("lenet5", "systolic", dataflows="os", store=store, jobs=1)
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
