"""The hardware each of the six dataflows gets for the same area, and its tiles as loops
(ISCA 2016, sections IV to VI).

``published.py`` says which tiles fit, in the paper's letters; here they become the loops of a
dataflow file, and those that likely cost least by our rules are named.  As in the paper's
evaluation, only the number of PEs is bounded, not the array's shape, and ifmaps are counted with
their padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from published import FITTING, Layer, Tiles, count, cuts, energy, shifted, up

from accelsim import (
    Architecture,
    Dataflow,
    Loop,
    Mapping,
    MappingError,
    Problem,
    load_architecture,
)
from accelsim.hardware.energy import numbers

WORD = 2  # bytes
HERE = Path(__file__).parent
# "M@dram" is the tile of the loop over M at dram; "M@row" and "M@col" lie on the array.
Places = dict[str, int]


def um2_per_byte(size: float) -> float:
    """Area of a byte in a memory of that size, between the paper's points on straight lines, as the
    paper has it.
    """
    points = sorted(
        (n.at, n.value)
        for n in numbers("eyeriss")
        if n.quantity == "um2_per_byte" and n.at is not None
    )
    return float(np.interp(size, *zip(*points, strict=True)))


def buffer_bytes(pes: int, rf_words: int) -> int:
    """The buffer left when every PE has its register file: the area of 512 bytes a PE in registers
    and 512 bytes a PE in the buffer.
    """
    whole = pes * 512 * (um2_per_byte(512) + um2_per_byte(1 << 20))
    own = rf_words * WORD
    return (
        int((whole - pes * own * um2_per_byte(own or WORD)) / um2_per_byte(1 << 20)) // WORD * WORD
    )


@dataclass(frozen=True)
class Kind:
    """One dataflow: its file, the words of its register file, what its hardware keeps where.

    ``places(problem, tiles)`` gives the loops' tiles by place, and the hardware in use: rows and
    columns of PEs, words of the buffer set ``aside``.  ``refetched(layer, tiles)`` says how often a
    word of the ifmap comes from DRAM by our rules, about; without it, as the equations say.
    ``apart`` says that psums add up along rows of PEs only.  ``anew`` are tensors of which the
    paper's equations fetch the buffer's whole tile at every step; ``unwired`` are those whose words
    they take to their one PE without an array hop.
    """

    name: str
    dataflow: str
    rf_words: int
    pe_words: int
    shift_words: int
    keep: dict[str, tuple[str, ...]]
    places: Callable[[Problem, Tiles], tuple[Places, Places]]
    refetched: Callable[[Layer, Any], Any] | None = None
    apart: bool = False
    anew: tuple[str, ...] = ("ifmap",)
    unwired: tuple[str, ...] = ()

    def architecture(self, pes: int, hardware: Places) -> Architecture:
        """Hardware for so many PEs; ``hardware``: rows and columns in use, and buffer words set
        aside.
        """
        over: dict[str, Any] = {
            "name": f"{self.name.lower()}{pes}",
            "array.rows": hardware["rows"],
            "array.cols": hardware["cols"],
            "levels.buffer.capacity_bytes": buffer_bytes(pes, self.rf_words)
            - hardware.get("aside", 0) * WORD,
            "levels.pe.capacity_bytes": max(self.pe_words, 1) * WORD,
        }
        if self.shift_words:
            over["levels.shift.capacity_bytes"] = self.shift_words * pes * WORD
        if self.apart:
            over["networks.array.accumulated"] = "systolic"
        return load_architecture(HERE / "spatial.yaml", over)

    def mapping(self, dataflow: Dataflow, arch: Architecture, places: Places) -> Mapping:
        """The loops of such tiles, in the places and the order the dataflow file gives
        them.
        """
        names, loops, left = arch.level_names, [], dict(places)
        inside = [n for n in names if n in self.keep or n == "pe"]
        for level in inside[:-1]:
            near = level == inside[-2]
            for dim in dataflow.order.inner if near else dataflow.order.outer:
                if f"{dim}@{level}" in left:
                    loops.append(Loop(dim=dim, tile=left.pop(f"{dim}@{level}"), level=level))
            if near:
                for entry in dataflow.space:
                    dim, _, axis = entry.partition(":")
                    if f"{dim}@{axis}" in left:
                        loops.append(
                            Loop(dim=dim, tile=left.pop(f"{dim}@{axis}"), level=level, axis=axis)
                        )  # type: ignore[arg-type]
        for dim in dataflow.pe:
            if f"{dim}@pe" in left:
                loops.append(Loop(dim=dim, tile=left.pop(f"{dim}@pe"), level="pe"))
        if left:
            raise ValueError(f"{dataflow.name} has no place for {', '.join(left)}")
        return Mapping(loops=tuple(loops), keep=self.keep)


# Tiles --------------------------------------------------------------------------------------------


def padded(problem: Problem) -> Problem:
    """The layer as the paper counts it: the ifmap with its padding as words of its own."""
    top, bottom, left, right = problem.padding
    return replace(
        problem,
        H=problem.H + top + bottom,
        W=problem.W + left + right,
        padding=(0, 0, 0, 0),
        bias=False,
    )


def likely(kind: Kind, problem: Problem, pes: int, tried: int) -> list[Tiles]:
    """The ``tried`` tiles that cost least if pieces are counted one by one and DRAM is not asked
    for what the buffer has: an estimate, cheapest first.
    """
    x, found = Layer(problem, whole_pieces=True), []
    for some in FITTING[kind.name](x, pes, buffer_bytes(pes, kind.rf_words) // WORD):
        some = _piece_by_piece(problem, some)
        words = count(kind.name, problem, some, whole_pieces=True)
        if kind.refetched:
            words["dram", "ifmap"] = x.ifmap * kind.refetched(x, some)
        cost = energy(words)
        for k in np.argsort(cost, kind="stable")[:tried]:
            found.append((float(cost[k]), {letter: int(v[k]) for letter, v in some.items()}))
    return [tiles for _, tiles in sorted(found, key=lambda one: one[0])[:tried]]


def _piece_by_piece(p: Problem, some: Any) -> Any:
    """Of such tiles those that count if pieces are counted one by one: of strips of equal number
    the smallest, and beside each tile of filters the one that is made of whole groups.
    """
    keep = np.isin(some["f"], cuts(p.F)) if "f" in some else np.ones(len(some["n"]), bool)
    if "e" in some:
        keep &= np.isin(some["e"], cuts(p.E))
    some = {letter: values[keep] for letter, values in some.items()}
    if "m" not in some or "p" not in some:
        return some
    group = some["p"] * some.get("t", 1)
    whole = some | {"m": some["m"] // group * group}
    return {letter: np.concatenate([some[letter], whole[letter]]) for letter in some}


def _rs(p: Problem, t: Tiles) -> tuple[Places, Places]:
    """Rows of filters and of the ifmap stay in the PEs; the paper's f is our e."""
    dram = {"G@dram": 1, "M@dram": t["m"], "N@dram": t["n"], "E@dram": t["f"]}
    buffer = {"M@buffer": t["p"] * t["t"], "N@buffer": 1, "F@buffer": 1}
    array = {"M@row": t["p"], "C@row": t["q"], "R@row": 1, "E@col": 1}
    places = dram | {"C@dram": t["q"] * t["r"]} | buffer | array
    return places | {"M@pe": 1, "C@pe": 1, "S@pe": 1}, {
        "rows": p.R * t["r"] * t["t"],
        "cols": t["f"],
    }


