"""From a request's headers to its status: checks them, runs the handler under its deadline, ends the call.

Decides which fault becomes which status. How bytes come and go is left to `exchange`, what a handler holds to
`stream`.
"""

import logging
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio
from grpclib.const import Handler, Status
from grpclib.encoding.base import GRPC_CONTENT_TYPE
from grpclib.encoding.proto import ProtoCodec, ProtoStatusDetailsCodec, _googleapis_available
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.metadata import Deadline, decode_metadata, encode_grpc_message
from h2.errors import ErrorCodes

from ttsw.grpc_trio.call import Http2Call
from ttsw.grpc_trio.frames import header_list_bytes
from ttsw.grpc_trio.stream import H2Stream, Peer, ServerStream

logger = logging.getLogger(__name__)

Headers = list[tuple[str, str]]
_Error = TypeVar("_Error", bound=Exception)
_CODEC = ProtoCodec()
_FINISH_S = 1.0  # only listeners to SendTrailingMetadata can take time


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """A request that no handler will see, and the answer to it."""

    status: Status
    message: str
    http_status: int = 200
    extra: Headers = field(default_factory=list)

    def headers(self) -> Headers:
        """Return the trailers-only response."""
        return [
            (":status", str(self.http_status)),
            ("content-type", GRPC_CONTENT_TYPE),
            ("grpc-status", str(self.status.value)),
            ("grpc-message", encode_grpc_message(self.message.strip(" "))),
            *self.extra,
        ]


class Router:
    """Knows the services' methods and runs one call at a time per task."""

    def __init__(
        self, mapping: dict[str, Handler], dispatch: _DispatchServerEvents, max_header_list_bytes: int
    ) -> None:
        self._mapping = mapping
        self._dispatch = dispatch
        self._max_header_list_bytes = max_header_list_bytes
        self._details = ProtoStatusDetailsCodec() if _googleapis_available() else None

    async def run(self, exchange: Http2Call, headers: Headers, peer: Peer) -> None:
        """Run one call from its headers to its end; raises nothing but trio.Cancelled."""
        try:
            try:
                stream = self._accept(exchange, headers, peer)
            except Refusal as refusal:
                if exchange.error is None:
                    exchange.send_headers_nowait(refusal.headers(), end_stream=True)
            else:
                await self._run_handler(stream, exchange, headers)
        finally:
            if exchange.error is None:
                _end(exchange)
            exchange.connection.forget(exchange)

    def _accept(self, exchange: Http2Call, headers: Headers, peer: Peer) -> ServerStream[Any, Any]:
        names = dict(headers)
        self._check(names, headers)
        path = names.get(":path", "")
        if (method := self._mapping.get(path)) is None:
            raise Refusal(Status.UNIMPLEMENTED, f"no method {path!r}")
        try:
            deadline = Deadline.from_headers(headers)
            metadata = decode_metadata(headers)
        except (ValueError, OverflowError) as error:
            raise Refusal(Status.INTERNAL, f"bad request header: {error}") from error
        stream: ServerStream[Any, Any] = ServerStream(
            H2Stream(exchange, peer),  # type: ignore[arg-type]  # stands in for grpclib's own
            path,
            method.cardinality,
            method.request_type,
            method.reply_type,
            codec=_CODEC,
            status_details_codec=self._details,
            dispatch=self._dispatch,
            deadline=deadline,
            user_agent=names.get("user-agent"),
        )
        stream.metadata = metadata
        return stream

    def _check(self, names: dict[str, str], headers: Headers) -> None:
        if header_list_bytes(headers) > self._max_header_list_bytes:
            raise Refusal(Status.RESOURCE_EXHAUSTED, f"headers exceed {self._max_header_list_bytes} bytes")
        if names.get(":method") != "POST":
            raise Refusal(Status.UNIMPLEMENTED, "a gRPC call is a POST", 405)
        kind = names.get("content-type", "").partition(";")[0].strip()
        if kind not in {GRPC_CONTENT_TYPE, GRPC_CONTENT_TYPE + "+proto"}:
            raise Refusal(Status.UNKNOWN, f"unacceptable content-type {kind!r}", 415)
        if names.get("te") != "trailers":
            raise Refusal(Status.UNKNOWN, 'the header "te: trailers" is missing', 400)
        if (encoding := names.get("grpc-encoding", "identity")) != "identity":
            accept = [("grpc-accept-encoding", "identity")]
            raise Refusal(Status.UNIMPLEMENTED, f"unknown grpc-encoding {encoding!r}", extra=accept)

    async def _run_handler(self, stream: ServerStream[Any, Any], exchange: Http2Call, headers: Headers) -> None:
        timeout = trio.CancelScope()
        if stream.deadline is not None:
            timeout.deadline = trio.current_time() + stream.deadline.time_remaining()
        # What holds if neither the handler's end nor its failure says otherwise:
        fault: Exception | None = GRPCError(Status.UNAVAILABLE, "the server is shutting down")
        try:
            try:
                with exchange.scope, timeout:
                    await self._call(stream, dict(headers))
                fault = None
            except* Exception as group:
                fault = _classify(stream, exchange, group)
            if timeout.cancelled_caught or (fault is not None and timeout.cancel_called):
                fault = GRPCError(Status.DEADLINE_EXCEEDED, "the call's deadline has passed")
        finally:
            with trio.move_on_after(_FINISH_S, shield=True):
                await _finish(stream, exchange, fault)

    async def _call(self, stream: ServerStream[Any, Any], names: dict[str, str]) -> None:
        path = names[":path"]
        stream.metadata, handler = await self._dispatch.recv_request(
            stream.metadata,
            self._mapping[path].func,
            method_name=path,
            deadline=stream.deadline,
            content_type=names["content-type"],
            user_agent=stream.user_agent,
            peer=stream.peer,
        )
        await handler(stream)


