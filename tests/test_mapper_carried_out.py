"""What the mapper finds, executed with real data: outputs to the last bit, counts and energy as the
search promised.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from quick import slow_but

import accelsim as acc

MACHINES = {
    "eyeriss": ({"array.rows": 4, "array.cols": 3}, ("rs", "os", "nlr", "any")),
    "shidiannao": ({"array.rows": 3, "array.cols": 3}, ("osp",)),
    "systolic": ({"array.rows": 4, "array.cols": 3}, ("ws", "os", "is")),
    "tpu_v1": ({"array.rows": 4, "array.cols": 4}, ("ws",)),
}
OBJECTIVES = ("energy", "cycles", "edp", "dram", "energy*cycles^2")


def random_layer(
    rng: random.Random, directions: tuple[str, ...]
) -> tuple[acc.Conv2d, dict[str, Any]]:
    """A layer of at most some hundred MACs, with strides, padding, dilation and groups, and how it
    is run.
    """
    while True:
        r, s, u, d = (
            rng.choice((1, 2, 3)),
            rng.choice((1, 2, 3)),
            rng.choice((1, 2)),
            rng.choice((1, 1, 2)),
        )
        groups = rng.choice((1, 1, 2))
        try:
            layer = acc.Conv2d(
                M=groups * rng.choice((1, 2, 4)),
                C=groups * rng.choice((1, 2, 3)),
                H=rng.randint(3, 7),
                W=rng.randint(3, 7),
                R=r,
                S=s,
                stride=u,
                dilation=d,
                padding=rng.choice((0, 1)),
                groups=groups,
            )
        except ValueError:  # the filter is larger than the ifmap
            continue
        options = {"batch": rng.choice((1, 2)), "direction": rng.choice(directions)}
        problem = layer.directed(options["batch"], options["direction"])
        if 8 <= problem.macs <= 1500:
            return layer, options


def carried_out(seed: int) -> str:
    rng = random.Random(f"carried out {seed}")
    arch = list(MACHINES)[seed % len(MACHINES)]
    overrides, flows = MACHINES[arch]
    flow = flows[seed // len(MACHINES) % len(flows)]
    layer, options = random_layer(
        rng,
        ("forward", "grad_weight") if flow == "any" else ("forward", "grad_input", "grad_weight"),
    )
    tiles = "divisors" if flow == "any" else rng.choice(("divisors", "even", "all"))
    objective = rng.choice(OBJECTIVES)
    try:
        best = acc.map_layer(
            layer,
            arch,
            flow,
            objective=objective,
            tiles=tiles,
            overrides=overrides,
            limit=3,
            **options,
        )
    except acc.MappingError:
        return "no mapping"
    ours = best.result.rows[0].columns
    row = acc.simulate(
        layer,
        arch,
        mapping=best.mapping,
        engine="event",
        overrides=overrides,
        seed=seed,
        check=True,
        **options,
    ).rows[0]
    assert row.columns["error"] is None and row.columns["bit_exact"] is True, (
        layer,
        arch,
        flow,
        best.mapping,
    )
    exact = best.result.rows[0].provenance[
        "cycles_exact"
    ]  # where it is not, the closed form is a bound (docs/time.md)
    assert row.columns["cycles"] >= ours["cycles"] * (1 - 1e-12)
    for name, value in ours.items():
        if not exact and not name.endswith(("_reads", "_writes", "_deliveries", "_additions")):
            continue
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert row.columns[name] == pytest.approx(value, rel=1e-12), (
                name,
                layer,
                arch,
                flow,
                best.mapping,
            )
    assert best.certificate.bound <= best.certificate.value * (1 + 1e-9)
    if objective == "energy" and exact:
        unit = next(n for n in ours if n in ("energy_pj", "energy_mac"))
        promised = best.certificate.value
        assert row.columns[unit] == pytest.approx(promised, rel=1e-9)
    return "ok"


@pytest.mark.parametrize(
    ("first", "end", "least"), slow_but([(0, 6, 4)], [(0, 6, 4), (0, 24, 18), (24, 224, 120)])
)
def test_random_layers_machines_and_objectives(first: int, end: int, least: int) -> None:
    outcomes = [carried_out(seed) for seed in range(first, end)]
    assert outcomes.count("ok") >= least
