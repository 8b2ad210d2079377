"""PAUSE and STOP against a reader that gives the worker room in the very moment of the command.

The room and the command come in one piece of the connection, so that the worker's sender and its answer race.
"""

import contextlib
import functools
import socket

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from tests.integration.support import PAUSE, RESUME, STOP, numbers
from ttsw.fronts.abi.generated.tts import AudioFrame, ControlRequest, ControlResponse, TextChunk

pytestmark = pytest.mark.alone

WINDOW = 16_384


class SlowReader:
    """An HTTP/2 client that gives credit only where it is told to."""

    def __init__(self, address):
        self._socket = socket.create_connection(address, timeout=30)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.local_settings = h2.settings.Settings(client=True, initial_values={4: WINDOW, 2: 0})
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(2**30)
        self._received, self._ended = {}, set()

    def close(self):
        self._socket.close()

    def call(self, method, message, *, end):
        """Begin a call, without sending it yet."""
        stream = self._h2.get_next_available_stream_id()
        names = {":method": "POST", ":scheme": "http", ":path": f"/tts.TTSService/{method}", ":authority": "worker",
                 "te": "trailers", "content-type": "application/grpc"}  # fmt: skip
        self._h2.send_headers(stream, list(names.items()))
        data = bytes(message)
        self._h2.send_data(stream, b"\0" + len(data).to_bytes(4, "big") + data, end_stream=end)
        self._received[stream] = b""
        return stream

    def give_room(self, stream, size):
        self._h2.increment_flow_control_window(size, stream)

    def flush(self):
        self._socket.sendall(self._h2.data_to_send())

    def read_until(self, condition):
        while not condition():
            data = self._socket.recv(65_536)
            assert data, "the worker closed the connection"
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self._received[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self._ended.add(event.stream_id)
            self.flush()

    def control(self, session_id, command):
        """Send a command, together with whatever was prepared, and return its answer."""
        stream = self.call("Control", ControlRequest(session_id=session_id, command=command), end=True)
        self.flush()
        self.read_until(lambda: stream in self._ended)
        return ControlResponse.parse(self._received[stream][5:])

    def is_over(self, stream):
        return stream in self._ended

    def has_more_than(self, count, stream):
        return len(self.frames(stream)) > count

    def frames(self, stream):
        """The frames that have come whole."""
        data, frames = self._received[stream], []
        while len(data) >= 5 and len(data) >= 5 + (size := int.from_bytes(data[1:5], "big")):
            frames.append(AudioFrame.parse(data[5 : 5 + size]))
            data = data[5 + size :]
        return frames


@pytest.fixture
def reader(worker):
    with contextlib.closing(SlowReader(("127.0.0.1", worker.port))) as reader:
        yield reader


def begin(reader, session_id):
    """Begin to speak, and come to where the worker waits for room."""
    text = TextChunk(session_id=session_id, text="a", is_final=True)
    stream = reader.call("Synthesize", text, end=True)
    reader.flush()
    reader.read_until(lambda: len(reader.frames(stream)) >= 7)
    return stream


def test_a_pause_in_a_burst_neither_repeats_nor_drops_a_frame(client, reader):
    """Room for a part of what is ready: what was sent of it counts as sent, and the rest as not."""
    with client.session(pacing="fast", duration_ms=60_000) as session_id:
        stream = begin(reader, session_id)
        for _ in range(5):
            there = len(reader.frames(stream))
            reader.give_room(stream, 6_000)
            reader.flush()
            reader.read_until(functools.partial(reader.has_more_than, there, stream))
            told = reader.control(session_id, PAUSE).last_sequence_number
            assert numbers(reader.frames(stream)) == list(range(1, told + 1))
            reader.control(session_id, RESUME)


def test_no_frame_is_sent_after_pause_though_room_came_with_it(client, reader):
    with client.session(pacing="fast", duration_ms=60_000) as session_id:
        stream = begin(reader, session_id)
        for _ in range(20):
            reader.give_room(stream, 12_000)
            answer = reader.control(session_id, PAUSE)
            told = answer.last_sequence_number
            reader.control(session_id, PAUSE)  # a frame sent before this answer has come before it
            assert len(reader.frames(stream)) == told
            reader.control(session_id, RESUME)
            reader.control(session_id, RESUME)


def test_stop_tells_the_last_frame_though_room_came_with_it(client, reader):
    for _ in range(10):
        with client.session(pacing="fast", duration_ms=60_000) as session_id:
            stream = begin(reader, session_id)
            reader.give_room(stream, 12_000)
            answer = reader.control(session_id, STOP)
            reader.read_until(functools.partial(reader.is_over, stream))
            frames = reader.frames(stream)
            assert frames[-1].sequence_number == answer.last_sequence_number + 1
            assert len(frames) == answer.last_sequence_number + 1
