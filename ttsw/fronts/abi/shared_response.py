"""Shared responses: concurrent calls of a method share one response, built and encoded once."""

from collections.abc import Awaitable, Callable
from typing import Any

from ttsw.concurrency.coalesce import Coalesced
from ttsw.concurrency.threads import Lane, run_in
from ttsw.grpc_trio import ServerStream


class SharedResponse:
    """The response of a unary method with an empty request.

    Args:
        build: Builds the response, a betterproto2 message.
    """

    def __init__(self, build: Callable[[], Awaitable[Any]]) -> None:
        self._build = build
        self._encoded = Coalesced(self._encode)

    async def send(self, stream: ServerStream[Any, Any]) -> None:
        """Handle a call."""
        await stream.recv_message()
        await stream.send_encoded((await self._encoded(),))

    async def _encode(self) -> bytes:
        return await run_in(Lane.LISTING, bytes, await self._build(), abandon=True)