def _ws(p: Problem, t: Tiles) -> tuple[Places, Places]:
    """r channels and t filters at once: the ifmaps pass ceil(M/t) times, sums meet in the buffer
    for every filter row and r channels.  Lines are whole: of shorter ones no nest fetches each
    weight once, as the equations say.  Raises MappingError for those.
    """
    if t["f"] < p.F:
        raise MappingError("weight-stationary lines of a nest are whole")
    buffer = {"C@buffer": t["r"], "N@buffer": 1, "E@buffer": 1, "F@shift": 1}
    array = {"M@row": 1, "R@row": 1, "C@col": 1, "S@col": 1}
    hardware = {"rows": t["t"] * p.R, "cols": t["r"] * p.S, "aside": int(shifted(p, t))}
    return {"G@dram": 1, "M@dram": t["t"]} | buffer | array, hardware


def _osa(p: Problem, t: Tiles) -> tuple[Places, Places]:
    """m filters and n x e x f pixels: one plane of pixels at a time, each filter of the buffer
    after the other.
    """
    dram = {"G@dram": 1, "M@dram": t["m"], "N@dram": t["n"], "E@dram": t["e"], "F@dram": t["f"]}
    inside = {"M@buffer": 1, "C@buffer": 1, "R@shift": 1, "S@shift": 1}
    array = {"N@row": 1, "E@row": 1, "F@col": 1}
    return dram | inside | array, {"rows": t["n"] * t["e"], "cols": t["f"]}


