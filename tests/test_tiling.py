"""The fixed rule gives a legal mapping or says what stands against one; illegal mappings are
refused by the rule they break.
"""

from __future__ import annotations

import random
import re
from math import ceil, prod

import numpy as np
import oracle
import pytest
from nests import DIRECTIONS, as_oracle, random_nest
from quick import slow_but

import accelsim as acc
from accelsim.base.shipped import shipped_names
from accelsim.engines import analytic, event, golden
from accelsim.engines.analytic.array_time import array_time
from accelsim.mapping.mapping import FUSED
from accelsim.workload.arithmetic import random_data
from accelsim.workload.problem import DIMS, TENSORS, Problem

ARCHITECTURES = {n: acc.load_architecture(n) for n in shipped_names("architectures")}
DATAFLOWS = {n: acc.load_dataflow(n) for n in shipped_names("dataflows")}

# What the rule may say where it finds no mapping: which constraint, of what.
CONSTRAINTS = (
    r"{flow} does not fit {arch} even with tiles of one word: (array|{level}): .+",
    r"{flow} keeps {tensor} in the PE, but {arch}'s {level} may keep .+",
    r"{flow} loops [NGMCEFRS] nowhere, and the layer has [NGMCEFRS]=\d+",
    r"{tensor} is streamed over systolic lines but depends on the loops of both rows and columns; "
    r"it has no line to travel",
    r"array: the filter's R=\d+ rows do not fit \d+ rows of PEs at once, and {arch} does not fold "
    r"filters \(array.fold_filter\)",
)


def real_problem(rng: random.Random) -> Problem:
    """A layer of any size a network may have, and odd ones."""
    while True:
        size = {
            "N": rng.choice((1, 1, 1, 4, 16)),
            "G": rng.choice((1, 1, 2, 32)),
            "M": rng.choice((1, 3, 20, 64, 100, 512)),
            "C": rng.choice((1, 3, 13, 48, 256, 1000)),
            "E": rng.choice((1, 6, 7, 13, 55, 224)),
            "F": rng.choice((1, 7, 14, 57, 224)),
            "R": rng.choice((1, 1, 2, 3, 5, 11)),
            "S": rng.choice((1, 1, 3, 4, 7)),
        }
        stride = (rng.randint(1, 4), rng.randint(1, 4)) if rng.random() < 0.5 else (1, 1)
        dilation = (rng.randint(1, 3), rng.randint(1, 3)) if rng.random() < 0.3 else (1, 1)
        pads = tuple(rng.randint(0, 3) for _ in range(4))
        h = (size["E"] - 1) * stride[0] + dilation[0] * (size["R"] - 1) + 1 - pads[0] - pads[1]
        w = (size["F"] - 1) * stride[1] + dilation[1] * (size["S"] - 1) + 1 - pads[2] - pads[3]
        if h > 0 and w > 0:
            return Problem(
                **size,
                H=h,
                W=w,
                stride=stride,
                dilation=dilation,
                padding=pads,
                direction=rng.choice(DIRECTIONS),
            )  # type: ignore[arg-type]


def covers(nest: acc.Nest) -> None:
    """Every dimension's tiles shrink down to one MAC, and spatial loops fit the array."""
    mapping, problem, arch = nest.mapping, nest.problem, nest.arch
    for dim in DIMS:
        names = [dim, *(f for f, parts in mapping.fused.items() if dim in parts)]
        tiles = [x.tile for x in mapping.loops if x.dim == dim]
        assert tiles == sorted(tiles, reverse=True) and all(
            t <= problem.size[dim] for t in tiles
        ), (dim, tiles)
        inside = [x.tile for x in mapping.loops if x.dim in names]
        assert (inside or [problem.size[dim]])[-1] == 1, (dim, inside)
    for axis, have in (("row", arch.array.rows), ("col", arch.array.cols)):
        assert prod(x.trips for x in nest.loops if x.axis == axis) <= have


