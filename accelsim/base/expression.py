"""Expressions in study files and on command lines: numbers, names, arithmetic, comparisons,
``and``, ``or``, ``not``.

    array.rows * array.cols <= 1024 and area_um2 < 2e6
    dataflow == 'ws' and 0.5 < utilization

Read by a parser of its own; nothing is ever handed to Python.  A name is a dotted key or a column, looked up in a
table and never as an attribute; one with other characters stands in backquotes (`` `levels.l-1.capacity_bytes` ``).
``+ - * / // % **`` and ``min(...)``, ``max(...)`` are Python's.  Text in quotes is compared, not computed with.
``none`` is what has no value: arithmetic with it, and division by zero, give none, and ``< <= > >=`` with none are false.
Length, depth, number of parts and the size of whole numbers are bounded, so that no expression takes long.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_LENGTH = 1000
MAX_PARTS = 200
MAX_DEPTH = 30
MAX_BITS = 1024  # of a whole number on the way

Values = Mapping[str, Any]
Code = Callable[[Values], Any]


class ExpressionError(ValueError):
    """An expression that cannot be read, or that cannot be worked out for the values given."""


@dataclass(frozen=True)
class Expression:
    """A read expression: ``names`` are what it asks for, in order of appearance."""

    text: str
    names: tuple[str, ...]
    _code: Code = field(repr=False, compare=False)

    def value(self, values: Values) -> Any:
        """A number, truth value, text or None.  ``values`` must have every name.  Raises
        ExpressionError.
        """
        return self._code(values)

    def holds(self, values: Values) -> bool:
        """Whether it is true (none is not).  Raises ExpressionError."""
        return _truth(self._code(values))


def parse(text: str) -> Expression:
    """Read an expression.  Raises ExpressionError, which says at which character, from 1, what is
    wrong.
    """
    return _Parser(text).expression()


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)
      | `(?P<quoted>[^`\n]+)`
      | '(?P<single>[^'\n]*)' | "(?P<double>[^"\n]*)"
      | (?P<sign>\*\*|//|<=|>=|==|!=|[-+*/%<>(),])
    )""",
    re.VERBOSE,
)
_WORDS = ("and", "or", "not")
_CONSTANTS = {
    "true": True,
    "false": False,
    "none": None,
    "True": True,
    "False": False,
    "None": None,
}
_FUNCTIONS: dict[str, Callable[[list[Any]], Any]] = {"min": min, "max": max}
_EQUAL = {"==": operator.eq, "!=": operator.ne}
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class _Token:
    kind: str  # number, name, text, sign, end
    value: Any
    at: int  # from 1

    def __str__(self) -> str:
        return (
            "the end"
            if self.kind == "end"
            else repr(self.value)
            if self.kind == "text"
            else str(self.value)
        )


