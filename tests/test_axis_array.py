"""An open systolic array of others, by its own RTL (reports/axis_systolic_array)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from studies import study_module

ROOT = Path(__file__).resolve().parents[1]


study = partial(study_module, "axis_systolic_array")


def test_every_run_is_met_to_the_cycle_by_the_clocked_array_and_by_the_closed_form():
    frame = study().table()
    assert len(frame) == 9
    for engine in ("cycle", "analytic"):
        assert list(frame[engine]) == list(frame["cycles"]), engine


def test_the_committed_table_is_what_the_study_gives(tmp_path):
    for path in study().main(tmp_path):
        assert path.read_bytes() == (study().HERE / path.name).read_bytes(), path.name
