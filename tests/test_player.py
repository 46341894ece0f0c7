"""Films against the data, the nest and the counts; the file against what it may hold."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelsim as acc
from accelsim.view.player.chapters import working
from accelsim.view.player.film import MAC, NOTHING, OUT, PADDING, Film
from accelsim.view.player.pack import Packer
from accelsim.view.player.small_numbers import small_data

SMALL = {"array.rows": 4, "array.cols": 5, "dram": "unlimited"}
LAYER = acc.Conv2d(M=5, C=2, H=6, W=6, R=3, S=3, padding=1, bias=True, name="small")
GEMM = acc.Gemm(m=3, k=3, n=5, name="gemm")
FLOWS = ("ws", "os", "is")


@pytest.fixture(scope="module")
def films() -> dict[str, Film]:
    animation = acc.animate(LAYER, "systolic", ",".join(FLOWS), overrides=SMALL)
    return dict(zip(FLOWS, animation.films, strict=True))


def drawn(problem: acc.Problem, arch: acc.Architecture) -> dict[str, Any]:
    """The data that a film is made of."""
    return small_data(problem, {k: arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")}, 0)


def data() -> dict[str, Any]:
    return drawn(LAYER.problem(), acc.load_architecture("systolic", SMALL))


@pytest.mark.parametrize("flow", FLOWS)
def test_operands_are_the_words_they_are_called(films: dict[str, Film], flow: str) -> None:
    tensors = data()
    for plane in films[flow].planes:
        if plane.tensor == "ofmap":
            continue
        flat = tensors[plane.tensor].ravel().astype(np.int64)
        there = plane.words >= 0
        assert there.any()
        assert (plane.values[there] == flat[plane.words[there]]).all()
        assert not plane.values[~there].any()


@pytest.mark.parametrize("flow", FLOWS)
def test_every_mac_is_shown_once_at_its_iteration(films: dict[str, Film], flow: str) -> None:
    film, p = films[flow], LAYER.problem()
    nest = acc.Nest(
        p,
        acc.load_architecture("systolic", SMALL),
        acc.choose(p, acc.load_architecture("systolic", SMALL), acc.load_dataflow(flow)),
    )
    t, i, j = np.nonzero(film.state & MAC)
    assert len(t) == p.macs
    where = film.positions
    at = (
        where.outside[where.fold[t, i, j]]
        + where.row[i]
        + where.col[j]
        + where.inside[where.step[t, i, j]]
    )
    point: dict[str, Any] = {}
    for chain in nest.chains:
        piece = nest.pieces(chain, {k: at[:, k] for k in chain.loops})
        rest = None if piece.chunk is None else piece.chunk[0].copy()
        for part in reversed(chain.parts):
            point[part] = np.broadcast_to(piece.lo[part], len(t)).copy()
            if rest is not None:
                extent = np.maximum(np.broadcast_to(piece.hi[part] - piece.lo[part], len(t)), 1)
                point[part], rest = point[part] + rest % extent, rest // extent
    points = np.stack([point[d] for d in "NGMCEFRS"])
    assert len(np.unique(points, axis=1).T) == p.macs, "every point of the problem once"
    h, w = point["E"] + point["R"] - 1, point["F"] + point["S"] - 1
    wanted = {
        "weight": np.ravel_multi_index([point[d] for d in "GMCRS"], p.shape("weight")),
        "ifmap": np.where(
            (h >= 0) & (h < p.H) & (w >= 0) & (w < p.W), ((point["C"] * p.H) + h) * p.W + w, PADDING
        ),
        "ofmap": np.ravel_multi_index([point[d] for d in "NGMEF"], p.shape("ofmap")),
    }
    for plane in film.planes:
        if not plane.label.startswith("next"):
            assert (plane.words[t, i, j] == wanted[plane.tensor]).all(), plane.label


@pytest.mark.parametrize("flow", FLOWS)
def test_a_sum_is_the_one_before_and_a_product(films: dict[str, Film], flow: str) -> None:
    """The hardware's own law, checked on what is shown: nothing between two frames is lost or
    added.
    """
    film = films[flow]
    kinds = {p.label: p for p in film.planes}
    product = kinds["weight"].values * kinds["ifmap"].values
    psum, work = kinds["psum"], (film.state & MAC) > 0
    if psum.way == "down":
        before = np.zeros_like(psum.values)
        before[1:, 1:] = psum.values[:-1, :-1]
        assert (psum.values[work] == (before + product)[work]).all()
    else:
        same = np.zeros_like(work)
        same[1:] = (psum.words[1:] == psum.words[:-1]) & work[:-1]
        before = np.zeros_like(psum.values)
        before[1:] = np.where(same[1:], psum.values[:-1], 0)
        assert (psum.values[work] == (before + product)[work]).all()


@pytest.mark.parametrize("flow", FLOWS)
def test_counters_only_grow_and_end_at_the_analytic_counts(
    films: dict[str, Film], flow: str
) -> None:
    film = films[flow]
    (row,) = acc.simulate(LAYER, "systolic", flow, tiles="rule", overrides=SMALL).rows
    assert film.whole and film.cycles == film.frames == row.columns["cycles"]
    assert film.totals == {
        k: v
        for k, v in row.columns.items()
        if v and (k == "macs" or k.endswith(("_reads", "_writes", "_deliveries", "_additions")))
    }
    for name, values in film.counts.items():
        assert (np.diff(values) >= 0).all(), name
        assert values[-1] == film.totals[name], name
    assert (np.diff(film.counts["macs"]) == (film.state[1:] & MAC).sum(axis=(1, 2))).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"array.weight_registers": 1},
        {"array.overlap": False, "array.weight_registers": 1},
        {"array.outputs": "accumulators"},
        {"array.outputs": "register"},
        {"array.partial_folds": "full"},
    ],
)
@pytest.mark.parametrize("flow", FLOWS)
def test_every_kind_of_array_ends_at_its_counts(flow: str, changes: dict[str, Any]) -> None:
    (film,) = acc.animate(LAYER, "systolic", flow, overrides=SMALL | changes).films
    assert film.whole
    assert {k: int(v[-1]) for k, v in film.counts.items()} == film.totals
    assert (film.state & MAC).sum() == LAYER.problem().macs


@pytest.mark.parametrize("direction", ["grad_weight", "grad_input"])
@pytest.mark.parametrize("flow", FLOWS)
def test_gradients(flow: str, direction: Any) -> None:
    try:
        (film,) = acc.animate(LAYER, "systolic", flow, overrides=SMALL, direction=direction).films
    except acc.InputError as error:
        assert "systolic lines" in str(error) or "line to travel" in str(error)
        return
    assert film.whole and {k: int(v[-1]) for k, v in film.counts.items()} == film.totals


@pytest.mark.parametrize(
    ("arch", "flow"),
    [
        ("eyeriss", "rs"),
        ("eyeriss", "ws"),
        ("eyeriss", "os"),
        ("eyeriss", "nlr"),
        ("shidiannao", "os"),
        ("scalesim", "os"),
    ],
)
@pytest.mark.parametrize("direction", ["forward", "grad_input"])
def test_other_arrays(arch: str, flow: str, direction: Any) -> None:
    """Buses, trees, chains and neighbour links: counters grow to the analytic counts, operands are
    the words they are called.
    """
    (film,) = acc.animate(LAYER, arch, flow, direction=direction).films
    assert film.whole and (film.state & MAC).sum() == LAYER.problem().macs
    assert {k: int(v[-1]) for k, v in film.counts.items()} == film.totals
    assert all((np.diff(v) >= 0).all() for v in film.counts.values())
    machine, problem = acc.load_architecture(arch), LAYER.problem().with_direction(direction)
    tensors = drawn(problem, machine)
    for plane in film.planes:
        if plane.tensor not in problem.operands:
            continue
        values = tensors[plane.tensor]
        if "ifmap" in film.origins and plane.tensor == "ifmap":  # padding is stored
            values = np.pad(values, [(0, 0)] * 3 + [(1, 1)] * 2)
        there = plane.words >= 0
        assert (plane.values[there] == values.ravel().astype(np.int64)[plane.words[there]]).all()


def test_a_window_is_a_piece_of_the_whole(films: dict[str, Film]) -> None:
    (window,) = acc.animate(LAYER, "systolic", "ws", overrides=SMALL, first=20, cycles=15).films
    whole = films["ws"]
    assert (window.first, window.last, window.whole) == (20, 34, False)
    for a, b in zip(window.planes, whole.planes, strict=True):
        assert (a.values == b.values[19:34]).all() and (a.words == b.words[19:34]).all()
    busy = window.positions.fold >= 0
    assert (
        window.positions.outside[window.positions.fold[busy]]
        == whole.positions.outside[whole.positions.fold[19:34][busy]]
    ).all()
    assert all(
        (values == whole.counts[name][19:34]).all() for name, values in window.counts.items()
    )


def test_large_arrays_are_shown_for_fewer_cycles() -> None:
    layer = acc.Gemm(m=256, k=256, n=8)
    (film,) = acc.animate(layer, "tpu_v1", "ws", cycles=2000).films
    assert film.frames * film.rows * film.cols <= 2_000_000


def test_what_is_packed_comes_out_again() -> None:
    rng = np.random.default_rng(1)
    arrays = [
        rng.integers(-(2**47), 2**47, (5, 3, 4)),
        rng.integers(-3, 3, (7, 2, 2)),
        np.arange(12).reshape(3, 4),
        np.zeros((0, 2), np.int64),
    ]
    packer = Packer()
    heads = [packer.add(a) for a in arrays]
    block = zlib.decompress(base64.b64decode(packer.block()))
    for head, array in zip(heads, arrays, strict=True):
        assert (_unpack(head, block) == array).all()


def _unpack(head: dict[str, Any], block: bytes) -> Any:
    """The format, read as ``pack`` describes it."""
    shape = head["shape"]
    n = int(np.prod(shape))
    folded = np.zeros(n, np.int64)
    for k in range(head["bytes"]):
        folded += np.frombuffer(block, np.uint8, n, head["at"] + k * n).astype(np.int64) << 8 * k
    d = np.where(folded % 2, -(folded + 1) // 2, folded // 2).reshape(shape)
    for t in range(1, shape[0]):
        before = d[t - 1].copy()
        if head["way"] == "right":
            before[:, 1:] = d[t - 1][:, :-1]
        elif head["way"] == "down":
            before[1:] = d[t - 1][:-1]
        d[t] += before
    return d


def test_the_file_holds_the_film_and_asks_for_nothing(films: dict[str, Film]) -> None:
    text = acc.animate(LAYER, "systolic", "os", overrides=SMALL).html
    head = json.loads(
        re.search(r'<script type="application/json" id="head">(.*?)</script>', text, re.S)[1]
    )
    block = zlib.decompress(
        base64.b64decode(re.search(r'id="block">(.*?)</script>', text, re.S)[1])
    )
    film = films["os"]
    for got, plane in zip(head["films"][0]["planes"], film.planes, strict=True):
        assert (_unpack(got["values"], block) == plane.values).all()
        assert (_unpack(got["words"], block) == plane.words).all()
    assert (_unpack(head["films"][0]["state"], block) == film.state).all()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    assert not re.search(
        r"https?:|//[a-z]|<link|<img|<iframe|@import|url\(",
        re.sub(r'id="block">.*?</script>', "", text, flags=re.S).replace("// ", ""),
    )


def test_names_are_text() -> None:
    layer = acc.Conv2d(M=1, C=1, H=3, W=3, R=2, S=2, name="</script><b>{{block}}&")
    animation = acc.animate(layer, "systolic", "ws", overrides={"array.rows": 2, "array.cols": 2})
    assert "<b>" not in animation.html and "</script><b>" not in animation._repr_html_()
    assert animation.html.count("</script>") == 3
    assert "/" not in animation.file_name


def test_summary_says_length_work_and_loops() -> None:
    text = str(acc.animate(LAYER, "systolic", "ws", overrides=SMALL))
    assert "All of it is shown." in text and "3 240 MACs" in text and "K:4:sram" in text
    (film,) = acc.animate(LAYER, "systolic", "ws", overrides=SMALL).films
    busy = ((film.state & MAC) > 0).sum(axis=(1, 2))
    most = f"At most {busy.max()} of the 20 PEs multiply at once, first in cycle"
    assert f"{most} {1 + busy.argmax()}." in text and busy.max() == 20
    windowed = str(acc.animate(LAYER, "systolic", "ws", overrides=SMALL, first=5, cycles=10))
    assert "Cycles 5 to 14 are shown" in windowed


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ({"workload": "alexnet", "arch": "systolic", "dataflow": "ws"}, "of its nodes must be"),
        (
            {"workload": [LAYER, GEMM], "arch": "systolic", "dataflow": "ws"},
            "of a list of layers one is animated",
        ),
        (
            {"workload": "lenet5", "arch": "systolic", "dataflow": "ws", "layer": "poll1"},
            "pool1",
        ),
        (
            {"workload": "lenet5", "arch": "systolic", "dataflow": "ws", "first": 9},
            "shown from their first cycle",
        ),
        (
            {
                "workload": "lenet5",
                "layer": "pool1",
                "arch": "systolic",
                "dataflow": "ws",
                "direction": "grad_input",
            },
            "forward only",
        ),
        (
            {"workload": LAYER, "arch": "systolic", "dataflow": "ws", "numbers": "large"},
            "must be small or full",
        ),
        (
            {"workload": LAYER, "arch": "systolic", "dataflow": "ws", "first": 10**6},
            "begins at 1000000",
        ),
        ({"workload": LAYER, "arch": "systolic", "dataflow": "ws", "cycles": 0}, "from 1 to"),
        ({"workload": LAYER, "arch": "systolic", "dataflow": "ws,os,is,ws,os"}, "at most 3"),
        ({"workload": LAYER, "arch": "systolic"}, "dataflow"),
        (
            {
                "workload": "vgg16",
                "layer": "conv1_2",
                "arch": "systolic",
                "dataflow": "ws",
                "batch": 64,
            },
            "2^33 MACs",
        ),
    ],
)
def test_bad_input_is_a_sentence(call: dict[str, Any], why: str) -> None:
    with pytest.raises(acc.InputError, match=re.escape(why)):
        acc.animate(**call)


def test_command(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("accelsim"))]
    args = [
        "animate",
        "lenet5",
        "--layer",
        "conv2",
        "--arch",
        "systolic",
        "--dataflow",
        "ws,os",
        "--cycles",
        "60",
    ]
    done = subprocess.run([*command, *args], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.iterdir()
    assert (
        path.name == "lenet5-conv2-on-systolic-ws-os.html" and f"wrote {path.name}" in done.stderr
    )
    assert "Cycles 1 to 60 are shown" in done.stdout
    done = subprocess.run(
        [*command, *args, "--layer", "conv9"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (
        done.returncode == 2
        and "Traceback" not in done.stderr
        and len(done.stderr.splitlines()) == 1
    )


def test_nothing_is_shown_where_nothing_is(films: dict[str, Film]) -> None:
    for film in films.values():
        for plane in film.planes:
            assert (plane.values[plane.words == NOTHING] == 0).all()


@pytest.mark.parametrize(("arch", "flow"), [*(("systolic", f) for f in FLOWS), ("eyeriss", "rs")])
def test_buffers_hold_what_the_counts_say_came_in(arch: str, flow: str) -> None:
    """An operand is there when the first of its words has been written, a sum when it has."""
    (film,) = acc.animate(LAYER, arch, flow, overrides=SMALL if arch == "systolic" else {}).films
    assert film.held
    for held in film.held:
        written = film.counts.get(f"{held.level}_{held.tensor}_writes")
        assert written is not None
        assert (held.words <= held.tile_words).all()
        assert ((held.words > 0) == (written > 0)).all(), (held.level, held.tensor)
        assert (held.words <= written).all()
        boxes = np.prod(held.high - held.low, axis=1)
        assert (held.words <= boxes).all() and ((boxes > 0) == (held.words > 0)).all()
        if held.tensor == "ofmap":
            assert held.words[0] == 0 and held.words[-1] == held.tile_words
        if held.there is None:  # the box says which
            assert (held.words == boxes).all()
            continue
        for t in range(film.frames):
            there = held.there.at(t)
            assert len(there) == held.words[t]
            if len(there):
                at = np.stack(np.unravel_index(there, film.shapes[held.tensor]))
                assert (at.min(axis=1) == held.low[t]).all()
                assert (at.max(axis=1) + 1 == held.high[t]).all()


def test_words_that_wait_in_pes_are_those_that_come_over_the_bus(films: dict[str, Film]) -> None:
    """A word is kept from the edge its bus carries it at, all words that a MAC takes are, and a
    film that begins later knows what came before it.
    """
    (film,) = acc.animate(LAYER, "eyeriss", "rs").films
    kept, buses = {k.tensor: k.there for k in film.kept}, film.buses
    assert set(kept) == {"weight", "ifmap", "ofmap"} and {k.level for k in film.kept} == {"spad"}
    before: dict[str, set[int]] = {t: set() for t in kept}
    for t in range(film.frames):
        here = slice(buses.starts[t], buses.starts[t + 1])
        for number, tensor in enumerate(("weight", "ifmap")):
            now = set(kept[tensor].at(t).tolist())
            inward = (buses.inward[here] == 1) & (buses.tensor[here] == number)
            carried = set(buses.word[here][inward].tolist())
            assert now - before[tensor] <= carried <= now
            (plane,) = [p for p in film.planes if p.label == tensor]
            assert set(plane.words[t][plane.words[t] >= 0].tolist()) <= now
            before[tensor] = now
    assert max(len(kept["weight"].at(t)) for t in range(film.frames)) == 5 * 2 * 3 * 3
    (later,) = acc.animate(LAYER, "eyeriss", "rs", first=60, cycles=20).films
    for a, b in zip(later.kept, film.kept, strict=True):
        for t in range(later.frames):
            assert (a.there.at(t) == b.there.at(t + 59)).all()
    assert all(not f.kept for f in films.values()), "systolic lines show theirs in registers"


def test_sums_of_a_tile_that_is_over_go_outward() -> None:
    """A tile of sums begins empty, and a film that begins later knows what came before it."""
    changes = SMALL | {"levels.sram.capacity_bytes": 128}
    layer = acc.Gemm(m=5, k=4, n=24, name="many")
    (film,) = acc.animate(layer, "systolic", "os", overrides=changes).films
    (sums,) = [h for h in film.held if h.tensor == "ofmap"]
    fallen = np.flatnonzero(np.diff(sums.words) < 0)
    assert len(fallen) and sums.words.max() <= sums.tile_words < 5 * 24
    first = int(fallen[0]) - 3
    (later,) = acc.animate(layer, "systolic", "os", overrides=changes, first=first).films
    (again,) = [h for h in later.held if h.tensor == "ofmap"]
    assert (again.words == sums.words[first - 1 :]).all()
    assert (again.low == sums.low[first - 1 :]).all()
    assert sums.there is not None and again.there is not None
    for t in range(0, later.frames, 5):
        assert (again.there.at(t) == sums.there.at(t + first - 1)).all()


def test_small_numbers_are_small_and_full_ones_are_asked_for() -> None:
    (film,) = acc.animate(LAYER, "systolic", "ws", overrides=SMALL).films
    kinds = {p.label: p.values for p in film.planes}
    assert abs(kinds["weight"]).max() == 3 and kinds["ifmap"].max() == 9
    (full,) = acc.animate(LAYER, "systolic", "ws", overrides=SMALL, numbers="full").films
    assert max(abs(p.values).max() for p in full.planes if p.label == "ifmap") > 100
    narrow = SMALL | {"bits.weight": 2, "bits.ifmap": 3}
    (film,) = acc.animate(LAYER, "systolic", "ws", overrides=narrow).films
    kinds = {p.label: p.values for p in film.planes}
    assert kinds["weight"].min() >= -2 and kinds["weight"].max() <= 1
    assert kinds["ifmap"].max() <= 3


def test_it_opens_at_work_and_has_chapters(films: dict[str, Film]) -> None:
    """The readme's own film opened with cycles of zeros."""
    readme = acc.animate(
        "lenet5", "systolic", "ws", layer="conv1", cycles=200,
        overrides={"array.rows": 8, "array.cols": 8},
    ).films[0]  # fmt: skip
    rs = acc.animate(LAYER, "eyeriss", "rs").films[0]
    for film in (readme, rs, *films.values()):
        busy, real = working(film.state, film.planes, film.margin)
        assert real[film.opens] >= 0.8 * real.max() > 0
        assert (real <= busy).all()
        frames = [c.frame for c in film.chapters]
        assert frames == sorted(set(frames)) and frames[-1] < film.frames
        assert all(c.name and c.told.endswith(".") for c in film.chapters)
    names = [c.name for c in films["ws"].chapters]
    assert names[:2] == ["first word", "fill"] and "fold 2" in names
    assert "sums add up" in [c.name for c in rs.chapters]
    assert (working(readme.state, readme.planes, readme.margin)[1][:43] == 0).all()


