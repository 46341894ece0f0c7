"""Energy and area: the tables and their sources, what sizes and distances do to them, and sums that
add up.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nests import random_nest

import accelsim
from accelsim.base.shipped import shipped_names
from accelsim.engines import analytic, moved
from accelsim.engines.moved import Moved
from accelsim.hardware import energy
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.hardware.energy import constant, curve, numbers, prices
from accelsim.mapping.mapping import Mapping
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import TENSORS, Problem

TABLES = ("eyeriss", "horowitz45")
PRESETS = shipped_names("architectures")
CURVES = sorted({(t, n.quantity) for t in TABLES for n in numbers(t) if n.at is not None})
CAPACITIES = st.integers(1, 2**32)

OWN = {
    "name": "own",
    "clock_mhz": 100.0,
    "array": {"rows": 2, "cols": 2},
    "bits": {"weight": 8, "ifmap": 8, "psum": 32, "ofmap": 8},
    "levels": {"dram": {}, "glb": {"capacity_bytes": 4096}, "rf": {"capacity_bytes": 64}},
    "networks": {"link": {"below": "dram"}, "noc": {"below": "glb"}},
    "energy": {
        "table": "own",
        "unit": "pj",
        "mac": 0.5,
        "levels": {"dram": 300.0, "glb": 7.0, "rf": 0.25},
        "networks": {"link": 11.0, "noc": 3.0},
        "static_mw": 2.0,
        "area_um2": {"compute": 1000.0, "glb": 5000.0},
    },
}
FOUR_LOOPS = "M:1:dram C:1:glb:row E:1:rf"


def own(**energy: Any) -> Architecture:
    return Architecture.model_validate(OWN | {"energy": OWN["energy"] | energy})


def small_nest(arch: Architecture, loops: str = FOUR_LOOPS) -> Nest:
    problem = Problem(N=1, G=1, M=3, C=2, E=4, F=1, R=1, S=1, H=4, W=1)
    return Nest(problem, arch, Mapping(loops=loops, keep=dict.fromkeys(arch.level_names, TENSORS)))


def energy_of(
    nest: Nest, moves: dict[Any, Moved] | None = None, time_s: Any = 1e-6
) -> dict[str, Any]:
    return moved.energy(
        nest, analytic.moves(nest) if moves is None else moves, nest.problem.macs, time_s
    )


# The tables ---------------------------------------------------------------------------------------


def test_every_table_is_read() -> None:
    assert sorted(p.stem for p in energy.TABLES.iterdir()) == sorted(TABLES)
    assert Path(accelsim.__file__).parent in energy.TABLES.parents, (
        "or the wheel would not carry it"
    )


@pytest.mark.parametrize(
    "number", [n for t in TABLES for n in numbers(t)], ids=lambda n: f"{n.quantity}-{n.at}"
)
def test_every_number_has_a_source_and_a_status(number: energy.PricedNumber) -> None:
    assert number.value > 0
    assert number.status in ("published", "derived", "estimate")
    assert len(number.source) > 20 and number.unit
    assert number.how or number.status == "published", "say how it was derived or estimated"
    assert (number.at is None) == (not number.at_unit)


@pytest.mark.parametrize(("table", "quantity"), CURVES)
def test_points_are_met_exactly_and_lines_are_straight_between_them(
    table: str, quantity: str
) -> None:
    points = curve(table, quantity)
    for a in points.points:
        assert points.at(a.at or 0) == a.value
    for a, b in zip(points.points, points.points[1:], strict=False):
        assert points.at(sqrt((a.at or 0) * (b.at or 0))) == pytest.approx(sqrt(a.value * b.value))


def test_the_published_points() -> None:
    """Horowitz, ISSCC 2014; Chen, Emer, Sze, ISCA 2016."""
    for quantity, points in {
        "add_pj": {8: 0.03, 32: 0.1},
        "mult_pj": {8: 0.2, 32: 3.1},
        "access_pj": {8192: 10, 32768: 20, 2**20: 100},
    }.items():
        for x, value in points.items():
            assert curve("horowitz45", quantity).at(x) == value
            assert curve("horowitz45", quantity).doubt(x, between=False) is None
    assert [constant("eyeriss", q).value for q in ("mac", "rf", "hop", "buffer", "dram")] == [
        1,
        1,
        2,
        6,
        200,
    ]
    per_byte = {
        2: 103.47,
        4: 172.07,
        8: 177.07,
        16: 169.89,
        32: 96.06,
        64: 59.15,
        128: 39.94,
        256: 27.48,
        512: 20.87,
    }
    for x, value in (
        per_byte | {1024: 16.14, 2048: 13.89, 4096: 12.7, 5000: 12.7, 10**8: 12.7}
    ).items():
        assert curve("eyeriss", "um2_per_byte").at(x) == pytest.approx(value, rel=1e-15)


def test_the_derived_numbers_are_what_they_say() -> None:
    access = curve("horowitz45", "access_pj")
    assert access.at(512) == pytest.approx(access.at(102400) / 6, rel=1e-6)
    assert access.at(1) == pytest.approx(64 * 8.999495e-3, rel=1e-6)
    assert constant("horowitz45", "dram_pj").value == (1300 + 2600) / 2
    assert constant("horowitz45", "wire_pj").value == pytest.approx(310 / 256 / 10, rel=1e-5)
    assert constant("horowitz45", "static_mw").value == pytest.approx(
        7.395312e-5 / (5.981433 / 1e6), rel=1e-5
    )
    assert constant("horowitz45", "shrink").value == pytest.approx((45 / 65) ** 2, rel=1e-5)
    assert constant("eyeriss", "mac_um2").value == pytest.approx(0.074 * 12.25e6 / 168, rel=1e-5)


def test_what_is_beyond_the_points_follows_the_last_line_and_is_flagged() -> None:
    access = curve("horowitz45", "access_pj")
    assert access.at(2**21) == pytest.approx(100 * 2 ** (log(5) / log(32)))
    assert access.doubt(2**21) == "access_pj at 2097152 byte: extrapolated, known from 1 to 1048576"
    assert access.doubt(100_000) is None
    assert access.doubt(100) == "access_pj at 100 byte: derived, on the line from 1 to 512"
    assert access.doubt(512) == "access_pj at 512 byte: derived"
    mult = curve("horowitz45", "mult_pj")
    assert mult.at(16) == pytest.approx(sqrt(0.2 * 3.1))
    assert mult.doubt(16, between=False) == "mult_pj at 16 bit: interpolated between 8 and 32"
    assert "extrapolated" in (mult.doubt(4) or "")


# Sizes and distances ------------------------------------------------------------------------------


@given(CAPACITIES, CAPACITIES)
def test_a_larger_store_costs_more_an_access_and_more_area(one: int, other: int) -> None:
    small, large = sorted((one, other))
    if small == large:
        return
    access, per_byte = curve("horowitz45", "access_pj"), curve("eyeriss", "um2_per_byte")
    assert access.at(small) < access.at(large)
    assert small * per_byte.at(small) < large * per_byte.at(large)


@pytest.mark.parametrize("key", ["levels.sram.capacity_bytes", "levels.reg.capacity_bytes"])
@pytest.mark.parametrize("sizes", [(4, 5), (511, 513), (4096, 8192), (2**20, 2**24)], ids=str)
def test_a_larger_buffer_is_never_free(key: str, sizes: tuple[int, int]) -> None:
    level = key.split(".")[1]
    small, large = (prices(load_architecture("systolic", {key: size})) for size in sizes)
    for t in TENSORS:
        assert small.levels[level][t].of(8) < large.levels[level][t].of(8)
    assert small.area_um2[level] < large.area_um2[level]
    assert small.static_mw < large.static_mw
    assert small.networks["lines"].run.of(8) < large.networks["lines"].run.of(8)


@pytest.mark.parametrize("axis", ["rows", "cols"])
@pytest.mark.parametrize(
    ("name", "network"),
    [("eyeriss", "noc"), ("systolic", "lines"), ("tpu_v1", "lines"), ("scalesim", "lines")],
)
def test_a_larger_array_costs_more_network_energy_and_area(
    name: str, network: str, axis: str
) -> None:
    table = {"energy.table": "horowitz45"}
    base = load_architecture(name, table)
    wide = load_architecture(name, table | {f"array.{axis}": 2 * getattr(base.array, axis)})
    small, large = prices(base), prices(wide)
    assert small.networks[network].run.of(16) < large.networks[network].run.of(16)
    assert sum(small.area_um2.values()) < sum(large.area_um2.values())


def test_the_same_mapping_on_a_larger_array_costs_more_network_energy() -> None:
    arrays = [
        OWN | {"energy": {"table": "horowitz45"}, "array": {"rows": n, "cols": 2}}
        for n in (2, 4, 64)
    ]
    spent = [energy_of(small_nest(Architecture.model_validate(a))) for a in arrays]
    assert spent[0]["energy_noc_pj"] < spent[1]["energy_noc_pj"] < spent[2]["energy_noc_pj"]
    assert spent[0]["energy_glb_pj"] == spent[2]["energy_glb_pj"]


def test_the_horowitz_formulas_by_hand() -> None:
    arch = load_architecture("systolic", {"levels.sram.capacity_bytes": 32768})
    p = prices(arch)
    assert p.mac == pytest.approx(0.2 + 0.1)
    assert p.levels["sram"]["weight"].of(8) == pytest.approx(20 / 8)
    assert p.levels["sram"]["ofmap"].of(32) == pytest.approx(20 / 2)
    assert p.levels["dram"]["ifmap"].of(64) == pytest.approx(1950)
    shrink, wire = constant("horowitz45", "shrink").value, constant("horowitz45", "wire_pj").value
    sram, reg = 32768 * 12.7 * shrink, 4 * 172.07 * shrink
    assert p.area_um2 == pytest.approx(
        {"compute": 256 * (282 + 137), "sram": sram, "reg": 256 * reg}
    )
    pitch = sqrt(282 + 137 + reg) / 1000
    assert p.networks["lines"].hop.of(8) == pytest.approx(8 * wire * pitch)
    assert p.networks["lines"].run.of(8) == pytest.approx(
        8 * wire * (sqrt(sram) / 2000 + (16 + 16) / 4 * pitch)
    )
    assert p.networks["link"].run.of(8) == pytest.approx(8 * wire * sqrt(sram) / 2000)
    assert p.networks["link"].hop.of(8) == 0
    assert p.static_mw == pytest.approx(
        constant("horowitz45", "static_mw").value * sum(p.area_um2.values()) / 1e6
    )


def test_numbers_given_in_the_architecture_replace_the_table() -> None:
    given_numbers = {"dram_pj_per_bit": 4.0, "wire_pj_per_bit_mm": 0.0, "static_mw_per_mm2": 0.0}
    p = prices(load_architecture("systolic", {f"energy.{k}": v for k, v in given_numbers.items()}))
    assert p.levels["dram"]["weight"].of(8) == 32
    assert p.networks["lines"].run.of(8) == p.networks["lines"].hop.of(8) == p.static_mw == 0
    assert not any(word in note for note in p.notes for word in ("dram_pj", "wire_pj", "static_mw"))
    row = accelsim.simulate(
        "lenet5", "systolic", "ws", layers=["conv1"], overrides={"energy.static_mw_per_mm2": 0.0}
    ).records()[0]
    assert "energy_static_pj" not in row and row["energy_pj"] > 0


def test_every_partition_costs_by_its_own_size() -> None:
    levels = prices(load_architecture("eyeriss", {"energy.table": "horowitz45"})).levels
    spad = [levels["spad"][t].of(16) for t in ("ifmap", "ofmap", "weight")]
    assert spad == sorted(spad) and len(set(spad)) == 3
    assert levels["glb"]["weight"].of(64) == 10, "8 KB apart"
    assert (
        levels["glb"]["ifmap"].of(64)
        == levels["glb"]["ofmap"].of(64)
        == pytest.approx(curve("horowitz45", "access_pj").at(102400))
    )


def test_extrapolation_and_assumptions_are_noted() -> None:
    notes = prices(load_architecture("tpu_v1")).notes
    assert "ub: access_pj at 25165824 byte: extrapolated, known from 1 to 1048576" in notes
    assert "reg: um2_per_byte at 1 byte: extrapolated, known from 2 to 1073741824" in notes
    assert any(n.startswith("static_mw") and "estimate" in n for n in notes)
    assert not any("extrapolated" in n for n in prices(load_architecture("systolic")).notes)
    notes = prices(load_architecture("eyeriss", {"energy.table": "horowitz45"})).notes
    assert "compute: mult_pj at 16 bit: interpolated between 8 and 32" in notes
    scalesim = load_architecture("scalesim")
    assert not any("no capacity" in n for n in prices(scalesim).notes)
    unbounded = prices(
        load_architecture(
            "scalesim", {"levels.sram.priced_bytes": None, "levels.reg.capacity_bytes": None}
        )
    )
    assert (
        "sram: no capacity, assumed to cost as much as 1048576 bytes (levels.sram.priced_bytes)"
        in unbounded.notes
    )
    assert (
        "reg: no capacity, assumed to cost as much as 512 bytes (levels.reg.priced_bytes)"
        in unbounded.notes
    )
    assert unbounded.levels["sram"]["weight"].of(64) == 100


# The relative table and the user's own ------------------------------------------------------------


def test_relative_costs_go_by_role_whatever_the_size() -> None:
    for overrides in ({}, {"levels.glb.capacity_bytes": 25 * 2**16, "array.rows": 64}):
        p = prices(load_architecture("eyeriss", overrides))
        assert (p.unit, p.mac, p.static_mw) == ("mac", 1, 0)
        assert {name: cost["ifmap"].of(16) for name, cost in p.levels.items()} == {
            "dram": 200,
            "glb": 6,
            "spad": 1,
        }
        assert {name: (r.run.of(16), r.hop.of(16)) for name, r in p.networks.items()} == {
            "link": (0, 0),
            "noc": (0, 2),
        }
    tpu = prices(load_architecture("tpu_v1", {"energy.table": "eyeriss"}))
    assert {name: cost["ifmap"].of(8) for name, cost in tpu.levels.items()} == {
        "dram": 200,
        "ub": 6,
        "acc": 6,
        "reg": 1,
    }
    assert {name: r.hop.of(8) for name, r in tpu.networks.items()} == {
        "link": 0,
        "bus": 0,
        "lines": 2,
    }


def test_pes_without_a_store() -> None:
    """A network below the innermost level: that is a buffer, and the PEs have no register file."""
    for table in TABLES:
        bare = OWN | {
            "energy": {"table": table},
            "networks": OWN["networks"] | {"wires": {"below": "rf"}},
        }  # type: ignore[operator]
        arch = Architecture.model_validate(bare)
        assert arch.level_in_pe is None
        p = prices(arch)
        assert p.networks["wires"].hop.of(8) > 0 == p.networks["noc"].hop.of(8)
        if table == "eyeriss":
            assert p.levels["rf"]["weight"].of(8) == 6
        else:
            assert p.area_um2["rf"] == pytest.approx(
                64 * 59.15 * constant("horowitz45", "shrink").value
            ), "one, not one a PE"


@pytest.mark.parametrize("accumulate", ["at_level", "in_array"])
def test_the_users_own_numbers(accumulate: str) -> None:
    nest = small_nest(
        own().model_copy(update={"accumulate": accumulate}), "C:1:dram M:1:glb E:2:glb:row E:1:rf"
    )
    spent, moves = energy_of(nest), analytic.moves(nest)
    column = moved.columns(nest, moves)
    for level, each in OWN["energy"]["levels"].items():  # type: ignore[index]
        words = sum(
            v
            for k, v in column.items()
            if k.startswith(f"{level}_") and k.endswith(("_reads", "_writes"))
        )
        assert spent[f"energy_{level}_pj"] == pytest.approx(each * words)
    for net, each in OWN["energy"]["networks"].items():  # type: ignore[index]
        words = sum(v for k, v in column.items() if k.startswith(f"{net}_"))
        assert spent[f"energy_{net}_pj"] == pytest.approx(each * words)
    assert column["glb_ofmap_reads"] > column["glb_ofmap_writes"] / 2, "psums come back"
    assert spent["energy_compute_pj"] == 0.5 * nest.problem.macs
    assert spent["energy_static_pj"] == pytest.approx(2.0e-3 * 1e-6 * 1e12)
    assert (spent["area_um2"], spent["area_compute_um2"], spent["area_glb_um2"]) == (
        6000,
        1000,
        5000,
    )
    assert energy_of(small_nest(own(area_um2={})))["area_um2"] is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unit": "mac"}, "energy.static_mw: static power wants unit: pj"),
        ({"levels": {"dram": 1.0}}, "energy.levels: must name exactly dram, glb, rf, got dram"),
        ({"area_um2": {"noc": 1.0}}, "energy.area_um2.noc: no such component"),
        ({"table": "horowitz"}, "table: must be one of eyeriss, horowitz45, own, got horowitz"),
        ({"table": "eyeriss"}, "unit: belongs to table own, but the table is eyeriss"),
        ({"mac": -1.0}, "greater than or equal to 0"),
    ],
)
def test_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        own(**change)


@pytest.mark.parametrize("taken", ["static", "compute", "weight", "link"])
def test_names_that_would_stand_twice_in_the_columns(taken: str) -> None:
    levels = {"dram": {}, taken: {}}
    with pytest.raises(ValueError, match=f"levels.{taken}: the name is taken"):
        Architecture.model_validate(
            OWN
            | {
                "levels": levels,
                "networks": {"link": {"below": "dram"}},
                "energy": {"table": "eyeriss"},
            }
        )


# What is charged ----------------------------------------------------------------------------------


def test_reads_are_the_equations_of_isca_2016() -> None:
    """Eq. 3: input a DRAM + ab buf + abc array + abcd RF; eq. 4: psum (2a-1) DRAM + 2a(b-1) buf +
    ab(c-1) array + 2abc(d-1) RF.
    """
    a, b, c, d, words = 2, 3, 5, 7, 10
    operand = [
        Moved(taken=a, read=a),
        Moved(taken=a * b * c, read=a * b),
        Moved(taken=a * b * c * d, read=a * b * c * d),
    ]
    psum = [
        Moved(drained=a, arrived=a, updated=a - 1),
        Moved(drained=a * b * c, arrived=a * b, updated=a * (b - 1)),
        Moved(drained=a * b * c * d, arrived=a * b * c * d, updated=a * b * c * (d - 1)),
    ]
    arch = load_architecture("eyeriss", {"energy.charge": "reads"})
    nest = small_nest(arch, "M:1:dram C:1:glb:row E:1:spad")
    moves = {}
    for boundary in nest.boundaries:
        m = {"ifmap": operand, "ofmap": psum}.get(boundary.tensor, [Moved()] * 3)[boundary.parent]
        moves[boundary] = replace(m, **{k: v * words for k, v in vars(m).items()})
    spent = energy_of(nest, moves)
    assert spent["energy_ifmap_mac"] == words * (
        a * 200 + a * b * 6 + a * b * c * 2 + a * b * c * d
    )
    assert spent["energy_ofmap_mac"] == words * (
        (2 * a - 1) * 200 + 2 * a * (b - 1) * 6 + a * b * (c - 1) * 2 + 2 * a * b * c * (d - 1)
    )
    assert spent["energy_weight_mac"] == 0


def test_reads_never_charge_more_than_reads_and_writes() -> None:
    for name in PRESETS:
        for table in TABLES:
            few, all_ = (
                accelsim.simulate(
                    "lenet5",
                    name,
                    "ws,os",
                    tiles="rule",  # the best tiles follow the charge
                    overrides={"energy.table": table, "energy.charge": charge},
                ).records()
                for charge in ("reads", "reads_and_writes")
            )
            for r, w in zip(few, all_, strict=True):
                for key in (k for k in r if k.startswith("energy_") and not r["error"]):
                    assert r[key] <= w[key] * (1 + 1e-12), key


def test_a_word_costs_by_its_width() -> None:
    """Psums are 32 bits at the rf and the glb, outputs 8 bits at the DRAM, where no addition is
    left to do.
    """
    arch = Architecture.model_validate(OWN | {"energy": {"table": "horowitz45"}})
    nest, p = small_nest(arch), prices(arch)
    moves = {
        b: Moved(arrived=1, drained=1) if b.tensor == "ofmap" and b.parent == 0 else Moved()
        for b in nest.boundaries
    }
    spent = energy_of(nest, moves)
    assert nest.footprint.word_bits(0, "ofmap") == 8
    assert spent["energy_dram_pj"] == p.levels["dram"]["ofmap"].of(8)
    assert spent["energy_glb_pj"] == p.levels["glb"]["ofmap"].of(
        nest.footprint.word_bits(1, "ofmap")
    )
    assert spent["energy_link_pj"] == p.networks["link"].run.of(8)


# Sums and columns ---------------------------------------------------------------------------------


def parts(record: dict[str, Any], arch: Architecture) -> tuple[float, float]:
    """The sum over components and the sum over compute, static and tensors."""
    unit = arch.energy.unit

    def add(names: tuple[str, ...]) -> float:
        return sum(record.get(f"energy_{n}_{unit}", 0.0) for n in names)

    shared = add(("compute", "static"))
    return shared + add((*arch.level_names, *arch.networks)), shared + add(TENSORS)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", PRESETS)
def test_columns_of_every_preset_under_every_table(name: str, table: str) -> None:
    overrides = {"energy.table": table}
    result, arch = (
        accelsim.simulate("lenet5", name, "ws,os", overrides=overrides),
        load_architecture(name, overrides),
    )
    unit = arch.energy.unit
    area = next(row.columns["area_um2"] for row in result.rows if not row.error)
    for row in (
        r for r in result.records(total=True) if r["cycles"] is not None
    ):  # os does not fit tpu_v1, nor ws shidiannao
        assert parts(row, arch) == pytest.approx((row[f"energy_{unit}"],) * 2, rel=1e-12)
        assert all(k.endswith(f"_{unit}") for k in row if k.startswith("energy_"))
        assert row["area_um2"] == pytest.approx(
            sum(v for k, v in row.items() if k.startswith("area_") and k != "area_um2")
        )
        assert row["area_um2"] == area > 0, "not summed over layers"
        if unit == "pj":
            assert row["power_mw"] == pytest.approx(row["energy_pj"] * 1e-12 / row["time_s"] * 1e3)
            assert row["gmacs_per_w"] == pytest.approx(row["gmacs_per_s"] / (row["power_mw"] / 1e3))
            assert row["energy_static_pj"] > 0
        else:
            assert not {"power_mw", "gmacs_per_w"} & set(row)
    order = list(result.records()[0])
    assert (
        order.index("time_s")
        < order.index(f"energy_{unit}")
        < order.index("area_um2")
        < order.index("bit_exact")
    )


@pytest.mark.parametrize("seed", range(20))
def test_components_and_tensors_add_up_on_random_nests(seed: int) -> None:
    """All directions, two to four levels, every kind of network, both charges."""
    rng = random.Random(seed)
    for _ in range(5):
        nest = random_nest(rng, most=200)
        numbers_of = {n: rng.uniform(0, 100) for n in (*nest.arch.levels, *nest.arch.networks)}
        changed = nest.arch.model_dump() | {
            "energy": {
                "unit": "pj",
                "charge": rng.choice(("reads", "reads_and_writes")),
                "mac": rng.random(),
                "levels": {n: numbers_of[n] for n in nest.arch.levels},
                "networks": {n: numbers_of[n] for n in nest.arch.networks},
                "static_mw": rng.random(),
            }
        }
        priced = Nest(nest.problem, Architecture.model_validate(changed), nest.mapping)
        spent = energy_of(priced)
        assert parts(spent, priced.arch) == pytest.approx((spent["energy_pj"],) * 2, rel=1e-12)
        assert all(v >= 0 for k, v in spent.items() if k.startswith("energy_"))


def test_counts_may_be_arrays_over_mappings() -> None:
    nest = small_nest(Architecture.model_validate(OWN | {"energy": {"table": "horowitz45"}}))
    moves = analytic.moves(nest)
    scale = np.array([1, 2, 3])
    many = {b: Moved(**{k: v * scale for k, v in vars(m).items()}) for b, m in moves.items()}
    spent = moved.energy(nest, many, nest.problem.macs * scale, 1e-6 * scale)
    once = energy_of(nest)
    for key, value in once.items():
        if key.startswith("energy_"):
            assert spent[key] == pytest.approx(value * scale)


def test_notes_are_in_the_json_and_under_the_table() -> None:
    result = accelsim.simulate("lenet5", "tpu_v1", "ws", layers=["conv1"])
    record = json.loads(result.to_json())[0]
    assert record["energy_notes"] == list(prices(load_architecture("tpu_v1")).notes)
    lines = str(result).splitlines()
    below = lines[
        next(i for i, line in enumerate(lines) if line.startswith("Energy and area:")) + 1 :
    ]
    assert [line.strip() for line in below] == record["energy_notes"]
    assert "extrapolated" in result._repr_html_()
    assert "Energy and area:" not in str(
        accelsim.simulate(accelsim.Conv2d(M=2, C=1, H=4, W=4, R=1, S=1), own(), "ws")
    )


def test_event_and_analytic_agree_on_energy() -> None:
    one, other = (
        accelsim.simulate("lenet5", "systolic", "ws", engine=e, layers=["conv1", "fc3"])
        for e in ("analytic", "event")
    )
    for a, b in zip(one.records(), other.records(), strict=True):
        for key in (k for k in a if k.startswith(("energy_", "area_", "power_"))):
            assert a[key] == pytest.approx(b[key]), key
