"""What the page may ask for: shipped names, numbers within limits, and no path to any file."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from accelsim.base.errors import InputError
from accelsim.base.shipped import shipped_names
from accelsim.hardware.architecture import Architecture, load_architecture
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import load_dataflow
from accelsim.mapping.mapping import MappingError
from accelsim.mapping.rule import choose
from accelsim.results.knobs import numbers
from accelsim.workload.layers import Conv2d, Layer
from accelsim.workload.network import Workload, load_workload
from accelsim.workload.problem import Direction, Problem

MOST_MACS = 2**40
MOST_PES = 2**16
Size = Annotated[int, Field(ge=1, le=4096)]
Pixels = Annotated[int, Field(ge=1, le=1024)]
_KEY = re.compile(r"[a-z0-9_]{1,40}(\.[a-z0-9_]{1,40}){0,4}")
MOST_SWEPT = 400  # values of an axis
# what the tiles make small; rule: the fixed rule's
Objective = Literal["edp", "cycles", "energy", "rule"]


Value = int | float | Literal["unlimited"]  # of an overridden key; a level may be unlimited


class OwnLayer(BaseModel):
    """A layer typed in."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    M: Size
    C: Size
    H: Pixels
    W: Pixels
    R: Size
    S: Size
    stride: Annotated[int, Field(ge=1, le=64)] = 1
    padding: Annotated[int, Field(ge=0, le=64)] = 0
    groups: Size = 1


class Ask(BaseModel):
    """One state of the controls.  ``layer`` names one of ``workload``, ``params`` are values of its
    parameters; ``own`` is a layer instead of all three.  Without ``objective`` tiles are the
    architecture's own: the best in energy x cycles, or the fixed rule's.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    workload: str | None = None
    layer: str | None = None
    params: Annotated[dict[str, int], Field(max_length=20)] = {}
    own: OwnLayer | None = None
    arch: str
    dataflow: str
    overrides: Annotated[dict[str, Value], Field(max_length=20)] = {}
    batch: Annotated[int, Field(ge=1, le=256)] = 1
    direction: Direction = "forward"
    objective: Objective | None = None

    @field_validator("workload", "arch", "dataflow")
    @classmethod
    def _shipped(cls, value: str | None, info: Any) -> str | None:
        kind = {"workload": "workloads", "arch": "architectures", "dataflow": "dataflows"}[
            info.field_name
        ]
        if value is not None and value not in shipped_names(kind):
            raise ValueError(f"must be one of {', '.join(shipped_names(kind))}")
        return value

    @field_validator("overrides")
    @classmethod
    def _keys(cls, value: dict[str, Value]) -> dict[str, Value]:
        for key in value:
            if not _KEY.fullmatch(key):
                raise ValueError("keys are dotted names, like array.rows")
        return value

    @model_validator(mode="after")
    def _one_layer(self) -> Ask:
        if (self.workload is None) == (self.own is None):
            raise ValueError("either workload or own is given")
        if self.own is not None and self.params:
            raise ValueError("params belong to a workload")
        return self

    @property
    def machine(self) -> Architecture:
        """The architecture with its overridden keys.  Raises InputError."""
        arch = _machine(self.arch, json.dumps(self.overrides, sort_keys=True))
        pes = arch.array.rows * arch.array.cols
        if pes > MOST_PES:
            raise InputError(
                f"the explorer shows at most {MOST_PES} PEs", key="array", got=str(pes)
            )
        return arch

    @property
    def flow(self) -> Dataflow:
        """The dataflow."""
        return _flow(self.dataflow)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers of the workload, or the one that was typed in.  Raises InputError."""
        if self.own is not None:
            try:
                return (Conv2d(name="own", **self.own.model_dump()),)
            except ValueError as error:
                raise InputError(" ".join(str(error).split())[:200], key="own") from error
        assert self.workload is not None
        return tuple(workload(self.workload, json.dumps(self.params, sort_keys=True)).layers)

    @property
    def chosen(self) -> Layer:
        """The layer that is looked at.  Raises InputError."""
        for layer in self.layers:
            if self.layer in (None, layer.name):
                if layer.problem(self.batch).macs > MOST_MACS:
                    raise InputError(
                        f"the explorer runs at most {MOST_MACS} MACs",
                        key="layer",
                        got=str(layer.problem(self.batch).macs),
                    )
                return layer
        raise InputError(
            "no such layer", key="layer", got=str(self.layer), choices=[x.name for x in self.layers]
        )


