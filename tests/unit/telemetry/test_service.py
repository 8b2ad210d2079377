import urllib.request

import pytest
import trio

from tests.unit.telemetry.support import samples, snapshot
from ttsw.config.schema import MetricsConfig
from ttsw.errors import UnavailableError
from ttsw.telemetry import service as module
from ttsw.telemetry.metrics import Metrics
from ttsw.telemetry.service import serve_metrics


async def get(url: str) -> str:
    def read() -> str:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.read().decode()

    return await trio.to_thread.run_sync(read)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_it_returns_its_url_and_exports_the_loop_lag(nursery, host):
    url = await nursery.start(serve_metrics, MetricsConfig(http_host=host, http_port=0), Metrics(), snapshot)
    assert await get(f"{url}/readyz") == "ready\n"
    with trio.fail_after(10):
        while samples(await get(f"{url}/metrics"))["tts_event_loop_lag_seconds_count",] < 2:
            await trio.sleep(0.1)


async def test_a_device_that_does_not_answer_is_a_remark_and_no_reason_to_take_no_work(nursery):
    def take_snapshot():
        return snapshot(silent=("cuda:0",))

    url = await nursery.start(serve_metrics, MetricsConfig(http_port=0), Metrics(), take_snapshot)
    remark = "device cuda:0 does not respond; its memory metrics show the last known values"
    assert await get(f"{url}/readyz") == f"ready\n{remark}\n"


async def test_by_default_there_is_no_port():
    async with trio.open_nursery() as nursery:
        assert await nursery.start(serve_metrics, MetricsConfig(), Metrics(), snapshot) is None


async def test_a_port_in_use_is_an_error_at_startup(nursery):
    url = await nursery.start(serve_metrics, MetricsConfig(http_port=0), Metrics(), snapshot)
    taken = MetricsConfig(http_port=int(url.rpartition(":")[2]))
    with pytest.raises(UnavailableError, match=r"metrics\.http_port"):
        await nursery.start(serve_metrics, taken, Metrics(), snapshot)


async def test_a_port_that_fails_is_opened_again_where_it_was(nursery, monkeypatch, caplog):
    monkeypatch.setattr("ttsw.concurrency.supervise.FIRST_S", 0.05)
    serve_http, failures = module.serve_http, iter(range(3))

    async def fail_at_first(app, listeners):
        if next(failures, None) is None:
            await serve_http(app, listeners)
        for listener in listeners:
            await listener.aclose()
        raise OSError("the kernel is out of sorts")

    monkeypatch.setattr(module, "serve_http", fail_at_first)
    url = await nursery.start(serve_metrics, MetricsConfig(http_port=0), Metrics(), snapshot)
    with trio.fail_after(10):
        while True:
            try:
                assert await get(f"{url}/healthz") == "alive\n"
            except OSError:
                await trio.sleep(0.05)
            else:
                return
