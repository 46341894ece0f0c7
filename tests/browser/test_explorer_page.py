"""The explorer in a browser: every control changes every view, points are kept, the array plays,
and nothing is asked outside.
"""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from quick import slow_but

import accelsim as acc
from accelsim.mapping.loops_text import show

pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The explorer as a user starts it, but that a question may take long on a busy machine."""
    command = [
        str(Path(sys.executable).with_name("accelsim")),
        "explore",
        "--port",
        "0",
        "--limit",
        "600",
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
    def opened(at: str = "", **options: Any) -> Any:
        browsed = watched(**options)
        browsed.page.context.set_offline(
            False
        )  # loopback; what goes elsewhere is found by ``Watched``
        browsed.page.goto(address + at)
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


def until(page: Any, what: str) -> None:
    """Wait for a condition; the page's policy lets nobody evaluate one inside it."""
    for _ in range(4800):
        if page.evaluate(what):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never: {what}")


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
    page.click("#words >> xpath=..")
    energy = page.evaluate("view.energy_total")
    change(page, lambda: page.locator('#words [data-key="bits.weight"]').fill("4"))
    assert page.evaluate("view.energy_total") < energy
    page.locator('#words [data-key="bits.weight"]').fill(str(row.nest.arch.bits.weight))
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
    names = page.locator("#kept-scatter svg .name").all_text_contents()
    assert page.locator("#kept-scatter .dot").count() == 2 and names == ["1", "2"]
    for chart in ("#kept-latency", "#kept-energy"):
        assert page.locator(f"{chart} .stack").count() == 2
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
    page.select_option("#dataflow", "no_local_reuse")  # not asked for before
    page.click("#keep")
    row = page.locator("#kept tbody tr").inner_text()
    assert "weight_stationary" in row and f"{before:,}".replace(",", "\u2009") in row
    while not held:  # the change is on its way
        page.wait_for_timeout(25)
    assert page.get_attribute("#views", "aria-busy") == "true"
    until(page, "document.querySelector('#status').textContent.startsWith('awaiting')")
    assert "weight stationary" in page.inner_text("#asked") and cycles(page) == before
    change(page, lambda: held.pop().continue_())
    page.click("#keep")
    assert "no_local_reuse" in page.locator("#kept tbody tr").nth(1).inner_text()
    assert "no local reuse" in page.inner_text("#asked")
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


@pytest.mark.slow
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


def test_numbers_have_one_format(page: Any) -> None:
    """Four digits and a prefix that leaves one to three of them before the point; all digits when
    they are asked for.
    """
    page = page()
    powers = {"f": -15, "p": -12, "n": -9, "\u00b5": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9}
    powers |= {"T": 12, "P": 15, "E": 18}
    values = [m * 10.0**e for e in range(-14, 19) for m in (1, 1.23456, 9.9994, 9.9996, 99.96 / 10)]
    for value, text in zip(values, page.evaluate("v => v.map(x => si(x))", values), strict=True):
        mantissa, _, prefix = text.partition("\u2009")
        if value == int(value) and value < 10_000:
            assert text.replace("\u2009", "") == str(int(value))
            continue
        assert abs(float(mantissa) * 10.0 ** powers[prefix] / value - 1) < 6e-4, (value, text)
        assert 1 <= float(mantissa) < 1000, (value, text)
    told = page.evaluate("[si(0), si(null), si(2034096), si(1.05e-8, 's'), digits(2034096)]")
    assert [x.replace("\u2009", " ") for x in told] == [
        "0", "\u2013", "2.034 M", "10.5 ns", "2 034 096",
    ]  # fmt: skip


def test_dataflows_side_by_side(page: Any) -> None:
    """Ticked dataflows stand beside the chosen one with the model's own numbers."""
    page = page()
    page.check("#exact")
    change(page, lambda: page.select_option("#workload", "lenet5"))
    page.click("#beside >> xpath=..")
    for flow in ("weight_stationary", "no_local_reuse"):
        change(page, lambda flow=flow: page.check(f"#beside input[value={flow}]"))
    until(page, "document.body.dataset.beside === document.body.dataset.shown")
    rows = sorted(page.locator("#beside-table tbody tr").all_inner_texts())
    told = acc.simulate("lenet5", "eyeriss", "nlr,rs,ws", layers=["conv1"]).rows  # by name
    assert len(rows) == 3
    for row, text in zip(told, rows, strict=True):
        assert f"{row.columns['cycles']:,}".replace(",", "\u2009") in text
    assert page.locator("#beside-latency .stack").count() == 3


