"""Mapping between errors of `ttsw.errors` and gRPC statuses."""

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from ttsw.errors import ErrorCode, InvalidArgumentError, ResourceExhaustedError, TtswError

STATUS: dict[ErrorCode, Status] = {
    ErrorCode.OK: Status.OK,
    ErrorCode.INVALID_ARGUMENT: Status.INVALID_ARGUMENT,
    ErrorCode.NOT_FOUND: Status.NOT_FOUND,
    ErrorCode.ALREADY_EXISTS: Status.ALREADY_EXISTS,
    ErrorCode.FAILED_PRECONDITION: Status.FAILED_PRECONDITION,
    ErrorCode.RESOURCE_EXHAUSTED: Status.RESOURCE_EXHAUSTED,
    ErrorCode.UNAVAILABLE: Status.UNAVAILABLE,
    ErrorCode.INTERNAL: Status.INTERNAL,
}

MAX_MESSAGE_CHARS = 600
"""Longest error message on the wire, characters. It is sent in a header, and clients accept 8 KiB of headers in all."""


def to_grpc(error: TtswError) -> GRPCError:
    """Return the GRPCError that ends a call with the error's status."""
    return GRPCError(STATUS[error.code], wire_message(error))


def wire_message(error: TtswError) -> str:
    """Return the error's text, shortened in the middle: a client's long input is cut, the list of valid values kept."""
    text = str(error)
    if len(text) <= MAX_MESSAGE_CHARS:
        return text
    return f"{text[: MAX_MESSAGE_CHARS // 3]} … {text[-MAX_MESSAGE_CHARS * 2 // 3 + 3 :]}"


def from_grpc(error: GRPCError) -> TtswError:
    """Convert the transport's error about a client's message to an error of `ttsw.errors`."""
    kind = ResourceExhaustedError if error.status is Status.RESOURCE_EXHAUSTED else InvalidArgumentError
    return kind(error.message or error.status.name)
