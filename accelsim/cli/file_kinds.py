"""The kinds of file: the model of each, which one a file is, and its JSON Schema.

Only the shell asks which kind a file is: ``show`` and ``validate`` are given any file, ``schema`` a
kind.  Python callers say it themselves (``load_architecture``, ``load_workload``, ...).  So this is
a part of the shell, above every room that has a kind of its own, and nothing below reaches it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from accelsim.base.errors import InputError, nearest
from accelsim.base.overrides import apply_overrides
from accelsim.base.shipped import SINGULAR, resolve_file, shipped_folder, shipped_names
from accelsim.base.validation import validate
from accelsim.base.yaml_reading import YamlSource, read_yaml
from accelsim.explore.study_file import StudyFile
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import MappingFile
from accelsim.workload.network import Workload, load_workload

MODELS: dict[str, type[BaseModel]] = {
    "workload": Workload,
    "architecture": Architecture,
    "dataflow": Dataflow,
    "mapping": MappingFile,
    "study": StudyFile,
}
FOLDERS = {
    kind: folder for kind in MODELS for folder, singular in SINGULAR.items() if singular == kind
}
_COMMON = {"name", "description"}


def find(name_or_path: str | os.PathLike[str]) -> tuple[str, YamlSource]:
    """The kind and the contents of a shipped name or a file.  Raises InputError."""
    choices: list[str] = []
    for kind, folder in FOLDERS.items():
        try:
            path = resolve_file(folder, name_or_path)
        except InputError as error:
            if error.file is not None:  # a path, and nothing there
                raise
            choices += shipped_names(folder)
            continue
        shipped = path.parent == shipped_folder(folder)
        source = read_yaml(path, kind if shipped else "")
        return (kind if shipped else recognise(source)), source
    shipped_kinds = ", ".join(kind for kind, folder in FOLDERS.items() if shipped_names(folder))
    raise InputError(
        f"no such {shipped_kinds} or file",
        got=os.fspath(name_or_path) or "nothing",
        choices=choices,
    )


def recognise(source: YamlSource) -> str:
    """The kind of a file, by its keys.  Raises InputError if they tell none, or more than one."""
    scores = {kind: _score(source.data, kind) for kind in MODELS}
    best = max(scores.values())
    likely = [kind for kind, score in scores.items() if score == best]
    if best == 0 or len(likely) > 1:
        keys = ", ".join(k for k in source.data if k not in _COMMON)
        kinds = " or ".join(likely)
        rule = f"must have the keys of one kind of file, {kinds} (validate takes --kind)"
        raise InputError(rule, file=source.file, line=1, column=1, got=keys or "none of them")
    return likely[0]


def _score(data: Mapping[str, Any], kind: str) -> float:
    """Keys that the kind has, those that almost are among them at half; a workload's ``layers`` are
    a list.
    """
    known = set(MODELS[kind].model_fields) - _COMMON
    score = 0.0
    for key, value in data.items():
        meant = key if key in known else next(iter(nearest(key, known)), None)
        if key in _COMMON or meant is None:
            continue
        if meant == "layers" and kind != ("mapping" if isinstance(value, dict) else "workload"):
            continue
        score += 1.0 if key in known else 0.5
    return score


def load(
    source: YamlSource,
    kind: str,
    overrides: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
) -> BaseModel:
    """The model of a file that was read, a workload with ``params`` as its parameters.  Raises
    InputError for whatever is wrong with its contents, the overrides or the parameters.
    """
    if params and kind != "workload":
        raise InputError("--param goes with workloads", file=source.file, got=kind)
    model = MODELS[kind]
    data = apply_overrides(source.data, overrides, model) if overrides else source.data
    made = validate(data, model, kind, source, tuple(overrides or ()))
    return load_workload(made, params) if isinstance(made, Workload) else made


# JSON Schema --------------------------------------------------------------------------------------


_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
# A layer without a type is a convolution, so these must state theirs.
_TYPED_LAYERS = ("Linear", "Gemm", "MatMul", "ConvTranspose2d")


class _FileSchema(GenerateJsonSchema):
    """Without the titles that only repeat a key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema(kind: str) -> JsonSchemaValue:
    """JSON Schema (2020-12) of a kind of file, for editors.  What only the whole file can tell is
    not in it.
    """
    model: JsonSchemaValue = _as_editors_show(
        MODELS[kind].model_json_schema(schema_generator=_FileSchema)
    )
    for name in _TYPED_LAYERS:
        if name in model.get("$defs", {}):
            model["$defs"][name]["required"].append("type")
    return {"$schema": GenerateJsonSchema.schema_dialect} | model | {"title": f"accelsim {kind}"}


def _as_editors_show(value: Any) -> Any:
    """Bounds by their names in JSON Schema, where pydantic leaves its own, and descriptions as an
    editor shows them: an end of line in a docstring is no end of a paragraph.
    """
    if isinstance(value, list):
        return [_as_editors_show(v) for v in value]
    if not isinstance(value, dict):
        return value
    number = value.get("type") in ("integer", "number")
    out = {(_BOUNDS.get(k, k) if number else k): _as_editors_show(v) for k, v in value.items()}
    if isinstance(text := out.get("description"), str):
        said = re.sub(r"\s*Raises [^.]*\.", "", text).replace("``", "`")
        out["description"] = "\n\n".join(map(_joined, said.split("\n\n")))
    return out


def _joined(paragraph: str) -> str:
    """A paragraph on one line; a list of names with what each means keeps its lines."""
    listed = re.match(r"`[^`]+` {2,}", paragraph)
    return paragraph if listed else paragraph.replace("\n", " ")
