"""Streams read by grpc.aio (C core): `python -m bench.clients.fast_grpc PORT STREAMS CONNECTIONS CHARACTERS`.

A client that nobody here wrote. It costs more per frame than the raw one and so may be what limits; the server's CPU
time is what is looked at.
"""

import asyncio  # noqa: TID251 - grpc.aio's
import sys
from time import monotonic

import grpc.aio

from bench.clients.sessions import SERVICE, SYNTHESIZE, rounds, tell, text_chunk
from bench.samples import text_of
from ttsw.fronts.abi.generated.tts import StartSessionRequest


async def _drain(channel: grpc.aio.Channel, request: bytes) -> int:
    call = channel.stream_stream(SYNTHESIZE)()
    await call.write(request)
    await call.done_writing()
    frames = 0
    while await call.read() is not grpc.aio.EOF:
        frames += 1
    return frames


async def _main() -> None:
    port, streams, connections, characters = map(int, sys.argv[1:])
    own = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", own) for _ in range(connections)]
    names = [f"load-{i:03}" for i in range(streams)]
    for i, name in enumerate(names):
        request = StartSessionRequest(session_id=name, options={"pacing": "fast"})
        await channels[i % connections].unary_unary(SERVICE + "StartSession")(bytes(request))
    text = text_of(characters)
    for _ in rounds():
        began = monotonic()
        work = [_drain(channels[i % connections], text_chunk(name, text)) for i, name in enumerate(names)]
        frames = sum(await asyncio.gather(*work))
        tell({"frames": frames, "wall_s": monotonic() - began})


if __name__ == "__main__":
    asyncio.run(_main())
