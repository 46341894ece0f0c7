"""The one language of expressions: numbers, names, arithmetic, comparisons, ``and``, ``or``,
``not``.

    array.rows * array.cols <= 1024 and area_um2 < 2e6        conditions of study files, --where
    4*m                                                       numbers in a network's block
    energy*cycles^2                                           what a mapper makes small

``parse`` reads the whole language and works it out; ``tree`` reads a part of it (a ``Grammar``)
for who gives it a meaning of its own.

A name is a dotted key or a column, looked up in a table and never as an attribute; one with other
characters stands in backquotes (`` `levels.l-1.capacity_bytes` ``).  ``+ - * / // % **`` and
``min(...)``, ``max(...)`` are Python's.  Text in quotes is compared, not computed with.  ``none``
is what has no value: arithmetic with it, and division by zero, give none, and ``< <= > >=`` with
none are false.  Length, depth, number of parts and the size of whole numbers are bounded, so that
no expression takes long.

Python's own parser (the standard ``ast``) knows which sign binds first; it never sees the text.
It is given one in which every number, name and quoted text is a placeholder, and from its tree only
the nodes listed in ``_restored`` are taken.  Nothing is ever compiled.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_LENGTH = 1000
MAX_PARTS = 200
MAX_DEPTH = 30
MAX_BITS = 1024  # of a whole number on the way

Values = Mapping[str, Any]
Result = int | float | str | None  # a truth value is an int
Code = Callable[[Values], Any]


class ExpressionError(ValueError):
    """An expression that cannot be read, or that cannot be worked out for the values given.

    ``ended`` says that the text ended before the expression did.
    """

    def __init__(self, message: str, ended: bool = False) -> None:
        super().__init__(message)
        self.ended = ended


@dataclass(frozen=True)
class Grammar:
    """The part of the language that one use of it has.

    ``infix`` and ``prefix`` are the signs and words between operands and before one, ``operands``
    the kinds of operands (number, name, quoted for a name in backquotes, text), ``constants`` the
    names that mean a value, ``functions`` the names that may stand before a bracket.
    """

    infix: frozenset[str]
    prefix: frozenset[str] = frozenset()
    operands: frozenset[str] = frozenset({"number", "name"})
    constants: Mapping[str, Any] = field(default_factory=dict)
    functions: tuple[str, ...] = ()
    brackets: bool = True


@dataclass(frozen=True)
class Expression:
    """A read expression: ``names`` are what it asks for, in order of appearance."""

    text: str
    names: tuple[str, ...]
    _code: Code = field(repr=False, compare=False)

    def value(self, values: Values) -> Result:
        """A number, truth value, text or None.  ``values`` must have every name.  Raises
        ExpressionError.
        """
        result: Result = self._code(values)
        return result

    def holds(self, values: Values) -> bool:
        """Whether it is true (none is not).  Raises ExpressionError."""
        return _truth(self._code(values))


def parse(text: str) -> Expression:
    """Read an expression.  Raises ExpressionError, which says at which character, from 1, what is
    wrong.
    """
    names: dict[str, None] = {}
    code = _code(tree(text, WHOLE_LANGUAGE), names)
    return Expression(text, tuple(names), code)


def tree(text: str, grammar: Grammar) -> ast.expr:
    """The tree of an expression, made of Name, Constant, UnaryOp, BinOp, Compare, BoolOp and Call.

    A Name's ``id`` is the whole name, dots included; ``^`` is Pow.  Brackets are in the tree's
    shape.  Raises ExpressionError, which says at which character, from 1, what is wrong.
    """
    if not isinstance(text, str):
        raise ExpressionError(f"must be an expression as text, got {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"must have at most {MAX_LENGTH} characters, got {len(text)}")
    tokens = _tokens(text, grammar)
    if tokens[0].kind == "end":
        raise ExpressionError("must be an expression, got nothing", ended=True)
    _check_order(text, tokens, grammar)
    try:
        parsed = ast.parse(_placeholders(tokens), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"must be an expression, got {_cut(text)!r}") from None
    return _restored(parsed, tokens, 0)


# From text to tokens ------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)
      | `(?P<quoted>[^`\n]+)`
      | '(?P<single>[^'\n]*)' | "(?P<double>[^"\n]*)"
      | (?P<sign>\*\*|//|<=|>=|==|!=|[-+*/%^<>(),])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class _Token:
    kind: str  # number, name, text, constant, sign, end
    value: Any
    at: int  # from 1

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end"
        return repr(self.value) if self.kind == "text" else str(self.value)

    def is_sign(self, sign: str) -> bool:
        return self.kind == "sign" and self.value == sign


def _tokens(text: str, grammar: Grammar) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        token = _token(match, grammar) if match else None
        if match is None or token is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise ExpressionError(
                f"character {at + 1} of {_cut(text)!r} belongs to no expression, got {text[at]!r}"
            )
        tokens.append(token)
        at = match.end()
        if len(tokens) > MAX_PARTS:
            raise ExpressionError(f"must have at most {MAX_PARTS} parts")
    return [*tokens, _Token("end", None, len(text) + 1)]


def _token(match: re.Match[str], grammar: Grammar) -> _Token | None:
    """The token that was matched; None if the grammar has no such thing."""
    kind = str(match.lastgroup)
    value, at = match[kind], match.start(kind) + 1
    signs = {*grammar.infix, *grammar.prefix, *("()" if grammar.brackets else "")}
    if grammar.functions:
        signs.add(",")
    if kind in ("sign", "name") and value in signs:
        return _Token("sign", value, at)
    kind = {"single": "text", "double": "text"}.get(kind, kind)
    if kind not in grammar.operands:
        return None
    if kind == "number":
        return _Token("number", _literal(value, at), at)
    if kind == "name" and value in grammar.constants:
        return _Token("constant", grammar.constants[value], at)
    return _Token("name" if kind == "quoted" else kind, value, at)


def _literal(text: str, at: int) -> int | float:
    if len(text) > 40:
        raise ExpressionError(
            f"the number at character {at} must have at most 40 digits, got {len(text)}"
        )
    number = int(text) if text.isdigit() else float(text)
    if not math.isfinite(number):
        raise ExpressionError(f"the number at character {at} must be finite, got {text}")
    return number


def _check_order(text: str, tokens: Sequence[_Token], grammar: Grammar) -> None:
    """Operands and infix signs must take turns, and brackets must close.

    With this checked the rest is grammatical, and what is wrong can be told in our own words.
    ``not`` binds less than a comparison, so it begins an expression, a bracket or a side of ``and``
    and ``or``, and stands nowhere else.
    """
    opened: list[bool] = []  # whether a function stands before each bracket that is open
    operand_next, not_allowed_here, called = True, False, False
    for token, after in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        sign = token.value if token.kind == "sign" else None
        if operand_next and sign == "(":
            opened.append(called)
            not_allowed_here = called = False
        elif operand_next and sign in grammar.prefix and not (sign == "not" and not_allowed_here):
            not_allowed_here = sign != "not"
        elif operand_next and token.kind in ("number", "name", "text", "constant"):
            called = operand_next = token.kind == "name" and after.is_sign("(")
            if called and token.value not in grammar.functions:
                raise ExpressionError(
                    f"no such function at character {token.at}, got {_cut(token.value)}"
                    f" (have {', '.join(grammar.functions)})"
                )
        elif operand_next:
            raise _misplaced("a number, a name or a bracket", token, text)
        elif sign in grammar.infix:
            operand_next, not_allowed_here = True, sign not in ("and", "or")
        elif sign == ")" and opened:
            opened.pop()
        elif sign == "," and opened and opened[-1]:
            operand_next, not_allowed_here = True, False
        elif opened:
            wanted = "a comma or a closing bracket" if opened[-1] else "a closing bracket"
            raise _misplaced(wanted, token, text)
        elif token.kind != "end":
            raise _misplaced("an operator", token, text)


def _misplaced(wanted: str, token: _Token, text: str) -> ExpressionError:
    return ExpressionError(
        f"{wanted} must stand at character {token.at} of {_cut(text)!r}, got {token}",
        ended=token.kind == "end",
    )


# From tokens to a tree ----------------------------------------------------------------------------


def _placeholders(tokens: Sequence[_Token]) -> str:
    """The tokens as Python in which ``_3`` is operand 3.

    A bracket becomes a call of ``_``: so it stays in Python's tree and counts as nesting.
    """
    words = []
    for i, token in enumerate(tokens[:-1]):
        if token.kind != "sign":
            words.append(f"_{i}")
        elif token.value == "(" and (i == 0 or tokens[i - 1].kind != "name"):
            words.append("_(")
        else:
            words.append("**" if token.value == "^" else token.value)
    return " ".join(words)


def _restored(node: ast.expr, tokens: Sequence[_Token], depth: int) -> ast.expr:
    """A tree with operands in place of placeholders; any other kind of node is refused."""
    if depth > MAX_DEPTH:
        raise ExpressionError(f"must not be nested more than {MAX_DEPTH} deep")

    def below(part: ast.expr, deeper: bool = False) -> ast.expr:
        return _restored(part, tokens, depth + deeper)

    match node:
        case ast.Name(id=placeholder):
            token = tokens[int(placeholder[1:])]
            return ast.Name(token.value) if token.kind == "name" else ast.Constant(token.value)
        case ast.Call(func=ast.Name(id="_"), args=[inside], keywords=[]):
            return below(inside, deeper=True)
        case ast.Call(func=ast.Name() as function, args=arguments, keywords=[]):
            return ast.Call(below(function), [below(a, deeper=True) for a in arguments], [])
        case ast.UnaryOp(op=sign, operand=operand):
            return ast.UnaryOp(sign, below(operand, deeper=True))
        case ast.BinOp(left=left, op=sign, right=right):
            return ast.BinOp(below(left), sign, below(right, deeper=isinstance(sign, ast.Pow)))
        case ast.Compare(left=left, ops=signs, comparators=rest):
            return ast.Compare(below(left), signs, [below(part) for part in rest])
        case ast.BoolOp(op=word, values=parts):
            return ast.BoolOp(word, [below(part) for part in parts])
    raise ExpressionError(f"{type(node).__name__} belongs to no expression")


# From a tree to values ----------------------------------------------------------------------------

_FUNCTIONS: dict[str, Callable[[list[Any]], Any]] = {"min": min, "max": max}
WHOLE_LANGUAGE = Grammar(
    infix=frozenset({"and", "or", "==", "!=", "<", "<=", ">", ">="})
    | {"+", "-", "*", "/", "//", "%", "**"},
    prefix=frozenset({"+", "-", "not"}),
    operands=frozenset({"number", "name", "quoted", "text"}),
    constants={
        "true": True,
        "false": False,
        "none": None,
        "True": True,
        "False": False,
        "None": None,
    },
    functions=tuple(_FUNCTIONS),
)


def _code(node: ast.expr, names: dict[str, None]) -> Code:
    """A function from values to a tree's value; what the tree asks for is added to ``names``."""
    match node:
        case ast.Constant(value=value):
            return lambda values: value
        case ast.Name(id=name):
            names[name] = None
            return lambda values: values[name]
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return _call(function, [_code(a, names) for a in arguments])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inside = _code(operand, names)
            return lambda values: not _truth(inside(values))
        case ast.UnaryOp(op=sign, operand=operand):
            binary = ast.Sub() if isinstance(sign, ast.USub) else ast.Add()
            return _arithmetic(binary, lambda values: 0, _code(operand, names))
        case ast.BinOp(left=left, op=sign, right=right):
            return _arithmetic(sign, _code(left, names), _code(right, names))
        case ast.Compare(left=left, ops=signs, comparators=rest):
            return _comparison(signs, [_code(part, names) for part in (left, *rest)])
        case ast.BoolOp(op=word, values=values):
            parts, decide = [_code(v, names) for v in values], _DECIDE[type(word)]
            return lambda values: decide(_truth(part(values)) for part in parts)
    raise ExpressionError(f"{type(node).__name__} belongs to no expression")


