"""docs/truth.md: every outside number, made by one command (reports/truth)."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from studies import study_module

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests" / "reference"
# Files of tests/reference that are no numbers to be held against: mappings, a machine, searches.
NO_TRUTH = {
    "eyeriss_jssc17_mapping.csv",
    "eyeriss_vgg16_mapping.csv",
    "public_files.csv",  # a list of files, no numbers
    "timeloop_eyeriss.yaml",
    "timeloop_mapper.csv",
}


study = partial(study_module, "truth")


@cache
def every():
    """All numbers, once."""
    return study().every()


def test_the_page_regenerates_bit_for_bit(tmp_path):
    page, table = study().main(tmp_path)
    assert page.read_bytes() == study().PAGE.read_bytes()
    assert table.read_bytes() == (study().HERE / table.name).read_bytes()


def test_no_file_of_outside_numbers_is_left_out():
    files = {path.name for path in REFERENCE.iterdir()} - NO_TRUTH
    assert files == {name for name in study().SOURCES if "." in name and "et al" not in name}


def test_misses_come_first_and_the_farthest_off_leads():
    held = every()
    met = [x.met for x in held]
    assert met == sorted(met)
    off = [abs(x.off) for x in held if not x.met]
    assert off == sorted(off, reverse=True) and off[0] > 0.3


def test_numbers_that_are_met_to_the_word_stay_met():
    for source in ("SCALE-Sim", "Timeloop", "ZigZag", "axis-systolic-array", "TPU", "Horowitz"):
        of = [x for x in every() if x.source.startswith(source)]
        assert of and all(x.met for x in of), source
