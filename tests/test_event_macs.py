"""MACs of a pass, one by one, beside plain Python: sums, the words they belong to, and poison."""

from __future__ import annotations

from itertools import product
from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from nests import drawn_nest

from accelsim import Conv2d, Problem, load_architecture, simulate
from accelsim.engines import event
from accelsim.engines.event.movement import movement
from accelsim.engines.event.multiply import MacBoxes, Span
from accelsim.engines.event.transfers import Pass
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.problem import TENSORS


def points(nest: Nest, box: dict[str, Span]) -> list[dict[str, int]]:
    """Every point of the iteration space that a box has."""
    parts = []
    for chain in nest.chains:
        span = box[chain.name]
        ranges = (range(span.lo[p], span.hi[p]) for p in chain.parts)
        some = [dict(zip(chain.parts, x, strict=True)) for x in product(*ranges)]
        parts.append(some[slice(*span.chunk)] if span.chunk is not None else some)
    return [{d: i for part in choice for d, i in part.items()} for choice in product(*parts)]


def word(nest: Nest, tensor: str, at: dict[str, int]) -> tuple[int, ...] | None:
    """The word of a tensor that a point meets; None for padding."""
    p = nest.problem
    h, w = (
        slide.stride * at[out] + slide.dilation * at[filt] - slide.pad
        for slide, out, filt in ((p.slide_h, "E", "R"), (p.slide_w, "F", "S"))
    )
    if tensor == "weight":
        return at["G"], at["M"], at["C"], at["R"], at["S"]
    if tensor == "ofmap":
        return at["N"], at["G"], at["M"], at["E"], at["F"]
    real = 0 <= h < p.H and 0 <= w < p.W
    return (at["N"], at["G"], at["C"], h, w) if real else None


def by_hand(nest: Nest, box: dict[str, Span], data: dict[str, Any]) -> dict[Any, float]:
    """Sums by word; nan where a word that is poison has a part."""
    sums: dict[Any, float] = {}
    for at in points(nest, box):
        target = word(nest, nest.problem.accumulated, at)
        values = [
            0.0 if where is None else float(data[t][where])
            for t, where in ((t, word(nest, t, at)) for t in nest.problem.operands)
        ]
        if target is not None:
            sums[target] = sums.get(target, 0.0) + values[0] * values[1]
    return sums


def executed(nest: Nest, box: dict[str, Span], data: dict[str, Any]) -> dict[Any, float]:
    sums: dict[Any, float] = {}
    shape = nest.problem.shape(nest.problem.accumulated)
    words, values = MacBoxes(nest).products(box, lambda tensor: (data[tensor].reshape(-1), None))
    grid = np.stack(np.unravel_index(words.flat, shape), axis=1)
    for place, value in zip(grid.tolist(), np.asarray(values).ravel(), strict=True):
        assert tuple(place) not in sums, "a word stands twice"
        sums[tuple(place)] = float(value)
    return sums


@pytest.mark.parametrize("poisoned", [0, 1, 2])
def test_every_mac_by_itself(poisoned: int) -> None:
    """On random nests of all three directions, chunks of fused dimensions included; a word of so
    many operands is poison.
    """
    spread = spared = 0
    for seed in range(40):
        nest, rng = drawn_nest(seed, 120), np.random.default_rng(seed)
        nest = nest.framed() if event.stores_padding(nest) else nest
        data = {
            t: rng.integers(-9, 10, nest.problem.shape(t)).astype(np.float32)
            for t in nest.problem.operands
        }
        for t in nest.problem.operands[:poisoned]:
            data[t].flat[rng.integers(data[t].size)] = nan
        for p in (e for e in movement(nest) if isinstance(e, Pass)):
            for _, box in p.boxes:
                if all(x.exists for x in box.values()):
                    want, got = by_hand(nest, box, data), executed(nest, box, data)
                    assert want.keys() == got.keys(), f"seed {seed}"
                    same = (isnan(got[k]) if isnan(v) else got[k] == v for k, v in want.items())
                    assert all(same), f"seed {seed}"
                    spread += sum(map(isnan, want.values()))
                    spared += sum(not isnan(v) for v in want.values())
    assert spared > 400 and (spread > 50 if poisoned else not spread)


