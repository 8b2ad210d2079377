from contextlib import suppress

import pytest
from h2.errors import ErrorCodes
from hyperframe import frame as hf
from hypothesis import given
from hypothesis import strategies as st

from ttsw.grpc_trio import Settings
from ttsw.grpc_trio.guard import PREFACE_BYTES, FloodError, FloodGuard, FrameSizeError

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


@pytest.mark.parametrize(("frame", "allowed"), FLOODS.values(), ids=FLOODS)
def test_one_frame_more_than_allowed_is_a_flood(frame, allowed):
    guard = FloodGuard(LIMITS)
    guard.check(PREFACE + frame * allowed, 0.0)
    with pytest.raises(FloodError, match="too many"):
        guard.check(frame, 0.0)


@pytest.mark.parametrize("kind", FLOODS)
def test_the_verdict_is_the_same_byte_by_byte(kind):
    frame, allowed = FLOODS[kind]
    guard = FloodGuard(LIMITS)
    for byte in PREFACE + frame * allowed:
        guard.check(bytes([byte]), 0.0)
    with pytest.raises(FloodError):
        guard.check(frame, 0.0)


def test_what_is_allowed_grows_with_time():
    frame, guard = hf.PingFrame(0, opaque_data=b"12345678").serialize(), FloodGuard(LIMITS, skip_bytes=0)
    guard.check(frame * 4, 0.0)
    guard.check(frame * 2, 1.0)
    guard.check(frame * 4, 100.0)
    with pytest.raises(FloodError):
        guard.check(frame, 100.1)


def test_acks_ends_and_windows_cost_nothing():
    frames = [
        hf.PingFrame(0, opaque_data=b"12345678", flags=["ACK"]),
        hf.SettingsFrame(0, flags=["ACK"]),
        hf.DataFrame(1, flags=["END_STREAM"]),
        hf.DataFrame(1, data=b"x"),
        hf.WindowUpdateFrame(1, window_increment=1),
        hf.HeadersFrame(1, data=b"x"),
    ]
    FloodGuard(LIMITS, skip_bytes=0).check(b"".join(frame.serialize() for frame in frames) * 100, 0.0)


def test_continuations_are_counted_by_header_block():
    block = hf.HeadersFrame(1, data=b"x").serialize() + hf.ContinuationFrame(1, data=b"x").serialize() * 2
    FloodGuard(LIMITS, skip_bytes=0).check(block * 50, 0.0)


def test_a_frame_larger_than_allowed_is_refused_at_its_head():
    FloodGuard(LIMITS, skip_bytes=0).check(b"\x00\x40\x00" + b"\x00" * 6, 0.0)
    with pytest.raises(FrameSizeError, match="16385 bytes"):
        FloodGuard(LIMITS, skip_bytes=0).check(b"\x00\x40\x01" + b"\x00" * 6, 0.0)


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_are_either_fine_or_refused(chunks):
    guard = FloodGuard(Settings(), skip_bytes=0)
    with suppress(FloodError):
        for chunk in chunks:
            guard.check(chunk, 0.0)
