"""Kernels: plain loops over arrays, compiled when they are first called.

The one place that imports numba.
The engines mark their inner loops with ``@kernel``.  Nothing is imported or
compiled until a kernel is called, so commands that call none never wait for it.  What was compiled
is kept on disk beside the module, or, where that directory cannot be written, in the user's cache
directory; where neither can be written it is compiled in every process anew.

What Python calls is compiled whole, with the kernels it calls, and kept; these are kept apart only
if Python calls them too.

Without numba, or with ``NUMBA_DISABLE_JIT=1``, the same functions run as Python: slow, and exact.

A kernel takes arrays, numbers and named tuples of them, makes no arrays, and calls only kernels of
its own module: a file's compiled code is thrown away when that file changes, not when another one
does.  Integers wrap as the hardware's do: both operands of a product have the type of the sum it is
added to.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, update_wrapper
from types import FunctionType
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

WAITING = "accelsim: compiling its inner loops for this machine, which is done once (some seconds)"

# no memory is managed, since a kernel makes no arrays: what it is given outlives it
OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}

_lock = threading.RLock()


def kernel(function: F) -> F:
    """The same function, compiled at its first call; see the module's text for what it may do.

    Each kernel is of a class of its own, since how an object is called is told by its class.
    """
    own: type[_Kernel] = type("_Kernel", (_Kernel,), {})
    return cast(F, own(function))


def compiles() -> bool:
    """Whether kernels are compiled: numba is there, and not switched off."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0") and _numba() is not None


class _Kernel:
    """A function and, after the first call, what that call runs; later calls run that at once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.ready: Callable[..., Any] | None = None
        self.linked: Any = None  # what kernels that call it are compiled with
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        if self.ready is None:
            self.ready = self.dispatcher() if compiles() else self._as_python
        type.__setattr__(type(self), "__call__", staticmethod(self.ready))
        return self.ready(*arguments)

    def _as_python(self, *arguments: Any) -> Any:
        with np.errstate(over="ignore"):  # sums wrap, and numpy would warn of it
            return self.function(*arguments)

    def dispatcher(self) -> Any:
        """numba's function for Python, which compiles for each kind of arguments it meets."""
        with _lock:
            if self.ready is None:
                self.ready = self._dispatcher()
            return self.ready

    def part(self) -> Any:
        """numba's function for the kernels that call it: its code becomes a part of theirs."""
        with _lock:
            if self.linked is None:
                _, part = _compilers()
                names, called = self._names()
                names.update({name: kernel.part() for name, kernel in called.items()})
                options = {**OPTIONS, "no_cpython_wrapper": True, "pipeline_class": part}
                self.linked = _plain_kinds(_numba().njit(**options)(self._twin(names)))
            return self.linked

    def calls(self) -> dict[str, _Kernel]:
        """The kernels it calls, by name.  Raises TypeError for one of another module."""
        plain = self.function
        assert isinstance(plain, FunctionType)
        known = {name: plain.__globals__.get(name) for name in plain.__code__.co_names}
        called = {name: x for name, x in known.items() if isinstance(x, _Kernel) and x is not self}
        for name, x in called.items():
            if x.function.__module__ != plain.__module__:
                raise TypeError(
                    f"kernel {plain.__name__} calls {name} of {x.function.__module__}; "
                    f"kernels call only those of their own module"
                )
        return called

    def _names(self) -> tuple[dict[str, Any], dict[str, _Kernel]]:
        """The names its text means, and the kernels among them."""
        plain = self.function
        assert isinstance(plain, FunctionType)
        return dict(plain.__globals__), self.calls()

    def _twin(self, names: dict[str, Any]) -> FunctionType:
        """The same function, whose names mean ``names``."""
        plain = self.function
        assert isinstance(plain, FunctionType)
        twin = FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__)
        twin.__qualname__, twin.__module__ = plain.__qualname__, plain.__module__
        return twin

    def _dispatcher(self) -> Any:
        numba = _numba()
        whole, _ = _compilers()
        names, called = self._names()

        def ready() -> None:
            """Those it calls are made ready: when it is compiled, not when it is loaded."""
            names.update({name: kernel.part() for name, kernel in called.items()})

        twin, options = self._twin(names), {**OPTIONS, "pipeline_class": whole}
        try:
            made = numba.njit(cache=True, **options)(twin)
        except RuntimeError:  # no directory for the cache can be written
            made = numba.njit(**options)(twin)
            ready()
        else:
            made._cache.load_overload = _forgiving(made._cache, ready)
        return _plain_kinds(made)


