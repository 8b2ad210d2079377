"""The layers, what wins, and where each value comes from."""

from pathlib import Path

import pytest

from ttsw.config import Config, load_config, trace_config
from ttsw.errors import ConfigError, ErrorCode


@pytest.fixture
def write(tmp_path):
    def write_file(text):
        path = tmp_path / "worker.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def refusal(path=None, environ=None, flags=None):
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {}, flags or {})
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    return str(caught.value)


def test_nothing_given_is_the_defaults():
    assert load_config(None, {"HOME": "/", "TTSW_DEBUG": "1"}, {"worker.name": None}) == Config()


def test_later_layers_win(write):
    path = write("worker: {name: file, grpc_port: 1, grpc_host: file.example}")
    environ = {"TTSW_WORKER__NAME": "env", "TTSW_WORKER__GRPC_PORT": "2"}
    config, origins = trace_config(path, environ, {"worker.name": "flag", "worker.drain_timeout_s": None})
    worker = config.worker
    assert (worker.grpc_host, worker.grpc_port, worker.name, worker.drain_timeout_s) == ("file.example", 2, "flag", 30)
    assert origins["worker.grpc_host"] == f"{path}, line 1"
    assert origins["worker.grpc_port"] == "TTSW_WORKER__GRPC_PORT"
    assert origins["worker.name"] == "flag worker.name"
    assert origins["worker.drain_timeout_s"] == "default"


def test_every_value_has_an_origin():
    config, origins = trace_config(None, {}, {"engines.piper.options.speed": 2})
    assert config.engine("piper").options == {"speed": "2"}
    assert origins.pop("engines.piper.options.speed") == "flag engines.piper.options.speed"
    assert set(origins.values()) == {"default"}
    assert {"worker.name", "worker.capabilities.languages", "engines.piper.threads", "redis.url"} <= set(origins)


def test_a_certificate_from_the_file_and_its_key_from_the_environment(write):
    path = write("worker: {tls_cert: chain.pem}")
    worker = load_config(path, {"TTSW_WORKER__TLS_KEY": "key.pem"}, {}).worker
    assert (worker.tls_cert, worker.tls_key) == (Path("chain.pem"), Path("key.pem"))
    assert refusal(path) == f"{path}, line 1: worker: tls_cert and tls_key go together: give both, or neither"


def test_flags_may_be_typed_or_text():
    flags = {
        "worker.grpc_port": 0,
        "model_manager.voicepacks_dir": Path("packs"),
        "worker.capabilities.languages": ["de"],
    }
    config = load_config(None, {}, flags)
    assert (config.worker.grpc_port, config.model_manager.voicepacks_dir) == (0, Path("packs"))
    assert config.worker.capabilities.languages == ("de",)
    assert load_config(None, {}, {"worker.grpc_port": "0"}).worker.grpc_port == 0
    assert "flag worker.grpc_port: worker.grpc_port: 'x' is not valid" in refusal(flags={"worker.grpc_port": "x"})
    assert "flag name: name: unknown section; valid are: worker" in refusal(flags={"name": "x"})


def test_an_empty_section_is_the_defaults(write):
    assert load_config(write("worker:\nredis:\nengines:\n  piper:\n"), {}, {}) == Config()
