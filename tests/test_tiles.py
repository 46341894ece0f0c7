"""The table of ``accelsim show --tiles``: an example checked by hand, then the event engine's words
and the oracle's tiles.
"""

from __future__ import annotations

import random

import oracle
import pandas as pd
import pytest
from nests import as_oracle, random_nest

from accelsim.engines import event
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.mapping.files import sources
from accelsim.mapping.mapping import Mapping
from accelsim.mapping.nest import Nest
from accelsim.view.holdings import holdings, tiles_frame
from accelsim.view.pages.tiles_page import tiles
from accelsim.workload.arithmetic import random_data
from accelsim.workload.problem import TENSORS, Problem


def line_of_words(
    loops: str, *, pad: int = 0, pe: tuple[str, ...] = TENSORS, **options: object
) -> Nest:
    """Seven outputs of three taps on two levels (docs/counting.md)."""
    arch = Architecture.model_validate(
        {
            "name": "two levels",
            "clock_mhz": 1.0,
            "array": {"rows": 4, "cols": 4},
            "levels": {"dram": {}, "pe": {}},
            "networks": {"bus": {"below": "dram"}},
            "bits": {"weight": 8, "ifmap": 8, "ofmap": 16, "psum": 24},
            "energy": {"mac": 1.0, "levels": {"dram": 1.0, "pe": 1.0}, "networks": {"bus": 1.0}},
            **options,
        }
    )
    problem = Problem(
        N=1, G=1, M=1, C=1, E=1, F=7, R=1, S=3, H=1, W=9 - 2 * pad, padding=(0, 0, pad, pad)
    )
    return Nest(problem, arch, Mapping(loops=loops, keep={"dram": TENSORS, "pe": pe}))


def test_by_hand():
    """F = 7 is 3, 3, 1; each of these is 2, 1 over two PEs, the last 1 and nothing.

    PE 0 holds i 0-3, 3-6, 6-8 and takes 4 + 3 + 2; PE 1 holds 2-4, 5-7, nothing and takes 3 + 3;
    dram reads 0-4, 4-7, 7-8.  A step is 2 outputs of 3 taps at most: 6 + 6 + 3 MAC steps.
    """
    frame = tiles_frame(line_of_words("F:3:dram F:2:dram:row F:1:pe S:1:pe"))
    pe = frame[frame.child == "pe"].set_index("tensor")
    mac = frame[frame.child == "MAC"].set_index("tensor")
    assert list(frame.tensor) == ["weight", "weight", "ifmap", "ifmap", "ofmap", "ofmap"]
    assert (
        (pe.parent == "dram").all()
        and (pe.network == "bus").all()
        and (mac.parent == "pe").all()
        and mac.network.isna().all()
    )
    assert (
        (pe.parents == 1).all()
        and (pe.copies == 2).all()
        and (mac.parents == 2).all()
        and (mac.copies == 2).all()
    )
    assert list(pe.tile) == ["s 3", "w 4", "f 2"] and list(pe.words) == [3, 4, 2]
    assert list(mac.tile) == ["1", "1", "1"]
    assert (pe.steps == 3).all() and (mac.steps == 15).all()
    assert tuple(pe.loc["weight", ["taken", "read", "reuse"]]) == (6, 3, 21 / 3)
    assert tuple(pe.loc["ifmap", ["taken", "read", "reuse"]]) == (
        4 + 3 + 2 + 3 + 3,
        5 + 4 + 2,
        21 / 11,
    )
    assert tuple(pe.loc["ofmap", ["drained", "arrived", "updated", "additions", "reuse"]]) == (
        7,
        7,
        0,
        0,
        21 / 7,
    )
    assert tuple(mac.loc["ofmap", ["drained", "arrived", "updated"]]) == (21, 21, 21 - 7)
    assert (
        pe.loc["ofmap", ["taken", "read"]].isna().all()
        and pe.loc["ifmap", ["drained", "arrived", "updated"]].isna().all()
    )


def test_the_text():
    text = tiles(line_of_words("F:3:dram F:2:dram:row F:1:pe S:1:pe"))
    table, sums, key = text.split("\n\n")
    assert squeezed(table) == [
        "tensor held in tile words read from over kind steps taken read reuse",
        "weight pe x 2 s 3 3 dram bus multicast 3 6 3 7.0",
        "weight MAC x 2 1 1 pe x 2 - multicast 15 21 21 1.0",
        "ifmap pe x 2 w 4 4 dram bus multicast 3 15 11 1.9",
        "ifmap MAC x 2 1 1 pe x 2 - multicast 15 21 21 1.0",
    ]
    assert squeezed(sums) == [
        "tensor held in tile words sent to over kind steps drained arrived updated reuse",
        "ofmap pe x 2 f 2 2 dram bus reduce 3 7 7 0 3.0",
        "ofmap MAC x 2 1 1 pe x 2 - reduce 15 21 21 14 1.0",
    ]
    assert (
        len({len(row) for row in table.splitlines()})
        == len({len(row) for row in sums.splitlines()})
        == 1
    )
    assert "reuse" in key
    assert tiles(line_of_words("F:1:pe S:1:pe"), key=False).count("\n\n") == 1


