"""HTTP endpoints /metrics, /healthz and /readyz as an ASGI app, with one response per connection."""

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import NamedTuple

import structlog
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

log = structlog.get_logger(__name__)

READY = "ready"
"""State of a worker that accepts work."""

METHODS = ("GET", "HEAD")


class HttpResponse(NamedTuple):
    """Response to a request."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Endpoints:
    """The ASGI app.

    Args:
        render: Returns the metrics as text, and its content type, for an Accept header.
        state: Returns the worker's state.
        remarks: Returns additional lines for the response of /readyz.
    """

    def __init__(
        self,
        render: Callable[[str], Awaitable[tuple[bytes, str]]],
        state: Callable[[], str],
        remarks: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._render, self._state, self._remarks = render, state, remarks

    async def __call__(self, scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Respond to one request, without reading its body."""
        if scope["type"] != "http":
            return  # a websocket, which hypercorn then rejects
        try:
            response = await self._respond(scope)
        except Exception:
            log.exception("HTTP request failed", path=scope["path"][:100])
            response = _plain(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; see the worker's log")
        headers = [
            (b"content-type", response.content_type.encode()),
            (b"content-length", b"%d" % len(response.body)),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *response.headers,
        ]
        if scope["http_version"] in {"1.0", "1.1"}:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": False})

    async def _respond(self, scope: HTTPScope) -> HttpResponse:
        if scope["path"] not in {"/metrics", "/healthz", "/readyz"}:
            return _plain(HTTPStatus.NOT_FOUND, "not found; valid paths: /metrics, /healthz, /readyz")
        if scope["method"] not in METHODS:
            allowed = (b"allow", ", ".join(METHODS).encode())
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed; use GET or HEAD", allowed)
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
