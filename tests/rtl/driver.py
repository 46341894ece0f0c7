"""Stimuli, compilation, simulation and results of the arrays in this directory.

Edge 1 latches the first operand (weights held: the first preloaded weight) at PE(0, 0); every
result comes with the number of the edge that latched it: in place in its accumulator, with weights
held in the bottom psum register, shifted out in the register beyond the array.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

HERE = Path(__file__).parent
SOURCES = ("words", "skew", "pe_{}", "array_{}", "control_{}", "bench_{}")
OUTPUTS = ("in_place", "accumulators", "register")
OPERAND = np.iinfo(np.int16)

Kind = Literal["ws", "os"]
Outputs = Literal["in_place", "accumulators", "register"]
PartialFolds = Literal["exact", "full"]


@dataclass(frozen=True)
class Fold:
    """One fold of r rows, c columns and T streamed words."""

    held: np.ndarray | None  # ws: (r, c) weights; None for os
    rows: (
        np.ndarray
    )  # ws: (T, r) activations streamed along the rows; os: (T, r) operands entering the rows
    cols: np.ndarray | None = (
        None  # os: (T, c) operands entering the columns from the top; None for ws
    )

    @property
    def shape(self) -> tuple[int, int, int]:
        """T, r, c."""
        T, r = self.rows.shape
        other = self.held if self.cols is None else self.cols
        assert other is not None
        return T, r, other.shape[1]


@dataclass(frozen=True)
class Result:
    """One result: ws: of streamed word i in column j; os: of PE(i, j)."""

    fold: int
    i: int
    j: int
    edge: int  # the number of the edge that latched it, from the start of the sequence of folds
    value: int


@dataclass(frozen=True)
class Case:
    """A sequence of folds and the array and controller it runs on: the arguments of `run`."""

    kind: Kind
    R: int
    C: int
    folds: Sequence[Fold]
    overlap: bool
    weight_registers: int = 1  # ws: 1 or 2
    outputs: Outputs = "in_place"  # os: how results leave
    partial_folds: PartialFolds = "exact"

    def __post_init__(self) -> None:
        """Refuse what the arrays cannot hold."""
        if (
            self.kind not in ("ws", "os")
            or self.outputs not in OUTPUTS
            or self.weight_registers not in (1, 2)
        ):
            raise ValueError(
                f"no such array: {self.kind}, {self.outputs}, {self.weight_registers} weight "
                "registers"
            )
        if self.partial_folds not in ("exact", "full"):
            raise ValueError(f"no such controller: {self.partial_folds}")
        if not self.folds:
            raise ValueError("a sequence needs a fold")
        for fold in self.folds:
            other, width = (
                (fold.held, fold.rows.shape[1])
                if self.kind == "ws"
                else (fold.cols, fold.rows.shape[0])
            )
            unused = fold.cols if self.kind == "ws" else fold.held
            if other is None or unused is not None or other.shape[0] != width:
                raise ValueError(f"not a fold of {self.kind}")
            T, r, c = fold.shape
            if not (T >= 1 and 1 <= r <= self.R and 1 <= c <= self.C):
                raise ValueError(
                    f"a fold of {T} words on {r} x {c} PEs does not fit {self.R} x {self.C}"
                )
            if any(a.min() < OPERAND.min or a.max() > OPERAND.max for a in (fold.rows, other)):
                raise ValueError("operands are 16 bits wide, signed")

    @property
    def variant(self) -> int:
        """What the array is compiled for besides its size: weight registers (ws), the way results
        leave (os).
        """
        return self.weight_registers if self.kind == "ws" else OUTPUTS.index(self.outputs)

    def clocked(self, fold: Fold) -> tuple[int, int, int]:
        """T and the rows and columns clocked for a fold."""
        T, r, c = fold.shape
        return (T, self.R, self.C) if self.partial_folds == "full" else (T, r, c)

    def expected(self) -> dict[int, list[tuple[int, int, int]]]:
        """The results (fold, i, j) in the order each port shows them. A port is a column, or in
        place a PE.
        """
        ports: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for f, fold in enumerate(self.folds):
            T, r, c = self.clocked(fold)
            for j in range(c):
                if self.kind == "ws":
                    ports[j] += [(f, t, j) for t in range(T)]
                elif self.outputs == "in_place":
                    for i in range(r):
                        ports[i * self.C + j].append((f, i, j))
                else:  # the lowest row is the first out
                    ports[j] += [(f, i, j) for i in reversed(range(r))]
        return ports

    def stimuli(self) -> Iterator[str]:
        """The lines the bench reads. Unused rows and columns hold zeros, which only `partial_folds:
        full` looks at.
        """
        expected = sum(map(len, self.expected().values()))
        limit = 100 + sum(4 * (sum(fold.shape) + self.R + self.C) for fold in self.folds)
        whole = self.partial_folds == "full"
        yield f"{self.overlap:d} {whole:d} {len(self.folds)} {expected} {limit}"
        for fold in self.folds:
            yield "{} {} {}".format(*fold.shape)
            if fold.held is not None:
                yield from _hex(
                    np.pad(fold.held, ((0, self.R - fold.held.shape[0]), (0, 0))), self.C
                )
            yield from _hex(fold.rows, self.R)
            if fold.cols is not None:
                yield from _hex(fold.cols, self.C)

    def parse(self, lines: Iterable[str]) -> list[Result]:
        """The results in what the bench printed for this case, by fold, i and j."""
        shown: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for line in lines:
            if line.startswith("collision"):
                raise RuntimeError(f"two results in one register: {line}")
            port, edge, value = line.split()
            if not value.lstrip("-").isdigit():
                raise RuntimeError(f"a result made of nothing: {line}")
            shown[int(port)].append((int(edge), int(value)))
        expected = self.expected()
        counts = {port: len(results) for port, results in shown.items()}
        if counts != {port: len(results) for port, results in expected.items()}:
            raise RuntimeError(f"not the results expected: {counts} by port")
        results = [
            Result(*at, edge, value)
            for port in expected
            for at, (edge, value) in zip(expected[port], shown[port], strict=True)
        ]
        return sorted(results, key=lambda result: (result.fold, result.i, result.j))


def _hex(words: np.ndarray, lanes: int) -> Iterator[str]:
    """One line for each word: 16 bits a lane, lane 0 the lowest, unused lanes zero."""
    table = np.zeros((words.shape[0], lanes), ">u2")
    table[:, : words.shape[1]] = words.astype(np.int64) & 0xFFFF
    for line in table[:, ::-1]:
        yield line.tobytes().hex()


def available() -> str | None:
    """None if there is a simulator, else the sentence that says there is none."""
    missing = [tool for tool in ("iverilog", "vvp") if shutil.which(tool) is None]
    return (
        f"The RTL needs Icarus Verilog, and {' and '.join(missing)} cannot be found."
        if missing
        else None
    )


@functools.cache
def _directory() -> Path:
    """Where this process keeps what it compiled; removed when it ends."""
    directory = tempfile.mkdtemp(prefix="accelsim-rtl-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def _execute(command: list[str]) -> str:
    """What a tool printed; RuntimeError with its complaint if it failed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()[-500:]}")
    return done.stdout


