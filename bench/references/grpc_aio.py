"""grpc.aio (C core) with nothing to do but send: `python -m bench.references.grpc_aio FRAMES`.

Synthesize answers with FRAMES messages that are encoded already, the same AudioFrames that the worker sends; every
other method answers with success.
"""

import asyncio  # noqa: TID251 - grpc.aio's
import sys
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from bench.references.frames import encoded_frames

SUCCESS = b"\x08\x01"  # field 1 of every answer is `success`


class Generic(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc is untyped
    """All methods of the service."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Find a method."""
        if details.method.endswith("/Synthesize"):
            return grpc.stream_stream_rpc_method_handler(self._synthesize)
        return grpc.unary_unary_rpc_method_handler(self._succeed)

    async def _synthesize(self, _requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        await context.read()
        for frame in self._frames:
            await context.write(frame)

    @staticmethod
    async def _succeed(_request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        return SUCCESS


async def _main() -> None:
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 1024)])
    server.add_generic_rpc_handlers((Generic(encoded_frames(int(sys.argv[1]))),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_main())
