"""A network's profile as a table: a line a layer or operator, before any accelerator."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.base.text_table import Page, TextTable, spaced
from accelsim.workload.profile import Profile, ProfileRow

HEAD = (
    "layer",
    "type",
    "inputs",
    "output",
    "parameters",
    "MACs",
    "other ops",
    "activations",
    "ops/byte",
    "1 MAC/cycle",
    "note",
)
_NUMBERS = range(4, 10)


def profile_page(profile: Profile) -> Page:
    """A line a layer, a total below; activation memory of the total is the peak."""
    rows = [*(_cells(row) for row in profile.rows), _cells(profile.total)]
    table = TextTable.of(HEAD, rows, _NUMBERS, totals=[len(profile.rows)])
    batch = "a batch of each layer's own" if profile.batch is None else f"batch {profile.batch}"
    title = f"{profile.workload}, {batch}, words of {profile.bits} bits"
    return Page(title, blocks=(table.without_empty_columns(),))


def table(profile: Profile) -> str:
    """The page as text."""
    return profile_page(profile).text()


def totals(profiles: Sequence[Profile]) -> str:
    """A line a network, as text."""
    rows = [[p.workload, *_cells(p.total)[1:]] for p in profiles]
    networks = TextTable.of(("network", *HEAD[1:]), rows, _NUMBERS)
    return Page(blocks=(networks.without_empty_columns(),)).text()


def _cells(row: ProfileRow) -> list[str]:
    return [
        row.layer,
        row.type,
        row.inputs,
        row.output,
        _count(row.parameters),
        _count(row.macs),
        _count(row.operations),
        bytes_text(row.activation_bytes),
        f"{row.intensity:.3g}" if row.intensity else "",
        seconds_text(row.time_s) if row.macs else "",
        row.note,
    ]


def _count(number: int) -> str:
    return spaced(number) if number else ""


def bytes_text(number: float) -> str:
    """Bytes in the unit that leaves at most four digits."""
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024 or unit == "GB":
            return f"{number:.4g} {unit}"
        number /= 1024
    raise AssertionError("GB ends the loop")


def seconds_text(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds >= 120:
        return f"{seconds / 60:.3g} min"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
