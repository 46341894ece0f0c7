"""What comes in is checked here, once: files as pydantic models, and the arguments of public
functions.  What is wrong is one clear line (``first_error`` says which).

``load_model`` is what reads every kind of file: workloads, dataflows, architectures, mappings and
studies; ``load_named`` finds it by name first.  ``validate`` is for data that are there already (an
importer's, a list of layers).  pydantic is imported when something is validated.

``checked`` is the door of a public function: by the name of an argument it is known what it has to
be, and inside types are what they say, so that 1, 1.0 and True never meet in one cache.
"""

from __future__ import annotations

import inspect
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import fields, replace
from functools import lru_cache, wraps
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from accelsim.base.errors import InputError, got
from accelsim.base.first_error import first_error
from accelsim.base.overrides import apply_overrides
from accelsim.base.shipped import resolve_file, shipped_file
from accelsim.base.yaml_reading import YamlSource, read_yaml

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

MOST_WORKERS = 4096  # processes at a time
F = TypeVar("F", bound=Callable[..., Any])


def load_model(
    path: str | os.PathLike[str],
    model: type[Model],
    kind: str,
    overrides: Mapping[str, object] | None = None,
    from_text: bool = False,
) -> Model:
    """Read a YAML file into ``model``; ``kind`` is named in messages, ``overrides`` as in
    ``apply_overrides``.

    Raises InputError for whatever is wrong with the file, its contents or the overrides.
    """
    return _modelled(read_yaml(path, kind), model, kind, overrides, from_text)


def _modelled(
    source: YamlSource,
    model: type[Model],
    kind: str,
    overrides: Mapping[str, object] | None = None,
    from_text: bool = False,
) -> Model:
    """What a file that was read says, with overrides, as a ``model``."""
    data = apply_overrides(source.data, overrides, model, from_text) if overrides else source.data
    return validate(data, model, kind, source, tuple(overrides or ()))


def load_named(
    kind: str,
    name_or_path: str | os.PathLike[str],
    model: type[Model],
    overrides: Mapping[str, object] | None = None,
    from_text: bool = False,
) -> Model:
    """The file of a shipped name or a path, as ``load_model`` reads it.  A shipped file is read
    once for as long as it stays what it is; models are frozen, so all who ask may have the same.

    Raises InputError.
    """
    path = shipped_file(kind, name_or_path) if isinstance(name_or_path, str) else None
    if path is not None:
        try:
            status = os.stat(path)
        except OSError:  # gone since it was found: who reads it says so
            pass
        else:
            now = (kind, path, status.st_mtime_ns, status.st_size)
            if not overrides:
                return cast("Model", _shipped(model, *now))
            return _modelled(_read(*now), model, kind, overrides, from_text)
    return load_model(resolve_file(kind, name_or_path), model, kind, overrides, from_text)


@lru_cache(maxsize=256)
def _shipped(model: type[Any], kind: str, path: Path, changed_ns: int, size: int) -> Any:
    return _modelled(_read(kind, path, changed_ns, size), model, kind)


def _read(kind: str, path: Path, changed_ns: int, size: int) -> YamlSource:
    """A shipped file's data, the caller's own: a model may change what it is given."""
    source = _read_once(kind, path, changed_ns, size)
    return replace(source, data=deepcopy(source.data))


@lru_cache(maxsize=64)
def _read_once(kind: str, path: Path, _changed_ns: int, _size: int) -> YamlSource:
    return read_yaml(path, kind)


