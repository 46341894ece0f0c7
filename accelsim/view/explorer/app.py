"""The routes of the explorer, all answered from memory."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from importlib.resources import files as resources
from typing import Any

from anyio import CapacityLimiter, to_thread
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from accelsim.base.errors import InputError, one_line
from accelsim.view.explorer.ask import Ask, choices
from accelsim.view.explorer.guard import App, Guard
from accelsim.view.explorer.views import cloud_view, layer_view, network_view, play

MOST_PLAYED = 4
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'"
)
KINDS = {"explorer.html": "text/html", "explorer.css": "text/css", "explorer.js": "text/javascript"}


def make_app(port: int) -> App:
    """The application for a port of this machine."""
    page, style, script = (
        (resources("accelsim.view.explorer") / name).read_bytes() for name in KINDS
    )
    offered = choices()
    layer_view(
        Ask(workload="lenet5", arch="systolic", dataflow="weight_stationary")
    )  # loads what the first request needs
    played: OrderedDict[str, str] = OrderedDict()
    one_at_a_time: list[CapacityLimiter] = []

    async def work(function: Callable[[Ask], Any], ask: Ask) -> Any:
        if not one_at_a_time:
            one_at_a_time.append(CapacityLimiter(1))
        return await to_thread.run_sync(function, ask, limiter=one_at_a_time[0])

    def static(body: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return Response(
                body,
                media_type=kind,
                headers={"content-security-policy": POLICY, "x-frame-options": "DENY"},
            )

        return answer

    def asked(function: Callable[[Ask], Any]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                ask = Ask.model_validate_json(await request.body())
                return JSONResponse(await work(function, ask))
            except ValidationError as error:
                return JSONResponse({"error": _first(error)}, 400)
            except (InputError, ValueError) as error:
                return JSONResponse({"error": one_line(str(error))}, 400)
            except (MemoryError, RecursionError, ArithmeticError) as error:
                return JSONResponse(
                    {"error": one_line(f"too large to work out: {type(error).__name__}")}, 400
                )

        return answer

    def keep(ask: Ask) -> dict[str, str]:
        name = secrets.token_urlsafe(12)
        animation = play(ask)
        played[name] = animation.html
        while len(played) > MOST_PLAYED:
            played.popitem(last=False)
        return {"address": f"/play/{name}", "title": animation.title}

    async def show(request: Request) -> Response:
        text = played.get(request.path_params["name"])
        if text is None:
            return Response("no such animation; make it again", 404, media_type="text/plain")
        return Response(text, media_type="text/html", headers={"x-frame-options": "SAMEORIGIN"})

    async def offer(request: Request) -> Response:
        return JSONResponse(offered)

    routes = [
        Route("/", static(page, "text/html")),
        Route("/explorer.css", static(style, "text/css")),
        Route("/explorer.js", static(script, "text/javascript")),
        Route("/api/choices", offer),
        Route("/api/layer", asked(layer_view), methods=["POST"]),
        Route("/api/network", asked(network_view), methods=["POST"]),
        Route("/api/cloud", asked(cloud_view), methods=["POST"]),
        Route("/api/play", asked(keep), methods=["POST"]),
        Route("/play/{name}", show),
    ]
    return Guard(Starlette(routes=routes), port)


def _first(error: ValidationError) -> str:
    """The first thing wrong, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return one_line(
        ": ".join(x for x in (where, str(first["msg"]).removeprefix("Value error, ")) if x)
    )
