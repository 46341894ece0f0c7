"""accelsim: convolution layers on a modelled PE array, exact to the word and to the bit.

The names below load what they need when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from accelsim.version import MODEL_VERSION, __version__

if TYPE_CHECKING:
    from accelsim.base.errors import InputError
    from accelsim.explore.difference import compare
    from accelsim.explore.guided_search import search
    from accelsim.explore.map_network import map_network
    from accelsim.explore.pareto import pareto
    from accelsim.explore.read import read_store
    from accelsim.explore.sensitivity import sensitivity
    from accelsim.explore.store import StoreError
    from accelsim.explore.sweep import SweepError, sweep
    from accelsim.hardware.architecture import Architecture, load_architecture
    from accelsim.mapping.dataflow import Dataflow
    from accelsim.mapping.files import load_dataflow, load_mapping
    from accelsim.mapping.mapping import Loop, Mapping, MappingError
    from accelsim.mapping.nest import Nest
    from accelsim.mapping.rule import choose
    from accelsim.results.best_mapping import map_layer
    from accelsim.results.result import Result
    from accelsim.results.simulate import simulate
    from accelsim.results.train import train_step
    from accelsim.view.player.animation import Animation, animate
    from accelsim.workload.layers import Conv2d, ConvTranspose2d, Gemm, Linear, MatMul
    from accelsim.workload.network import Workload, load_workload
    from accelsim.workload.problem import Problem

_HOMES = {
    "Animation": "view.player.animation",
    "Architecture": "hardware.architecture",
    "Conv2d": "workload.layers",
    "ConvTranspose2d": "workload.layers",
    "Dataflow": "mapping.dataflow",
    "Gemm": "workload.layers",
    "InputError": "base.errors",
    "Linear": "workload.layers",
    "Loop": "mapping.mapping",
    "Mapping": "mapping.mapping",
    "MappingError": "mapping.mapping",
    "MatMul": "workload.layers",
    "Nest": "mapping.nest",
    "Problem": "workload.problem",
    "Result": "results.result",
    "StoreError": "explore.store",
    "SweepError": "explore.sweep",
    "Workload": "workload.network",
    "animate": "view.player.animation",
    "choose": "mapping.rule",
    "compare": "explore.difference",
    "load_architecture": "hardware.architecture",
    "load_dataflow": "mapping.files",
    "load_mapping": "mapping.files",
    "load_workload": "workload.network",
    "map_layer": "results.best_mapping",
    "map_network": "explore.map_network",
    "pareto": "explore.pareto",
    "read_store": "explore.read",
    "search": "explore.guided_search",
    "sensitivity": "explore.sensitivity",
    "simulate": "results.simulate",
    "sweep": "explore.sweep",
    "train_step": "results.train",
}

__all__ = [  # noqa: RUF022
    "MODEL_VERSION", "__version__", "Animation", "Architecture", "Conv2d", "ConvTranspose2d", "Dataflow", "Gemm",
    "InputError", "Linear", "Loop", "Mapping", "MappingError", "MatMul", "Nest", "Problem", "Result", "StoreError",
    "SweepError", "Workload", "animate", "choose", "compare", "load_architecture", "load_dataflow", "load_mapping",
    "load_workload", "map_layer", "map_network", "pareto", "read_store", "search", "sensitivity", "simulate", "sweep",
    "train_step",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"accelsim.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'accelsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
