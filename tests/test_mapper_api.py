"""map_layer, map_network and `accelsim map`: results as promised, limits, interrupts, empty spaces,
files, figures.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from nests import random_problem
from quick import slow_but

import accelsim as acc
from accelsim.base.errors import InputError
from accelsim.cli.main import cli
from accelsim.engines import analytic, moved
from accelsim.engines.analytic.array_time import array_time
from accelsim.explore.cloud import cloud
from accelsim.hardware.architecture import Architecture
from accelsim.mapper import any_dataflow, preparing, search
from accelsim.mapper.objective import Objective
from accelsim.mapper.space import divisors, rows, under
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.nest import Nest
from accelsim.results.best_mapping import map_layer
from accelsim.view.space_picture import space

SMALL = acc.Conv2d(M=8, C=6, H=9, W=9, R=3, S=3, padding=1)


@pytest.mark.parametrize(
    "arch, flow",
    [
        ("eyeriss", "rs"),
        ("eyeriss", "os"),
        ("systolic", "ws"),
        ("systolic", "os"),
        ("shidiannao", "osp"),
    ],
)
def test_carried_out_with_data_it_is_as_promised(arch: str, flow: str) -> None:
    best = map_layer(SMALL, arch, flow, objective="edp")
    assert best.certificate.proved and best.certificate.left == 0
    event = acc.simulate(SMALL, arch, mapping=best.mapping, engine="event").rows[0].columns
    ours = best.result.rows[0].columns
    assert event["bit_exact"] and event["error"] is None
    for name, value in ours.items():
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and name not in ("bit_exact",)
        ):
            assert event[name] == value, name


PADDED = {"M": 6, "C": 4, "H": 7, "W": 6, "R": 3, "S": 2, "padding": 1}
STRIDED = {"M": 5, "C": 3, "H": 9, "W": 7, "R": 3, "S": 3, "stride": 2}


@pytest.mark.parametrize(
    ("shape", "tiles"),
    slow_but(
        [(STRIDED, "even")],
        [(shape, t) for shape in (PADDED, STRIDED) for t in ("divisors", "even")],
    ),
)
@pytest.mark.parametrize("arch, flow", [("eyeriss", "rs"), ("systolic", "ws"), ("scalesim", "os")])
def test_the_certificate_is_about_the_analytic_engines_cycles(
    arch: str, flow: str, shape: dict[str, int], tiles: str
) -> None:
    machine = acc.load_architecture(arch)
    best = map_layer(acc.Conv2d(**shape), machine, flow, objective="cycles", tiles=tiles)
    columns = best.result.rows[0].columns
    # in the end nothing may be left to be timed: divisors had the best
    assert best.certificate.proved
    assert best.certificate.value == best.certificate.cycles["closed form"] == columns["cycles"]


def test_the_certificate_says_which_cycles() -> None:
    """The event engine's where the closed form is exact; ``is`` holds pairs that meet padding."""
    layer = acc.Conv2d(M=4, C=4, H=6, W=6, R=3, S=3, padding=1)
    rs = map_layer(layer, "eyeriss", "rs", objective="cycles").certificate
    held = map_layer(layer, "eyeriss", "is", objective="cycles").certificate
    assert rs.exact and "near" not in str(rs) and rs.to_dict()["exact"] is True
    assert not held.exact and "in cycles near the event engine's" in str(held)


def test_over_all_tiles_the_gap_says_what_dominance_leaves_open() -> None:
    layer = acc.Conv2d(M=6, C=4, H=7, W=6, R=3, S=2, padding=1)
    best = map_layer(layer, "eyeriss", "rs", objective="cycles", tiles="all", limit=10)
    divisors = map_layer(layer, "eyeriss", "rs", objective="cycles")
    assert best.certificate.bound <= best.certificate.value <= divisors.certificate.value


def test_where_every_mapping_has_too_many_steps_the_error_says_so() -> None:
    layer = acc.Conv2d(M=96, C=3, H=227, W=227, R=11, S=11, stride=4)
    with pytest.raises(MappingError, match="can be timed"):
        map_layer(layer, "eyeriss", "nlr", objective="cycles", batch=64, limit=2)


ALEXNET = ("conv1", "conv2", "conv3", "conv4", "conv5")


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["energy", "cycles", "edp"])
def test_alexnet_is_proved(objective: str) -> None:
    found = acc.map_network("alexnet", "eyeriss", "rs", layers=ALEXNET, objective=objective)
    assert list(found.layers) == list(ALEXNET)
    for best in found.layers.values():
        assert best.certificate.gap == 0 and best.certificate.left == 0
        columns = best.result.rows[0].columns
        value = {
            "energy": columns["energy_mac"],
            "cycles": columns["cycles"],
            "edp": columns["energy_mac"] * columns["cycles"],
        }[objective]
        assert best.certificate.value == pytest.approx(value, rel=1e-12)


