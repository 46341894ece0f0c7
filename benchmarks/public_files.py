"""How many of the public files of tests/reference/public_files.csv are imported, by kind, and why
the others are not.

The list was made by rule, not by what works: every n-th of the sorted files of a kind in some
repositories, and every ``deploy.prototxt`` and ``model.onnx`` of the first of those that have one.
None of their content is here; check the repositories out under one folder, each as OWNER+NAME.

MACs are counted a second time by other means (``second_counts``); the exit status is 1 where they
differ.  A file counts as imported if ``import`` takes it without options.  Where a refusal names a
``--skip`` with which it would, that is tried and counted by itself.

Run: python benchmarks/public_files.py FOLDER
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from accelsim.base.errors import InputError
from accelsim.importers.caffe import import_caffe
from accelsim.importers.network_builder import UnsupportedError
from accelsim.importers.onnx_import import import_onnx
from accelsim.importers.scalesim import import_scalesim
from accelsim.importers.timeloop import import_timeloop

sys.path.insert(0, str(Path(__file__).parent))
from second_counts import caffe_macs, onnx_macs, problem_macs, table_macs

LIST = Path(__file__).parents[1] / "tests" / "reference" / "public_files.csv"
READERS: dict[str, Any] = {
    "caffe": import_caffe,
    "onnx": import_onnx,
    "scalesim": import_scalesim,
    "timeloop": import_timeloop,
}


SECOND = {"caffe": caffe_macs, "onnx": onnx_macs, "scalesim": table_macs, "timeloop": problem_macs}


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
        if (macs := SECOND[kind](path, workload)) != workload.macs:
            wrong += 1
            print(f"{kind}: {path}: {workload.macs} MACs, and {macs} by other means")
    for kind, count in there.items():
        more = f", {parts[kind]} more with the --skip that is named" if parts[kind] else ""
        print(f"{kind}: {read[kind]} of {count} ({100 * read[kind] / count:.0f} %){more}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
