"""The page of a study, and of a study file: what is swept, axis by axis, and under which
conditions.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from accelsim.base.text_table import Block, Facts
from accelsim.explore.study import Study
from accelsim.explore.study_file import AxisRange, StudyFile
from accelsim.view.pages.words import in_words

_FIRST = ("workload", "layers", "arch", "dataflows", "mapping", "mapper", "objective")
_LAST = ("sample", "engine", "direction", "batch", "seed", "store")


def study_blocks(study: StudyFile) -> tuple[Block, ...]:
    """Keys that are set, the axes, the conditions, and how it is run."""
    tiles = ["tiles"] if study.mapper else []  # without a mapper they have no meaning
    keys = [*_FIRST, *tiles, "limit"]
    pairs = [(key, in_words(getattr(study, key))) for key in keys if getattr(study, key)]
    pairs += [(key, _axis(values)) for key, values in study.grid.items()]
    for group in study.zipped:
        pairs += [(f"{key} (zipped)", _axis(values)) for key, values in group.items()]
    if study.points is not None:
        pairs.append(("points", f"{len(study.points)} listed"))
    pairs += [("condition", text) for text in study.constraints]
    pairs += [(key, in_words(getattr(study, key))) for key in _LAST]
    return (Facts(tuple(pairs)),)


def study_call_blocks(study: Study) -> tuple[Block, ...]:
    """Keywords that are not as always, each axis on a line of its own."""
    pairs: list[tuple[str, str]] = []
    for field in fields(study):
        value = getattr(study, field.name)
        if field.name in ("name", "description", "source") or value == field.default:
            continue
        if field.name == "grid":
            pairs += [(key, _named(list(values))) for key, values in value.items()]
        else:
            pairs.append((field.name, _named(value)))
    return (Facts(tuple(pairs)),)


def _named(value: Any) -> str:
    """A keyword's value; an object goes by its name."""
    if isinstance(value, (list, tuple)):
        return ", ".join(_named(v) for v in value) or "none"
    name = getattr(value, "name", None)
    return name if isinstance(name, str) and name else in_words(value)


def _axis(values: AxisRange | tuple[Any, ...]) -> str:
    if isinstance(values, tuple):
        return in_words(values)
    if values.factor is not None:
        step = f"each {in_words(values.factor)} times the one before"
    else:
        step = f"{in_words(values.step or 1)} apart"
    return f"{in_words(values.first)} to {in_words(values.last)}, {step}"
