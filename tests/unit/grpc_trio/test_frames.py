import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import GoAwayFrame
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.grpc_trio.support import split_frames
from ttsw.grpc_trio import frames


def h2_with_a_request() -> H2Connection:
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "a")])
    client.data_to_send()
    return client


@given(st.binary(max_size=50_000))
def test_data_frames_by_hand_are_those_of_h2(payload):
    h2, out = h2_with_a_request(), bytearray()
    frames.write_data(out, 1, payload, h2.max_outbound_frame_size)
    for start in range(0, max(1, len(payload)), h2.max_outbound_frame_size):
        h2.send_data(1, payload[start : start + h2.max_outbound_frame_size])
    assert bytes(out) == h2.data_to_send()


@pytest.mark.parametrize("view", [bytes, memoryview])
def test_data_is_cut_at_the_frame_size(view):
    out = bytearray()
    frames.write_data(out, 3, view(b"abcdefgh"), 3)
    assert [body for _, _, _, body in split_frames(bytes(out))] == [b"abc", b"def", b"gh"]
    assert {(kind, flags, stream) for kind, flags, stream, _ in split_frames(bytes(out))} == {(frames.DATA, 0, 3)}


@given(st.integers(0, 2**31 - 1), st.integers(0, 13), st.binary(max_size=300))
def test_goaway_by_hand_is_that_of_hyperframe(last_stream_id, code, reason):
    theirs = GoAwayFrame(0, last_stream_id=last_stream_id, error_code=code, additional_data=reason)
    assert frames.goaway(last_stream_id, code, reason) == theirs.serialize()


@given(st.lists(st.binary(max_size=20), max_size=4))
def test_messages_get_their_prefix(messages):
    expected = b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)
    assert frames.join_messages(messages) == expected
    if messages:
        assert frames.parse_prefix(expected) == (0, len(messages[0]))
