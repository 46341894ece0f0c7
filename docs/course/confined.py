"""Runs one thing in a process of its own, with limits: a student's answers, or their grading.

``course.py grade`` calls ``in_own_process`` for each submission, twice: once to run the file of
answers, which is the student's program, and once to grade what it answered, which is ours but works
on files the student wrote.  The first process never has the key or the right answers at hand.

What is kept out, on Linux:

    time        CPU seconds by RLIMIT_CPU; seconds on the clock by the parent, which ends the whole
                process group
    memory      RLIMIT_AS
    files       by Landlock, in the kernel (5.13 and newer): only the submission's own copy and what
                Python needs can be read, only that copy can be written, 10 MB a file
    network     by a network namespace of its own where the kernel gives one, and by Landlock (TCP)
    signals     to other processes, by Landlock (6.12 and newer)
    programs    an audit hook of Python's refuses to start any

What the hook refuses is told to the parent at that moment (``refused`` in what a task answers), so
that a teacher sees what was tried, from a program that never ended too.

What is not kept out: an audit hook is Python's own, and a program that calls the C library through
ctypes goes around it.  It meets the kernel's limits still, yet it may start processes (each with
the same limits), and it can see which processes run.  Where the kernel has no Landlock, files are
held by the hook alone.  Disk space is bounded a file, not in all.  For strangers' programs take a
container or a machine of its own around all of this; ``kept_out()`` says what holds on this one.
What the kernel refuses to such a program nobody is told.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import runpy
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MOST_ANSWERED = 1_000_000  # bytes that are read of what a process answers
MOST_LETTERS = 10_000  # of one answer in words; the rest is cut off
MOST_REFUSED, MOST_SHOWN = 8, 120  # attempts that are told, each once, and letters of one
END = "."  # the last line of what is told of refusals


@dataclass(frozen=True)
class Limits:
    """Of one process: CPU seconds, seconds on the clock, bytes of memory, bytes of a file."""

    cpu_s: int = 60
    wall_s: float = 180.0
    memory_bytes: int = 4 * 2**30
    file_bytes: int = 10 * 2**20


# The parent's side --------------------------------------------------------------------------------


def in_own_process(task: Mapping[str, Any], folder: Path, limits: Limits) -> dict[str, Any]:
    """What a task answers (see ``TASKS``), or ``{"error": sentence}``; it never raises for what the
    task does.  ``refused`` says besides what it tried and was not allowed.

    It may write in ``folder``, and where our own code compiles loops in the task's ``cache`` if it
    has one, so that this is done once for all students.
    """
    hears, tells = os.pipe()
    try:
        got = _answered(task, folder, limits, tells)
        os.set_blocking(hears, False)
        with suppress(BlockingIOError):  # a program that got away holds the other end
            return got | {"refused": _refusals(os.read(hears, 2**16), "error" in got)}
        return got | {"refused": ""}
    finally:
        os.close(hears)


def _refusals(said: bytes, cut: bool) -> str:
    """What was refused, each once; ``cut`` is a task that did not come to its end.  A program can
    write here, too: nothing of it is more than text.
    """
    text = "".join(
        c if c.isprintable() or c == "\n" else "?" for c in said.decode(errors="replace")
    )
    lines = [line[:MOST_SHOWN] for line in text.split("\n") if line]
    told = list(dict.fromkeys(line for line in lines if line != END))
    more = len(told) - MOST_REFUSED
    told = told[:MOST_REFUSED] + [f"and {more} more"] * (more > 0)
    if not cut and END not in lines[-1:]:
        told.append("it closed the record of what was refused")
    return "; ".join(told)


def _answered(task: Mapping[str, Any], folder: Path, limits: Limits, tells: int) -> dict[str, Any]:
    """What a task answers; what is refused is written to ``tells``, which is closed here."""
    sent = {**task, "folder": str(folder), "limits": vars(limits)}
    os.set_blocking(tells, False)
    with tempfile.TemporaryFile() as answer:
        ends = [answer.fileno(), tells]
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(HERE / "confined.py"), *map(str, ends)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=_environment(folder, task.get("cache")),
            pass_fds=ends,
            start_new_session=True,
        )
        os.close(tells)
        why = _ended(process, json.dumps(sent).encode(), limits)
        answer.seek(0)
        said = answer.read(MOST_ANSWERED + 1)
    if why:
        return {"error": why}
    if len(said) > MOST_ANSWERED:
        return {"error": "it answered more than can be read"}
    try:
        got = json.loads(said)
    except ValueError:
        return {"error": "it ended before it had answered"}
    return got if isinstance(got, dict) else {"error": "it gave no answers"}


def _environment(folder: Path, cache: str | None) -> dict[str, str]:
    """Nothing of the teacher's but where programs lie."""
    home = str(folder)
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    kept |= {"HOME": home, "TMPDIR": home, "MPLCONFIGDIR": home, "MPLBACKEND": "agg"}
    kept |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return kept | ({"NUMBA_CACHE_DIR": cache} if cache else {})


