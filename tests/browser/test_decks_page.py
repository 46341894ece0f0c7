"""Slides in a browser: nothing passes a slide's footer or its edges, and pictures are large.

    ACCELSIM_SCREENSHOTS=folder pytest tests/browser/test_decks_page.py

leaves a picture of each slide at 1280x720.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

TEACHING = Path(__file__).parents[2] / "docs" / "teaching"
FIGURES = TEACHING.parent / "figures" / "teaching"
SIZES = ((1280, 720), (1920, 1080), (1024, 768))
NAMES = ("1_convolution", "2_networks", "3_training", "4_dataflows")

MEASURED = """() => {
  const slide = document.querySelector("section.now"), footer = document.querySelector("footer");
  const parts = [...slide.querySelectorAll(".text > *, h1, h2, td, pre")];
  const rooms = parts.map((part) => part.getBoundingClientRect());
  const told = { slide: slide.innerText.slice(0, 40), top: footer.getBoundingClientRect().top };
  told.bottom = Math.max(...rooms.map((room) => room.bottom));
  told.right = Math.max(...rooms.map((room) => room.right));
  told.wide = Math.max(...parts.map((part) => part.scrollWidth - part.clientWidth));
  told.words = slide.innerText.split(/\\s+/).length;
  told.size = parseFloat(getComputedStyle(slide).fontSize);
  const picture = slide.querySelector("img");
  if (picture) {
    const room = picture.getBoundingClientRect();
    const [width, height] = [+picture.dataset.width, +picture.dataset.height];
    const scale = Math.min(room.width / width, room.height / height);
    told.bottom = Math.max(told.bottom, room.bottom);
    told.right = Math.max(told.right, room.right);
    told.shown = [scale * width / innerWidth, scale * height / innerHeight];
    const text = slide.querySelector(".text").getBoundingClientRect();
    told.over = room.right > text.left && room.left < text.right && room.bottom > text.top + 1
      && room.top < text.bottom;
  }
  return told;
}"""


@pytest.mark.parametrize("name", NAMES)
def test_nothing_passes_a_slides_footer_or_its_edges(
    watched: Any, tmp_path: Path, monkeypatch: Any, name: str
) -> None:
    monkeypatch.syspath_prepend(str(TEACHING))
    decks = importlib.import_module("decks")
    # The drawn pictures, which have the same shape, in place of finer ones.
    monkeypatch.setattr(decks, "png", lambda name, dpi: (FIGURES / f"{name}.png").read_bytes())
    path = tmp_path / f"{name}.html"
    path.write_text(decks.deck(*decks.LECTURES[name]), encoding="utf-8")
    page = watched(viewport={"width": 1280, "height": 720}).page
    page.goto(path.as_uri())
    count = page.locator("section").count()
    folder = os.environ.get("ACCELSIM_SCREENSHOTS")
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.keyboard.press("Home")
        for k in range(count):
            told = page.evaluate(MEASURED)
            assert told["bottom"] <= told["top"] < height, told
            assert told["right"] <= width and told["wide"] <= 0, told
            assert told["size"] >= 0.75 * max(15, min(24, 0.015 * width)), told
            assert told["words"] >= 5, told
            if "shown" in told:
                assert max(told["shown"][0] / 0.5, told["shown"][1] / 0.5) >= 1, told
                assert not told["over"], told
            if folder and (width, height) == SIZES[0]:
                page.screenshot(path=str(Path(folder) / f"{name}_{k + 1:02}.png"))
            page.keyboard.press("ArrowRight")
