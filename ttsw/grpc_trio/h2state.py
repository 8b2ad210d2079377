"""h2's connection state with the departures that a long-lived gRPC connection needs.

h2 decides what a peer may do, keeps windows and codes headers. Here it is told to let GOAWAY end nothing by itself
(the calls in progress go on) and to leave one stream too many to us (refusing it costs the peer that stream only).
"""

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.settings import SettingCodes
from h2.settings import Settings as H2Settings
from hyperframe.frame import Frame, GoAwayFrame

from ttsw.grpc_trio.settings import Settings

_HARD_HEADER_FACTOR = 2  # up to here a header list too large is decoded and refused, beyond it the connection ends
_CONNECTION_WINDOW_BYTES = 1024 * 1024
_DEFAULT_WINDOW_BYTES = 65535
_HEADER_TABLE_BYTES = 4096


class H2State(H2Connection):
    """h2's H2Connection, set up with our limits; `initiate_connection` is still to be called."""

    MAX_CLOSED_STREAMS = 1_024
    """Ended calls that a connection remembers, so as to forgive late frames; h2's own 65 536 take 10 MB."""

    def __init__(self, settings: Settings, *, client: bool) -> None:
        # latin-1 decodes every byte; our own checks stand in for h2's validation, whose every complaint ends the
        # whole connection.
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
        """Report none: h2 would answer one stream too many by ending the connection."""
        self._open_streams(1)  # for its side effect: it drops closed streams
        return 0

    def open_connection(self) -> None:
        """Write preface, SETTINGS, and the credit that takes the connection's window beyond its small default."""
        self.initiate_connection()
        self.increment_flow_control_window(_CONNECTION_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)

    def bound_header_table(self) -> None:
        """Keep our encoder's table small, however much the peer's SETTINGS would let it grow."""
        self.encoder.header_table_size = min(self.encoder.header_table_size, _HEADER_TABLE_BYTES)

    @property
    def credit_step_bytes(self) -> int:
        """How much of the connection's window may be used before it is given back."""
        return _CONNECTION_WINDOW_BYTES // 2

    @property
    def usable(self) -> bool:
        """Whether frames can still be written."""
        return self.state_machine.state is not ConnectionState.CLOSED

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = _known(frame.error_code)
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


def _known(code: int) -> ErrorCodes | int:
    try:
        return ErrorCodes(code)
    except ValueError:
        return code