@pytest.mark.parametrize("flow", [*FLOWS, "rs"])
def test_what_a_chapter_says_is_so(films: dict[str, Film], flow: str) -> None:
    """The story once said "most PEs multiply for the first time" where it was not so."""
    film = films[flow] if flow in films else acc.animate(LAYER, "eyeriss", flow).films[0]
    busy = ((film.state & MAC) > 0).sum(axis=(1, 2))
    there = np.any([(p.words != NOTHING).any(axis=(1, 2)) for p in film.planes], axis=0)
    result = ((film.state & OUT) > 0).any(axis=(1, 2))
    marks = {c.name: c for c in film.chapters}
    folds = [c.frame for c in film.chapters if re.fullmatch(r"(fold|pass) \d+", c.name)]
    first = slice(0, min(folds, default=film.frames))
    for name, begins in (("first word", there), ("fill", busy > 0), ("first result", result)):
        if name in marks:
            assert marks[name].frame == int(begins.argmax()), name
    steady = marks["steady"]
    told = re.match(r"(\d+) PEs multiply, as many as there is work for\.", steady.told)
    assert told and int(told[1]) == busy[steady.frame] == busy[first].max()
    assert (busy[: steady.frame] < busy[steady.frame]).all(), "for the first time"
    if "drain" in marks:
        frame = marks["drain"].frame
        assert busy[frame] < busy[frame - 1] == busy[first].max()
    for frame in folds:
        fold = film.positions.fold
        assert fold[frame].max() > fold[frame - 1].max()


