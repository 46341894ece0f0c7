"""Gradients of operators, in float64 and in words, one module for each module of operators.

``graph/backward`` and ``engines/golden/training`` call ``gradient``, ``gradient_words`` and
``refusal``; importing this package registers a rule for every operator that has one.
"""

from accelsim.workload.operators.gradients import activation_gradients as activation
from accelsim.workload.operators.gradients import array_gradients as array
from accelsim.workload.operators.gradients import combine_gradients as combine
from accelsim.workload.operators.gradients import normalization_gradients as normalization
from accelsim.workload.operators.gradients import pooling_gradients as pooling
from accelsim.workload.operators.gradients.gradient import gradient, gradient_words, refusal

__all__ = [
    "activation",
    "array",
    "combine",
    "gradient",
    "gradient_words",
    "normalization",
    "pooling",
    "refusal",
]
