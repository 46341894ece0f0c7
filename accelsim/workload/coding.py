"""Run-length code for feature maps: pairs of (zeros before, value), packed into words (Eyeriss,
JSSC 52(1) 2017, section IV).

A run counts up to ``2^run_bits - 1`` zeros, the level after it is the next value as it is.  More
zeros than that are a pair of the longest run and a level of zero.  As many pairs as fit go into one
word, and its last bit says whether the word is the last of its stream.  What no value is left for
in the last word is zero.  The length of a stream is not in the code: who reads a feature map knows
its shape.

``engines/analytic/link_coding`` asks for the size of what crosses a link, of real words (``bits``)
or of an assumed share of zeros (``expected_bits``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.arithmetic import Number, wrap

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class RunLength:
    """The code's three widths in bits; Eyeriss's are 5, 16 and 64: three pairs and one end bit.

    Raises ValueError for a word that no pair fits into, or more than 64 bits.
    """

    run_bits: int = 5
    level_bits: int = 16
    word_bits: int = 64

    def __post_init__(self) -> None:
        if (
            min(self.run_bits, self.level_bits) < 1
            or self.word_bits > 64
            or self.pairs_per_word < 1
        ):
            raise ValueError(
                f"a word of at most 64 bits holds at least one pair and an end bit, "
                f"got {self.word_bits} bits for pairs of {self.run_bits} + {self.level_bits}"
            )

    @property
    def pairs_per_word(self) -> int:
        """As many pairs as fit beside the end bit."""
        return (self.word_bits - 1) // (self.run_bits + self.level_bits)

    @property
    def reach(self) -> int:
        """The most values one pair stands for: the longest run and its level."""
        return 1 << self.run_bits

    # -- the code ----------------------------------------------------------------------------------

    def encode(self, values: NDArray[Any]) -> Words:
        """One stream of integers, in C order, as uint64 words of which the low ``word_bits`` are
        used; the first pair highest.

        Raises ValueError if a value does not fit ``level_bits``, as signed or as unsigned.
        """
        flat = np.ascontiguousarray(values).reshape(-1).astype(np.int64)
        if flat.size and not (
            -(1 << self.level_bits - 1) <= flat.min() and flat.max() < 1 << self.level_bits
        ):
            raise ValueError(
                f"levels have {self.level_bits} bits, got values from {flat.min()} to {flat.max()}"
            )
        at = np.flatnonzero(flat)
        gaps = np.diff(at, prepend=-1) - 1
        rest = flat.size - 1 - (int(at[-1]) if at.size else -1)
        full = gaps // self.reach  # pairs of the longest run and a zero before the value's own
        tail = [self.reach - 1] * (rest // self.reach) + (
            [rest % self.reach - 1] if rest % self.reach else []
        )
        own = np.cumsum(full + 1) - 1
        count = int((full + 1).sum()) + len(tail)
        runs = np.full(count, self.reach - 1, np.uint64)
        levels = np.zeros(count, np.uint64)
        runs[own] = (gaps % self.reach).astype(np.uint64)
        levels[own] = (flat[at] & ((1 << self.level_bits) - 1)).astype(np.uint64)
        if tail:
            runs[count - len(tail) :] = tail
        return self._pack(runs, levels)

    def decode(self, words: Words, shape: tuple[int, ...], number: Number) -> NDArray[Any]:
        """The values of one stream, of ``shape``, in ``number.dtype``.

        Raises ValueError if the words hold fewer values, if one is left over, or if the end bits
        are not those of one stream.
        """
        count = int(np.prod(shape, dtype=np.int64))
        last = (words & np.uint64(1)).astype(bool)
        if (last.sum() != 1 or not last[-1]) if len(words) else count:
            raise ValueError("the last word of a stream, and no other, must have its end bit set")
        pair = np.uint64(self.run_bits + self.level_bits)
        shifts = np.array(
            [1 + int(pair) * (self.pairs_per_word - 1 - i) for i in range(self.pairs_per_word)],
            np.uint64,
        )
        pairs = (words[:, None] >> shifts).reshape(-1) & np.uint64((1 << int(pair)) - 1)
        ends = np.cumsum((pairs >> np.uint64(self.level_bits)).astype(np.int64) + 1)
        needed = int(np.searchsorted(ends, count)) + 1 if count else 0
        if needed > len(pairs):
            raise ValueError(
                f"the stream holds {int(ends[-1]) if len(ends) else 0} values, {count} are wanted"
            )
        if -(-needed // self.pairs_per_word) != len(words):
            raise ValueError(f"{count} values end before the last of {len(words)} words")
        values = np.zeros(int(ends[needed - 1]) if needed else 0, np.int64)
        values[ends[:needed] - 1] = (pairs[:needed] & np.uint64((1 << self.level_bits) - 1)).astype(
            np.int64
        )
        if len(values) > count and values[count:].any():
            raise ValueError(f"a value is left over after the {count} wanted")
        return wrap(values[:count], number).reshape(shape).astype(number.dtype)

    def _pack(self, runs: Words, levels: Words) -> Words:
        per = self.pairs_per_word
        count = -(-len(runs) // per)
        pairs = np.zeros(count * per, np.uint64)
        pairs[: len(runs)] = runs << np.uint64(self.level_bits) | levels
        words = np.zeros(count, np.uint64)
        for column in pairs.reshape(count, per).T:
            words = words << np.uint64(self.run_bits + self.level_bits) | column
        words <<= np.uint64(1)
        words[-1:] |= np.uint64(1)
        return words

    # -- its size ----------------------------------------------------------------------------------

    def bits(self, values: NDArray[Any]) -> int:
        """Size of one stream in bits, whole words; ``64 * len(encode(values))`` without coding
        it.
        """
        flat = np.ascontiguousarray(values).reshape(-1)
        at = np.flatnonzero(flat)
        rest = flat.size - 1 - (int(at[-1]) if at.size else -1)
        pairs = (
            at.size
            + int(((np.diff(at, prepend=-1) - 1) // self.reach).sum())
            - (-rest // self.reach)
        )
        return self.word_bits * -(-pairs // self.pairs_per_word)

    def expected_bits(self, words: float, zeros: float) -> float:
        """Size of a long stream whose values are zero with probability ``zeros``, each by itself,
        in bits.

        A pair stands for 1 + zeros + ... + zeros^(reach - 1) values on average.
        """
        per_pair = sum(zeros**k for k in range(self.reach))
        return words / per_pair * self.word_bits / self.pairs_per_word

    @property
    def break_even(self) -> float:
        """The share of zeros below which data grow, however the zeros lie: each value that is not
        zero takes a pair.
        """
        return 1 - self.level_bits * self.pairs_per_word / self.word_bits


def entropy_bits(values: NDArray[Any], level_bits: int = 16) -> float:
    """What no code goes below that treats values one by one and levels as they are: H(zero or not)
    each, and the levels.
    """
    size, full = values.size, int(np.count_nonzero(values))
    shares = [x / size for x in (full, size - full) if x] if size else []
    return size * -sum(x * float(np.log2(x)) for x in shares) + level_bits * full


@dataclass(frozen=True)
class Coded:
    """Traffic of one tensor over a link, in bits: as it is and coded; ``zeros`` is its share of
    zeros, or what was assumed.
    """

    raw_bits: int
    coded_bits: int
    zeros: float

    @property
    def ratio(self) -> float:
        """Coded size over raw size."""
        return self.coded_bits / self.raw_bits if self.raw_bits else 1.0

    @property
    def grew(self) -> bool:
        """Whether the code made it larger."""
        return self.coded_bits > self.raw_bits

    def note(self, what: str, code: RunLength) -> str | None:
        """One line if coding made the data larger, else None."""
        if not self.grew:
            return None
        return (
            f"{what}: run-length coding makes it {self.ratio - 1:.1%} larger, {self.zeros:.1%} of"
            " it being zeros "
            f"(it saves above {code.break_even:.0%} or a little more)"
        )