def _power(n: int) -> int:
    """The power of two that holds n, so that few sizes are compiled."""
    return 1 << (n - 1).bit_length()


@functools.cache
def _compile(
    sources: Path, kind: Kind, R: int, C: int, variant: int, folds: int, depth: int
) -> Path:
    """The compiled bench for an array; folds and depth (words) are the sizes of its memories."""
    name = "REGISTERS" if kind == "ws" else "OUTPUTS"
    parameters = {"R": R, "C": C, name: variant, "FOLDS": folds, "DEPTH": depth}
    target = Path(tempfile.mkdtemp(dir=_directory())) / f"bench_{kind}.vvp"
    command = ["iverilog", "-g2012", "-o", str(target), "-s", f"bench_{kind}"]
    command += [f"-Pbench_{kind}.{key}={value}" for key, value in parameters.items()]
    _execute(command + [str(sources / f"{source.format(kind)}.sv") for source in SOURCES])
    return target


def run_many(cases: Sequence[Case]) -> list[list[Result]]:
    """The results of each case; cases of the same array share one simulation."""
    groups: dict[tuple[Kind, int, int, int], list[int]] = defaultdict(list)
    for n, case in enumerate(cases):
        groups[case.kind, case.R, case.C, case.variant].append(n)
    results: list[list[Result]] = [[] for _ in cases]
    for array, members in groups.items():
        folds = max(64, *(_power(len(cases[n].folds)) for n in members))
        depth = max(
            1024, *(_power(sum(fold.rows.shape[0] for fold in cases[n].folds)) for n in members)
        )
        if (
            folds >= 1 << 16
            or depth >= 1 << 24
            or any(fold.rows.shape[0] >= 1 << 16 for n in members for fold in cases[n].folds)
        ):
            raise ValueError("the counters of the controllers are 16 bits wide")
        compiled = _compile(HERE, *array, folds, depth)
        with tempfile.NamedTemporaryFile("w", dir=_directory(), suffix=".txt") as file:
            file.write(
                "\n".join(
                    [str(len(members)), *(line for n in members for line in cases[n].stimuli()), ""]
                )
            )
            file.flush()
            text = _execute(["vvp", "-n", str(compiled), f"+stimuli={file.name}"])
        *parts, rest = text.split("end\n")
        if len(parts) != len(members):
            raise RuntimeError(f"the simulation stopped: {rest.strip()[-500:]}")
        for n, part in zip(members, parts, strict=True):
            results[n] = cases[n].parse(part.splitlines())
    return results


def run(
    kind: Kind,
    R: int,
    C: int,
    folds: Sequence[Fold],
    *,
    overlap: bool,
    weight_registers: int = 1,
    outputs: Outputs = "in_place",
    partial_folds: PartialFolds = "exact",
) -> list[Result]:
    """Run a sequence of folds on an R x C array.

    ws looks at `weight_registers` and not at `outputs` (psums leave at the bottom), os the other
    way round. With `partial_folds: full` every fold has the R rows and C columns the controller
    clocks; the padding's results are zero.
    """
    return run_many([Case(kind, R, C, folds, overlap, weight_registers, outputs, partial_folds)])[0]