@pytest.mark.parametrize("flow", DATAFLOWS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_rule_maps_or_says_why_not(arch, flow):
    machine, dataflow = ARCHITECTURES[arch], DATAFLOWS[flow]
    words = {
        "flow": re.escape(dataflow.name),
        "arch": re.escape(machine.name),
        "level": "(" + "|".join(machine.level_names) + ")",
        "tensor": "(" + "|".join(TENSORS) + ")",
    }
    for seed in range(30):
        problem = real_problem(random.Random(f"{arch} {flow} {seed}"))
        try:
            mapping = acc.choose(problem, machine, dataflow)
        except acc.MappingError as error:
            assert any(re.fullmatch(c.format(**words), str(error)) for c in CONSTRAINTS), (
                f"seed {seed}: {problem}: {error}"
            )
            continue
        covers(acc.Nest(problem, machine, mapping))
        assert mapping == acc.choose(problem, machine, dataflow)
        assert set(mapping.keep[machine.level_names[-1]]) == set(dataflow.stays)


@pytest.mark.parametrize("every", slow_but([3], [3, 1]))
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_ships_together_maps_everything(arch, every):
    # Forward layers of every shipped workload under the dataflows of issue 2's matrix: nothing is
    # refused.  Equal layers, of which transformers have dozens, are one; a third of them is quick.
    workloads = map(acc.load_workload, shipped_names("workloads"))
    problems = list(
        dict.fromkeys(layer.problem() for workload in workloads for layer in workload.layers)
    )[::every]
    for flow in {
        "eyeriss": "ws os rs nlr is",
        "tpu_v1": "ws",
        "systolic": "ws os is",
        "scalesim": "ws os is",
    }.get(arch, "").split():
        dataflow = acc.load_dataflow(flow)
        for problem in problems:
            mapping = acc.choose(problem, ARCHITECTURES[arch], dataflow)
            covers(acc.Nest(problem, ARCHITECTURES[arch], mapping))


@pytest.mark.parametrize("array", [(16, 16), (7, 5), (1, 3)], ids=str)
def test_the_rule_fills_a_systolic_array(array):
    rows, cols = array
    machine = acc.load_architecture("systolic", {"array.rows": rows, "array.cols": cols})
    for seed in range(40):
        p = real_problem(random.Random(f"fill {seed}")).with_direction("forward")
        lengths = {"K": p.C * p.R * p.S, "X": p.N * p.E * p.F, "M": p.M}
        for flow, (down, along) in {"ws": "KM", "os": "XM", "is": "KX"}.items():
            nest = acc.Nest(p, machine, acc.choose(p, machine, acc.load_dataflow(flow)))
            used = [prod(x.trips for x in nest.loops if x.axis == axis) for axis in ("row", "col")]
            assert used == [min(rows, lengths[down]), min(cols, lengths[along])], (
                flow,
                p,
                nest.mapping,
            )


def test_more_room_never_means_smaller_tiles():
    problem = acc.Conv2d(M=64, C=32, H=58, W=58, R=3, S=3).problem()
    dram = []
    for kb in (4, 8, 16, 64, 256, 1024):
        keys = {"levels.sram.capacity_bytes": kb * 1024, "levels.sram.double_buffered": False}
        machine = acc.load_architecture("systolic", keys)
        nest = acc.Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow("ws")))
        assert sum(nest.footprint.tile_bytes(1, t) for t in TENSORS) <= kb * 1024
        moves = analytic.moves(nest)
        dram.append(
            sum(
                moves[b].read + moves[b].arrived + moves[b].updated
                for b in nest.boundaries
                if b.parent == 0
            )
        )
    assert dram == sorted(dram, reverse=True)


def test_the_largest_tile_is_exact():
    # What must fit a level, against sets of words built by the oracle, over all steps and
    # instances.
    for seed in range(150):
        nest = random_nest(random.Random(f"tile {seed}"), 200)
        space = oracle.Space(*as_oracle(nest))
        steps = list(space.steps())
        for level in range(1, nest.levels):
            settings = {
                tuple(space.setting(step, i)) for step in steps for i in space.instances(level)
            }
            for tensor in nest.keep[level]:
                tiles = [
                    space.tile(tensor, level, s, space.pieces(level, s)) or () for s in settings
                ]
                # a one-word register of pairs stays one word where every pair is padding
                most = max(map(len, tiles)) or (1 if nest.projection(tensor, level).pairs else 0)
                assert nest.footprint.tile_words(level, tensor) == most, (
                    seed,
                    level,
                    tensor,
                    nest.problem,
                    nest.mapping,
                )


