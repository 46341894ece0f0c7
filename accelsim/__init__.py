"""accelsim: convolution layers on a modelled PE array, exact to the word and to the bit.

``import accelsim as acc`` gives the names below; each loads what it needs when it is first used.
Everything else is the program's own and may change.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from accelsim.version import MODEL_VERSION, __version__

if TYPE_CHECKING:
    from accelsim.base.catalogue import architectures, dataflows, mappings, workloads
    from accelsim.base.errors import InputError
    from accelsim.explore.difference import compare
    from accelsim.explore.execution import SweepError
    from accelsim.explore.pareto import pareto
    from accelsim.explore.read import read_store
    from accelsim.explore.sensitivity import sensitivity
    from accelsim.explore.store import StoreError
    from accelsim.explore.study import Study
    from accelsim.explore.study_file import load_study
    from accelsim.explore.sweep import search, sweep
    from accelsim.hardware.architecture import Architecture, load_architecture
    from accelsim.importers.torch_module import from_torch
    from accelsim.mapping.dataflow import Dataflow
    from accelsim.mapping.files import load_dataflow, load_mapping
    from accelsim.mapping.mapping import Loop, Mapping, MappingError
    from accelsim.mapping.nest import Nest
    from accelsim.mapping.rule import choose
    from accelsim.results.best_mapping import map_layer
    from accelsim.results.map_network import map_network
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
    "Study": "explore.study",
    "SweepError": "explore.execution",
    "Workload": "workload.network",
    "animate": "view.player.animation",
    "architectures": "base.catalogue",
    "choose": "mapping.rule",
    "compare": "explore.difference",
    "dataflows": "base.catalogue",
    "from_torch": "importers.torch_module",
    "load_architecture": "hardware.architecture",
    "load_dataflow": "mapping.files",
    "load_mapping": "mapping.files",
    "load_study": "explore.study_file",
    "load_workload": "workload.network",
    "map_layer": "results.best_mapping",
    "map_network": "results.map_network",
    "mappings": "base.catalogue",
    "pareto": "explore.pareto",
    "read_store": "explore.read",
    "search": "explore.sweep",
    "sensitivity": "explore.sensitivity",
    "simulate": "results.simulate",
    "sweep": "explore.sweep",
    "train_step": "results.train",
    "workloads": "base.catalogue",
}

__all__ = [
    "MODEL_VERSION",
    "Animation",
    "Architecture",
    "Conv2d",
    "ConvTranspose2d",
    "Dataflow",
    "Gemm",
    "InputError",
    "Linear",
    "Loop",
    "Mapping",
    "MappingError",
    "MatMul",
    "Nest",
    "Problem",
    "Result",
    "StoreError",
    "Study",
    "SweepError",
    "Workload",
    "__version__",
    "animate",
    "architectures",
    "choose",
    "compare",
    "dataflows",
    "from_torch",
    "load_architecture",
    "load_dataflow",
    "load_mapping",
    "load_study",
    "load_workload",
    "map_layer",
    "map_network",
    "mappings",
    "pareto",
    "read_store",
    "search",
    "sensitivity",
    "simulate",
    "sweep",
    "train_step",
    "workloads",
]


if not TYPE_CHECKING:  # a type checker takes names from the imports above, and reports others

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'accelsim' has no attribute {name!r}")
        thing = globals()[name] = getattr(import_module(f"accelsim.{_HOMES[name]}"), name)
        return thing


def __dir__() -> list[str]:
    return sorted(__all__)


if "IPython" in sys.modules:
    from accelsim.base.display import show_figures

    show_figures()