@pytest.mark.parametrize("flow", ["rs", "ws", "os"])
def test_a_sum_has_the_product_of_so_many_edges_ago(flow: str) -> None:
    """Where a multiplier has stages, a sum is the one before and the product of ``lag`` edges
    ago.
    """
    (film,) = acc.animate(LAYER, "eyeriss", flow).films
    assert film.lag == acc.load_architecture("eyeriss").array.pipeline_stages - 1 > 0
    kinds = {p.label: p for p in film.planes}
    product, sums = kinds["weight"].values * kinds["ifmap"].values, kinds["psum"]
    checked = 0
    for i, j in np.ndindex(film.rows, film.cols):
        before: dict[int, int] = {}
        for t in range(film.lag, film.frames):
            word = int(sums.words[t, i, j])
            if word < 0:
                continue
            assert film.state[t - film.lag, i, j] & MAC
            own = int(product[t - film.lag, i, j])
            made = {own + before.get(word, 0), own}  # ``own`` alone begins a new sum
            assert int(sums.values[t, i, j]) in made, (t, i, j)
            checked += word in before
            before[word] = int(sums.values[t, i, j])
    assert checked > 100


@pytest.mark.parametrize("flow", FLOWS)
def test_counters_are_what_has_happened_up_to_every_cycle(
    films: dict[str, Film], flow: str
) -> None:
    """Words that came in at the sides, products and results, counted in the picture."""
    film = films[flow]
    assert (film.counts["macs"] == np.cumsum((film.state & MAC).sum(axis=(1, 2)))).all()
    for plane in film.planes:
        side = {"left": plane.words[:, :, 0], "top": plane.words[:, 0]}.get(str(plane.enters))
        if side is None or plane.label == "psum" or plane.way == "stays":
            continue
        came = np.cumsum((side >= 0).sum(axis=1))
        assert (film.counts[f"sram_{plane.tensor}_reads"] == came).all(), plane.label