_DECIDE: dict[type[ast.boolop], Callable[..., bool]] = {ast.And: all, ast.Or: any}


def _call(name: str, arguments: Sequence[Code]) -> Code:
    def code(values: Values) -> Any:
        numbers = [_number(a(values), name) for a in arguments]
        return None if None in numbers else _FUNCTIONS[name](numbers)

    return code


def _comparison(signs: Sequence[ast.cmpop], parts: Sequence[Code]) -> Code:
    """``a < b < c`` as Python means it: each part is worked out once, and only if still asked."""

    def code(values: Values) -> bool:
        left = parts[0](values)
        for sign, part in zip(signs, parts[1:], strict=True):
            right = part(values)
            if not _compare(sign, left, right):
                return False
            left = right
        return True

    return code


def _arithmetic(sign: ast.operator, left: Code, right: Code) -> Code:
    written, run = _ARITHMETIC[type(sign)]

    def code(values: Values) -> Any:
        a, b = _number(left(values), written), _number(right(values), written)
        if a is None or b is None:
            return None
        try:
            result = run(a, b)
        except ZeroDivisionError:
            return None
        except OverflowError:
            raise ExpressionError(f"the result of {written} is too large") from None
        if isinstance(result, int) and result.bit_length() > MAX_BITS:
            raise ExpressionError(f"the result of {written} is too large")
        return result

    return code


