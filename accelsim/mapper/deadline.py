"""When a search has to end: asked by every phase of it, the quick and the exact one's."""

from __future__ import annotations

from time import monotonic


def in_time(deadline: float | None) -> None:
    """Raises TimeoutError past the deadline (``monotonic``), if there is one."""
    if deadline is not None and monotonic() > deadline:
        raise TimeoutError


__all__ = ["in_time"]
