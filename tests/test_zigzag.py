"""ZigZag's counts of words on 40 layers: ours, or ours by a rule of ZigZag's that has a name."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from zigzag_counts import RULES, compared

REFERENCE = Path(__file__).parent / "reference" / "zigzag.jsonl"


@cache
def answers():
    """The cases and what ZigZag 3.9.1 said of them (``benchmarks/peers.py --keep``)."""
    return [json.loads(line) for line in REFERENCE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("at", range(len(answers())))
def test_every_number_follows(at):
    said = answers()[at]
    for name, theirs, ours, rule, follows in compared(said["case"], said):
        assert theirs in (ours, follows), (name, theirs, ours, rule, follows)


def test_rules_are_needed_and_most_numbers_need_none():
    by = Counter(
        "" if theirs == ours else rule
        for said in answers()
        for _, theirs, ours, rule, _ in compared(said["case"], said)
    )
    assert set(by) == {"", *RULES}
    assert by[""] > 0.8 * by.total()