# -- the published mapping of AlexNet CONV2 on Eyeriss ---------------------------------------------

PUBLISHED = (
    "G:1:dram M:64:dram N:1:dram C:2:dram M:16:glb F:1:glb "
    "E:14:glb:row R:1:glb:row E:1:glb:col M:1:spad C:1:spad S:1:spad"
)
EYERISS_KEEPS = {"dram": TENSORS, "glb": ("ifmap", "ofmap"), "spad": TENSORS}


def conv2(batch: int) -> Problem:
    return next(x for x in acc.load_workload("alexnet").layers if x.name == "conv2").problem(batch)


def test_published_conv2_on_eyeriss():
    eyeriss = ARCHITECTURES["eyeriss"]
    nest = acc.Nest(conv2(4), eyeriss, acc.Mapping(loops=PUBLISHED, keep=EYERISS_KEEPS))
    spad = nest.arch.level_names.index("spad")
    assert [nest.footprint.tile_words(spad, t) for t in ("weight", "ifmap", "ofmap")] == [
        160,
        10,
        16,
    ]
    assert nest.footprint.overflow() is None

    time = array_time(nest)
    assert time.active_pes == 5 * 27
    steps_a_pass = 16 * 27 * 2 * 5  # p filters, a row of F, q channels, a filter row
    assert steps_a_pass == 4320
    passes = 2 * 2 * 4 * 24 * 4  # G, M by 64, N, C by 2, M by 16
    assert time.compute == passes * steps_a_pass

    # rows 0 to 4 of sets of 14 and, stacked on them, 13 outputs: mixed radix of two loops on one
    # axis
    trips = {(x.dim, x.axis): x.trips for x in nest.loops if x.spatial}
    assert trips == {("E", "row"): 2, ("R", "row"): 5, ("E", "col"): 14}
    assert ceil(27 / 14) == 2


def test_published_conv2_computes_conv2():
    arch, problem = ARCHITECTURES["eyeriss"], conv2(1)
    nest = acc.Nest(problem, arch, acc.Mapping(loops=PUBLISHED, keep=EYERISS_KEEPS))
    data = random_data(problem, *(arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), 0)
    run = event.run(nest, data)
    assert np.array_equal(run.outputs, golden.accumulate(problem, data, arch.number("psum")))
    assert (
        run.active_pes == 135
        and run.compute_cycles == array_time(nest).compute
        and run.moves == analytic.moves(nest)
    )


# -- mappings that are refused ---------------------------------------------------------------------

EYERISS, SYSTOLIC = ARCHITECTURES["eyeriss"], ARCHITECTURES["systolic"]
SYSTOLIC_WS = {"dram": TENSORS, "sram": TENSORS, "reg": ("weight",)}
SMALL = acc.Conv2d(M=4, C=6, H=9, W=9, R=3, S=3).problem()
CUT = "M:1:dram C:1:dram E:1:dram F:1:dram R:1:dram S:1:dram"

