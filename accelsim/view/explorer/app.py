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


Handler = Callable[[Request], Awaitable[Response]]


def make_app(port: int) -> App:
    """The application for a port of this machine.

    What the first request would wait for is loaded here.
    """
    page, style, script = (_static(name) for name in KINDS)
    layer_view(Ask(workload="lenet5", arch="systolic", dataflow="weight_stationary"))
    answers = _Answers()
    routes = [
        Route("/", page),
        Route("/explorer.css", style),
        Route("/explorer.js", script),
        Route("/api/choices", answers.offer),
        Route("/api/layer", answers.asked(layer_view), methods=["POST"]),
        Route("/api/network", answers.asked(network_view), methods=["POST"]),
        Route("/api/cloud", answers.asked(cloud_view), methods=["POST"]),
        Route("/api/play", answers.asked(answers.keep), methods=["POST"]),
        Route("/play/{name}", answers.show),
    ]
    return Guard(Starlette(routes=routes), port)


def _static(name: str) -> Handler:
    """The handler of one of the page's own files."""
    body, kind = (resources("accelsim.view.explorer") / name).read_bytes(), KINDS[name]
    headers = {"content-security-policy": POLICY, "x-frame-options": "DENY"}

    async def answer(request: Request) -> Response:
        return Response(body, media_type=kind, headers=headers)

    return answer


class _Answers:
    """What is asked of the server, one question at a time, and the animations kept for a while."""

    def __init__(self) -> None:
        self._offered = choices()
        self._played: OrderedDict[str, str] = OrderedDict()  # name to page, oldest first
        self._one_at_a_time: CapacityLimiter | None = None  # made inside the server's loop

    async def _work(self, function: Callable[[Ask], Any], ask: Ask) -> Any:
        if self._one_at_a_time is None:
            self._one_at_a_time = CapacityLimiter(1)
        return await to_thread.run_sync(function, ask, limiter=self._one_at_a_time)

    def asked(self, function: Callable[[Ask], Any]) -> Handler:
        """A handler that reads an ``Ask`` and answers with the function's data, or with what is
        wrong.
        """

        async def answer(request: Request) -> Response:
            try:
                ask = Ask.model_validate_json(await request.body())
                return JSONResponse(await self._work(function, ask))
            except ValidationError as error:
                why = _first(error)
            except (InputError, ValueError) as error:
                why = one_line(str(error))
            except (MemoryError, RecursionError, ArithmeticError) as error:
                why = one_line(f"too large to work out: {type(error).__name__}")
            return JSONResponse({"error": why}, 400)

        return answer

    def keep(self, ask: Ask) -> dict[str, str]:
        """Make an animation and say where it is to be had, until ``MOST_PLAYED`` newer ones."""
        name = secrets.token_urlsafe(12)
        animation = play(ask)
        self._played[name] = animation.html
        while len(self._played) > MOST_PLAYED:
            self._played.popitem(last=False)
        return {"address": f"/play/{name}", "title": animation.title}

    async def show(self, request: Request) -> Response:
        """An animation that was kept."""
        text = self._played.get(request.path_params["name"])
        if text is None:
            return Response("no such animation; make it again", 404, media_type="text/plain")
        return Response(text, media_type="text/html", headers={"x-frame-options": "SAMEORIGIN"})

    async def offer(self, request: Request) -> Response:
        """What the controls offer."""
        return JSONResponse(self._offered)


def _first(error: ValidationError) -> str:
    """The first thing wrong, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return one_line(
        ": ".join(x for x in (where, str(first["msg"]).removeprefix("Value error, ")) if x)
    )
