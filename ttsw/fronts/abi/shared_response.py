"""Responses that are the same for all who ask at the same time: made once, encoded once, sent to each."""

from collections.abc import Awaitable, Callable
from typing import Any

from ttsw.concurrency.coalesce import Coalesced
from ttsw.concurrency.threads import Lane, run_in
from ttsw.grpc_trio import ServerStream


class SharedResponse:
    """The response of a unary method whose request says nothing.

    Args:
        make: Makes the response, a betterproto2 message.
    """

    def __init__(self, make: Callable[[], Awaitable[Any]]) -> None:
        self._make = make
        self._encoded = Coalesced(self._encode)

    async def send(self, stream: ServerStream[Any, Any]) -> None:
        """Handle a call."""
        await stream.recv_message()
        await stream.send_encoded((await self._encoded(),))

    async def _encode(self) -> bytes:
        return await run_in(Lane.LISTING, bytes, await self._make(), abandon=True)
