"""h2's connection state, adapted to long-lived gRPC connections.

h2 validates frames, tracks windows and encodes headers. It differs from plain h2 in two points: a GOAWAY doesn't end
calls in progress, and a stream above the limit is refused by `connection` instead of ending the connection.
"""

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.settings import SettingCodes
from h2.settings import Settings as H2Settings
from hyperframe.frame import Frame, GoAwayFrame

from ttsw.grpc_trio.settings import Settings

_HARD_HEADER_FACTOR = 2  # a header list above the limit is refused; above this multiple, it ends the connection
_CONNECTION_WINDOW_BYTES = 1024 * 1024
_DEFAULT_WINDOW_BYTES = 65535
_HEADER_TABLE_BYTES = 4096


class H2State(H2Connection):
    """H2Connection with our limits; call `open_connection` to start it."""

    MAX_CLOSED_STREAMS = 1_024
    """Closed streams remembered per connection, whose late frames are ignored; h2's default of 65 536 takes 10 MB."""

    def __init__(self, settings: Settings, *, client: bool) -> None:
        # latin-1 decodes every byte. Our own checks replace h2's validation, which ends the whole connection for one
        # bad request.
        super().__init__(
            H2Configuration(
                client_side=client,
                header_encoding="latin-1",
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        values = {
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.MAX_CONCURRENT_STREAMS: settings.max_concurrent_streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: settings.max_header_list_bytes,
            SettingCodes.INITIAL_WINDOW_SIZE: settings.window_bytes,
        }
        self.local_settings = H2Settings(client=client, initial_values=values)
        self.decoder.max_header_list_size = _HARD_HEADER_FACTOR * settings.max_header_list_bytes

    @property
    def open_inbound_streams(self) -> int:
        """Report 0: above the limit, h2 would end the connection."""
        self._open_streams(1)  # called for its side effect: it removes closed streams
        return 0

    def open_connection(self) -> None:
        """Write the preface and SETTINGS, and enlarge the connection's window from its small default."""
        self.initiate_connection()
        self.increment_flow_control_window(_CONNECTION_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)

    def bound_header_table(self) -> None:
        """Limit the encoder's header table, regardless of the size that the peer's SETTINGS allow."""
        self.encoder.header_table_size = min(self.encoder.header_table_size, _HEADER_TABLE_BYTES)

    @property
    def credit_step_bytes(self) -> int:
        """Used part of the connection's window at which it is credited back, bytes."""
        return _CONNECTION_WINDOW_BYTES // 2

    @property
    def usable(self) -> bool:
        """Whether h2 can still write frames."""
        return self.state_machine.state is not ConnectionState.CLOSED

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = _parse_error_code(frame.error_code)
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


def _parse_error_code(code: int) -> ErrorCodes | int:
    try:
        return ErrorCodes(code)
    except ValueError:
        return code
