"""Errors: each says whose fault it is, what was wrong, and what would be right.

Each class has a `code`, its name for programs on the wire (`ErrorCode` in proto/tts.proto, and the gRPC status of the
same name). `ttsw.fronts.abi.status` maps codes to gRPC statuses.
"""

from enum import IntEnum


class ErrorCode(IntEnum):
    """Why a request was refused. Values are those on the wire."""

    OK = 0
    INVALID_ARGUMENT = 1
    NOT_FOUND = 2
    ALREADY_EXISTS = 3
    FAILED_PRECONDITION = 4
    RESOURCE_EXHAUSTED = 5
    UNAVAILABLE = 6
    INTERNAL = 7


class TtswError(Exception):
    """Base of all errors raised on purpose. The message is for people, `code` for programs."""

    code = ErrorCode.INTERNAL


class InvalidArgumentError(TtswError):
    """The request itself is wrong; repeating it will never succeed."""

    code = ErrorCode.INVALID_ARGUMENT


class NotFoundError(TtswError):
    """The named session, model, file or command does not exist."""

    code = ErrorCode.NOT_FOUND


class AlreadyExistsError(TtswError):
    """The name is taken."""

    code = ErrorCode.ALREADY_EXISTS


class FailedPreconditionError(TtswError):
    """The request is valid, but not in the current state."""

    code = ErrorCode.FAILED_PRECONDITION


class ResourceExhaustedError(TtswError):
    """A limit is reached; the request may succeed later, or on another worker."""

    code = ErrorCode.RESOURCE_EXHAUSTED


class OutOfMemoryError(ResourceExhaustedError):
    """A device is out of memory; the request may succeed once something is unloaded."""


class UnavailableError(TtswError):
    """The worker, or something it needs, is unavailable for now."""

    code = ErrorCode.UNAVAILABLE


class InternalError(TtswError):
    """The fault is ttsw's or the model's."""

    code = ErrorCode.INTERNAL


class ConfigError(TtswError):
    """A configuration cannot be used; the message names the file, the key and the valid values."""

    code = ErrorCode.INVALID_ARGUMENT


ERRORS: dict[ErrorCode, type[TtswError]] = {
    kind.code: kind
    for kind in (
        InvalidArgumentError,
        NotFoundError,
        AlreadyExistsError,
        FailedPreconditionError,
        ResourceExhaustedError,
        UnavailableError,
        InternalError,
    )
}
"""Error classes by code."""
