"""The product's own server under measurement: configured, started, asked, stopped; and a whole measurement of it."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import trio

from ttsw.config import Config, load_config
from ttsw.config.dump import to_yaml
from ttsw.errors import NotFoundError, UnavailableError
from ttsw.fronts.abi.generated.tts import ModelInfo
from ttsw.profiler.bench import Target
from ttsw.profiler.plans import QUICK
from ttsw.profiler.run import INTERRUPTED, measure
from ttsw.profiler.server import open_server, seen, settle
from ttsw.profiler.server_config import IDLE_MODEL, SESSIONS, measuring_config
from ttsw.profiles.files import read_profile, write_profile
from ttsw.profiles.schema import Slo

pytestmark = pytest.mark.slow

TINY = replace(
    QUICK,
    cycles=2,
    probe_s=0.5,
    confirm_s=0.5,
    settle_s=0.1,
    drain_s=0.2,
    memory_levels=(1,),
    memory_s=0.3,
    poisson_s=0.5,
    most=2,
    confirmations=1,
)


class Log:
    def __init__(self, stop=None, at=""):
        self.stages, self.levels, self._stop, self._at = [], [], stop, at

    def stage(self, text, left_s):
        self.stages.append(text)
        if self._stop is not None and self._at in text:
            self._stop.set()

    def level(self, model_id, level, kind):
        self.levels.append((model_id, level.sessions, kind))


@pytest.fixture
def config():
    return Config()


def test_the_configuration_for_a_measurement(tmp_path):
    told = {
        "worker.grpc_port": 7002,
        "worker.profile": "auto",
        "worker.strict_profile": True,
        "model_manager.mixed_sessions": 3,
        "redis.url": "redis://here",
        "metrics.http_port": 9000,
        "model_manager.memory_budget_mb": {"cpu": 100.0},
        "model_manager.warmup_enabled": False,
        "model_manager.preload_model_ids": ["a", "b"],
        "engines.piper.threads": 2,
    }
    given = load_config(None, {}, told)
    changed = measuring_config(given, tmp_path, gpus=(1,), model_ids=["a"])
    file = tmp_path / "worker.yaml"
    file.write_text(to_yaml(changed))
    config = load_config(file, {}, {})
    assert (config.worker.grpc_port, config.worker.grpc_host) == (0, "127.0.0.1")
    assert (config.redis.url, config.metrics.http_port) == (None, None)
    assert (config.worker.profile, config.worker.strict_profile) == (None, False)
    models = config.model_manager
    assert models.mixed_sessions is None
    assert (models.default_model_id, models.preload_model_ids, models.gpus) == (IDLE_MODEL, (), (1,))
    assert (models.memory_budget_mb, models.warmup_enabled, models.state_dir) == ({}, True, tmp_path)
    assert models.ttl_ms == float("inf")
    assert models.max_sessions == {"a": SESSIONS}
    assert config.worker.capabilities.max_concurrent_sessions == SESSIONS
    assert config.engine("piper").threads == 2
    assert measuring_config(given, tmp_path, gpus=(), simulated="x").model_manager.default_model_id == "x"


def test_what_a_server_tells_of_a_model():
    told = {"device": "cuda:0", "size_mb": "12.5", "gpu_allocated_mb": "10", "version": "2", "base": "b"}
    info = seen(ModelInfo(model_id="a", family="f", is_loaded=True, metadata=told))
    assert (info.family, info.version, info.base, info.device) == ("f", "2", "b", "cuda:0")
    assert (info.size_mb, info.allocated_mb) == (12.5, 10.0)
    info = seen(ModelInfo(model_id="a", family="f", metadata={"device": "cpu", "size_mb": "?", "last_error": "no"}))
    assert (info.device, info.size_mb, info.allocated_mb, info.error) == ("", None, None, "no")


async def test_a_server_that_cannot_start_says_why(config):
    with pytest.raises(UnavailableError, match=r"(?s)the server has ended \(exit code 1\).*nobody"):
        async with open_server(config, gpus=(), simulate=Path("/nobody/nothing.yaml"), default="nobody"):
            pytest.fail("it started")


async def test_a_server_that_is_killed_is_told_as_such(config):
    async with open_server(config, gpus=(), default=IDLE_MODEL) as server:
        await settle(server, ["piper-en-us-joe-medium"])
        assert (await server.models())[IDLE_MODEL].device == "cpu"
        with pytest.raises(NotFoundError, match="nobody"):
            await server.load("nobody")
        assert await server.load(IDLE_MODEL) > 0
        assert (await server.figures())["active_sessions"] == 0
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(UnavailableError, match=r"the server has ended \(exit code -9\)"):
            await server.models()


def children():
    return {each for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE}


PACK = """\
family: mock
model_id: large
languages: [en]
audio: {sample_rate: 48000}
options: {size_mb: 80, ms_per_char: 20}
"""
LARGE = "mock-large"


@pytest.fixture
def run(tmp_path):
    """Measure a mock voice that takes 80 MB."""
    folder = tmp_path / "packs" / "mock" / "large"
    folder.mkdir(parents=True)
    (folder / "metadata.yaml").write_text(PACK)
    config = load_config(None, {}, {"model_manager.voicepacks_dir": str(tmp_path / "packs")})

    async def measured(log, stop=None, plan=TINY):
        with trio.fail_after(100):
            return await measure(Target(config), [LARGE], plan=plan, slo=Slo(), progress=log, name="test", stop=stop)

    return measured


async def test_the_mock_voice_is_measured_end_to_end(run, tmp_path):
    log, before = Log(), children()
    found = await run(log)
    assert not found.interrupted
    profile = write_profile(found.profile, tmp_path / "test.yaml")
    assert read_profile(tmp_path / "test.yaml") == profile
    assert (profile.name, profile.provenance, profile.device.kind) == ("test", "measured", "cpu")
    facts = profile.models[LARGE]
    assert facts.family == "mock"
    assert len(facts.digest) == 64
    assert facts.load.load_s.n == 2
    assert 70 < facts.size_mb < 100
    assert facts.load.returned_percent > 80
    assert facts.load.first_ms > 0
    assert facts.load.second_ms > 0
    assert facts.load.lufs is not None
    assert profile.floor_mb > 10
    assert facts.sweep[0].ttfa_ms.n >= 1
    assert facts.sweep[0].errors == 0
    assert facts.sweep[0].memory_mb > 10
    assert any(level.rtf for level in facts.sweep)
    assert [each[:2] for each in log.levels] == [(LARGE, level.sessions) for level in facts.sweep]
    assert children() <= before


@pytest.mark.parametrize("moment", ["starting a server", "memory of a session"])
async def test_whoever_interrupts_it_gets_what_is_measured_and_leaves_no_child(run, moment):
    stop, before = trio.Event(), children()
    found = await run(Log(stop, moment), stop, replace(TINY, cycles=0))
    assert found.interrupted
    if moment == "memory of a session":
        assert found.profile.models[LARGE].sessions is None
        assert found.profile.models[LARGE].load.first_ms > 0
        assert INTERRUPTED in found.profile.disturbances
        assert found.profile.provenance == "partial"
    else:
        assert found.profile is None
    assert children() <= before
