"""Request handling: check the headers, run the handler under its deadline, and send the status.

Maps errors to statuses. `call` transfers messages; `stream` is the handler's interface.
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
_STATUS_TIMEOUT_S = 1.0  # sending is immediate; only listeners to SendTrailingMetadata may wait


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818 - a response, not an error
    """Response to a request that is refused before any handler runs."""

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
    """Dispatches calls to the services' methods."""

    def __init__(
        self, mapping: dict[str, Handler], dispatch: _DispatchServerEvents, max_header_list_bytes: int
    ) -> None:
        self._mapping = mapping
        self._dispatch = dispatch
        self._max_header_list_bytes = max_header_list_bytes
        self._details = ProtoStatusDetailsCodec() if _googleapis_available() else None

    async def run(self, call: Http2Call, headers: Headers, peer: Peer) -> None:
        """Run one call from its headers to its end. Raises only trio.Cancelled."""
        try:
            try:
                stream = self._accept(call, headers, peer)
            except Refusal as refusal:
                if call.error is None:
                    call.send_headers_nowait(refusal.headers(), end_stream=True)
            else:
                await self._run_handler(stream, call, headers)
        finally:
            if call.error is None:
                _close_stream(call)
            call.connection.unregister(call)

    def _accept(self, call: Http2Call, headers: Headers, peer: Peer) -> ServerStream[Any, Any]:
        names = dict(headers)
        self._check(names, headers)
        path = names.get(":path", "")
        if (method := self._mapping.get(path)) is None:
            raise Refusal(Status.UNIMPLEMENTED, f"unknown method {path!r}")
        try:
            deadline = Deadline.from_headers(headers)
            metadata = decode_metadata(headers)
        except (ValueError, OverflowError) as error:
            raise Refusal(Status.INTERNAL, f"bad request header: {error}") from error
        stream: ServerStream[Any, Any] = ServerStream(
            H2Stream(call, peer),  # type: ignore[arg-type]  # replaces grpclib's own
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
            raise Refusal(Status.UNIMPLEMENTED, "gRPC requires the method POST", 405)
        kind = names.get("content-type", "").partition(";")[0].strip()
        if kind not in {GRPC_CONTENT_TYPE, GRPC_CONTENT_TYPE + "+proto"}:
            raise Refusal(Status.UNKNOWN, f"unsupported content-type {kind!r}", 415)
        if names.get("te") != "trailers":
            raise Refusal(Status.UNKNOWN, 'the header "te: trailers" is missing', 400)
        if (encoding := names.get("grpc-encoding", "identity")) != "identity":
            accept = [("grpc-accept-encoding", "identity")]
            raise Refusal(Status.UNIMPLEMENTED, f"unsupported grpc-encoding {encoding!r}", extra=accept)

    async def _run_handler(self, stream: ServerStream[Any, Any], call: Http2Call, headers: Headers) -> None:
        timeout = trio.CancelScope()
        if stream.deadline is not None:
            timeout.deadline = trio.current_time() + stream.deadline.time_remaining()
        # Status of a handler that is cancelled from outside: neither assignment below runs then.
        fault: Exception | None = GRPCError(Status.UNAVAILABLE, "the server is shutting down")
        try:
            try:
                with call.scope, timeout:
                    await self._call(stream, dict(headers))
                fault = None
            except* Exception as group:
                fault = _classify(stream, call, group)
            if timeout.cancelled_caught or (fault is not None and timeout.cancel_called):
                fault = GRPCError(Status.DEADLINE_EXCEEDED, "the call's deadline has passed")
        finally:
            with trio.move_on_after(_STATUS_TIMEOUT_S, shield=True):
                await _send_status(stream, call, fault)

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


def _classify(stream: ServerStream[Any, Any], call: Http2Call, error: Exception) -> Exception:
    """Return the GRPCError in a handler's exception, or log the exception and return it."""
    path = stream._method_name
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if (status_error := _find(error, GRPCError)) is not None:
        return status_error
    if _find(error, StreamTerminatedError) is not None:  # the call has ended, or can only be reset
        logger.debug("%s: %s", path, error)
    else:
        logger.error("%s: handler failed", path, exc_info=error)
    return error


def _find(error: BaseException, kind: type[_Error]) -> _Error | None:
    """Return the first `kind` in an error or error group, None if the group contains any other error."""
    if isinstance(error, kind):
        return error
    if isinstance(error, BaseExceptionGroup) and error.split(kind)[1] is None:
        return _find(error.exceptions[0], kind)
    return None


async def _send_status(stream: ServerStream[Any, Any], call: Http2Call, fault: Exception | None) -> None:
    """Send the status, unless the handler has sent it or the call is reset."""
    if call.error is not None or call.ended:
        return
    status, message, details = Status.OK, None, None
    if isinstance(fault, GRPCError):
        status, message, details = fault.status, fault.message, fault.details
    elif fault is not None:
        status, message = Status.UNKNOWN, "Internal Server Error"
    elif not stream._cardinality.server_streaming and not stream._send_message_done:
        logger.error("%s: handler returned without a reply", stream._method_name)
        status, message = Status.UNKNOWN, "Internal Server Error"
    message = message.strip(" ") if message else None  # HTTP/2 forbids spaces around a header's value
    await stream.send_trailing_metadata(status=status, status_message=message or None, status_details=details)


def _close_stream(call: Http2Call) -> None:
    """Reset a call without a status, or a client that is still sending."""
    if not call.ended:
        call.reset_nowait(ErrorCodes.INTERNAL_ERROR)
    elif not call.inbox.ended:
        call.reset_nowait(ErrorCodes.NO_ERROR)
