"""A timeline as a Chrome trace, which https://ui.perfetto.dev and chrome://tracing open.

``Result.to_trace`` asks.  A cycle of the core clock is a microsecond there.  Each timed row is a
process; each port, channel and the array a thread of it, outermost first; what a level holds of a
tensor is a counter.

Format: "Trace Event Format", Google, 2016: complete events (``X``), counters (``C``) and metadata
(``M``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from accelsim.engines.timeline import Timing


def chrome_trace(rows: Iterable[tuple[str, Timing]]) -> str:
    """The JSON text of rows with a timeline, each with its name."""
    events = [
        event for pid, (name, timing) in enumerate(rows, 1) for event in _process(pid, name, timing)
    ]
    head = {"displayTimeUnit": "ns", "otherData": {"unit": "1 us is a cycle of the core clock"}}
    return json.dumps(head | {"traceEvents": events}, separators=(",", ":"))


def _process(pid: int, name: str, timing: Timing) -> Iterator[dict[str, Any]]:
    """All events of one row."""
    if timing.timeline is None:
        return
    frame = timing.timeline.to_frame()
    resources = [*frame.attrs["resources"], *frame["resource"]]
    thread = {resource: tid for tid, resource in enumerate(dict.fromkeys(resources))}
    yield {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}
    for resource, tid in thread.items():
        common = {"ph": "M", "pid": pid, "tid": tid}
        yield common | {"name": "thread_name", "args": {"name": resource}}
        yield common | {"name": "thread_sort_index", "args": {"sort_index": tid}}
    for row in frame.to_dict("records"):
        yield {
            "ph": "X",
            "pid": pid,
            "tid": thread[row["resource"]],
            "ts": row["start"],
            "dur": row["end"] - row["start"],
            "name": f"{row['what']} {row['tensor']}".strip(),
            "args": {"words": row["words"], "step": row["step"]},
        }
    if timing.occupancy is not None:
        held: dict[str, dict[str, int]] = {}
        for row in timing.occupancy.to_frame().to_dict("records"):
            of_level = held.setdefault(row["level"], {})
            of_level[row["tensor"]] = row["words"]
            yield {
                "ph": "C",
                "pid": pid,
                "ts": row["time"],
                "name": f"{row['level']} holds, words",
                "args": dict(of_level),
            }