def _ended(process: subprocess.Popen[bytes], task: bytes, limits: Limits) -> str:
    """Wait for the end; why it was not a good one, or nothing."""
    try:
        process.communicate(task, timeout=limits.wall_s)
    except subprocess.TimeoutExpired:
        return f"stopped after {limits.wall_s:g} seconds on the clock"
    finally:
        _end(process)
    code = process.returncode
    if code == -signal.SIGXCPU:
        return f"stopped after {limits.cpu_s} seconds of computing"
    if code == -signal.SIGKILL:
        return f"stopped by the system: after {limits.cpu_s} seconds of computing, or for memory"
    if code == -signal.SIGXFSZ:
        return f"stopped: it wrote a file of more than {limits.file_bytes} bytes"
    return f"ended by signal {-code}" if code < 0 else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# The child's side ---------------------------------------------------------------------------------


def readable() -> list[str]:
    """What Python and the package need to read.  A place modules come from that holds the course
    too (a checkout on PYTHONPATH) is left out: the key lies there.
    """
    found = [sys.prefix, sys.base_prefix, *sys.path]
    found = [path for path in found if not HERE.is_relative_to(os.path.realpath(path))]
    found += ["/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/proc/cpuinfo"]
    found += ["/proc/meminfo", "/proc/self", "/sys/devices/system/cpu", "/dev/urandom", "/dev/null"]
    found += _package()
    real = {os.path.realpath(path) for path in found if path and os.path.exists(path)}
    return sorted(real - {"/"})


def _package() -> list[str]:
    """Where accelsim and the files it ships lie; it is not imported for that."""
    from importlib.util import find_spec

    spec = find_spec("accelsim")
    if spec is None or spec.origin is None:
        return []
    home = Path(spec.origin).parent
    kinds = ("workloads", "dataflows", "architectures", "mappings")
    return [str(home), *(str(home.parent / kind) for kind in kinds)]


