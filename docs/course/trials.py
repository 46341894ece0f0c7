"""Questions with many right answers: what a student gives is run by the model, and the model says
whether it does what was asked.

Each function takes a plain answer, the folder its files lie in and what the question gives, and
returns None or, in a sentence, what is wrong.  Nothing here is an answer, so students have this
module too.  Who calls it: ``grading`` for teachers, ``check.py`` for students.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from comparing import kind, word

import accelsim as acc


def _one_line(error: Exception, most: int = 240) -> str:
    return " ".join(str(error).split())[:most]


# Lab 1 --------------------------------------------------------------------------------------------


def a_layer(answer: Any, place: Path, macs: int = 9216) -> str | None:
    """Any layer will do that has the ofmap and the MACs."""
    if not isinstance(answer, dict):
        return (
            "the answer is a dictionary of Conv2d's arguments, like {'M': 4, 'C': 1, 'H': 8, 'W': "
            "8, 'R': 3, 'S': 3}"
        )
    try:
        problem = acc.Conv2d(**answer).problem()
    except (TypeError, ValueError) as error:
        return f"this is no layer: {_one_line(error, 200)}"
    if (problem.H, problem.W) != (8, 8):
        return f"the ifmap is {problem.H} x {problem.W}, not 8 x 8"
    if (problem.E, problem.F) != (4, 4):
        return (
            f"the ofmap is {problem.E} x {problem.F}, not 4 x 4: with stride U, E = floor((H + 2 "
            "pad - R) / U) + 1"
        )
    if problem.macs != macs:
        return (
            f"it has {problem.macs} MACs, not {macs} = 16 pixels x {macs // 16}: M x C x R x S "
            f"must be {macs // 16}"
        )
    return None


# Lab 2 --------------------------------------------------------------------------------------------

SMALL = acc.Conv2d(M=8, C=4, H=8, W=8, R=3, S=3, padding=1, name="small")
SMALL_ARRAY = {"array.rows": 4, "array.cols": 4, "levels.sram.double_buffered": False}
SRAM_BYTES = 1024
KEEP = {
    "dram": ("weight", "ifmap", "ofmap"),
    "sram": ("weight", "ifmap", "ofmap"),
    "reg": ("weight",),
}
LEAST = 8 * 4 * 9 + 4 * 8 * 8  # every weight and every ifmap word once


def small_row(loops: str, sram_bytes: int = SRAM_BYTES) -> Any:
    """Lab 2's layer under loops; raises ValueError for a mapping that is not legal."""
    array = SMALL_ARRAY | {"levels.sram.capacity_bytes": sram_bytes}
    (row,) = acc.simulate(
        SMALL, "systolic", mapping=acc.Mapping(loops=loops, keep=KEEP), overrides=array
    ).rows
    if row.nest is None:
        raise ValueError(row.columns["error"])
    return row


def dram_reads(loops: str, sram_bytes: int = SRAM_BYTES) -> int:
    """Words read from DRAM under loops."""
    counts = small_row(loops, sram_bytes).columns
    return sum(v for k, v in counts.items() if k.startswith("dram_") and k.endswith("_reads"))


def small_traffic(answer: Any, place: Path) -> str | None:
    """Loops that read no word from DRAM twice."""
    if not isinstance(answer, str):
        return "the answer is the loops as one text, like 'M:4:dram E:4:dram K:4:sram ...'"
    try:
        read = dram_reads(answer)
    except ValueError as error:
        return f"the mapping is not legal: {_one_line(error)}"
    if read > LEAST:
        return (
            f"it reads {read} words from DRAM, {read - LEAST} of them again; which tensor comes "
            "twice, and which loop makes it so?"
        )
    return None


