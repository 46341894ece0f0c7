"""Real layers at full size under every dataflow an architecture takes: bit-exact, and equal counts
in every column.
"""

from __future__ import annotations

import json
import random

import pytest
from quick import slow_but
from test_cli import shell

import accelsim as acc
from accelsim.base.shipped import shipped_names
from accelsim.results.result import Result

SMALL_SCALESIM = {"array.rows": 8, "array.cols": 8}
ODD_SYSTOLIC = {"array.rows": 7, "array.cols": 5}
MACHINES = {
    "eyeriss": ("eyeriss", {}, ("ws", "os", "rs", "nlr")),
    "systolic 16x16": ("systolic", {}, ("ws", "os", "is")),
    "systolic 7x5": ("systolic", ODD_SYSTOLIC, ("ws", "os", "is")),
    "tpu_v1": ("tpu_v1", {}, ("ws",)),
    "scalesim 8x8": ("scalesim", SMALL_SCALESIM, ("ws", "os", "is")),
}
CELLS = [(machine, flow) for machine, (_, _, flows) in MACHINES.items() for flow in flows]
cells = pytest.mark.parametrize(("machine", "flow"), CELLS, ids=lambda x: x.replace(" ", "_"))

# MACs of the convolutions (and of lenet5 its three linear layers), batch 1.
MACS = {
    "lenet5": {"conv1": 117_600, "conv2": 240_000, "fc1": 48_000, "fc2": 10_080, "fc3": 840},
    "alexnet": {
        "conv1": 105_415_200,
        "conv2": 223_948_800,
        "conv3": 149_520_384,
        "conv4": 112_140_288,
        "conv5": 74_760_192,
    },
    "vgg16": {
        "conv1_1": 86_704_128,
        "conv1_2": 1_849_688_064,
        "conv2_1": 924_844_032,
        "conv2_2": 1_849_688_064,
        "conv3_1": 924_844_032,
        "conv3_2": 1_849_688_064,
        "conv3_3": 1_849_688_064,
        "conv4_1": 924_844_032,
        "conv4_2": 1_849_688_064,
        "conv4_3": 1_849_688_064,
        "conv5_1": 462_422_016,
        "conv5_2": 462_422_016,
        "conv5_3": 462_422_016,
    },
}


def checked(workload: object, machine: str, flow: str, **options: object) -> Result:
    """A run whose every row was computed, compared and found right."""
    arch, overrides, _ = MACHINES[machine]
    result = acc.simulate(workload, arch, flow, overrides=overrides, check=True, **options)
    assert not result.failures, "\n".join(result.failures)
    assert result.bit_exact is True and all(r["bit_exact"] is True for r in result.records())
    return result


def matrix(workload: str, machine: str, flow: str, layers: tuple[str, ...] = ()) -> None:
    want = {name: MACS[workload][name] for name in layers or MACS[workload]}
    rows = checked(workload, machine, flow, layers=list(want)).records()
    assert {r["layer"]: r["macs"] for r in rows} == want and len(rows) == len(want)
    for r in rows:
        assert (
            r["dataflow"] == flow
            and 0 < r["utilization"] <= r["mapping_efficiency"] <= 1
            and r["cycles"] >= r["compute_cycles"] > 0
        )


@cells
def test_lenet5(machine, flow):
    matrix("lenet5", machine, flow)


@pytest.mark.parametrize(("machine", "flow"), [("eyeriss", "rs"), ("systolic 16x16", "ws")])
def test_some_of_alexnet(machine, flow):
    matrix("alexnet", machine, flow, ("conv1", "conv5"))


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["alexnet", "vgg16"])
@cells
def test_large_networks(machine, flow, workload):
    matrix(workload, machine, flow)


