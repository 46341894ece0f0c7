"""How many files one must open to follow a layer from ``simulate`` to its row: those of the package
in which a function is called, counted by a tracer in a warm process on a layer not seen before.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import accelsim as acc
from accelsim.base import shipped

PACKAGE = Path(acc.__file__).parent
MACHINES = [("eyeriss", "rs"), ("systolic", "ws"), ("shidiannao", "os"), ("tpu_v1", "ws")]


def layer(filters: int) -> acc.Conv2d:
    return acc.Conv2d(name="conv", M=filters, C=16, H=14, W=14, R=3, S=3, padding=1)


def visited(call: Callable[[], acc.Result]) -> set[str]:
    """The files whose functions are called, without a package's ``__init__``."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        files.add(frame.f_code.co_filename)  # and nothing of what is inside: None is no tracer

    before = sys.gettrace()
    gc.collect()
    gc.disable()  # what other tests left behind is closed now, and not while we count
    sys.settrace(note)
    try:
        result = call()
    finally:
        sys.settrace(before)
        gc.enable()
    assert not result.failures
    inside = {Path(file) for file in files if file.startswith(str(PACKAGE))}
    return {str(p.relative_to(PACKAGE)) for p in inside if p.name != "__init__.py"}


# Eyeriss waits for its memory; the others' arrays are looked at alone here.
FREE: dict[str, dict[str, str]] = {"eyeriss": {}}


@pytest.mark.parametrize(("arch", "dataflow"), MACHINES)
def test_one_layer(arch: str, dataflow: str) -> None:
    """A layer on an architecture by the rule of a dataflow, analytic: at most 22 files."""
    machine = acc.load_architecture(arch, FREE.get(arch, {"dram": "unlimited"}))
    flow = acc.load_dataflow(dataflow)
    seen, new = layer(32), layer(48)
    acc.simulate(seen, machine, flow, tiles="rule")
    files = visited(lambda: acc.simulate(new, machine, flow, tiles="rule"))
    assert len(files) <= 22, sorted(files)


@pytest.mark.parametrize(("arch", "dataflow"), MACHINES)
def test_one_layer_by_name(arch: str, dataflow: str) -> None:
    """All by name: files are read and checked once, so there are no more files to open.  A memory
    that is waited for beside systolic lines is one file more.
    """
    acc.simulate("lenet5", arch, dataflow, layers=["conv1"], tiles="rule")
    files = visited(lambda: acc.simulate("lenet5", arch, dataflow, layers=["conv2"], tiles="rule"))
    assert len(files) <= 22 + (dataflow == "ws"), sorted(files)


@pytest.mark.parametrize(("arch", "dataflow"), MACHINES)
def test_the_search_is_rooms_of_its_own(arch: str, dataflow: str) -> None:
    """What looks for the best tiles stands in ``mapper``, between the dataflow and the nest."""
    acc.simulate("lenet5", arch, dataflow, layers=["conv1"])
    best = visited(lambda: acc.simulate("lenet5", arch, dataflow, layers=["conv2"]))
    rule = visited(lambda: acc.simulate("lenet5", arch, dataflow, layers=["conv2"], tiles="rule"))
    rooms = {file.split("/")[0] for file in best - rule}
    assert rooms <= {"mapper", "results", "mapping", "engines", "hardware", "base"}, sorted(best)
    assert len(best) <= 42, sorted(best)


def test_a_shipped_file_that_changes_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dataflows"
    folder.mkdir()
    text = (PACKAGE.parent / "dataflows" / "weight_stationary.yaml").read_text(encoding="utf-8")
    path = folder / "mine.yaml"
    path.write_text(text.replace("weight_stationary", "mine"), encoding="utf-8")
    monkeypatch.setattr(shipped, "shipped_folder", lambda kind: tmp_path / kind)
    shipped.shipped_file.cache_clear()
    first = acc.load_dataflow("mine")
    assert acc.load_dataflow("mine") is first
    path.write_text(text.replace("weight_stationary", "other"), encoding="utf-8")
    assert acc.load_dataflow("mine").name == "other"
    path.unlink()
    with pytest.raises(acc.InputError, match=r"no such file|cannot be read"):
        acc.load_dataflow("mine")
    shipped.shipped_file.cache_clear()


def test_overrides_leave_what_is_kept_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipped file with overrides is read once too: nobody sees another's, and a file that
    changes is read again.
    """
    folder = tmp_path / "architectures"
    folder.mkdir()
    text = (PACKAGE.parent / "architectures" / "eyeriss.yaml").read_text(encoding="utf-8")
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(shipped, "shipped_folder", lambda kind: tmp_path / kind)
    shipped.shipped_file.cache_clear()
    key = {"levels.glb.capacity_bytes": 5000}
    kept, whole = acc.load_architecture("mine"), str(folder / "mine.yaml")
    for overrides in (key, {"array.rows": 5}, {"dram": "unlimited"}, key):
        assert acc.load_architecture("mine", overrides) == acc.load_architecture(whole, overrides)
        assert acc.load_architecture("mine") is kept == acc.load_architecture(whole)
    (folder / "mine.yaml").write_text(text.replace("cols: 14", "cols: 15"), encoding="utf-8")
    assert acc.load_architecture("mine", key).array.cols == 15 != kept.array.cols
    shipped.shipped_file.cache_clear()