def _classify(stream: ServerStream[Any, Any], exchange: Http2Call, error: Exception) -> Exception:
    """Find the answer among what a handler raised; log what is none."""
    path = stream._method_name
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if (answer := _find(error, GRPCError)) is not None:
        return answer
    if _find(error, StreamTerminatedError) is not None:  # the call is over, or can only be reset
        logger.debug("%s: %s", path, error)
    else:
        logger.error("%s: the handler failed", path, exc_info=error)
    return error


def _find(error: BaseException, kind: type[_Error]) -> _Error | None:
    """Return the first `kind` in an error or error group, None if any other error is beside it."""
    if isinstance(error, kind):
        return error
    if isinstance(error, BaseExceptionGroup) and error.split(kind)[1] is None:
        return _find(error.exceptions[0], kind)
    return None


async def _finish(stream: ServerStream[Any, Any], exchange: Http2Call, fault: Exception | None) -> None:
    """Send the status, unless the handler did or nobody listens any more; never waits."""
    if exchange.error is not None or exchange.ended:
        return
    status, message, details = Status.OK, None, None
    if isinstance(fault, GRPCError):
        status, message, details = fault.status, fault.message, fault.details
    elif fault is not None:
        status, message = Status.UNKNOWN, "Internal Server Error"
    elif not stream._cardinality.server_streaming and not stream._send_message_done:
        logger.error("%s: the handler ended without a reply", stream._method_name)
        status, message = Status.UNKNOWN, "Internal Server Error"
    message = message.strip(" ") if message else None  # HTTP/2 allows no spaces around a header's value
    await stream.send_trailing_metadata(status=status, status_message=message or None, status_details=details)


def _end(exchange: Http2Call) -> None:
    """Leave nothing open: stop a client that is still sending, reset what got no status."""
    if not exchange.ended:
        exchange.reset_nowait(ErrorCodes.INTERNAL_ERROR)
    elif not exchange.inbox.ended:
        exchange.reset_nowait(ErrorCodes.NO_ERROR)
