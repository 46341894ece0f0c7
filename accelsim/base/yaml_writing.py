"""A model as YAML text that ``load_model`` reads back: what ``accelsim import``, ``map`` and
``show --yaml`` write.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

from accelsim.base.yaml_reading import yaml_scalar

if TYPE_CHECKING:
    from pydantic import BaseModel


def to_yaml(model: BaseModel) -> str:
    """A model as YAML text that ``load_model`` reads back; keys without a value are left out."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = cast(Any, None)  # innermost lists and mappings on one line
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(_quoted(model.model_dump(mode="json")), stream)
    return stream.getvalue()


def _quoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {_quoted(k): _quoted(v) for k, v in value.items() if v is not None}
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
