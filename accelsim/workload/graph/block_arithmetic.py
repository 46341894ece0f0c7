"""Arithmetic in a block: ``=4*m`` is four times the block's parameter ``m``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from accelsim.base.errors import nearest
from accelsim.base.limits import MAX_NUMBER

MAX_LENGTH = 80
_TOKEN = re.compile(r"\s*(?:([0-9]+)|([A-Za-z_][A-Za-z_0-9]*)|(//|[-+*()]))")


def is_expression(value: Any) -> bool:
    """Whether a value of a file is an expression: text that begins with ``=``."""
    return isinstance(value, str) and value.startswith("=")


def evaluate(text: str, parameters: Mapping[str, Any]) -> Any:
    """The value of ``=EXPRESSION``: whole numbers, parameters, ``+ - * //`` and parentheses;
    ``=name`` alone may be any value.

    Raises ValueError with the rule for what is not an expression, an unknown parameter, arithmetic
    on what is not a whole number, division by zero or a result beyond 2^53.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"an expression must have at most {MAX_LENGTH} characters")
    tokens = _tokens(text[1:])
    if len(tokens) == 1 and (tokens[0].isidentifier()):
        return _lookup(tokens[0], parameters)
    value, rest = _sum(tokens, parameters)
    if rest:
        raise ValueError(f"an expression must have + - * // between its parts, got {text}")
    return value


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    while text[at:].strip():
        if (match := _TOKEN.match(text, at)) is None:
            raise ValueError(
                f"an expression may have whole numbers, parameters, + - * // and parentheses, got ={text}"
            )
        tokens.append(match[1] or match[2] or match[3])
        at = match.end()
    if not tokens:
        raise ValueError("an expression must not be empty")
    return tokens


def _sum(tokens: list[str], parameters: Mapping[str, Any]) -> tuple[int, list[str]]:
    value, rest = _product(tokens, parameters)
    while rest and rest[0] in "+-":
        sign = rest[0]
        term, rest = _product(rest[1:], parameters)
        value = _bounded(value + term if sign == "+" else value - term)
    return value, rest


def _product(tokens: list[str], parameters: Mapping[str, Any]) -> tuple[int, list[str]]:
    value, rest = _factor(tokens, parameters)
    while rest and rest[0] in ("*", "//"):
        sign = rest[0]
        factor, rest = _factor(rest[1:], parameters)
        if sign == "//" and factor == 0:
            raise ValueError("an expression must not divide by zero")
        value = _bounded(value * factor if sign == "*" else value // factor)
    return value, rest


def _factor(tokens: list[str], parameters: Mapping[str, Any]) -> tuple[int, list[str]]:
    if not tokens:
        raise ValueError("an expression must not end there")
    head, rest = tokens[0], tokens[1:]
    if head == "(":
        value, rest = _sum(rest, parameters)
        if rest[:1] != [")"]:
            raise ValueError("an expression's parentheses must be closed")
        return value, rest[1:]
    if head.isdigit():
        return _bounded(int(head[:20])), rest
    if not head.isidentifier():
        raise ValueError(f"an expression must have a number or a parameter there, got {head}")
    value = _lookup(head, parameters)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"parameter {head} must be a whole number here, got {value!r}")
    return value, rest


def _lookup(name: str, parameters: Mapping[str, Any]) -> Any:
    if name not in parameters:
        close = nearest(name, parameters)
        raise ValueError(
            f"no such parameter of the block, got {name}"
            + (f"; nearest: {', '.join(close)}" if close else "")
        )
    return parameters[name]


def _bounded(value: int) -> int:
    if abs(value) > MAX_NUMBER:
        raise ValueError("an expression must stay within 2^53")
    return value
