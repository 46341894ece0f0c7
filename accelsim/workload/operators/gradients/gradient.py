"""What every gradient has: from the loss's gradient at an operator's output to those at its inputs
and parameters.

In float64 a gradient is the operator's definition differentiated.  In words it is exact in whole
numbers where the operator's derivative is (its function's docstring says so) and rounded once where
the tensor it belongs to is complete; otherwise words go to float64, the formula, and back, rounded
half to even.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.workload.arithmetic import Array
from accelsim.workload.block_float import PARAMETER, BlockFloat, rounded
from accelsim.workload.operators.operator import Operator, Weights, as_float, kind
from accelsim.workload.scaling import Scales

Floats = tuple[list[Array], dict[str, Array]]  # by input, by the operator's parameter
Blocks = tuple[list[BlockFloat], dict[str, BlockFloat]]
# A gradient that is linear with whole-number factors: (op, xs, g) to those at the inputs times a
# divisor, of g's own type.
Linear = Callable[[Any, Sequence[Array], Array], tuple[list[Array], int]]


@singledispatch
def gradient(op: Operator, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
    """The loss's gradients at the inputs and parameters, in float64, in their shapes.

    ``xs``: inputs (batch, *shape); ``g``: the gradient at the output, (batch, *out).  Raises
    ValueError in one line for an operator that has none.
    """
    raise ValueError(f"{kind(op)} has no gradient")


@singledispatch
def gradient_words(
    op: Operator, xs: Sequence[Array], g: BlockFloat, weights: Weights, scales: Scales
) -> Blocks:
    """The same of words: ``xs`` words of ``scales.inputs``, powers of two; ``g`` words of the
    operand's width.

    The gradients at the inputs are not narrowed yet, so that what reaches one tensor on several
    ways is rounded once.
    """
    exact = [x * s for x, s in zip(xs, scales.inputs, strict=True)]
    inputs, own = gradient(op, exact, g.values, weights)
    return [rounded(x, PARAMETER) for x in inputs], {
        key: rounded(v, PARAMETER) for key, v in own.items()
    }


@singledispatch
def refusal(op: Operator) -> str | None:
    """Why an operator has no gradient, or None."""
    return (
        f"{kind(op)} has no gradient"
        if gradient.dispatch(type(op)) is gradient.dispatch(object)
        else None
    )


def linear(*kinds: type[Operator]) -> Callable[[Linear], Linear]:
    """Registers a rule that is exact in whole numbers, for float64 and words at once."""

    def register(rule: Linear) -> Linear:
        def floats(op: Operator, xs: Sequence[Array], g: Array, weights: Weights) -> Floats:
            parts, divisor = rule(op, [as_float(x) for x in xs], as_float(g))
            return [part / divisor for part in parts], {}

        def words(
            op: Operator, xs: Sequence[Array], g: BlockFloat, weights: Weights, scales: Scales
        ) -> Blocks:
            parts, divisor = rule(op, [x.astype(np.int64) for x in xs], g.words)
            return [BlockFloat(part, g.exponent, g.divisor * divisor) for part in parts], {}

        for each in kinds:
            gradient.register(each, floats)
            gradient_words.register(each, words)
        return rule

    return register


def unbroadcast(g: Array, shape: tuple[int, ...]) -> NDArray[Any]:
    """What came of repeating ``shape`` (batch first, axes of 1 put in after it) added up again."""
    missing = g.ndim - len(shape)
    full = (shape[0], *[1] * missing, *shape[1:])
    axes = tuple(i for i, (n, m) in enumerate(zip(full, g.shape, strict=True)) if n == 1 and m != 1)
    return np.asarray(g.sum(axis=axes, keepdims=True).reshape(shape))
