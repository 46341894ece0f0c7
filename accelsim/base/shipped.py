"""Where the shipped YAML files lie, and which file a name or a path means.

Called by whoever takes a workload, dataflow, architecture or mapping by name: ``load_workload`` and
its like, the explorer, the command line's lists.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from accelsim.base.errors import InputError, folded, got, nearest

SINGULAR = {
    "workloads": "workload",
    "dataflows": "dataflow",
    "architectures": "architecture",
    "mappings": "mapping",
}
SUFFIXES = (".yaml", ".yml")


def shipped_folder(kind: str) -> Path:
    """The folder of the shipped files of ``kind`` (workloads, dataflows, architectures, mappings);
    it need not exist.

    Inside the package in an installed wheel; beside it in a checkout, which is also what an
    editable install reads.
    """
    package = Path(__file__).resolve().parent.parent
    inside = package / kind
    return inside if (package / "workloads").is_dir() else package.parent / kind


def shipped_names(kind: str) -> list[str]:
    """The shipped names of ``kind``, sorted."""
    return sorted(path.stem for path in shipped_folder(kind).glob("*.yaml"))


def resolve_file(kind: str, name_or_path: str | os.PathLike[str]) -> Path:
    """The file meant by a path (it has a separator or ends in .yaml or .yml) or by a shipped name.

    Hyphens, underscores and case do not matter in a name, and a dataflow also goes by its ``short``
    name. Raises InputError if there is none.
    """
    text = os.fspath(name_or_path) if isinstance(name_or_path, (str, os.PathLike)) else None
    if not isinstance(text, str):
        what = SINGULAR.get(kind, kind)
        rule = f"must be a name, a file or {'an' if what[0] in 'aeiou' else 'a'} {what}"
        raise InputError(rule, key=what, got=got(name_or_path))
    if isinstance(name_or_path, os.PathLike) or _is_path(text):
        return existing(Path(text), shipped_names(kind))
    path = shipped_file(kind, text)
    if path is not None:
        return path
    raise InputError(
        "must be a shipped name or a .yaml file",
        key=SINGULAR.get(kind, kind),
        got=text or "nothing",
        choices=shipped_names(kind),
    )


@lru_cache(maxsize=1024)
def shipped_file(kind: str, name: str) -> Path | None:
    """The shipped file of that name; None if there is none, or if it is a path."""
    return None if _is_path(name) else _by_name(kind, shipped_folder(kind)).get(folded(name))


def _is_path(text: str) -> bool:
    return text.endswith(SUFFIXES) or "/" in text or os.sep in text


@cache
def _by_name(kind: str, folder: Path) -> dict[str, Path]:
    """Files by folded name and short name.  A dataflow's short name is found without reading YAML,
    so that a name stays quick to look up.
    """
    known: dict[str, Path] = {}
    for path in sorted(folder.glob("*.yaml")):
        known[folded(path.stem)] = path
        short = (
            re.search(r"^short: *(\S+) *$", path.read_text(encoding="utf-8"), re.MULTILINE)
            if kind == "dataflows"
            else None
        )
        if short:
            known.setdefault(folded(short[1]), path)
    return known


def existing(path: Path, shipped: Sequence[str] = ()) -> Path:
    """``path``, if there is such a thing.  Raises InputError with the nearest name beside it or
    among ``shipped``.
    """
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError(
            "no such file", file=path, choices=nearest(path.name, [*_siblings(path), *shipped])
        ) from None
    except (OSError, ValueError) as e:
        raise InputError(reason(e), file=path) from None
    return path


def _siblings(path: Path) -> list[str]:
    try:
        return [p.name for p in path.parent.iterdir() if p.suffix in SUFFIXES][:1000]
    except (OSError, ValueError):
        return []


def reason(error: Exception) -> str:
    """The rule of a file that the system does not give, with the system's own words."""
    return f"cannot be read ({(getattr(error, 'strerror', None) or str(error)).lower()})"
