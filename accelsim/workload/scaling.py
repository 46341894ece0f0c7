"""Between real numbers and words: scales, and multiplication by a ratio of scales in whole numbers.

A word w of a tensor with scale s stands for w*s (symmetric: zero is zero).  A sum of products, or
of words, has a scale too, and goes to another scale by ``rescale``: times a multiplier of at most
``MULTIPLIER_BITS`` bits, divided by a power of two, rounded once, saturated.  With scales that are
powers of two the multiplier is 1 and what is left is the shift of ``arithmetic.Requantize``.

``Scales`` is what an operator's integer form is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.arithmetic import Array, Number, Rounding, rounds_up, shift_right

MULTIPLIER_BITS = 24
MAX_BITS = 37  # of a word times a multiplier, in 64 with one to spare
INT8 = Number(8)


def divide(
    numerator: Array, denominator: int | Array, rounding: Rounding = "half_even"
) -> NDArray[np.int64]:
    """``numerator / denominator`` rounded, exactly, for int64 arrays; ``denominator`` positive.

    Both must stay below 2^62 in magnitude.  Roundings as in ``arithmetic.Requantize``.
    """
    top, below = np.asarray(numerator, np.int64), np.asarray(denominator, np.int64)
    floor, remainder = np.floor_divide(top, below), np.mod(top, below)
    return np.asarray(floor + rounds_up(top, floor, remainder, below, rounding), np.int64)


def fixed_point(ratio: float, bits: int = MULTIPLIER_BITS) -> tuple[int, int]:
    """The nearest ``multiplier / 2^shift`` with a multiplier of at most ``bits`` bits; exact for
    powers of two.

    Raises ValueError for a ratio that is not positive and below 2^bits.  A ratio below 2^-(62)
    becomes 0.
    """
    if not 0 < ratio < 2**bits:
        raise ValueError(f"a ratio of scales must be positive and below 2^{bits}, got {ratio}")
    mantissa, exponent = frexp(ratio)
    multiplier, shift = round(mantissa * 2**bits), bits - exponent
    while multiplier % 2 == 0 and shift > 0:
        multiplier, shift = multiplier // 2, shift - 1
    if shift > 62:
        multiplier, shift = multiplier >> min(shift - 62, 63), 62
    return multiplier, shift


def rescale(
    words: Array, ratio: float | Array, divisor: int | Array = 1, rounding: Rounding = "half_even"
) -> NDArray[np.int64]:
    """``words * ratio / divisor`` rounded once, int64; ratio as ``fixed_point`` gives it.

    ``ratio``: one, or an array that broadcasts (one for each channel).  Raises ValueError for words
    of 2^37 or more.
    """
    words = np.asarray(words, np.int64)
    if words.size and max(-int(words.min()), int(words.max())) >= 1 << MAX_BITS:
        raise ValueError(f"only words of at most {MAX_BITS} bits can be rescaled")
    if np.ndim(ratio) == 0:
        multiplier, shift = fixed_point(float(ratio))
        return _shifted(words * multiplier, shift, divisor, rounding)
    table = [fixed_point(float(r)) for r in np.asarray(ratio).ravel()]
    multipliers = np.array([m for m, _ in table], np.int64).reshape(np.shape(ratio))
    shifts = np.array([s for _, s in table], np.int64).reshape(np.shape(ratio))
    return _shifted(words * multipliers, shifts, divisor, rounding)


def _shifted(
    product: Array, shift: int | Array, divisor: int | Array, rounding: Rounding
) -> NDArray[np.int64]:
    if isinstance(divisor, int) and divisor == 1:
        return shift_right(product, np.asarray(shift, np.int64), rounding)
    # (p / 2^s) / d in one rounding: the bits that the shift drops matter only for ties, kept as one
    # sticky bit.
    kept = np.maximum(np.asarray(shift) - 8, 0)
    low = product >> kept
    sticky = (product & ((np.int64(1) << kept) - 1)) != 0
    return divide(
        2 * low + sticky,
        2 * (np.int64(1) << (np.asarray(shift) - kept)) * np.asarray(divisor, np.int64),
        rounding,
    )


@dataclass(frozen=True)
class Scales:
    """Scales of an operator's inputs and output, the output's number type, and how quotients are
    rounded.
    """

    inputs: tuple[float, ...]
    output: float
    number: Number = INT8
    rounding: Rounding = "half_even"

    def round(self, values: Array) -> NDArray[np.int64]:
        """Real numbers as words of the output, half to even, saturated; not-a-number is zero."""
        words = np.rint(
            np.nan_to_num(np.asarray(values, np.float64), posinf=np.inf, neginf=-np.inf)
            / self.output
        )
        return np.clip(words, self.number.low, self.number.high).astype(np.int64)

    def saturate(self, words: Array) -> NDArray[np.int64]:
        """Words within the output's range."""
        return np.clip(words, self.number.low, self.number.high)

    def rescale(
        self, words: Array, scale: float | Array, divisor: int | Array = 1
    ) -> NDArray[np.int64]:
        """Words (or sums) of ``scale`` divided by ``divisor`` as words of the output."""
        return self.saturate(
            rescale(words, np.asarray(scale) / self.output, divisor, self.rounding)
        )