def validate(
    data: dict[str, Any],
    model: type[Model],
    kind: str = "",
    source: YamlSource | None = None,
    overridden: Sequence[str] = (),
) -> Model:
    """``data`` as a ``model``.  Raises InputError for the first thing wrong, with its place if
    ``source`` has it.

    ``overridden`` are the dotted keys that did not come from the file; errors there carry no line.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(data)
    except ValidationError as e:
        raise first_error(e, data, model, kind, source, overridden) from None


# Arguments ----------------------------------------------------------------------------------------


def checked(function: F) -> F:
    """``function`` with its arguments checked before it begins, each by its name (``ARGUMENTS``);
    None goes where it is the default.  numpy's whole numbers become Python's.  Raises InputError.
    """
    parameters = inspect.signature(function).parameters
    names = tuple(parameters)
    optional = frozenset(name for name, p in parameters.items() if p.default is None)

    @wraps(function)
    def at_the_door(*given: Any, **named: Any) -> Any:
        placed = [
            argument(name, value, name in optional)
            for name, value in zip(names, given, strict=False)
        ]
        for name, value in named.items():
            named[name] = argument(name, value, name in optional)
        return function(*placed, *given[len(placed) :], **named)

    return cast(F, at_the_door)


def check_fields(made: Any) -> None:
    """The same for a dataclass that has just been made: its fields are the arguments."""
    for f in fields(made):
        value = getattr(made, f.name)
        good = argument(f.name, value, f.default is None)
        if good is not value:
            object.__setattr__(made, f.name, good)


def argument(name: str, value: Any, optional: bool = False) -> Any:
    """An argument as its function takes it.  Raises InputError."""
    rule = ARGUMENTS.get(name)
    return value if rule is None or (value is None and optional) else rule(name, value)


def expect(name: str, value: Any, kind: type) -> None:
    """Raises InputError if an argument is no ``kind``."""
    if not isinstance(value, kind):
        raise InputError(f"must be a {kind.__name__}", key=name, got=got(value))


def whole(name: str, value: Any) -> int:
    """A whole number, numpy's among them; True and 1.0 are none.  How large it has to be is for
    the function to say.
    """
    if type(value) is int:
        return value
    if not isinstance(value, Integral) or isinstance(value, bool):
        least = f" of at least {_LEAST[name]}" if name in _LEAST else ""
        raise InputError(f"must be a whole number{least}", key=name, got=got(value))
    return operator.index(value)


def _workers(name: str, value: Any) -> int:
    number = whole(name, value)
    if number > MOST_WORKERS:
        raise InputError(f"must be at most {MOST_WORKERS}", key=name, got=got(value))
    return number


def _number(name: str, value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError("must be a number", key=name, got=got(value))
    return value if isinstance(value, (int, float)) else float(value)


def truth(name: str, value: Any) -> bool:
    """True or False, numpy's among them; 1 is neither."""
    if type(value) is bool:
        return value
    if getattr(value, "ndim", None) != 0 or type(value.item()) is not bool:
        raise InputError("must be True or False", key=name, got=got(value))
    return bool(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError("must be text", key=name, got=got(value))
    return value


def _names(name: str, value: Any) -> tuple[str, ...]:
    """Several names, in a list; one text would be read letter by letter."""
    names: tuple[Any, ...] = (None,)
    if not isinstance(value, (str, bytes, Mapping)):
        with suppress(TypeError):
            names = tuple(value)
    if not all(isinstance(x, str) for x in names):
        raise InputError("must be a list of names", key=name, got=got(value))
    return names


def _texts(name: str, value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else _names(name, value)


def _keys(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError("must be a mapping of dotted keys to values", key=name, got=got(value))
    return value


def _groups(name: str, value: Any) -> Any:
    """Keys that move together: one mapping, or a list of such."""
    several = isinstance(value, (list, tuple))
    for group in value if several else [value]:
        _keys(name, group)
    return value


def _file(name: str, value: Any) -> Any:
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise InputError("must be a path", key=name, got=got(value))
    return value


def _called(name: str, value: Any) -> Any:
    if not callable(value):
        raise InputError("must be a function that is called with it", key=name, got=got(value))
    return value


def _mapper(name: str, value: Any) -> Any:
    if not isinstance(value, (bool, str)):
        raise InputError("must be true or an objective", key=name, got=got(value))
    return value


def _frame(name: str, value: Any) -> Any:
    from pandas import DataFrame

    if not isinstance(value, DataFrame):
        raise InputError("must be a pandas DataFrame", key=name, got=got(value))
    return value


# What an argument of that name has to be, wherever it is asked for.  Others (``workload``,
# ``arch``, ``dataflow``, ``mapping``) are checked by what loads them.
_LEAST = {"batch": 1, "seed": 0, "trials": 1, "sample": 1, "first": 1, "cycles": 1, "bits": 2}
_LEAST |= {"jobs": 1, "processes": 1}
_SWITCHES = "check timeline sample_folds end_to_end fuse_buffers total text"
_WORDS = (
    "engine direction objective tiles effort loss name description where study how column on_error "
    "numbers"
)
ARGUMENTS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(_LEAST, whole),
    **dict.fromkeys(_SWITCHES.split(), truth),
    **dict.fromkeys(_WORDS.split(), _text),
    **dict.fromkeys(("limit", "rate"), _number),
    **dict.fromkeys(("constraints", "columns", "on", "keys", "maximize"), _texts),
    **dict.fromkeys(("overrides", "grid"), _keys),
    **dict.fromkeys(("store", "path"), _file),
    **dict.fromkeys(("frame", "a", "b"), _frame),
    **dict.fromkeys(("jobs", "processes"), _workers),
    "layers": _names,
    "zipped": _groups,
    "mapper": _mapper,
    "progress": _called,
}
