import subprocess
import sys
from contextlib import suppress

import pytest
import trio

from tests.unit.telemetry.conftest import Port, read_all
from ttsw.errors import UnavailableError
from ttsw.telemetry import http_server as module
from ttsw.telemetry.http_server import open_port

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
TIMEOUT_S = 10.0


async def serve_big(_port: Port, nursery, size: int = 32_000_000) -> Port:
    """Serve an app whose response for /big is larger than the kernel's buffers."""

    async def app(scope, _receive, send):
        length = size if scope["path"] == "/big" else 5
        headers = [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * length, "more_body": False})

    await nursery.start(_port.serve, app)
    return _port


async def trickle(stream: trio.SocketStream) -> None:
    for byte in GET * 100:
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.02)


async def test_a_client_that_sends_its_request_byte_by_byte_is_disconnected(port, monkeypatch, nursery):
    monkeypatch.setattr(module, "REQUEST_S", 0.3)
    slow = Port()
    await nursery.start(slow.serve, lambda *_: None)
    stream = await slow.connect()
    started = trio.current_time()
    with trio.fail_after(TIMEOUT_S), pytest.raises(trio.BrokenResourceError):
        await trickle(stream)
    assert trio.current_time() - started < 3
    await stream.aclose()


async def test_a_client_that_does_not_read_does_not_block_others(nursery, monkeypatch):
    monkeypatch.setattr(module, "WRITE_S", 0.3)
    port = await serve_big(Port(), nursery)
    stream = await port.connect(receive_buffer=4096)
    await stream.send_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    await trio.sleep(0.1)
    with trio.fail_after(0.2 + TIMEOUT_S):
        response, body = await port.ask("/")
    assert (response.status, body) == (200, b"xxxxx")
    with trio.fail_after(TIMEOUT_S):
        await trio.sleep(0.5)
        assert len(await read_all(stream)) < 32_000_000
    await stream.aclose()


async def test_a_client_that_does_not_read_does_not_keep_the_port_from_closing(nursery):
    port = await serve_big(Port(), nursery)
    stream = await port.connect(receive_buffer=4096)
    await stream.send_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    await trio.sleep(0.1)
    started = trio.current_time()
    port.scope.cancel()
    with trio.fail_after(TIMEOUT_S):
        await port.closed.wait()
    assert trio.current_time() - started < module.WRITE_S + 0.5
    await stream.aclose()


async def test_the_oldest_connection_goes_when_there_are_too_many(port, monkeypatch):
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 3)
    idle = [await port.connect() for _ in range(3)]
    await trio.sleep(0.1)
    for _ in range(3):
        response, _ = await port.ask("/metrics")
        assert response.status == 200
    with trio.fail_after(TIMEOUT_S):
        assert await read_all(idle[0]) == b""
    for stream in idle:
        await stream.aclose()


async def test_no_connection_lasts(port, monkeypatch):
    monkeypatch.setattr(module, "CONNECTION_S", 0.2)
    stream = await port.connect()
    with trio.fail_after(TIMEOUT_S):
        await stream.send_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert b" 405 " in await read_all(stream)
    await stream.aclose()
    silent = await port.connect()
    started = trio.current_time()
    with trio.fail_after(TIMEOUT_S):
        assert await read_all(silent) == b""
    assert trio.current_time() - started < 3
    await silent.aclose()


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: !\r\nConnection: Upgrade\r\n\r\n",
        GET * 500,
        b"",
    ],
)
async def test_noise_affects_only_its_own_connection(port, noise, monkeypatch):
    monkeypatch.setattr(module, "CONNECTION_S", 1.0)  # hypercorn accepts HTTP/2 with prior knowledge and upgrades
    stream = await port.connect()
    with trio.fail_after(TIMEOUT_S):
        with suppress(trio.BrokenResourceError):
            await stream.send_all(noise)
            await stream.send_eof()
        await read_all(stream)
    await stream.aclose()
    response, _ = await port.ask("/metrics")
    assert response.status == 200


async def test_an_answer_under_way_is_finished_when_the_port_closes(nursery):
    begun = trio.Event()

    async def app(_scope, _receive, send):
        begun.set()
        await trio.sleep(0.3)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done", "more_body": False})

    port = Port()
    await nursery.start(port.serve, app)
    stream, idle = await port.connect(), await port.connect()
    await stream.send_all(GET)
    await begun.wait()
    port.scope.cancel()
    with trio.fail_after(TIMEOUT_S):
        assert (await read_all(stream)).endswith(b"done")
        assert await read_all(idle) == b""
        await port.closed.wait()
    with pytest.raises(OSError, match="refused"):
        await port.connect()
    for each in (stream, idle):
        await each.aclose()


async def test_an_address_that_is_taken_is_named(port):
    with pytest.raises(UnavailableError, match=rf"cannot listen on 127.0.0.1:{port.address[1]}: .*metrics.http_port"):
        await open_port("127.0.0.1", port.address[1])


def test_nothing_of_it_brings_asyncio():
    code = "import sys, hypercorn.trio, hypercorn.app_wrappers, prometheus_client; sys.exit('asyncio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
