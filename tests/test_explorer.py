"""The explorer: answers equal the model's, what it gives to copy gives the same, and strangers get
one line.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from quick import slow_but

import accelsim as acc

pytest.importorskip("starlette")
from accelsim.base.shipped import shipped_names
from accelsim.view.explorer import workshop
from accelsim.view.explorer.app import make_app
from accelsim.view.explorer.ask import Ask, choices, machine_choices
from accelsim.view.explorer.guard import MOST_BYTES
from accelsim.view.explorer.occupancy import macs_per_pe
from accelsim.view.explorer.serve import serve
from accelsim.view.explorer.share import as_command, as_python
from accelsim.view.explorer.views import cloud_view, layer_view, network_view
from accelsim.view.explorer.workshop import Workshop

PORT = 8765
LONG_S = 600.0  # no question of a test ends by the clock, whatever else the machine does
ASK = {"workload": "lenet5", "layer": "conv2", "arch": "systolic", "dataflow": "weight_stationary"}
HOST = {"host": f"127.0.0.1:{PORT}"}


class Client:
    """Calls the application as a server would, without one."""

    def __init__(self) -> None:
        self.workshop = Workshop(LONG_S)
        self.app = make_app(PORT, self.workshop)
        self.loop = asyncio.new_event_loop()
        self.thread = ThreadPoolExecutor(1)

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        chunk: int = 0,
    ) -> tuple[int, bytes]:
        given = {
            **HOST,
            **({"content-type": "application/json"} if method == "POST" else {}),
            **(headers or {}),
        }
        status, parts = self.wait(self._call(method, path, body, given, chunk))
        return status, b"".join(parts)

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What comes of it, in a thread of its own: this one's may be a browser's."""
        return self.thread.submit(self.loop.run_until_complete, work).result()

    async def _call(
        self, method: str, path: str, body: bytes, headers: dict[str, str], chunk: int
    ) -> tuple[int, list[bytes]]:
        raw, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
            "method": method, "scheme": "http",
            "path": raw, "raw_path": raw.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(k.encode(), v.encode()) for k, v in headers.items() if v],
            "client": ("127.0.0.1", 5), "server": ("127.0.0.1", PORT),
        }  # fmt: skip
        pieces = [body[k : k + chunk] for k in range(0, len(body), chunk)] if chunk else [body]
        status, parts, self.headers = 0, [], []

        async def receive() -> dict[str, Any]:
            if not pieces:
                await self.leaves()
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self.headers = message["headers"]
            else:
                parts.append(message.get("body", b""))

        await self.app(scope, receive, send)
        return status, parts

    async def leaves(self) -> None:
        """A client stays until it has its answer."""
        await asyncio.Event().wait()

    def layer(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        status, body = self("POST", "/api/layer", json.dumps(ASK | changes).encode())
        return status, json.loads(body)


def apart(work: Coroutine[Any, Any, Any]) -> Any:
    """``asyncio.run`` in a thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.workshop.close()


# -- answers ---------------------------------------------------------------------------------------


def test_views_are_the_models(client: Client) -> None:
    status, view = client.layer(overrides={"array.rows": 8})
    assert status == 200
    (row,) = acc.simulate(
        "lenet5", "systolic", "ws", layers=["conv2"], overrides={"array.rows": 8}
    ).rows
    assert view["headline"]["cycles"] == row.columns["cycles"] == sum(view["latency"].values())
    assert (
        view["energy_total"]
        == pytest.approx(sum(view["energy"].values()))
        == pytest.approx(row.columns["energy_pj"])
    )
    for entry in view["counts"]:
        for what in ("reads", "writes", "deliveries", "additions"):
            if what in entry:
                assert entry[what] == row.columns[f"{entry['where']}_{entry['tensor']}_{what}"]
    (given,) = csv.DictReader(io.StringIO(view["csv"]))
    assert given == {k: "" if v is None else str(v) for k, v in row.columns.items()}
    for tile in view["tiles"]:
        level = row.nest.arch.level_names.index(tile["level"])
        assert tile["words"] == row.nest.footprint.tile_words(level, tile["tensor"])
    assert sum(view["pes"]["macs"]) == row.columns["macs"]


@pytest.mark.parametrize(
    ("arch", "flow"),
    [("eyeriss", "rs"), ("eyeriss", "ws"), ("systolic", "os"), ("shidiannao", "os")],
)
@pytest.mark.parametrize("direction", ["forward", "grad_weight"])
def test_macs_of_every_pe_are_those_the_cycle_engine_does(
    arch: str, flow: str, direction: Any
) -> None:
    layer = acc.Conv2d(M=5, C=3, H=7, W=7, R=3, S=3, padding=1, name="small")
    machine, problem = acc.load_architecture(arch), layer.problem().with_direction(direction)
    nest = acc.Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow(flow)))
    (film,) = acc.animate(layer, arch, flow, direction=direction).films
    assert (macs_per_pe(nest) == (film.state & 1).sum(axis=0)).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"overrides": {"array.rows": 8, "levels.sram.capacity_bytes": 65536}, "batch": 2},
        {"direction": "grad_weight", "dataflow": "output_stationary"},
        {"objective": "edp", "overrides": {"array.rows": 6}},
        {
            "workload": None,
            "layer": None,
            "own": {
                "M": 4,
                "C": 3,
                "H": 9,
                "W": 9,
                "R": 3,
                "S": 3,
                "stride": 2,
                "padding": 1,
                "groups": 2,
            },
        },
        {"arch": "eyeriss", "dataflow": "row_stationary"},
    ],
)
def test_what_is_copied_gives_the_same(
    client: Client, changes: dict[str, Any], tmp_path: Path
) -> None:
    status, view = client.layer(**changes)
    assert status == 200 and not view.get("error")
    space: dict[str, Any] = {}
    exec(view["python"], space)
    (row,) = space["result"].rows
    assert (row.columns["cycles"], row.columns["macs"]) == (
        view["headline"]["cycles"],
        view["headline"]["macs"],
    )
    assert str(row.nest.mapping) == view["loops"]
    if not {"objective", "own", "batch"} & set(changes):
        return  # the command is of the same making
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-ec", view["command"] + " --format json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert record["cycles"] == view["headline"]["cycles"] and record["loops"] == view["loops"]


def test_a_layer_that_cannot_be_mapped_says_so(client: Client) -> None:
    status, view = client.layer(overrides={"levels.sram.capacity_bytes": 1})
    assert status == 200 and "sram" in view["error"] and "python" in view


def test_network_and_its_total() -> None:
    view = network_view(Ask(workload="lenet5", arch="systolic", dataflow="output_stationary"))
    total = acc.simulate("lenet5", "systolic", "os").totals()[0]
    assert view["rows"][-1]["layer"] == "total" and view["rows"][-1]["cycles"] == total["cycles"]
    assert len(view["csv"].splitlines()) == len(view["rows"]) + 1


def test_cloud(client: Client, tmp_path: Path, monkeypatch: Any) -> None:
    status, body = client(
        "POST", "/api/cloud", json.dumps(ASK | {"overrides": {"array.rows": 8}}).encode()
    )
    cloud = json.loads(body)
    assert status == 200 and cloud["points"] and cloud["front"]
    (row,) = acc.simulate(
        "lenet5", "systolic", "ws", layers=["conv2"], tiles="rule", overrides={"array.rows": 8}
    ).rows
    assert cloud["rule"] == [row.columns["cycles"], pytest.approx(row.columns["energy_pj"])]
    assert not cloud["exact"]  # the points' cycles are from below, the front's the closed form's
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    exec(cloud["python"], space)
    assert (tmp_path / "cloud.png").exists() and space["found"].front.tolist() == cloud["front"]
    assert cloud["command"].startswith("accelsim map lenet5 --layer conv2") and cloud[
        "command"
    ].endswith("--plot cloud")


def test_a_cloud_without_time_has_no_front(monkeypatch: Any) -> None:
    monkeypatch.setattr("accelsim.view.explorer.views.SEARCH_SECONDS", -1.0)
    told = cloud_view(Ask(**ASK))
    assert told["points"] and told["front"] == [] and told["rule"]


@pytest.mark.parametrize("arch", shipped_names("architectures"))
def test_no_layer_is_above_a_roof(arch: str) -> None:
    """What is reached is below what each port and network allows, on every machine; and the least
    of them binds a layer that waits most of its time.
    """
    refused = machine_choices(arch)["refused"]
    for name in shipped_names("dataflows"):
        if name in refused:
            continue
        for direction in ("forward", "grad_weight"):
            ask = Ask(workload="lenet5", layer="conv2", arch=arch, dataflow=name)
            rule = {"direction": direction, "objective": "rule"}  # made at once
            view = layer_view(ask.model_copy(update=rule))
            if "error" in view:
                continue
            reached = view["roofline"]["gmacs_per_s"]
            roofs = [roof["gmacs_per_s"] for roof in view["roofs"]]
            assert roofs == sorted(roofs) and all(reached <= 1.000001 * roof for roof in roofs)
            outermost = [r for r in view["roofs"] if r["name"] == "dram" and r["part"] == "port"]
            for roof in outermost:
                told = view["roofline"]
                assert roof["macs_per_byte"] == pytest.approx(told["macs_per_byte"])
                assert roof["gb_per_s"] == pytest.approx(told["bandwidth_gb_per_s"])


def test_a_sweep_in_the_shell_is_the_pages(client: Client, tmp_path: Path) -> None:
    asked = ASK | {
        "overrides": {"array.cols": 8, "levels.dram": "unlimited"},
        "axes": [{"key": "array.rows", "values": [4, 8]}],
        "flows": ["weight_stationary", "output_stationary"],
        "batch": 2,
    }
    status, body = client("POST", "/api/sweep", json.dumps(asked).encode())
    assert status == 200
    told = json.loads(body)
    space: dict[str, Any] = {}
    exec(told["python"], space)
    frame = space["frame"]
    for rows in (4, 8):
        for flow, short in (("weight_stationary", "ws"), ("output_stationary", "os")):
            status, view = client.layer(
                dataflow=flow, batch=2, overrides=asked["overrides"] | {"array.rows": rows}
            )
            row = frame[(frame["array.rows"] == rows) & (frame["dataflow"] == short)].iloc[0]
            assert row["cycles"] == view["headline"]["cycles"]
    study = told["command"].partition("<<'EOF'\n")[2].partition("EOF\n")[0]
    (tmp_path / "study.yaml").write_text(study)
    again = acc.load_study(tmp_path / "study.yaml").run(jobs=1)
    assert again["cycles"].tolist() == frame["cycles"].tolist()


def test_a_sweep_keeps_the_parameters_that_were_asked_for(client: Client, tmp_path: Path) -> None:
    asked = ASK | {
        "workload": "gpt2",
        "layer": None,
        "params": {"seq": 3},
        "axes": [{"key": "array.rows", "values": [4, 8]}],
        "flows": ["weight_stationary"],
    }
    status, body = client("POST", "/api/sweep", json.dumps(asked).encode())
    told, space = json.loads(body), dict[str, Any]()
    assert status == 200, told
    exec(told["python"], space)
    study = told["command"].partition("<<'EOF'\n")[2].partition("EOF\n")[0]
    (tmp_path / "study.yaml").write_text(study)
    again = acc.load_study(tmp_path / "study.yaml").run(jobs=1)
    named = {name: asked[name] for name in ("workload", "layer", "params")}
    for rows, frames in ((4, (space["frame"], again)), (8, (space["frame"], again))):
        status, view = client.layer(**named, overrides={"array.rows": rows})
        assert status == 200, view
        for frame in frames:
            (row,) = frame[frame["array.rows"] == rows].to_dict("records")
            assert row["cycles"] == view["headline"]["cycles"]


@pytest.mark.parametrize(
    "change",
    [
        {"axes": []},
        {"axes": [{"key": "array.rows", "values": []}]},
        {"axes": [{"key": "../etc", "values": [1]}]},
        {"axes": [{"key": "array.rows", "values": list(range(1, 500))}]},
        {"flows": ["/etc/passwd"]},
        {"flows": []},
        {"overrides": {"levels.dram": "free"}},
    ],
)
def test_bad_sweeps_are_one_line(client: Client, change: dict[str, Any]) -> None:
    good = {"axes": [{"key": "array.rows", "values": [4]}], "flows": ["weight_stationary"]}
    status, body = client("POST", "/api/sweep", json.dumps(ASK | good | change).encode())
    error = json.loads(body)["error"]
    assert status == 400 and len(error.splitlines()) == 1 and len(error) < 700


def test_explain(client: Client) -> None:
    status, body = client("POST", "/api/explain", json.dumps(ASK).encode())
    told = json.loads(body)
    result = acc.simulate("lenet5", "systolic", "ws", layers=["conv2"])
    assert status == 200 and told["text"] == str(result.explain())
    assert told["command"].startswith("accelsim explain lenet5 --layer conv2")
    ruled = json.loads(
        client("POST", "/api/explain", json.dumps(ASK | {"objective": "rule"}).encode())[1]
    )
    assert "--tiles rule" in ruled["command"] and ruled["text"] != told["text"]


def test_play_gives_a_page_and_forgets_old_ones(client: Client) -> None:
    addresses = []
    for rows in (4, 5, 6, 7, 8):
        status, body = client(
            "POST", "/api/play", json.dumps(ASK | {"overrides": {"array.rows": rows}}).encode()
        )
        assert status == 200
        addresses.append(json.loads(body)["address"])
    status, page = client("GET", addresses[-1])
    assert status == 200 and b"DecompressionStream" in page
    assert client("GET", addresses[0])[0] == 404


async def stays() -> bool:
    """A client that waits for its answer."""
    return False


def cpu_seconds(ask: Ask) -> float:
    """What a view takes of the processor, where it is worked out."""
    start = time.process_time()
    layer_view(ask)
    return time.process_time() - start


def test_speed(client: Client) -> None:
    """A change shows within 200 ms, on a machine that has nothing else to do."""
    for changes in (
        {},
        {"workload": "alexnet", "arch": "eyeriss", "dataflow": "row_stationary"},
        {"workload": "vgg16", "layer": "conv3_2"},
    ):
        took = []
        for batch in range(1, 7):
            ask = Ask(**ASK | changes | {"batch": batch})
            work = client.workshop.work(cpu_seconds, ask, stays)
            took.append(client.wait(work))
        assert min(took) < 0.2


def garbage_looked_for(ask: Ask) -> tuple[int, int]:
    """How often during an answer; and objects that are not looked through at all."""

    def times() -> int:
        return sum(generation["collections"] for generation in gc.get_stats())

    before = times()
    layer_view(ask)
    return times() - before, gc.get_freeze_count()


def test_no_answer_waits_for_garbage_to_be_looked_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of half a million objects that are remembered for the next question, it took as long as ten
    answers.
    """
    for layer in ("conv1_1", "conv3_2", "fc6"):
        ask = Ask(**ASK | {"workload": "vgg16", "layer": layer})
        often, left_alone = client.wait(client.workshop.work(garbage_looked_for, ask, stays))
        assert often == 0 and left_alone > 50_000
    for most, often in ((1 << 40, 0), (-1, 1)):
        monkeypatch.setattr(workshop, "MANY", most)
        before = gc.get_stats()[2]["collections"]
        monkeypatch.setattr(gc, "get_count", lambda: (0, 0, 0))
        workshop.tidy()
        assert gc.get_stats()[2]["collections"] - before == often


def test_every_preset_answers_in_200_ms() -> None:
    """A layer shows within 200 ms of the processor on every preset at batch 1, best tiles included:
    the layer the page begins with, and the next one, when what is compiled and cached is there.
    """
    slow = {}
    for arch in shipped_names("architectures"):
        refused = machine_choices(arch)["refused"]
        flow = next(n for n in shipped_names("dataflows") if n not in refused)
        took = [
            cpu_seconds(Ask(workload="alexnet", layer=layer, arch=arch, dataflow=flow))
            for layer in ("conv3", "conv4")
        ]
        slow |= {arch: took} if min(took) >= 0.2 else {}
    assert slow == {}


def test_controls_offer_what_there_is() -> None:
    offered = choices()
    assert "alexnet" in offered["workloads"] and offered["layers"]["lenet5"][:2] == [
        "conv1",
        "conv2",
    ]
    assert offered["architectures"]["systolic"]["keys"] == {
        "array.rows": 16,
        "array.cols": 16,
        "levels.sram.capacity_bytes": 524288,
        "levels.reg.capacity_bytes": 4,
    }


def test_parameters_of_a_workload_are_controls() -> None:
    assert choices()["params"]["llama3_8b"] == {"seq": 2048, "past": 0}
    assert "alexnet" not in choices()["params"]
    given = {"arch": "systolic", "dataflow": "weight_stationary", "params": {"seq": 1, "past": 7}}
    ask = Ask(workload="llama3_8b", layer="h1_scores", **given)
    problem = ask.chosen.problem()
    assert (problem.G, problem.M, problem.F) == (8, 4, 8)
    assert "--param seq=1 --param past=7" in as_command(ask)
    assert 'params={"seq": 1, "past": 7}' in as_python(ask)
    with pytest.raises(acc.InputError, match="alexnet has no such parameter"):
        _ = Ask(workload="alexnet", **given).layers
    with pytest.raises(ValueError, match="params belong to a workload"):
        Ask(own={"M": 1, "C": 1, "H": 1, "W": 1, "R": 1, "S": 1}, **given)


# -- strangers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        f"evil.example:{PORT}",
        "127.0.0.1",
        "127.0.0.1:1",
        f"127.0.0.1.evil.example:{PORT}",
        f"0.0.0.0:{PORT}",
        "",
        f"127.0.0.1:{PORT}@evil",
    ],
)
def test_foreign_hosts_are_refused(client: Client, host: str) -> None:
    for method, path in (("GET", "/"), ("POST", "/api/layer"), ("GET", "/api/choices")):
        assert client(method, path, b"{}", {"host": host})[0] == 421