def squeezed(table: str) -> list[str]:
    """Lines with single spaces, without the rule below the head."""
    lines = [" ".join(line.split()) for line in table.splitlines()]
    return [lines[0], *lines[2:]]


def test_gaps_padding_and_bypass():
    whole = "F:2:dram F:1:pe S:1:pe"
    padded = line_of_words(whole, pad=1).footprint.tile_words(1, "ifmap")
    frame = tiles_frame(line_of_words(whole, pad=1, padding={"stored_from": "pe"}))
    assert padded == 4  # the middle tiles; at the edge 3
    assert frame.tile[2] == "w 4" and (frame.taken[2], frame.read[2]) == (
        2 + 2 + 2 + 3,
        7,
    )  # 0-3 2-5 4-7 6-8, the outer two are zeros
    bypassed = tiles_frame(
        line_of_words("F:3:dram F:2:dram:row F:1:pe S:1:pe", pe=("ifmap", "ofmap"))
    )
    weight = bypassed[bypassed.tensor == "weight"]
    assert len(weight) == 1 and tuple(
        weight.iloc[0][["parent", "child", "copies", "taken", "read"]]
    ) == ("dram", "MAC", 2, 21, 15)


def check(nest: Nest) -> None:
    """Moved words are those the event engine moved; tiles, copies and steps those of the oracle's
    walk.
    """
    data = random_data(
        nest.problem, *(nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), 0
    )  # type: ignore[arg-type]
    moves = event.run(nest, data).moves
    space = oracle.Space(*as_oracle(nest))
    names = (*nest.arch.level_names, "MAC")
    steps = list(space.steps())
    frame = tiles_frame(nest)
    for (_, row), holding in zip(frame.iterrows(), holdings(nest), strict=True):
        b = holding.boundary
        assert (row.tensor, row.parent, row.child) == (b.tensor, names[b.parent], names[b.child])
        m = moves[b]
        if b.tensor == nest.problem.accumulated:
            assert (row.drained, row.arrived, row.updated, row.additions) == (
                m.drained,
                m.arrived,
                m.updated,
                m.drained - m.arrived,
            )
            through = row.arrived
        else:
            assert (row.taken, row.read) == (m.taken, m.read)
            through = row.read
        macs = next(moves[x] for x in moves if x.tensor == b.tensor and x.child == nest.levels)
        assert not through or row.reuse == (macs.drained + macs.taken) / through

        if b.child < nest.levels:
            assert row.words == nest.footprint.tile_words(b.child, b.tensor)
        outside = len(space.temporal_above(b.child))
        settings = list(dict.fromkeys(step[:outside] for step in steps))
        assert row.steps == len(settings)
        assert row.parents == working(space, b.parent, ())
        assert (
            row.copies
            == max(working(space, b.child, s) for s in settings)
            == working(space, b.child, settings[0])
        )


def working(space: oracle.Space, level: int, step: tuple[int, ...]) -> int:
    """Instances of a level with work at a step."""
    return sum(
        all(space.pieces(level, space.setting(step, instance)))
        for instance in space.instances(level)
    )


@pytest.mark.parametrize("seed", range(60))
def test_random_nests(seed):
    check(random_nest(random.Random(seed), 200, systolic=0.3))


def layer(arch: str, dataflow: str) -> Nest:
    """A small padded layer with stride and groups, mapped by the fixed rule."""
    problem = Problem(
        N=1, G=2, M=6, C=4, E=5, F=5, R=3, S=3, H=9, W=9, stride=(2, 2), padding=(1, 1, 1, 1)
    )
    machine = load_architecture(arch)
    return Nest(problem, machine, sources(dataflow, None)[0].mapping_of("small", problem, machine))


PRESETS = [
    ("eyeriss", "rs"),
    ("systolic", "ws"),
    ("systolic", "os"),
    ("systolic", "is"),
    ("tpu_v1", "ws"),
]


@pytest.mark.parametrize(("arch", "dataflow"), PRESETS)
def test_presets(arch, dataflow):
    nest = layer(arch, dataflow)
    data = random_data(
        nest.problem, *(nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), 0
    )  # type: ignore[arg-type]
    moves = event.run(nest, data).moves
    frame = tiles_frame(nest)
    for (_, row), b in zip(frame.iterrows(), moves, strict=True):
        m = moves[b]
        want = (
            [m.drained, m.arrived, m.updated]
            if b.tensor == nest.problem.accumulated
            else [m.taken, m.read]
        )
        assert [
            n for n in row[["taken", "read", "drained", "arrived", "updated"]] if n is not pd.NA
        ] == want
    assert f"{frame.steps.max():,}".replace(",", " ") in tiles(nest)


def test_lines_are_named():
    frame = tiles_frame(layer("systolic", "ws"))
    ifmap = frame[(frame.tensor == "ifmap") & (frame.child == "MAC")].iloc[0]
    assert (ifmap.kind, ifmap.along) == ("systolic", "row")
    assert "systolic along a row" in tiles(layer("systolic", "ws"))
    assert "k runs over c, r, s" in tiles(layer("systolic", "ws"))
