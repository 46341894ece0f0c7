"""``accelsim sweep``: a study file carried out, resumed from its store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.common import ANY_PATH, DIRECTORY, FILE, effort_option, output_option
from accelsim.cli.frame_tables import SHOWN, brief, chosen_format, frame_format_option, put

if TYPE_CHECKING:
    from accelsim.explore.columns import Table
    from accelsim.explore.execution import OnError, Swept
    from accelsim.explore.mapper_request import AnyTiles
    from accelsim.explore.runner import Runner
    from accelsim.explore.study import Study
    from accelsim.mapper.effort import Effort


@click.command()
@click.argument("study", type=ANY_PATH)
@click.option(
    "--store",
    type=FILE,
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
    "--best-of",
    metavar="D,D[,...]",
    help="Of these dataflows each layer's best too, as `best`, in place of the study's own.",
)
@click.option(
    "--mapper",
    metavar="OBJECTIVE",
    help="Tiles with the least energy, cycles, edp or dram, as accelsim map finds them.",
)
@click.option(
    "--tiles",
    type=click.Choice(["best", "rule", "divisors", "even", "all"]),
    help="The best found (as is), or the fixed rule's; with a mapper: tiles that divide, or any.",
)
@effort_option
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Seconds a layer, then the best mapping so far.",
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
    help="What --guided makes small: edp (as is), energy, latency, area, or an expression; "
    "without it what the best tiles do.",
)
@click.option(
    "--on-error",
    type=click.Choice(["record", "raise"]),
    default="record",
    show_default=True,
    help="A crash is a row, or ends the sweep.",
)
@click.option(
    "--rows",
    "count",
    type=click.IntRange(1),
    metavar="N",
    help="Show the first N rows instead of the best points and the front.",
)
@frame_format_option
@output_option
@click.option(
    "--plot",
    type=DIRECTORY,
    metavar="DIR",
    help="Draw figures there, PNG and SVG.",
)
def sweep(
    study: Path,
    store: Path | None,
    jobs: int | None,
    scheduler: str | None,
    total: bool | None,
    best_of: str | None,
    mapper: str | None,
    tiles: AnyTiles | None,
    effort: Effort | None,
    limit: float | None,
    guided: int | None,
    objective: str | None,
    on_error: OnError,
    count: int | None,
    form: str | None,
    output: Path | None,
    plot: Path | None,
) -> int:
    """Carry out the study file STUDY: every layer, every dataflow, every architecture of its space.

    Finished points go to the store about every half second; the same command goes on where it was
    interrupted.  As a table it ends with the answer: of each network the point of least energy, of
    fewest cycles, of least energy x time and of least area, and the front of energy and cycles.
    --rows N shows rows instead, a network each; in a file, or as CSV or JSON, all are written.
    """
    from dataclasses import replace

    from accelsim.explore.answers import answers
    from accelsim.explore.study_file import load_study

    ruled = tiles == "rule" and best_of is None
    if objective is not None and guided is None and ruled:
        raise click.UsageError("--objective goes with --guided, or with --tiles best")
    if guided is not None and (plot is not None or total is False or on_error == "raise"):
        raise click.UsageError(
            "--guided gives totals of the points it tried: without --plot, --layers and --on-error"
        )
    if scheduler is not None and jobs is not None:
        raise click.UsageError("--jobs is for processes of this machine: without --scheduler")
    form = chosen_format(form, output)
    described = load_study(study)
    if best_of is not None:
        described = replace(described, best_of=best_of, dataflows=None)
    described = described.searched(
        mapper, tiles, limit, objective if guided is None else None, effort
    )
    described = replace(described, store=store or described.store)
    if guided is not None:
        return _guided(described, jobs, scheduler, guided, objective or "edp", form, output)
    swept = _all(described, jobs, scheduler, on_error)
    whole, totals = swept.table(), swept.totals()
    wanted = (described.total or form == "table") if total is None else total
    table = totals if wanted else whole
    if wanted and form == "table":
        table = _marked(totals)
    asked = form != "table" or total is not None or count is not None or output is not None
    if not asked and len(best := answers(totals)):
        put(best, form, output, ("best", *brief(swept.plan.space.keys)), None)
        _say_rows(totals)
    else:
        put(table, form, output, brief(swept.plan.space.keys), SHOWN if count is None else count)
    if plot is not None:
        _draw(whole, plot)
    return _tell(swept, whole)


def _say_rows(totals: Table) -> None:
    """How many rows the answer was chosen from, and how to see them."""
    from accelsim.base.text_table import spaced

    told = f"the front of energy and cycles, and the best of {spaced(len(totals))} rows"
    click.echo(f"{told}; --rows N or -o FILE has them", err=True)


def _workers(jobs: int | None, scheduler: str | None) -> Runner:
    from accelsim.explore.pools import connect
    from accelsim.explore.runner import Runner

    return Runner(connect(scheduler) if scheduler is not None else None, jobs)


def _all(study: Study, jobs: int | None, scheduler: str | None, on_error: OnError) -> Swept:
    """The whole study carried out, with what there is to do and how far it is on stderr."""
    from accelsim.base.text_table import spaced
    from accelsim.explore.execution import SweepError, carry_out
    from accelsim.explore.progress import Progress

    plan = study.plan()
    runner = _workers(jobs, scheduler)
    architectures, items, rows, points = map(
        spaced, (len(plan.numbers), plan.width, plan.rows, plan.points)
    )
    whole = f"{architectures} architectures x {items} layers and dataflows = {rows} rows"
    click.echo(f"{study.name}: {whole}, {points} different points", err=True)
    progress = Progress(True)
    try:
        return carry_out(
            plan,
            store=study.store,
            runner=runner,
            on_error=on_error,
            name=study.name,
            progress=progress,
        )
    except KeyboardInterrupt:
        if study.store is not None:
            kept = f"{spaced(progress.done)} of {points} points are in {study.store}"
            click.echo(f"{kept}; the same command goes on from there", err=True)
        raise
    except SweepError as error:
        raise click.ClickException(str(error)) from None


def _tell(swept: Swept, whole: Table) -> int:
    """On stderr what was done and what went wrong.  The exit code."""
    from collections import Counter

    from accelsim.base.text_table import spaced
    from accelsim.explore.points import OK
    from accelsim.explore.progress import duration

    done = swept.plan.points - swept.stored
    rate = f" ({spaced(done / swept.seconds, '.0f')} points/s)" if done else ""
    kept = f"{spaced(swept.stored)} points were stored already, " if swept.stored else ""
    click.echo(f"{kept}{spaced(done)} evaluated in {duration(swept.seconds)}{rate}", err=True)
    statuses, errors = whole.columns["status"].plain(), whole.columns["error"].plain()
    for status, count in Counter(statuses).items():
        if status != OK:
            first = next(i for i, s in enumerate(statuses) if s == status)
            names = (whole.columns[c].plain()[first] for c in ("layer", "dataflow", "set"))
            where = " ".join(str(n) for n in names if n)
            click.echo(
                f"{spaced(count)} rows {status}, the first: {where}: {errors[first]}", err=True
            )
    return int(any(s != OK for s in statuses))


def _guided(
    study: Study,
    jobs: int | None,
    scheduler: str | None,
    trials: int,
    objective: str,
    form: str,
    output: Path | None,
) -> int:
    """Some points of the study, chosen; printed with the best first."""
    from dataclasses import replace

    import numpy as np

    from accelsim.explore.points import OK

    if study.sample is not None:
        raise click.UsageError("--guided chooses points itself: the study must not have a sample")
    runner = _workers(jobs, scheduler)
    study = replace(study, name=f"{study.name}-guided")
    tried = study.search(objective, trials, runner=runner, progress=True)
    if form == "table":
        tried = tried.take(np.argsort(tried.columns["objective"].floats(), kind="stable"))
    put(tried, form, output, ("trial", "objective", *brief(tried.columns)))
    return int(any(status != OK for status in tried.columns["status"].plain()))


def _marked(totals: Table) -> Table:
    """With a star at the rows that no other of their workload beats in both energy and cycles."""
    import numpy as np

    from accelsim.explore.answers import fronts
    from accelsim.explore.columns import text_column

    on_front = fronts(totals)
    if on_front is None:
        return totals
    stars = np.where(on_front, "*", "").astype(object)
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