def tried(loops: str, sram_bytes: int = SRAM_BYTES) -> str:
    """What loops do, to read: the nest, and the words that move.  Raises ValueError."""
    row = small_row(loops, sram_bytes)
    counts = row.columns
    moved = [
        f"{level} {tensor}: {counts[f'{level}_{tensor}_reads']} words read"
        for level in ("dram", "sram")
        for tensor in ("weight", "ifmap")
    ]
    if back := counts["dram_ofmap_reads"]:
        moved.insert(2, f"dram ofmap: {back} words read, sums that come back to be added to")
    again = dram_reads(loops, sram_bytes) - LEAST
    moved.append(f"from dram {LEAST + again} words in all, {again} of them again")
    return "\n".join([str(row.nest), *_bytes_of(row.nest), "", *moved])


def loops_and_sram(words: list[str]) -> tuple[str, int]:
    """Loops and the SRAM's bytes from a shell's words, as "M:4:dram ... --sram 512".

    Raises ValueError for bytes that are no whole number.
    """
    if "--sram" not in words:
        return " ".join(words), SRAM_BYTES
    at = words.index("--sram")
    told = words[at + 1 : at + 2]
    if not (told and told[0].isdecimal()):
        raise ValueError(
            f"--sram takes the SRAM's bytes, as 512; got {' '.join(told) or 'nothing'}"
        )
    return " ".join(words[:at] + words[at + 2 :]), int(told[0])


def _bytes_of(nest: Any) -> list[str]:
    """Why an ofmap takes the bytes it takes."""
    told = []
    for level, name in enumerate(("dram", "sram")):
        bits = nest.footprint.word_bits(level, "ofmap")
        kind = "sums" if bits > nest.arch.bits.ofmap else "finished"
        told.append(f"{bits // 8} at {name} ({kind})")
    return [f"a weight or ifmap word takes 1 byte, an ofmap word {', '.join(told)}"]


# Lab 3 --------------------------------------------------------------------------------------------

THREE = {
    "array.rows": 3, "array.cols": 3, "levels.sram.double_buffered": False, "dram": "unlimited"
}  # fmt: skip
# Questions that the films answer: that of ws, os and is, that of a dataflow of one's own, of rows.
FLOWS_ASKED = "3.1 3.2 3.3 3.4 3.5 3.6 3.7"
OWN_ASKED, ROWS_ASKED = f"{FLOWS_ASKED} 3.9", "3.11 3.12 3.13"
FILMS = {"lab3_film.html": FLOWS_ASKED, "lab3_rows.html": ROWS_ASKED}


def product(pixels: int = 5) -> acc.Gemm:
    """Lab 3's matrix product."""
    return acc.Gemm(m=3, k=3, n=pixels, name="product")


def on_three(dataflow: Any, pixels: int = 5) -> dict[str, Any]:
    """The model's row on 3 x 3 PEs, its outputs checked against the golden model."""
    result = acc.simulate(
        product(pixels), "systolic", dataflow, tiles="rule", overrides=THREE, check=True
    )
    return dict(result.rows[0].columns)


def own_dataflow(answer: Any, place: Path, pixels: int = 5) -> str | None:
    """A turned weight-stationary dataflow: read, run and checked."""
    if not isinstance(answer, str):
        return "the answer is the name of your dataflow file, beside the file of answers"
    if "/" in answer or not answer.isprintable():
        return "the answer is the name of a file that lies beside the file of answers, not a path"
    path = place / answer
    if not path.is_file():
        return f"there is no file {answer} beside the answers, in the folder answers"
    try:
        flow = acc.load_dataflow(path)
        row = on_three(flow, pixels)
    except acc.InputError as error:
        return _one_line(error)
    if row["error"]:
        return f"it does not run: {row['error']}"
    return _turned(flow, row)


def _turned(flow: Any, row: dict[str, Any]) -> str | None:
    """Whether a dataflow that runs is the one asked for."""
    if flow.stays != ("weight",):
        return (
            f"weights are to stay in the PEs; your file lets {', '.join(flow.stays) or 'nothing'} "
            "stay"
        )
    axes = dict(entry.split(":") for entry in flow.space)
    if axes != {"M": "row", "K": "col"}:
        return (
            "M is to lie over rows and K over columns; yours has "
            f"{', '.join(flow.space) or 'nothing'} in space"
        )
    if not row["bit_exact"]:
        return "its outputs differ from the golden model"
    if row["active_pes"] < 9:
        return (
            f"only {row['active_pes']} of 9 PEs work at once; let sizes begin with M:row and "
            "K:col, which fills the array first"
        )
    return None


