import time

import pytest
import trio

from tests.unit.telemetry.support import OPENMETRICS, busy_metrics, samples, snapshot
from ttsw.telemetry import exposition as module
from ttsw.telemetry.exposition import Exposition
from ttsw.telemetry.metrics import Metrics


class Looks:
    """Says how the worker stands, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self):
        self.count += 1
        return snapshot(sessions=self.count)


async def test_who_asks_for_openmetrics_gets_it():
    exposition = Exposition(Metrics(), snapshot)
    text, content_type = await exposition.render(OPENMETRICS)
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert text.endswith(b"# EOF\n")
    text, content_type = await exposition.render("text/plain;version=nonsense, */*")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# EOF" not in text


async def test_those_who_ask_at_once_share_one_text():
    looks = Looks()
    exposition = Exposition(Metrics(), looks)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(exposition.render, "")
    assert looks.count == 1


async def test_later_it_is_made_anew(monkeypatch):
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    exposition = Exposition(Metrics(), Looks())
    for number in (1, 2, 3):
        text, _ = await exposition.render("")
        assert samples(text.decode())["tts_sessions",] == number


async def test_a_look_that_fails_fails_the_scrape_and_not_the_next(monkeypatch):
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    looks = Looks()

    def look():
        seen = looks()
        if looks.count == 2:
            raise RuntimeError("broken")
        return seen

    exposition = Exposition(Metrics(), look)
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
