"""Architectures by name, file or object, with dotted overrides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim import files
from accelsim.hardware.architecture import Architecture


def load_architecture(arch: str | Architecture, overrides: Mapping[str, Any] | None = None, *, text: bool = False) -> Architecture:
    """The architecture of that name or file, keys overridden (``array.rows``, ``levels.glb.capacity_bytes``).

    ``text`` says that override values are text from the command line.  Raises InputError.
    """
    if isinstance(arch, Architecture):
        if not overrides:
            return arch
        data = files.apply_overrides(arch.model_dump(mode="json", exclude_none=True), overrides, Architecture, from_text=text)
        return files.validate(data, Architecture, "architecture", overridden=tuple(overrides))
    return files.load(files.resolve("architectures", arch), Architecture, "architecture", overrides=overrides, from_text=text)
