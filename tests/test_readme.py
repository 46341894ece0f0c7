"""README.md shows a run: its table is compared with what the tool prints today."""

from __future__ import annotations

import re
from pathlib import Path

import accelsim as acc

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def test_the_table_of_the_demo_is_the_run() -> None:
    """Heads and totals, but for ``bit-exact``, which --check adds (every engine has these rows)."""
    result = acc.simulate("alexnet", arch="eyeriss", dataflow="ws,os,rs")
    printed = [cells(line) for line in str(result).splitlines()]
    head = next(line for line in README.splitlines() if line.startswith("    dataflow  layer"))
    assert cells(head)[:-1] in printed
    totals = re.findall(r"^ {4}\w+ +total .*$", README, flags=re.MULTILINE)
    assert len(totals) == 3
    for line in totals:
        assert cells(line)[:-1] in printed, line


def test_the_share_of_buffer_words_in_the_text_is_the_tables() -> None:
    head = next(line for line in README.splitlines() if line.startswith("    dataflow  layer"))
    column = cells(head).index("glb words")
    words = {
        flow: int(cells(line)[column].replace(" ", ""))
        for line, flow in re.findall(r"^ {4}((\w+) +total .*)$", README, flags=re.MULTILINE)
    }
    assert "a twenty-first of the buffer words" in README
    assert round(words["os"] / words["rs"]) == 21