def _plain_kinds(made: Any) -> Any:
    """The same, to which a constant is a number like any other, not a kind of its own."""
    compile_for, plain_kind = made.compile, _numba().types.unliteral
    made.compile = lambda kinds: compile_for(
        tuple(map(plain_kind, kinds)) if isinstance(kinds, tuple) else kinds
    )
    return made


# what numba does for closures, array expressions, objects and threads, of which no kernel has any
UNNEEDED = {
    "WithLifting",
    "InlineClosureLikes",
    "RewriteSemanticConstants",
    "DeadBranchPrune",
    "RewriteDynamicRaises",
    "MakeFunctionToJitFunction",
    "InlineInlinables",
    "FindLiterallyCalls",
    "LiteralUnroll",
    "LiteralPropagationSubPipelinePass",
    "InlineOverloads",
    "NopythonRewrites",
    "DumpParforDiagnostics",
}


@cache
def _compilers() -> tuple[Any, Any]:
    """How a kernel is compiled for Python, and how for the kernels that call it.

    For those it is typed and written in LLVM's language, and no more.  They take that text in, and
    it is optimised and turned into machine code with theirs, once.  numba by itself does both for
    every kernel, and again in each kernel on the way up.  What is kept on disk is machine code
    alone.
    """
    from llvmlite.binding import parse_assembly
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import Compiler

    class _Text(JITCodeLibrary):
        def _optimize_functions(self, module: Any) -> None:
            module.data_layout = self._codegen._data_layout

        def _optimize_final_module(self) -> None:
            pass

        def _finalize_final_module(self) -> None:
            self._finalized = True

    class _Kept(JITCodeLibrary):
        def serialize_using_object_code(self) -> Any:
            """Machine code and the names in it; not the text it was made of, which takes longer to
            read and which nothing takes in.
            """
            theirs: Any = super()
            name, kind, (code, _) = theirs.serialize_using_object_code()
            made = [x.name for x in self._final_module.functions if not x.is_declaration]
            names = "".join([f'define void @"{x}"() {{ ret void }}\n' for x in made])
            return name, kind, (code, parse_assembly(names).as_bitcode())

    class _Whole(Compiler):
        def define_pipelines(self) -> Any:
            state: Any = self.state
            if state.library is None:
                kept: Any = _Kept
                state.library = kept(state.targetctx.codegen(), state.func_id.func_qualname)
                state.library.enable_object_caching()
            theirs: Any = super()
            pipelines = theirs.define_pipelines()
            for one in pipelines:
                one.passes = [x for x in one.passes if x[0].__name__ not in UNNEEDED]
            return pipelines

        def compile_extra(self, function: Any) -> Any:
            """What a compiler makes is kept: to look for garbage in it again and again is vain."""
            collects = gc.isenabled()
            theirs: Any = super()
            gc.disable()
            try:
                return theirs.compile_extra(function)
            finally:
                if collects:
                    gc.enable()

    class _Part(_Whole):
        def define_pipelines(self) -> Any:
            state: Any = self.state
            text: Any = _Text
            state.flags.no_compile = True
            state.library = text(state.targetctx.codegen(), state.func_id.func_qualname)
            return super().define_pipelines()

        def compile_extra(self, function: Any) -> Any:
            """Known to numba by a built-in function of its own, as it wants; none calls that."""
            made = super().compile_extra(function)._replace(entry_point=[].append)
            known_as = made.target_context.insert_user_function
            known_as(made.entry_point, made.fndesc, [made.library])
            return made

    return _Whole, _Part


def _forgiving(cache: Any, missed: Callable[[], None]) -> Callable[..., Any]:
    """Loads what a cache has of a kernel; one that cannot be read is emptied, and the kernel is
    compiled anew.  So is the cache of an older version of a module whose types it names.  Before a
    kernel is compiled, ``missed`` is called.

    numba would first make its compiler ready: import what it knows of Python and NumPy, SciPy's
    linear algebra among it, and compile its memory manager.  That is most of a command's wait for
    kernels, and what was compiled needs none of it; who compiles makes it ready then.
    """
    load = getattr(cache, "_load_overload", cache.load_overload)
    guard = getattr(cache, "_guard_against_spurious_io_errors", nullcontext)

    def load_overload(*arguments: Any) -> Any:
        loaded = None
        try:
            with guard():  # Windows lets nobody read what another process writes
                loaded = load(*arguments)
        except Exception:
            cache.flush()
        if loaded is None:
            missed()
        return loaded

    return load_overload


_imported: Any = None


def _numba() -> Any:
    """numba, told to say once a process that it compiles, if it does; None without it."""
    global _imported
    with _lock:
        if _imported is not None:
            return _imported
        try:
            import numba
            from numba.core import event
        except ImportError:
            return None

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
