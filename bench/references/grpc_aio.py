"""grpc.aio (C core) with nothing to do but send: `python -m bench.references.grpc_aio FRAMES`.

Synthesize answers with FRAMES messages that are encoded already, the same AudioFrames that the worker sends; every
other method answers with success.
"""

import asyncio  # noqa: TID251 - grpc.aio's
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from bench.references.script import SUCCESS, Script


class Generic(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc is untyped
    """All methods of the service."""

    def __init__(self) -> None:
        self._script = Script()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Find a method."""
        if details.method.endswith("/Synthesize"):
            return grpc.stream_stream_rpc_method_handler(self._synthesize)
        if details.method.endswith("/Control"):
            return grpc.unary_unary_rpc_method_handler(self._control)
        return grpc.unary_unary_rpc_method_handler(self._succeed)

    async def _synthesize(self, _requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        script = self._script
        session_id = script.begin(await context.read())
        for number in range(script.count):
            if session_id in script.stopped:
                return
            await context.write(script.frame(number))

    async def _control(self, request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        self._script.control(request)
        return SUCCESS

    @staticmethod
    async def _succeed(_request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        return SUCCESS


async def _main() -> None:
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 1024)])
    server.add_generic_rpc_handlers((Generic(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_main())
