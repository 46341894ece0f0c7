"""Gradients of operators, in float64 and in words, one module for each module of operators."""

from accelsim.workload.operators.gradients import activation, array, combine, normalization, pooling
from accelsim.workload.operators.gradients.base import gradient, gradient_words, refusal

__all__ = ["activation", "array", "combine", "gradient", "gradient_words", "normalization", "pooling", "refusal"]