def film(dataflow: Any, pixels: int = 5) -> acc.Animation:
    """Lab 3's film of a dataflow, or of several beside each other: "ws,os,is"."""
    return acc.animate(product(pixels), "systolic", dataflow, overrides=THREE)


def rows_film() -> acc.Animation:
    """Row-stationary on 3 x 3 PEs: a filter of 3 x 3 over 5 x 5 ifmap words."""
    layer = acc.Conv2d(M=1, C=1, H=5, W=5, R=3, S=3, name="rows")
    small = {"array.rows": 3, "array.cols": 3, "dram": "unlimited"}
    return acc.animate(layer, "eyeriss", "rs", overrides=small)


def write_film(name: str, pixels: int = 5) -> Path:
    """Write one of FILMS here; it begins at edge 1."""
    made = film("ws,os,is", pixels) if name == "lab3_film.html" else rows_film()
    return _from_the_start(made).save(name)


def own_film(name: str, place: Path, pixels: int = 5) -> Path:
    """Write the film of a dataflow whose file lies in ``place``, beside the answers, here.

    Raises InputError, and ValueError for a file that is not there.
    """
    path = place / name
    if not path.is_file():
        raise ValueError(f"there is no file {path}: a dataflow of yours lies beside the answers")
    made = film(acc.load_dataflow(path), pixels)
    return _from_the_start(made).save(Path(path.name).with_suffix(".html"))


def _from_the_start(made: acc.Animation) -> acc.Animation:
    """A film opens where most PEs work; these open at their first edge, to be followed from it."""
    return replace(made, films=tuple(replace(f, opens=0) for f in made.films))


# Lab 5 --------------------------------------------------------------------------------------------

SIZES = [4, 8, 16, 32]
CAPACITIES = [4096, 16384, 65536, 262144]
PLAIN = {"levels.sram.double_buffered": False, "dram": "unlimited"}
KEYS = ("array.rows", "array.cols", "levels.sram.capacity_bytes")


@cache
def designs() -> Any:
    """All 128 designs of lab 5, with their energy-delay product."""
    rows = acc.sweep(
        "lenet5",
        acc.load_architecture("systolic", PLAIN),
        dict(zip(KEYS, (SIZES, SIZES, CAPACITIES), strict=True)),
        dataflows="ws,os",
        tiles="rule",
        total=True,
        jobs=1,
    )
    return rows.assign(edp=rows.energy_pj * rows.time_s)


def affordable(budget: float) -> Any:
    """Those of at most that many um2."""
    return designs()[designs().area_um2 <= budget]


def design(answer: Any, place: Path, budget: float = 400_000.0) -> str | None:
    """The design of the least energy-delay product within the budget."""
    wanted = (*KEYS, "dataflow")
    if not isinstance(answer, dict) or set(answer) != set(wanted):
        return f"the answer is a dictionary with the keys {', '.join(sorted(wanted))}"
    rows = designs()
    for key in wanted:
        value = answer[key]
        if isinstance(value, (list, dict)):
            return f"{key} is {'a word' if key == 'dataflow' else 'a number'}, got {kind(value)}"
        rows = rows[rows[key] == (word(value) if isinstance(value, str) else value)]
        if not len(rows):
            return f"{key} = {value!r} is none of the candidates"
    row, best = rows.iloc[0], affordable(budget).edp.min()
    if row.area_um2 > budget:
        return f"it takes {row.area_um2:.0f} um2, {row.area_um2 - budget:.0f} more than there are"
    if row.edp > best * (1 + 1e-9):
        return (
            f"its energy-delay product is {100 * (row.edp / best - 1):.1f} % above that of the "
            "best design that fits"
        )
    return None
