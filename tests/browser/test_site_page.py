"""The documentation site in a browser, from files and offline: search finds a dataflow's own page
first, and no page is wider than a phone.

    ACCELSIM_SCREENSHOTS=folder pytest -m "slow or not slow" tests/browser/test_site_page.py

leaves pictures of it at 1440 and 390 pixels, light and dark.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("index", "dataflows/row_stationary", "counting", "formats", "api/results", "gallery")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: Any) -> Path:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    place = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    subprocess.run(
        [*command, "--site-dir", str(place), "-f", str(ROOT / "mkdocs.yml")],
        check=True,
        cwd=ROOT,
        env=os.environ | {"MPLBACKEND": "agg", "NO_MKDOCS_2_WARNING": "1"},
    )
    return place


def test_search_finds_row_stationary_first(watched: Any, site: Path) -> None:
    page = watched(viewport={"width": 1440, "height": 900}).page
    page.goto((site / "index.html").as_uri())
    query = page.locator("[data-md-component=search-query]")
    query.click()
    query.press_sequentially("row stationary", delay=20)
    first = page.locator(".md-search-result__item h1").first
    first.wait_for(timeout=120_000)
    assert first.inner_text() == "Row stationary"
    assert "dataflows/row_stationary.html" in page.locator(
        ".md-search-result__item a"
    ).first.get_attribute("href")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_pages_fit(watched: Any, site: Path, tmp_path: Path, width: int, scheme: str) -> None:
    """Every page on a light phone, some of them everywhere."""
    height = {1440: 900, 390: 844}[width]
    page = watched(viewport={"width": width, "height": height}, color_scheme=scheme).page
    folder = Path(os.environ.get("ACCELSIM_SCREENSHOTS", tmp_path))
    every = sorted(p.relative_to(site).with_suffix("").as_posix() for p in site.rglob("*.html"))
    for name in every if (width, scheme) == (390, "light") else PAGES:
        if name.startswith(("gallery/", "teaching/decks/", "404")):
            continue  # films and slides are pages of their own
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        if name in PAGES:
            page.screenshot(path=folder / f"site_{name.replace('/', '_')}_{width}_{scheme}.png")