class _Parser:
    """Precedence climbing; every level of nesting and every part is counted."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ExpressionError(f"must be an expression as text, got {type(text).__name__}")
        if len(text) > MAX_LENGTH:
            raise ExpressionError(f"must have at most {MAX_LENGTH} characters, got {len(text)}")
        self.text, self.tokens, self.at = text, _tokens(text), 0
        self.names: dict[str, None] = {}
        self.depth = 0

    def expression(self) -> Expression:
        if self.tokens[0].kind == "end":
            raise ExpressionError("must be an expression, got nothing")
        code = self.either()
        if self.now.kind != "end":
            raise self.error("an operator")
        return Expression(self.text, tuple(self.names), code)

    @property
    def now(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *signs: str) -> str | None:
        """The sign or word that stands here, if it is one of these."""
        token = self.now
        if token.kind in ("sign", "word") and token.value in signs:
            self.at += 1
            return str(token.value)
        return None

    def error(self, wanted: str) -> ExpressionError:
        return ExpressionError(
            f"{wanted} must stand at character {self.now.at} of {_cut(self.text)!r}, got {self.now}"
        )

    def deeper(self, inside: Callable[[], Code]) -> Code:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(f"must not be nested more than {MAX_DEPTH} deep")
        code = inside()
        self.depth -= 1
        return code

    def either(self) -> Code:
        parts = [self.both()]
        while self.take("or"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda values: any(_truth(p(values)) for p in parts)

    def both(self) -> Code:
        parts = [self.negation()]
        while self.take("and"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else lambda values: all(_truth(p(values)) for p in parts)

    def negation(self) -> Code:
        if self.take("not"):
            inside = self.deeper(self.negation)
            return lambda values: not _truth(inside(values))
        return self.comparison()

    def comparison(self) -> Code:
        parts, signs = [self.sum()], []
        while sign := self.take(*_EQUAL, *_ORDER):
            signs.append(sign)
            parts.append(self.sum())
        if not signs:
            return parts[0]

        def compare(values: Values) -> bool:
            left = parts[0](values)
            for sign, part in zip(signs, parts[1:], strict=True):
                right = part(values)
                if not _compare(sign, left, right):
                    return False
                left = right
            return True

        return compare

    def sum(self) -> Code:
        return self.chain(self.product, ("+", "-"))

    def product(self) -> Code:
        return self.chain(self.signed, ("*", "/", "//", "%"))

    def chain(self, part: Callable[[], Code], signs: tuple[str, ...]) -> Code:
        code = part()
        while sign := self.take(*signs):
            code = _binary(sign, code, part())
        return code

    def signed(self) -> Code:
        if sign := self.take("-", "+"):
            inside = self.deeper(self.signed)
            return (
                _binary("-", lambda values: 0, inside)
                if sign == "-"
                else _binary("+", lambda values: 0, inside)
            )
        return self.power()

    def power(self) -> Code:
        base = self.atom()
        if self.take("**"):
            return _binary("**", base, self.deeper(self.signed))
        return base

    def atom(self) -> Code:
        token = self.now
        if self.take("("):
            code = self.deeper(self.either)
            if not self.take(")"):
                raise self.error("a closing bracket")
            return code
        if token.kind not in ("number", "name", "text", "constant"):
            raise self.error("a number, a name or a bracket")
        self.at += 1
        if token.kind != "name":
            return lambda values: token.value
        if self.now.value == "(" and self.now.kind == "sign":
            return self.call(token)
        name = str(token.value)
        self.names[name] = None
        return lambda values: values[name]

    def call(self, token: _Token) -> Code:
        function = _FUNCTIONS.get(token.value)
        if function is None:
            raise ExpressionError(
                f"no such function at character {token.at}, got {_cut(token.value)} (have {', '.join(_FUNCTIONS)})"
            )
        self.take("(")
        parts = [self.deeper(self.either)]
        while self.take(","):
            parts.append(self.deeper(self.either))
        if not self.take(")"):
            raise self.error("a comma or a closing bracket")

        def run(values: Values) -> Any:
            found = [_number(p(values), token.value) for p in parts]
            return None if None in found else function(found)

        return run


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise ExpressionError(
                f"character {at + 1} of {_cut(text)!r} belongs to no expression, got {text[at]!r}"
            )
        found.append(_token(match))
        at = match.end()
        if len(found) > MAX_PARTS:
            raise ExpressionError(f"must have at most {MAX_PARTS} parts")
    return [*found, _Token("end", None, len(text) + 1)]


def _token(match: re.Match[str]) -> _Token:
    kind = str(match.lastgroup)
    value, at = match[kind], match.start(kind) + 1
    if kind == "number":
        return _Token("number", _literal(value, at), at)
    if kind == "name" and value in _WORDS:
        return _Token("word", value, at)
    if kind == "name" and value in _CONSTANTS:
        return _Token("constant", _CONSTANTS[value], at)
    return _Token({"quoted": "name", "single": "text", "double": "text"}.get(kind, kind), value, at)


def _literal(text: str, at: int) -> int | float:
    if len(text) > 40:
        raise ExpressionError(
            f"the number at character {at} must have at most 40 digits, got {len(text)}"
        )
    number = int(text) if text.isdigit() else float(text)
    if not math.isfinite(number):
        raise ExpressionError(f"the number at character {at} must be finite, got {text}")
    return number


def _binary(sign: str, left: Code, right: Code) -> Code:
    run = _ARITHMETIC[sign]

    def code(values: Values) -> Any:
        a, b = _number(left(values), sign), _number(right(values), sign)
        if a is None or b is None:
            return None
        try:
            result = run(a, b)
        except ZeroDivisionError:
            return None
        except OverflowError:
            raise ExpressionError(f"the result of {sign} is too large") from None
        if isinstance(result, int) and result.bit_length() > MAX_BITS:
            raise ExpressionError(f"the result of {sign} is too large")
        return result

    return code


def _power(a: int | float, b: int | float) -> Any:
    whole = isinstance(a, int) and isinstance(b, int)
    if whole and b > 0 and abs(a) > 1 and (int(a).bit_length() - 1) * int(b) > MAX_BITS:
        raise OverflowError
    result = float(a) ** b if whole and b < 0 and a else a**b
    return None if isinstance(result, complex) else result


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": _power,
}


def _number(value: Any, sign: str) -> Any:
    """A number, a truth value as one, or None."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, (int, float)):
        return value
    raise ExpressionError(f"{sign} wants numbers, got {_cut(str(value))!r}")


def _compare(sign: str, a: Any, b: Any) -> bool:
    a, b = (None if isinstance(x, float) and x != x else x for x in (a, b))
    if sign in _EQUAL:
        return bool(_EQUAL[sign](a, b))
    if a is None or b is None:
        return False
    if isinstance(a, str) != isinstance(b, str):
        raise ExpressionError(
            f"{sign} wants two numbers or two texts, got {_cut(str(a))!r} and {_cut(str(b))!r}"
        )
    try:
        return bool(_ORDER[sign](a, b))
    except TypeError:
        raise ExpressionError(
            f"{sign} wants two numbers or two texts, got {_cut(str(a))!r} and {_cut(str(b))!r}"
        ) from None


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        raise ExpressionError(f"a condition must be true or false, got the text {_cut(value)!r}")
    return value is not None and value == value and bool(value)


def _cut(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
