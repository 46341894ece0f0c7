"""The explorer in a browser: every control changes every view, points are kept, the array plays,
and nothing is asked outside.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import accelsim as acc
from accelsim.mapping.loops_text import show

pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The explorer as a user starts it."""
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
        yield running.stderr.readline().split()[2]
    finally:
        running.terminate()
        running.wait(timeout=20)


@pytest.fixture
def page(watched: Any, address: str) -> Any:
    def opened(**options: Any) -> Any:
        browsed = watched(**options)
        browsed.page.context.set_offline(
            False
        )  # loopback; what goes elsewhere is found by ``Watched``
        browsed.page.goto(address)
        browsed.page.wait_for_selector("body[data-ready]", timeout=20_000)
        return browsed.page

    return opened


def change(page: Any, act: Any) -> None:
    """Do something and wait until the views have followed."""
    before = page.evaluate("Number(document.body.dataset.shown)")
    act()
    for _ in range(400):
        if (
            page.evaluate("Number(document.body.dataset.shown)") > before
            and page.get_attribute("#views", "aria-busy") == "false"
        ):
            return
        page.wait_for_timeout(25)
    raise AssertionError("the views did not follow")


def shown(page: Any) -> dict[str, str]:
    return dict(
        zip(
            page.locator("#headline dt").all_inner_texts(),
            page.locator("#headline dd").all_inner_texts(),
            strict=True,
        )
    )


def cycles(page: Any) -> int:
    return int(shown(page)["cycles"].replace("\u2009", ""))


def test_controls_change_what_is_shown(page: Any) -> None:
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    change(page, lambda: page.select_option("#layer", "conv2"))
    change(page, lambda: page.select_option("#arch", "systolic"))
    change(page, lambda: page.select_option("#dataflow", "output_stationary"))
    (row,) = acc.simulate("lenet5", "systolic", "os", layers=["conv2"]).rows
    assert cycles(page) == row.columns["cycles"]
    assert row.nest is not None and page.inner_text("#nest").strip() == show(row.nest).strip()
    change(page, lambda: page.locator('[data-key="array.rows"]').fill("8"))
    change(page, lambda: page.locator("#batch").fill("2"))
    (row,) = acc.simulate(
        "lenet5", "systolic", "os", layers=["conv2"], overrides={"array.rows": 8}, batch=2
    ).rows
    assert cycles(page) == row.columns["cycles"]
    assert 'overrides={"array.rows": 8}' in page.evaluate("view.python")
    took = []
    for k in range(3, 9):
        change(page, lambda k=k: page.locator("#batch").fill(str(k)))
        took.append(page.evaluate("Number(document.body.dataset.took)"))
    assert min(took) <= 200
    change(page, lambda: page.locator('[data-key="levels.sram.capacity_bytes"]').fill("1"))
    assert "sram" in page.inner_text("#trouble")
    change(page, lambda: page.locator('[data-key="levels.sram.capacity_bytes"]').fill("4096"))
    assert page.locator("#trouble").is_hidden()


def test_own_layer_kept_points_and_copies(page: Any) -> None:
    page = page()
    change(page, lambda: page.select_option("#workload", "own"))
    change(page, lambda: page.locator('[data-key="M"]').fill("24"))
    page.click("#keep")
    change(page, lambda: page.select_option("#dataflow", "weight_stationary"))
    page.click("#keep")
    rows = page.locator("#kept tbody tr").all_inner_texts()
    assert len(rows) == 2 and "weight_stationary" in rows[1] and "x)" in rows[1]
    page.click("#copy-command")
    assert "own.yaml" in page.inner_text("#copied")
    with page.expect_download() as download:
        page.click("#kept-csv")
    assert len(Path(download.value.path()).read_text().splitlines()) == 3
    page.click("#network-run")
    page.locator("#network tbody tr").first.wait_for()
    page.click("#cloud-run")
    page.locator("#cloud .dot").first.wait_for(timeout=20_000)
    assert "random legal mappings" in page.inner_text("#cloud-text")


def test_what_is_kept_is_what_is_shown(page: Any) -> None:
    """Keep right after a change, before a slow server has answered it: the old point, by its own
    name."""
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    change(page, lambda: page.select_option("#dataflow", "weight_stationary"))
    before = cycles(page)
    page.evaluate("answer = fetch; fetch = (...x) => new Promise((never) => { asked_for = x; }); 0")
    page.select_option("#dataflow", "row_stationary")
    page.click("#keep")
    row = page.locator("#kept tbody tr").inner_text()
    assert "weight_stationary" in row and f"{before:,}".replace(",", "\u2009") in row
    page.wait_for_function("window.asked_for !== undefined")  # the change is on its way
    change(page, lambda: page.evaluate("fetch = answer; changed()"))
    page.click("#keep")
    assert "row_stationary" in page.locator("#kept tbody tr").nth(1).inner_text()


def test_every_architecture_runs_something(page: Any) -> None:
    """Of a pair that cannot run the dataflow is marked with the reason, and moves."""
    page = page()
    for arch in page.evaluate("Object.keys(choices.architectures)"):
        if arch != page.input_value("#arch"):
            change(page, lambda arch=arch: page.select_option("#arch", arch))
        assert page.locator("#trouble").is_hidden(), arch
        marked = page.locator("#dataflow option[disabled]").all()
        assert all(option.get_attribute("title") for option in marked)
        refused = page.evaluate(f"Object.keys(choices.architectures['{arch}'].refused).length")
        assert len(marked) == refused


def test_says_why_and_what_would_help(page: Any) -> None:
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    change(page, lambda: page.select_option("#layer", "conv2"))
    page.click("#explain-run")
    page.wait_for_selector("#explain:not([hidden])", timeout=20_000)
    (row,) = acc.simulate("lenet5", "eyeriss", "rs", layers=["conv2"]).rows
    text = page.inner_text("#explain")
    assert f"{row.columns['cycles']:,}".replace(",", " ") in text and "one number changed" in text
    change(page, lambda: page.select_option("#layer", "conv1"))
    assert page.locator("#explain").is_hidden()


def test_plays_the_array(page: Any) -> None:
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    page.click("#play")
    frame = page.frame_locator("#frame")
    frame.locator("body[data-ready]").wait_for(timeout=20_000)
    frame.locator("#on").click()
    assert frame.locator("#now").inner_text().startswith("cycle 2 of")


def test_phone_and_dark(page: Any) -> None:
    page = page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 25, 27)"
