"""Studies under reports/ as modules: what ``accelsim report`` loads, for tests."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


@cache
def study_module(name: str) -> ModuleType:
    """reports/NAME/study.py; its neighbours can be imported after it where it sees to that."""
    path = ROOT / "reports" / name / "study.py"
    spec = importlib.util.spec_from_file_location(f"study_{name}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
