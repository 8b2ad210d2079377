"""The worker's transport by itself: `python -m bench.references.grpc_trio FRAMES`; see `bench.references.raw_codec`."""

from typing import TYPE_CHECKING, cast

import trio

from bench.references.raw_codec import Bytes, Calls, Service
from ttsw.grpc_trio import Server, serve

if TYPE_CHECKING:
    from ttsw.grpc_trio import ServerStream


class Encoded(Service):
    """Sends as the worker does."""

    @staticmethod
    async def send(stream: Calls, frame: bytes) -> None:
        """Send one message."""
        await cast("ServerStream[Bytes, Bytes]", stream).send_encoded((frame,))


async def _main() -> None:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(serve, [Encoded()])
        print(f"ready 127.0.0.1:{server.addresses[0][1]}", flush=True)


if __name__ == "__main__":
    trio.run(_main)
