"""Other ways in: TLS, grpclib's client, our own client, given listeners."""

import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import grpclib.server
import pytest
import trio
import trustme
from betterproto2 import grpclib as betterproto2_grpclib
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from tests.integration.grpc.conftest import Stub, in_thread, until
from tests.integration.grpc.interop import ECHO, ECHO_BIN, SERVICE, EchoStatus, Empty, Payload, Request, Response
from ttsw.grpc_trio import Channel, Server, Settings, open_channel, serve


async def test_grpclibs_client(server):
    host, port = server.addresses[0]
    command = [sys.executable, "-m", "tests.integration.grpc.grpclib_client", host, str(port)]
    done = await trio.run_process(command, capture_stdout=True)
    assert done.stdout == b"OK\n"


class Generated(betterproto2_grpclib.ServiceBase):
    """What betterproto2's compiler makes of a service with a streaming method, filled in."""

    async def count(self, message: Request) -> AsyncIterator[Response]:
        for number in range(message.count):
            yield Response(total=number)

    async def __rpc_count(self, stream: grpclib.server.Stream[Request, Response]) -> None:
        request = await stream.recv_message()
        await self._call_rpc_handler_server_stream(self.count, stream, request)

    def __mapping__(self) -> dict[str, Handler]:
        return {"/a.B/Count": Handler(self.__rpc_count, Cardinality.UNARY_STREAM, Request, Response)}


async def test_betterproto2s_service_base(nursery):
    server = await nursery.start(serve, [Generated()])
    async with (
        open_channel(*server.addresses[0]) as channel,
        channel.stream("/a.B/Count", Request, Response) as call,
    ):
        await call.send(Request(count=300))
        await call.end()
        assert [reply.total async for reply in call] == list(range(300))


# ---- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def tls_server(service, nursery, authority) -> Server:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return await nursery.start(lambda task_status: serve([service], ssl_context=context, task_status=task_status))


@pytest.fixture
def client_context(authority) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_grpc_over_tls(tls_server, authority):
    def work():
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        with grpc.secure_channel(f"localhost:{tls_server.addresses[0][1]}", credentials) as channel:
            stub = Stub(channel)
            reply = stub.unary(Request(response_size=300_000), timeout=15)
            return len(reply.payload.body), len(list(stub.output(Request(response_size=1925, count=500), timeout=15)))

    assert await in_thread(work) == (300_000, 500)


async def test_our_client_over_tls(tls_server, client_context):
    async with open_channel(*tls_server.addresses[0], ssl_context=client_context) as channel:
        reply = await channel.unary(SERVICE + "UnaryCall", Request(response_size=300_000), Response)
    assert len(reply.payload.body) == 300_000
    await until(lambda: not tls_server.connections)


async def test_a_certificate_that_is_not_trusted_is_unavailable(tls_server):
    with pytest.raises(GRPCError, match="TLS handshake with ") as caught:
        async with open_channel(*tls_server.addresses[0], ssl_context=ssl.create_default_context()):
            pass
    assert caught.value.status is Status.UNAVAILABLE


async def test_plain_text_on_a_tls_port_and_tls_without_h2(tls_server, client_context, caplog):
    caplog.set_level("INFO", "ttsw")
    address = tls_server.addresses[0]
    plain = await trio.open_tcp_stream(*address)
    await plain.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    with trio.fail_after(5):
        while await plain.receive_some():
            pass
    await plain.aclose()
    other = await trio.open_ssl_over_tcp_stream(*address, ssl_context=client_context)
    with suppress(trio.BrokenResourceError), trio.fail_after(5):
        while await other.receive_some():
            pass
    await trio.aclose_forcefully(other)
    assert not caplog.records


# ---- our own client


@pytest.fixture
async def ours(server) -> AsyncIterator[Channel]:
    async with open_channel(*server.addresses[0]) as channel:
        yield channel


async def test_unary_and_metadata(ours):
    reply = await ours.unary(SERVICE + "UnaryCall", Request(response_size=5), Response)
    assert reply.payload.body == bytes(5)
    metadata = {ECHO: "first", ECHO_BIN: b"\xff\0"}
    async with ours.stream(SERVICE + "FullDuplexCall", Request, Response, metadata=metadata) as call:
        assert (await call.wait_for_metadata())[ECHO] == "first"
        assert call.trailing_metadata is None
        await call.end()
        assert [reply async for reply in call] == []
        assert call.trailing_metadata[ECHO_BIN] == b"\xff\0"


