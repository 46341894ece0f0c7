"""Arithmetic in a network's file: ``=4*m`` is four times the parameter ``m``, the block's or the
file's.

The language is ``base/expression``'s, of which a block has whole numbers, parameters, ``+ - * //``
and brackets.  ``unroll`` works the values out when it puts a block in place.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from accelsim.base.errors import or_nearest
from accelsim.base.expression import ExpressionError, Grammar, tree
from accelsim.base.limits import MAX_NUMBER

MAX_LENGTH = 80
_SIGNS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
_GRAMMAR = Grammar(infix=frozenset({"+", "-", "*", "//"}))


def is_expression(value: object) -> bool:
    """Whether a value of a file is an expression: text that begins with ``=``."""
    return isinstance(value, str) and value.startswith("=")


def evaluate(text: str, parameters: Mapping[str, Any], of: str = "") -> object:
    """The value of ``=EXPRESSION``, a whole number; ``=name`` alone may be any value.  Whose
    parameters they are is ``of``, the block's unless given.

    Raises ValueError with the rule for what is not an expression, an unknown parameter, arithmetic
    on what is not a whole number, division by zero or a result beyond 2^53.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"an expression must have at most {MAX_LENGTH} characters")
    expression = _read(text[1:])
    if isinstance(expression, ast.Name):
        return _lookup(expression.id, parameters, of)
    return _whole_number(expression, parameters, of)


@lru_cache(maxsize=1000)
def _read(text: str) -> ast.expr:
    """The tree of an expression, which nobody changes; every use of a block asks for it again."""
    try:
        return tree(text, _GRAMMAR)
    except ExpressionError as error:
        raise ValueError(
            "an expression must not end there" if error.ended else f"not an expression: {error}"
        ) from None


def _whole_number(node: ast.expr, parameters: Mapping[str, Any], of: str) -> int:
    match node:
        case ast.BinOp(left=left, op=sign, right=right):
            a, b = (_whole_number(side, parameters, of) for side in (left, right))
            if isinstance(sign, ast.FloorDiv) and b == 0:
                raise ValueError("an expression must not divide by zero")
            return _bounded(_SIGNS[type(sign)](a, b))
        case ast.Name(id=name):
            value, what = _lookup(name, parameters, of), f"parameter {name}"
        case ast.Constant(value=value):
            what = "a number of an expression"
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} must be a whole number here, got {value!r}")
    return value if isinstance(node, ast.Name) else _bounded(value)


def _lookup(name: str, parameters: Mapping[str, Any], of: str) -> Any:
    if name not in parameters:
        raise ValueError(
            f"no such parameter of the {of or 'block'}, got {name}{or_nearest(name, parameters)}"
        )
    return parameters[name]


def _bounded(value: int) -> int:
    if abs(value) > MAX_NUMBER:
        raise ValueError("an expression must stay within 2^53")
    return value
