"""What the HTTP port answers: /metrics, /healthz and /readyz, as an ASGI app. Each connection gets one answer."""

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import NamedTuple

import structlog
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

log = structlog.get_logger(__name__)

READY = "ready"
"""The state in which a worker takes work."""

METHODS = ("GET", "HEAD")


class HttpResponse(NamedTuple):
    """What is answered to a request."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Endpoints:
    """The ASGI app.

    Args:
        render: Makes the metrics' text and says its content type; given the Accept header.
        state: Says in which state the worker is.
        remarks: Says what else whoever asks for readiness should know, a line each.
    """

    def __init__(
        self,
        render: Callable[[str], Awaitable[tuple[bytes, str]]],
        state: Callable[[], str],
        remarks: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._render, self._state, self._remarks = render, state, remarks

    async def __call__(self, scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer one request; a request's body isn't read."""
        if scope["type"] != "http":
            return  # a websocket: the server refuses it
        try:
            answer = await self._answer(scope)
        except Exception:
            log.exception("an HTTP request failed", path=scope["path"][:100])
            answer = _plain(HTTPStatus.INTERNAL_SERVER_ERROR, "the worker failed to answer; its log says why")
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *answer.headers,
        ]
        if scope["http_version"] in {"1.0", "1.1"}:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})

    async def _answer(self, scope: HTTPScope) -> HttpResponse:
        if scope["path"] not in {"/metrics", "/healthz", "/readyz"}:
            return _plain(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz")
        if scope["method"] not in METHODS:
            allowed = (b"allow", ", ".join(METHODS).encode())
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD are what this takes", allowed)
        if scope["path"] == "/metrics":
            accept = b",".join(value for name, value in scope["headers"] if name.lower() == b"accept")
            body, content_type = await self._render(accept.decode("latin-1"))
            return HttpResponse(HTTPStatus.OK, body, content_type)
        if scope["path"] == "/healthz":
            return _plain(HTTPStatus.OK, "alive")
        state = self._state()
        status = HTTPStatus.OK if state == READY else HTTPStatus.SERVICE_UNAVAILABLE
        return _plain(status, "\n".join((state, *self._remarks())))


def _plain(status: HTTPStatus, text: str, *headers: tuple[bytes, bytes]) -> HttpResponse:
    return HttpResponse(status, f"{text}\n".encode(), headers=headers)
