"""Every error code has the wire's number and the gRPC status of the same name."""

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import encode_grpc_message

from ttsw.errors import ERRORS, ErrorCode, InvalidArgumentError, NotFoundError, ResourceExhaustedError
from ttsw.fronts.abi.generated import tts
from ttsw.fronts.abi.status import MAX_MESSAGE_CHARS, STATUS, from_grpc, to_grpc, wire_message


def test_every_code_has_the_status_of_its_name():
    assert set(STATUS) == set(ErrorCode)
    assert all(code.name == status.name for code, status in STATUS.items())


def test_our_codes_are_those_of_the_wire():
    assert {code.name: code.value for code in ErrorCode} == {code.name: code.value for code in tts.ErrorCode}


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_an_error_becomes_its_status_with_its_text(code):
    error = to_grpc(ERRORS[code]("what was wrong"))
    assert (error.status, error.message) == (STATUS[code], "what was wrong")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.RESOURCE_EXHAUSTED, ResourceExhaustedError),
        (Status.INTERNAL, InvalidArgumentError),
        (Status.INVALID_ARGUMENT, InvalidArgumentError),
    ],
)
def test_the_transports_error_about_a_message_is_the_clients_fault(status, kind):
    error = from_grpc(GRPCError(status, "too large"))
    assert type(error) is kind
    assert str(error) == "too large"


def test_an_error_without_a_message_gets_the_name_of_its_status():
    assert str(from_grpc(GRPCError(Status.INTERNAL))) == "INTERNAL"


@pytest.mark.parametrize("length", [0, 1, MAX_MESSAGE_CHARS])
def test_a_message_of_usual_length_stays_as_it_is(length):
    assert wire_message(NotFoundError("x" * length)) == "x" * length


def test_a_long_message_keeps_its_beginning_and_its_end():
    text = wire_message(NotFoundError(f"no model {'日' * 10_000!r}; there are: mock-440hz"))
    assert text.startswith("no model '日")
    assert text.endswith("日'; there are: mock-440hz")
    assert len(text) <= MAX_MESSAGE_CHARS
    assert len(encode_grpc_message(text)) < 8 * 1024
