"""Errors that say whose fault, what was wrong and what would be right.

Each class carries one `code`, the name that a program sees on the wire (`ErrorCode` in proto/tts.proto, and the gRPC
status of the same name). Which status that is, `ttsw.fronts.abi.status` decides; nothing here knows of gRPC.
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
    """Base of every error raised on purpose. Its text is written for a person; `code` is for a program."""

    code = ErrorCode.INTERNAL


class InvalidArgumentError(TtswError):
    """The request itself is wrong; the same request will never succeed."""

    code = ErrorCode.INVALID_ARGUMENT


class NotFoundError(TtswError):
    """The named session, model, file or command does not exist."""

    code = ErrorCode.NOT_FOUND


class AlreadyExistsError(TtswError):
    """The name is taken."""

    code = ErrorCode.ALREADY_EXISTS


class FailedPreconditionError(TtswError):
    """The request is right, but not in the present state."""

    code = ErrorCode.FAILED_PRECONDITION


class ResourceExhaustedError(TtswError):
    """A limit is reached; later, or elsewhere, the request may succeed."""

    code = ErrorCode.RESOURCE_EXHAUSTED


class OutOfMemoryError(ResourceExhaustedError):
    """A device had no memory left for what was asked; once something is unloaded, the same may succeed."""


class UnavailableError(TtswError):
    """The worker, or what it needs, is away for now."""

    code = ErrorCode.UNAVAILABLE


class InternalError(TtswError):
    """Our fault, or the model's."""

    code = ErrorCode.INTERNAL


class ConfigError(TtswError):
    """A configuration cannot be used; the text names the file, the key and what would be valid."""

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
"""The error that a code stands for."""