def _power(a: int | float, b: int | float) -> Any:
    whole = isinstance(a, int) and isinstance(b, int)
    if whole and b > 0 and abs(a) > 1 and (int(a).bit_length() - 1) * int(b) > MAX_BITS:
        raise OverflowError
    result = float(a) ** b if whole and b < 0 and a else a**b
    return None if isinstance(result, complex) else result


_ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", _power),
}
_EQUAL: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ORDER: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}


def _number(value: Any, sign: str) -> Any:
    """A number, a truth value as one, or None."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, (int, float)):
        return value
    raise ExpressionError(f"{sign} wants numbers, got {_cut(str(value))!r}")


def _compare(sign: ast.cmpop, a: Any, b: Any) -> bool:
    a, b = (None if isinstance(x, float) and x != x else x for x in (a, b))
    if type(sign) in _EQUAL:
        return bool(_EQUAL[type(sign)](a, b))
    if a is None or b is None:
        return False
    written, run = _ORDER[type(sign)]
    try:
        if isinstance(a, str) == isinstance(b, str):
            return bool(run(a, b))
    except TypeError:
        pass
    raise ExpressionError(
        f"{written} wants two numbers or two texts, got {_cut(str(a))!r} and {_cut(str(b))!r}"
    )


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        raise ExpressionError(f"a condition must be true or false, got the text {_cut(value)!r}")
    return value is not None and value == value and bool(value)


def _cut(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