class SweptKey(BaseModel):
    """One axis of a sweep: a key of the architecture and its values."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    key: Annotated[str, Field(pattern=f"^(?:{_KEY.pattern})$")]
    values: Annotated[tuple[int | float, ...], Field(strict=False, min_length=1)]

    @field_validator("values")
    @classmethod
    def _few(cls, value: tuple[int | float, ...]) -> tuple[int | float, ...]:
        if len(value) > MOST_SWEPT:
            raise ValueError(f"at most {MOST_SWEPT} values")
        return value


class SweepAsk(Ask):
    """A sweep around a state of the controls: one axis or two, under one dataflow or several."""

    axes: Annotated[tuple[SweptKey, ...], Field(strict=False, min_length=1, max_length=2)]
    flows: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=20)]

    @field_validator("flows")
    @classmethod
    def _shipped_flows(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in shipped_names("dataflows"):
                raise ValueError(f"must be of {', '.join(shipped_names('dataflows'))}")
        return value


@lru_cache(maxsize=64)
def _machine(name: str, overrides: str) -> Architecture:
    """``overrides`` as JSON, in which 16 and 16.0 differ."""
    return load_architecture(name, json.loads(overrides))


@lru_cache(maxsize=64)
def _flow(name: str) -> Dataflow:
    return load_dataflow(name)


@lru_cache(maxsize=64)
def workload(name: str, params: str = "{}") -> Workload:
    """A shipped workload, read once; ``params`` as JSON.  Raises InputError."""
    return load_workload(name, json.loads(params))


def choices() -> dict[str, Any]:
    """What the controls offer: workloads with their layers and parameters, machines, dataflows and
    objectives.
    """
    flows = {n: f"{_flow(n).short}: {_flow(n).description}" for n in shipped_names("dataflows")}
    networks = {n: workload(n).description for n in shipped_names("workloads")}
    layers = {n: [layer.name for layer in workload(n).layers] for n in networks}
    return {
        "workloads": networks,
        "layers": layers,
        "params": {n: dict(x) for n in networks if (x := workload(n).parameter_values)},
        "architectures": {name: machine_choices(name) for name in shipped_names("architectures")},
        "dataflows": flows,
        "objectives": ["edp", "cycles", "energy", "rule"],
    }


def machine_choices(name: str) -> dict[str, Any]:
    """What the controls offer of an architecture: its numbers, by key (``keys`` of array and
    buffers, ``memory`` with networks and clocks, ``words``), the levels that are ``timed``, and the
    dataflows it cannot run, each with the reason.
    """
    arch = _machine(name, "{}")
    sizes = {
        f"levels.{level}.capacity_bytes": spec.capacity_bytes
        for level, spec in arch.levels.items()
        if spec.capacity_bytes is not None
    }
    return {
        "description": arch.description,
        "tiles": arch.default_tiles,
        "refused": _refused(Conv2d(M=8, C=4, H=12, W=12, R=3, S=3).problem(), arch),
        "keys": {"array.rows": arch.array.rows, "array.cols": arch.array.cols} | sizes,
        "memory": {k: v for k, v in _memory(arch).items() if k not in sizes},
        "words": {f"bits.{name}": bits for name, bits in arch.bits.model_dump().items()},
        "timed": [n for n, x in arch.levels.items() if x.port_bits or x.latency_cycles],
    }


def _memory(arch: Architecture) -> dict[str, int | float | None]:
    """Numbers that say how fast memory is and how it is divided, by the key that overrides each;
    None for a port that could have a width and has none.
    """
    told: dict[str, int | float | None] = {
        key: value for key, value in numbers(arch).items() if not key.startswith("array.")
    }
    for name in arch.level_names[: arch.level_in_pe]:
        level = arch.levels[name]
        told |= {
            f"levels.{name}.port_bits": level.port_bits,
            f"levels.{name}.latency_cycles": level.latency_cycles,
        }
        if level.port_clock_mhz is not None:
            told[f"levels.{name}.port_clock_mhz"] = level.port_clock_mhz
    return told | {"clock_mhz": arch.clock_mhz}


def _refused(problem: Problem, arch: Architecture) -> dict[str, str]:
    """Why a machine cannot run a dataflow, by its name; tried on a layer that fits all of them."""
    why = {}
    for name in shipped_names("dataflows"):
        try:
            choose(problem, arch, _flow(name))
        except MappingError as error:
            why[name] = str(error)
    return why
