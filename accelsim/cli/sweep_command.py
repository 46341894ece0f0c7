"""``accelsim sweep``: a study file carried out, resumed from its store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.cli.frame_tables import FORMATS, brief, chosen_format, put

if TYPE_CHECKING:
    from accelsim.explore.columns import Table
    from accelsim.explore.study import Opened
    from accelsim.explore.sweep import Swept


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option(
    "--store",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="SQLite file of the points; the study's own otherwise.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Processes that work; as many as cores if there is enough to do.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Work on a Dask cluster: tcp://HOST:PORT of its scheduler.",
)
@click.option(
    "--total/--layers",
    default=None,
    help="A row per network, or per layer; as the study says otherwise, a table totals.",
)
@click.option(
    "--mapper",
    metavar="OBJECTIVE",
    help="Tiles with the least energy, cycles, edp or dram, as accelsim map finds them.",
)
@click.option(
    "--tiles",
    type=click.Choice(["divisors", "even", "all"]),
    help="With a mapper: tiles that divide, or any.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="With a mapper: seconds a layer, then the best so far.",
)
@click.option(
    "--guided",
    type=click.IntRange(1),
    metavar="N",
    help="Let Optuna choose N points instead of running all.",
)
@click.option(
    "--objective",
    metavar="EXPR",
    help="What --guided makes small: edp (as is), energy, latency, area, or an expression.",
)
@click.option(
    "--on-error",
    type=click.Choice(["record", "raise"]),
    default="record",
    show_default=True,
    help="A crash is a row, or ends the sweep.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="table unless -o names a .csv, .json or .parquet file.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to a file instead of stdout.",
)
@click.option(
    "--plot",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Draw figures there, PNG and SVG.",
)
def sweep(
    study: Path,
    store: Path | None,
    jobs: int | None,
    scheduler: str | None,
    total: bool | None,
    mapper: str | None,
    tiles: str | None,
    limit: float | None,
    guided: int | None,
    objective: str | None,
    on_error: Any,
    form: str | None,
    output: Path | None,
    plot: Path | None,
) -> int:
    """Carry out the study file STUDY: every layer, every dataflow, every architecture of its space.

    Finished points go to the store about every half second; the same command goes on where it was
    interrupted. One row per point and layer, or per point and network.
    """
    from accelsim.explore.study import load_study

    if objective is not None and guided is None:
        raise click.UsageError("--objective goes with --guided")
    if guided is not None and (plot is not None or total is False or on_error == "raise"):
        raise click.UsageError(
            "--guided gives totals of the points it tried: without --plot, --layers and --on-error"
        )
    if scheduler is not None and jobs is not None:
        raise click.UsageError("--jobs is for processes of this machine: without --scheduler")
    form = chosen_format(form, output)
    opened = load_study(study).searched(mapper, tiles, limit)
    store = store or opened.store
    if guided is not None:
        return _guided(opened, store, jobs, scheduler, guided, objective or "edp", form, output)
    whole, swept = _all(opened, store, jobs, scheduler, on_error)
    totals = swept.totals()
    wanted = (opened.study.total or form == "table") if total is None else total
    put(
        _marked(totals) if wanted and form == "table" else totals if wanted else whole,
        form,
        output,
        brief(swept.plan.space.keys),
    )
    if plot is not None:
        _draw(whole, plot)
    return _tell(swept, whole)


def _all(
    opened: Opened, store: Path | None, jobs: int | None, scheduler: str | None, on_error: Any
) -> tuple[Table, Swept]:
    from accelsim.explore.pools import connect
    from accelsim.explore.progress import Progress, number
    from accelsim.explore.runner import Runner
    from accelsim.explore.sweep import SweepError, carry_out

    plan = opened.plan()
    runner = Runner(connect(scheduler) if scheduler is not None else None, jobs)
    rows = f"{number(len(plan.numbers))} architectures x {number(len(plan.items))} layers and dataflows = {number(plan.rows)} rows"
    click.echo(f"{opened.name}: {rows}, {number(plan.points)} different points", err=True)
    progress = Progress(True)
    try:
        swept = carry_out(
            plan, store=store, runner=runner, on_error=on_error, name=opened.name, progress=progress
        )
    except KeyboardInterrupt:
        if store is not None:
            kept = f"{number(progress.done)} of {number(plan.points)} points are in {store}"
            click.echo(f"{kept}; the same command goes on from there", err=True)
        raise
    except SweepError as error:
        raise click.ClickException(str(error)) from None
    return swept.table(), swept


def _tell(swept: Swept, whole: Table) -> int:
    """On stderr what was done and what went wrong.  The exit code."""
    from collections import Counter

    from accelsim.explore.points import OK
    from accelsim.explore.progress import duration, number

    done = swept.plan.points - swept.stored
    rate = f" ({done / swept.seconds:,.0f} points/s)".replace(",", " ") if done else ""
    kept = f"{number(swept.stored)} points were stored already, " if swept.stored else ""
    click.echo(f"{kept}{number(done)} evaluated in {duration(swept.seconds)}{rate}", err=True)
    statuses, errors = whole.columns["status"].plain(), whole.columns["error"].plain()
    for status, count in Counter(statuses).items():
        if status != OK:
            first = next(i for i, s in enumerate(statuses) if s == status)
            names = (whole.columns[c].plain()[first] for c in ("layer", "dataflow", "set"))
            where = " ".join(str(n) for n in names if n)
            click.echo(
                f"{number(count)} rows {status}, the first: {where}: {errors[first]}", err=True
            )
    return int(any(s != OK for s in statuses))


def _guided(
    opened: Opened,
    store: Path | None,
    jobs: int | None,
    scheduler: str | None,
    trials: int,
    objective: str,
    form: str,
    output: Path | None,
) -> int:
    import numpy as np

    from accelsim.base.errors import InputError
    from accelsim.explore.guided_search import search_table
    from accelsim.explore.pools import connect
    from accelsim.explore.runner import Runner

    if opened.study.sample is not None:
        raise click.UsageError("--guided chooses points itself: the study must not have a sample")
    runner = Runner(connect(scheduler) if scheduler is not None else None, jobs)
    try:
        options = opened.options()
        found = search_table(
            **options,
            objective=objective,
            trials=trials,
            store=store,
            runner=runner,
            name=f"{opened.name}-guided",
            progress=True,
        )
    except InputError as error:
        raise opened.placed(error) from None
    if form == "table":  # the best first
        found = found.take(np.argsort(found.columns["objective"].floats(), kind="stable"))
    put(found, form, output, ("trial", "objective", *brief(found.columns)))
    return int(any(s != "ok" for s in found.columns["status"].plain()))


def _marked(totals: Table) -> Table:
    """With a star at the rows that no other of their workload beats in both energy and cycles."""
    import numpy as np

    from accelsim.explore.columns import text_column
    from accelsim.explore.pareto import front

    energy = next((n for n in ("energy_pj", "energy_mac") if n in totals.columns), None)
    if energy is None or "cycles" not in totals.columns:
        return totals
    stars = np.full(len(totals), "", dtype=object)
    names = np.array(totals.columns["workload"].plain(), dtype=object)
    both = np.column_stack([totals.columns[n].floats() for n in (energy, "cycles")])
    for name in set(names.tolist()):
        rows = np.flatnonzero(names == name)
        stars[rows[front(both[rows])]] = "*"
    return totals.with_columns({"front": text_column(stars)}, first=True)


def _draw(whole: Table, directory: Path) -> None:
    from accelsim.view import plots, sweeps

    frame = whole.to_frame()
    try:
        for name, figure in sweeps.every(frame):
            for path in plots.save(figure, directory, name):
                click.echo(f"drew {path}", err=True)
    except OSError as error:
        raise click.UsageError(
            f"--plot {directory}: cannot be written: {error.strerror}"
        ) from error
