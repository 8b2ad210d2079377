import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from hypothesis import given
from hypothesis import strategies as st

from ttsw.grpc_trio.frames import join_messages
from ttsw.grpc_trio.message_reader import MessageReader


def read_all(reader: MessageReader) -> list[bytes]:
    return list(iter(reader.next_message, None))


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=8))
def test_messages_are_the_same_at_every_split(messages, cuts):
    wire = join_messages(messages)
    reader, got, start = MessageReader(1000), [], 0
    for cut in [*sorted(min(cut, len(wire)) for cut in cuts), len(wire)]:
        reader.feed(wire[start:cut])
        got += read_all(reader)
        start = cut
    reader.end()
    assert got + read_all(reader) == messages
    assert reader.read_count == len(messages)


def test_one_byte_at_a_time():
    reader = MessageReader(1000)
    for byte in join_messages([b"one", b"", b"three"]):
        reader.feed(bytes([byte]))
    assert read_all(reader) == [b"one", b"", b"three"]


def test_a_message_at_the_limit_passes_and_one_above_fails_after_those_before_it():
    reader = MessageReader(4)
    reader.feed(join_messages([b"four", b"fives", b"lost"]))
    assert reader.next_message() == b"four"
    with pytest.raises(GRPCError, match="5 bytes exceeds the limit of 4") as caught:
        reader.next_message()
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    reader.feed(b"more")
    assert "failed, 0 whole messages, 0 bytes" in repr(reader)


def test_a_length_alone_is_refused_before_its_bytes_come():
    reader = MessageReader(4 * 2**20)
    reader.feed(b"\0" + (100 * 2**20).to_bytes(4, "big"))
    assert not reader.needs_input
    with pytest.raises(GRPCError, match="104857600 bytes exceeds"):
        reader.next_message()


def test_a_compressed_message_fails():
    reader = MessageReader(100)
    reader.feed(b"\1\0\0\0\0")
    with pytest.raises(GRPCError, match="compressed") as caught:
        reader.next_message()
    assert caught.value.status is Status.INTERNAL


def test_an_end_within_a_message_fails_after_the_whole_ones():
    reader = MessageReader(100)
    reader.feed(join_messages([b"whole", b"half"])[:-2])
    reader.end()
    assert reader.next_message() == b"whole"
    with pytest.raises(GRPCError, match="ended within a message"):
        reader.next_message()


def test_it_is_hungry_only_when_its_reader_can_not_go_on():
    reader = MessageReader(100)
    assert reader.needs_input
    reader.feed(join_messages([b"one"]) + b"\0\0")
    assert not reader.needs_input
    reader.next_message()
    assert reader.needs_input
    reader.end()
    assert not reader.needs_input
