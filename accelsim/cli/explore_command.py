"""``accelsim explore``: the explorer on a loopback port."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    metavar="N",
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0, 86400, min_open=True),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="A question that takes longer is ended.",
)
@click.option("--browser/--no-browser", default=True, help="Open the page.")
def explore(port: int, limit: float, browser: bool) -> int:
    """Explore layers, arrays and dataflows in a page on this machine.

    Needs two packages more: pip install starlette uvicorn.  Nobody but this machine's own
    browser is answered.
    """
    from accelsim.view.explorer.serve import serve

    serve(port, limit_s=limit, browser=browser, say=lambda text: click.echo(text, err=True))
    return 0
