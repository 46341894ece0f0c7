"""Bad input as one line: file, line, column, key, rule, what was got, and the nearest valid choice.

Every room raises ``InputError`` for what a user gave it; ``cli/main`` prints it and ends with 2.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from numbers import Number

MAX_LISTED = 16  # choices in a message


class InputError(ValueError):
    """Bad input, as one line: ``FILE:LINE:COL: key: rule, got X; nearest: Y``.  Unknown parts are
    left out.

    ``got`` is text as the user wrote it.  ``choices`` are the valid names, which who says the error
    again passes on; the line gives the nearest ones, or all if few and none is near.  ``line`` and
    ``column`` count from 1.
    """

    def __init__(
        self,
        rule: str,
        *,
        file: str | os.PathLike[str] | None = None,
        line: int | None = None,
        column: int | None = None,
        key: str | None = None,
        got: str | None = None,
        choices: Iterable[str] = (),
    ) -> None:
        self.rule, self.key, self.got = rule, key, got
        self.file, self.line, self.column = file, line, column
        every = self.choices = tuple(choices)
        self.nearest = nearest(got, every) if got is not None else ()
        place = ":".join(str(part) for part in (file, line, column) if part is not None)
        text = ": ".join(
            one_line(part, limit)
            for part, limit in ((place, 5000), (key, 100), (rule, 300))
            if part
        )
        if got is not None:
            text += f", got {one_line(got, 60)}"
        if self.nearest:
            text += f"; nearest: {one_line(', '.join(self.nearest), 200)}"
        elif 0 < len(every) <= MAX_LISTED:
            text += f"; choices: {one_line(', '.join(every), 200)}"
        super().__init__(text)


def got(value: object) -> str:
    """What was given, in a message: text and numbers as they are, anything else by its type."""
    if isinstance(value, str):
        return repr(value)
    return str(value) if value is None or isinstance(value, Number) else type(value).__name__


def nearest(word: str, choices: Iterable[str]) -> tuple[str, ...]:
    """At most three of ``choices`` that ``word`` may have meant, the nearest first; case, ``-`` and
    ``_`` do not count.
    """
    known = {folded(choice): choice for choice in choices}
    return tuple(
        known[match]
        for match in difflib.get_close_matches(folded(word[:80]), known, n=3, cutoff=0.55)
    )


def or_nearest(word: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown ``word``: ``; nearest: a, b``, or nothing."""
    close = nearest(word, choices)
    return f"; nearest: {', '.join(close)}" if close else ""


def folded(word: str) -> str:
    """A name with case, hyphens and blanks around it made equal."""
    return word.strip().lower().replace("-", "_")


def one_line(text: str, limit: int = 5000) -> str:
    """Text without anything that would break a line or upset a terminal, cut to ``limit``
    characters.
    """
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
