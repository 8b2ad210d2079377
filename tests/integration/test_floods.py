"""Floods of what a client may send, beside a session that speaks: memory stays bounded, and the session runs on.

Each of them took memory by the hundred megabytes, or silenced others for a tenth of a second and more.
"""

import contextlib
import socket
import struct
import threading
import time

import h2.config
import h2.connection
import psutil
import pytest

from tests.integration.support import check_frames, eventually
from tests.integration.test_bad_input import NAMES, goaways, read_to_end
from ttsw.fronts.abi.generated.grpc.health.v1 import HealthCheckRequest, HealthCheckResponse

pytestmark = pytest.mark.alone

MB = 1e6


@pytest.fixture(scope="module")
def worker(start_worker):
    return start_worker(worker__capabilities__max_concurrent_sessions=64)


@pytest.fixture(autouse=True)
def bystander(connect, worker):
    """A session that speaks in real time meanwhile; it is a tenth of a second ahead, and must not run dry."""
    client = connect(worker)
    session_id = client.start(lead_ms=100, ms_per_char=100)
    call = client.open(session_id, "a" * 1000)
    frames = []
    reader = threading.Thread(target=lambda: read_into(frames, call), daemon=True)  # noqa: TID251 - a client's thread
    reader.start()
    eventually(lambda: frames)
    yield frames
    heard = len(frames)
    eventually(lambda: len(frames) > heard + 5)
    assert client.end(session_id).success
    reader.join(30)
    check_frames(frames, session_id)
    assert worker.utterance(session_id)["underruns"] == 0


def read_into(frames, call):
    for frame in call:
        frames.append(frame)


def rss(worker):
    return psutil.Process(worker.process.pid).memory_info().rss


@contextlib.contextmanager
def raw_h2(worker):
    with socket.create_connection(("127.0.0.1", worker.port), timeout=30) as transport:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        transport.sendall(connection.data_to_send())
        time.sleep(0.1)  # noqa: TID251 - for the server's SETTINGS
        connection.receive_data(transport.recv(65_536))
        yield transport, connection


def test_messages_that_never_end(worker):
    before = rss(worker)
    with raw_h2(worker) as (transport, connection):
        for number in range(200):
            stream_id = 2 * number + 1
            connection.send_headers(stream_id, NAMES)
            connection.send_data(stream_id, struct.pack(">BL", 0, 250_000))
            for _ in range(3):
                with contextlib.suppress(Exception):
                    connection.send_data(stream_id, bytes(16_000))
            transport.sendall(connection.data_to_send())
            with contextlib.suppress(BlockingIOError):
                transport.setblocking(False)
                connection.receive_data(transport.recv(65_536))
            transport.setblocking(True)
        assert rss(worker) < before + 40 * MB


def test_headers_named_from_the_table_again_and_again(worker):
    """A few bytes a request, each of which decodes to 15 KB."""
    names = [*NAMES, *[("x-filler", "y" * 3_700)] * 4]
    ends = []
    for _ in range(3):
        with raw_h2(worker) as (transport, connection), contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for at in range(300):
                connection.send_headers(2 * at + 1, names)
            transport.sendall(connection.data_to_send())
            ends += goaways(read_to_end(transport))
    assert ends == [11] * 3  # ENHANCE_YOUR_CALM


def test_a_thousand_connections_that_say_nothing(worker):
    before = rss(worker)
    with contextlib.ExitStack() as stack:
        for _ in range(1_000):
            stack.enter_context(socket.create_connection(("127.0.0.1", worker.port), timeout=30))
        time.sleep(1)  # noqa: TID251 - while they say nothing
        assert rss(worker) < before + 1_000 * 0.1 * MB


def test_calls_opened_and_left(worker):
    before = rss(worker)
    with raw_h2(worker) as (transport, connection):
        for at in range(1_000):
            connection.send_headers(2 * at + 1, NAMES)
            transport.sendall(connection.data_to_send())
        time.sleep(1)  # noqa: TID251 - while they say nothing
        assert rss(worker) < before + 1_000 * 0.05 * MB


def test_hundreds_who_watch_its_health(worker, connect):
    client = connect(worker)
    watch = client._channel.unary_stream("/grpc.health.v1.Health/Watch", bytes, HealthCheckResponse.parse)
    calls = [watch(HealthCheckRequest()) for _ in range(500)]
    assert {next(call).status for call in calls} == {1}
    for call in calls:
        call.cancel()
