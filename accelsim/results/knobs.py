"""What doubling or halving each number of a machine would do to a result.

The numbers are the array's rows and columns, every capacity and partition, every port and every
network's width.  Under the fixed rule a layer is evaluated on all the machines in one call, with
the arrays that sweeps use (``batch``); otherwise each machine is asked for as the result was, so
that its tiles are chosen anew by the same settings.  ``explain`` calls ``turned``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from accelsim.base.adding import sum_in_order
from accelsim.base.errors import InputError
from accelsim.hardware.architecture import Architecture, load_architecture, structure
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import sources
from accelsim.results import batch
from accelsim.results.layer_row import ENERGIES, How, layer_row
from accelsim.results.result import Asked
from accelsim.workload.problem import Problem

ONE_BY_ONE = How("analytic", False, 0)


@dataclass(frozen=True)
class Knob:
    """One number of a machine, doubled or halved, and what a layer or a network then takes.

    ``cycles`` and ``energy`` are None where the machine cannot be built or a layer not mapped;
    ``why`` says so.
    """

    key: str
    before: int
    after: int
    cycles: int | None = None
    energy: float | None = None
    why: str | None = None

    @property
    def product(self) -> float:
        """Energy x cycles, which knobs are sorted by; infinite where there is none."""
        done = self.cycles is not None and self.energy is not None
        return float(self.cycles or 0) * float(self.energy or 0) if done else float("inf")


def numbers(arch: Architecture) -> dict[str, int]:
    """Every number that is turned, by the key that overrides it."""
    turned = {"array.rows": arch.array.rows, "array.cols": arch.array.cols}
    for name, level in arch.levels.items():
        at = f"levels.{name}"
        if level.capacity_bytes is not None:
            turned[f"{at}.capacity_bytes"] = level.capacity_bytes
        turned |= {f"{at}.partitions.{t}": size for t, size in level.partitions.items()}
        if level.port_bits is not None:
            turned[f"{at}.port_bits"] = level.port_bits
    for name, network in arch.networks.items():
        at = f"networks.{name}.width_bits"
        if isinstance(network.width_bits, int):
            turned[at] = network.width_bits
        elif network.width_bits is not None:
            turned |= {f"{at}.{t}": width for t, width in network.width_bits.items()}
    return turned


def turned(asked: Asked, dataflow: str, *, by_rule: bool) -> dict[str, list[Knob]]:
    """Every layer's knobs by its name, in the order of ``numbers``, doubled before halved; under
    the dataflow that a result's column calls so, ``by_rule`` where its tiles are the fixed rule's.
    Before them one without a key: the machine as it is, on the analytic engine like the others.
    """
    known: list[Knob] = [Knob("", 1, 1)]
    machines: list[Architecture] = [asked.arch]
    for key, value in numbers(asked.arch).items():
        for other in (2 * value, value // 2):
            if other < 1:
                continue
            try:
                machines.append(load_architecture(asked.arch, {key: other}))
                known.append(Knob(key, value, other))
            except InputError as error:
                known.append(Knob(key, value, other, why=str(error)))
    built = [knob for knob in known if knob.why is None]
    told = _by_layer(asked, dataflow, machines, by_rule)
    turned: dict[str, list[Knob]] = {}
    for layer, outcomes in told.items():
        own = iter(
            Knob(knob.key, knob.before, knob.after, *outcome)
            for knob, outcome in zip(built, outcomes, strict=True)
        )
        turned[layer] = [next(own) if knob.why is None else knob for knob in known]
    return turned


Outcome = tuple[int | None, float | None, str | None]  # cycles, energy, why there are none


def _by_layer(
    asked: Asked, dataflow: str, machines: Sequence[Architecture], by_rule: bool
) -> dict[str, list[Outcome]]:
    """Of every layer, what each machine makes of it."""
    flow = asked.flow(dataflow)
    if by_rule and flow is not None:
        known: dict[Problem, list[Outcome]] = {}
        told = {}
        for layer in asked.workload.layers:
            problem = layer.directed(asked.options.get("batch"), asked.options["direction"])
            if problem not in known:
                known[problem] = _together(problem, machines, flow)
            told[layer.name] = known[problem]
        return told
    again: dict[str, list[Outcome]] = {}
    for arch in machines:
        for row in asked.again(arch, dataflow):
            again.setdefault(row.columns["layer"], []).append(_outcome(row.columns))
    return again


def _together(problem: Problem, machines: Sequence[Architecture], flow: Dataflow) -> list[Outcome]:
    """One layer under the fixed rule on every machine, in one call; those that must be are
    evaluated one by one.
    """
    assert len({structure(arch) for arch in machines}) == 1, "they differ in numbers only"
    outcomes: dict[int, Outcome] = {}
    groups, left = batch.columns(problem, machines, flow)
    for group in groups:
        energy = next(v for k, v in group.columns.items() if k in ENERGIES)
        for place, cycles, spent in zip(
            group.at.tolist(), group.columns["cycles"].tolist(), energy.tolist(), strict=True
        ):
            outcomes[place] = cycles, spent, None
    (source,) = sources(flow)
    for place in np.unique(left).tolist():
        row = layer_row("", "", problem, machines[place], source, ONE_BY_ONE, {})[0]
        outcomes[place] = _outcome(row.columns)
    return [outcomes[place] for place in range(len(machines))]


def _outcome(columns: Mapping[str, Any]) -> Outcome:
    if columns.get("cycles") is None:
        return None, None, str(columns.get("error"))
    return columns["cycles"], next(columns[k] for k in ENERGIES if k in columns), None


def added(layers: Sequence[Sequence[Knob]]) -> list[Knob]:
    """The knobs of a network, of its layers' in the same order; where one has no result, why."""
    whole = []
    for knobs in zip(*layers, strict=True):
        first = knobs[0]
        make = partial(Knob, first.key, first.before, first.after)
        whys = [knob.why for knob in knobs if knob.why is not None]
        if whys:
            whole.append(make(why=whys[0]))
        else:
            cycles = sum(knob.cycles or 0 for knob in knobs)
            whole.append(make(cycles, sum_in_order(knob.energy or 0.0 for knob in knobs)))
    return whole
