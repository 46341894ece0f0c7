"""The lower bounds of pyproject.toml as constraints for pip, a line each: what ``make test-oldest``
installs.  Of what users install, with every extra; tools of the tests are as new as they come.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest() -> dict[str, str]:
    """The least version of every package that users may have, by name."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    # PyTorch is larger than all others together, and its tests are skipped without it.
    left = ("dev", "torch")
    wanted += [entry for name, entries in extras.items() if name not in left for entry in entries]
    bounds = {}
    for entry in wanted:
        name, version = re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", entry).groups()
        bounds[name] = version
    return bounds


if __name__ == "__main__":
    for name, version in oldest().items():
        print(f"{name}=={version}")
