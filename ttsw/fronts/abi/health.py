"""Health service, grpc.health.v1: report whether the server accepts work, once (Check, List) or on change (Watch).

The owner of a `HealthBoard` sets the states. A Watch continues until the owner closes the servicer.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import trio
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from ttsw.errors import NotFoundError
from ttsw.fronts.abi.generated.grpc.health.v1 import (
    HealthBase,
    HealthCheckRequest,
    HealthCheckResponse,
    HealthCheckResponseServingStatus,
    HealthListRequest,
    HealthListResponse,
)
from ttsw.fronts.abi.status import to_grpc
from ttsw.grpc_trio import ServerStream

STATUS = {
    True: HealthCheckResponseServingStatus.SERVING,
    False: HealthCheckResponseServingStatus.NOT_SERVING,
    None: HealthCheckResponseServingStatus.SERVICE_UNKNOWN,
}


class HealthBoard:
    """Serving states of the services, initially not serving. The name "" is the server as a whole.

    Args:
        services: Full names of the initial services, in addition to "".
    """

    def __init__(self, services: Iterable[str] = ()) -> None:
        self._serving = dict.fromkeys(("", *services), False)
        self._changes = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<HealthBoard {self._serving}, {len(self._changes)} waiting>"

    def __getitem__(self, service: str) -> bool | None:
        """Return whether a service is serving, None for an unknown one."""
        return self._serving.get(service)

    @property
    def states(self) -> dict[str, bool]:
        """Serving state by service."""
        return dict(self._serving)

    def set(self, service: str, serving: bool) -> None:
        """Set the state of a service, adding it if unknown."""
        self._update({service: serving})

    def set_all(self, serving: bool) -> None:
        """Set the state of every known service, and of the server as a whole."""
        self._update(dict.fromkeys(self._serving, serving))

    async def changed(self) -> None:
        """Wait for the next change of any service. Several changes may wake a waiter only once."""
        await self._changes.park()

    def _update(self, states: dict[str, bool]) -> None:
        if states.items() <= self._serving.items():
            return
        self._serving |= states
        self._changes.unpark_all()


class OpenCalls:
    """Long-lived calls that the server must end, because a drain would wait for them forever."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<OpenCalls {'closed' if self._closed else 'open'}, {len(self._scopes)}>"

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Run a call in the block. After `close`, the block is cancelled at its first checkpoint.

        Raises:
            GRPCError: UNAVAILABLE; `close` ended the call.
        """
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            if self._closed:
                scope.cancel(reason="the server is shutting down")
            try:
                yield
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise GRPCError(Status.UNAVAILABLE, "the server is shutting down")

    def close(self) -> None:
        """End current and future calls, even those whose client doesn't read."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel(reason="the server is shutting down")


class HealthServicer(HealthBase):
    """Implements proto/grpc/health/v1/health.proto on a `HealthBoard`."""

    def __init__(self, board: HealthBoard) -> None:
        self._board = board
        self._watches = OpenCalls()

    def __repr__(self) -> str:
        return f"<HealthServicer {self._board!r}, {self._watches!r}>"

    def __mapping__(self) -> dict[str, Handler]:
        """Return the service's methods. Watch handles the stream itself: betterproto2 doesn't close its generators."""
        watch = Handler(self._watch, Cardinality.UNARY_STREAM, HealthCheckRequest, HealthCheckResponse)
        return super().__mapping__() | {"/grpc.health.v1.Health/Watch": watch}

    async def check(self, message: HealthCheckRequest) -> HealthCheckResponse:
        """Return a service's state.

        Raises:
            GRPCError: NOT_FOUND; the service is unknown.
        """
        serving = self._board[message.service]
        if serving is None:
            known = ", ".join(f'"{name}"' for name in self._board.states)
            raise to_grpc(NotFoundError(f"no service {message.service!r}; there are: {known}"))
        return HealthCheckResponse(status=STATUS[serving])

    async def list(self, message: HealthListRequest) -> HealthListResponse:
        """Return the states of all known services."""
        states = self._board.states.items()
        return HealthListResponse(statuses={name: HealthCheckResponse(status=STATUS[state]) for name, state in states})

    def close(self) -> None:
        """End every Watch with UNAVAILABLE, as gRPC's own servers do on shutdown."""
        self._watches.close()

    async def _watch(self, stream: ServerStream[HealthCheckRequest, HealthCheckResponse]) -> None:
        with self._watches.admit():
            message = await stream.recv_message()
            service, sent = message.service if message else "", None
            while True:  # no checkpoint between reading the state and waiting: no change is missed
                status = STATUS[self._board[service]]
                if status is sent:
                    await self._board.changed()
                else:
                    await stream.send_message(HealthCheckResponse(status=status))
                    sent = status
