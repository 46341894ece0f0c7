"""What is said about installing works from a clone, and the lower bounds say one thing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from bounds import oldest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PLACES = ("accelsim/**/*.py", "docs/**/*.md", "README.md", "CONTRIBUTING.md", "Makefile")


def test_bounds_are_the_same_wherever_they_stand() -> None:
    """Those of the extras again in dev, so that make test-oldest installs what it promises."""
    bounds = oldest()
    assert {"numpy", "pydantic", "onnx", "uvicorn"} <= set(bounds)
    for entry in PROJECT["optional-dependencies"]["dev"]:
        name, _, version = entry.partition(">=")
        assert bounds.get(name, version) == version, entry


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_asked_of_an_index_that_has_it_not(place: str) -> None:
    """accelsim is not published: extras are installed from the clone or by their own names."""
    for path in ROOT.glob(place):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install (?:-\S+ )*['\"]?accelsim", text), path
        for extra in re.findall(r"pip install -e '\.\[(\w+)\]'", text):
            assert extra in PROJECT["optional-dependencies"], (path, extra)
