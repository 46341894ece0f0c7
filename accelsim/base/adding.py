"""Fractions added up in the order they come, on every Python alike; called wherever energy and
area are summed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any, TypeVar, cast

T = TypeVar("T")


def sum_in_order(values: Iterable[T]) -> T | int:
    """The sum of numbers or arrays, one after the other; 0 of none.

    ``sum`` of floats carries along what rounding loses since Python 3.12: nearer, but another last
    digit than before, and than arrays of the same numbers have.
    """
    return cast("T | int", reduce(add, cast("Iterable[Any]", values), 0))
