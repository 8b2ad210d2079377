"""grpc.health.v1 on trio: whether the server takes work, for who asks (Check, List) and who wants to be told (Watch).

Decides what an answer says of a state. What the state is, the owner of a `HealthBoard` says, and when the server's last
word is due; until then a Watch goes on.
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
    """Which services take work; none does until it is said. The name "" stands for the server as a whole.

    Args:
        services: The full names of those that are known from the start, beside "".
    """

    def __init__(self, services: Iterable[str] = ()) -> None:
        self._serving = dict.fromkeys(("", *services), False)
        self._changes = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<HealthBoard {self._serving}, {len(self._changes)} waiting>"

    def __getitem__(self, service: str) -> bool | None:
        """Whether a service takes work; None for one that isn't known."""
        return self._serving.get(service)

    @property
    def states(self) -> dict[str, bool]:
        """Every service that is known, and whether it takes work."""
        return dict(self._serving)

    def set(self, service: str, serving: bool) -> None:
        """Say whether one service takes work; it is known from now on."""
        self._update({service: serving})

    def set_all(self, serving: bool) -> None:
        """Say it of every service that is known, and of the server as a whole."""
        self._update(dict.fromkeys(self._serving, serving))

    async def changed(self) -> None:
        """Wait for the next change, of whichever service. Who is late sees the state, not each step to it."""
        await self._changes.park()

    def _update(self, states: dict[str, bool]) -> None:
        if states.items() <= self._serving.items():
            return
        self._serving |= states
        self._changes.unpark_all()


class OpenCalls:
    """Calls that have no end of their own: the server has to end them, or a drain would wait for them."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<OpenCalls {'closed' if self._closed else 'open'}, {len(self._scopes)}>"

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Run such a call; one that comes after `close` ends at its first wait.

        Raises:
            GRPCError: UNAVAILABLE, when `close` has ended it.
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
        """End them, the future ones too: even one that waits for a client that reads nothing."""
        self._closed = True
        for scope in self._scopes:
            scope.cancel(reason="the server is shutting down")


class HealthServicer(HealthBase):
    """The service of proto/grpc/health/v1/health.proto on a board."""

    def __init__(self, board: HealthBoard) -> None:
        self._board = board
        self._watches = OpenCalls()

    def __repr__(self) -> str:
        return f"<HealthServicer {self._board!r}, {self._watches!r}>"

    def __mapping__(self) -> dict[str, Handler]:
        """The service's methods; Watch takes the stream itself, since betterproto2 leaves a generator unclosed."""
        watch = Handler(self._watch, Cardinality.UNARY_STREAM, HealthCheckRequest, HealthCheckResponse)
        return super().__mapping__() | {"/grpc.health.v1.Health/Watch": watch}

    async def check(self, message: HealthCheckRequest) -> HealthCheckResponse:
        """Tell one service's state; NOT_FOUND for one that isn't known."""
        serving = self._board[message.service]
        if serving is None:
            known = ", ".join(f'"{name}"' for name in self._board.states)
            raise to_grpc(NotFoundError(f"no service {message.service!r}; there are: {known}"))
        return HealthCheckResponse(status=STATUS[serving])

    async def list(self, message: HealthListRequest) -> HealthListResponse:
        """Tell the state of every service that is known."""
        states = self._board.states.items()
        return HealthListResponse(statuses={name: HealthCheckResponse(status=STATUS[state]) for name, state in states})

    def close(self) -> None:
        """End every Watch with UNAVAILABLE, as gRPC's own servers do when they stop."""
        self._watches.close()

    async def _watch(self, stream: ServerStream[HealthCheckRequest, HealthCheckResponse]) -> None:
        with self._watches.admit():
            message = await stream.recv_message()
            service, told = message.service if message else "", None
            while True:  # between looking and waiting there is no schedule point, so no change is missed
                status = STATUS[self._board[service]]
                if status is told:
                    await self._board.changed()
                else:
                    await stream.send_message(HealthCheckResponse(status=status))
                    told = status
