"""Every outside number that accelsim was ever held against, in one table, misses first.

``accelsim report truth`` writes docs/truth.md, and truth.csv beside this file, which has every
number; with ``-o DIR`` it writes both there.

Numbers come from the tables that the other studies committed, which the tests hold to those
studies, and from tests/reference with the same comparison as the tests make.  A new study, or a new
file in tests/reference, adds a function to ``SOURCES``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import ModuleType

import pandas as pd

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.base.text_table import csv_lines
from accelsim.hardware.energy import curve

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REFERENCE = ROOT / "tests" / "reference"
PAGE = ROOT / "docs" / "truth.md"
AS_ALEXNET = {"fc1": "fc6", "fc2": "fc7", "fc3": "fc8"}  # the paper numbers them apart
EQUAL = 1e-12  # of floats that a tool adds up in another order


@dataclass(frozen=True)
class Held:
    """One outside number beside ours.

    ``rule`` names what was done to make the two comparable, where they count differently.
    """

    source: str
    quantity: str
    case: str
    outside: float
    ours: float
    rule: str = ""

    @property
    def off(self) -> float:
        """Ours over the outside one, less one; of a zero, the difference."""
        return self.ours / self.outside - 1 if self.outside else self.ours - self.outside

    @property
    def met(self) -> bool:
        """Whether the two are equal."""
        return abs(self.off) <= EQUAL


def _module(name: str, path: Path) -> ModuleType:
    """A file of the tests as a module, once; its neighbours can be imported by it.

    Raises InputError where the tests' packages are not installed.
    """
    if name not in sys.modules:
        sys.path.insert(0, str(path.parent))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except ImportError as missing:
            del sys.modules[name]
            raise InputError(f"wants what the tests want ({missing})", key="study") from None
    return sys.modules[name]


# The sources --------------------------------------------------------------------------------------


def gemmini() -> Iterator[Held]:
    """Gemmini's RTL, both tilings of every row."""
    frame = pd.read_csv(ROOT / "reports" / "gemmini_rtl" / "gemmini.csv")
    for row in frame.to_dict("records"):
        for tiling in ("auto", "mapping"):
            yield Held(
                "Gemmini RTL (MICRO 2023)",
                f"cycles, {'own tiling' if tiling == 'auto' else 'given mapping'}",
                f"row {row['row']}, {row['kind']}",
                row[f"rtl_cycles_{tiling}"],
                row[f"predicted_{tiling}"],
            )


def axis() -> Iterator[Held]:
    """The open systolic array's RTL."""
    frame = pd.read_csv(ROOT / "reports" / "axis_systolic_array" / "axis.csv")
    for row in frame.to_dict("records"):
        case = " ".join(f"{key}{row[key]}" for key in "RCKF")
        yield Held("axis-systolic-array RTL", "cycles", case, row["cycles"], row["cycle"])


def eyeriss_alexnet() -> Iterator[Held]:
    """Table V of the Eyeriss chip's paper, by the analytic engine."""
    frame = pd.read_csv(ROOT / "reports" / "eyeriss_chip" / "alexnet.csv")
    for row in frame[frame["engine"] == "analytic"].to_dict("records"):
        yield Held(
            "Eyeriss chip, AlexNet (JSSC 2017, table V)",
            row["quantity"].replace("_", " "),
            row["layer"],
            row["measured"],
            row["predicted"],
        )


def eyeriss_vgg16() -> Iterator[Held]:
    """Table VI, as predicted before it was seen."""
    frame = pd.read_csv(ROOT / "reports" / "eyeriss_chip" / "vgg16_measured.csv")
    zeros = "with 57.5 % zeros assumed everywhere"
    notes = {"glb": "the chip's counter has filters too, in MiB", "dram": zeros, "total": zeros}
    for row in frame.to_dict("records"):
        yield Held(
            "Eyeriss chip, VGG-16 (JSSC 2017, table VI)",
            row["quantity"].replace("_", " "),
            row["layer"],
            row["measured"],
            row["predicted"],
            notes.get(row["quantity"], ""),
        )


def six_dataflows() -> Iterator[Held]:
    """The ISCA 2016 comparison of six dataflows, by our rules and by the paper's: those end in the
    equations themselves, so they are held to every printed digit.
    """
    frame = pd.read_csv(ROOT / "reports" / "dataflow_comparison" / "comparison.csv")
    for row in frame.to_dict("records"):
        ours = row["rules"] == "ours"
        whose = "our" if ours else "the paper's"
        for name, words, digits in (
            ("energy", "energy a MAC", 3),
            ("dram", "DRAM accesses a MAC", 6),
        ):
            yield Held(
                "Six dataflows (ISCA 2016), published equations",
                words,
                f"{row['dataflow']}, batch {row['batch']}, by {whose} rules",
                row[f"{name}_reference"],
                row[name] if ours else round(row[name], digits),
                "" if ours else "choice, kept, cut, unwired; rounded as printed",
            )


