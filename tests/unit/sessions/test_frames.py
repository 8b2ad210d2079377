import math

import trio
from hypothesis import given
from hypothesis import strategies as st

from ttsw.sessions.frames import FrameBuffer
from ttsw.units import FRAME_BYTES, FRAME_SAMPLES


def pcm(*numbers: int) -> bytes:
    return b"".join(bytes([number % 251]) * FRAME_BYTES for number in numbers)


def drain(buffer: FrameBuffer, most: float = math.inf) -> list:
    frames = []
    while buffer.available:
        batch = buffer.peek(most)
        frames += batch
        buffer.drop(len(batch))
        if batch[-1].final:
            break
    return frames


@given(st.lists(st.integers(0, 7), max_size=20), st.integers(1, 9))
def test_what_goes_in_comes_out_once_numbered_and_with_one_end(sizes, most):
    buffer = FrameBuffer(100)
    frames, put = [], 0
    for size in sizes:
        buffer.put(pcm(*range(put, put + size)))
        put += size
        frames += drain(buffer, most)
    buffer.close()
    frames += drain(buffer, most)
    assert [frame.sequence for frame in frames] == list(range(1, len(frames) + 1))
    assert [frame.position for frame in frames] == [FRAME_SAMPLES * n for n in range(len(frames))]
    assert [frame.final for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert b"".join(frame.pcm for frame in frames) == pcm(*range(put))
    assert len(frames) == max(1, put)


def test_the_newest_frame_waits_for_the_next_or_the_end():
    buffer = FrameBuffer(10)
    buffer.put(pcm(1))
    assert buffer.available == 0
    buffer.put(pcm(2))
    assert buffer.available == 1
    buffer.close()
    assert buffer.available == 2


def test_while_there_is_no_text_nothing_is_held_back_and_the_end_is_a_marker():
    buffer = FrameBuffer(10)
    buffer.put(pcm(1))
    buffer.starve(True)
    (frame,) = drain(buffer)
    assert not frame.final
    assert buffer.excused
    buffer.starve(False)
    buffer.close()
    (marker,) = drain(buffer)
    assert (marker.pcm, marker.final, marker.sequence, marker.position) == (b"", True, 2, FRAME_SAMPLES)


def test_what_breaks_off_has_no_final_frame():
    buffer = FrameBuffer(10)
    buffer.put(pcm(1, 2))
    buffer.break_off()
    assert not buffer.ended
    assert [frame.final for frame in drain(buffer)] == [False, False]
    assert buffer.ended


def test_frames_that_are_not_dropped_are_shown_again():
    buffer = FrameBuffer(10)
    buffer.put(pcm(1, 2, 3))
    assert buffer.peek(2) == buffer.peek(2)


def test_frames_know_their_segment():
    buffer = FrameBuffer(10)
    buffer.mark_segment(0, 0)
    buffer.mark_segment(1, FRAME_SAMPLES + 1)
    buffer.mark_segment(2, 3 * FRAME_SAMPLES)
    buffer.put(pcm(1, 2, 3, 4, 5))
    buffer.close()
    assert [frame.segment for frame in drain(buffer)] == [0, 0, 1, 2, 2]


async def test_room_waits_until_frames_are_taken(autojump_clock):
    buffer = FrameBuffer(2)
    buffer.put(pcm(1, 2, 3, 4))
    with trio.move_on_after(1) as scope:
        await buffer.room()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.room)
        await trio.testing.wait_all_tasks_blocked()
        buffer.drop(3)
    assert "1/2" in repr(buffer)
