"""The hardware each of the six dataflows gets for the same area, and the tiles it may choose from
(ISCA 2016, sections IV to VI).

Which tiles the paper lets each dataflow choose is not all in its text; where it is silent this
follows the public scripts that evaluate its equations (github.com/ominux/eyeriss-dataflow), which
give the reference's numbers.  No code is theirs. As there, only the number of PEs is bounded, not
the array's shape, and ifmaps are counted with their padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from accelsim import Architecture, Dataflow, Loop, Mapping, Problem, load_architecture
from accelsim.hardware.energy import numbers

WORD = 2  # bytes
HERE = Path(__file__).parent
Tiles = dict[
    str, int
]  # "M@dram" is the tile of the loop over M at dram; "M@row" and "M@col" lie on the array
Arrays = dict[str, np.ndarray]


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
    """One dataflow: its file, the words of its register file, what its hardware keeps where, and
    its tiles.

    ``search(problem, pes, words, tried)`` gives the ``tried`` likely best tiles for ``pes`` PEs and
    a buffer of ``words``: an estimate of their energy by the paper's equations, the tiles, and the
    hardware in use. ``apart`` says that psums add up along rows of PEs only; ``unwired`` are
    tensors whose words the paper's equations take to their one PE without an array hop.
    """

    name: str
    dataflow: str
    rf_words: int
    pe_words: int
    shift_words: int
    keep: dict[str, tuple[str, ...]]
    search: Callable[[Problem, int, int, int], Iterator[tuple[float, Tiles, Tiles]]]
    apart: bool = False
    unwired: tuple[str, ...] = ()

    def architecture(self, pes: int, hardware: Tiles) -> Architecture:
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

    def mapping(self, dataflow: Dataflow, arch: Architecture, tiles: Tiles) -> Mapping:
        """The loops of a choice of tiles, in the places and the order the dataflow file gives
        them.
        """
        names, loops, left = arch.level_names, [], dict(tiles)
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


def cuts(n: int, most: int | None = None) -> list[int]:
    """Tiles of a dimension that matter: the smallest for each number of pieces."""
    return sorted({-(-n // k) for k in range(1, n + 1)} & set(range(1, (most or n) + 1)))


def grid(**choices: Any) -> Arrays:
    """All combinations, as flat arrays by name."""
    mesh = np.meshgrid(*[np.array(list(c), np.int64) for c in choices.values()], indexing="ij")
    return {name: m.reshape(-1) for name, m in zip(choices, mesh, strict=True)}


def up(a: Any, b: Any) -> Any:
    return -(-a // b)


@dataclass(frozen=True)
class _Layer:
    """A layer in the paper's letters; ``ifmap``, ``weights``, ``ofmap`` in words, ``both`` strides
    alike.
    """

    p: Problem

    @property
    def words(self) -> tuple[float, float, float]:
        p = self.p
        return float(p.words("ifmap")), float(p.words("weight")), float(p.words("ofmap"))

    def rows(self, e: Any) -> Any:
        """Ifmap rows that e rows of outputs need."""
        return (e - 1) * self.p.stride[0] + self.p.R

    def cols(self, f: Any) -> Any:
        return (f - 1) * self.p.stride[1] + self.p.S

    def halo_h(self, e: Any) -> Any:
        """Ifmap rows read in strips of e rows of outputs, over all its rows."""
        return up(self.p.E, e) * self.rows(e) / self.p.H

    def halo_w(self, f: Any) -> Any:
        return up(self.p.F, f) * self.cols(f) / self.p.W


def _best(cost: np.ndarray, legal: np.ndarray, many: int) -> list[int]:
    """The cheapest legal ones."""
    cost = np.where(legal, cost, np.inf)
    order = np.argsort(cost, kind="stable")[:many]
    return [int(i) for i in order if np.isfinite(cost[i])]


def _merged(*lists: list[int]) -> list[int]:
    return list(dict.fromkeys(i for some in zip(*lists, strict=False) for i in some)) or [
        i for some in lists for i in some
    ]


def _ws(p: Problem, pes: int, words: int, tried: int) -> Iterator[tuple[float, Tiles, Tiles]]:
    """r channels and t filters at once: the ifmaps pass ceil(M/t) times, sums meet in the buffer
    for every filter row and r channels.
    """
    (i, w, o) = _Layer(p).words
    g = grid(r=cuts(p.C), t=cuts(p.M))
    aside = g["r"] * g["t"] * (p.W - p.S) * (p.R - 1)
    legal = (p.N * g["t"] * p.E * p.F + aside <= words) & (g["r"] * g["t"] * p.R * p.S <= pes)
    dram = w + i * up(p.M, g["t"]) + o
    cost = (
        200 * dram
        + 12 * o * (up(p.C, g["r"]) * p.R - 1)
        + 2 * o * (p.C * p.R * p.S - up(p.C, g["r"]) * p.R)
    )
    for k in _best(cost, legal, tried):
        r, t = int(g["r"][k]), int(g["t"][k])
        tiles = {
            "G@dram": 1,
            "M@dram": t,
            "C@buffer": r,
            "N@buffer": 1,
            "E@buffer": 1,
            "F@shift": 1,
        }
        yield (
            cost[k],
            tiles | {"M@row": 1, "R@row": 1, "C@col": 1, "S@col": 1},
            {"rows": t * p.R, "cols": r * p.S, "aside": int(aside[k])},
        )


def _osa(p: Problem, pes: int, words: int, tried: int) -> Iterator[tuple[float, Tiles, Tiles]]:
    """m filters and n x e x f pixels: one plane of pixels at a time, each filter of the buffer
    after the other.
    """
    x, (i, w, o) = _Layer(p), _Layer(p).words
    g = grid(m=cuts(p.M), n=cuts(p.N), e=cuts(p.E), f=cuts(p.F))
    m, n, e, f = g.values()
    legal = (
        (m * p.C * p.R * p.S + n * p.C * x.rows(e) * x.cols(f) <= words)
        & (n * e * f <= pes)
        & (n * x.rows(e) * x.cols(f) <= 48 * pes)
    )
    buffer = w * up(p.N, n) * up(p.E, e) * up(p.F, f) + i * p.M * x.halo_h(e) * x.halo_w(f)
    whole = (n == p.N) & (e == p.E) & (f == p.F)
    fetched = 200 * (w + i * up(p.M, m) * x.halo_h(e) * x.halo_w(f) + o) + 6 * buffer
    alone = n == p.N  # no other images come in between: what neighbouring tiles share is kept
    again = i * up(p.M, m) * x.halo_h(e) * np.where(alone, 1.0, x.halo_w(f))
    kept = 200 * (w + np.where(whole, i, again) + o) + 6 * buffer
    for k in _merged(_best(fetched, legal, tried), _best(kept, legal, tried)):
        tiles = {
            "G@dram": 1,
            "M@dram": m[k],
            "N@dram": n[k],
            "E@dram": e[k],
            "F@dram": f[k],
            "M@buffer": 1,
            "C@buffer": 1,
        }
        tiles |= {"R@shift": 1, "S@shift": 1, "N@row": 1, "E@row": 1, "F@col": 1}
        yield fetched[k], _ints(tiles), _ints({"rows": n[k] * e[k], "cols": f[k]})


def _osb(p: Problem, pes: int, words: int, tried: int) -> Iterator[tuple[float, Tiles, Tiles]]:
    """m filters in the buffer, p x n x f outputs of one row on the array."""
    x, (i, w, o) = _Layer(p), _Layer(p).words
    found = grid(m=cuts(p.M), n=cuts(p.N), p=cuts(p.M, pes), f=cuts(p.F))
    few = (found["n"] * found["p"] * found["f"] <= pes) & (found["p"] <= found["m"])
    m, n, q, f = (v[few] for v in found.values())
    legal = (m * p.C * p.R * p.S + n * p.C * p.R * x.cols(f) <= words) & (n * x.cols(f) <= 4 * pes)
    strips = p.E * p.R / p.H  # every row of outputs fetches its R rows of the ifmap
    buffer = w * up(p.N, n) * p.E * up(p.F, f) + i * up(p.M, q) * strips * x.halo_w(f)
    fetched = 200 * (w + i * up(p.M, m) * strips * x.halo_w(f) + o) + 6 * buffer
    alone = n == p.N  # no other images come in between: what neighbouring tiles share is kept
    again = i * up(p.M, m) * x.halo_w(f) * np.where(alone, 1.0, strips)
    kept = 200 * (w + np.where(alone & (f == p.F) & (p.E == 1), i, again) + o) + 6 * buffer
    for k in _merged(_best(fetched, legal, tried), _best(kept, legal, tried)):
        tiles = {
            "G@dram": 1,
            "M@dram": m[k],
            "N@dram": n[k],
            "F@dram": f[k],
            "E@dram": 1,
            "M@buffer": q[k],
            "C@buffer": 1,
            "R@buffer": 1,
        }
        tiles |= {"S@shift": 1, "M@row": 1, "N@row": 1, "F@col": 1}
        yield fetched[k], _ints(tiles), _ints({"rows": q[k] * n[k], "cols": f[k]})


def _osc(p: Problem, pes: int, words: int, tried: int) -> Iterator[tuple[float, Tiles, Tiles]]:
    """m filters in the buffer, p filters x n images on the array, one pixel."""
    (i, w, o) = _Layer(p).words
    found = grid(m=cuts(p.M), n=cuts(p.N), p=cuts(p.M, pes))
    few = (found["n"] * found["p"] <= pes) & (found["p"] <= found["m"])
    m, n, q = (v[few] for v in found.values())
    legal = (m + n) * p.C * p.R * p.S <= words
    windows = float(p.N * p.G * p.C * p.R * p.S * p.E * p.F)
    buffer = w * up(p.N, n) * p.E * p.F + windows * up(p.M, q)
    fetched = 200 * (w + windows * up(p.M, m) + o) + 6 * buffer
    alone = n == p.N  # no other images come in between: what neighbouring windows share is kept
    again = up(p.M, m) * np.where(alone, p.N * p.G * p.C * p.E * p.R * p.W, windows)
    kept = 200 * (w + np.where(alone & (p.E * p.F == 1), i, again) + o) + 6 * buffer
    for k in _merged(_best(fetched, legal, tried), _best(kept, legal, tried)):
        tiles = {
            "G@dram": 1,
            "M@dram": m[k],
            "N@dram": n[k],
            "E@dram": 1,
            "F@dram": 1,
            "M@buffer": q[k],
        }
        tiles |= {"C@buffer": 1, "R@buffer": 1, "S@buffer": 1, "M@row": 1, "N@col": 1}
        yield fetched[k], _ints(tiles), _ints({"rows": q[k], "cols": n[k]})


def _nlr(p: Problem, pes: int, words: int, tried: int) -> Iterator[tuple[float, Tiles, Tiles]]:
    """q channels x p filters on the array; m filters, n x e x f pixels, q channels in the
    buffer.
    """
    x, (i, w, o) = _Layer(p), _Layer(p).words
    pairs = [(a, b) for a in cuts(p.M, pes) for b in cuts(p.C, pes) if a * b <= pes]
    many = max(a * b for a, b in pairs)
    pairs = [(a, b) for a, b in pairs if a * b > many // 2]
    best: list[tuple[float, Tiles, Tiles]] = []
    g = grid(m=cuts(p.M), n=cuts(p.N), e=cuts(p.E)[-6:], f=cuts(p.F)[-2:])
    m, n, e, f = g.values()
    for a, q in pairs:
        held = n * q * x.rows(e) * x.cols(f) + m * q * p.R * p.S + n * m * e * f
        legal = (held <= words) & (a <= m)
        dram = (
            w * up(p.N, n) * up(p.E, e) * up(p.F, f)
            + i * up(p.M, m) * x.halo_h(e) * x.halo_w(f)
            + o
        )
        reads = p.N * p.E * p.F * (p.G * p.C * p.R * p.S) * up(p.M, a) + 2 * o * (
            up(p.C, q) * p.R * p.S - 1
        )
        cost = 200 * dram + 6 * reads + 2 * o * (p.C * p.R * p.S - up(p.C, q) * p.R * p.S)
        for k in _best(cost, legal, 2):
            tiles = {
                "G@dram": 1,
                "M@dram": m[k],
                "N@dram": n[k],
                "E@dram": e[k],
                "F@dram": f[k],
                "C@dram": q,
                "M@buffer": a,
            }
            tiles |= {
                "R@buffer": 1,
                "S@buffer": 1,
                "N@buffer": 1,
                "E@buffer": 1,
                "F@buffer": 1,
                "C@row": 1,
                "M@col": 1,
            }
            best.append((float(cost[k]), _ints(tiles), {"rows": q, "cols": a}))
    yield from sorted(best, key=lambda b: b[0])[:tried]


def _rs(p: Problem, pes: int, words: int, tried: int) -> Iterator[tuple[float, Tiles, Tiles]]:
    """The row-stationary parameters m n e p q r t; 256 words a PE for filters, ifmap windows and
    psums together.
    """
    x, (i, w, o) = _Layer(p), _Layer(p).words
    inner = [
        (a, q)
        for q in range(1, min(p.C, 128) + 1)
        for a in [min((256 - q * p.S) // (q * p.S + 1), p.M)]
        if a >= 1
    ]
    inner = [(b, q) for a, q in inner for b in {a, -(-p.M // -(-p.M // a))}]
    best: list[tuple[float, Tiles, Tiles]] = []
    for a, q in inner:
        g = grid(
            e=cuts(p.E, pes // p.R),
            r=range(1, min(p.C // q, pes // p.R) + 1),
            n=cuts(p.N),
            m=cuts(p.M),
        )
        few = p.R * g["e"] * g["r"] <= pes
        e, r, n, m = (v[few] for v in g.values())
        t = np.minimum(pes // (p.R * e * r), m // a)
        legal = (t > 0) & (n * m * e * p.F + n * q * r * x.rows(e) * p.W <= words)
        t = np.maximum(t, 1)
        dram = w * up(p.N, n) * up(p.E, e) + i * up(p.M, m) * x.halo_h(e) + o
        buffer = i * up(p.M, a * t) * x.halo_h(e) + 2 * o * (up(p.C, q * r) - 1)
        hops = (
            w * up(p.N, n) * p.E
            + i * up(p.M, a) * p.E * p.R / p.H
            + o * (up(p.C, q) * p.R - up(p.C, q * r))
        )
        cost = 200 * dram + 6 * buffer + 2 * hops + 2 * o * (p.C * p.R * p.S - up(p.C, q) * p.R)
        for k in _best(cost, legal, 3):
            tiles = {
                "G@dram": 1,
                "M@dram": m[k],
                "N@dram": n[k],
                "E@dram": e[k],
                "C@dram": q * r[k],
                "M@buffer": a * t[k],
                "N@buffer": 1,
            }
            tiles |= {
                "F@buffer": 1,
                "M@row": a,
                "C@row": q,
                "R@row": 1,
                "E@col": 1,
                "M@pe": 1,
                "C@pe": 1,
                "S@pe": 1,
            }
            best.append(
                (float(cost[k]), _ints(tiles), _ints({"rows": p.R * r[k] * t[k], "cols": e[k]}))
            )
    yield from sorted(best, key=lambda b: b[0])[:tried]


def _ints(tiles: dict[str, Any]) -> Tiles:
    return {k: int(v) for k, v in tiles.items()}


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
        True,
        ("weight",),
    ),
    Kind(
        "OSA",
        "output_stationary_soc_mop",
        49,
        1,
        48,
        {"dram": ALL, "buffer": ("weight", "ifmap"), "shift": ("ifmap",), "pe": ("ofmap",)},
        _osa,
    ),
    Kind(
        "OSB",
        "output_stationary_moc_mop",
        5,
        1,
        4,
        {"dram": ALL, "buffer": ("weight", "ifmap"), "shift": ("ifmap",), "pe": ("ofmap",)},
        _osb,
    ),
    Kind(
        "OSC",
        "output_stationary_moc_sop",
        1,
        1,
        0,
        {"dram": ALL, "buffer": ("weight", "ifmap"), "pe": ("ofmap",)},
        _osc,
    ),
    Kind(
        "NLR",
        "no_local_reuse",
        0,
        0,
        0,
        {"dram": ALL, "buffer": ALL, "pe": ()},
        _nlr,
        unwired=("weight",),
    ),
)
