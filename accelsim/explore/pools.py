"""Who does the work: this process, processes of our own, an executor of the user's, or a Dask
cluster.

All but the first are a ``Crew``: a ``concurrent.futures`` executor, how many tasks it works on at
once, and what to do when it breaks.  ``Runner`` hands it tasks.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, Protocol

from accelsim.base.errors import InputError
from accelsim.base.one_thread import one_thread

ASK_S = 5.0
AHEAD = 2  # tasks handed out per worker, so that none waits for the next


class WorkerError(InputError):
    """Workers cannot be started, reached, or have another version."""


def cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


class Crew:
    """A user's executor; processes of our own take over if it breaks."""

    def __init__(self, executor: Executor, size: int | None = None) -> None:
        self.executor = executor
        self._size: int = size or getattr(executor, "_max_workers", None) or cores()

    @property
    def size(self) -> int:
        """How many tasks it works on at once."""
        return self._size

    def submit(self, run: Callable[..., Any], *args: Any) -> Future[Any]:
        """Raises BrokenExecutor."""
        return self.executor.submit(run, *args)

    def crashed(self, error: BaseException) -> bool:
        """Whether an error of a future means that its worker was lost."""
        return isinstance(error, BrokenExecutor)

    def replaced(self) -> Crew:
        """A crew that works, after this one broke."""
        return Processes(self.size)

    def alone(self) -> Crew:
        """A crew of one for tasks that may kill it; whoever asks closes it."""
        return Processes(1)

    def close(self, *, now: bool = False) -> None:
        """Let go.  An executor of the user's is left open."""


class Processes(Crew):
    """Spawned processes of our own.  They leave Ctrl-C to their parent and end when it does,
    however it ends.
    """

    def __init__(self, size: int) -> None:
        self.context = _Context()
        super().__init__(
            ProcessPoolExecutor(size, mp_context=self.context, initializer=_enter), size
        )

    def replaced(self) -> Crew:
        self.close(now=True)
        return Processes(self.size)

    def close(self, *, now: bool = False) -> None:
        self.executor.shutdown(wait=not now, cancel_futures=True)
        if now:
            for process in self.context.started:
                if process.is_alive():
                    process.kill()


class Cluster(Crew):
    """A Dask cluster.  Dask itself runs the tasks of lost workers again, and gives up on one that
    loses several.
    """

    def __init__(self, client: Any, *, ours: bool) -> None:
        super().__init__(client.get_executor(pure=False), 1)
        self.client, self.ours, self._asked = client, ours, 0.0

    @property
    def size(self) -> int:
        """Threads of all workers, asked for anew now and then: a cluster may grow."""
        if time.monotonic() - self._asked > ASK_S:
            with suppress(Exception):  # a scheduler that is gone is noticed by its futures
                self._size = max(1, sum(self.client.ncores().values()))
            self._asked = time.monotonic()
        return self._size

    def crashed(self, error: BaseException) -> bool:
        return type(error).__name__ == "KilledWorker"

    def replaced(self) -> Crew:
        return self

    def alone(self) -> Crew:
        return Cluster(self.client, ours=False)

    def close(self, *, now: bool = False) -> None:
        if now:
            self.executor.shutdown(wait=False)
        if self.ours:
            self.client.close()


class DaskClient(Protocol):
    """As much of ``distributed.Client`` as is used here; Dask need not be installed."""

    def get_executor(self, **options: Any) -> Executor: ...
    def ncores(self) -> Mapping[str, int]: ...
    def close(self) -> Any: ...


def crew(pool: Executor | DaskClient) -> Crew:
    """The crew of an executor or of a Dask client.  Raises InputError for anything else."""
    if hasattr(pool, "get_executor"):
        return Cluster(pool, ours=False)
    if not hasattr(pool, "submit"):
        raise InputError(
            "must be a concurrent.futures executor or a Dask client",
            key="pool",
            got=type(pool).__name__,
        )
    return Crew(pool)


def connect(address: str, timeout_s: float = 20.0) -> Crew:
    """The crew of a Dask scheduler, ``tcp://host:port``.  Raises WorkerError if it is not there or
    has no workers.
    """
    try:
        import distributed
    except ImportError:
        raise WorkerError(
            "a scheduler needs Dask: pip install dask distributed", key="scheduler"
        ) from None
    for name in ("client", "core", "utils"):  # what goes wrong is said in one line here
        logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL + 1)
    try:
        make: Any = distributed.Client
        client = make(address, timeout=timeout_s, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise WorkerError(
            f"does not answer ({error or type(error).__name__})", key="scheduler", got=address
        ) from None
    try:
        client.wait_for_workers(1, timeout=timeout_s)
    except TimeoutError:
        client.close()
        raise WorkerError("has no workers", key="scheduler", got=address) from None
    return Cluster(client, ours=True)


# Processes ----------------------------------------------------------------------------------------


class _Process(SpawnProcess):
    """A spawned process that does not import the user's script: our workers need nothing of it, so
    that it needs no guard.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        with _no_main(), one_thread():
            return SpawnProcess._Popen(process_obj)


class _Context(SpawnContext):
    """Starts such processes, and knows which."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_Process] = []

    def Process(  # type: ignore[override]  # noqa: N802
        self, *args: Any, **options: Any
    ) -> _Process:
        process = _Process(*args, **options)
        self.started.append(process)
        return process


_main_lock = threading.Lock()


@contextmanager
def _no_main() -> Iterator[None]:
    with _main_lock:
        kept = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = kept


def _enter() -> None:
    """In a new worker: Ctrl-C is the parent's, and a worker whose parent is gone ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
