"""GPUs that a configuration names, and that aren't here."""

import pytest

from ttsw.config import load_config
from ttsw.device.wanted import check_gpus, missing_gpus
from ttsw.errors import UnavailableError
from ttsw.testing import FakeDevice

CPU, GPUS = FakeDevice("cpu"), (FakeDevice("cuda:0"), FakeDevice("cuda:1"))


def missing(devices, **flags):
    return missing_gpus(load_config(None, {}, {key.replace("__", "."): value for key, value in flags.items()}), devices)


def test_what_is_here_is_not_missing():
    for flags in (
        {},
        {"model_manager__gpus": [0, 1]},
        {"engines__piper__device": "cuda:1"},
        {"engines__piper__device": "cuda"},
        {"engines__piper__device": "cpu"},
    ):
        assert missing((CPU, *GPUS), **flags) == []
    assert missing((CPU,), engines__piper__device="cpu") == []


def test_what_is_missing_is_named_with_who_asks_for_it(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    name = GPUS[0].name
    assert missing((CPU,), model_manager__gpus=[0]) == [
        "no GPU 0 here, which --gpu or model_manager.gpus asks for; GPUs are: none"
    ]
    assert missing((CPU, GPUS[0]), engines__piper__device="cuda:3", model_manager__gpus=[0, 1]) == [
        f"no GPU 1 here, which --gpu or model_manager.gpus asks for; GPUs are: 0 ({name})",
        f"no GPU 3 here, which engines.piper.device asks for; GPUs are: 0 ({name})",
    ]
    assert missing((CPU,), engines__piper__device="cuda") == [
        "no GPU here, which engines.piper.device asks for; GPUs are: none"
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UnavailableError, match="GPUs are: none; CUDA_VISIBLE_DEVICES is ''"):
        check_gpus(load_config(None, {}, {"model_manager.gpus": [0]}), (CPU,))
