"""What a thing of the package is, in words and tables: the page of any public class.

``page`` is asked by ``base.display`` for ``print`` and notebooks; ``describe`` by ``accelsim
show``, which has overridden keys to name besides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from accelsim.base.text_table import Block, Page
from accelsim.explore.study import Study
from accelsim.explore.study_file import StudyFile
from accelsim.hardware.architecture import Architecture
from accelsim.mapper.certificate import Certificate
from accelsim.mapping.dataflow import Dataflow
from accelsim.mapping.files import MappingFile
from accelsim.mapping.mapping import Mapping as LoopMapping
from accelsim.mapping.nest import Nest
from accelsim.results.best_mapping import Best
from accelsim.results.explain import Explanation, LayerExplained
from accelsim.results.layer_row import Row, describe_overrides
from accelsim.results.map_network import NetworkBest
from accelsim.results.table import row_blocks
from accelsim.view.pages.architecture_page import architecture_blocks
from accelsim.view.pages.dataflow_page import dataflow_blocks
from accelsim.view.pages.explanation_page import explained_blocks, explanation_blocks
from accelsim.view.pages.mapping_page import file_blocks, mapping_blocks, nest_blocks
from accelsim.view.pages.profile_page import profile_page
from accelsim.view.pages.search_page import best_blocks, certificate_blocks, network_best_blocks
from accelsim.view.pages.study_page import study_blocks, study_call_blocks
from accelsim.view.pages.workload_page import (
    graph_blocks,
    layer_blocks,
    problem_blocks,
    problem_title,
    workload_blocks,
)
from accelsim.workload.graph.graph import Graph
from accelsim.workload.layers import Layer
from accelsim.workload.network import Workload
from accelsim.workload.problem import Problem
from accelsim.workload.profile import Profile

# The blocks of each class; its page begins with the name and description it has, if it has any.
_BLOCKS: tuple[tuple[type, Callable[[Any], tuple[Block, ...]]], ...] = (
    (Architecture, architecture_blocks),
    (Dataflow, dataflow_blocks),
    (Workload, workload_blocks),
    (Layer, layer_blocks),
    (Graph, graph_blocks),
    (MappingFile, file_blocks),
    (Nest, nest_blocks),
    (StudyFile, study_blocks),
    (Study, study_call_blocks),
    (Row, row_blocks),
    (Best, best_blocks),
    (NetworkBest, network_best_blocks),
    (Certificate, certificate_blocks),
    (LayerExplained, explained_blocks),
    (Explanation, explanation_blocks),
)


def page(thing: object) -> Page:
    """The page of an object.  Raises TypeError for a class that has none."""
    if isinstance(thing, Profile):
        return profile_page(thing)
    if isinstance(thing, Problem):
        return Page(problem_title(thing), blocks=problem_blocks(thing))
    if isinstance(thing, LoopMapping):
        return Page("mapping", blocks=mapping_blocks(thing))
    for kind, blocks in _BLOCKS:
        if isinstance(thing, kind):
            return Page(_title(thing), getattr(thing, "description", ""), blocks(thing))
    raise TypeError(f"nothing to say about {type(thing).__name__}")


def describe(
    model: BaseModel, overrides: Mapping[str, Any] | None = None, batch: int | None = None
) -> str:
    """Any kind of file as text; overridden keys stand in the first line.

    ``batch`` is a workload's; its layers' own batch otherwise.  Raises TypeError for what is no
    file.
    """
    shown = page(model)
    blocks = workload_blocks(model, batch) if isinstance(model, Workload) else shown.blocks
    title = _title(model, overrides or {})
    text = Page(title, shown.description, blocks).text()
    return text if title or shown.description else f"\n{text}"  # the name's line stays empty


def _title(thing: object, overrides: Mapping[str, Any] | None = None) -> str:
    """``NAME with KEY=VALUE``; a dataflow's short name stands beside its long one."""
    name = str(getattr(thing, "name", ""))
    title = describe_overrides(name, overrides or {}) or name
    return (
        title.replace(name, f"{name} ({thing.short})", 1) if isinstance(thing, Dataflow) else title
    )
