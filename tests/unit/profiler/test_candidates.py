"""Which models are measured, where nobody names them and where somebody does."""

from pathlib import Path

import pytest

from ttsw.config import load_config
from ttsw.errors import NotFoundError
from ttsw.packs.catalogue import Catalogue
from ttsw.packs.reader import PackError
from ttsw.profiler.candidates import choose_models
from ttsw.profiler.plans import FULL, NORMAL, QUICK
from ttsw.testing.devices import FakeDevice
from ttsw.types import Capabilities, VoicePack

CPU, GPU = FakeDevice("cpu"), FakeDevice("cuda:0")
HERE = VoicePack("piper", "here", Path())
MOCK = VoicePack("mock", "sine", Path())
TORCH = VoicePack("xtts-v2", "demo", Path(), capabilities=Capabilities(cpu_ok=False))
UNKNOWN = VoicePack("nobody", "brings-it", Path())


def shelf(*packs, **broken):
    return Catalogue({pack.model_id: pack for pack in packs}, broken)


def choose(*named, gpu=None, packs=(HERE, MOCK, TORCH, UNKNOWN), devices=(CPU, GPU), **settings):
    return choose_models(load_config(None, {}, settings), shelf(*packs), named, devices, gpu=gpu)


def test_a_cpu_gets_what_runs_on_it():
    assert choose() == ["piper-here"]


def test_a_gpu_gets_what_is_made_for_it(tmp_path):
    python = {"engines.xtts-v2.python": str(tmp_path / "python")}
    assert choose(gpu="cuda:0", **python) == ["xtts-v2-demo"]
    assert choose(gpu="cuda:0", **python, **{"engines.piper.device": "cuda"}) == ["piper-here", "xtts-v2-demo"]


def test_who_is_named_is_measured_and_once():
    assert choose("mock-sine", "xtts-v2-demo", "mock-sine") == ["mock-sine", "xtts-v2-demo"]


def test_nobody_there():
    with pytest.raises(NotFoundError, match=r"x.*piper-here"):
        choose("x", packs=(HERE, MOCK))
    with pytest.raises(NotFoundError, match="no model can be loaded on the CPU"):
        choose(packs=(MOCK,))
    with pytest.raises(NotFoundError, match="no model can be loaded on cuda:0"):
        choose(packs=(HERE,), gpu="cuda:0")


def test_a_broken_one_says_why():
    config = load_config(None, {}, {})
    with pytest.raises(PackError, match="it lacks its weights"):
        choose_models(config, shelf(HERE, x="it lacks its weights"), ["x"], [CPU], gpu=None)


def test_plans_are_estimated():
    assert 2 * QUICK.model_s() + QUICK.pairs_s(2) < 300
    assert QUICK.model_s() < NORMAL.model_s() < FULL.model_s()
    assert NORMAL.search_s(5) < NORMAL.search_s()
    assert NORMAL.pairs_s(1) == 0
    assert NORMAL.pairs_s(20) == NORMAL.pairs_s(4)
