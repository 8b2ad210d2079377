import threading
from importlib.metadata import EntryPoint

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import ttsw.adapters.families
from ttsw.config import load_config
from ttsw.errors import FailedPreconditionError, NotFoundError, UnavailableError
from ttsw.testing.workers import open_worker
from ttsw.worker import Readiness, Worker, residency_limits

FLAGS = {"model_manager.default_model_id": "mock-440hz", "model_manager.warmup_enabled": False}


@pytest.fixture
async def worker(nursery):
    worker = Worker(load_config(None, {}, FLAGS | {"worker.drain_timeout_s": 0.3}))
    await nursery.start(worker.models.run)
    await nursery.start(worker.sessions.run)
    return worker


async def test_it_is_ready_once_its_models_are_loaded(worker):
    assert worker.readiness is Readiness.STARTING
    await worker.preload()
    assert worker.readiness is Readiness.READY
    assert list(worker.models.residents) == ["mock-440hz"]


async def test_a_default_model_that_does_not_exist_is_refused(nursery):
    worker = Worker(load_config(None, {}, FLAGS | {"model_manager.default_model_id": "none"}))
    await nursery.start(worker.models.run)
    with pytest.raises(NotFoundError, match=r"no model 'none'; there are: .*mock-440hz"):
        await worker.preload()


async def test_sessions_that_name_no_model_get_the_default_one(worker):
    session = await worker.start_session("s", "", {})
    assert session.model_id == "mock-440hz"
    assert (await worker.figures())["active_sessions"] == 1


async def test_draining_waits_for_speech_and_then_cuts_it(worker):
    session = await worker.start_session("s", "", {"duration_ms": "60000"})
    _, utterance = await worker.begin("s")
    await utterance.feed("a long text")
    assert (await worker.figures())["active_syntheses"] == 1
    with pytest.raises(FailedPreconditionError):
        await worker.begin("s")
    await worker.drain()
    await wait_all_tasks_blocked()
    assert worker.readiness is Readiness.DRAINING
    assert isinstance(utterance.failure, UnavailableError)
    worker.record(session, utterance)
    assert worker.stats.failures == 1
    with pytest.raises(NotFoundError):
        worker.sessions["s"]
    with pytest.raises(UnavailableError):
        await worker.start_session("t", "", {})


async def test_draining_ends_as_soon_as_speech_does(worker):
    session = await worker.start_session("s", "", {})
    _, utterance = await worker.begin("s")

    async def end():
        await trio.sleep(0.02)
        worker.record(session, utterance)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        started = trio.current_time()
        await worker.drain()
    assert trio.current_time() - started < 0.28
    assert "draining" in repr(worker)


async def test_memory_is_told(worker):
    await worker.preload()
    metrics = await worker.figures()
    assert 10 < metrics["device_memory_used_mb"] < metrics["device_memory_total_mb"]
    assert metrics["model_loads_total"] == 1


def test_the_configuration_bounds_residency():
    flags = {"model_manager.memory_budget_mb.cpu": 300, "model_manager.ttl_ms": 5_000, "model_manager.resident_cap": 2}
    bounds = residency_limits(load_config(None, {}, FLAGS | flags))
    assert (bounds.budget, bounds.ttl_s, bounds.cap) == ({"cpu": 300e6}, 5, 2)
    assert bounds.pinned == {"mock-440hz"}


PACK = """\
family: {family}
model_id: {name}
capabilities: {{zero_shot: true, cpu_ok: true}}
languages: [{language}]
audio: {{sample_rate: 24000}}
"""


async def test_it_can_do_what_its_models_can_and_tells_what_it_is_told_to(nursery, tmp_path):
    for family, language in (("mock", "fi"), ("nobody-s", "tlh")):
        folder = tmp_path / "packs" / family / "more"
        folder.mkdir(parents=True)
        (folder / "metadata.yaml").write_text(PACK.format(family=family, name="more", language=language))
    flags = FLAGS | {"model_manager.voicepacks_dir": str(tmp_path / "packs")}
    worker = Worker(load_config(None, {}, flags))
    can = await worker.capabilities()
    assert (can["streaming"], can["zero_shot"], can["lora"], can["cpu_ok"]) == (True, True, False, True)
    assert {"en", "fi"} <= set(can["languages"])
    assert "tlh" not in can["languages"], "no family speaks it here"
    await nursery.start(worker.models.run)
    await worker.models.load("mock-more")
    assert worker.model_infos()["mock-more"]["languages"] == ["fi"]
    told = Worker(
        load_config(None, {}, flags | {"worker.capabilities.lora": True, "worker.capabilities.languages": ["de"]})
    )
    assert await told.capabilities() == can | {"lora": True, "languages": ["de"]}


CLOSER = """
from pathlib import Path

import numpy as np

from ttsw.adapters.base import TTSAdapter


class Closer(TTSAdapter):
    @classmethod
    def load(cls, pack, settings):
        return cls(pack)

    def speak(self, text, options):
        yield np.zeros(480, np.float32)

    def close(self):
        (self.pack.root / "closed").write_text("closed")
"""


@pytest.mark.slow
@pytest.mark.parametrize("host", ["process", "thread"])
@pytest.mark.parametrize("asked", [True, False])
async def test_an_engine_is_told_to_close_when_it_is_unloaded_and_when_the_worker_stops(
    host, asked, tmp_path, monkeypatch
):
    (tmp_path / "closer.py").write_text(CLOSER)
    folder = tmp_path / "packs" / "closer" / "voice"
    folder.mkdir(parents=True)
    (folder / "metadata.yaml").write_text(PACK.format(family="closer", name="voice", language="en"))
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("closer", "closer:Closer", ttsw.adapters.families.GROUP)
    monkeypatch.setattr(ttsw.adapters.families, "families", lambda: {"closer": entry})
    flags = {
        "model_manager.default_model_id": "closer-voice",
        "model_manager.warmup_enabled": False,
        "model_manager.voicepacks_dir": str(tmp_path / "packs"),
        "engines.closer.host": host,
        "worker.grpc_port": 0,
        "worker.grpc_host": "127.0.0.1",
    }
    async with open_worker(load_config(None, {}, flags)) as (worker, _address):
        assert not (folder / "closed").exists()
        if asked:
            await worker.models.unload("closer-voice")
            assert (folder / "closed").read_text() == "closed"
    assert (folder / "closed").read_text() == "closed"


async def test_a_thousand_who_ask_at_once_share_a_look_and_few_threads(worker, monkeypatch):
    await worker.preload()
    looks, refreshes = 0, 0
    refresh, snapshot = worker.pack_reader.refresh, worker.devices[0].snapshot

    def counted_refresh():
        nonlocal refreshes
        refreshes += 1
        return refresh()

    def counted_snapshot():
        nonlocal looks
        looks += 1
        return snapshot()

    monkeypatch.setattr(worker.pack_reader, "refresh", counted_refresh)
    monkeypatch.setattr(worker.devices[0], "snapshot", counted_snapshot)
    threads, answers = threading.active_count(), []

    async def ask(question):
        answers.append(await question())
        assert threading.active_count() <= threads + 8

    async with trio.open_nursery() as nursery:
        for _ in range(330):
            for question in (worker.capabilities, worker.figures, worker.known_models):
                nursery.start_soon(ask, question)
    assert len(answers) == 990
    assert looks <= 2
    assert refreshes <= 4
