from contextlib import suppress

import pytest
from h2.errors import ErrorCodes
from hyperframe import frame as hf
from hypothesis import given
from hypothesis import strategies as st

from ttsw.grpc_trio import Settings
from ttsw.grpc_trio.flood_guard import PREFACE_BYTES, FloodError, FloodGuard, FrameSizeError

LIMITS = Settings(max_concurrent_streams=2, max_resets_per_s=3, max_pings_per_s=2, max_settings_per_s=1,
                  max_empty_data_per_s=1, max_continuations=2)  # fmt: skip
PREFACE = b"P" * PREFACE_BYTES

FLOODS = {
    "resets": (hf.RstStreamFrame(1, error_code=ErrorCodes.CANCEL).serialize(), 5),
    "PING": (hf.PingFrame(0, opaque_data=b"12345678").serialize(), 4),
    "PRIORITY": (hf.PriorityFrame(1).serialize(), 4),
    "unknown": (b"\0\0\1\xbb\0\0\0\0\1?", 4),
    "SETTINGS": (hf.SettingsFrame(0).serialize(), 2),
    "empty DATA": (hf.DataFrame(1).serialize(), 2),
    "CONTINUATION": (hf.ContinuationFrame(1, data=b"x").serialize(), 2),
}


def feed(guard, data, now):
    """Pass bytes to a guard and check that it yields all of them."""
    assert b"".join(guard.split(data, now)) == data


@pytest.mark.parametrize(("frame", "allowed"), FLOODS.values(), ids=FLOODS)
def test_one_frame_more_than_allowed_is_a_flood(frame, allowed):
    guard = FloodGuard(LIMITS)
    feed(guard, PREFACE + frame * allowed, 0.0)
    with pytest.raises(FloodError, match="too many"):
        feed(guard, frame, 0.0)


@pytest.mark.parametrize("kind", FLOODS)
def test_the_verdict_is_the_same_byte_by_byte(kind):
    frame, allowed = FLOODS[kind]
    guard = FloodGuard(LIMITS)
    for byte in PREFACE + frame * allowed:
        feed(guard, bytes([byte]), 0.0)
    with pytest.raises(FloodError):
        feed(guard, frame, 0.0)


def test_what_is_allowed_grows_with_time():
    frame, guard = hf.PingFrame(0, opaque_data=b"12345678").serialize(), FloodGuard(LIMITS, skip_bytes=0)
    feed(guard, frame * 4, 0.0)
    feed(guard, frame * 2, 1.0)
    feed(guard, frame * 4, 100.0)
    with pytest.raises(FloodError):
        feed(guard, frame, 100.1)


def test_acks_ends_and_windows_cost_nothing():
    frames = [
        hf.PingFrame(0, opaque_data=b"12345678", flags=["ACK"]),
        hf.SettingsFrame(0, flags=["ACK"]),
        hf.DataFrame(1, flags=["END_STREAM"]),
        hf.DataFrame(1, data=b"x"),
        hf.WindowUpdateFrame(1, window_increment=1),
        hf.HeadersFrame(1, data=b"x"),
    ]
    feed(FloodGuard(LIMITS, skip_bytes=0), b"".join(frame.serialize() for frame in frames) * 100, 0.0)


def test_continuations_are_counted_by_header_block():
    block = hf.HeadersFrame(1, data=b"x").serialize() + hf.ContinuationFrame(1, data=b"x").serialize() * 2
    feed(FloodGuard(LIMITS, skip_bytes=0), block * 50, 0.0)


def test_a_frame_larger_than_allowed_is_refused_at_its_head():
    feed(FloodGuard(LIMITS, skip_bytes=0), b"\x00\x40\x00" + b"\x00" * 6, 0.0)
    with pytest.raises(FrameSizeError, match="16385 bytes"):
        feed(FloodGuard(LIMITS, skip_bytes=0), b"\x00\x40\x01" + b"\x00" * 6, 0.0)


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_are_either_fine_or_refused(chunks):
    guard = FloodGuard(Settings(), skip_bytes=0)
    with suppress(FloodError):
        for chunk in chunks:
            feed(guard, chunk, 0.0)


def test_a_few_header_lists_are_given_on_at_a_time():
    guard = FloodGuard(Settings(), skip_bytes=0)
    data = b"".join(
        hf.HeadersFrame(1 + 2 * n, data=b"x" * n).serialize() + hf.PingFrame(0).serialize() for n in range(11)
    )
    pieces = list(guard.split(data, 0.0))
    assert b"".join(pieces) == data
    assert [piece.count(b"\x00\x00\x08\x06") for piece in pieces] == [4, 4, 3]
    for cut in range(len(data)):
        guard = FloodGuard(Settings(), skip_bytes=0)
        assert b"".join([*guard.split(data[:cut], 0.0), *guard.split(data[cut:], 0.0)]) == data


def test_decoded_header_bytes_are_bounded():
    guard = FloodGuard(Settings(max_header_bytes_per_s=1000), skip_bytes=0)
    guard.count_headers(2000, 0.0)
    with pytest.raises(FloodError, match="header bytes"):
        guard.count_headers(1, 0.0)
    guard = FloodGuard(Settings(max_header_bytes_per_s=1000), skip_bytes=0)
    for second in range(100):
        guard.count_headers(1000, float(second))
