"""The cycle engine on real nests: outputs to the bit, every count of every boundary, against golden
and the event engine.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from quick import slow_but

import accelsim as acc
from accelsim.engines import analytic, cycle, event, golden
from accelsim.engines.analytic.array_time import array_time
from accelsim.engines.run import Run
from accelsim.hardware.architecture import Architecture
from accelsim.mapping.mapping import Mapping, MappingError
from accelsim.mapping.nest import Nest
from accelsim.workload.arithmetic import random_data
from accelsim.workload.problem import TENSORS, Problem

DIRECTIONS = ("forward", "grad_weight", "grad_input")


def data_of(nest: Nest, seed: int = 0) -> dict[str, Any]:
    return random_data(
        nest.problem, *(nest.arch.number(k) for k in ("weight", "ifmap", "ofmap", "psum")), seed
    )  # type: ignore[arg-type]


def differences(nest: Nest, seed: int = 0) -> tuple[list[str], Run]:
    """What the cycle engine gives that golden or the event engine does not; and a sampled run that
    the full one does not.
    """
    data = data_of(nest, seed)
    run, moved = cycle.run(nest, data), event.run(nest, data)
    sampled = cycle.run(nest, {}, sample_folds=True)
    wrong = []
    if run.outputs is None or not np.array_equal(
        run.outputs, golden.accumulate(nest.problem, data, nest.arch.number("psum"))
    ):
        wrong.append("outputs differ from golden")
    for b in nest.boundaries:
        for name, other in (("event", moved.moves[b]), ("sampled", sampled.moves[b])):
            if run.moves[b] != other:
                wrong.append(f"{b} ({b.kind}): cycle {run.moves[b]}, {name} {other}")
    for name in ("macs", "compute_cycles", "active_pes"):
        if getattr(run, name) != getattr(moved, name):
            wrong.append(f"{name}: cycle {getattr(run, name)}, event {getattr(moved, name)}")
    for name in ("macs", "array_cycles", "compute_cycles", "active_pes", "folds_total"):
        if getattr(run, name) != getattr(sampled, name):
            wrong.append(f"{name}: full {getattr(run, name)}, sampled {getattr(sampled, name)}")
    if (
        run.sampled is not None
        or run.folds_run != run.folds_total
        or sampled.outputs is not None
        or not sampled.sampled
    ):
        wrong.append("what was run and what was sampled is not said")
    return wrong, run


def nest_of(
    layer: Any, arch: str, flow: str, direction: str = "forward", batch: int = 1, **overrides: Any
) -> Nest:
    machine = acc.load_architecture(arch, overrides)
    problem = layer.problem(batch).with_direction(direction)
    return Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow(flow)))


# Small layers of every odd kind.
LAYERS = {
    "plain": acc.Conv2d(M=7, C=3, H=6, W=7, R=3, S=2),
    "stride above filter": acc.Conv2d(M=3, C=2, H=11, W=9, R=2, S=2, stride=(4, 3)),
    "dilated": acc.Conv2d(M=4, C=2, H=9, W=8, R=3, S=2, dilation=(2, 3), padding=1),
    "padded unevenly": acc.Conv2d(M=3, C=3, H=5, W=4, R=3, S=3, padding=(2, 0, 0, 1), bias=True),
    "groups": acc.Conv2d(M=3, C=2, H=5, W=5, R=3, S=3, groups=3, padding=1, bias=True),
    "one MAC": acc.Conv2d(M=1, C=1, H=1, W=1, R=1, S=1),
    "one row": acc.Conv2d(M=5, C=3, H=1, W=9, R=1, S=3),
    "linear": acc.Linear(M=13, C=11, bias=True),
}
LINES = {"rows": 4, "cols": 3}


def cases(turn: int) -> list[tuple[str, Any, str]]:
    """Every layer in one direction, another one at every turn."""
    return [
        (name, layer, DIRECTIONS[(k + turn) % 3]) for k, (name, layer) in enumerate(LAYERS.items())
    ]


OPTIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ws exposed": ("scalesim", "ws", {}),
    "ws one register": ("systolic", "ws", {"array.weight_registers": 1}),
    "ws two registers, small buffer": ("systolic", "ws", {"levels.sram.capacity_bytes": 160}),
    "ws fully clocked": ("systolic", "ws", {"array.partial_folds": "full"}),
    "ws tpu": ("tpu_v1", "ws", {"levels.acc.capacity_bytes": 128, "levels.ub.capacity_bytes": 256}),
    "os in place": ("systolic", "os", {}),
    "os no overlap": ("scalesim", "os", {}),
    "os accumulators": (
        "systolic",
        "os",
        {"array.outputs": "accumulators", "levels.sram.capacity_bytes": 160},
    ),
    "os register": ("systolic", "os", {"array.outputs": "register"}),
    "os register, fully clocked": (
        "systolic",
        "os",
        {"array.outputs": "register", "array.partial_folds": "full"},
    ),
    "is one register": ("systolic", "is", {"array.weight_registers": 1}),
    "is two registers, small buffer": ("systolic", "is", {"levels.sram.capacity_bytes": 160}),
}


@pytest.mark.parametrize("option", slow_but([*OPTIONS][::2], OPTIONS))
def test_systolic_presets(option):
    arch, flow, options = OPTIONS[option]
    size = {f"array.{k}": v for k, v in LINES.items()}
    for name, layer, direction in cases(list(OPTIONS).index(option)):
        try:
            nest = nest_of(layer, arch, flow, direction, 2, **size, **options)
        except MappingError as error:
            assert arch == "tpu_v1" and direction == "grad_weight", (
                error
            )  # its registers have 8 bits, and these sums 32
            continue
        wrong, run = differences(nest)
        assert not wrong, f"{name} {direction}: {nest.mapping}\n  " + "\n  ".join(wrong)
        assert run.array_cycles >= run.compute_cycles


PLAIN = {
    "rs": ("eyeriss", "rs", {}),
    "rs small buffer": ("eyeriss", "rs", {"levels.glb.capacity_bytes": 1000}),
    "rs tree": ("eyeriss", "rs", {"networks.noc.accumulated": "reduce"}),
    "rs reads zeros": ("eyeriss", "rs", {"first_read": "glb"}),
    "ws": ("eyeriss", "ws", {}),
    "os": ("eyeriss", "os", {}),
    "is": ("eyeriss", "is", {}),
    "nlr": ("eyeriss", "nlr", {}),
    "unicast": (
        "eyeriss",
        "rs",
        {f"networks.noc.{role}": "unicast" for role in ("held", "streamed", "accumulated")},
    ),
    "osp": ("shidiannao", "osp", {}),
}


@pytest.mark.parametrize("option", slow_but([*PLAIN][::2], PLAIN))
def test_plain_presets(option):
    arch, flow, options = PLAIN[option]
    for name, layer, direction in cases(list(PLAIN).index(option)):
        try:
            nest = nest_of(
                layer, arch, flow, direction, 2, **{"array.rows": 5, "array.cols": 4}, **options
            )
        except MappingError as error:
            assert arch == "shidiannao" and direction == "grad_input", (
                error
            )  # its ifmap registers hold no sums
            continue
        wrong, run = differences(nest)
        assert not wrong, f"{name} {direction}: {nest.mapping}\n  " + "\n  ".join(wrong)
        assert run.array_cycles >= run.compute_cycles + nest.arch.array.pipeline_stages - 1


def test_lenet_whole():
    """Layers of a real network at their full size on the published arrays."""
    layers = {x.name: x for x in acc.load_workload("lenet5").layers}
    for name, arch, flow in (
        ("conv2", "eyeriss", "rs"),
        ("conv2", "systolic", "ws"),
        ("fc3", "scalesim", "os"),
    ):
        problem, machine = layers[name].problem(None), acc.load_architecture(arch)
        wrong, _ = differences(
            Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow(flow)))
        )
        assert not wrong, wrong


SAMPLED = {
    ("conv1", "systolic", "ws"): (4, 276),  # half of the SRAM holds the next tiles
    ("conv3", "eyeriss", "rs"): (13, 4576),
    ("fc8", "scalesim", "os"): (2, 32),
}


@pytest.mark.parametrize(("name", "arch", "flow"), SAMPLED)
def test_sampling_whole_layers(name, arch, flow):
    """AlexNet at full size by a few folds: counts and cycles of the closed forms, and it says what
    it did.
    """
    problem = next(x for x in acc.load_workload("alexnet").layers if x.name == name).problem(None)
    machine = acc.load_architecture(arch)
    nest = Nest(problem, machine, acc.choose(problem, machine, acc.load_dataflow(flow)))
    run, closed = cycle.run(nest, {}, sample_folds=True), analytic.moves(nest)
    for b in nest.boundaries:
        for what in ("taken", "read", "drained", "arrived", "updated"):
            assert getattr(run.moves[b], what) == int(getattr(closed[b], what)), f"{b} {what}"
    time = array_time(nest)
    assert (run.macs, run.array_cycles, run.compute_cycles) == (
        problem.macs,
        time.cycles,
        time.compute,
    )
    assert run.outputs is None and (run.folds_run, run.folds_total) == SAMPLED[name, arch, flow]
    assert run.sampled == (
        f"sampled: {run.folds_run} of {run.folds_total} folds clocked, one of each kind, and "
        "their counts multiplied; "
        f"counts and cycles are exact, outputs are not computed"
    )


# -- what has no way through a systolic array ------------------------------------------------------


def small(loops: str, reg: tuple[str, ...] = ("weight",), **sizes: int) -> Nest:
    size = {"N": 1, "G": 1, "M": 1, "C": 1, "E": 1, "F": 1, "R": 1, "S": 1} | sizes
    problem = Problem(**size, H=size["E"] + size["R"] - 1, W=size["F"] + size["S"] - 1)
    arch = acc.load_architecture("systolic")
    names = ["dram", "sram", "reg"]
    wide = arch.model_dump() | {"levels": {n: {} for n in names}}
    keep = {"dram": TENSORS, "sram": TENSORS, "reg": reg}
    return Nest(problem, Architecture.model_validate(wide), Mapping(loops=loops, keep=keep))


@pytest.mark.parametrize(
    ("nest", "text"),
    [
        (lambda: small("F:1:sram M:1:sram:col C:1:reg", (), M=3, C=2, F=4), "reg keeps nothing"),
        (
            lambda: small("M:1:sram:col C:1:sram:row F:1:reg", ("weight", "ofmap"), M=3, C=2, F=4),
            "reg keeps ofmap and weight",
        ),
        (
            lambda: small("C:1:sram:row F:1:reg M:1:reg", M=3, C=2, F=4),
            "reg holds 3 words of weight in a PE",
        ),
        (lambda: small("M:1:dram:col C:1:sram:row F:1:reg", M=3, C=2, F=4), "makes several arrays"),
        (
            lambda: small("C:1:sram:row M:1:sram F:2:reg F:1:reg:row", M=3, C=2, F=4),
            "makes several MACs in a PE",
        ),
        (
            lambda: small("G:1:sram:row M:1:sram:col F:1:reg", G=3, M=2, F=4),
            "only along different axes",
        ),
        (
            lambda: small(
                "C:2:sram R:2:sram:row C:1:sram:row R:1:sram:row M:1:sram:col F:1:reg",
                R=3,
                C=2,
                M=2,
                F=4,
            ),
            "leaves gaps",
        ),
    ],
)
def test_refused(nest, text):
    """A sentence that says why, never a wrong number."""
    with pytest.raises(MappingError, match=text):
        cycle.run(nest(), data_of(nest()))
    with pytest.raises(MappingError, match=text):
        cycle.run(nest(), {}, sample_folds=True)


def test_held_words_that_stand_still():
    """Steps at which no held word changes stream on as one fold: nothing is shifted in or out
    between them.
    """
    sizes = {"N": 4, "G": 1, "M": 2, "C": 3, "E": 1, "F": 2, "R": 1, "S": 1}
    problem = Problem(**sizes, H=1, W=2)
    edges = {}
    for name, loops, reg in (
        ("weights stand still", "N:1:dram C:1:sram:row M:1:sram:col F:1:reg", "weight"),
        ("weights change", "C:1:dram N:1:dram C:1:sram:row M:1:sram:col F:1:reg", "weight"),
        ("sums stand still", "C:1:dram N:1:sram:row M:1:sram:col F:1:reg", "ofmap"),
    ):
        if reg == "ofmap":
            loops = "C:1:dram F:1:sram:row M:1:sram:col N:1:reg"
            case = Problem(**{**sizes, "N": 1}, H=1, W=2)
        else:
            case = problem
        keep = {"dram": TENSORS, "sram": TENSORS, "reg": (reg,)}
        for overlap in (False, True):
            options = {
                "array.rows": 3,
                "array.cols": 2,
                "array.overlap": overlap,
                "array.weight_registers": 1,
            }
            arch = acc.load_architecture("systolic", options | {"array.outputs": "accumulators"})
            wrong, run = differences(Nest(case, arch, Mapping(loops=loops, keep=keep)))
            assert not wrong, (name, wrong)
            edges[name, overlap] = run.array_cycles
    # 3 shifts, then 4 x 2 words through 3 x 2 PEs: 3 + 8 + 3 + 2 - 2, overlapped or not; and 3
    # products into 2 x 2 sums
    assert edges["weights stand still", False] == edges["weights stand still", True] == 14
    assert edges["sums stand still", False] == edges["sums stand still", True] == 3 + 2 + 3 + 2 - 2
    # one row at a time, T = 8 each: 3 folds of 1 + 8 + 3 + 2 - 2, or gaps of 8 + 1 - 1
    assert (edges["weights change", False], edges["weights change", True]) == (
        36,
        1 + 2 * 8 + 8 + 3 + 2 - 2,
    )


def test_words_that_stay_in_some_pes_only_are_refused():
    """Ifmap words 4f + s on two rows of s: word 4 ends the first pixel's taps, alone, and begins
    the second one's.
    """
    problem = Problem(N=1, G=1, M=3, C=1, E=1, F=2, R=1, S=5, H=1, W=9, stride=(1, 4))
    keep = {"dram": TENSORS, "sram": TENSORS, "reg": ("ifmap",)}
    arch = acc.load_architecture("systolic")
    loops = "F:1:sram S:2:sram S:1:sram:row M:1:reg"
    with pytest.raises(
        MappingError,
        match="some PEs keep their word from one fold to the next while others change theirs",
    ):
        cycle.run(
            Nest(problem, arch, Mapping(loops=loops, keep=keep)),
            data_of(Nest(problem, arch, Mapping(loops=loops, keep=keep))),
        )
    assert not differences(
        Nest(problem, arch, Mapping(loops=loops.replace("S:2", "S:3"), keep=keep))
    )[0]  # one goes, two come


def test_a_huge_array_is_refused():
    nest = nest_of(LAYERS["plain"], "systolic", "ws", **{"array.rows": 4096, "array.cols": 4096})
    with pytest.raises(MappingError, match="more than the 1048576 the cycle engine clocks"):
        cycle.run(nest, data_of(nest))


def test_extremes_wrap():
    """Accumulators of 8 bits wrap as golden's do, at the extremes of the operands."""
    nest = nest_of(
        acc.Conv2d(M=3, C=9, H=4, W=4, R=3, S=3),
        "systolic",
        "ws",
        **{"array.rows": 5, "array.cols": 2, "bits.psum": 8},
    )
    data = {t: np.full(nest.problem.shape(t), -128, np.int8) for t in ("weight", "ifmap")}
    run = cycle.run(nest, data)
    assert np.array_equal(
        run.outputs, golden.accumulate(nest.problem, data, nest.arch.number("psum"))
    )


