"""How far a sweep is: points done, rate and time left, on stderr; and numbers as people read them.

``execution`` and the guided search tell a ``Progress`` of every batch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from accelsim.base.errors import InputError
from accelsim.base.text_table import spaced

EVERY_S = 10.0  # between lines where there is no terminal
Report = Callable[[int, int], None]  # (points done, points)


class Progress:
    """A bar on a terminal, else a line every ten seconds; or a call ``(done, total)`` to whoever
    asked for it.

    ``wanted``: True shows it, None on a terminal only, False not at all.
    """

    def __init__(self, wanted: bool | Report | None) -> None:
        self.wanted, self.report = wanted, wanted if callable(wanted) else None
        self.total = self.done = self.first = 0
        self.start = self.said = time.monotonic()
        self.lines = False
        self.bar: Any = None

    @classmethod
    def of(cls, wanted: Watched) -> Progress:
        """One for whatever a caller may give.  Raises InputError for anything else."""
        if not (wanted is None or isinstance(wanted, (bool, Progress)) or callable(wanted)):
            rule = "must be True, False or a function that is called with (done, total)"
            raise InputError(rule, key="progress", got=str(wanted))
        return wanted if isinstance(wanted, Progress) else cls(wanted)

    def begin(self, total: int, done: int = 0) -> None:
        """So many points in all, so many of them done before."""
        self.total, self.done, self.first = total, done, done
        self.start = self.said = time.monotonic()
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self.lines = self.wanted is True and not terminal
        if terminal and (self.wanted is True or self.wanted is None):
            from tqdm import tqdm

            self.bar = tqdm(
                total=total,
                initial=done,
                unit="point",
                unit_scale=total >= 100_000,
                leave=False,
                dynamic_ncols=True,
            )
        self.add(0)

    def add(self, points: int) -> None:
        """So many more are done."""
        self.done += points
        if self.report is not None:
            self.report(self.done, self.total)
        if self.bar is not None:
            self.bar.update(points)
        if self.lines and time.monotonic() - self.said > EVERY_S:
            self.said = time.monotonic()
            print(self.line(), file=sys.stderr, flush=True)

    def line(self) -> str:
        """Points done and to do, rate and time left in words."""
        rate = (self.done - self.first) / max(time.monotonic() - self.start, 1e-9)
        left = (
            f", {duration((self.total - self.done) / rate)} left"
            if rate and self.done < self.total
            else ""
        )
        return f"{spaced(self.done)} of {spaced(self.total)} points, {rate:.3g} points/s{left}"

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


Watched = bool | Report | Progress | None  # what a caller may give


def duration(seconds: float) -> str:
    """``3.2 s``, ``5 min 20 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )
