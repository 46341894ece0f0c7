"""Pages of an explanation: of a layer, and of a result with a line a layer."""

from __future__ import annotations

from collections.abc import Sequence

from accelsim.base.text_table import Block, Sentences, TextTable, spaced
from accelsim.hardware.ports import never_waited_sentence
from accelsim.results.explain import Explanation, LayerExplained, printed_unit
from accelsim.results.knobs import Knob
from accelsim.results.waterfall import CyclePart

SHOWN = 8  # knobs of a table: those that help most; what makes it worse is said in sentences
ALMOST = 0.95  # of all cycles
PERCENT = 0.005  # changes below it are none


def explanation_blocks(told: Explanation) -> tuple[Block, ...]:
    """Each dataflow's total, or its only layer, and under a total a line a layer."""
    blocks: list[Block] = []
    for whole in told.whole:
        own = [x for x in told.layers if x.identity["dataflow"] == whole.identity["dataflow"]]
        blocks += [Sentences((whole.name,)), *explained_blocks(whole)]
        if len(own) > 1:
            blocks.append(_layer_table(own))
    if told.comparisons():
        blocks.append(Sentences(told.comparisons()))
    return tuple(blocks)


def explained_blocks(x: LayerExplained) -> tuple[Block, ...]:
    """The cycles part by part, the energy, what binds, and what would help."""
    blocks: list[Block] = [
        _cycle_table(x),
        _energy_table(x),
        Sentences(tuple(binding_sentences(x))),
    ]
    if x.knobs:
        blocks.append(_knob_table(x))
        blocks += _worse(x)
    return tuple(blocks)


def _cycle_table(x: LayerExplained) -> TextTable:
    rows = [
        [
            f"{'+ ' if place else '  '}{p.label}",
            spaced(p.cycles),
            _share(p.cycles, x.cycles),
            _meaning(p, x),
        ]
        for place, p in enumerate(x.parts)
        if p.cycles or not place
    ]
    rows.append(["= cycles", spaced(x.cycles), "100.0%", ""])
    return TextTable.of(["cycles", "", "", ""], rows, (1, 2), (len(rows) - 1,))


def _meaning(part: CyclePart, x: LayerExplained) -> str:
    """What a part is, beside its number."""
    if part.waits_for:
        return "the array stands still"
    sides = ""
    if x.used is not None:
        sides = f"the mapping uses {x.used[0]} rows and {x.used[1]} columns"
    return {
        "ideal": f"{spaced(x.pes)} PEs, a MAC each in every cycle",
        "vector": "beside the array",
        "edges": sides or "rows and columns that mappings do not use",
        "tails": "last pieces, smaller than the others",
        "fill_drain": "words on their way in, results on their way out",
    }[part.name]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "-"


def _energy_table(x: LayerExplained) -> TextTable:
    """Components by tensor, beside the least they can be."""
    tensors = [t for t in ("weight", "ifmap", "ofmap") if any(t in s.tensors for s in x.energy)]
    rows = [
        [
            share.component,
            *(f"{share.tensors[t]:.4g}" if t in share.tensors else "" for t in tensors),
            f"{share.total:.4g}",
            _share(share.total, x.spent),
            f"{share.least:.4g}" if share.least else "",
        ]
        for share in x.energy
        if share.total
    ]
    rows.append(["total", *([""] * len(tensors)), f"{x.spent:.4g}", "100.0%", f"{x.least:.4g}"])
    head = [f"energy ({printed_unit(x.unit)})", *tensors, "all", "", "least"]
    return TextTable.of(head, rows, range(1, len(head)), (len(rows) - 1,))


def binding_sentences(x: LayerExplained) -> list[str]:
    """What binds, how far the energy is from its least, and what costs nothing.  The explorer has
    them beside its bars.
    """
    binds, ideal = x.binds, x.parts[0]
    cause = {
        "ideal": "The array's MACs bind",
        "vector": "The vector unit binds",
        "edges": "The mapping binds: PEs that never get work",
        "tails": "The mapping binds: last pieces are too small",
        "fill_drain": "Filling and draining the array binds",
    }
    told = cause.get(binds.name, f"{binds.waits_for} binds: the array waits for it")
    lines = [f"{told} ({_share(binds.cycles, x.cycles)} of the cycles)."]
    if binds.name == "ideal" and binds.cycles > ALMOST * x.cycles:
        lines[0] += " Only more PEs or fewer MACs help."
    elif ideal.cycles and x.cycles > ideal.cycles:
        over = x.cycles / ideal.cycles
        times = f"{over:.3g}" if over < 1000 else spaced(over, ".0f")
        lines[0] += f" It takes {times} times the ideal."
    lines += _waiting(x)
    if x.least:
        largest = max(x.energy, key=lambda s: s.total - s.least)
        lines.append(
            f"Energy is {x.spent / x.least:.3g} times the least (its MACs, and each word that is "
            f"used once over the outermost port); most of the rest is {largest.component}'s."
        )
    if x.unlimited:
        lines.append(f"{never_waited_sentence(x.unlimited)}.")
    return lines


def _waiting(x: LayerExplained) -> list[str]:
    """How much of the time is waiting, where something else binds: nothing below a hundredth."""
    waits = [part for part in x.parts if part.waits_for and part.cycles]
    waited = sum(part.cycles for part in waits)
    if x.binds in waits or 100 * waited < x.cycles or not waits:
        return []
    most = max(waits, key=lambda part: part.cycles).waits_for
    of_it = "" if len(waits) == 1 else "most of it "
    return [f"{_share(waited, x.cycles)} of the cycles are waiting, {of_it}for {most}."]


def _ratio(after: float | None, before: float | None) -> str:
    return "-" if after is None or not before else f"{after / before:.3f}"


def _knob_table(x: LayerExplained) -> TextTable:
    """The knobs that help most, best first, over the machine as it is."""
    assert x.machine is not None
    base = x.machine
    rows = []
    for knob in [k for k in x.knobs if k.why is None][:SHOWN]:
        rows.append(
            [
                knob.key,
                f"{spaced(knob.before)} -> {spaced(knob.after)}",
                _ratio(knob.cycles, base.cycles),
                _ratio(knob.energy, base.energy),
                _ratio(knob.product, base.product),
            ]
        )
    head = ["one number changed", "", "cycles x", "energy x", "edp x"]
    return TextTable.of(head, rows, (1, 2, 3, 4))


def _worse(x: LayerExplained) -> list[Block]:
    """More of something that makes it worse, plainly; and how many knobs do nothing."""
    assert x.machine is not None
    lines = []
    for knob in x.knobs:
        worse = knob.after > knob.before and _change(knob, x.machine) > PERCENT
        if worse:
            lines.append(_worse_line(knob, x))
    for knob in x.knobs:
        if knob.why is not None:
            lines.append(f"{knob.key} {knob.before} -> {knob.after} is no machine here: {knob.why}")
    some = {k.key for k in x.knobs if k.why or abs(_change(k, x.machine)) > PERCENT}
    same = list(dict.fromkeys(k.key for k in x.knobs if k.key not in some))
    if same:
        lines.append(f"Hardly any difference, twice or half: {', '.join(same)}.")
    return [Sentences(tuple(lines))] if lines else []


def _change(knob: Knob, base: Knob) -> float:
    """By how much a knob changes energy x cycles: 0.5 is half as much again."""
    if knob.why is not None or not base.product:
        return 0.0
    return knob.product / base.product - 1


def _worse_line(knob: Knob, x: LayerExplained) -> str:
    assert x.machine is not None
    what = f"cycles x{_ratio(knob.cycles, x.machine.cycles)}, "
    what += f"energy x{_ratio(knob.energy, x.machine.energy)}"
    line = f"Twice {knob.key} makes it worse ({what})"
    if not knob.key.startswith("levels."):
        return f"{line}: more hardware is charged for, and this mapping has no use for it."
    slower = (knob.cycles or 0) > (1 + PERCENT) * (x.machine.cycles or 0)
    rule = x.identity["mapping"] == "rule"
    if slower and rule:
        return f"{line}: the fixed rule takes the largest tile that fits, not the best one."
    more = ", and the fixed rule fills it whether that pays or not" if rule else ""
    return f"{line}: an access to a larger level costs more{more}."


def _layer_table(layers: Sequence[LayerExplained]) -> TextTable:
    """A line a layer: its parts in per cent of its cycles, and what binds."""
    names = list(dict.fromkeys(p.name for x in layers for p in x.parts if p.cycles))
    labels = {p.name: p.label for x in layers for p in x.parts}
    rows = []
    for x in layers:
        own = {p.name: p.cycles for p in x.parts}
        shares = [_share(own.get(name, 0), x.cycles) for name in names]
        over = f"{x.spent / x.least:.3g}" if x.least else "-"
        binds = "its MACs" if x.binds.name == "ideal" else x.binds.label
        rows.append([x.identity["layer"], spaced(x.cycles), *shares, over, binds])
    head = ["layer", "cycles", *(labels[n] for n in names), "energy/least", "binds"]
    return TextTable.of(head, rows, range(1, len(head) - 1))
