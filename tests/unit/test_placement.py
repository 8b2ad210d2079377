import json
import sys
from pathlib import Path

import pytest
import trio

import ttsw.placement
from ttsw.adapters.envs.environment import STAMP, Stamp, read_requirements
from ttsw.adapters.hosts.engine_processes import EngineProcesses, open_engine_processes
from ttsw.adapters.hosts.process import ProcessHost
from ttsw.adapters.hosts.thread import ThreadHost
from ttsw.config import load_config, shipped_dir
from ttsw.device import CpuDevice
from ttsw.errors import ConfigError, NotFoundError, UnavailableError
from ttsw.packs.catalogue import read_catalogue
from ttsw.placement import Placement, open_placement
from ttsw.testing import FakeDevice
from ttsw.types import Capabilities, VoicePack

GPUS = (FakeDevice("cuda:0"), FakeDevice("cuda:1"))
XTTS = VoicePack("xtts-v2", "a", Path(), capabilities=Capabilities(cpu_ok=False))
TINY = VoicePack("xtts-v2", "tiny", Path())


@pytest.fixture
def ready(monkeypatch, tmp_path):
    """The family xtts-v2 has an interpreter of its own; returns a function that takes the pack to another state."""
    monkeypatch.setenv("TTSW_ENGINES_DIR", str(tmp_path))
    python = tmp_path / "xtts-v2" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setattr(ttsw.placement, "find_family", lambda family: None)

    def stamp(sha256):
        sha256 = sha256 or read_requirements("xtts-v2").sha256
        Stamp(sha256, "3.11", "2026-01-01", "1", 1).write(tmp_path / "xtts-v2")
        assert json.loads((tmp_path / "xtts-v2" / STAMP).read_text())
        return python

    return stamp


def placement(*gpus, **settings):
    return Placement(load_config(None, {}, settings), EngineProcesses(), [CpuDevice(), *gpus])


@pytest.fixture
def mock():
    return read_catalogue(shipped_dir("voicepacks"))["mock-440hz"]


# Where a model can be.


def test_a_family_without_an_environment_goes_to_the_cpu(mock):
    assert placement(*GPUS).devices_for(mock) == ["cpu"]
    assert not placement().in_process("mock")


def test_a_family_with_one_goes_to_a_gpu_first_and_to_the_cpu_if_its_pack_may(ready):
    ready("")
    assert placement(*GPUS).devices_for(XTTS) == ["cuda:0", "cuda:1"]
    assert placement(*GPUS).devices_for(TINY) == ["cuda:0", "cuda:1", "cpu"]
    assert placement().devices_for(TINY) == ["cpu"]
    assert placement().in_process("xtts-v2")


def test_without_a_gpu_a_pack_that_needs_one_is_refused_and_the_way_out_is_told(ready):
    ready("")
    with pytest.raises(
        UnavailableError, match=r"needs a GPU .*cpu_ok: false.*devices are cpu; engines\.xtts-v2\.device"
    ):
        placement().devices_for(XTTS)
    assert placement(**{"engines.xtts-v2.device": "cpu"}).devices_for(XTTS) == ["cpu"]


def test_the_configuration_chooses_among_gpus(ready, mock):
    ready("")
    assert placement(*GPUS, **{"engines.xtts-v2.device": "cuda:1"}).devices_for(TINY) == ["cuda:1"]
    assert placement(*GPUS, **{"engines.xtts-v2.device": "cuda"}).devices_for(TINY) == ["cuda:0", "cuda:1"]
    assert placement(*GPUS, **{"model_manager.gpus": [1]}).devices_for(TINY) == ["cuda:1", "cpu"]
    assert placement(*GPUS, **{"model_manager.gpus": []}).devices_for(TINY) == ["cpu"]
    assert placement(*GPUS, **{"engines.mock.device": "cuda"}).devices_for(mock) == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"engines.xtts-v2.device": "cuda:5"}, "device is cuda:5, and there is none for it: devices are cpu, cuda:0"),
        ({"engines.xtts-v2.device": "cuda:0", "model_manager.gpus": [1]}, r"gpus allows the GPUs \[1\]"),
    ],
)
def test_a_device_that_isnt_there_is_told(ready, settings, told):
    ready("")
    with pytest.raises(UnavailableError, match=told):
        placement(*GPUS, **settings).devices_for(TINY)


# What it runs under.


def test_without_its_environment_a_family_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TTSW_ENGINES_DIR", str(tmp_path))
    with pytest.raises(
        UnavailableError, match="environment of its own, and that is absent: ttsw engines install xtts-v2"
    ):
        placement().devices_for(TINY)


def test_an_outdated_environment_is_used_and_told(ready, caplog, capsys):
    ready("outdated")
    assert placement().devices_for(TINY) == ["cpu"]
    assert "environment is outdated" in capsys.readouterr().out


def test_an_interpreter_that_is_named_needs_no_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TTSW_ENGINES_DIR", str(tmp_path))
    named = placement(**{"engines.xtts-v2.python": sys.executable})
    assert named.devices_for(TINY) == ["cpu"]


def test_an_interpreter_is_for_processes():
    with pytest.raises(ConfigError, match=r"engines\.mock\.python: .*host is thread: give host: process"):
        load_config(None, {}, {"engines.mock.python": "/usr/bin/python", "engines.mock.host": "thread"})
    assert placement(**{"engines.mock.python": sys.executable}).in_process("mock")
    assert placement(**{"engines.mock.host": "process"}).in_process("mock")
    assert not placement(**{"engines.xtts-v2.host": "thread"}).in_process("xtts-v2")


def test_a_family_that_nobody_brings_has_no_place():
    with pytest.raises(NotFoundError, match="no adapter for family 'unheard-of'"):
        placement().devices_for(VoicePack("unheard-of", "a", Path()))
    with pytest.raises(NotFoundError, match="no adapter for family 'unheard-of'"):
        placement(**{"engines.unheard-of.host": "process"}).devices_for(VoicePack("unheard-of", "a", Path()))


# What it opens.


async def test_it_opens_hosts_as_configured(mock, tmp_path):
    settings = {"model_manager.state_dir": str(tmp_path), "engines.mock.concurrency": 3}
    async with open_placement(load_config(None, {}, settings)) as threads:
        host = await threads.start_host(mock, "cpu")
        assert isinstance(host, ThreadHost)
        assert host.model.concurrency == 3
        await host.close()
    async with open_placement(load_config(None, {}, settings | {"engines.mock.host": "process"})) as processes:
        host = await processes.start_host(mock, "cpu")
        assert isinstance(host, ProcessHost)
        assert host.model.concurrency == 3
        assert "CUDA_VISIBLE_DEVICES" in await trio.Path(f"/proc/{host.pid}/environ").read_text()
        await host.close()


async def test_a_user_without_a_home_directory_has_no_clips_and_speaks(mock, tmp_path, monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    config = load_config(None, {}, {"model_manager.state_dir": str(tmp_path)})
    async with open_engine_processes() as engines:
        host = await Placement(config, engines, [CpuDevice()], {}).start_host(mock, "cpu")
        assert host.model.sample_rate == 48_000
        await host.close()
