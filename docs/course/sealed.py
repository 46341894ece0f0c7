"""Checks that do not carry the answer: what a student's lab has in place of right answers.

A right answer is brought to one form (``token``), salted, and hashed with PBKDF2; the hash is kept.
An answer that is wrong for a known reason is hashed as well, and the reason is enciphered with the
rest of its hash, so that only who gives that answer can read it.

A hash does not hide an answer from someone who tries every number: a lab's numbers are small.  It
takes 20 000 rounds a try, some ten milliseconds, which is longer than working out most answers, and
each variant has its own salt.  The grade is the teacher's, worked out anew from the model.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from comparing import word

ROUNDS = 20_000


def token(answer: Any, within: float = 0.0) -> str:
    """A plain answer in one form: answers that are the same have one token.

    A number that may be off by the part ``within`` has the number of its step on a logarithmic
    scale with steps of half of that; ``tokens`` gives all steps that are right.
    """
    if isinstance(answer, bool) or answer is None:
        return str(answer)
    if isinstance(answer, (int, float)):
        if within and answer:
            sign = "-" if answer < 0 else ""
            return f"{sign}step {_step(abs(answer), within)}"
        return str(int(answer)) if answer == int(answer) else f"{answer:.12g}"
    if isinstance(answer, str):
        return word(answer)
    if isinstance(answer, list):
        return "[" + ", ".join(token(x) for x in answer) + "]"
    return "{" + ", ".join(f"{k}: {token(answer[k])}" for k in sorted(answer)) + "}"


def _step(size: float, within: float) -> int:
    return math.floor(math.log(size) / (within / 2))


def tokens(right: Any, within: float = 0.0) -> list[str]:
    """The tokens of all answers that are as near to ``right`` as ``within`` allows; answers half a
    step further are right too.
    """
    if not within or isinstance(right, bool) or not isinstance(right, (int, float)) or not right:
        return [token(right, within)]
    size, sign = abs(right), "-" if right < 0 else ""
    first, last = (_step(size * (1 + way * within), within) for way in (-1, 1))
    return [f"{sign}step {k}" for k in range(first, last + 1)]


def seal(answer_token: str, salt: str) -> tuple[str, bytes]:
    """(hash, key): the hash is kept, the key enciphers a reason."""
    made = hashlib.pbkdf2_hmac("sha256", answer_token.encode(), salt.encode(), ROUNDS, 48)
    return made[:16].hex(), made[16:]


def enciphered(text: str, key: bytes) -> str:
    """Text under a key that is used once; ``deciphered`` reads it."""
    return _mixed(text.encode(), key).hex()


def deciphered(text: str, key: bytes) -> str:
    return _mixed(bytes.fromhex(text), key).decode()


def _mixed(data: bytes, key: bytes) -> bytes:
    stream = hashlib.shake_256(key).digest(len(data))
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def sealed(
    right: Any, mistakes: Sequence[tuple[Any, str]], within: float, salt: str
) -> dict[str, Any]:
    """What is kept of a question's right answer and of its known mistakes."""
    reasons = {}
    for value, why in mistakes:
        name, key = seal(token(value, within), salt)
        reasons.setdefault(name, enciphered(why, key))
    return {
        "salt": salt,
        "right": [seal(t, salt)[0] for t in tokens(right, within)],
        "mistakes": reasons,
    }


def checked(answer: Any, kept: dict[str, Any], within: float) -> tuple[bool, str]:
    """(right, why not) of a plain answer; the reason is empty where it is not a known one."""
    name, key = seal(token(answer, within), kept["salt"])
    if name in kept["right"]:
        return True, ""
    reason = kept["mistakes"].get(name)
    return False, deciphered(reason, key) if reason else ""