@pytest.mark.parametrize(
    "host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}"]
)
def test_own_names_are_served(client: Client, host: str) -> None:
    assert client("GET", "/", headers={"host": host})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_foreign_origins_are_refused(client: Client, headers: dict[str, str]) -> None:
    assert client("POST", "/api/layer", json.dumps(ASK).encode(), headers)[0] == 403
    assert client("GET", "/", headers=headers)[0] == 403


def test_own_origin_is_served(client: Client) -> None:
    assert (
        client(
            "POST",
            "/api/layer",
            json.dumps(ASK).encode(),
            {"origin": f"http://127.0.0.1:{PORT}", "sec-fetch-site": "same-origin"},
        )[0]
        == 200
    )


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
def test_forms_are_refused(client: Client, kind: str) -> None:
    assert client("POST", "/api/layer", json.dumps(ASK).encode(), {"content-type": kind})[0] == 415


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/play/../../etc/passwd",
        "/play/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/explorer.js/../app.py",
        "/api/layer/../../x",
        "/static/app.py",
        "/play/",
        "/.git/config",
        "/explorer.py",
        "/%00",
        "/\u00e9",
    ],
)
def test_no_path_leads_to_a_file(client: Client, path: str) -> None:
    status, body = client("GET", path)
    assert status in (404, 405) and b"root:" not in body and b"import" not in body


