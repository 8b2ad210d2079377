"""The configuration that the project began with is accepted as it was written."""

from ttsw.config import load_config

SEED = """\
worker:
  name: "tts-worker-0"
  grpc_host: "0.0.0.0"
  grpc_port: 7002
  capabilities:
    streaming: true
    zero_shot: true
    lora: false
    cpu_ok: false
    languages: ["en"]
    max_concurrent_sessions: 3

model_manager:
  default_model_id: "cosyvoice2-en-base"
  resident_cap: 3
  ttl_ms: 600000

audio:
  output_sample_rate: 48000
  frame_duration_ms: 20
  loudness_target_lufs: -16.0
  normalization_enabled: true

redis:
  url: "redis://localhost:6379"
  registration_ttl_seconds: 30
  heartbeat_interval_seconds: 10

logging:
  level: "INFO"
  format: "json"
  include_session_id: true
"""


def test_it_is_accepted_and_open_to_the_network_while_the_default_is_not(tmp_path):
    file = tmp_path / "worker.yaml"
    file.write_text(SEED, "utf-8")
    config = load_config(file, {}, {})
    assert (config.worker.grpc_host, config.worker.grpc_port) == ("0.0.0.0", 7002)
    assert config.worker.capabilities.max_concurrent_sessions == 3
    assert config.redis.url == "redis://localhost:6379"
    assert load_config(None, {}, {}).worker.grpc_host == "127.0.0.1"
