"""What an answer is, and when two are the same: for a teacher's grading and a student's checks.

``plain`` brings whatever a student wrote to plain Python or says in words why it is no answer;
``same`` compares plain answers; ``kind`` and ``got`` name them.  Nothing here knows a right answer.
``told`` prints what questions take as given.
"""

from __future__ import annotations

import hashlib
import math
import numbers
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MOST = 10_000  # entries of an answer, and letters of a word
DEEPEST = 10  # lists within lists


def plain(answer: Any, depth: int = 0) -> Any:
    """An answer as plain Python: None, True or False, a number, text, a list or a dictionary.

    What numpy and pandas return is the number or list it stands for, and so is a tuple or a
    fraction; a list of one number stays a list.  Raises ValueError, in words, for what is no
    answer: a function, something nested without end, a number that is not one.
    """
    if depth > DEEPEST:
        raise ValueError(f"an answer has at most {DEEPEST} lists within lists")
    if answer is None or isinstance(answer, (bool, str)):
        return _short(answer) if isinstance(answer, str) else answer
    if isinstance(answer, numbers.Number):
        return _plain_number(answer)
    if isinstance(answer, Mapping):
        return {_key(k): plain(v, depth + 1) for k, v in _few(answer.items())}
    if isinstance(answer, (list, tuple)):
        return [plain(v, depth + 1) for v in _few(answer)]
    if type(answer).__module__.partition(".")[0] in ("numpy", "pandas"):
        inside = getattr(answer, "tolist", None) or getattr(answer, "item", None)
        if inside is not None and getattr(answer, "size", 1) <= MOST:
            value = inside()
            if type(value) is not type(answer):
                return plain(value, depth + 1)
    raise ValueError(f"{_article(type(answer).__name__)} is no answer")


def _plain_number(answer: Any) -> Any:
    """A whole number as int, any other as float; numpy's are of their own types."""
    if isinstance(answer, numbers.Integral):
        if abs(int(answer)) >= 10**300:
            raise ValueError("a number of more than 300 digits is no answer")
        return int(answer)
    try:
        value = float(answer)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{_article(type(answer).__name__)} is no answer") from None
    if not math.isfinite(value):
        raise ValueError(f"{value} is no answer")
    return value


def _key(key: Any) -> str:
    """The key of a dictionary's entry as text."""
    if isinstance(key, (str, numbers.Number)):
        return str(plain(key))
    raise ValueError(f"the keys of a dictionary are words, got {_article(type(key).__name__)}")


def _few(entries: Any) -> list[Any]:
    listed = list(entries)
    if len(listed) > MOST:
        raise ValueError(f"an answer has at most {MOST} entries, got {len(listed)}")
    return listed


def _short(text: str) -> str:
    if len(text) > MOST:
        raise ValueError(f"an answer has at most {MOST} letters, got {len(text)}")
    return text


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


KINDS = {
    bool: "True or False",
    int: "a number",
    float: "a number",
    str: "a word",
    list: "a list",
    dict: "a dictionary",
}


def kind(value: Any) -> str:
    """What a plain answer is, in words."""
    return KINDS[type(value)]


def got(value: Any) -> str:
    return f"{kind(value)} ({value})" if isinstance(value, (int, float)) else kind(value)


def blank(answer: Any) -> bool:
    """Whether a question has no answer yet: None, or a grid of nothing else."""
    listed = isinstance(answer, (list, tuple)) and len(answer) > 0
    return answer is None or (listed and all(blank(x) for x in answer))


# One dataflow, under all the names it goes by.
ALIASES = {
    "weight_stationary": "ws",
    "output_stationary": "os",
    "input_stationary": "is",
    "row_stationary": "rs",
    "no_local_reuse": "nlr",
}


def word(text: str) -> str:
    """A word as it is compared: small letters, one joint, the short name of a dataflow."""
    joined = "_".join(text.strip().lower().replace("-", " ").replace("_", " ").split())
    return ALIASES.get(joined, joined)


def same(answer: Any, right: Any, within: float) -> bool:
    """Whether two plain answers agree; numbers, in lists too, as near as ``within`` says."""
    if isinstance(answer, bool) or isinstance(right, bool):
        return isinstance(answer, bool) and answer is right
    if isinstance(answer, (int, float)) and isinstance(right, (int, float)):
        try:
            return bool(abs(answer - right) <= within * abs(right) + 1e-12)
        except OverflowError:  # a whole number that no float can hold
            return answer == right
    if isinstance(answer, str) and isinstance(right, str):
        return word(answer) == word(right)
    if isinstance(answer, list) and isinstance(right, list):
        pairs = zip(answer, right, strict=False)
        return len(answer) == len(right) and all(same(a, b, within) for a, b in pairs)
    if isinstance(answer, dict) and isinstance(right, dict):
        return set(answer) == set(right) and all(same(answer[k], right[k], within) for k in right)
    return answer is right


def number(student: object) -> str:
    """A student's number as it counts: its digits, without what stands before, between and around
    them, and without zeros in front (" 020265678", "s2026-5678" and 20265678 are one number).

    What has no digit is a name, in small letters and one joint; nothing at all is "".
    """
    if student is None or isinstance(student, bool):
        return ""
    text = re.sub(r"\.0*$", "", str(student).strip())  # 20265678.0, as a table may have it
    digits = "".join(str(int(digit)) for digit in re.findall(r"\d", text))
    return digits.lstrip("0") or digits[-1:] or ("" if text == "None" else word(text))


def variant_of(lab: str, student: object, variants: int) -> int:
    """Which of a lab's variants a student has: the same number has the same one, always, however it
    is written (see ``number``).

    Nobody has 0, the one of the lab's text, if there is another; without a number it is 0.
    """
    own = number(student)
    if not own or variants == 1:
        return 0
    drawn = int(hashlib.sha256(f"{lab} {own}".encode()).hexdigest(), 16)
    return 1 + drawn % (variants - 1)


def wrapped(name: str, text: str) -> str:
    """A question or a verdict: the text beside its name."""
    return textwrap.fill(f"{name}  {text}", 100, subsequent_indent=" " * (len(name) + 2))


# Names that are English words too, and what stands around them where they are names.
ENGLISH = {"is": r"(\b[wo]s(,| and| or)|\bunder|\bdoes) is\b", "A": r"(?<=[a-z,] )A\b"}


def named(name: str, text: str) -> bool:
    """Whether a text uses a name: as a word of its own, and not as an English one."""
    pattern = ENGLISH.get(name, rf"(?<![\w.]){re.escape(name)}(?!\w)")
    return re.search(pattern, text) is not None


def told(given: Mapping[str, str], texts: Iterable[str]) -> str:
    """What questions take as given, to read before them: what all do (under no name), and each name
    that stands in their texts, or in the meaning of one that does.
    """
    text, used = " ".join((given.get("", ""), *texts)), {""}
    while more := {name for name in given if name not in used and named(name, text)}:
        used |= more
        text = " ".join(given[name] for name in more)
    return "\n".join(
        textwrap.fill(
            f"{name + ': ' if name else ''}{meaning}", 100,
            initial_indent="  " if name else "", subsequent_indent="      " if name else "",
        )
        for name, meaning in given.items()
        if name in used
    )  # fmt: skip


def piped(main: Callable[[], int]) -> int:
    """The exit code of a command whose reader may leave early, as ``head`` does."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()  # Python would complain there that it cannot write what is left
        return 0
    return code
