"""grpclib's own client, which needs asyncio and so a process of its own: `python -m … HOST PORT`; prints OK."""

import asyncio  # noqa: TID251 - grpclib's client runs on nothing else, and this process serves nothing
import sys

import pytest
from grpclib.client import Channel, StreamStreamMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tests.integration.grpc.interop import SERVICE, EchoStatus, Empty, Payload, Request, Response


async def main(host: str, port: int) -> None:
    async with Channel(host, port) as channel:
        unary = UnaryUnaryMethod(channel, SERVICE + "UnaryCall", Request, Response)
        reply = await unary(Request(response_size=314_159, payload=Payload(body=bytes(271_828))))
        assert reply.payload.body == bytes(314_159)

        output = UnaryStreamMethod(channel, SERVICE + "StreamingOutputCall", Request, Response)
        replies = await output(Request(response_size=1925, count=500))
        assert [reply.total for reply in replies] == list(range(500))

        both = StreamStreamMethod(channel, SERVICE + "FullDuplexCall", Request, Response)
        async with both.open() as stream:
            for size in (31_415, 9, 2_653, 58_979):
                await stream.send_message(Request(response_size=size))
                reply = await stream.recv_message()
                assert len(reply.payload.body) == size
            await stream.end()
            assert await stream.recv_message() is None

        for method, request, status in (
            (unary, Request(status=EchoStatus(code=5, message="näh")), Status.NOT_FOUND),
            (UnaryUnaryMethod(channel, "/no.Service/Call", Empty, Empty), Empty(), Status.UNIMPLEMENTED),
        ):
            with pytest.raises(GRPCError) as caught:
                await method(request)
            assert caught.value.status is status
    print("OK")  # noqa: T201 - the answer to the test that started it


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
