"""The documentation site: built with warnings as errors, nothing from outside, and every code block
runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "site"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "agg",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", sorted(SITE.glob("*.md")), ids=lambda p: p.stem)
def test_every_code_block_runs(page: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Python blocks of a page one after another, shell blocks each, YAML blocks as files; ``text``
    is not run.
    """
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    space: dict[str, Any] = {"__name__": "__main__"}
    for k, (kind, code) in enumerate(blocks(page)):
        assert kind in ("python", "sh", "yaml", "text"), (
            f"{page.name}: a block of no kind: {code[:60]}"
        )
        if kind == "python":
            exec(compile(code, f"{page.name} block {k + 1}", "exec"), space)
        elif kind == "sh":
            done = subprocess.run(
                ["bash", "-ec", code], capture_output=True, text=True, env=ENVIRONMENT
            )
            assert done.returncode == 0, f"{page.name}: {code}\n{done.stderr}"
        elif kind == "yaml":
            (tmp_path / f"block{k}.yaml").write_text(code)
            done = subprocess.run(
                ["accelsim", "validate", f"block{k}.yaml"],
                capture_output=True,
                text=True,
                env=ENVIRONMENT,
            )
            assert done.returncode == 0, f"{page.name}: {code}\n{done.stderr}"


def test_site_builds_without_a_warning_and_loads_nothing_from_outside(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(tmp_path / "site"),
        "-f",
        str(ROOT / "mkdocs.yml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {p.name: p.read_text(encoding="utf-8") for p in (tmp_path / "site").glob("*.html")}
    assert {"index.html", "api.html", "formats.html", "gallery.html", "counting.html"} <= set(pages)
    for name, text in pages.items():
        loaded = re.findall(
            r'<(?:script|img|iframe|source)[^>]* src="([^"]+)"|<link[^>]* rel="stylesheet"[^>]* '
            r'href="([^"]+)"',
            text,
        )
        outside = [a for pair in loaded for a in pair if a.startswith(("http", "//"))]
        assert not outside, (name, outside)
    for kind in ("architecture", "dataflow", "workload", "mapping", "study"):
        assert f">{kind}</h2>" in pages["formats.html"]
    assert "array" in pages["formats.html"] and "simulate(" in pages["api.html"]
    assert (tmp_path / "site" / "gallery" / "energy.png").stat().st_size > 5000
