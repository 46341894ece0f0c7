"""Pictures of player, explorer and course for the documentation: taken anew by

    ACCELSIM_SCREENSHOTS=docs/figures/screens pytest tests/browser/test_screenshots.py

and otherwise into a place that is thrown away, so that what they show is known to open.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from quick import slow_but

import accelsim as acc


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("ACCELSIM_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


PLAYED = [
    (
        "player_three",
        {"workload": "alexnet", "layer": "conv3", "arch": "eyeriss", "dataflow": "rs,ws,os"},
        14,
        (1440, 900),
    ),
    (
        "player_rs",
        {"workload": "alexnet", "layer": "conv3", "arch": "eyeriss", "dataflow": "rs"},
        14,
        (1440, 900),
    ),
]


@pytest.mark.parametrize(("name", "call", "cycle", "size"), slow_but(PLAYED[1:], PLAYED))
def test_player(
    watched: Any,
    place: Path,
    tmp_path: Path,
    name: str,
    call: dict[str, Any],
    cycle: int,
    size: tuple[int, int],
) -> None:
    path = acc.animate(**call, cycles=120).save(tmp_path / f"{name}.html")
    page = watched(viewport={"width": size[0], "height": size[1]}).page
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready]")
    page.evaluate(f"accelsim.show({cycle})")
    page.screenshot(path=place / f"{name}.png")
    assert (place / f"{name}.png").stat().st_size > 20_000


@pytest.mark.slow
def test_player_at_both_widths_light_and_dark(watched: Any, place: Path, tmp_path: Path) -> None:
    """Row-stationary as a desk and a phone show it: nothing is wider than the page."""
    rows = acc.Conv2d(M=4, C=4, H=10, W=10, R=3, S=3, padding=1, name="rows")
    path = acc.animate(rows, "eyeriss", "rs", cycles=60).save(tmp_path / "rows.html")
    for width, height in ((1440, 900), (390, 844)):
        for scheme in ("light", "dark"):
            page = watched(viewport={"width": width, "height": height}, color_scheme=scheme).page
            page.goto(path.as_uri())
            page.wait_for_selector("body[data-ready]")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            picture = place / f"player_{width}_{scheme}.png"
            page.screenshot(path=picture)
            assert picture.stat().st_size > 20_000


EXPLORED = [
    ("explorer", {"viewport": {"width": 1300, "height": 900}}),
    ("explorer_phone", {"viewport": {"width": 380, "height": 800}, "color_scheme": "dark"}),
]


@pytest.mark.parametrize(("name", "options"), slow_but(EXPLORED[:1], EXPLORED))
def test_explorer(watched: Any, place: Path, name: str, options: dict[str, Any]) -> None:
    pytest.importorskip("uvicorn")
    command = [
        str(Path(sys.executable).with_name("accelsim")),
        "explore",
        "--port",
        "0",
        "--no-browser",
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr is not None
        browsed = watched(**options)
        browsed.page.context.set_offline(False)
        browsed.page.goto(running.stderr.readline().split()[2])
        browsed.page.wait_for_selector("body[data-ready]", timeout=20_000)
        browsed.page.evaluate("scrollTo(0, 0)")
        browsed.page.screenshot(path=place / f"{name}.png")
    finally:
        running.terminate()
        running.wait(timeout=20)
    assert (place / f"{name}.png").stat().st_size > 15_000