REFUSED = {
    "too many rows": (
        acc.Conv2d(M=1, C=13, H=1, W=1, R=1, S=1).problem(),
        EYERISS,
        "C:1:glb:row",
        EYERISS_KEEPS,
        r"array: row loops C\(13\) need 13 rows, eyeriss has 12",
    ),
    "too many rows together": (
        SMALL,
        EYERISS,
        "M:1:dram F:1:dram C:1:glb:row R:1:glb:row E:1:glb:col S:1:spad",
        EYERISS_KEEPS,
        r"array: row loops C\(6\) R\(3\) need 18 rows, eyeriss has 12",
    ),
    "too many columns": (
        acc.Conv2d(M=17, C=1, H=1, W=1, R=1, S=1).problem(),
        SYSTOLIC,
        "M:1:sram:col",
        SYSTOLIC_WS,
        r"array: col loops M\(17\) need 17 cols, systolic has 16",
    ),
    "a spad too small": (
        acc.Conv2d(M=25, C=1, H=3, W=9, R=3, S=3).problem(),
        EYERISS,
        "F:1:glb R:1:glb:row M:1:spad S:1:spad",
        EYERISS_KEEPS,
        r"spad: the ofmap tile needs 50 bytes, its partition has 48: 2 too many",
    ),
    "a spad far too small": (
        acc.Conv2d(M=16, C=5, H=3, W=9, R=3, S=3).problem(),
        EYERISS,
        "F:1:glb R:1:glb:row M:1:spad C:1:spad S:1:spad",
        EYERISS_KEEPS,
        r"spad: the (ofmap|weight|ifmap) tile needs (480|30) bytes, "
        r"its partition has (448|24): (32|6) too many",
    ),
    "a shared register too small": (
        acc.Conv2d(M=5, C=1, H=1, W=1, R=1, S=1).problem(),
        SYSTOLIC,
        "M:1:reg",
        SYSTOLIC_WS,
        r"reg: weight 5 bytes exceed its 4 by 1",
    ),
    "too few banks": (
        acc.Conv2d(M=1, C=1, H=240, W=240, R=1, S=1).problem(),
        EYERISS,
        "E:1:glb F:1:glb",
        EYERISS_KEEPS,
        r"glb: ifmap 115200 \+ ofmap 115200 bytes need \d+ whole banks of 4096 bytes, it has 25",
    ),
    "levels out of order": (
        SMALL,
        EYERISS,
        f"C:3:glb {CUT}",
        EYERISS_KEEPS,
        r"loop M:1:dram: stands inside a loop of level glb; loops go from the outermost level in",
    ),
    "a part inside its fused dimension": (
        SMALL,
        SYSTOLIC,
        "M:1:sram E:1:sram F:1:sram K:9:sram R:1:sram K:1:sram:row",
        SYSTOLIC_WS,
        r"loop R:1:sram: R is part of K, which is looped outside it; "
        r"parts may be looped only outside",
    ),
    "a tile left whole": (
        SMALL,
        EYERISS,
        CUT.replace("C:1", "C:2"),
        EYERISS_KEEPS,
        r"C: the innermost tile must be 1, one MAC's; got 2 of 6",
    ),
    "a dimension not looped": (
        SMALL,
        EYERISS,
        CUT.replace("S:1:dram", ""),
        EYERISS_KEEPS,
        r"S: the innermost tile must be 1, one MAC's; got 3 of 3",
    ),
    "a fused tile left whole": (
        SMALL,
        SYSTOLIC,
        "M:1:sram E:1:sram F:1:sram K:2:sram:row",
        SYSTOLIC_WS | {"reg": ()},
        r"K: the innermost tile must be 1, one MAC's; got 2",
    ),
    "an unknown level in a loop": (
        SMALL,
        EYERISS,
        CUT + " C:1:l2",
        EYERISS_KEEPS,
        r"loop C:1:l2: no level 'l2' in eyeriss \(levels: dram, glb, spad\)",
    ),
    "an unknown level in keep": (
        SMALL,
        EYERISS,
        CUT,
        EYERISS_KEEPS | {"cache": ("weight",)},
        r"keep: no level 'cache' in eyeriss \(levels: dram, glb, spad\)",
    ),
    "ifmap tiles under a fused dimension": (
        SMALL,
        EYERISS,
        "M:1:dram E:1:dram F:1:dram K:9:dram K:1:glb:row",
        EYERISS_KEEPS,
        r"K is fused outside glb, which keeps an ifmap tile of more than one word; "
        r"under a fused loop the ifmap has one-word registers only",
    ),
    "a tensor its level may not keep": (
        acc.Conv2d(M=1, C=1, H=1, W=1, R=1, S=1).problem(),
        ARCHITECTURES["tpu_v1"],
        "",
        {"dram": TENSORS, "ub": ("ifmap", "ofmap"), "acc": ("ofmap",), "reg": ("ofmap",)},
        r"keep.reg: tpu_v1's reg may keep weight, got ofmap",
    ),
    "an outermost level without a tensor": (
        SMALL,
        EYERISS,
        CUT,
        EYERISS_KEEPS | {"dram": ("weight", "ofmap"), "glb": ("ofmap",)},
        r"keep.dram: keeps ifmap, unless a level between it and spad holds it whole",
    ),
    "no line to travel": (
        SMALL,
        SYSTOLIC,
        "E:1:sram F:1:sram R:1:sram S:1:sram C:1:sram:row M:1:sram:col",
        SYSTOLIC_WS | {"reg": ()},
        r"weight is streamed over systolic lines but depends on the loops of both rows and "
        r"columns; it has no line to travel",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    problem, arch, loops, keep, why = REFUSED[case]
    with pytest.raises(acc.MappingError) as refused:
        acc.Nest(problem, arch, acc.Mapping(loops=loops, keep=keep))
    assert re.fullmatch(why, str(refused.value)) and "\n" not in str(refused.value), refused.value


def test_twice_the_bytes_where_a_level_is_double_buffered():
    loops, keep = "M:1:reg", SYSTOLIC_WS
    problem = acc.Conv2d(M=3, C=1, H=1, W=1, R=1, S=1).problem()
    acc.Nest(problem, SYSTOLIC, acc.Mapping(loops=loops, keep=keep))
    doubled = acc.load_architecture("systolic", {"levels.reg.double_buffered": True})
    with pytest.raises(acc.MappingError, match=r"reg: weight 6 bytes exceed its 4 by 2"):
        acc.Nest(problem, doubled, acc.Mapping(loops=loops, keep=keep))


def test_two_fused_dimensions_of_one():
    fused = {"K": ("C", "R", "S"), "Q": ("R", "S")}
    mapping = acc.Mapping(
        loops="M:1:sram E:1:sram F:1:sram Q:3:sram K:1:sram:row", keep=SYSTOLIC_WS, fused=fused
    )
    with pytest.raises(acc.MappingError, match="K and Q fuse the same dimension"):
        acc.Nest(SMALL, SYSTOLIC, mapping)


@pytest.mark.parametrize(
    ("loops", "keep", "fused", "why"),
    [
        ("M:0:dram", {}, FUSED, "at least 1"),
        ("M:dram:1", {}, FUSED, "a loop is written dim:tile:level"),
        ("M:1:dram:diagonal", {}, FUSED, "a loop is written dim:tile:level"),
        ("Q:1:dram", {}, FUSED, "no dimension 'Q'"),
        ("M:1:dram", {"dram": ("weights",)}, FUSED, "no tensor 'weights'"),
        ("M:1:dram", {}, {"K": ("C", "E")}, "taken once each from C,R,S or from N,E,F"),
        ("M:1:dram", {}, {"M": ("C", "R")}, "M is a dimension already"),
    ],
)
def test_no_mapping_at_all(loops, keep, fused, why):
    with pytest.raises(ValueError, match=why):
        acc.Mapping(loops=loops, keep=keep, fused=fused)


def test_a_dataflow_that_forgets_a_dimension():
    flow = DATAFLOWS["no_local_reuse"]
    order = flow.order.model_copy(
        update={"outer": ("G", "M", "N", "E", "C", "R", "S"), "inner": ("G",)}
    )
    with pytest.raises(
        acc.MappingError, match="no_local_reuse loops F nowhere, and the layer has F=7"
    ):
        acc.choose(SMALL, EYERISS, flow.model_copy(update={"order": order}))


def test_one_byte_makes_the_difference():
    problem = acc.Gemm(m=1, k=1000, n=1).problem()
    whole = 1000 + 1000 + 4  # a row, a column and one sum, still open
    for capacity in (whole - 1, whole, whole + 1):
        machine = acc.load_architecture("systolic", {"levels.sram.capacity_bytes": capacity})
        nest = acc.Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow("ws")))
        held = sum(nest.footprint.tile_bytes(1, t) for t in TENSORS)
        assert held < whole - 1 if capacity < whole else held == whole