@pytest.mark.parametrize("key", ["workload", "arch", "dataflow", "layer"])
@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../../architectures/eyeriss.yaml",
        "architectures/eyeriss.yaml",
        "eyeriss.yaml",
        "file:///etc/passwd",
        "\u0000",
        "x" * 1000,
    ],
)
def test_names_are_never_paths(client: Client, key: str, name: str) -> None:
    status, view = client.layer(**{key: name})
    assert (
        status == 400
        and len(view["error"].splitlines()) == 1
        and "No such file" not in view["error"]
    )


BAD: list[dict[str, Any]] = [
    ASK | {"batch": 10**30},
    ASK | {"batch": True},
    ASK | {"batch": 0},
    ASK | {"more": 1},
    ASK | {"overrides": {"array.rows": 10**12}},
    ASK | {"overrides": {"array.rows": -1}},
    ASK | {"overrides": {"__class__.x": 1}},
    ASK | {"overrides": {f"a.k{k}": 1 for k in range(30)}},
    ASK | {"overrides": {"name.x": 1}},
    ASK | {"overrides": {"array.rows": 4096, "array.cols": 4096}},
    ASK | {"overrides": {"array.rows": float("nan")}},
    {
        "arch": "systolic",
        "dataflow": "weight_stationary",
        "own": {"M": 4096, "C": 4096, "H": 4096, "W": 4096, "R": 3, "S": 3},
    },
]
BROKEN = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"3",
    b'"x"',
    b"\xff\xfe",
    b'{"arch": 1e999}',
    b"[" * 60000,
    b'{"a":' * 10000,
    b"\x00" * 100,
]


