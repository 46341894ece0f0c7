"""What a timed run tells beside its counts: where the cycles went and, if asked for, who was busy
when and what each level held.

The timed event engine writes these; ``results``, the Gantt chart and the tests read them.  They are
plain tables, and know no engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
Instance = tuple[int, ...]  # one index per spatial loop outside the level
MOST_ROWS = 200_000
_FLUSH = 20_000


class Timeline:
    """Rows of resource, what, tensor, start, end, words, step; at most about ``MOST_ROWS``.

    ``resources``  names of all that have rows, outermost first, the array last
    ``most``       rows kept; more are merged
    ``merged``     0, or a number of cycles: rows of one resource, what and tensor that start in the
                   same so many cycles are one row then, as long as they are together

    Rows are kept as numbers, a code standing for (resource, what, tensor): few at a time in a list
    (``_few``), the rest in arrays ``[5, rows]`` of code, start, end, words and step (``_blocks``).
    """

    def __init__(self, resources: Sequence[str], most: int | None = None) -> None:
        self.resources = tuple(resources)
        self.most = MOST_ROWS if most is None else most
        self.merged = 0
        self._codes: dict[tuple[str, str, str], int] = {}
        self._few: list[tuple[int, int, int, int, int]] = []
        self._blocks: list[Ints] = []
        self._count = 0

    def add(
        self, resource: str, what: str, tensor: str, start: int, end: int, words: int, step: int
    ) -> None:
        """One row; cycles of the core clock."""
        self._few.append((self._code(resource, what, tensor), start, end, words, step))
        if len(self._few) >= min(_FLUSH, self.most):
            self._flush()

    def extend(
        self, resource: str, what: str, tensor: str, start: Ints, end: Ints, words: Ints, step: int
    ) -> None:
        """Rows of one resource, what, tensor and step: ``start``, ``end`` and ``words`` are
        ``[rows]``; rows that take no time are left out.
        """
        some = end > start
        if some.any():
            code = self._code(resource, what, tensor)
            n = int(np.count_nonzero(some))
            self._append(
                np.stack([np.full(n, code), start[some], end[some], words[some], np.full(n, step)])
            )

    def __len__(self) -> int:
        return self._count + len(self._few)

    @property
    def note(self) -> str:
        """What is not told row by row; empty if all is."""
        if not self.merged:
            return ""
        return (
            f"rows of one resource, kind and tensor that start in the same {self.merged} cycles "
            "are one, as long as they are together"
        )

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame in order of start; cycles of the core clock.

        ``attrs["note"]`` says what was merged, ``attrs["resources"]`` names all resources,
        outermost first, the array last.
        """
        import pandas as pd

        self._flush()
        code, start, end, words, step = self._table()
        order = np.lexsort((code, start))
        names = np.array([*self._codes, ("", "", "")], dtype=object)[code[order]]
        columns = {"resource": names[:, 0], "what": names[:, 1], "tensor": names[:, 2]}
        frame = pd.DataFrame(
            columns
            | {"start": start[order], "end": end[order], "words": words[order], "step": step[order]}
        )
        frame.attrs |= {"note": self.note, "resources": list(self.resources)}
        return frame

    def _code(self, *names: str) -> int:
        return self._codes.setdefault(names, len(self._codes))  # type: ignore[arg-type]

    def _flush(self) -> None:
        if self._few:
            few, self._few = np.array(self._few, np.int64).T, []
            self._append(few)

    def _append(self, block: Ints) -> None:
        self._blocks.append(block)
        self._count += block.shape[1]
        while self._count > self.most:
            self._merge()

    def _table(self) -> Ints:
        """All rows as one array ``[5, rows]``."""
        if len(self._blocks) != 1:
            self._blocks = (
                [np.concatenate(self._blocks, axis=1)]
                if self._blocks
                else [np.zeros((5, 0), np.int64)]
            )
        return self._blocks[0]

    def _merge(self) -> None:
        """Halve the resolution: the first merge is as fine as the shortest row, each further one
        twice as coarse.  Words and cycles of a merged row add up; it has the first one's start.
        """
        code, start, end, words, step = self._table()
        self.merged = 2 * self.merged or max(1, int((end - start).min()))
        order = np.lexsort((start, start // self.merged, code))
        code, start, lasting, words, step = (
            code[order],
            start[order],
            (end - start)[order],
            words[order],
            step[order],
        )
        when = start // self.merged
        first = np.flatnonzero(np.append(True, (code[1:] != code[:-1]) | (when[1:] != when[:-1])))
        lasting, words = np.add.reduceat(lasting, first), np.add.reduceat(words, first)
        self._blocks = [
            np.stack([code[first], start[first], start[first] + lasting, words, step[first]])
        ]
        self._count = len(first)


@dataclass(frozen=True)
class LevelHeld:
    """A change of what the instances of a level hold of a tensor, in words."""

    level: int
    tensor: str
    words: Mapping[Instance, int]


class Occupancy:
    """Words the fullest instance of each level inside the outermost and outside the PEs holds of
    each tensor, whenever that changes.

    ``names``   of the levels, outermost first
    ``most``    changes kept; more are merged
    ``merged``  as in ``Timeline``: of the same so many cycles only the most is told

    A level is full when its fullest instance is, so that is what is told.
    """

    def __init__(self, names: Sequence[str], most: int | None = None) -> None:
        self.names = names
        self.most = MOST_ROWS if most is None else most
        self.merged = 0
        self._words: dict[tuple[int, str], dict[Instance, int]] = {}
        self._rows: dict[tuple[int, str, int], int] = {}  # level, tensor, time

    def change(self, now: int, changes: Iterable[LevelHeld]) -> None:
        """Instances hold so many words more (or fewer) from cycle ``now`` on."""
        for held in changes:
            words = self._words.setdefault((held.level, held.tensor), {})
            for instance, n in held.words.items():
                words[instance] = words.get(instance, 0) + n
            self._note(held.level, held.tensor, now, max(words.values(), default=0))

    def _note(self, level: int, tensor: str, now: int, words: int) -> None:
        if self.merged:
            at = (level, tensor, now // self.merged * self.merged)
            self._rows[at] = max(words, self._rows.get(at, 0))
        else:
            self._rows[level, tensor, now] = words
        if len(self._rows) > self.most:
            self.merged = 2 * self.merged or 2
            rows, self._rows = self._rows, {}
            for (level, tensor, time), n in rows.items():
                at = (level, tensor, time // self.merged * self.merged)
                self._rows[at] = max(n, self._rows.get(at, 0))

    def __len__(self) -> int:
        return len(self._rows)

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame of level, tensor, time in core cycles, words from then on."""
        import pandas as pd

        rows = [
            (self.names[level], tensor, time, n) for (level, tensor, time), n in self._rows.items()
        ]
        frame = pd.DataFrame(rows, columns=["level", "tensor", "time", "words"])
        frame.attrs["note"] = (
            f"of the same {self.merged} cycles only the most is told" if self.merged else ""
        )
        return frame


@dataclass(frozen=True)
class Timing:
    """Where the cycles of a nest went; all of the core clock.

    ``cycles`` is the end of the schedule: ``array_cycles``, the array's own time with memory never
    waited for, and all ``stalls``.

    ``compute_cycles``  MAC steps
    ``stalls``          by level and network
    ``busy``            how long each port and channel was taken, by its label
    ``timeline``        who was busy when; None unless asked for
    ``occupancy``       what each level held when; None unless asked for
    """

    cycles: int
    array_cycles: int
    compute_cycles: int
    stalls: dict[str, int]
    busy: dict[str, int]
    timeline: Timeline | None = None
    occupancy: Occupancy | None = field(default=None, repr=False)

    @property
    def stall_cycles(self) -> int:
        return sum(self.stalls.values())

    def columns(self) -> dict[str, Any]:
        """The contract's columns of cycles."""
        columns: dict[str, Any] = {
            "cycles": self.cycles,
            "compute_cycles": self.compute_cycles,
            "fill_drain_cycles": self.array_cycles - self.compute_cycles,
            "stall_cycles": self.stall_cycles,
        }
        return columns | {f"stall_{name}_cycles": n for name, n in self.stalls.items()}
