"""The published equations: what a layer costs under each of the six dataflows, as Chen, Emer and
Sze count it (ISCA 2016, equations 3 and 4 with the reuse of section VI), and which tiles are best
by that count.

Two callers: ``study.py`` holds our counts of the same tiles against them, and the tests hold them
against the printed values, which they meet to every digit.  Where the paper's text is silent this
follows the public scripts that evaluate its equations (github.com/ominux/eyeriss-dataflow); no
code is theirs.

Tiles have the paper's letters: m filters, n images, e x f pixels of an output plane, p filters and
q channels side by side or in a PE, and r and t, copies of those on the array.  The paper's
row-stationary cuts the width of a plane (f) where ``dataflows/row_stationary.yaml`` cuts its height
(E); AlexNet's planes are square and the words are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelsim import Problem

Arrays = dict[str, np.ndarray]
Tiles = dict[str, int]
# Words by level and tensor: each is charged its level's price.  "dram" and "buffer" are reads and
# writes, "array" is hops between PEs or from the buffer to one, "pe" is the register file's.
Words = dict[tuple[str, str], Any]

PRICE = {"dram": 200, "buffer": 6, "array": 2, "pe": 1}  # table IV; of a MAC: 1
TENSORS = ("weight", "ifmap", "ofmap")


def cuts(n: int, most: int | None = None) -> list[int]:
    """Tiles of a dimension that matter: the smallest for each number of pieces."""
    return sorted({-(-n // k) for k in range(1, n + 1)} & set(range(1, (most or n) + 1)))


def grid(**choices: Any) -> Arrays:
    """All combinations, as flat arrays by name."""
    mesh = np.meshgrid(*[np.array(list(c), np.int64) for c in choices.values()], indexing="ij")
    return {name: m.reshape(-1) for name, m in zip(choices, mesh, strict=True)}


def up(a: Any, b: Any) -> Any:
    """Pieces of b in a."""
    return -(-a // b)


@dataclass(frozen=True)
class Layer:
    """A layer as the equations see it, its padding in the ifmap.

    ``whole_pieces`` is the one thing in which two ways to count may differ here.  The paper's
    (False): a plane of F columns in tiles of f has F / f strips, a fraction if need be, and
    ceil(M / p) groups of filters however they are cut into tiles of m.  Piece by piece (True):
    ceil(F / f) strips, and groups begin anew in every tile of m.
    """

    p: Problem
    whole_pieces: bool = False

    @property
    def ifmap(self) -> float:
        return float(self.p.words("ifmap"))

    @property
    def weight(self) -> float:
        return float(self.p.words("weight"))

    @property
    def ofmap(self) -> float:
        return float(self.p.words("ofmap"))

    @property
    def macs(self) -> float:
        return float(self.p.macs)

    def rows(self, e: Any) -> Any:
        """Ifmap rows that e rows of outputs need."""
        return (e - 1) * self.p.stride[0] + self.p.R

    def cols(self, f: Any) -> Any:
        """Ifmap columns that f columns of outputs need."""
        return (f - 1) * self.p.stride[1] + self.p.S

    def tall(self, e: Any) -> Any:
        """How often each row of the ifmap is fetched for strips of e rows of outputs, in the mean:
        what neighbouring strips share counts twice.
        """
        strips = up(self.p.E, e) if self.whole_pieces else self.p.E / e
        return (self.p.E * self.p.stride[0] + strips * (self.p.R - self.p.stride[0])) / self.p.H

    def wide(self, f: Any) -> Any:
        """The same of columns, for strips of f columns."""
        strips = up(self.p.F, f) if self.whole_pieces else self.p.F / f
        return (self.p.F * self.p.stride[1] + strips * (self.p.S - self.p.stride[1])) / self.p.W

    def groups(self, m: Any, p: Any) -> Any:
        """Groups of p filters, of all M, of which m are a tile."""
        if not self.whole_pieces:
            return up(self.p.M, p)
        return self.p.M // m * up(m, p) + up(self.p.M % m, p)


def _words(dram: Any, buffer: Any, array: Any, pe: Any) -> Words:
    """A count written as four rows of three."""
    levels = {"dram": dram, "buffer": buffer, "array": array, "pe": pe}
    return {
        (level, tensor): value
        for level, values in levels.items()
        for tensor, value in zip(TENSORS, values, strict=True)
    }


# The equations: a is the DRAM's factor, ab the buffer's, abc the array's ----------------------


def _rs_words(x: Layer, t: Any) -> Words:
    p, q, k = x.p, t["q"], t["q"] * t["r"]
    strip = x.ifmap * x.wide(t["f"])
    weight, sums = x.weight * up(p.N, t["n"]), p.C * p.R * p.S
    return _words(
        dram=(weight * up(p.F, t["f"]), strip * up(p.M, t["m"]), x.ofmap),
        buffer=(0, strip * x.groups(t["m"], t["p"] * t["t"]), 2 * x.ofmap * (up(p.C, k) - 1)),
        array=(
            weight * p.F,
            x.ifmap * x.groups(t["m"], t["p"]) * p.S * p.F / p.W,
            x.ofmap * (up(p.C, q) * p.S - up(p.C, k)),
        ),
        pe=(x.macs, x.macs, 2 * x.ofmap * (sums - up(p.C, q) * p.S)),
    )


def _ws_words(x: Layer, t: Any) -> Words:
    p, passes = x.p, up(x.p.C, t["r"]) * x.p.R
    return _words(
        dram=(x.weight, x.ifmap * x.wide(t["f"]) * up(p.M, t["t"]), x.ofmap),
        buffer=(0, 0, 2 * x.ofmap * (passes - 1)),
        array=(0, x.macs, x.ofmap * (p.C * p.R * p.S - passes)),
        pe=(x.macs, 0, 0),
    )


def _output_stationary(x: Layer, t: Any, fetched: Any, groups: Any, fills: Any) -> Words:
    """Sums stay in the PEs: ``fetched`` words of the ifmap a pass over the filters, ``groups`` of
    filters that read them from the buffer, and the weights read ``fills`` times.
    """
    p = x.p
    return _words(
        dram=(x.weight, fetched * up(p.M, t["m"]), x.ofmap),
        buffer=(x.weight * fills, fetched * groups, 0),
        array=(x.macs, x.macs, 0),
        pe=(0, 0, 2 * x.ofmap * (p.C * p.R * p.S - 1)),
    )


def _osa_words(x: Layer, t: Any) -> Words:
    p = x.p
    fills = up(p.N, t["n"]) * up(p.E, t["e"]) * up(p.F, t["f"])
    return _output_stationary(x, t, x.ifmap * x.tall(t["e"]) * x.wide(t["f"]), p.M, fills)


def _osb_words(x: Layer, t: Any) -> Words:
    p = x.p
    fills = up(p.N, t["n"]) * p.E * up(p.F, t["f"])
    return _output_stationary(
        x, t, x.ifmap * x.tall(1) * x.wide(t["f"]), x.groups(t["m"], t["p"]), fills
    )


def _osc_words(x: Layer, t: Any) -> Words:
    p = x.p
    fills = up(p.N, t["n"]) * p.E * p.F
    return _output_stationary(
        x, t, x.ifmap * x.tall(1) * x.wide(1), x.groups(t["m"], t["p"]), fills
    )


def _nlr_words(x: Layer, t: Any) -> Words:
    p, passes = x.p, up(x.p.C, t["q"]) * x.p.R * x.p.S
    tiles = up(p.N, t["n"]) * up(p.E, t["e"]) * up(p.F, t["f"])
    return _words(
        dram=(
            x.weight * tiles,
            x.ifmap * x.tall(t["e"]) * x.wide(t["f"]) * up(p.M, t["m"]),
            x.ofmap,
        ),
        buffer=(x.macs, x.macs / p.M * x.groups(t["m"], t["p"]), 2 * x.ofmap * (passes - 1)),
        array=(0, x.macs, x.ofmap * (p.C * p.R * p.S - passes)),
        pe=(0, 0, 0),
    )


# The tiles that fit: of those that cost the same, the smallest ----------------------------------


def _rs_tiles(x: Layer, pes: int, words: int) -> Iterator[Arrays]:
    p = x.p
    for q in range(1, min(p.C, 256 // p.R) + 1):
        most = min((256 - q * p.R) // (q * p.R + 1), p.M, pes)
        if most < 1:
            continue
        copies = cuts(up(p.C, q), max(min(p.C // q, pes // p.R), 1))
        g = grid(p=range(1, most + 1), r=copies, f=range(1, p.F + 1), n=cuts(p.N))
        room = words - g["n"] * q * g["r"] * p.H * x.cols(g["f"])
        g |= {"q": np.full_like(g["n"], q), "m": np.minimum(room // (g["n"] * p.E * g["f"]), p.M)}
        lines = p.R * g["f"] * g["r"]
        g = _only(g, (lines <= pes) & (g["m"] >= g["p"]))
        copies_of_p = np.minimum(pes // (p.R * g["f"] * g["r"]), g["m"] // g["p"])
        yield g | {"t": copies_of_p, "m": np.maximum(_even(p.M, g["m"]), g["p"] * copies_of_p)}


def _ws_tiles(x: Layer, pes: int, words: int) -> Iterator[Arrays]:
    p, g = x.p, grid(r=cuts(x.p.C), t=cuts(x.p.M), f=range(1, x.p.F + 1))
    held = p.N * g["t"] * p.E * p.F + shifted(p, g)
    yield _only(g, (held <= words) & (g["r"] * g["t"] * p.R * p.S <= pes))


def shifted(p: Problem, t: Any) -> Any:
    """Words of the buffer in which weight-stationary lines wait for the row of filters below."""
    return t["r"] * t["t"] * ((t["f"] - 1) * p.stride[1]) * (p.R - 1)


def _osa_tiles(x: Layer, pes: int, words: int) -> Iterator[Arrays]:
    p, g = x.p, grid(n=cuts(x.p.N), e=range(1, x.p.E + 1), f=range(1, x.p.F + 1))
    room = words - g["n"] * p.C * x.rows(g["e"]) * x.cols(g["f"])
    g["m"] = np.minimum(room // (p.C * p.R * p.S), p.M)
    g = _only(g, (g["m"] >= 1) & (g["n"] * g["e"] * g["f"] <= pes))
    yield g | {"m": _even(p.M, g["m"])}


def _filters_on_the_array(x: Layer, g: Arrays, pes: int, words: int, held: Any) -> Arrays:
    """The most filters a tile can have beside ``held`` words of the ifmap, and of those the most
    that fit on the array with ``n`` images and ``f`` pixels.
    """
    p = x.p
    g["m"] = np.minimum((words - held) // (p.C * p.R * p.S), p.M)
    g["p"] = np.minimum(pes // (g["n"] * g.get("f", 1)), g["m"])
    g = _only(g, g["p"] >= 1)
    return g | {"m": _even(p.M, g["m"]), "p": _even(p.M, g["p"])}


def _osb_tiles(x: Layer, pes: int, words: int) -> Iterator[Arrays]:
    p, g = x.p, grid(n=cuts(x.p.N), f=range(1, x.p.F + 1))
    yield _filters_on_the_array(x, g, pes, words, g["n"] * p.C * p.R * x.cols(g["f"]))


def _osc_tiles(x: Layer, pes: int, words: int) -> Iterator[Arrays]:
    p, g = x.p, grid(n=cuts(x.p.N))
    yield _filters_on_the_array(x, g, pes, words, g["n"] * p.C * p.R * p.S)


def _nlr_tiles(x: Layer, pes: int, words: int) -> Iterator[Arrays]:
    p = x.p
    for q in cuts(p.C, pes):
        g = grid(n=cuts(p.N), e=range(1, p.E + 1), f=range(1, p.F + 1))
        room = words - g["n"] * q * x.rows(g["e"]) * x.cols(g["f"])
        m = np.minimum(room // (q * p.R * p.S + g["n"] * g["e"] * g["f"]), p.M)
        g |= {"q": np.full_like(m, q), "m": m, "p": np.minimum(m, pes // q)}
        g = _only(g, m >= 1)
        yield g | {"m": _even(p.M, g["m"]), "p": _even(p.M, g["p"])}


def _only(g: Arrays, those: np.ndarray) -> Arrays:
    return {name: values[those] for name, values in g.items()}


def _even(n: int, tile: Any) -> Any:
    """The smallest tile of n that makes no more pieces."""
    return up(n, up(n, tile))


COUNT: dict[str, Callable[[Layer, Any], Words]] = {
    "RS": _rs_words,
    "WS": _ws_words,
    "OSA": _osa_words,
    "OSB": _osb_words,
    "OSC": _osc_words,
    "NLR": _nlr_words,
}
FITTING: dict[str, Callable[[Layer, int, int], Iterator[Arrays]]] = {
    "RS": _rs_tiles,
    "WS": _ws_tiles,
    "OSA": _osa_tiles,
    "OSB": _osb_tiles,
    "OSC": _osc_tiles,
    "NLR": _nlr_tiles,
}


def count(name: str, problem: Problem, tiles: Any, whole_pieces: bool = False) -> Words:
    """Words charged for a dataflow's tiles, by level and tensor: the paper's fractions of pieces,
    or piece by piece.
    """
    return COUNT[name](Layer(problem, whole_pieces), tiles)


def energy(words: Words) -> Any:
    """Of such words, in MACs, the MACs themselves not among them."""
    return sum(PRICE[level] * value for (level, _), value in words.items())


def best_tiles(name: str, problem: Problem, pes: int, words: int) -> Tiles | None:
    """The tiles of least energy on so many PEs and a buffer of so many words; None if none fits.

    A psum's hop is charged twice while tiles are chosen.  Equation 4 charges it once, and so are
    the values stated; but those of RS, and the bars of figure 10, are those of tiles chosen so
    (with it once, RS at batch 1 would be 6.390 and not 6.420).  The others choose the same tiles
    either way.
    """
    least, best = np.inf, None
    for some in FITTING[name](Layer(problem), pes, words):
        if not len(next(iter(some.values()))):
            continue
        counted = count(name, problem, some)
        cost = energy(counted) + PRICE["array"] * counted["array", "ofmap"]
        k = int(np.argmin(cost))
        if cost[k] < least:
            least, best = cost[k], {letter: int(values[k]) for letter, values in some.items()}
    return best