def row_stationary() -> Iterator[Held]:
    """Figure 10 of the same paper: where the energy of row-stationary goes, layer by layer; by our
    rules, and by the paper's: its best tiles, and every MAC reads and writes a psum in the RF.
    """
    printed = json.loads((REFERENCE / "eyeriss_isca16.json").read_text(encoding="utf-8"))
    frame = pd.read_csv(ROOT / "reports" / "dataflow_comparison" / "energy.csv")
    of = frame.query("pes == 256 and batch == 16 and dataflow == 'RS'").set_index("layer")
    bars = printed["fig10_rs_256pe_n16_1e9"]
    ours = {"ALU": of["compute"], "DRAM": of["dram"], "RF": of["pe"]}
    theirs = {
        "DRAM": (200 * of["dram_words_paper"], "its best tiles"),
        "RF": (4 * of["macs"], "a psum read and written a MAC"),
    }
    for layer, values in bars["values"].items():
        name = AS_ALEXNET.get(layer, layer)
        for part, value in zip(bars["order"], values, strict=True):
            source, what = "Row-stationary (ISCA 2016, figure 10)", f"energy, {part}"
            by_ours = float(ours[part].loc[name])
            yield Held(source, what, layer, value * 1e9, by_ours, "read off a printed bar")
            if part in theirs:
                words, rule = theirs[part]
                by_theirs = round(float(words.loc[name]) / 1e9, 2)
                case, rule = f"{layer}, by the paper's rules", f"{rule}; rounded as printed"
                yield Held(source, what, case, value * 1e9, by_theirs * 1e9, rule)


def scale_sim() -> Iterator[Held]:
    """SCALE-Sim 3.0.0, every row and column it reports that accelsim has."""
    tests = _module("test_scalesim", ROOT / "tests" / "test_scalesim.py")
    for row in tests.rows():
        flow, case = row["dataflow"], tests.named(row)
        (ours,) = acc.simulate(
            tests.layer(row), "scalesim", flow, overrides=tests.size(row)
        ).records()
        folds = tests.folds(row)
        surplus = folds * (int(row["array_h"]) + int(row["array_w"])) if flow == "os" else 0
        longer = ours["cycles"] + (0 if flow == "os" else folds * (int(row["array_w"]) - 1))
        busy = 100 * ours["utilization"] * ours["cycles"]
        for column, mine, rule in (
            ("total_cycles", ours["cycles"] - 1, "it numbers the last cycle, from 0"),
            ("sram_ifmap_reads", ours["sram_ifmap_reads"], ""),
            ("sram_filter_reads", ours["sram_weight_reads"], ""),
            (
                "sram_ofmap_writes",
                ours["sram_ofmap_writes"] + surplus,
                "os: it writes rows + columns too many a fold",
            ),
            ("mapping_eff", 100 * ours["mapping_efficiency"], ""),
            ("overall_util", busy / (ours["cycles"] - 1), "over its cycles"),
            ("compute_util", busy / longer, "ws, is: it divides by longer folds"),
        ):
            yield Held("SCALE-Sim 3.0.0", column, case, float(row[column]), mine, rule)


def timeloop() -> Iterator[Held]:
    """Timeloop's counts on 17 cases: ours, or ours under its rules that have a name."""
    tests = _module("test_timeloop", ROOT / "tests" / "test_timeloop.py")
    for name in tests.CASES:
        case = tests.load(name)
        for key, printed in case.printed.items():
            needs = case.explain(key)
            ours = case.value(key, needs if needs is not None else frozenset())
            rule = ", ".join(sorted(needs)) if needs else ""
            where = ".".join(part for part in key[:2] if part)
            yield Held("Timeloop 4cf6d4c", key[2], f"{name} {where}".strip(), printed, ours, rule)


def zigzag() -> Iterator[Held]:
    """ZigZag's counts on 40 layers: ours, or ours by a rule of ZigZag's that has a name."""
    tests = _module("test_zigzag", ROOT / "tests" / "test_zigzag.py")
    for number, said in enumerate(tests.answers()):
        for name, theirs, ours, rule, follows in tests.compared(said["case"], said):
            same = theirs == ours
            yield Held(
                "ZigZag 3.9.1",
                name,
                f"case {number}",
                float(theirs),
                float(ours if same else follows),
                "" if same else rule,
            )


def tpu() -> Iterator[Held]:
    """TPU v1: a product of B x 256 by 256 x 256 takes max(B, 256) cycles in the steady state."""
    tests = _module("test_tpu", ROOT / "tests" / "test_tpu.py")
    for rows in (1, 7, 100, 255, 256, 257, 512, 1000, 2048):
        one = tests.cycles(41, rows) - tests.cycles(40, rows)
        yield Held("TPU v1 (ISCA 2017)", "cycles a product", f"B={rows}", max(rows, 256), one)


def horowitz() -> Iterator[Held]:
    """The printed points of the energy table at which accelsim has numbers of its own."""
    for quantity, points in HOROWITZ.items():
        for at, printed in points.items():
            yield Held(
                "Horowitz (ISSCC 2014), 45 nm",
                quantity,
                f"at {at:g}",
                printed,
                float(curve("horowitz45", quantity).at(at)),
                "an input of the energy table",
            )


