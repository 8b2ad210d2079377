"""grpclib's own server, on asyncio: `python -m bench.references.grpclib_asyncio FRAMES`."""

import asyncio  # noqa: TID251 - grpclib's
import socket

import grpclib.config
import grpclib.server

from bench.references.raw_codec import Service


async def _main() -> None:
    config = grpclib.config.Configuration(http2_connection_window_size=1024 * 1024, http2_stream_window_size=64 * 1024)
    server = grpclib.server.Server([Service()], config=config)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start(sock=listener)
    print(f"ready 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(_main())