def test_any_key_is_an_axis_of_a_sweep(page: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """One axis is lines, two are a map with its scale; what is copied gives the same frame."""
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    keys = page.evaluate("[...document.querySelector('#sweep-x').options].map(o => o.value)")
    assert {"batch", "bits.weight", "levels.dram.port_bits", "networks.noc.width_bits.ifmap"} <= {
        *keys
    }
    page.select_option("#sweep-x", "networks.noc.width_bits.ifmap")
    page.fill("#sweep-x-values", "16, 64")
    sweep(page, 2)
    assert page.locator("#sweep polyline").count() == 1
    page.select_option("#sweep-y", "array.cols")
    page.fill("#sweep-y-values", "7, 14")
    sweep(page, 4)
    assert page.locator("#sweep rect").count() == 4 and page.locator("#sweep .scale").count() == 1
    with page.expect_download() as download:
        page.click("#sweep-csv")
    points = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    exec(page.evaluate("swept.python").replace("direction=", "jobs=1, direction="), space)
    frame = space["frame"]
    ours = {
        (r["networks.noc.width_bits.ifmap"], r["array.cols"]): r["cycles"]
        for r in frame.to_dict("records")
    }
    theirs = {
        (int(p["networks.noc.width_bits.ifmap"]), int(p["array.cols"])): int(p["cycles"])
        for p in points
    }
    assert ours == theirs and len(ours) == 4
    page.fill("#sweep-x-values", "16, much")
    page.click("#sweep-run")
    assert "numbers" in page.inner_text("#sweep-text")


def sweep(page: Any, points: int) -> None:
    """Press the button and wait for so many points."""
    page.evaluate("delete document.body.dataset.swept")
    page.click("#sweep-run")
    until(page, f"document.body.dataset.swept === '{points}'")


def test_an_address_is_the_state(page: Any) -> None:
    """A link that is sent shows what was seen; what it names and nobody knows is told."""
    first = page()
    change(first, lambda: first.select_option("#workload", "lenet5"))
    change(first, lambda: first.select_option("#arch", "systolic"))
    change(first, lambda: first.locator('[data-key="array.rows"]').fill("8"))
    first.click("#memory >> xpath=..")
    change(first, lambda: first.select_option('[data-key="levels.dram"]', "unlimited"))
    change(first, lambda: first.locator("#batch").fill("3"))
    address = first.evaluate("location.hash")
    second = page(address)
    assert second.evaluate("ask()") == first.evaluate("ask()")
    assert cycles(second) == cycles(first)
    assert second.evaluate("location.hash") == address
    third = page("#workload=nothing&array.rows=many&dataflow=weight_stationary")
    assert "nothing" in third.inner_text("#status") and "array.rows" in third.inner_text("#status")
    assert third.input_value("#dataflow") == "weight_stationary"


def test_every_roof_is_drawn(page: Any) -> None:
    """Those that are high over the layer's MACs a byte, too."""
    page = page()
    for workload in ("alexnet", "lenet5"):
        if workload != page.input_value("#workload"):
            change(page, lambda name=workload: page.select_option("#workload", name))
        roofs = page.evaluate("view.roofs.length")
        assert roofs >= 4 and page.locator("#roofline .roof").count() == roofs + 1
    assert page.locator("#roofline .tick").count() >= 6
    told, latency = page.inner_text("#roofline-text"), page.evaluate("view.latency")
    waits = sum(n for name, n in latency.items() if name.startswith("waiting"))
    assert waits and f"{100 * waits / sum(latency.values()):.3g}" in told
    assert told.rstrip().endswith(page.evaluate("view.binds[0]")), "what binds is said"


def test_roofs_of_one_width_take_turns(page: Any) -> None:
    """Each is seen in its own dashes where it lies on another."""
    page = page()
    widths = page.evaluate("view.roofs.map((roof) => roof.gb_per_s)")
    drawn = page.locator("#roofline .roof").evaluate_all(
        "all => all.slice(1).map((x) => [x.style.strokeDasharray, x.style.strokeDashoffset])"
    )
    assert len(set(widths)) < len(widths), "no two are of one width"
    for width in set(widths):
        dashes = [d for w, d in zip(widths, drawn, strict=True) if w == width]
        if len(dashes) == 1:
            assert dashes == [["", ""]]
            continue
        assert len({array for array, _ in dashes}) == 1
        on, off = (float(x.strip(" ,px")) for x in dashes[0][0].split(","))
        turns = sorted(-float(offset.strip("px")) for _, offset in dashes)
        assert turns == [on * i for i in range(len(dashes))] and off == on * (len(dashes) - 1)


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


@pytest.mark.slow
def test_plays_the_array(page: Any) -> None:
    page = page()
    change(page, lambda: page.select_option("#workload", "lenet5"))
    page.click("#play")
    frame = page.frame_locator("#frame")
    frame.locator("body[data-ready]").wait_for(timeout=120_000)
    shown = [int(frame.locator("#now").inner_text().split()[1])]  # where the array works
    frame.locator("#on").click()
    shown.append(int(frame.locator("#now").inner_text().split()[1]))
    assert shown[1] == shown[0] + 1


@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    slow_but(
        [(1440, 900, "light"), (390, 844, "dark")],
        [(w, h, scheme) for w, h in ((1440, 900), (390, 844)) for scheme in ("light", "dark")],
    ),
)
def test_screens(page: Any, tmp_path: Path, width: int, height: int, scheme: str) -> None:
    """Nothing is wider than the screen; on a phone the result stands above the controls, beside
    them elsewhere.  ACCELSIM_SCREENSHOTS is a folder that pictures go to.
    """
    page = page(viewport={"width": width, "height": height}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor")
        == ({"light": "rgb(255, 255, 255)", "dark": "rgb(23, 25, 27)"}[scheme])
    )
    boxes = {name: page.locator(name).bounding_box() for name in ("#result", "#controls")}
    result, controls = boxes["#result"], boxes["#controls"]
    for field in page.locator("#controls select:visible, #controls input:visible").all():
        box = field.bounding_box()
        assert box["x"] + box["width"] <= controls["x"] + controls["width"]
    assert result["y"] + result["height"] <= height
    if width < 820:
        assert result["y"] + result["height"] <= controls["y"]
    else:
        assert result["x"] >= controls["x"] + controls["width"]
    folder = Path(os.environ.get("ACCELSIM_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"explorer_{width}_{scheme}.png", full_page=True)
