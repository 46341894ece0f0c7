"""An open systolic array of others, by its own RTL (reports/axis_systolic_array)."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@cache
def study():
    """reports/axis_systolic_array/study.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "study_axis_systolic_array", ROOT / "reports" / "axis_systolic_array" / "study.py"
    )
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_run_is_met_to_the_cycle_by_the_clocked_array_and_by_the_closed_form():
    frame = study().table()
    assert len(frame) == 9
    for engine in ("cycle", "analytic"):
        assert list(frame[engine]) == list(frame["cycles"]), engine


def test_the_committed_table_is_what_the_study_gives(tmp_path):
    for path in study().main(tmp_path):
        assert path.read_bytes() == (study().HERE / path.name).read_bytes(), path.name
