"""What is written loads as the same configuration; the shipped example is what would be written."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttsw.config import Config, load_config, shipped_dir, to_yaml, trace_config

FULL = {
    "worker.name": "alto",
    "worker.tls_cert": "a b.pem",
    "worker.tls_key": Path("k.pem"),
    "worker.session_idle_timeout_s": float("inf"),
    "worker.capabilities.languages": ["no", "zh-CN"],
    "model_manager.ttl_ms": 0.5,
    "model_manager.warmup_text": "Grüße: # 'no' \n null",
    "engines.xtts-v2.options.speed": 1.5,
    "engines.xtts-v2.python": "/opt/xtts/bin/python",
    "audio.loudness_target_lufs": -23,
}


@pytest.mark.parametrize("comments", [False, True])
def test_what_is_written_loads_as_the_same(tmp_path, comments):
    config = load_config(None, {}, FULL)
    path = tmp_path / "dumped.yaml"
    path.write_text(to_yaml(config, comments=comments), encoding="utf-8")
    assert load_config(path, {}, {}) == config


@settings(deadline=None)  # it writes files
@given(text=st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), port=st.integers(0, 65_535))
def test_any_text_survives(tmp_path_factory, text, port):
    config = load_config(None, {}, {"model_manager.warmup_text": text, "worker.grpc_port": port})
    path = tmp_path_factory.getbasetemp() / "text.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_config(path, {}, {}) == config


def test_the_shipped_example_is_the_defaults():
    path = shipped_dir("configs") / "worker.yaml"
    assert path.read_text(encoding="utf-8") == to_yaml(Config(), comments=True)
    config, origins = trace_config(path, {}, {})
    assert config == Config()
    assert all(origin.startswith(f"{path}, line ") for origin in origins.values())


def test_the_example_of_an_engine_is_its_defaults(tmp_path):
    shown = (shipped_dir("configs") / "worker.yaml").read_text(encoding="utf-8")
    path = tmp_path / "worker.yaml"
    path.write_text(
        "".join(line.replace("#   ", "  ", 1) for line in shown.splitlines(keepends=True)), encoding="utf-8"
    )
    assert load_config(path, {}, {}).engines == {"piper": Config().engine("piper")}
