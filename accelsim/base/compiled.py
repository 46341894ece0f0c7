"""The one place that imports numba: kernels are compiled where it is there, and run as Python where
it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

try:
    from numba import njit

    def compiled(kernel: Callable[P, R]) -> Callable[P, R]:
        """A function on plain arrays and numbers, compiled when first called."""
        return njit(cache=True)(kernel)  # type: ignore[no-any-return]

except ImportError:

    def compiled(kernel: Callable[P, R]) -> Callable[P, R]:
        """The function itself: slow, exact."""
        return kernel