def test_other_data_other_outputs_same_rest():
    nest = nest_of(
        LAYERS["padded unevenly"], "systolic", "os", **{"array.rows": 3, "array.cols": 2}
    )
    a, b = (cycle.run(nest, data_of(nest, seed)) for seed in (1, 2))
    assert a.moves == b.moves and a.array_cycles == b.array_cycles
    assert not np.array_equal(a.outputs, b.outputs)


def test_a_wrong_word_is_noticed(monkeypatch):
    """The comparisons above can fail: a word fed to the wrong row, a sum that lands elsewhere, a
    read that is not counted.
    """
    nest = nest_of(LAYERS["plain"], "systolic", "ws", **{"array.rows": 4, "array.cols": 3})
    from accelsim.engines.cycle import clocking
    from accelsim.engines.cycle import line_pes as pe

    read = clocking._Folds._read

    def swapped(self, tensor, words):
        one = read(self, tensor, words)
        return one._replace(values=one.values[:, ::-1].copy())

    monkeypatch.setattr(clocking._Folds, "_read", swapped)
    assert any("outputs" in w for w in differences(nest)[0])
    monkeypatch.undo()
    clock = pe.clock_held_operand

    def miscounted(*arguments):
        clock(*arguments)
        tally = arguments[8]
        tally[[pe.ROWS_FED, pe.OTHER_FED]] += random.randrange(2)

    monkeypatch.setattr(pe, "clock_held_operand", miscounted)
    assert any("ifmap" in w or "weight" in w for w in differences(nest)[0])
