"""Who may ask: this machine's own pages, with small bodies.  Everything else is refused in one
line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

MOST_BYTES = 64 * 1024
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
NAMES = ("127.0.0.1", "localhost", "[::1]")

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Guard:
    """Wraps the routes: loopback names in Host, our own Origin, no foreign site, bodies up to 64 KB
    that are JSON.
    """

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}".encode() for name in NAMES} | (
            {n.encode() for n in NAMES} if port == 80 else set()
        )
        self.origins = {b"http://" + host for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        refused = self._refused(scope)
        if refused is not None:
            await _answer(send, *refused)
            return
        body = await _body(receive, MOST_BYTES)
        if body is None:
            await _answer(send, 413, f"a request may have at most {MOST_BYTES} bytes")
            return

        told = False

        async def again() -> MutableMapping[str, Any]:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def safely(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = [*message.get("headers", [])]
                own = any(key.lower() == POLICY[0] for key, _ in given)
                message["headers"] = [*given, *HEADERS, *([] if own else [POLICY])]
            await send(message)

        await self.app(scope, again, safely)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        headers: dict[bytes, list[bytes]] = {}
        for key, value in scope["headers"]:
            headers.setdefault(key.lower(), []).append(value)
        if len(headers.get(b"host", [])) != 1 or headers[b"host"][0].lower() not in self.hosts:
            return 421, "this server answers to its own loopback name only"
        if any(o.lower() not in self.origins for o in headers.get(b"origin", [])):
            return 403, "requests of other pages are refused"
        if any(s not in (b"same-origin", b"none") for s in headers.get(b"sec-fetch-site", [])):
            return 403, "requests of other sites are refused"
        if scope["method"] == "POST":
            kinds = headers.get(b"content-type", [])
            if len(kinds) != 1 or kinds[0].split(b";")[0].strip().lower() != b"application/json":
                return 415, "a request is JSON (Content-Type: application/json)"
            lengths = headers.get(b"content-length", [])
            if any(not n.isdigit() or len(n) > 9 or int(n) > MOST_BYTES for n in lengths):
                return 413, f"a request may have at most {MOST_BYTES} bytes"
        return None


async def _body(receive: Receive, most: int) -> bytes | None:
    """The body, or None as soon as it is too long."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        size += len(message.get("body", b""))
        if size > most:
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _answer(send: Send, status: int, why: str) -> None:
    body = why.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *HEADERS,
        POLICY,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