@pytest.mark.parametrize(("bits", "dtype"), [(24, np.int32), (32, np.int32), (40, np.int64)])
def test_sums_have_the_accumulators_width(bits: int, dtype: Any) -> None:
    nest = drawn_nest(3)
    numbers = nest.arch.bits.model_copy(update={"psum": bits})
    nest = Nest(nest.problem, nest.arch.model_copy(update={"bits": numbers}), nest.mapping)
    box = next(e for e in movement(nest) if isinstance(e, Pass)).boxes[0][1]
    data = {t: np.ones(nest.problem.shape(t), np.float32) for t in nest.problem.operands}
    _, sums = MacBoxes(nest).products(box, lambda tensor: (data[tensor].reshape(-1), None))
    assert sums.dtype == dtype


def test_sums_straight_from_the_macs_are_told() -> None:
    """Where PEs keep no sums, a pass says which words its MACs make, each once."""
    told = 0
    for seed in range(40):
        nest = drawn_nest(seed, 120)
        nest = nest.framed() if event.stores_padding(nest) else nest
        accumulated = nest.problem.accumulated
        shape = nest.problem.shape(accumulated)
        for p in (e for e in movement(nest, stepwise=True) if isinstance(e, Pass)):
            for (_, words), (_, box) in zip(p.direct, p.boxes, strict=False):
                there = points(nest, box) if all(x.exists for x in box.values()) else []
                made = {word(nest, accumulated, at) for at in there} - {None}
                flat = sorted(words.flat.tolist())
                assert flat == sorted(int(np.ravel_multi_index(x, shape)) for x in made)
                told += len(made)
    assert told > 200


SIXTEEN = {f"bits.{t}": 16 for t in ("weight", "ifmap", "ofmap")} | {"bits.psum": 48}
WORDS = 8_400_001  # so many products of 32767^2 pass 2^53


def long_sum(direction: str, bias: bool = False) -> tuple[Nest, dict[str, Any]]:
    """A sum of so many products, one after another, that float64 would round it by one.

    Backwards it stands alone in an ifmap of 64 words, of which a stride passes 63 by.
    """
    size = dict.fromkeys("NGMCEFRS", 1)
    backwards = {"M": WORDS, "H": 8, "W": 8, "stride": (8, 8)}
    forwards = {"C": (1 << 23) - 2, "H": 1, "W": 1, "bias": bias}
    one = Problem(**size | (backwards if direction == "grad_input" else forwards))
    problem = one.with_direction(direction)
    keep = {"dram": TENSORS, "nb": (), "reg": ()}
    mapping = Mapping(loops="M:1:reg C:1:reg", keep=keep)
    data = {t: np.full(problem.shape(t), 32767, np.int16) for t in problem.operands}
    if bias:
        data = {t: np.full_like(x, -32768) for t, x in data.items()}
        data["bias"] = np.full((1, 1), (1 << 47) - 1)
    return Nest(problem, load_architecture("shidiannao", SIXTEEN), mapping), data


@pytest.mark.parametrize(("direction", "bias"), [("grad_input", False), ("forward", True)])
def test_sums_that_float64_would_round_are_refused(direction: str, bias: bool) -> None:
    """Words that no window meets have no part in a sum; a bias has (both were off by one)."""
    nest, data = long_sum(direction, bias)
    with pytest.raises(MappingError, match="may exceed 2\\^53"):
        event.run(nest, data)


def test_a_sum_too_long_is_a_row_with_the_reason() -> None:
    """It was an error that took the other layers' rows along."""
    nest, _ = long_sum("grad_input")
    p = nest.problem
    layer = Conv2d(M=p.M, C=p.C, H=p.H, W=p.W, R=p.R, S=p.S, stride=p.stride)
    (row,) = simulate(
        layer, nest.arch, mapping=nest.mapping, engine="event", direction=p.direction
    ).rows
    assert "may exceed 2^53" in row.columns["error"]
