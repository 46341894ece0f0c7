"""A result as a table for the terminal and for notebooks."""

from __future__ import annotations

import html as escape
from collections.abc import Mapping, Sequence
from typing import Any

from accelsim.results.result import Result

NOTES = "Energy and area: what is not simply published (sources: accelsim/hardware/tables)"


def text(result: Result) -> str:
    """Overrides above, right-aligned columns, a total per dataflow, notes on the energy and
    failures below.
    """
    head, body = _cells(result)
    widths = [max(len(r[i]) for r in [head, *body]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        return "  ".join(
            c.ljust(w) if i < 2 else c.rjust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    rule = "  ".join("-" * w for w in widths)
    lines = [*_above(result), line(head), rule]
    for cells in body:
        if cells[1] == "total":
            lines += [rule, line(cells), ""]
        else:
            lines.append(line(cells))
    for told in (result.sampled, result.on_chip):
        lines += [*([""] if lines[-1] and told else []), *told]
    lines += [*([""] if lines[-1] else []), *result.failures]
    if result.energy_notes and any(row.nest is not None for row in result.rows):
        lines += [
            *([""] if lines[-1] else []),
            NOTES,
            *(f"  {note}" for note in result.energy_notes),
        ]
    return "\n".join(lines).rstrip()


def _above(result: Result) -> list[str]:
    """What the rows share and the columns do not say: overridden keys, a direction other than
    forward.
    """
    directions = _directions(result)
    return [
        *result.overridden,
        *(
            f"direction: {d}"
            for d in directions
            if directions != ["forward"] and len(directions) == 1
        ),
    ]


def _directions(result: Result) -> list[str]:
    """The rows' directions; where a layer has several, as in a training step, each row says its own
    beside the layer.
    """
    return list(dict.fromkeys(row.columns["direction"] for row in result.rows))


def _several(result: Result) -> bool:
    """Whether one layer has rows of more than one direction under one dataflow."""
    known: dict[tuple[str, str], str] = {}
    return any(
        known.setdefault((r.columns["layer"], r.columns["dataflow"]), d := r.columns["direction"])
        != d
        for r in result.rows
    )


def html(result: Result) -> str:
    """The same cells as an HTML table."""
    head, body = _cells(result)

    def row(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape.escape(c)}</{tag}>" for c in cells) + "</tr>"

    failures = "".join(f"<p>{escape.escape(f)}</p>" for f in result.failures)
    if result.energy_notes:
        items = "".join(f"<li>{escape.escape(n)}</li>" for n in result.energy_notes)
        failures = f"<details><summary>{NOTES}</summary><ul>{items}</ul></details>" + failures
    above = "".join(f"<p>{escape.escape(o)}</p>" for o in _above(result))
    table = (
        "<table><thead>"
        + row(head, "th")
        + "</thead><tbody>"
        + "".join(row(r, "td") for r in body)
        + "</tbody></table>"
    )
    return above + table + failures


def _cells(result: Result) -> tuple[list[str], list[list[str]]]:
    records: Sequence[Mapping[str, Any]] = result.records()
    levels = _levels(result)
    units = sorted({k for r in records for k in r if k in ("energy_mac", "energy_pj")})
    checked = any(r.get("bit_exact") is not None for r in records)
    waits = any(r.get("stall_cycles") for r in records)
    head = [
        "dataflow",
        "layer",
        "MACs",
        "cycles",
        *(["waiting"] if waits else []),
        "util",
        "PEs",
        *(f"{n} words" for n in levels),
        *({"energy_pj": "energy (pJ)", "energy_mac": "energy (MACs)"}[u] for u in units),
    ]
    head += ["bit-exact"] if checked else []
    known_snr = any(r.get("snr_db") is not None for r in records)
    head += ["SNR (dB)"] if known_snr else []
    several = _several(result)
    summed: Sequence[Mapping[str, Any]] = result.totals(records)
    totals = {total["dataflow"]: total for total in summed}
    body = []
    for flow, total in totals.items():
        rows = [r for r in records if r["dataflow"] == flow]
        for r in [*rows, *([total] if len(rows) > 1 else [])]:
            cells = [
                r["dataflow"],
                f"{r['layer']} {r['direction']}" if several and r is not total else r["layer"],
                _count(r.get("macs")),
                _count(r.get("cycles")),
                *([_count(r.get("stall_cycles"))] if waits else []),
                _percent(r.get("utilization")),
                _count(r.get("active_pes")),
            ]
            cells += [_count(_accesses(r, n)) for n in levels]
            cells += [_short(r.get(u)) for u in units]
            cells += [{True: "yes", False: "NO", None: "-"}[r.get("bit_exact")]] if checked else []
            cells += [_decibels(r.get("snr_db"))] if known_snr else []
            body.append(cells)
    return head, body


def _levels(result: Result) -> list[str]:
    names: dict[str, None] = {}
    for row in result.rows:
        if row.nest is not None:
            names |= dict.fromkeys(row.nest.arch.level_names)
    return list(names)


def _accesses(record: Mapping[str, Any], level: str) -> Any:
    found = [
        v
        for k, v in record.items()
        if k.startswith(f"{level}_") and k.endswith(("_reads", "_writes")) and v is not None
    ]
    return sum(found) if found else None


def _count(value: Any) -> str:
    return "-" if value is None else f"{int(value):,}".replace(",", " ")


def _decibels(value: Any) -> str:
    return "-" if value is None else f"{value:.1f}"


def _percent(value: Any) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"
