"""Other tools beside accelsim, in one run, each in an environment of its own.

ZigZag 3.9.1: a word of each tensor in every PE, an SRAM and a DRAM, random layers and random
mappings of them (loops at DRAM, loops at the SRAM, a dimension on each axis), the same for both.
Nineteen counts of words and the number of steps are ours, or follow from ours by a rule that has a
name; the exit status is 1 where one does not.  Then both with a DRAM port that is waited for: what
the cycles are apart, and the CPU time of one evaluation.  Then SCALE-Sim 3.0.0, as
scalesim_rows.py has it.

Run: python benchmarks/peers.py [--cases N] [--seed K] [--zigzag DIR] [--venv DIR]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import scalesim_rows
from scalesim_tool import FLOWS, add_venv, environment

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from zigzag_counts import RULES, Case, compared, random_case, simulated

PACKAGES = ("zigzag-dse==3.9.1", "six")  # it imports six and does not ask for it
PORT_BITS = 64


def ask_zigzag(python: Path, cases: list[Case]) -> list[dict[str, Any]]:
    worker = Path(__file__).with_name("zigzag_worker.py")
    done = subprocess.run([python, worker], input=json.dumps(cases), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"ZigZag failed:\n{done.stderr[-2000:]}")
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def kept(cases: list[Case], answers: list[dict[str, Any]]) -> str:
    """A case a line, with what ZigZag says of it, but for times."""
    lines = [
        json.dumps({"case": one, "words": said["words"], "steps": said["steps"]})
        for one, said in zip(cases, answers, strict=True)
    ]
    return "\n".join(lines) + "\n"


def counts(cases: list[Case], answers: list[dict[str, Any]]) -> int:
    """Prints how many numbers are equal, how many follow by each rule; returns how many do not."""
    tally: Counter[str] = Counter()
    wrong = 0
    for one, theirs in zip(cases, answers, strict=True):
        for name, they, we, rule, follows in compared(one, theirs):
            tally["equal" if they == we else rule] += 1
            if they not in (we, follows):
                wrong += 1
                print(
                    f"{name}: ZigZag {they:g}, ours {we}, by {rule or 'no rule'} {follows}: {one}"
                )
    print(f"ZigZag, {len(cases)} layers: {tally.total()} numbers")
    for rule, many in tally.most_common():
        print(f"  {many:6d} {rule}{': ' + RULES[rule] if rule in RULES else ''}")
    return wrong


def times(python: Path, cases: list[Case]) -> None:
    """Cycles with a port that is waited for, and CPU time of an evaluation, ours warm."""
    ratios, ours_ms = [], []
    waited = [one | {"port_bits": PORT_BITS} for one in cases]
    answers = ask_zigzag(python, waited)
    for one, theirs in zip(waited, answers, strict=True):
        for _ in range(2):  # the second is warm
            begun = time.process_time()
            (row,) = simulated(one)
            spent = 1e3 * (time.process_time() - begun)
        ours_ms.append(spent)
        ratios.append(theirs["cycles"][2] / row["cycles"])
    ratios.sort()
    theirs_ms = [theirs["cpu_ms"] for theirs in answers]
    print(
        f"cycles with a DRAM port of {PORT_BITS} bits, ZigZag's over ours: median "
        f"{median(ratios):.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f}"
    )
    print(
        f"CPU ms of one given mapping, median: ZigZag {median(theirs_ms):.2f}, "
        f"ours {median(ours_ms):.2f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=300, help="layers (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, help="write ZigZag's answers there, as tests/reference"
    )
    default = Path(tempfile.gettempdir()) / "accelsim-zigzag-3.9.1"
    parser.add_argument(
        "--zigzag", type=Path, default=default, help="where ZigZag is, or is put (%(default)s)"
    )
    add_venv(parser)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    zigzag = environment(options.zigzag, PACKAGES, "zigzag.parser.workload_factory")
    cases = [random_case(rng) for _ in range(options.cases)]
    answers = ask_zigzag(zigzag, cases)
    if options.keep is not None:
        options.keep.write_text(kept(cases, answers), encoding="utf-8")
    wrong = counts(cases, answers)
    times(zigzag, cases)
    wrong += scalesim_rows.compare(environment(options.venv), rng, len(FLOWS))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