def _osb(p: Problem, t: Tiles) -> tuple[Places, Places]:
    """m filters in the buffer, p x n x f outputs of one row on the array."""
    dram = {"G@dram": 1, "M@dram": t["m"], "N@dram": t["n"], "F@dram": t["f"], "E@dram": 1}
    inside = {"M@buffer": t["p"], "C@buffer": 1, "R@buffer": 1, "S@shift": 1}
    array = {"M@row": 1, "N@row": 1, "F@col": 1}
    return dram | inside | array, {"rows": t["p"] * t["n"], "cols": t["f"]}


def _osc(p: Problem, t: Tiles) -> tuple[Places, Places]:
    """m filters in the buffer, p filters x n images on the array, one pixel."""
    dram = {"G@dram": 1, "M@dram": t["m"], "N@dram": t["n"], "E@dram": 1, "F@dram": 1}
    inside = {"M@buffer": t["p"], "C@buffer": 1, "R@buffer": 1, "S@buffer": 1}
    return dram | inside | {"M@row": 1, "N@col": 1}, {"rows": t["p"], "cols": t["n"]}


def _nlr(p: Problem, t: Tiles) -> tuple[Places, Places]:
    """q channels x p filters on the array; m filters, n x e x f pixels, q channels in the
    buffer.
    """
    dram = {"G@dram": 1, "M@dram": t["m"], "N@dram": t["n"], "E@dram": t["e"], "F@dram": t["f"]}
    inside = {"M@buffer": t["p"]} | {f"{d}@buffer": 1 for d in "RSNEF"}
    places = dram | {"C@dram": t["q"]} | inside | {"C@row": 1, "M@col": 1}
    return places, {"rows": t["q"], "cols": t["p"]}


# What our rules fetch of the ifmap: between two tiles of one image that lie beside each other the
# shared rows or columns stay, unless other images come in between; and all of it if it fits.


def _osa_again(x: Layer, t: Any) -> Any:
    alone, tall, wide = t["n"] == x.p.N, x.tall(t["e"]), x.wide(t["f"])
    whole = alone & (t["e"] == x.p.E) & (t["f"] == x.p.F)
    return np.where(whole, 1.0, up(x.p.M, t["m"]) * tall * np.where(alone, 1.0, wide))


def _osb_again(x: Layer, t: Any) -> Any:
    alone, tall, wide = t["n"] == x.p.N, x.tall(1), x.wide(t["f"])
    whole = alone & (t["f"] == x.p.F) & (x.p.E == 1)
    return np.where(whole, 1.0, up(x.p.M, t["m"]) * wide * np.where(alone, 1.0, tall))


def _osc_again(x: Layer, t: Any) -> Any:
    alone, tall, wide = t["n"] == x.p.N, x.tall(1), x.wide(1)
    whole = alone & (x.p.E * x.p.F == 1)
    return np.where(whole, 1.0, up(x.p.M, t["m"]) * tall * np.where(alone, 1.0, wide))


ALL = ("weight", "ifmap", "ofmap")
KINDS = (
    Kind(
        "RS",
        "row_stationary",
        256,
        256,
        0,
        {"dram": ALL, "buffer": ("ifmap", "ofmap"), "pe": ALL},
        _rs,
    ),
    Kind(
        "WS",
        "weight_stationary_planes",
        1,
        1,
        0,
        {"dram": ALL, "buffer": ("ofmap",), "shift": ("ifmap",), "pe": ("weight",)},
        _ws,
        apart=True,
        anew=(),
        unwired=("weight",),
    ),
    Kind(
        "OSA",
        "output_stationary_soc_mop",
        49,
        1,
        48,
        {"dram": ALL, "buffer": ("weight", "ifmap"), "shift": ("ifmap",), "pe": ("ofmap",)},
        _osa,
        _osa_again,
    ),
    Kind(
        "OSB",
        "output_stationary_moc_mop",
        5,
        1,
        4,
        {"dram": ALL, "buffer": ("weight", "ifmap"), "shift": ("ifmap",), "pe": ("ofmap",)},
        _osb,
        _osb_again,
    ),
    Kind(
        "OSC",
        "output_stationary_moc_sop",
        1,
        1,
        0,
        {"dram": ALL, "buffer": ("weight", "ifmap"), "pe": ("ofmap",)},
        _osc,
        _osc_again,
    ),
    Kind(
        "NLR",
        "no_local_reuse",
        0,
        0,
        0,
        {"dram": ALL, "buffer": ALL, "pe": ()},
        _nlr,
        anew=("weight", "ifmap"),
        unwired=("weight",),
    ),
)
