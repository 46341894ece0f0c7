"""The routes of the explorer: pages from memory, what is worked out from the ``Workshop``."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from importlib.resources import files as resources
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from accelsim.base.errors import InputError, one_line
from accelsim.view.explorer.ask import Ask, SweepAsk, choices
from accelsim.view.explorer.guard import App, Guard
from accelsim.view.explorer.views import (
    cloud_view,
    explain_view,
    layer_view,
    network_view,
    play,
    sweep_view,
)
from accelsim.view.explorer.workshop import Workshop

MOST_PLAYED = 4
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'"
)
# An animation's own policy, which it carries inside, allows its script and style by hash.
PLAYED_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
# What the page is made of beside itself.
PARTS = (
    "numbers.js",
    "charts.js",
    "controls.js",
    "compare.js",
    "explorer.js",
    "explorer.css",
)

Handler = Callable[[Request], Awaitable[Response]]


def make_app(port: int, workshop: Workshop) -> App:
    """The application for a port of this machine; whoever makes the workshop closes it."""
    answers = _Answers(workshop)
    routes = [
        Route("/", _static("explorer.html", "text/html")),
        *(Route(f"/{name}", _static(name, _kind(name))) for name in PARTS),
        Route("/api/choices", answers.offer),
        Route("/api/layer", answers.asked(layer_view), methods=["POST"]),
        Route("/api/network", answers.asked(network_view), methods=["POST"]),
        Route("/api/explain", answers.asked(explain_view), methods=["POST"]),
        Route("/api/cloud", answers.asked(cloud_view), methods=["POST"]),
        Route("/api/sweep", answers.asked(sweep_view, kind=SweepAsk), methods=["POST"]),
        Route("/api/play", answers.asked(play, answers.keep), methods=["POST"]),
        Route("/play/{name}", answers.show),
    ]
    return Guard(Starlette(routes=routes), port)


def _kind(name: str) -> str:
    return "text/css" if name.endswith(".css") else "text/javascript"


def _static(name: str, kind: str) -> Handler:
    """The handler of one of the page's own files."""
    body = (resources("accelsim.view.explorer") / name).read_bytes()
    headers = {"content-security-policy": POLICY, "x-frame-options": "DENY"}

    async def answer(request: Request) -> Response:
        return Response(body, media_type=kind, headers=headers)

    return answer


class _Answers:
    """What is asked of the workshop, and the animations kept for a while."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self._offered = choices()
        self._played: OrderedDict[str, str] = OrderedDict()  # name to page, oldest first

    def asked(
        self,
        function: Callable[[Any], Any],
        then: Callable[[Any], Any] = lambda data: data,
        kind: type[Ask] = Ask,
    ) -> Handler:
        """A handler that reads an ``Ask`` of a kind and answers with the function's data, after
        ``then``, or with what is wrong.
        """

        async def answer(request: Request) -> Response:
            try:
                ask = kind.model_validate_json(await request.body())
                data = await self.workshop.work(function, ask, request.is_disconnected)
                return JSONResponse(None if data is None else then(data))
            except ValidationError as error:
                why = _first(error)
            except InputError as error:
                why = _without_place(error)
            except ValueError as error:
                why = one_line(str(error))
            except (MemoryError, RecursionError, ArithmeticError) as error:
                why = one_line(f"too large to work out: {type(error).__name__}")
            except OSError as error:
                why = one_line(f"cannot be read ({(error.strerror or 'no reason given').lower()})")
            return JSONResponse({"error": why}, 400)

        return answer

    def keep(self, played: dict[str, str]) -> dict[str, str]:
        """Keep an animation and say where it is to be had, until ``MOST_PLAYED`` newer ones."""
        name = secrets.token_urlsafe(12)
        self._played[name] = played["html"]
        while len(self._played) > MOST_PLAYED:
            self._played.popitem(last=False)
        return {"address": f"/play/{name}", "title": played["title"]}

    async def show(self, request: Request) -> Response:
        """An animation that was kept."""
        text = self._played.get(request.path_params["name"])
        if text is None:
            return Response("no such animation; make it again", 404, media_type="text/plain")
        headers = {"content-security-policy": PLAYED_POLICY, "x-frame-options": "SAMEORIGIN"}
        return Response(text, media_type="text/html", headers=headers)

    async def offer(self, request: Request) -> Response:
        """What the controls offer."""
        return JSONResponse(self._offered)


def _without_place(error: InputError) -> str:
    """The error without the file it was found in, which is the server's and no business of a
    page's.
    """
    text = str(error)
    if error.file is None:
        return text
    parts = (error.file, error.line, error.column)
    place = ":".join(str(part) for part in parts if part is not None)
    return text.removeprefix(f"{place}: ")


def _first(error: ValidationError) -> str:
    """The first thing wrong, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return one_line(
        ": ".join(x for x in (where, str(first["msg"]).removeprefix("Value error, ")) if x)
    )