@pytest.mark.parametrize(
    "body", [*BROKEN, *(json.dumps(b).encode() for b in BAD)], ids=range(len(BROKEN) + len(BAD))
)
@pytest.mark.parametrize("path", ["/api/layer", "/api/play", "/api/network"])
def test_bad_requests_are_one_line(client: Client, path: str, body: bytes) -> None:
    status, answer = client("POST", path, body)
    assert status == 400, answer
    error = json.loads(answer)["error"]
    assert error and len(error.splitlines()) == 1 and "Traceback" not in error and len(error) < 700


@pytest.mark.parametrize("chunk", [0, 65536])
def test_large_bodies_are_refused(client: Client, chunk: int) -> None:
    body = b'{"workload": "' + b"x" * 10_000_000 + b'"}'
    assert client("POST", "/api/layer", body, {"content-length": str(len(body))}, chunk)[0] == 413
    assert client("POST", "/api/layer", body, chunk=chunk)[0] == 413
    assert client("POST", "/api/layer", b"{}", {"content-length": "9" * 30})[0] == 413
    assert client("GET", "/", body, chunk=chunk)[0] == 413
    assert MOST_BYTES < 10**6


def test_pages_may_load_nothing_from_elsewhere(client: Client) -> None:
    client("GET", "/")
    headers = dict(client.headers)
    assert (
        headers[b"content-security-policy"].startswith(b"default-src 'none'")
        and b"unsafe" not in headers[b"content-security-policy"]
    )
    assert (
        headers[b"x-content-type-options"] == b"nosniff" and headers[b"x-frame-options"] == b"DENY"
    )


