"""The explorer in a browser: every control changes every view, points are kept, the array plays,
and nothing is asked outside.
"""

from __future__ import annotations

import csv
import io
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
        browsed.page.wait_for_selector("body[data-ready]", timeout=120_000)
        return browsed.page

    return opened


def change(page: Any, act: Any) -> None:
    """Do something and wait until the views have followed."""
    before = page.evaluate("Number(document.body.dataset.shown)")
    act()
    for _ in range(4000):
        if (
            page.evaluate("Number(document.body.dataset.shown)") > before
            and page.get_attribute("#views", "aria-busy") == "false"
        ):
            return
        page.wait_for_timeout(25)
    raise AssertionError("the views did not follow")


def cycles(page: Any) -> int:
    """As they are, whatever digits are written."""
    names = page.locator("#headline dt").all_inner_texts()
    place = page.locator("#headline dd").nth(names.index("cycles"))
    return int(place.get_attribute("data-exact"))


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
    page.locator("#cloud .dot").first.wait_for(timeout=120_000)
    assert "random legal mappings" in page.inner_text("#cloud-text")


def test_kept_points_are_one_table_with_every_control(page: Any) -> None:
    """Points of different machines, directions and batches: one header, numbers of the machine
    whether they were changed or not, and the model's own columns.
    """
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    page.click("#keep")
    change(page, lambda: page.select_option("#arch", "systolic"))
    change(page, lambda: page.locator('[data-key="array.rows"]').fill("8"))
    change(page, lambda: page.select_option("#direction", "grad_weight"))
    change(page, lambda: page.locator("#batch").fill("3"))
    page.click("#keep")
    head = page.locator("#kept thead th").all_inner_texts()
    cells = page.locator("#kept tbody tr").nth(1).locator("td").all_inner_texts()
    row = dict(zip(head, cells, strict=True))
    assert (row["batch"], row["direction"], row["changed"]) == ("3", "grad_weight", "array.rows=8")
    with page.expect_download() as download:
        page.click("#kept-csv")
    text = Path(download.value.path()).read_text()
    one, two = csv.DictReader(io.StringIO(text))
    assert (one["arch"], one["array.rows"], one["batch"], one["direction"]) == (
        "eyeriss", "12", "1", "forward",
    )  # fmt: skip
    assert (two["arch"], two["array.rows"], two["batch"], two["direction"]) == (
        "systolic", "8", "3", "grad_weight",
    )  # fmt: skip
    assert one["levels.sram.capacity_bytes"] == "" != two["levels.sram.capacity_bytes"]
    (asked,) = acc.simulate(
        "lenet5", "systolic", two["dataflow"], layers=["conv1"], batch=3, direction="grad_weight",
        overrides={"array.rows": 8},
    ).rows  # fmt: skip
    for name, value in asked.columns.items():  # controls have the words they were asked in
        if name not in ("dataflow", "set"):
            assert two[name] == ("" if value is None else str(value)), name


def test_what_is_kept_is_what_is_shown(page: Any) -> None:
    """Keep right after a change, before a slow server has answered it: the old point, by its own
    name; and the page says that an answer is awaited."""
    page = page()
    page.check("#exact")
    change(page, lambda: page.select_option("#workload", "lenet5"))
    change(page, lambda: page.select_option("#dataflow", "weight_stationary"))
    before, held = cycles(page), []
    # a server that does not answer until it is let
    page.route("**/api/layer", lambda route: held.append(route))
    page.select_option("#dataflow", "row_stationary")
    page.click("#keep")
    row = page.locator("#kept tbody tr").inner_text()
    assert "weight_stationary" in row and f"{before:,}".replace(",", "\u2009") in row
    while not held:  # the change is on its way
        page.wait_for_timeout(25)
    assert page.get_attribute("#views", "aria-busy") == "true"
    page.wait_for_function("document.querySelector('#status').textContent.startsWith('awaiting')")
    assert "weight stationary" in page.inner_text("#asked") and cycles(page) == before
    change(page, lambda: held.pop().continue_())
    page.click("#keep")
    assert "row_stationary" in page.locator("#kept tbody tr").nth(1).inner_text()
    assert "row stationary" in page.inner_text("#asked")
    page.unroute("**/api/layer")


def test_every_architecture_runs_something(page: Any) -> None:
    """Of a pair that cannot run the dataflow is marked with the reason, and moves."""
    page = page()
    for arch in page.evaluate("Object.keys(choices.architectures)"):
        if arch != page.input_value("#arch"):
            change(page, lambda arch=arch: page.select_option("#arch", arch))
        assert page.locator("#trouble").is_hidden(), arch
        marked = page.locator("#dataflow option[data-refused]").all()
        assert all(option.get_attribute("title") for option in marked)
        refused = page.evaluate(f"Object.keys(choices.architectures['{arch}'].refused).length")
        assert len(marked) == refused


def test_a_dataflow_brings_an_architecture_that_runs_it(page: Any) -> None:
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    change(page, lambda: page.select_option("#arch", "systolic"))
    moved = 0
    for flow in page.evaluate("Object.keys(choices.dataflows)"):
        if flow == page.input_value("#dataflow"):
            continue
        arch = page.input_value("#arch")
        why = page.evaluate(f"choices.architectures['{arch}'].refused['{flow}']")
        change(page, lambda flow=flow: page.select_option("#dataflow", flow))
        assert page.locator("#trouble").is_hidden() and page.input_value("#dataflow") == flow
        assert (why is not None) == (page.input_value("#arch") != arch)
        assert page.locator("#moved-text").is_visible() == (why is not None)
        assert why is None or why in page.inner_text("#moved-text")
        moved += why is not None
    assert moved


def test_numbers_of_a_cloud_are_whole(page: Any) -> None:
    """No label of a chart is cut by the chart's edge."""
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    page.click("#cloud-run")
    page.locator("#cloud .dot").first.wait_for(timeout=120_000)
    outside = page.evaluate(
        """[...document.querySelectorAll('svg')].flatMap(s => {
            const b = s.getBoundingClientRect();
            return [...s.querySelectorAll('text')].filter(t => {
                const r = t.getBoundingClientRect();
                return r.left < b.left - 1 || r.right > b.right + 1 || r.top < b.top - 1
                    || r.bottom > b.bottom + 1;
            }).map(t => t.textContent);
        })"""
    )
    assert page.locator("#cloud .tick").count() >= 6 and outside == []


def test_says_why_and_what_would_help(page: Any) -> None:
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    change(page, lambda: page.select_option("#layer", "conv2"))
    page.click("#explain-run")
    page.wait_for_selector("#explain:not([hidden])", timeout=120_000)
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
    frame.locator("body[data-ready]").wait_for(timeout=120_000)
    frame.locator("#on").click()
    assert frame.locator("#now").inner_text().startswith("cycle 2 of")


def test_phone_and_dark(page: Any) -> None:
    page = page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 25, 27)"
