"""Kernels: plain loops over arrays, compiled when they are first called.

The one place that imports numba.
The event and the cycle engine mark their inner loops with ``@kernel``.  Nothing is imported or
compiled until a kernel is called, so commands that call none never wait for it.  What was compiled
is kept on disk beside the module, or, where that directory cannot be written, in the user's cache
directory; where neither can be written it is compiled in every process anew.

Without numba, or with ``NUMBA_DISABLE_JIT=1``, the same functions run as Python: slow, and exact.

A kernel takes arrays, numbers and named tuples of them, and calls only kernels of its own module:
a file's compiled code is thrown away when that file changes, not when another one does.  Integers
wrap as the hardware's do: both operands of a product have the type of the sum it is added to.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import update_wrapper
from importlib.util import find_spec
from types import FunctionType
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

WAITING = "accelsim: compiling its inner loops for this machine, which is done once (some seconds)"

_lock = threading.RLock()


def kernel(function: F) -> F:
    """The same function, compiled at its first call; see the module's text for what it may do."""
    return cast(F, _Kernel(function))


def compiles() -> bool:
    """Whether kernels are compiled: numba is there, and not switched off."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0") and find_spec("numba") is not None


class _Kernel:
    """A function and, after the first call, what that call runs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.ready: Callable[..., Any] | None = None
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        if self.ready is None:
            self.ready = self.dispatcher() if compiles() else self._as_python
        return self.ready(*arguments)

    def _as_python(self, *arguments: Any) -> Any:
        with np.errstate(over="ignore"):  # sums wrap, and numpy would warn of it
            return self.function(*arguments)

    def dispatcher(self) -> Any:
        """numba's function, which compiles for each kind of arguments it meets."""
        with _lock:
            if self.ready is None:
                self.ready = self._dispatcher()
            return self.ready

    def _dispatcher(self) -> Any:
        numba = _numba()
        plain = self.function
        assert isinstance(plain, FunctionType)
        names = dict(plain.__globals__)
        for name in plain.__code__.co_names:
            called = names.get(name)
            if isinstance(called, _Kernel) and called is not self:
                if called.function.__module__ != plain.__module__:
                    raise TypeError(
                        f"kernel {plain.__name__} calls {name} of {called.function.__module__}; "
                        f"kernels call only those of their own module"
                    )
                names[name] = called.dispatcher()
        twin = FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__)
        twin.__qualname__, twin.__module__ = plain.__qualname__, plain.__module__
        options = {"nogil": True, "error_model": "numpy"}
        try:
            return numba.njit(cache=True, **options)(twin)
        except RuntimeError:  # no directory for the cache can be written
            return numba.njit(**options)(twin)


_imported: Any = None


def _numba() -> Any:
    """numba, told to say once a process that it compiles, if it does."""
    global _imported
    if _imported is None:
        import numba
        from numba.core import event

        class _Say(event.Listener):
            said = False

            def on_start(self, _: Any) -> None:
                if not self.said:
                    self.said = True
                    print(WAITING, file=sys.stderr, flush=True)

            def on_end(self, _: Any) -> None:
                pass

        register: Callable[..., Any] = event.register
        register("numba:compile", _Say())
        _imported = numba
    return _imported