# The printed table: pJ of an int multiplication or addition by bits, of a 64-bit access by bytes.
HOROWITZ = {
    "mult_pj": {8.0: 0.2, 32.0: 3.1},
    "add_pj": {8.0: 0.03, 32.0: 0.1},
    "access_pj": {8192.0: 10.0, 32768.0: 20.0, 1048576.0: 100.0},
}

# What each is from: a file of tests/reference, or a paper whose numbers stand in the code.
SOURCES: dict[str, tuple[Callable[[], Iterator[Held]], ...]] = {
    "gemmini_rtl.csv": (gemmini,),
    "axis_systolic_array.csv": (axis,),
    "eyeriss_jssc17_alexnet.csv": (eyeriss_alexnet,),
    "eyeriss_jssc17_vgg16.csv": (eyeriss_vgg16,),
    "eyeriss_isca16.json": (six_dataflows, row_stationary),
    "scalesim3.csv": (scale_sim,),
    "timeloop_cases.json": (timeloop,),
    "zigzag.jsonl": (zigzag,),
    "Jouppi et al., ISCA 2017": (tpu,),
    "Horowitz, ISSCC 2014": (horowitz,),
}


def every() -> list[Held]:
    """All numbers, the farthest off first; those that are met by source and quantity."""
    held = [one for sources in SOURCES.values() for source in sources for one in source()]
    missed = sorted((x for x in held if not x.met), key=lambda x: -abs(x.off))
    return [*missed, *(x for x in held if x.met)]


# The page -----------------------------------------------------------------------------------------

HEAD = """# Truth

Every number from outside that accelsim was ever held against, the farthest off first. Made by
`accelsim report truth`; every single number, the met ones too, is in `reports/truth/truth.csv`.
*Off* is ours over theirs, less one. Nothing is fitted to any of them; what was done to make two
counts comparable is named beside them. Where the cause of a miss is known, the study says it:
`reports/gemmini_rtl/gemmini.md`, `reports/eyeriss_chip/alexnet.md` and `vgg16_measured.md`,
`reports/dataflow_comparison/comparison.md`, `docs/scalesim.md`, `docs/timeloop.md`,
`docs/zigzag.md`.

Not in the table: the slides of the courses (`tests/test_lectures.py`), which give shapes and counts
that follow from definitions; mappings that Timeloop's mapper found (`docs/mapper.md`), which are
searches and no truth; and accelsim's own RTL (`tests/rtl/`), which is not from outside.
"""


def markdown(held: Iterable[Held]) -> str:
    """The page: a summary by source, every miss, and how many are met of what."""
    held = list(held)
    lines = [HEAD, "| source | numbers | met | mean off | worst |", "|---|---|---|---|---|"]
    for source in dict.fromkeys(x.source for x in held):
        of = [x for x in held if x.source == source]
        off = [abs(x.off) for x in of]
        met = sum(x.met for x in of)
        lines.append(
            f"| {source} | {len(of)} | {met} | {sum(off) / len(off):.1%} | {max(off):.1%} |"
        )
    missed = [x for x in held if not x.met]
    lines += [
        "",
        f"## {len(missed)} misses",
        "",
        "| off | source | what | case | theirs | ours | |",
    ]
    lines += ["|---" * 7 + "|"]
    lines += [
        f"| {x.off:+.2%} | {x.source} | {x.quantity} | {x.case} | {_figure(x.outside)} "
        f"| {_figure(x.ours)} | {x.rule} |"
        for x in missed
    ]
    met_ones = [x for x in held if x.met]
    lines += ["", f"## {len(met_ones)} met", "", "| source | what | numbers | by a named rule |"]
    lines += ["|---" * 4 + "|"]
    for (source, what), of in groupby(
        sorted(met_ones, key=lambda x: (x.source, x.quantity)), lambda x: (x.source, x.quantity)
    ):
        group = list(of)
        rules = sorted({x.rule for x in group if x.rule})
        lines.append(f"| {source} | {what} | {len(group)} | {'; '.join(rules)} |")
    return "\n".join(lines) + "\n"


def _figure(value: float) -> str:
    """A number to be read: whole ones whole, others to six digits."""
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def main(folder: Path | None = None) -> list[Path]:
    """Write the page and the table: docs/truth.md and beside this file, or both in a folder."""
    held = every()
    paths = [folder / "truth.md", folder / "truth.csv"] if folder else [PAGE, HERE / "truth.csv"]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    names = ("source", "quantity", "case", "theirs", "ours", "off", "rule")
    rows = (
        (
            x.source,
            x.quantity,
            x.case,
            f"{x.outside:.10g}",
            f"{x.ours:.10g}",
            f"{x.off:.6g}",
            x.rule,
        )
        for x in held
    )
    paths[0].write_text(markdown(held), encoding="utf-8")
    paths[1].write_text(csv_lines(names, rows) + "\n", encoding="utf-8")
    return paths


if __name__ == "__main__":
    for path in main():
        print(path)