def test_runners_up_are_carried_out_when_asked() -> None:
    best = map_layer(SMALL, "eyeriss", "rs", objective="edp", check=True)
    assert len(best.certificate.runners_up) > 1
    assert all(r["bit_exact"] for r in best.certificate.runners_up)
    assert best.certificate.cycles["event engine"] == best.result.rows[0].columns["cycles"]
    json.dumps(best.certificate.to_dict())


def test_never_worse_than_the_fixed_rule_where_its_tiles_divide() -> None:
    layer = acc.Conv2d(M=16, C=8, H=10, W=10, R=3, S=3)
    rule = acc.simulate(layer, "eyeriss", "rs", tiles="rule").rows[0].columns
    best = map_layer(layer, "eyeriss", "rs", objective="energy", tiles="all", limit=20)
    assert best.result.rows[0].columns["energy_mac"] <= rule["energy_mac"]


def test_a_limit_leaves_a_gap_and_a_mapping() -> None:
    layer = acc.load_workload("alexnet").select(["conv2"])
    best = map_layer(layer, "eyeriss", "rs", objective="energy", batch=4, limit=0.4)
    full = map_layer(layer, "eyeriss", "rs", objective="energy", batch=4)
    assert full.certificate.proved
    assert (
        best.certificate.bound
        <= full.certificate.value * (1 + 1e-9)
        <= best.certificate.value * (1 + 1e-8)
    )
    assert best.certificate.left >= 0


def test_interrupted_it_has_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10**6))
    real = search.Search._leaf

    def leaf(self: Any, *args: Any) -> None:
        if next(calls) > 3:
            raise KeyboardInterrupt
        real(self, *args)

    monkeypatch.setattr(search.Search, "_leaf", leaf)
    layer = acc.load_workload("alexnet").select(["conv2"])
    best = map_layer(layer, "eyeriss", "rs", objective="energy", batch=4)
    assert best.certificate.stopped == "interrupted"
    assert 0 < best.certificate.gap < 1 and best.certificate.left > 0
    done = CliRunner().invoke(
        cli,
        [
            "map",
            "alexnet",
            "--layer",
            "conv2",
            "--batch",
            "4",
            "--arch",
            "eyeriss",
            "--dataflow",
            "rs",
            "--objective",
            "energy",
            "--processes",
            "1",
        ],
        standalone_mode=False,
    )
    assert done.return_value == 130 and "conv2" in done.output


ALL = {"objective": "edp", "tiles": "all", "batch": 1}


@pytest.mark.parametrize(
    "why, error", [("limit", TimeoutError), ("interrupted", KeyboardInterrupt)]
)
def test_while_tables_are_worked_out_it_has_the_even_tiles_best(
    monkeypatch: pytest.MonkeyPatch, why: str, error: type
) -> None:
    layer = acc.load_workload("lenet5").select(["conv2"])
    even = map_layer(layer, "eyeriss", "rs", objective="edp", tiles="even", batch=1).certificate
    full = map_layer(layer, "eyeriss", "rs", **ALL).certificate  # type: ignore[arg-type]
    real = preparing.Cell.tables

    def tables(self: Any, families: Any, tiles: Any, *args: Any, **kwargs: Any) -> Any:
        if sum(len(r.tiles) for r in self.picks) > sum(len(r.tiles) for r in evens):
            raise error
        return real(self, families, tiles, *args, **kwargs)

    skeleton = under(
        layer.layers[0].directed(1), acc.load_architecture("eyeriss"), acc.load_dataflow("rs")
    )
    evens = [rows(skeleton, f, "even") for f in skeleton.families]
    monkeypatch.setattr(preparing.Cell, "tables", tables)
    found = map_layer(layer, "eyeriss", "rs", **ALL).certificate  # type: ignore[arg-type]
    assert found.stopped == why and found.value == even.value and found.space == full.space
    assert 0 < found.bound <= full.value * (1 + 1e-9) and 0 < found.gap < 1 and found.left > 0


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["conv3", "conv5"])
def test_a_limit_is_kept_while_choices_are_listed_and_tables_worked_out(layer: str) -> None:
    for limit in (3.0, 6.0):
        start = process_time()
        best = map_layer(
            acc.load_workload("vgg16").select([f"{layer}_1"]),
            "eyeriss",
            "rs",
            objective="edp",
            tiles="all",
            limit=limit,
        )
        assert process_time() - start < limit + 4
        assert (
            best.certificate.stopped == "limit"
            and 0 < best.certificate.bound < best.certificate.value
        )


def test_an_empty_space_names_its_constraint() -> None:
    with pytest.raises(MappingError, match="spad"):
        map_layer(SMALL, "eyeriss", "rs", overrides={"levels.spad.partitions.weight": 1})