def confine(
    folder: Path,
    limits: Limits,
    tell: Callable[[str], None],
    more: Iterable[str] = (),
    cache: str | None = None,
) -> None:
    """Give up, for good, what the task needs not; ``more`` are further places to read, ``cache`` is
    one to write; ``tell`` hears what is refused.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    places = [*readable(), *(os.path.realpath(path) for path in more)]
    _no_network()
    own = [os.path.realpath(path) for path in (folder, cache) if path]
    _landlock(places, own)
    sys.addaudithook(_Guard(places, own, tell))


class _Guard:
    """The audit hook: refuses files outside, other programs and the network, in words, and tells
    ``tell`` of it.
    """

    NEVER = (
        "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "os.kill",
        "os.startfile", "socket.connect", "socket.bind", "socket.sendto", "pty.",
    )  # fmt: skip
    CHANGES = ("os.remove", "os.rmdir", "os.rename", "os.truncate", "os.mkdir", "os.link")
    # What libraries try by themselves is refused and not told: matplotlib asks for fonts, numba
    # looks for a place to keep compiled loops, an import lists where modules come from.
    FONTS = "subprocess.Popen fc-list"

    def __init__(self, places: list[str], own: list[str], tell: Callable[[str], None]) -> None:
        self.places, self.own, self.tell = (*places, *own), own, tell
        self.modules = tuple(sys.path)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes, os.PathLike)):
                writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
                does = "write" if writes else "open"
                self._allow(does, os.fsdecode(path), self.own if writes else self.places)
        elif event in ("os.listdir", "os.scandir", "os.chdir"):
            if isinstance(arguments[0], (str, bytes)):
                self._allow(event, os.fsdecode(arguments[0]), self.places)
        elif event in self.CHANGES and isinstance(arguments[0], (str, bytes)):
            self._allow(event, os.fsdecode(arguments[0]), self.own)
        elif event.startswith(self.NEVER):
            named = [a for a in arguments[:1] if isinstance(a, (str, bytes))]
            self._tell(" ".join([event, *map(os.fsdecode, named)]))
            raise PermissionError(f"{event} is not allowed here")

    def _allow(self, does: str, path: str, places: Iterable[str]) -> None:
        real = os.path.realpath(path)
        if real == "/dev/null" or any(real == p or real.startswith(p + "/") for p in places):
            return
        if path not in self.modules and "__pycache__" not in Path(real).parts:
            self._tell(f"{does} {path}")
        raise PermissionError(f"{path} lies outside the submission")

    def _tell(self, what: str) -> None:
        if what != self.FONTS:
            self.tell(what)


def _no_network() -> bool:
    """A network of its own, with nothing in it; False where the kernel gives none, and Landlock is
    left.
    """
    new_user, new_network = 0x10000000, 0x40000000
    return int(ctypes.CDLL(None).unshare(new_user | new_network)) == 0


# Landlock: linux/landlock.h.  Numbers of system calls are the same on every machine.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_NO_NEW_PRIVILEGES = 38
_READ_FILE, _READ_DIR, _EXECUTE = 1 << 2, 1 << 3, 1 << 0
_FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # rights on files a version knows
_ON_A_FILE = _EXECUTE | 1 << 1 | _READ_FILE | 1 << 14


def landlock_version() -> int:
    """Which version of Landlock the kernel has; 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(int(ctypes.CDLL(None).syscall(_CREATE, None, 0, 1)), 0)


