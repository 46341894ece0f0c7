"""``simulate``: from names to rows in one call.  It is what ``accelsim run`` calls, and what
sweeps, the explorer and the mapper ask for the row of a layer.

Everything that ``accelsim run`` takes is a keyword here or, where it only says where output goes, a
method of the ``Result``:

==================  ==========================================================
``accelsim run``    Python
==================  ==========================================================
``--layer L``       ``layers=["L"]``
``--set KEY=VALUE`` ``overrides={"KEY": VALUE}``
``--param P=VALUE`` ``params={"P": VALUE}``
``--format``, -o    ``print(result)``, ``to_csv(path)``, ``to_json(path)``
``--total``         ``to_csv(path, total=True)``, likewise ``to_json``
``--plot DIR``      ``result.plot.save(DIR)``
``--timeline DIR``  ``timeline=True``, then ``result.plot.save_timelines(DIR)``, or
                    ``result.to_trace("FILE.json")``
==================  ==========================================================

Every other option has its keyword's name.  ``processes`` and ``progress`` have no option: the shell
takes every core, and shows a bar where stderr is a terminal.

``mapper=`` can be a keyword of this function because a search for mappings stands on the engines
and below results: the search itself in ``mapper``, its rows in ``results.map_network``, which is
imported only where one is asked for.  Were it above, in ``explore``, ``simulate`` would have to
reach up, or be a second function of the same name there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from accelsim.base.errors import InputError
from accelsim.base.limits import plain_value
from accelsim.base.validation import checked
from accelsim.hardware.architecture import Architecture, ArchitectureLike, load_architecture
from accelsim.mapper.effort import Effort
from accelsim.mapping.files import (
    DataflowLike,
    DataflowsLike,
    MappingLike,
    MappingSource,
    load_dataflow,
    several,
    sources,
)
from accelsim.mapping.rule import refuse_unkept
from accelsim.results.best_dataflow import BEST, candidates, with_best
from accelsim.results.layer_row import (
    ENGINES,
    Engine,
    How,
    Row,
    check_macs,
    layer_row,
    override_text,
)
from accelsim.results.result import Asked, Result
from accelsim.results.tiles import Tiles, TilesRequest
from accelsim.workload.network import Workload, WorkloadLike, load_workload
from accelsim.workload.problem import Direction, Problem

if TYPE_CHECKING:
    from accelsim.results.map_network import NetworkBest
    from accelsim.workload.graph.weights import ArraysLike, ImagesLike

Progress = Callable[[str], None]

# Keywords of ``simulate`` that another machine is not asked with: what ``Asked`` has by itself,
# and on which engine, with which words and by whom the rows were computed.
NOT_ASKED_AGAIN = (
    *("workload", "arch", "dataflow", "layers", "params", "overrides", "engine", "check", "seed"),
    *("timeline", "sample_folds", "data", "weights", "processes", "progress"),
)


@checked
def simulate(
    workload: WorkloadLike,
    arch: ArchitectureLike,
    dataflow: DataflowsLike | None = None,
    *,
    best_of: DataflowsLike | None = None,
    mapping: MappingLike | None = None,
    tiles: Tiles | None = None,
    objective: str | None = None,
    effort: Effort | None = None,
    mapper: str | None = None,
    limit: float | None = None,
    engine: Engine = "analytic",
    layers: Sequence[str] = (),
    batch: int | None = None,
    direction: Direction = "forward",
    params: Mapping[str, int] | None = None,
    overrides: Mapping[str, object] | None = None,
    check: bool = False,
    seed: int = 0,
    timeline: bool = False,
    sample_folds: bool = False,
    end_to_end: bool = False,
    fuse_buffers: bool = False,
    data: ImagesLike | None = None,
    weights: ArraysLike | None = None,
    processes: int = 1,
    progress: Progress | None = None,
) -> Result:
    """Every chosen layer under every dataflow: counts in words, cycles of the core clock, energy.

    What runs
        ``workload`` is a name, a file, a layer or a list of layers; ``arch`` a name, a file or an
        object; ``dataflow`` likewise, also several (a list, or names with commas).  ``layers`` are
        the names of those to run, all unless given.  ``batch`` (at least 1) stands in place of the
        workload's own, ``params`` in place of its parameters' values (rows have all of them in the
        column ``params``), ``overrides`` are dotted keys of the architecture.

        With ``best_of`` in place of ``dataflow``, several dataflows, each layer's best of them
        comes once more under the name ``best``, so that totals have it beside one dataflow for all;
        ``dataflow="best"`` is the best of all that are shipped.

    Under which mapping
        The best tiles that are found under each dataflow, never worse than the fixed rule's: those
        of least ``objective`` (edp, or as in ``map_layer``), for an ``effort`` of ``quick``
        (milliseconds a layer), ``thorough`` or ``proved``, counted in candidates, so that the same
        call has the same mapping; ``limit`` seconds a layer may end it sooner.  Rows say in
        ``tiles`` where the mapping is from and in ``gap`` how far it may be from the best.
        ``tiles="rule"`` is the fixed rule: the largest tiles that fit, dimension by dimension.  It
        is what architectures get that say so themselves (``scalesim``).  With ``fuse_buffers``
        layers of which a tensor stays on the chip are mapped by the rule.
        With ``mapping``, a file or an object, a dataflow is no more than a name.
        With ``mapper``, an objective as in ``map_layer``, the best that is found
        under each dataflow, ``any`` included, in ``limit`` seconds a layer; the searches take
        ``processes`` at once and are kept in ``Result.searches``.

    On which engine
        ``analytic`` computes counts and cycles; ``event`` moves real words, computes outputs and
        lets SimPy keep the time of memory; ``cycle`` clocks every register of the array.  ``check``
        runs the event engine beside analytic and compares outputs with the golden model and counts
        and cycles with analytic.  ``seed`` chooses the random operands.  ``timeline`` (event only)
        keeps who was busy when for ``Result.timeline``.  ``sample_folds`` (cycle only) clocks one
        fold of each shape, multiplies and computes no outputs.

    The whole network
        ``end_to_end`` runs the whole graph: what the array does not do is done by the vector unit,
        a row each, and where an engine computes, each node reads what the nodes before it made
        (docs/networks.md).  ``data`` has the network's images and ``weights`` its weights, .npz
        files or arrays by name; what is not given is drawn at random.  ``fuse_buffers`` (end to
        end, too) leaves ofmaps on the chip for the layers that read them, wherever they fit.

    A layer that cannot be mapped, or run by the cycle engine, is a row with an ``error``.
    ``progress`` is called with dataflow and layer after each.

    Raises InputError for names, files and numbers that are wrong, ValueError for an unknown engine
    and for options that do not go together.
    """
    given = dict(locals())  # as they were given, for ``Result.asked``
    end_to_end |= fuse_buffers
    how = _how(engine, check, seed, timeline, sample_folds)
    best = isinstance(dataflow, str) and dataflow.strip() == BEST
    choosing = best or best_of is not None
    forward = "does not go with end_to_end, which runs the whole network forward"
    for option, refused, why in (
        ("direction", end_to_end and direction != "forward", forward),
        ("layers", end_to_end and bool(layers), forward),
        ("data", data is not None and not end_to_end, "belongs to end_to_end"),
        ("weights", weights is not None and not end_to_end, "belongs to end_to_end"),
        (
            "limit",
            limit is not None and (tiles == "rule" or mapping is not None),
            "belongs to mapper, or to tiles best",
        ),
        ("mapping", mapping is not None and mapper is not None, "does not go with mapper"),
        ("fuse_buffers", fuse_buffers and mapper is not None, "does not go with mapper"),
        ("tiles", tiles is not None and mapper is not None, "does not go with mapper"),
        ("best_of", best and best_of is not None, "does not go with dataflow best"),
        ("best_of", best_of is not None and dataflow is not None, "does not go with dataflow"),
        ("dataflow best", choosing and mapping is not None, "does not go with mapping"),
        ("dataflow best", choosing and mapper is not None, "does not go with mapper"),
        ("dataflow best", choosing and end_to_end, "does not go with end_to_end"),
        ("tiles", tiles is not None and mapping is not None, "does not go with mapping"),
    ):
        if refused:
            raise ValueError(f"{option}: {why}")
    if batch is not None and batch < 1:
        raise InputError("must be at least 1", key="batch", got=str(batch))
    machine = load_architecture(arch, overrides or {})
    changed = {key: plain_value(value) for key, value in (overrides or {}).items()}
    network = load_workload(workload, params)
    network = network.select(layers) if layers else network
    options = {name: value for name, value in given.items() if name not in NOT_ASKED_AGAIN}
    asked = Asked(network, machine, dataflow, options, simulate)
    rows_of: Callable[[MappingSource], list[Row]]
    if end_to_end:
        from accelsim.results.network_run import NetworkRun

        whole = NetworkRun(network, machine, how, changed, batch, (data, weights), fuse_buffers)
        rows_of = partial(whole.rows, progress=progress)
    else:
        problems = _problems(network, batch, direction)
        rows_of = partial(_layer_rows, network.name, problems, machine, how, changed, progress)
    if network.parameter_values:
        text = override_text(network.parameter_values)
        rows_of = partial(_with_parameters, text, rows_of)
    if mapper is None:
        tiles = "rule" if mapping is not None else tiles
        own = machine.default_tiles
        request = None
        if (tiles or own) != "rule" or (objective, effort, limit) != (None, None, None):
            request = TilesRequest.of(tiles, objective, effort, limit, own, choosing=choosing)
        flows = candidates(best_of) if choosing else dataflow
        chosen = sources(flows, mapping) if request is None else request.sources(flows)
        rows = tuple(row for s in chosen for row in rows_of(s))
        told = with_best(list(rows), objective, named=not best) if choosing else rows
        return Result(tuple(told), asked=asked)
    for key, value in (("objective", objective), ("effort", effort)):
        if value is not None:
            raise InputError("goes with tiles: best", key=key, got=value)
    from accelsim.results.map_network import map_network

    search = partial(
        map_network,
        network,
        machine,
        batch=batch,
        direction=direction,
        objective=mapper,
        limit=limit,
        processes=processes,
    )
    return replace(
        _under_mapper(dataflow, machine, search, rows_of, f"mapper_{mapper}"), asked=asked
    )


def _how(engine: Engine, check: bool, seed: int, timeline: bool, sample_folds: bool) -> How:
    """How layers are to be run.  Raises ValueError for an option the engine has not."""
    if engine not in ENGINES:
        raise ValueError(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    for option, given, home in (
        ("timeline", timeline, "event"),
        ("sample_folds", sample_folds, "cycle"),
    ):
        if given and engine != home:
            raise ValueError(f"{option}: belongs to engine {home}, got engine {engine}")
    if seed < 0:
        raise InputError("must be at least 0", key="seed", got=str(seed))
    return How(engine, check, seed, timeline, sample_folds)


def _problems(
    network: Workload, batch: int | None, direction: Direction
) -> list[tuple[str, Problem]]:
    """Each layer's name and what is to be computed of it.  Raises InputError beyond 2^53 MACs."""
    problems = [(layer.name, layer.directed(batch, direction)) for layer in network.layers]
    for name, problem in problems:
        check_macs(name, problem, batch)
    return problems