@pytest.mark.parametrize(
    "asked", ["", "speed", "energy^0", "energy^x", "edp*", "energy+cycles", "energy^99"]
)
def test_bad_objectives_are_refused(asked: str) -> None:
    with pytest.raises(InputError):
        map_layer(SMALL, "eyeriss", "rs", objective=asked)


def test_bad_options_are_refused() -> None:
    for options in (
        {"tiles": "some"},
        {"limit": 0},
        {"dataflow": "any", "tiles": "all"},
        {"dataflow": "any", "objective": "front"},
    ):
        with pytest.raises(InputError):
            map_layer(SMALL, "eyeriss", **({"dataflow": "rs"} | options))
    with pytest.raises(InputError):
        map_layer("lenet5", "eyeriss", "rs")


def test_network_solves_equal_layers_once_and_saves_files(tmp_path: Path) -> None:
    a, b, c = (SMALL.model_copy(update={"name": n}) for n in "abc")
    c = c.model_copy(update={"M": 4})
    said: list[str] = []
    found = acc.map_network([a, b, c], "eyeriss", "rs", objective="energy", progress=said.append)
    assert list(found.layers) == ["a", "b", "c"]
    assert found.layers["a"] is found.layers["b"]
    assert any(x.startswith("a, b:") for x in said)
    from accelsim.base.yaml_writing import to_yaml

    file = tmp_path / "chosen.yaml"
    file.write_text(to_yaml(found.mapping_file()))
    again = acc.simulate([a, b, c], "eyeriss", mapping=file)
    assert [r.columns["energy_mac"] for r in again.rows] == [
        r.columns["energy_mac"] for r in found.result.rows
    ]


def test_command(tmp_path: Path) -> None:
    saved, out = tmp_path / "m.yaml", tmp_path / "m.json"
    done = CliRunner().invoke(
        cli,
        [
            "map",
            "lenet5",
            "--arch",
            "eyeriss",
            "--dataflow",
            "rs",
            "--layer",
            "conv1",
            "--objective",
            "front",
            "--processes",
            "1",
            "--save",
            str(saved),
            "--plot",
            str(tmp_path / "figures"),
            "-o",
            str(out),
        ],
        standalone_mode=False,
    )
    assert done.return_value == 0, done.output
    record = json.loads(out.read_text())[0]
    assert (
        record["gap"] == 0 and record["front"] and record["certificate"]["space"] == record["space"]
    )
    assert (tmp_path / "figures" / "space_conv1.svg").exists()
    run = CliRunner().invoke(
        cli,
        [
            "run",
            "lenet5",
            "--layer",
            "conv1",
            "--arch",
            "eyeriss",
            "--mapping",
            str(saved),
            "--format",
            "json",
        ],
        standalone_mode=False,
    )
    assert json.loads(run.output)[0]["cycles"] == record["cycles"]


def test_figure_shows_cloud_front_rule_and_choice() -> None:
    limited = cloud(SMALL, "eyeriss", "rs", points=500)
    best = (
        acc.map_layer(SMALL, "eyeriss", "rs", objective="cycles").result.rows[0].columns["cycles"]
    )
    assert (
        not limited.exact and limited.front[0, 0] == best
    )  # the front is the closed form's, the cloud's cycles are from below
    assert "500 of the space, cycles at least" in [
        t.get_text() for t in space(limited).axes[0].get_legend().get_texts()
    ]
    points = cloud(
        SMALL,
        "eyeriss",
        "rs",
        points=500,
        overrides={"levels.dram": {}, "networks.noc.width_bits": None},
    )
    assert points.exact and 0 < len(points.points) <= 500 and len(points.front)
    assert (np.diff(points.front[:, 0]) > 0).all() and (np.diff(points.front[:, 1]) < 0).all()
    for c, e in points.points:  # nothing of the cloud is below the front
        at = np.searchsorted(points.front[:, 0], c * (1 + 1e-9), side="right") - 1
        assert at >= 0 and points.front[at, 1] <= e * (1 + 1e-9)
    axes = space(points, chosen=tuple(points.front[0])).axes[0]  # type: ignore[arg-type]
    labels = [t.get_text() for t in axes.get_legend().get_texts()]
    assert labels[1:] == ["front", "fixed rule", "chosen"]


# -- everything open -------------------------------------------------------------------------------


