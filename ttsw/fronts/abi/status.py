"""Errors on the wire: one table from our codes to gRPC's statuses of the same name."""

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

LONGEST_MESSAGE = 600
"""Characters of an error on the wire. A status travels in a header, of which clients take 8 KiB in all."""


def to_grpc(error: TtswError) -> GRPCError:
    """Turn an error of ours into the one that ends a call with its status."""
    return GRPCError(STATUS[error.code], message_of(error))


def message_of(error: TtswError) -> str:
    """The error's text; where a client's own words made it long, its beginning and its end, which say what is valid."""
    text = str(error)
    if len(text) <= LONGEST_MESSAGE:
        return text
    return f"{text[: LONGEST_MESSAGE // 3]} … {text[-LONGEST_MESSAGE * 2 // 3 + 3 :]}"


def from_grpc(error: GRPCError) -> TtswError:
    """Turn the transport's complaint about a client's message into an error of ours."""
    kind = ResourceExhaustedError if error.status is Status.RESOURCE_EXHAUSTED else InvalidArgumentError
    return kind(error.message or error.status.name)