@pytest.mark.parametrize("many", slow_but([1_000], [1_000, 10_000]))
def test_many_requests(client: Client, many: int) -> None:
    """Good and bad in turn; the process grows by no more than some megabytes."""
    bodies = [json.dumps(ASK | {"batch": b}).encode() for b in (1, 2)] + [
        b"{",
        json.dumps(ASK | {"arch": "nothing"}).encode(),
    ]

    def burst(n: int) -> None:
        for k in range(n):
            status, _ = client("POST", "/api/layer", bodies[k % 4])
            assert status == (200 if k % 4 < 2 else 400)

    burst(many // 10)
    before = _resident()
    burst(many - many // 10)
    assert _resident() - before < 20_000_000


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_command_serves_on_loopback_only_and_stops() -> None:
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
        address = running.stderr.readline().split()[2]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=300) as answer:
            assert b"accelsim explorer" in answer.read()
        port = f":{int(address.rsplit(':', 1)[1].strip('/')):04X}"
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        assert [s[1] for s in sockets if s[1].endswith(port) and s[3] == "0A"] == [
            f"0100007F{port}"
        ]
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=300) in (0, 130)
        assert "Traceback" not in running.stderr.read()
    finally:
        running.kill()


def test_no_map_where_there_are_too_many_steps(monkeypatch: Any) -> None:
    monkeypatch.setattr("accelsim.view.explorer.occupancy.MOST_PLACES", 1000)
    problem, machine = (
        acc.Gemm(m=8, k=8, n=2000, name="long").problem(),
        acc.load_architecture("systolic"),
    )
    assert (
        macs_per_pe(
            acc.Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow("ws")))
        )
        is None
    )