def open_machine(rng: random.Random) -> Architecture:
    networks = {
        n: {
            "below": b,
            "held": rng.choice(("multicast", "unicast")),
            "accumulated": rng.choice(("reduce", "unicast")),
        }
        for n, b in (("link", "dram"), ("noc", "buf"))
    }
    price = {"dram": 50.0, "buf": rng.choice((2.0, 6.0)), "pe": 1.0}
    return Architecture.model_validate(
        {
            "name": "open",
            "clock_mhz": 100.0,
            "array": {"rows": rng.choice((1, 2)), "cols": rng.choice((2, 3))},
            "levels": {
                "dram": {},
                "buf": {"capacity_bytes": rng.choice((24, 80))},
                "pe": {"capacity_bytes": rng.choice((4, 12))},
            },
            "networks": networks,
            "bits": {"weight": 8, "ifmap": 8, "psum": 16, "ofmap": rng.choice((8, 16))},
            **({"padding": {"stored_from": "buf"}} if rng.random() < 0.3 else {}),
            "accumulate": rng.choice(("at_level", "in_array")),
            "energy": {
                "mac": 1.0,
                "levels": price,
                "networks": {"link": 0.0, "noc": 2.0},
                "charge": rng.choice(("reads", "reads_and_writes")),
            },
        }
    )


@pytest.mark.parametrize("seed", slow_but([1], range(2)))
def test_no_mapping_of_the_open_space_is_below_its_bound(seed: int) -> None:
    rng = random.Random(seed)
    while True:
        problem = random_problem(rng, 120, ("forward", "grad_weight"))
        if sum(n > 1 for n in problem.size.values()) == 3:
            break
    arch = open_machine(rng)
    goal = Objective.parse(rng.choice(("energy", "edp", "dram")))
    state, tally, whole, _ = any_dataflow.search(problem, arch, goal, None, None)
    assert state.best is not None and whole > tally.evaluated
    Nest(problem, arch, state.best.skeleton.mapping_with(state.best.tiles))
    low = min(state.value, state.rest)
    long = [d for d in problem.size if problem.size[d] > 1]
    keeps, tried = list(any_dataflow.keeps(arch)), 0
    while tried < 150:
        orders = [rng.sample(long, len(long)) for _ in arch.levels]
        skeleton = any_dataflow.skeletons(problem, arch, rng.choice(keeps), orders)
        tiles, left = [], dict(problem.size)
        last = {s.dim: i for i, s in enumerate(skeleton.loops)}
        for i, s in enumerate(skeleton.loops):
            left[s.dim] = 1 if last[s.dim] == i else rng.choice(divisors(left[s.dim]))
            tiles.append(left[s.dim])
        try:
            nest = Nest(problem, arch, skeleton.mapping_with(tiles))
        except MappingError:
            continue
        tried += 1
        moves = analytic.moves(nest)
        values = {
            "energy": moved.energy(nest, moves, problem.macs, 0.0)["energy_mac"],
            "cycles": array_time(nest).compute,
            "dram": sum(
                (m.arrived + m.updated if b.tensor == problem.accumulated else m.read)
                * nest.footprint.word_bits(0, b.tensor)
                for b, m in moves.items()
                if b.parent == 0
            ),
        }
        assert goal.of(values) >= low * (1 - 1e-9), (nest.mapping, nest.mapping.keep)


def test_never_worse_than_the_fixed_rule() -> None:
    """Its tiles need not divide: over three channels and nine taps divisors fill 9 rows of 16, the
    rule fills them all.
    """
    layer = acc.Conv2d(M=8, C=3, H=8, W=8, R=3, S=3, padding=1)
    best = acc.map_layer(layer, "systolic", "ws", objective="energy", check=True)
    rule = acc.simulate(layer, "systolic", "ws", tiles="rule").rows[0].columns
    ours = best.result.rows[0].columns
    assert (
        best.certificate.rule
        and best.certificate.proved
        and best.certificate.value == ours["energy_pj"] == rule["energy_pj"]
    )
    assert best.certificate.runners_up[0][
        "bit_exact"
    ] is True and "the fixed rule has the best" in str(best.certificate)
    assert (
        not acc.map_layer(
            layer, "systolic", "ws", objective="energy", tiles="all"
        ).certificate.value
        > rule["energy_pj"]
    )
    assert not acc.map_layer(layer, "eyeriss", "rs", objective="energy").certificate.rule


def test_what_is_proved_is_said_of_its_tiles() -> None:
    """docs/mapper.md: the best of divisors is proved, and another mapping is three times faster."""
    machine = {"array.rows": 32, "array.cols": 32, "levels.sram.capacity_bytes": 65536}
    layer = acc.load_workload("resnet50").select(["conv5_3_conv"])
    found = acc.map_network(layer, "systolic", "os", overrides=machine)
    quick = acc.simulate(layer, "systolic", "os", overrides=machine)
    (best,) = found.layers.values()
    assert best.certificate.gap == 0 and "gap and proved: of tiles that divide" in str(found)
    rows = best.result.rows[0], quick.rows[0]
    assert [row.columns["cycles"] for row in rows] == [518_167, 167_478]
    small = acc.map_network("lenet5", "systolic", "os", layers=["fc3"], tiles="even")
    assert "of tiles that divide" not in str(small)