# Layers of every odd kind.  E and F are worked out here, not taken from the layer.
ODD = {
    "depthwise": (
        acc.Conv2d(M=1, C=1, H=15, W=13, R=3, S=3, padding=1, groups=24),
        24 * 15 * 13 * 9,
    ),
    "pointwise": (acc.Conv2d(M=20, C=37, H=9, W=11, R=1, S=1), 20 * 37 * 9 * 11),
    "dilated": (
        acc.Conv2d(M=10, C=5, H=19, W=23, R=3, S=4, dilation=(2, 3), padding=2),
        10 * 5 * 19 * 18 * 12,
    ),
    "padded unevenly": (
        acc.Conv2d(M=6, C=7, H=12, W=10, R=4, S=3, padding=(2, 0, 0, 3)),
        6 * 7 * 11 * 11 * 12,
    ),
    "stride above filter": (
        acc.Conv2d(M=9, C=4, H=26, W=23, R=2, S=3, stride=(5, 4)),
        9 * 4 * 5 * 6 * 6,
    ),
    "padding above filter": (
        acc.Conv2d(M=3, C=2, H=4, W=4, R=2, S=2, padding=3),
        3 * 2 * 9 * 9 * 4,
    ),
    "taller than the array": (
        acc.Conv2d(M=3, C=2, H=40, W=33, R=31, S=29, stride=3),
        3 * 2 * 4 * 2 * 31 * 29,
    ),
    "one MAC": (acc.Conv2d(M=1, C=1, H=1, W=1, R=1, S=1), 1),
    "one pixel": (acc.Conv2d(M=70, C=33, H=3, W=3, R=3, S=3, bias=True), 70 * 33 * 9),
    "two groups and a bias": (
        acc.Conv2d(M=9, C=5, H=11, W=9, R=5, S=3, groups=2, padding=(2, 1), bias=True),
        2 * 9 * 5 * 11 * 9 * 15,
    ),
    "a linear layer": (acc.Linear(M=131, C=67, bias=True), 131 * 67),
    "a matrix product": (acc.Gemm(m=31, k=45, n=53), 31 * 45 * 53),
}
ON_EVERYTHING = [c for c in CELLS if c[0] in ("eyeriss", "systolic 16x16", "systolic 7x5")] + [
    ("eyeriss", "is")
]


SOME_CELLS = [c for c in ON_EVERYTHING if c[0] == "systolic 7x5"]
SOME_CELLS += [("eyeriss", "rs"), ("eyeriss", "is")]


@pytest.mark.parametrize("batch", slow_but([2], (1, 2, 3)))
@pytest.mark.parametrize("layer", ODD, ids=lambda x: x.replace(" ", "_"))
@pytest.mark.parametrize(
    ("machine", "flow"),
    slow_but(SOME_CELLS, ON_EVERYTHING),
    ids=lambda x: x.replace(" ", "_"),
)
def test_odd_layers(machine, flow, layer, batch):
    shape, macs = ODD[layer]
    (row,) = checked(shape, machine, flow, batch=batch).records()
    assert row["macs"] == macs * batch


@pytest.mark.parametrize("direction", ["grad_weight", "grad_input"])
@pytest.mark.parametrize(
    ("machine", "flow"),
    slow_but([("eyeriss", "os"), ("systolic 7x5", "is"), ("tpu_v1", "ws")], CELLS),
    ids=lambda x: x.replace(" ", "_"),
)
def test_the_other_directions(machine, flow, direction):
    for layer in ("dilated", "stride above filter", "two groups and a bias"):
        shape, macs = ODD[layer]
        if (machine, direction) == (
            "tpu_v1",
            "grad_weight",
        ):  # its registers have 8 bits, and these sums 32
            arch, overrides, _ = MACHINES[machine]
            (why,) = acc.simulate(
                shape, arch, flow, overrides=overrides, direction=direction, check=True
            ).failures
            assert "reg: weight 4 bytes exceed its 1 by 3" in why
        else:
            (row,) = checked(shape, machine, flow, direction=direction, batch=2).records()
            assert row["macs"] == 2 * macs


ALEXNET = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


