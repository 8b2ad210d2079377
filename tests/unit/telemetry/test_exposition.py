import time

import pytest
import trio

from tests.unit.telemetry.support import OPENMETRICS, busy_metrics, samples, snapshot
from ttsw.telemetry import exposition as module
from ttsw.telemetry.exposition import Exposition
from ttsw.telemetry.metrics import Metrics


class SnapshotSource:
    """Returns snapshots and counts the calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self):
        self.count += 1
        return snapshot(sessions=self.count)


async def test_the_accept_header_selects_openmetrics():
    exposition = Exposition(Metrics(), snapshot)
    text, content_type = await exposition.render(OPENMETRICS)
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert text.endswith(b"# EOF\n")
    text, content_type = await exposition.render("text/plain;version=nonsense, */*")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# EOF" not in text


async def test_concurrent_requests_share_one_text():
    source = SnapshotSource()
    exposition = Exposition(Metrics(), source)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(exposition.render, "")
    assert source.count == 1


async def test_a_later_request_renders_again(monkeypatch):
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    exposition = Exposition(Metrics(), SnapshotSource())
    for number in (1, 2, 3):
        text, _ = await exposition.render("")
        assert samples(text.decode())["tts_sessions",] == number


async def test_a_failing_snapshot_fails_one_scrape_only(monkeypatch):
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    source = SnapshotSource()

    def take_snapshot():
        result = source()
        if source.count == 2:
            raise RuntimeError("broken")
        return result

    exposition = Exposition(Metrics(), take_snapshot)
    await exposition.render("")
    with pytest.raises(RuntimeError, match="broken"):
        await exposition.render("")
    await exposition.render("")


async def test_a_scrape_at_200_sessions_takes_less_than_20_ms(monkeypatch):
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    exposition = Exposition(busy_metrics(), lambda: snapshot(sessions=200, speaking=200))
    took_s = []
    for _ in range(10):
        started = time.perf_counter()
        await exposition.render(OPENMETRICS)
        took_s.append(time.perf_counter() - started)
    assert min(took_s) < 0.02
