"""Data for a film that is checked by hand: small whole numbers.

``animation`` draws them unless the whole range of the architecture's words is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accelsim.workload.arithmetic import Number
from accelsim.workload.problem import Problem

# Weights and gradients of both signs, activations as a rectifier leaves them; no weight is 0, so a
# product of 0 comes from padding or a zero activation.
WEIGHTS = (-3, -2, -1, 1, 2, 3)
ACTIVATIONS = tuple(range(10))


def small_data(
    problem: Problem, numbers: Mapping[str, Number], seed: int
) -> dict[str, npt.NDArray[Any]]:
    """Arrays for the two operands of ``problem.direction``, and a bias where there is one, by
    tensor name, shapes ``problem.shape(tensor)`` and (G, M); the same for the same seed.

    ``numbers`` are the types of weight, ifmap, ofmap and psum: what they cannot hold is left out.
    Raises ValueError for a type its role does not allow, as ``random_data`` does.
    """
    rng = np.random.default_rng(seed)
    numbers["psum"].as_accumulator()
    data = {}
    for tensor in problem.operands:
        number = numbers[tensor].as_operand(tensor)
        values = _held_by(number, ACTIVATIONS if tensor == "ifmap" else WEIGHTS)
        data[tensor] = rng.choice(values, problem.shape(tensor)).astype(number.dtype)
    if problem.bias and problem.direction == "forward":
        values = _held_by(numbers["psum"], (-3, -2, -1, 0, 1, 2, 3))
        data["bias"] = rng.choice(values, (problem.G, problem.M)).astype(numbers["psum"].dtype)
    return data


def _held_by(number: Number, values: tuple[int, ...]) -> npt.NDArray[np.int64]:
    return np.array([v for v in values if number.low <= v <= number.high] or [0], np.int64)