@pytest.mark.parametrize(
    ("layers", "macs"),
    slow_but([(("conv5",), 74_760_192)], [(("conv5",), 74_760_192), (ALEXNET, 724_406_816)]),
)
def test_the_command(layers, macs):
    chosen = [word for name in layers for word in ("--layer", name)]
    done = shell(
        *("run", "alexnet", "--arch", "eyeriss", "--dataflow", "ws,os,rs", *chosen),
        *("--check", "--format", "json"),
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == 3 * len(layers)
    assert all(r["bit_exact"] is True and r["error"] is None for r in rows)
    for flow in ("ws", "os", "rs"):
        mine = [r for r in rows if r["dataflow"] == flow]
        assert [r["layer"] for r in mine] == list(layers)
        assert sum(r["macs"] for r in mine) == macs


@pytest.mark.parametrize("name", shipped_names("dataflows"))
def test_every_shipped_dataflow(name: str) -> None:
    """Whatever lies in ``dataflows/`` runs on some architecture, bit-exact and counted alike."""
    shape = acc.Conv2d(name="conv", M=5, C=3, H=7, W=6, R=3, S=2, padding=1)
    results = [
        acc.simulate(shape, arch, name, check=True) for arch in shipped_names("architectures")
    ]
    runs = [result for result in results if result.rows[0].nest is not None]
    assert runs and all(result.bit_exact and not result.failures for result in runs)


# Groups side by side ------------------------------------------------------------------------------

# An array like systolic's whose words come by buses, so that every PE can have a pixel of its own.
BUSES = {"networks.lines.streamed": "multicast"}


@pytest.mark.parametrize("engine", ["event", "cycle"])
@pytest.mark.parametrize("flow", ["osg", "wsg"])
def test_depthwise_layers_fill_the_array(flow: str, engine: str) -> None:
    """3x3 on 20 channels: 16 pixels or the 9 words of a filter down, 16 groups across; ws has 9
    PEs.  A dense layer is what os or ws makes of it.
    """
    size = {"H": 10, "W": 9, "R": 3, "S": 3, "padding": 1}
    deep = acc.Conv2d(name="deep", M=1, C=1, groups=20, **size)
    dense = acc.Conv2d(name="dense", M=6, C=3, **size)
    options = {"overrides": BUSES, "engine": engine, "check": True, "tiles": "rule"}
    result = acc.simulate([deep, dense], "systolic", f"{flow},{flow[:2]}", **options)
    assert result.bit_exact and not result.failures
    across, dense_across, alone, dense_alone = result.records()
    assert across["active_pes"] == {"osg": 16 * 16, "wsg": 9 * 16}[flow]
    assert alone["active_pes"] == {"osg": 16, "wsg": 9}[flow]
    # 20 groups are a full and a short row of 16.
    steps = {"osg": 2 * 6 * 9, "wsg": 2 * 90}[flow]
    assert across["compute_cycles"] == steps and alone["compute_cycles"] == steps * 10
    named = ("dataflow", "mapping")
    assert {k: v for k, v in dense_across.items() if k not in named} == {
        k: v for k, v in dense_alone.items() if k not in named
    }


@pytest.mark.parametrize("seed", slow_but(range(4), range(12)))
def test_random_groups_side_by_side(seed: int) -> None:
    """Every engine, on layers of any groups, filters and channels."""
    rng = random.Random(seed)
    layer = acc.Conv2d(
        name="conv", M=rng.randint(1, 3), C=rng.randint(1, 3), groups=rng.randint(2, 9),
        H=rng.randint(3, 7), W=rng.randint(3, 7), R=rng.randint(1, 3), S=rng.randint(1, 3),
        stride=rng.randint(1, 2), padding=rng.randint(0, 1),
    )  # fmt: skip
    arch = rng.choice([("systolic", BUSES), ("eyeriss", {"bits.psum": 32})])
    sides = {"array.rows": rng.randint(2, 6), "array.cols": rng.randint(2, 6)}
    for engine in ("event", "cycle"):
        result = acc.simulate(
            layer, arch[0], "osg,wsg", overrides=arch[1] | sides, engine=engine, check=True,
            batch=rng.randint(1, 2), tiles="rule",
        )  # fmt: skip
        assert result.bit_exact and not result.failures, result.failures


def test_systolic_lines_have_no_pixel_for_each_group() -> None:
    """One word travels along a line, so groups cannot share it; a layer without groups runs."""
    layers = [
        acc.Conv2d(name=n, M=2, C=1, H=5, W=5, R=3, S=3, groups=g) for n, g in (("a", 1), ("b", 4))
    ]
    one, four = acc.simulate(layers, "systolic", "osg", check=True, tiles="rule").rows
    assert one.error is None and one.columns["bit_exact"]
    assert "has no line to travel" in str(four.error)
    best, same = acc.simulate(layers[0], "systolic", "osg,os", check=True).records()
    assert best["bit_exact"] and not best["error"]
    assert (best["cycles"], best["energy_pj"]) == (same["cycles"], same["energy_pj"])