@pytest.mark.parametrize("layer", ["pool1", "softmax", "tanh1"])
def test_an_operator_is_shown_for_the_cycles_the_model_gives_it(layer: str) -> None:
    (film,) = acc.animate("lenet5", "systolic", "ws", layer=layer, cycles=5000).films
    rows = acc.simulate("lenet5", "systolic", "ws", end_to_end=True, tiles="rule").rows
    row = next(r for r in rows if r.columns["layer"] == layer)
    assert film.whole and film.cycles == film.frames == row.columns["cycles"]
    done = film.counts["vector_operations"]
    assert done[-1] == film.totals["vector_operations"] == row.columns["vector_operations"]
    assert (np.diff(done, prepend=0) == (film.state & MAC).sum(axis=(1, 2))).all()
    assert film.kind in str(row.columns["operator"])
    made = next(p for p in film.planes if p.label == "ofmap")
    assert len(np.unique(made.words[made.words >= 0])) == np.prod(film.shapes["ofmap"])


def test_a_pool_shows_every_word_of_its_windows() -> None:
    (film,) = acc.animate("alexnet", "eyeriss", "rs", layer="pool1", cycles=40).films
    came, made = film.planes
    assert (came.label, made.label, film.kind) == ("ifmap", "ofmap", "max_pool")
    t, i, j = np.nonzero(came.words >= 0)
    _, _, _, height, width = film.shapes["ifmap"]
    _, _, _, e, f = film.shapes["ofmap"]
    x, y = came.words[t, i, j], made.words[t, i, j]
    assert (x // (height * width) == y // (e * f)).all(), "the same channel"
    for rest, size in ((x // width % height - 2 * (y // f % e), 3), (x % width - 2 * (y % f), 3)):
        assert (rest >= 0).all() and (rest < size).all()
    assert (made.values[t, i, j] >= came.values[t, i, j]).all(), "the largest of its window"


def test_a_network_is_shown_node_by_node() -> None:
    """The words that a node makes are those the next one reads."""
    animation = acc.animate("lenet5", "systolic", "ws", cycles=60)
    graph = acc.load_workload("lenet5").network
    assert graph is not None
    names = list(dict.fromkeys(f.node for f in animation.films))
    assert names == [n.name for n in graph.nodes if n.name in names]
    assert {"conv1", "tanh1", "pool1", "softmax"} <= set(names)
    assert sum(f.kind == "layer" for f in animation.films) == 5
    by_node = {f.node: f for f in animation.films}
    made, read = by_node["tanh1"], by_node["pool1"]
    values = {}
    for plane in made.planes:
        if plane.label == "ofmap":
            there = plane.words >= 0
            values = dict(
                zip(plane.words[there].tolist(), plane.values[there].tolist(), strict=True)
            )
    plane = next(p for p in read.planes if p.label == "ifmap")
    there = plane.words >= 0
    both = [
        (values[w], v)
        for w, v in zip(plane.words[there].tolist(), plane.values[there].tolist(), strict=True)
        if w in values
    ]
    assert both and all(a == b for a, b in both)
    assert (
        max(abs(p.values).max() for f in animation.films for p in f.planes if p.label == "ifmap")
        <= 8
    )
    head = json.loads(
        re.search(
            r'<script type="application/json" id="head">(.*?)</script>', animation.html, re.S
        )[1]
    )
    assert [n["name"] for n in head["nodes"]] == names
    assert len(animation.html) < 2_000_000
