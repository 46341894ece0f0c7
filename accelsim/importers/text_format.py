"""Protobuf's text format: fields with scalars or messages, in order, with their places.

The grammar is protobuf.dev's "Text Format Language Specification", without extensions ([...] names)
and without Any.

``caffe`` reads a prototxt with it.  Nothing is known of the fields here: their meaning is the
reader's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from accelsim.base.errors import InputError

MAX_DEPTH = 50
MAX_FIELDS = 200_000
Scalar = str | int | float | bool

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\f\v]+|\#[^\n]*)"
    r"|(?P<number>-?\s*(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?)"
    r"(?![A-Za-z_0-9.]))"
    r"|(?P<word>-?[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<string>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"
    r"|(?P<sign>[{}<>:;,\[\]])"
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Word(str):
    """An unquoted word: an enum's value, not a string."""


@dataclass
class Message:
    """Fields in order, each name as often as it was given.  ``line`` and ``column`` are the
    field's, from 1.
    """

    line: int = 1
    column: int = 1
    fields: list[tuple[str, Scalar | Message, tuple[int, int]]] = field(default_factory=list)

    def all(self, name: str) -> list[Scalar | Message]:
        """Every value of a field."""
        return [value for key, value, _ in self.fields if key == name]

    def messages(self, name: str) -> list[Message]:
        """Every message of a field."""
        return [value for value in self.all(name) if isinstance(value, Message)]

    def message(self, name: str) -> Message:
        """A field's last message, or an empty one."""
        messages = self.messages(name)
        return messages[-1] if messages else Message(self.line, self.column)

    @property
    def names(self) -> list[str]:
        """The fields' names, each once."""
        return list(dict.fromkeys(key for key, _, _ in self.fields))


@dataclass(frozen=True)
class _ProtoToken:
    kind: str
    text: str
    at: tuple[int, int]


def parse(text: str, file: str | os.PathLike[str]) -> Message:
    """A document as a message.  Raises InputError with the place of what is not text format."""
    return _ProtoParser(text, file).document()


class _ProtoParser:
    def __init__(self, text: str, file: str | os.PathLike[str]) -> None:
        self.file = file
        self.tokens = self._tokens(text)
        self.count = 0
        self.ahead = next(self.tokens)

    def _tokens(self, text: str) -> Iterator[_ProtoToken]:
        at, line, start = 0, 1, 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            here = (line, at - start + 1)
            if match is None:
                raise InputError(
                    "is not protobuf text",
                    file=self.file,
                    line=here[0],
                    column=here[1],
                    got=text[at : at + 20].split("\n")[0],
                )
            if match.lastgroup != "space":
                yield _ProtoToken(str(match.lastgroup), match[0], here)
            if lines := match[0].count("\n"):
                line, start = line + lines, at + match[0].rindex("\n") + 1
            at = match.end()
        yield _ProtoToken("end", "the end", (line, at - start + 1))

    def take(self) -> _ProtoToken:
        token = self.ahead
        if token.kind != "end":
            self.ahead = next(self.tokens)
        return token

    def error(self, rule: str, token: _ProtoToken) -> InputError:
        return InputError(
            rule, file=self.file, line=token.at[0], column=token.at[1], got=token.text[:40]
        )

    def document(self) -> Message:
        message = Message()
        # One frame for each open message, and the sign that closes it: no recursion.
        stack: list[tuple[Message, str]] = [(message, "")]
        while True:
            here, closing = stack[-1]
            token = self.take()
            if token.kind == "end":
                if len(stack) > 1:
                    raise InputError(
                        "a message must be closed",
                        file=self.file,
                        line=here.line,
                        column=here.column,
                        got="the end of the file",
                    )
                return message
            if closing and token.text == closing:
                stack.pop()
                self._separator()
                continue
            if token.kind != "word" or token.text.startswith("-"):
                raise self.error(
                    "must be a field's name" + (f" or {closing}" if closing else ""), token
                )
            self.count += 1
            if self.count > MAX_FIELDS:
                raise self.error(f"must have at most {MAX_FIELDS} fields", token)
            colon = self.ahead.text == ":" and self.ahead.kind == "sign"
            if colon:
                self.take()
            if self.ahead.kind == "sign" and self.ahead.text in "{<":
                opened = self.take()
                inner = Message(*token.at)
                here.fields.append((token.text, inner, token.at))
                stack.append((inner, "}" if opened.text == "{" else ">"))
                if len(stack) > MAX_DEPTH:
                    raise self.error(f"must not be nested more than {MAX_DEPTH} deep", opened)
                continue
            if not colon:
                raise self.error(
                    f"field {token.text} must have : and a value, or a message", self.ahead
                )
            for value in self._values():
                here.fields.append((token.text, value, token.at))
            self._separator()

    def _separator(self) -> None:
        if self.ahead.kind == "sign" and self.ahead.text in ",;":
            self.take()

    def _values(self) -> list[Scalar]:
        if not (self.ahead.kind == "sign" and self.ahead.text == "["):
            return [self._scalar()]
        self.take()
        values: list[Scalar] = []
        while self.ahead.text != "]" or self.ahead.kind != "sign":
            values.append(self._scalar())
            if len(values) > MAX_FIELDS:
                raise self.error(f"must have at most {MAX_FIELDS} values", self.ahead)
            if self.ahead.kind == "sign" and self.ahead.text == ",":
                self.take()
            elif self.ahead.text != "]":
                raise self.error("must be , or ]", self.ahead)
        self.take()
        return values

    def _scalar(self) -> Scalar:
        token = self.take()
        if token.kind == "number":
            return self._number(token)
        if token.kind == "string":
            text = _unquoted(token.text)
            while self.ahead.kind == "string":  # strings beside each other are one
                text += _unquoted(self.take().text)
            return text
        if token.kind == "word":
            return {"true": True, "false": False}.get(token.text, Word(token.text))
        raise self.error("must be a value", token)

    def _number(self, token: _ProtoToken) -> int | float:
        text = re.sub(r"\s", "", token.text)
        if len(text) > 40:
            raise self.error("a number must have at most 40 digits", token)
        sign = -1 if text.startswith("-") else 1
        digits = text.lstrip("-")
        if digits[:2].lower() == "0x":
            return sign * int(digits, 16)
        if re.fullmatch(r"0[0-7]*", digits):
            return sign * int(digits, 8)
        if digits.isdigit() and not digits.startswith("0"):
            return sign * int(digits)
        number = float(digits.rstrip("fF"))
        if number in (float("inf"),):
            raise self.error("must be a finite number", token)
        return sign * number


def _unquoted(text: str) -> str:
    return re.sub(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", _unescaped, text[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return _ESCAPES.get(code, code)
