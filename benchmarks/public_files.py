"""How many of the public files of tests/reference/public_files.csv are imported, by kind, and why
the others are not.

The list was made by rule, not by what works: every n-th of the sorted files of a kind in some
repositories, and every ``deploy.prototxt`` and ``model.onnx`` of the first of those that have one.
None of their content is here; check the repositories out under one folder, each as OWNER+NAME.

MACs of tables and problems are counted a second time by other means (products of the numbers in
the file); the exit status is 1 where they differ.  A file counts as imported if ``import`` takes it
without options.  Where a refusal names a ``--skip`` with which it would, that is tried and counted
by itself.

Run: python benchmarks/public_files.py FOLDER
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from math import ceil, prod
from pathlib import Path
from typing import Any

from accelsim.base.errors import InputError
from accelsim.importers.caffe import import_caffe
from accelsim.importers.network_builder import UnsupportedError
from accelsim.importers.onnx_import import import_onnx
from accelsim.importers.scalesim import import_scalesim
from accelsim.importers.timeloop import import_timeloop

LIST = Path(__file__).parents[1] / "tests" / "reference" / "public_files.csv"
READERS: dict[str, Any] = {
    "caffe": import_caffe,
    "onnx": import_onnx,
    "scalesim": import_scalesim,
    "timeloop": import_timeloop,
}


def table_macs(path: Path) -> int:
    """MACs of a table's rows of seven numbers or of three, as the tool reads them."""
    total = 0
    for row in csv.reader(re.split("[\r\n]+", path.read_text("utf-8-sig").replace("\t", ","))):
        numbers = [int(float(c)) for c in row[1:9] if re.fullmatch(r"\d+(\.0*)?", c.strip())]
        if len(numbers) in (3, 4) and len([c for c in row if c.strip()]) <= 5:
            total += prod(numbers)
        elif len(numbers) >= 7:
            h, w, r, s, c, m, u = numbers[:7]
            total += ceil((h - r + u) / u) * ceil((w - s + u) / u) * r * s * c * m
    return total


def problem_macs(path: Path) -> int:
    """MACs of a problem: the product of the sizes that its instance states, those of steps and
    dilations apart; what an included base states is 1.
    """
    text = path.read_text()
    at = re.search(r"instance:\s*\{([^}]*)\}", text)
    start = text.find("instance:") if "instance:" in text else text.find("problem:")
    block = at[1].replace(",", "\n") if at else text[start:]
    sizes: dict[str, int] = {}
    for key, number in re.findall(r"^\s*([A-Za-z]+)\s*:\s*(\d+)\s*(?:#.*)?$", block, re.MULTILINE):
        sizes.setdefault(key, int(number))
    return prod(n for key, n in sizes.items() if len(key) == 1 and key not in "HW")


SECOND: dict[str, Any] = {"scalesim": table_macs, "timeloop": problem_macs}


def main(folder: Path) -> int:
    """The shares on stdout, and each file that is refused or counted otherwise."""
    with LIST.open() as stream:
        files = list(csv.DictReader(stream))
    there, read, parts, wrong = Counter[str](), Counter[str](), Counter[str](), 0
    for each in files:
        path = folder / each["repository"].replace("/", "+") / each["path"]
        kind = each["kind"]
        counted = [kind, f"{kind}, deploy in the name"] if "deploy" in path.name else [kind]
        there.update(counted)
        try:
            workload = READERS[kind](path).workload
        except InputError as error:
            print(f"{kind}: {str(error)[:300]}")
            if isinstance(error, UnsupportedError) and error.skip:
                READERS[kind](path, skip=error.skip)
                parts.update(counted)
            continue
        read.update(counted)
        if kind in SECOND and (macs := SECOND[kind](path)) != workload.macs:
            wrong += 1
            print(f"{kind}: {path}: {workload.macs} MACs, and {macs} by other means")
    for kind, count in there.items():
        more = f", {parts[kind]} more with the --skip that is named" if parts[kind] else ""
        print(f"{kind}: {read[kind]} of {count} ({100 * read[kind] / count:.0f} %){more}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
