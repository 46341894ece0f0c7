"""Words as hardware holds them: integer types that wrap, requantization, random data
(docs/design.md, section 6).

Every engine ends in ``wrap`` and ``requantize``, and starts from ``random_data`` unless it is given
arrays.  Rounding is in one place, ``rounds_up``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.problem import Problem

Array = NDArray[Any]  # of any shape, of words or of real numbers
Rounding = Literal["floor", "half_up", "half_even", "toward_zero"]
Whole = int | np.int64 | NDArray[np.int64]

OPERAND_BITS = (1, 16)
ACCUMULATOR_BITS = (2, 48)


@dataclass(frozen=True)
class Number:
    """An integer type of ``bits`` bits, two's complement if ``signed`` (one signed bit means {-1,
    0}).

    Any width from the narrowest operand to the widest accumulator; what a role allows is checked by
    ``as_operand`` and ``as_accumulator``.  Raises ValueError if ``bits`` is outside 1 to 48.
    """

    bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        self._require("a number", OPERAND_BITS[0], ACCUMULATOR_BITS[1])

    @property
    def low(self) -> int:
        """The smallest value."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def high(self) -> int:
        """The largest value."""
        return self.low + (1 << self.bits) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest numpy integer type that holds every value."""
        return np.min_scalar_type(self.low if self.signed else self.high)

    def as_operand(self, name: str) -> Number:
        """This number, if an operand may have it (1 to 16 bits), else ValueError naming the
        operand.
        """
        return self._require(f"operand {name}", *OPERAND_BITS)

    def as_accumulator(self, name: str = "psum") -> Number:
        """This number, if an accumulator may have it (2 to 48 bits), else ValueError naming the
        accumulator.
        """
        return self._require(f"accumulator {name}", *ACCUMULATOR_BITS)

    def _require(self, what: str, least: int, most: int) -> Number:
        if not least <= self.bits <= most:
            raise ValueError(f"{what} must have {least} to {most} bits, got {self.bits}")
        return self


def wrap(values: NDArray[Any], number: Number) -> NDArray[np.int64]:
    """``values`` modulo 2^bits, in the range of ``number``: what a register of that width keeps.

    ``values``: integers of any shape and type, or float64 holding exact integers; 64-bit wrapping
    before this call does no harm, as 2^bits divides 2^64.  Returns a new int64 array of the same
    shape. Raises ValueError if a float is not an integer in the int64 range, TypeError for other
    types.
    """
    values = np.asarray(values)
    if np.issubdtype(values.dtype, np.floating):
        with np.errstate(invalid="ignore"):
            words = values.astype(np.int64)
        if not np.array_equal(words, values):
            raise ValueError("only integers in the int64 range wrap, got floats that are not")
    elif np.issubdtype(values.dtype, np.integer):
        words = values.astype(np.int64)
    else:
        raise TypeError(f"only integers wrap, got {values.dtype}")
    return wrap_in_place(words, number)


def wrap_in_place(words: NDArray[np.int64], number: Number) -> NDArray[np.int64]:
    """``wrap`` for an int64 array that is no longer needed: overwritten and returned."""
    if number.signed:
        unused = 64 - number.bits
        words <<= unused  # the sign bit to the top,
        words >>= unused  # and back with its copies
    else:
        words &= number.high
    return words


@dataclass(frozen=True)
class Requantize:
    """Accumulator to ofmap word: divide by 2^shift, round, activate, saturate (docs/design.md,
    section 6).

    ``rounding`` of the quotient: ``floor`` (towards minus infinity, the bare arithmetic shift),
    ``half_up`` (nearest, ties towards plus infinity), ``half_even`` (nearest, ties to even),
    ``toward_zero`` (truncate).  ``relu`` replaces negative quotients by zero.
    Raises ValueError for a shift outside 0 to 62 or an unknown rounding.
    """

    shift: int
    rounding: Rounding = "half_even"
    relu: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= 62:
            raise ValueError(f"shift must be 0 to 62 bits, got {self.shift}")
        if self.rounding not in get_args(Rounding):
            raise ValueError(
                f"rounding must be one of {', '.join(get_args(Rounding))}, got {self.rounding!r}"
            )


def requantize(acc: NDArray[np.int64], spec: Requantize, out: Number) -> NDArray[Any]:
    """``acc`` shifted and rounded, activated, then saturated to the range of ``out``, in that
    order.

    ``acc``: int64 of any shape.  Returns the same shape in ``out.dtype``.
    Raises ValueError if ``out`` is no operand type (the ofmap is the next layer's ifmap).
    """
    out.as_operand("ofmap")
    words = shift_right(acc, spec.shift, spec.rounding) if spec.shift else acc
    return np.clip(words, 0 if spec.relu else out.low, out.high).astype(out.dtype)


def shift_right(
    words: NDArray[np.int64], shift: int | NDArray[np.int64], rounding: Rounding
) -> NDArray[np.int64]:
    """``words / 2^shift`` rounded, in the shape of ``words``; one shift, 0 to 62, or an array of
    them that broadcasts.
    """
    floor, divisor = words >> shift, np.int64(1) << shift
    return np.asarray(
        floor + rounds_up(words, floor, words & (divisor - 1), divisor, rounding), np.int64
    )


def rounds_up(
    dividend: Whole, floor: Whole, remainder: Whole, divisor: Whole, rounding: Rounding
) -> bool | np.bool_ | NDArray[np.bool_]:
    """Whether ``dividend / divisor`` rounded is its ``floor`` plus one.

    Whole numbers, or int64 arrays of one shape, with 0 <= remainder < divisor.  Nothing here is
    larger than the divisor, so that none overflows.
    """
    if rounding == "floor":
        return False
    if rounding == "half_up":
        return remainder >= divisor - (divisor >> 1)
    if rounding == "half_even":
        tie = ~divisor & 1  # only an even divisor has a half
        return remainder + (floor & tie) > divisor >> 1
    return (remainder > 0) & (dividend < 0)


def random_operand(
    shape: tuple[int, ...], number: Number, rng: np.random.Generator
) -> NDArray[Any]:
    """Uniform over the full range of ``number``; with two words or more, its low and high are among
    them.

    Returns an array of ``shape`` in ``number.dtype``.
    """
    values = rng.integers(number.low, number.high, size=shape, dtype=number.dtype, endpoint=True)
    if values.size >= 2:
        values.flat[rng.choice(values.size, 2, replace=False)] = number.low, number.high
    return values


def random_data(
    problem: Problem, weight: Number, ifmap: Number, ofmap: Number, psum: Number, seed: int
) -> dict[str, NDArray[Any]]:
    """Random arrays for the two operands of ``problem.direction``, by tensor name; the same for the
    same seed.

    Shapes are ``problem.shape(tensor)``; in the two gradient directions ``ofmap`` is the upstream
    gradient.  A forward problem with bias also gets ``bias`` of shape (G, M), over the range of
    ``psum``. Raises ValueError for a type its role does not allow (docs/design.md, section 6).
    """
    rng = np.random.default_rng(seed)
    numbers = {
        name: n.as_operand(name)
        for name, n in (("weight", weight), ("ifmap", ifmap), ("ofmap", ofmap))
    }
    psum.as_accumulator()
    data = {
        name: random_operand(problem.shape(name), numbers[name], rng) for name in problem.operands
    }
    if problem.bias and problem.direction == "forward":
        data["bias"] = random_operand((problem.G, problem.M), psum, rng)
    return data
