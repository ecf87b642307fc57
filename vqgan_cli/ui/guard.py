"""What a server on this machine refuses: pages of other origins, names that are not its own, and too much at once.

A name of somebody else's may be made to point at 127.0.0.1 (DNS rebinding), so that their page counts as ours to the
browser; the Host header still has that name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["Guard"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_ROOM = 2**16
"""Bytes of a request besides the file in it."""

_HEADERS = {
    # Nothing but this server is asked for anything, even where gradio's page would; frames elsewhere stay empty.
    "content-security-policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """An ASGI application around another.

    Args:
        app: what it guards.
        port: at which it is reached.
        max_upload: bytes of the largest file.
    """

    def __init__(self, app: App, port: int, max_upload: int) -> None:
        self._app = app
        names = ("127.0.0.1", "localhost")
        self._hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())
        self._origins = {f"http://{host}" for host in self._hosts}
        self._limit = max_upload + _ROOM

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        origin = headers.get("origin")
        if headers.get("host", "").lower() not in self._hosts or origin not in (None, *self._origins):
            await _refuse(send, scope, 403, "This page is for this machine alone.")
            return
        if scope["type"] != "http":
            await _refuse(send, scope, 403, "There are no web sockets here.")
            return
        if int(headers.get("content-length", "0")) > self._limit:
            while (await receive()).get("more_body"):  # who is cut off while sending does not read the answer
                pass
            await _refuse(send, scope, 413, "This is too large.")
            return
        await self._app(scope, self._counted(receive), _with_headers(send))

    def _counted(self, receive: Receive) -> Receive:
        """The same request, that ends where it is larger than it said."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return {"type": "http.disconnect"} if seen > self._limit else message

        return counted


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            known = {name.lower() for name, _ in message["headers"]}
            added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in known)]
        await send(message)

    return sent


async def _refuse(send: Send, scope: Message, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
