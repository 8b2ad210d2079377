import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hypothesis import given
from hypothesis import strategies as st

from ttsw.grpc_trio.frames import join_messages
from ttsw.grpc_trio.message_reader import MessageReader


def take_all(inbox: MessageReader) -> list[bytes]:
    return list(iter(inbox.take, None))


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=8))
def test_messages_are_the_same_at_every_split(messages, cuts):
    wire = join_messages(messages)
    inbox, got, start = MessageReader(1000), [], 0
    for cut in [*sorted(min(cut, len(wire)) for cut in cuts), len(wire)]:
        inbox.feed(wire[start:cut])
        got += take_all(inbox)
        start = cut
    inbox.end()
    assert got + take_all(inbox) == messages
    assert inbox.taken == len(messages)


def test_one_byte_at_a_time():
    inbox = MessageReader(1000)
    for byte in join_messages([b"one", b"", b"three"]):
        inbox.feed(bytes([byte]))
    assert take_all(inbox) == [b"one", b"", b"three"]


def test_a_message_at_the_limit_passes_and_one_above_fails_after_those_before_it():
    inbox = MessageReader(4)
    inbox.feed(join_messages([b"four", b"fives", b"lost"]))
    assert inbox.take() == b"four"
    with pytest.raises(GRPCError, match="5 bytes exceeds the limit of 4") as caught:
        inbox.take()
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    inbox.feed(b"more")
    assert "faulty, 0 whole messages, 0 bytes" in repr(inbox)


def test_a_length_alone_is_refused_before_its_bytes_come():
    inbox = MessageReader(4 * 2**20)
    inbox.feed(b"\0" + (100 * 2**20).to_bytes(4, "big"))
    assert not inbox.hungry
    with pytest.raises(GRPCError, match="104857600 bytes exceeds"):
        inbox.take()


def test_a_compressed_message_fails():
    inbox = MessageReader(100)
    inbox.feed(b"\1\0\0\0\0")
    with pytest.raises(GRPCError, match="compressed") as caught:
        inbox.take()
    assert caught.value.status is Status.INTERNAL


def test_an_end_within_a_message_fails_after_the_whole_ones():
    inbox = MessageReader(100)
    inbox.feed(join_messages([b"whole", b"half"])[:-2])
    inbox.end()
    assert inbox.take() == b"whole"
    with pytest.raises(GRPCError, match="ended within a message"):
        inbox.take()


def test_it_is_hungry_only_when_its_reader_can_not_go_on():
    inbox = MessageReader(100)
    assert inbox.hungry
    inbox.feed(join_messages([b"one"]) + b"\0\0")
    assert not inbox.hungry
    inbox.take()
    assert inbox.hungry
    inbox.end()
    assert not inbox.hungry
