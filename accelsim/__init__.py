"""accelsim: convolution layers on a modelled PE array, exact to the word and to the bit.

The names below load what they need when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from accelsim.version import MODEL_VERSION, __version__

if TYPE_CHECKING:
    from accelsim.files import InputError
    from accelsim.hardware.architecture import Architecture
    from accelsim.hardware.presets import load_architecture
    from accelsim.mapping.dataflow import Dataflow
    from accelsim.mapping.mapping import Loop, Mapping, MappingError
    from accelsim.mapping.nest import Nest
    from accelsim.mapping.presets import load_dataflow, load_mapping
    from accelsim.mapping.tiling import choose
    from accelsim.results.result import Result
    from accelsim.results.simulate import simulate
    from accelsim.workload.layers import Conv2d, Gemm, Linear
    from accelsim.workload.network import Workload, load_workload
    from accelsim.workload.problem import Problem

_HOMES = {
    "Architecture": "hardware.architecture",
    "Conv2d": "workload.layers",
    "Dataflow": "mapping.dataflow",
    "Gemm": "workload.layers",
    "InputError": "files",
    "Linear": "workload.layers",
    "Loop": "mapping.mapping",
    "Mapping": "mapping.mapping",
    "MappingError": "mapping.mapping",
    "Nest": "mapping.nest",
    "Problem": "workload.problem",
    "Result": "results.result",
    "Workload": "workload.network",
    "choose": "mapping.tiling",
    "load_architecture": "hardware.presets",
    "load_dataflow": "mapping.presets",
    "load_mapping": "mapping.presets",
    "load_workload": "workload.network",
    "simulate": "results.simulate",
}

__all__ = [  # noqa: RUF022
    "MODEL_VERSION", "__version__", "Architecture", "Conv2d", "Dataflow", "Gemm", "InputError", "Linear", "Loop", "Mapping",
    "MappingError",
    "Nest", "Problem", "Result", "Workload", "choose", "load_architecture", "load_dataflow", "load_mapping", "load_workload", "simulate",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"accelsim.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'accelsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
