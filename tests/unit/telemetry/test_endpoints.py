import pytest

from tests.unit.telemetry.conftest import Port, read_all
from tests.unit.telemetry.support import OPENMETRICS, samples
from ttsw.telemetry.endpoints import Endpoints


async def test_metrics_parse_in_either_format(port):
    response, body = await port.ask("/metrics")
    assert response.status == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(body.decode())["tts_sessions",] == 200
    response, body = await port.ask("/metrics", Accept=OPENMETRICS)
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert samples(body.decode(), openmetrics=True)["tts_sessions",] == 200


async def test_it_lives_in_every_state(port):
    for port.state in ("starting", "ready", "draining"):
        response, body = await port.ask("/healthz")
        assert (response.status, body) == (200, b"alive\n")


@pytest.mark.parametrize(("state", "status"), [("ready", 200), ("starting", 503), ("draining", 503)])
async def test_readyz_returns_the_state(port, state, status):
    port.state = state
    response, body = await port.ask("/readyz")
    assert (response.status, body) == (status, f"{state}\n".encode())


async def test_head_is_get_without_a_body(port):
    for path in ("/metrics", "/healthz", "/readyz"):
        response, body = await port.ask(path, "HEAD")
        assert (response.status, body) == (200, b"")
        assert int(response.headers["content-length"]) > 0


async def test_other_paths_and_methods_are_refused(port):
    response, body = await port.ask("/metric")
    assert response.status == 404
    assert b"/metrics" in body
    response, _ = await port.ask("/metrics", "POST", b"x" * 100_000)
    assert response.status == 405
    assert response.headers["allow"] == "GET, HEAD"
    response, _ = await port.ask("/metrics?name[]=up", "GET")
    assert response.status == 200


async def test_a_fault_of_ours_is_a_status_and_a_line_in_the_log(nursery, caplog):
    async def render(_accept):
        raise RuntimeError("broken")

    port = Port()
    await nursery.start(port.serve, Endpoints(render, lambda: "ready"))
    response, body = await port.ask("/metrics")
    assert response.status == 500
    assert b"broken" not in body
    response, _ = await port.ask("/healthz")
    assert response.status == 200


async def test_a_websocket_is_refused(port):
    stream = await port.connect()
    async with stream:
        await stream.send_all(
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 101 " not in (await read_all(stream)).partition(b"\r\n")[0]
    response, _ = await port.ask("/healthz")
    assert response.status == 200
