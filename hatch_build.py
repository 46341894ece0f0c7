"""Build hook: the wheel carries the shipped YAML inside the package; an editable install reads the
checkout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KINDS = ("dataflows", "workloads", "architectures", "mappings")


class ShippedFiles(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            for kind in KINDS:
                build_data["force_include"][str(Path(self.root) / kind)] = f"accelsim/{kind}"
