"""A Chromium of this machine that may open nothing but the file or the loopback page under test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

ALLOWED = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser.  Without one: a sentence here, a failure in CI."""
    where = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        where = None
    if where is None:
        sentence = (
            "no Chromium or no Playwright here (apt-get install chromium; pip install playwright): "
            "pages are not tested"
        )
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=where, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page with what it asked for outside and what it complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.outside: list[str] = []
        self.complaints: list[str] = []
        page.on(
            "request", lambda r: None if r.url.startswith(ALLOWED) else self.outside.append(r.url)
        )
        page.on(
            "console",
            lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda e: self.complaints.append(str(e)))

    def check(self) -> None:
        assert not self.outside, f"asked for {self.outside}"
        assert not self.complaints, f"complained: {self.complaints}"


@pytest.fixture
def watched(chromium: Any) -> Iterator[Any]:
    """``watched(...)`` opens a page with these options of a browser context; all are checked at the
    end.
    """
    contexts, pages = [], []

    def open_page(**options: Any) -> Watched:
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 1000}} | options))
        context.set_offline(True)
        contexts.append(context)
        pages.append(Watched(context.new_page()))
        return pages[-1]

    yield open_page
    for page in pages:
        page.check()
    for context in contexts:
        context.close()