def test_what_is_missing_is_a_sentence(monkeypatch: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(acc.InputError, match="choose another with --port"):
            serve(taken.getsockname()[1], browser=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(acc.InputError, match="pip install starlette uvicorn"):
        serve(0, browser=False)


# -- work that takes too long ----------------------------------------------------------------------


def for_ever(ask: Ask) -> Any:
    while True:
        time.sleep(1)


def its_process(ask: Ask) -> int:
    return os.getpid()


@pytest.fixture
def cold(monkeypatch: Any) -> None:
    """Processes of work load nothing beforehand: what is asked of them here needs none of it."""
    monkeypatch.setattr("accelsim.view.explorer.workshop.warm", os.getpid)


def test_work_that_never_ends(cold: None) -> None:
    """It is ended with its process, whether its client waits or leaves; the next question is
    answered, by another process.
    """
    ask, shop, looks = Ask(**ASK), Workshop(LONG_S), iter([False, False, False, True, True, True])

    async def leaves() -> bool:
        return next(looks)

    async def asked() -> None:
        first = await shop.work(its_process, ask, stays)
        assert await shop.work(for_ever, ask, leaves) is None
        second = await shop.work(its_process, ask, stays)
        shop.limit_s = 0.3
        with pytest.raises(acc.InputError, match=r"takes longer than 0\.3 s"):
            await shop.work(for_ever, ask, stays)
        shop.limit_s = LONG_S
        third = await shop.work(its_process, ask, stays)
        assert len({first, second, third, os.getpid()}) == 4
        for ended in (first, second):
            with pytest.raises(ProcessLookupError):
                os.kill(ended, 0)

    try:
        apart(asked())
    finally:
        shop.close()


def test_work_ends_when_the_server_does(cold: None) -> None:
    shop = Workshop(LONG_S)

    async def asked() -> None:
        work = asyncio.ensure_future(shop.work(for_ever, Ask(**ASK), stays))
        waiting = asyncio.ensure_future(shop.work(for_ever, Ask(**ASK), stays))
        await asyncio.sleep(0)
        shop.stopping = lambda: True
        assert await work is None and await waiting is None

    try:
        apart(asked())
    finally:
        shop.close()


def test_pages_go_on_while_there_is_work(client: Client) -> None:
    """And what nobody waits for any more does not keep the next question waiting."""

    async def both() -> tuple[Any, Any]:
        work = asyncio.ensure_future(client.workshop.work(for_ever, Ask(**ASK), stays))
        await asyncio.sleep(0)
        page = await client._call("GET", "/", b"", HOST, 0)
        offered = await client._call("GET", "/api/choices", b"", HOST, 0)
        assert not work.done()
        work.cancel()
        return page[0], offered[0]

    assert client.wait(both()) == (200, 200)
    assert client.layer()[0] == 200


def test_errors_show_no_path_of_the_server(client: Client, monkeypatch: Any) -> None:
    async def broken(*_: Any) -> Any:
        raise acc.InputError("no such key", file="/srv/secret/a.yaml", line=3, key="array.row")

    monkeypatch.setattr(client.workshop, "work", broken)
    assert client.layer() == (400, {"error": "array.row: no such key"})


def test_every_answer_has_a_policy(client: Client) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", "/api/choices"),
        ("GET", "/none"),
        ("POST", "/api/layer"),
    ):
        client(method, path)
        assert b"content-security-policy" in dict(client.headers)
    client("GET", "/", headers={"host": "elsewhere"})
    assert b"content-security-policy" in dict(client.headers)