def _landlock(places: Iterable[str], own: Iterable[str]) -> None:
    version = landlock_version()
    if not version:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    every = (1 << _FILES[min(version, 5)]) - 1
    network, scoped = 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0
    wanted = struct.pack("=QQQ", every, network, scoped)
    wanted = wanted[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = libc.syscall(_CREATE, wanted, len(wanted), 0)
    if rules < 0:
        raise OSError(ctypes.get_errno(), "Landlock gave no rules")
    for path in places:
        _allow_beneath(libc, rules, path, (_READ_FILE | _READ_DIR | _EXECUTE) & every)
    for path in own:
        _allow_beneath(libc, rules, path, every)
    _allow_beneath(libc, rules, "/dev/null", (_READ_FILE | 1 << 1) & every)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(_RESTRICT, rules, 0):
        raise OSError(ctypes.get_errno(), "Landlock could not be switched on")
    os.close(rules)


def _allow_beneath(libc: Any, rules: int, path: str, rights: int) -> None:
    if not os.path.exists(path):
        return
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
        rights &= _ON_A_FILE
    if libc.syscall(_ADD, rules, 1, struct.pack("=Qi", rights, place), 0):
        raise OSError(ctypes.get_errno(), f"Landlock took no rule for {path}")
    os.close(place)


def kept_out() -> str:
    """What submissions are kept from on this machine, and whether that is enough, in two lines."""
    version, alone = landlock_version(), _network_can_be_taken()
    held = {
        "files outside the submission": version > 0,
        "the network": alone,
        "signals to other programs": version >= 6,
    }
    if version >= 4 and not alone:
        held["TCP"] = True
    by_kernel = ", ".join(what for what, holds in held.items() if holds) or "nothing"
    left = ", ".join([*(what for what, holds in held.items() if not holds), "starting programs"])
    kernel = f" (Landlock {version})" if version else " (no Landlock)"
    enough = (
        "That is enough for students you know; for programs of strangers take a container or a "
        "machine of its own."
        if version
        else "That is NOT enough against a program that means harm: take a container or a machine "
        "of its own."
    )
    return (
        f"Held by the kernel{kernel}: {by_kernel}. By Python's audit hook alone: {left}.\n{enough}"
    )


def _network_can_be_taken() -> bool:
    """Whether ``_no_network`` works here, tried in a process of its own."""
    code = "import confined, sys; sys.exit(not confined._no_network())"
    command = [sys.executable, "-c", code]
    return sys.platform.startswith("linux") and not subprocess.run(command, cwd=HERE).returncode


# Tasks --------------------------------------------------------------------------------------------


def _answers(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a file of answers: what it sets, as plain values; words as text; the student's number."""
    from comparing import number, plain

    space = runpy.run_path(task["file"])
    for name in ("answers", "in_words"):
        if not isinstance(space.get(name, {}), dict):
            raise ValueError(f"{name} must be a dictionary")
    if "answers" not in space:
        raise ValueError("must set answers = {...}")
    answers: dict[str, Any] = {}
    for key, value in space["answers"].items():
        try:
            answers[str(key)] = {"value": plain(value)}
        except ValueError as error:
            answers[str(key)] = {"error": str(error)}
    words = {str(key): _in_words(value) for key, value in space.get("in_words", {}).items()}
    student = number(space.get("student", ""))[:100]
    return {"student": student, "answers": answers, "in_words": words}


def _in_words(value: Any) -> str:
    """An answer in words as text: of a list a line each, of a path its name; what is longer than
    ``MOST_LETTERS`` is cut, and says so.  Nothing that was written is dropped without a word.
    """
    lines = value[:MOST_LETTERS] if isinstance(value, (list, tuple)) else [value]
    text = "\n".join(_line(line) for line in lines).strip()
    if len(text) <= MOST_LETTERS:
        return text
    return f"{text[:MOST_LETTERS]}\n[too long: cut here, {len(text)} letters were handed in]"


def _line(value: Any) -> str:
    from comparing import plain

    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    try:
        return str(plain(value))
    except ValueError as error:
        return f"[no words: {error}]"


def _grades(task: Mapping[str, Any]) -> dict[str, Any]:
    """Grade plain answers of one lab: a list of [name, answered, why] by question."""
    from grading import load_lab, verdict

    lab, place = load_lab(task["lab"]), Path(task["folder"], task["place"])
    told = []
    for question in lab.questions(task["variant"]):
        given = task["answers"].get(question.name, {"value": None})
        if "error" in given:
            told.append([question.name, True, f"{given['error']}. {question.hint}".strip()])
            continue
        v = verdict(question, given["value"], place)
        told.append([question.name, v.answered, v.why])
    return {"verdicts": told}


def _compiles(task: Mapping[str, Any]) -> dict[str, Any]:
    """Check what is right of one lab: what checking compiles lies in the cache then."""
    from comparing import plain
    from grading import load_lab, verdict

    for question in load_lab(task["lab"]).questions(0):
        if question.right is not None:
            verdict(question, plain(question.right()), HERE / "key")
    return {}


TASKS = {"answers": _answers, "grades": _grades, "compiles": _compiles}


def _to(tells: int) -> Callable[[str], None]:
    """Writes a line to the parent; a line that does not fit any more is left out."""

    def tell(line: str) -> None:
        one_line = line[:MOST_SHOWN].replace("\n", "?")
        with suppress(OSError):
            os.write(tells, f"{one_line}\n".encode(errors="replace"))

    return tell


def main(out: int, tells: int) -> None:
    """The child: read a task, give up what it needs not, do it, answer in JSON."""
    task = json.load(sys.stdin)
    folder, limits = Path(task["folder"]), Limits(**task["limits"])
    sys.path[:0] = [str(HERE), *task.get("path", [])]
    do, tell = TASKS[task["do"]], _to(tells)
    # Found while every door is open, since what they lie in may hold the key.
    for name in ("comparing", "accelsim"):
        import_module(name)
    if task["do"] == "answers":
        sys.path[:] = [*(p for p in sys.path if Path(p) != HERE), str(folder)]
        confine(folder, limits, tell)
    else:
        confine(folder, limits, tell, [str(HERE)], task.get("cache"))
    try:
        answer = do(task)
    except BaseException as error:
        first = " ".join(str(error).split())[:300]
        answer = {"error": f"{type(error).__name__}: {first}" if first else type(error).__name__}
    os.write(out, json.dumps(answer).encode())
    tell(END)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
