"""Where the explorer's work is done: a process beside the server, which can be ended.

One question at a time.  A new process first loads and compiles what questions need (``warm``),
which is nobody's fault and counts against nobody's time.  A question that takes longer than its
limit, or whose client left ``GRACE_S`` ago, ends with its process, and the next question
finds a new one; the server itself only waits, so the rest of the page goes on answering, and Ctrl-C
is heard.

What the process remembers for the next question grows to a million objects, and looking through
them for garbage takes half a second.  So that is done after an answer, not in the midst of one
(``tidy``).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from concurrent.futures import BrokenExecutor
from typing import Any

from accelsim.base.errors import InputError
from accelsim.explore.pools import Processes
from accelsim.view.explorer.ask import Ask
from accelsim.view.explorer.views import layer_view

GRACE_S = 1.0  # for what a client no longer waits for: most is done sooner than a new process
MANY = 100_000  # objects made and kept by answers before garbage is looked for
SELDOM = 2_000_000  # and within one answer
LOOK_S = 0.1  # between looks at whether the client is still there
FIRST = (
    Ask(workload="lenet5", arch="systolic", dataflow="weight_stationary"),
    Ask(workload="lenet5", arch="eyeriss", dataflow="row_stationary"),
)


def warm() -> None:
    """Load and compile, once a process, what questions need: an array with folds, and one of
    passes.  What is there then is no garbage.
    """
    for ask in FIRST:
        layer_view(ask)
    gc.collect()
    gc.freeze()
    gc.set_threshold(SELDOM)


def tidy() -> None:
    """Look for garbage between two questions, if much was made since the last time."""
    young, looked, _ = gc.get_count()
    if young > MANY or looked:
        gc.collect()


class Workshop:
    """A process that answers questions, and whoever waits for it.

    ``limit_s``   that a question may take, from when it is its turn
    ``stopping``  asked now and then: whether the server wants to end
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.stopping: Callable[[], bool] = lambda: False
        self._turn: asyncio.Lock | None = None  # made inside the server's loop
        self._crew = self._ready()

    def _ready(self) -> Processes:
        """A new process, which loads what the first question would wait for."""
        crew = Processes(1)
        self._warm = crew.submit(warm)
        return crew

    async def work(
        self, function: Callable[[Ask], Any], ask: Ask, left: Callable[[], Awaitable[bool]]
    ) -> Any:
        """What the function says, or None for a client that ``left`` or when the server stops.
        Raises what it raises, and InputError where it takes too long.
        """
        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            if self.stopping() or await left():
                return None
            try:
                if not await self._warmed(left):
                    return None
                return await self._done(function, ask, left)
            except BrokenExecutor:
                self._anew()
                raise InputError("the work was ended; out of memory, perhaps") from None

    async def _warmed(self, left: Callable[[], Awaitable[bool]]) -> bool:
        """Wait until the process is ready; False for a client that ``left`` or a server that stops.
        The process stays: it is getting ready for the next question as well.
        """
        while not self._warm.done():
            if self.stopping() or await left():
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def _done(
        self, function: Callable[[Ask], Any], ask: Ask, left: Callable[[], Awaitable[bool]]
    ) -> Any:
        done = asyncio.wrap_future(self._crew.submit(function, ask))
        try:
            for _ in range(max(1, round(self.limit_s / LOOK_S))):
                await asyncio.wait({done}, timeout=LOOK_S)
                if done.done():
                    self._crew.submit(tidy)
                    return done.result()
                if self.stopping():
                    return None
                if await left():
                    await asyncio.wait({done}, timeout=GRACE_S)
                    return None
        finally:
            if not done.done():  # nobody waits for it any more
                done.cancel()
                self._anew()
        raise InputError(
            f"takes longer than {self.limit_s:g} s; ask for less, or start with a longer --limit"
        )

    def _anew(self) -> None:
        self._crew.close(now=True)
        if not self.stopping():
            self._crew = self._ready()

    def close(self) -> None:
        """End the work."""
        self._crew.close(now=True)