def _layer_rows(
    workload: str,
    problems: Sequence[tuple[str, Problem]],
    arch: Architecture,
    how: How,
    overrides: Mapping[str, object],
    progress: Progress | None,
    source: MappingSource,
) -> list[Row]:
    """A row for each layer under one dataflow or mapping."""
    # Equal layers have equal rows, where no operands are drawn and a rule maps them.
    alike = how.engine == "analytic" and not how.check and source.flow is not None
    known: dict[Problem, Row] = {}
    rows = []
    for name, problem in problems:
        row = known.get(problem)
        if row is not None:
            row = replace(row, columns={**row.columns, "layer": name})
        else:
            row = layer_row(workload, name, problem, arch, source, how, overrides)[0]
            if alike and row.error is None:
                known[problem] = row
        rows.append(row)
        if progress is not None:
            progress(f"{source.dataflow} {name}")
    return rows


def _with_parameters(
    text: str, rows_of: Callable[[MappingSource], list[Row]], source: MappingSource
) -> list[Row]:
    """The rows, with the values of the workload's parameters beside its name."""
    return [
        replace(row, columns={"workload": row.columns["workload"], "params": text, **row.columns})
        for row in rows_of(source)
    ]


def _under_mapper(
    dataflow: DataflowsLike | None,
    arch: Architecture,
    search: Callable[[DataflowLike], NetworkBest],
    rows_of: Callable[[MappingSource], list[Row]],
    name: str,
) -> Result:
    """The rows under the best mappings, a dataflow after the other, ``name`` in their column
    ``mapping``.

    They are run as those of a mapping file would be, so that any engine can carry them out.  A
    dataflow under which no layer has a mapping has no rows; ``Result.searches`` says why.
    """
    from accelsim.mapper.any_dataflow import ANY, is_any

    if dataflow is None:
        raise InputError("must be given, the mapper searches under it", key="dataflow")
    rows: list[Row] = []
    searches: dict[str, NetworkBest] = {}
    for flow in several(dataflow):  # before the first search, which may be long
        if not is_any(flow):
            refuse_unkept(load_dataflow(flow), arch, "dataflow")
    for flow in several(dataflow):
        best = search(flow)
        searches[flow if isinstance(flow, str) else load_dataflow(flow).short] = best
        if not best.layers:
            continue
        (source,) = sources(None if is_any(flow) else flow, best.mapping_file(name))
        more = rows_of(source)
        if is_any(flow):
            more = [replace(row, columns={**row.columns, "dataflow": ANY}) for row in more]
        rows += more
    return Result(tuple(rows), searches)


__all__ = ["ENGINES", "Engine", "simulate"]
