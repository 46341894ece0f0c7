"""The command line: ``accelsim`` calls ``main``.

Results go to stdout, progress and notes to stderr.  A command returns its exit code: 0 done, 1 a
check failed or a layer could not be mapped, 2 bad usage or input, 130 interrupted.  What it needs
is imported when it runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys

import click

from accelsim.cli.animate_command import animate
from accelsim.cli.compare_command import compare
from accelsim.cli.explain_command import explain
from accelsim.cli.explore_command import explore
from accelsim.cli.import_command import export, import_
from accelsim.cli.map_command import map_
from accelsim.cli.profile_command import profile
from accelsim.cli.report_command import report
from accelsim.cli.results_command import results
from accelsim.cli.run_command import run
from accelsim.cli.show_command import show
from accelsim.cli.sweep_command import sweep
from accelsim.cli.train_command import train
from accelsim.cli.validate_command import schema, validate
from accelsim.version import MODEL_VERSION, __version__

SELDOM = 400_000  # objects made and not let go since garbage was last looked for


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, message=f"accelsim %(version)s (model version {MODEL_VERSION})")
def cli() -> None:
    """Run convolution layers on a modelled PE array under a chosen dataflow, exact to the word and
    to the bit.
    """
    # The products are small: more threads would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Pictures are files here: what matplotlib would show them with, and how long it takes to look
    # for fonts, is nothing to the user.
    os.environ["MPLBACKEND"] = "agg"
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # Nobody watches how a command's files are validated: no search of all that is installed for
    # pydantic's plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


@cli.command("list")
def list_() -> int:
    """List the workloads, architectures, dataflows and mappings that are shipped, a line each."""
    from accelsim.base.catalogue import KINDS, Catalogue

    for kind in KINDS:
        if shipped := Catalogue(kind):
            click.echo(str(shipped))
    return 0


for command in (
    run,
    explain,
    train,
    profile,
    import_,
    export,
    sweep,
    results,
    compare,
    report,
    animate,
    explore,
    show,
    validate,
    schema,
    map_,
):
    cli.add_command(command)


def main() -> None:
    """Entry point: one line for bad input, never a traceback unless --debug asks for it."""
    _collect_seldom()
    args = sys.argv[1:]
    debug = "--debug" in args
    try:
        code = cli.main(
            [a for a in args if a != "--debug"], prog_name="accelsim", standalone_mode=False
        )
        if sys.stdout is not None:
            sys.stdout.flush()  # here a full disk is still one line
    except click.exceptions.Exit as done:
        code = done.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        code = 130
    except click.ClickException as error:
        _usage(error)
        code = 2
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except OSError as error:
        if debug:
            raise
        _system(error)
        code = 2
    except MemoryError as error:
        from accelsim.base.errors import one_line

        click.echo(one_line(f"out of memory: {error}"), err=True)
        code = 1
    except Exception as error:
        from accelsim.base.errors import InputError, one_line

        if debug:
            raise
        if isinstance(error, InputError):
            click.echo(str(error), err=True)
            code = 2
        else:
            click.echo(
                one_line(
                    f"internal error: {type(error).__name__}: {error} "
                    "(run again with --debug for the traceback)"
                ),
                err=True,
            )
            code = 1
    sys.exit(code or 0)


def _collect_seldom() -> None:
    """Look for garbage in cycles seldom, and not at the end.

    What a command imports and works out is a few hundred thousand objects with hardly a cycle among
    them: looking through them again and again is a tenth of a run, and looking through all of them
    when the process ends, whose memory goes back to the system anyway, a seventh.
    """
    gc.set_threshold(SELDOM)
    atexit.register(gc.freeze)


def _system(error: OSError) -> None:
    """What the system refuses, in one line; what is left for stdout is let go."""
    from accelsim.base.errors import one_line

    why = (error.strerror or str(error)).lower()
    place = error.filename
    if place is None:
        try:
            place = f"output of {os.path.basename(sys.argv[0]) or 'accelsim'} in {os.getcwd()}"
        except OSError:
            place = "the working directory"
    click.echo(one_line(f"{os.fsdecode(place)}: cannot be read or written: {why}"), err=True)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: click.ClickException) -> None:
    """Bad usage in one line; no arguments at all are answered with the help."""
    from accelsim.base.errors import one_line

    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    where = context.command_path if context is not None else "accelsim"
    click.echo(
        one_line(f"{where}: {' '.join(error.format_message().split())} (see {where} --help)"),
        err=True,
    )
