"""The fast encoder produces the same bytes as protobuf."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.fronts.abi.audio_frame import FrameEncoder, varint
from ttsw.fronts.abi.generated.tts import AudioFrame
from ttsw.sessions.frames import Frame
from ttsw.units import FRAME_BYTES

numbers = st.integers(0, 2**63 - 1)
pcm = st.just(b"") | st.binary(min_size=FRAME_BYTES, max_size=FRAME_BYTES)


@given(
    session_id=st.text(max_size=300),
    frame=st.builds(Frame, pcm, st.integers(1, 2**63 - 1), st.booleans(), st.integers(0, 2**31 - 1), numbers),
)
def test_its_bytes_are_those_of_betterproto2(session_id, frame):
    message = AudioFrame(
        session_id=session_id, audio_data=frame.pcm, sample_rate=48_000, frame_duration_ms=20,
        sequence_number=frame.sequence, is_final=frame.final, segment=frame.segment, position_samples=frame.position,
    )  # fmt: skip
    encoded = FrameEncoder(session_id).encode(frame)
    assert encoded == bytes(message)
    assert AudioFrame.parse(encoded) == message


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**63 - 1, "ff" * 8 + "7f")],
)
def test_varints_are_those_of_the_encoding_guide(value, encoded):
    assert varint(value).hex() == encoded
