"""Runs the explorer on a loopback port until it is interrupted."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable

from accelsim.base.errors import InputError


def serve(
    port: int = 8765,
    *,
    limit_s: float = 20.0,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve on 127.0.0.1 only; ``port`` 0 takes a free one.  A question may take ``limit_s``.
    Raises InputError where the extra or the port is missing.
    """
    try:
        import uvicorn

        from accelsim.view.explorer.app import make_app
        from accelsim.view.explorer.workshop import Workshop
    except ImportError as error:
        raise InputError(
            "the explorer needs two packages more: pip install starlette uvicorn "
            f"({error.name} is missing)"
        ) from error
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InputError(
            f"port {port} cannot be had: {error.strerror}; choose another with --port",
            key="port",
            got=str(port),
        ) from error
    port = listening.getsockname()[1]
    workshop = Workshop(limit_s)
    config = uvicorn.Config(
        make_app(port, workshop),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=16384,
    )
    server = uvicorn.Server(config)
    workshop.stopping = lambda: server.should_exit
    say(f"explorer at http://127.0.0.1:{port}/ (stop with Ctrl-C)")
    if browser:
        webbrowser.open(f"http://127.0.0.1:{port}/")
    try:
        server.run(sockets=[listening])
    finally:
        workshop.close()
        listening.close()
