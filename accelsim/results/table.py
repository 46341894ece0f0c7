"""The page of a result: a row a layer and dataflow, totals, and what must be said beside numbers.

``Result`` prints it, ``accelsim run`` and notebooks show it, the mapper's pages hold it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from accelsim.base.text_table import Block, Facts, Page, Sentences, SideNotes, TextTable, spaced
from accelsim.results.layer_row import Row
from accelsim.results.result import Result

NOTES = "Energy and area: what is not simply published (sources: accelsim/hardware/tables)"
ENERGY = {"energy_mac": "energy (MACs)", "energy_pj": "energy (pJ)"}

Record = Mapping[str, Any]


def result_page(result: Result) -> Page:
    """The page that ``print(result)`` and a notebook show."""
    return Page(blocks=result_blocks(result))


def result_blocks(result: Result) -> tuple[Block, ...]:
    """What rows share, the table, what was not carried out, failures, notes on the energy."""
    above = _above(result) if result.rows else []
    mapped = any(row.nest is not None for row in result.rows)
    notes = tuple(result.energy_notes) if mapped else ()
    return (
        *_sentences(above),
        _table(result, close=bool(above)),
        *_sentences(result.sampled),
        *_sentences(result.on_chip),
        *_sentences(result.failures),
        *([SideNotes(NOTES, notes)] if notes else []),
    )


def _sentences(lines: Sequence[str]) -> list[Sentences]:
    return [Sentences(tuple(lines))] if lines else []


def _above(result: Result) -> list[str]:
    """What the rows share and the columns do not say: what they are of, overridden keys where the
    title has none, a direction other than forward, tiles that are not the best found, and which
    memories cost no time.
    """
    directions = list(dict.fromkeys(row.columns["direction"] for row in result.rows))
    told = directions if len(directions) == 1 and directions != ["forward"] else []
    keys = [text for text in result.overridden if text not in result.title]
    told = [f"direction: {direction}" for direction in told]
    ruled = {row.columns.get("mapping") for row in result.rows} == {"rule"}
    tiles = ["tiles: the fixed rule's, not the best found"] if ruled else []
    free = [result.unlimited] if result.unlimited else []
    return [result.title, *keys, *told, *tiles, *free]


def _several_directions(result: Result) -> bool:
    """Whether one layer has rows of more than one direction under one dataflow, as in a training
    step; then each row says its own beside the layer.
    """
    known: dict[tuple[str, str], str] = {}
    for row in result.rows:
        place = (row.columns["layer"], row.columns["dataflow"])
        if known.setdefault(place, row.columns["direction"]) != row.columns["direction"]:
            return True
    return False


def _table(result: Result, *, close: bool) -> TextTable:
    """A group of rows a dataflow, each with its total where it has more than one row."""
    records = result.records()
    columns = _Columns(result, records)
    rows: list[list[str]] = []
    totals: list[int] = []
    for total in result.totals(records):
        own = [r for r in records if r["dataflow"] == total["dataflow"]]
        rows += [columns.cells(record) for record in own]
        if len(own) > 1:
            totals.append(len(rows))
            rows.append(columns.cells(total))
    numbers = range(2, len(columns.head))
    return replace(TextTable.of(columns.head, rows, numbers, totals), close=close)


class _Columns:
    """Which columns a result's rows have something for, and a record's cells under them.

    ``head`` names the columns; the first two are texts, the others numbers.
    """

    def __init__(self, result: Result, records: Sequence[Record]) -> None:
        self.several = _several_directions(result)
        self.levels = _levels(result)
        self.units = sorted({key for r in records for key in r if key in ENERGY})
        self.waiting = any(r.get("stall_cycles") for r in records)
        self.checked = any(r.get("bit_exact") is not None for r in records)
        self.quantized = any(r.get("snr_db") is not None for r in records)
        self.head = [
            *("dataflow", "layer", "MACs", "cycles"),
            *(["waiting"] if self.waiting else []),
            *("util", "PEs"),
            *(f"{level} words" for level in self.levels),
            *(ENERGY[unit] for unit in self.units),
            *(["bit-exact"] if self.checked else []),
            *(["SNR (dB)"] if self.quantized else []),
        ]

    def cells(self, record: Record) -> list[str]:
        """One record, a total among them, under ``head``."""
        exact = {True: "yes", False: "NO", None: "-"}[record.get("bit_exact")]
        return [
            *(_dataflow(record), self._layer(record)),
            *(_count(record.get("macs")), _count(record.get("cycles"))),
            *([_count(record.get("stall_cycles"))] if self.waiting else []),
            *(_percent(record.get("utilization")), _count(record.get("active_pes"))),
            *(_count(_accesses(record, level)) for level in self.levels),
            *(_short(record.get(unit)) for unit in self.units),
            *([exact] if self.checked else []),
            *([_decibels(record.get("snr_db"))] if self.quantized else []),
        ]

    def _layer(self, record: Record) -> str:
        layer: str = record["layer"]
        return f"{layer} {record['direction']}" if self.several and layer != "total" else layer


def _dataflow(record: Record) -> str:
    """A row's dataflow; of the best of several, which one that was."""
    own = record.get("best_dataflow")
    return f"{record['dataflow']} ({own})" if own else str(record["dataflow"])


def _levels(result: Result) -> list[str]:
    """Names of the levels of every machine that ran a row, outermost first."""
    machines = (row.nest.arch for row in result.rows if row.nest is not None)
    return list(dict.fromkeys(name for arch in machines for name in arch.level_names))


def _accesses(record: Record, level: str) -> int | None:
    """Words read and written at a level, all tensors; None where nothing was counted."""
    counts = [
        value
        for key, value in record.items()
        if key.startswith(f"{level}_") and key.endswith(("_reads", "_writes")) and value is not None
    ]
    return sum(counts) if counts else None


def _count(value: Any) -> str:
    return "-" if value is None else spaced(int(value))


def _decibels(value: Any) -> str:
    return "-" if value is None else f"{value:.1f}"


def _percent(value: Any) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"


def row_blocks(row: Row) -> tuple[Block, ...]:
    """One row by itself: every column that has a value, and the loops that ran."""
    facts = [(name, _plain_cell(value)) for name, value in row.columns.items() if value is not None]
    loops = [("loops", str(row.nest.mapping))] if row.nest is not None else []
    return (Facts(tuple(facts + loops)),)


def _plain_cell(value: Any) -> str:
    """A column's value: whole numbers with spaces, others to six digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return spaced(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
