"""Block floating point: integer words with one power of two for a whole tensor, the form gradients
have in words.

Nobody calibrates a gradient: its size changes from step to step.  So each tensor's exponent follows
from the exact numbers it is rounded from, as the smallest at which the largest magnitude still
fits.

Gradients in words (``operators/gradients``, ``engines/golden/training``) are these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.arithmetic import Array, Number, rounds_up
from accelsim.workload.scaling import divide

FRACTION = Number(24)  # of factors a table gives, and of parts before they are added
PARAMETER = Number(48)  # of a gradient that float64 arithmetic gave


@dataclass(frozen=True)
class BlockFloat:
    """``words * 2^exponent / divisor``: int64 of any shape, exactly.  Only what is not rounded yet
    has a divisor.
    """

    words: NDArray[np.int64]
    exponent: int
    divisor: int = 1

    @property
    def values(self) -> NDArray[np.float64]:
        """As float64: exact for words below 2^53 without a divisor."""
        return np.asarray(np.ldexp(self.words.astype(np.float64), self.exponent) / self.divisor)

    def times(self, factor: BlockFloat) -> BlockFloat:
        """The product, word by word, exact: the caller sees to it that words stay below 2^63."""
        return BlockFloat(
            self.words * factor.words,
            self.exponent + factor.exponent,
            self.divisor * factor.divisor,
        )

    def same(self, other: BlockFloat) -> bool:
        """Whether every bit agrees, the exponent's too."""
        here, there = (self.exponent, self.divisor), (other.exponent, other.divisor)
        return here == there and np.array_equal(self.words, other.words)


def exponent_of(scale: float) -> int:
    """The exponent of a scale that is a power of two.  Raises ValueError for another."""
    mantissa, exponent = frexp(scale)
    if mantissa != 0.5:
        raise ValueError(f"a scale must be a power of two here, got {scale}")
    return exponent - 1


def rounded(values: Array, number: Number) -> BlockFloat:
    """Real numbers as words of ``number`` at the smallest exponent that holds the largest
    magnitude, half to even.

    What is not a finite number (a derivative where there is none) becomes 0.
    """
    exact = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(np.abs(exact).max(initial=0))
    if not largest:
        return BlockFloat(np.zeros(exact.shape, np.int64), 0)
    exponent = frexp(largest)[1] - (number.bits - 1)
    if np.rint(np.ldexp(largest, -exponent)) > number.high:
        exponent += 1
    return BlockFloat(np.rint(np.ldexp(exact, -exponent)).astype(np.int64), exponent)


def narrowed(block: BlockFloat, number: Number) -> BlockFloat:
    """The same rounded once, half to even, to words of ``number``, at the smallest exponent that
    holds the largest magnitude.

    ``block``: words below 2^62 in magnitude.  The result has no divisor; zeros have exponent 0.
    """
    largest = max(int(block.words.max(initial=0)), -int(block.words.min(initial=0)))
    if not largest:
        return BlockFloat(np.zeros(block.words.shape, np.int64), 0)
    up = (
        number.bits - 1 - largest.bit_length() + block.divisor.bit_length()
    )  # one more than can fit, at least
    while _quotient(largest, up, block.divisor) > number.high:
        up -= 1
    words = (
        divide(block.words << up, block.divisor)
        if up >= 0
        else divide(block.words, block.divisor << -up)
    )
    return BlockFloat(words, block.exponent - up)


def _quotient(word: int, up: int, divisor: int) -> int:
    """``word * 2^up / divisor``, half to even, in Python's whole numbers."""
    top, below = (word << up, divisor) if up >= 0 else (word, divisor << -up)
    whole, rest = divmod(top, below)
    return whole + int(rounds_up(top, whole, rest, below, "half_even"))


def added(blocks: Sequence[BlockFloat], number: Number) -> BlockFloat:
    """The sum of gradients that reach one tensor on several ways, in words of ``number``.

    One is narrowed and nothing else.  Several are each rounded to ``FRACTION`` first, brought to
    the finest exponent among them (at most ``FRACTION`` below the coarsest, half to even), added
    exactly, and narrowed.
    """
    if len(blocks) == 1:
        return narrowed(blocks[0], number)
    parts = [part for part in (narrowed(block, FRACTION) for block in blocks) if part.words.any()]
    if not parts:
        return narrowed(blocks[0], number)
    unit = max(
        min(part.exponent for part in parts), max(part.exponent for part in parts) - FRACTION.bits
    )
    total = np.zeros(np.shape(blocks[0].words), np.int64)
    for part in parts:
        up = part.exponent - unit
        total = total + (part.words << up if up >= 0 else divide(part.words, 1 << min(-up, 61)))
    return narrowed(BlockFloat(total, unit), number)
