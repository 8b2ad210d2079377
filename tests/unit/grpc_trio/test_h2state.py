"""The differences from plain h2, which depend on its internals."""

from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, RequestReceived

from tests.unit.grpc_trio.support import request_headers
from ttsw.grpc_trio import Settings
from ttsw.grpc_trio.frames import goaway
from ttsw.grpc_trio.h2state import H2State


def connected(settings: Settings) -> tuple[H2State, H2State]:
    client, server = H2State(settings, client=True), H2State(settings, client=False)
    client.open_connection()
    server.open_connection()
    for _ in range(2):
        server.receive_data(client.data_to_send())
        client.receive_data(server.data_to_send())
    return client, server


def test_a_goaway_does_not_end_calls():
    client, server = connected(Settings())
    client.send_headers(1, request_headers("/a"))
    client.receive_data(server.data_to_send() + goaway(1, ErrorCodes.NO_ERROR, b"bye"))
    (request,) = [event for event in server.receive_data(client.data_to_send()) if isinstance(event, RequestReceived)]
    server.send_headers(request.stream_id, [(":status", "200")], end_stream=True)
    assert len(client.receive_data(server.data_to_send())) == 2


def test_a_goaway_event_has_the_reason():
    client, _ = connected(Settings())
    (event,) = client.receive_data(goaway(7, ErrorCodes.ENHANCE_YOUR_CALM, b"bye"))
    assert isinstance(event, ConnectionTerminated)
    assert (event.last_stream_id, event.error_code, event.additional_data) == (7, ErrorCodes.ENHANCE_YOUR_CALM, b"bye")
    (event,) = client.receive_data(goaway(7, 0xABC))
    assert (event.error_code, event.additional_data) == (0xABC, None)
    assert client.usable


def test_one_stream_too_many_is_left_to_us():
    client, server = connected(Settings(max_concurrent_streams=1))
    client.remote_settings.update({3: 10})
    client.remote_settings.acknowledge()
    for stream_id in (1, 3, 5):
        client.send_headers(stream_id, request_headers("/a"))
    assert len(server.receive_data(client.data_to_send())) == 3


def test_closed_streams_are_removed():
    client, server = connected(Settings())
    for stream_id in range(1, 200, 2):
        client.send_headers(stream_id, request_headers("/a"))
        client.reset_stream(stream_id)
        server.receive_data(client.data_to_send())
    assert len(server.streams) == 1


def test_our_limits_are_announced_and_the_connections_window_is_wide():
    client, server = connected(Settings(max_concurrent_streams=77, max_header_list_bytes=4000, window_bytes=12345))
    received = client.remote_settings
    assert received.max_concurrent_streams == 77
    assert received.max_header_list_size == 4000
    assert received.initial_window_size == 12345
    assert client.outbound_flow_control_window == server.inbound_flow_control_window == 2**20
