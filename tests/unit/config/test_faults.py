"""What a fault says: where it was given, which key, what was given, what would be right."""

import pytest

from ttsw.config import load_config
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


def test_a_password_in_a_url_is_not_told(write):
    text = refusal(write("redis: {url: 'http://alto:secret@redis.example'}"))
    assert "secret" not in text
    assert "redis.example" in text


def test_all_faults_are_listed_together(write):
    path = write("""\
worker:
  nmae: alto
  grpc_port: 70000
engins: {}
logging: {level: loud}
""")
    text = refusal(path, {"TTSW_AUDIO__LEAD_MS": "long"}, {"redis.ulr": "x"})
    assert text.startswith("6 faults:\n- ")
    assert f"{path}, line 2: worker.nmae: unknown key; did you mean name? valid are: name, grpc_host, grpc_port" in text
    assert f"{path}, line 3: worker.grpc_port: 70000 is not valid: must be 65535 or less" in text
    assert f"{path}, line 4: engins: unknown section; did you mean engines? valid are: worker, model_manager" in text
    level = next(line for line in text.splitlines() if f"{path}, line 5: logging.level: 'LOUD' is not valid: " in line)
    assert all(valid in level for valid in ("DEBUG", "INFO", "WARNING", "ERROR"))
    assert "TTSW_AUDIO__LEAD_MS: audio.lead_ms: 'long' is not valid: must be a number" in text
    assert "flag redis.ulr: redis.ulr: unknown key; did you mean url? valid are: url, takeover" in text


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("worker: 5", "worker: 5 is not valid: must be a mapping, of name, grpc_host"),
        ("worker: [name]", "worker: ['name'] is not valid: must be a mapping"),
        ("engines: 5", "engines: 5 is not valid: must be a mapping"),
        ("engines: {piper: {threads: 0}}", "engines.piper.threads: 0 is not valid: must be 1 or more"),
        ("engines: {piper: {thread: 1}}", "engines.piper.thread: unknown key; did you mean threads?"),
        ("engines: {Piper: {threads: 1}}", "engines.Piper: 'Piper' is not valid: must be a family's name such as"),
        ("engines: {piper: {options: {speed: [1]}}}", "engines.piper.options.speed: [1] is not valid: must be a text"),
        ("worker: {grpc_port: '7002'}", "worker.grpc_port: '7002' is not valid: must be a whole number"),
        ("worker: {grpc_port: 70.5}", "worker.grpc_port: 70.5 is not valid: must be a whole number"),
        ("worker: {grpc_port: true}", "worker.grpc_port: True is not valid: must be a whole number"),
        ("worker: {grpc_port: -1}", "worker.grpc_port: -1 is not valid: must be 0 or more"),
        ("worker: {grpc_port: null}", "worker.grpc_port: None is not valid: must be a whole number"),
        ("worker: {name: 12}", "worker.name: 12 is not valid: must be a text: put it in quotes"),
        ("worker: {name: ''}", "worker.name: '' is not valid: must be a text without spaces"),
        (
            "worker: {session_idle_timeout_s: 0}",
            "worker.session_idle_timeout_s: 0 is not valid: must be greater than 0",
        ),
        ("worker: {drain_timeout_s: .inf}", "worker.drain_timeout_s: inf is not valid: must be a finite number"),
        ("worker: {tls_cert: 3}", "worker.tls_cert: 3 is not valid: must be a file's path"),
        ("worker: {capabilities: {languages: en}}", "worker.capabilities.languages: 'en' is not valid: must be a list"),
        ("worker: {capabilities: {languages: []}}", "languages: [] is not valid: must be a list of one or more"),
        (
            "worker: {capabilities: {languages: [no, en]}}",
            "worker.capabilities.languages[0]: False is not valid: must be a text: put it in quotes",
        ),
        (
            "worker: {capabilities: {languages: [English]}}",
            "worker.capabilities.languages[0]: 'English' is not valid: must be a language code",
        ),
        ("worker: {capabilities: {streaming: 1}}", "capabilities.streaming: 1 is not valid: must be true or false"),
        ("model_manager: {ttl_ms: .nan}", "model_manager.ttl_ms: nan is not valid: must be 0 or more"),
        ("audio: {output_sample_rate: 44100}", "audio.output_sample_rate: 44100 is not valid: must be 48000"),
        ("audio: {loudness_target_lufs: 3}", "audio.loudness_target_lufs: 3 is not valid: must be -5 or less"),
        ("audio: {lead_ms: 5}", "audio.lead_ms: 5 is not valid: must be 20 or more"),
        (
            "redis: {url: localhost}",
            "redis.url: 'localhost' is not valid: must be a redis://, rediss://, unix:// or",
        ),
        ("logging: {format: xml}", "logging.format: 'xml' is not valid: "),
        ("1: 2", "1: unknown section; valid are: worker, model_manager"),
        (
            "redis: {heartbeat_interval_seconds: 30}",
            "heartbeat_interval_seconds 30 must be less than registration_ttl_",
        ),
        ("model_manager: {resident_cap: 1, preload_model_ids: [a]}", "are 2, more than resident_cap 1"),
        ("model_manager: {warmup_text: ' '}", "warmup_text is blank: give a text, or warmup_enabled: false"),
    ],
)
def test_a_fault_says_file_and_line_and_key_and_what_is_valid(write, yaml, said):
    path = write("# a comment\n" + yaml)
    text = refusal(path)
    assert text.startswith(f"{path}, line 2: ")
    assert said in text


def test_a_long_value_is_shortened(write):
    assert len(refusal(write(f"logging: {{format: {'x' * 5000}}}"))) < 300


def test_a_number_where_another_layer_gives_keys_is_told_of_both(write):
    path = write("worker: 5")
    assert f"{path}, line 1 and TTSW_WORKER__NAME: worker: 5 is not valid" in refusal(path, {"TTSW_WORKER__NAME": "x"})
    text = refusal(None, {"WORKER_NAME": "x"}, {"worker.name.first": "x"})
    assert "WORKER_NAME and flag worker.name.first: worker.name: {'first': 'x'} is not valid: must be a text" in text
