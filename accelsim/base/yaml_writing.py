"""A model as YAML text that ``load_model`` reads back: what ``accelsim import``, ``map`` and
``show --yaml`` write.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, cast

from accelsim.base.errors import InputError
from accelsim.base.limits import (
    MAX_BYTES,
    MAX_JSON_BYTES,
    MAX_JSON_NODES,
    MAX_LINE,
    MAX_LINES,
    MAX_NODES,
)
from accelsim.base.yaml_reading import yaml_scalar

if TYPE_CHECKING:
    from pydantic import BaseModel


def to_yaml(model: BaseModel) -> str:
    """A model as YAML text that ``load_model`` reads back; keys without a value are left out.

    What is too much for the YAML reader is JSON, an entry of each list a line.  Raises InputError
    for what no reader would take.
    """
    data = _without_nothing(model.model_dump(mode="json"))
    nodes = _nodes(data)
    if nodes <= MAX_NODES:
        text = _yaml(data)
        if _readable(text):
            return text
    text = _json_by_lines(data)
    if nodes > MAX_JSON_NODES or len(text.encode()) > MAX_JSON_BYTES:
        raise InputError(
            f"is too large for a file: at most {MAX_JSON_NODES} keys and values and"
            f" {MAX_JSON_BYTES} bytes can be read",
            got=f"{nodes} and {len(text.encode())}",
        )
    return text


def _yaml(data: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = cast(Any, None)  # innermost lists and mappings on one line
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_quoted(data), stream)
    return stream.getvalue()


def _readable(text: str) -> bool:
    lines = text.split("\n")
    return (
        len(text.encode()) <= MAX_BYTES
        and len(lines) <= MAX_LINES
        and max(map(len, lines)) <= MAX_LINE
    )


def _json_by_lines(data: dict[str, Any]) -> str:
    """JSON whose lists at the top have a line for each entry."""
    parts = []
    for key, value in data.items():
        if isinstance(value, list) and value:
            entries = ",\n".join(json.dumps(v, ensure_ascii=False) for v in value)
            parts.append(f"{json.dumps(key)}: [\n{entries}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{" + ",\n".join(parts) + "}\n"


def _nodes(value: Any) -> int:
    """Keys and values, as the readers count them."""
    if isinstance(value, dict):
        return 1 + sum(1 + _nodes(v) for v in value.values())
    return 1 + sum(map(_nodes, value)) if isinstance(value, list) else 1


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nothing(v) for k, v in value.items() if v is not None}
    return [_without_nothing(v) for v in value] if isinstance(value, list) else value


def _quoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {_quoted(k): _quoted(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_quoted(v) for v in value]
    return _quoted_text(value) if isinstance(value, str) else value


def _quoted_text(text: str) -> str:
    """Text in quotes unless it reads back as itself without them."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    try:
        safe = isinstance(yaml_scalar(text), str) and text.isprintable()
    except ValueError:
        safe = False
    return text if safe else DoubleQuotedScalarString(text)