async def test_a_large_upload_and_a_long_download(ours):
    async with ours.stream(SERVICE + "StreamingInputCall", Request, Response) as call:
        for _ in range(20):
            await call.send(Request(payload=Payload(body=bytes(200_000))))
        await call.end()
        assert (await call.receive()).total == 4_000_000
        assert await call.receive() is None
    async with ours.stream(SERVICE + "StreamingOutputCall", Request, Response) as call:
        await call.send(Request(response_size=1925, count=2000))
        await call.end()
        assert [reply.total async for reply in call] == list(range(2000))


async def test_statuses(ours):
    with pytest.raises(GRPCError) as caught:
        await ours.unary(SERVICE + "UnaryCall", Request(status=EchoStatus(code=9, message="näh\n")), Response)
    assert (caught.value.status, caught.value.message) == (Status.FAILED_PRECONDITION, "näh\n")
    with pytest.raises(GRPCError) as caught:
        await ours.unary("/no.Service/Call", Empty(), Empty)
    assert caught.value.status is Status.UNIMPLEMENTED


async def test_a_cancel_reaches_the_server_and_the_channel_lives_on(ours, service, server):
    with trio.move_on_after(0.05) as scope:
        async with ours.stream(SERVICE + "StreamingInputCall", Request, Response) as call:
            await call.receive()
    assert scope.cancelled_caught
    await service.cancelled.wait()
    assert (await ours.unary(SERVICE + "EmptyCall", Empty(), Empty)) == Empty()
    await until(lambda: "0 calls, 0 bytes queued" in repr(ours))
    assert server.calls == 0


async def test_leaving_a_call_early_cancels_it(ours, service):
    async with ours.stream(SERVICE + "StreamingOutputCall", Request, Response) as call:
        await call.send(Request(response_size=1925, count=10_000, interval_us=500))
        await call.end()
        async for reply in call:
            if reply.total == 5:
                break
    await service.cancelled.wait()


async def test_nobody_listens():
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(GRPCError, match=f"can't connect to 127.0.0.1:{port}") as caught:
        async with open_channel("127.0.0.1", port):
            pass
    assert caught.value.status is Status.UNAVAILABLE


async def test_the_server_goes_away(service):
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, [service])
        async with (
            open_channel(*server.addresses[0]) as channel,
            channel.stream(SERVICE + "FullDuplexCall", Request, Response) as call,
        ):
            await call.send(Request(response_size=1))
            await call.receive()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), pytest.raises(GRPCError) as caught:
                await call.receive()
            assert caught.value.status is Status.UNAVAILABLE
            assert caught.value.message == "the server is shutting down"


async def test_given_listeners_and_a_drain(service):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(lambda task_status: serve([service], listeners=listeners, task_status=task_status))
        async with open_channel(*server.addresses[0]) as channel:
            assert (await channel.unary(SERVICE + "EmptyCall", Empty(), Empty)) == Empty()
            server.drain()
            with pytest.raises(OSError, match="all attempts to connect"):
                await trio.open_tcp_stream(*server.addresses[0])
            await until(lambda: not server.connections)
            with pytest.raises(GRPCError, match="shutting down"):
                await channel.unary(SERVICE + "EmptyCall", Empty(), Empty)
    assert "<Server draining" in repr(server)


async def test_one_connection_too_many_is_closed(service, nursery):
    settings = Settings(max_connections=1)
    server = await nursery.start(lambda task_status: serve([service], settings=settings, task_status=task_status))
    async with open_channel(*server.addresses[0]) as channel:
        assert (await channel.unary(SERVICE + "EmptyCall", Empty(), Empty)) == Empty()
        other = await trio.open_tcp_stream(*server.addresses[0])
        with trio.fail_after(5):
            assert await other.receive_some() == b""
        await other.aclose()
        assert (await channel.unary(SERVICE + "EmptyCall", Empty(), Empty)) == Empty()
    await until(lambda: not server.connections)
    async with open_channel(*server.addresses[0]) as channel:
        assert (await channel.unary(SERVICE + "EmptyCall", Empty(), Empty)) == Empty()


async def test_a_drain_during_a_handshake_ends_it_soon(tls_server, client_context):
    plain = await trio.open_tcp_stream(*tls_server.addresses[0])
    stream = trio.SSLStream(plain, client_context, server_hostname="localhost", https_compatible=True)
    await until(lambda: tls_server._accepted == 1)
    tls_server.drain()
    with suppress(trio.BrokenResourceError), trio.fail_after(5):
        while await stream.receive_some():
            pass
    await trio.aclose_forcefully(stream)
    await until(lambda: tls_server._accepted == 0)
