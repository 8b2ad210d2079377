"""Which variables set what, and what one that sets nothing is told."""

import pytest

from ttsw.config import Config, load_config
from ttsw.config.environment import key_of, variable_of
from ttsw.errors import ConfigError


def load(**environ):
    return load_config(None, environ, {})


def test_short_names():
    assert load(WORKER_NAME="alto").worker.name == "alto"
    assert load(LOG_LEVEL="debug").logging.level == "DEBUG"


def test_the_long_name_wins_over_the_short():
    assert load(WORKER_NAME="short", TTSW_WORKER__NAME="long").worker.name == "long"


def test_an_empty_short_name_is_unset():
    assert load(WORKER_NAME="", LOG_LEVEL="") == Config()


def test_names_without_two_underscores_are_left_alone():
    assert load(TTSW_HOME="x", TTSW_="y", OTHER__NAME="z", ttsw_worker__name="w") == Config()


def test_deep_keys_and_families_with_hyphens():
    config = load(
        TTSW_WORKER__CAPABILITIES__MAX_CONCURRENT_SESSIONS="8",
        TTSW_ENGINES__XTTS_V2__THREADS="4",
        TTSW_ENGINES__XTTS_V2__OPTIONS__TOP_K="50",
    )
    assert config.worker.capabilities.max_concurrent_sessions == 8
    assert config.engine("xtts-v2").threads == 4
    assert config.engine("xtts-v2").options == {"top_k": "50"}


@pytest.mark.parametrize("text", ["en,de", "en, de", "[en, de]", '["en", "de"]', " 'en','de', "])
def test_lists_as_commas_or_brackets(text):
    assert load(TTSW_WORKER__CAPABILITIES__LANGUAGES=text).worker.capabilities.languages == ("en", "de")


def test_an_empty_list():
    assert (
        load(TTSW_MODEL_MANAGER__PRELOAD_MODEL_IDS="[]") == load(TTSW_MODEL_MANAGER__PRELOAD_MODEL_IDS="") == Config()
    )


@pytest.mark.parametrize(("text", "value"), [("true", True), ("Yes", True), ("1", True), ("off", False), ("0", False)])
def test_booleans(text, value):
    assert load(TTSW_AUDIO__NORMALIZATION_ENABLED=text).audio.normalization_enabled is value


@pytest.mark.parametrize("text", ["", "null", "~"])
def test_null(text):
    assert load(TTSW_REDIS__URL=text).redis.url is None


def test_numbers_and_texts():
    config = load(TTSW_MODEL_MANAGER__TTL_MS="inf", TTSW_AUDIO__LEAD_MS="60", TTSW_WORKER__NAME="007")
    assert (config.model_manager.ttl_ms, config.audio.lead_ms, config.worker.name) == (float("inf"), 60.0, "007")
    assert load(TTSW_AUDIO__OUTPUT_SAMPLE_RATE="48000") == Config()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "TTSW_WORKER__NMAE",
            "x",
            "did you mean TTSW_WORKER__NAME? valid are: TTSW_WORKER__NAME, TTSW_WORKER__GRPC_HOST",
        ),
        ("TTSW_WORKR__NAME", "x", "did you mean TTSW_WORKER__…? valid are: TTSW_WORKER__…, TTSW_MODEL_MANAGER__…"),
        ("TTSW__WORKER__NAME", "x", "did you mean TTSW_WORKER__…?"),
        ("TTSW_WORKER__", "x", "unknown key; valid are: TTSW_WORKER__NAME"),
        ("TTSW_ENGINES__PIPER__THREAD", "1", "did you mean TTSW_ENGINES__PIPER__THREADS?"),
        ("TTSW_WORKER__CAPABILITIES__STREAM", "1", "did you mean TTSW_WORKER__CAPABILITIES__STREAMING?"),
        ("TTSW_WORKER__GRPC_PORT", "7_x", "worker.grpc_port: '7_x' is not valid: must be a whole number"),
        ("TTSW_WORKER__GRPC_PORT", "", "worker.grpc_port: '' is not valid: must be a whole number"),
        ("TTSW_AUDIO__NORMALIZATION_ENABLED", "maybe", "'maybe' is not valid: must be true or false"),
        ("TTSW_AUDIO__LEAD_MS", "nan", "audio.lead_ms: nan is not valid"),
        ("TTSW_AUDIO__FRAME_DURATION_MS", "10", "audio.frame_duration_ms: 10 is not valid: must be 20"),
        ("TTSW_WORKER__CAPABILITIES__LANGUAGES", "en,x", "worker.capabilities.languages[1]: 'x' is not valid"),
        ("LOG_LEVEL", "loud", "logging.level: 'LOUD' is not valid: "),
        ("WORKER_NAME", "a b", "worker.name: 'a b' is not valid: must be a text without spaces"),
    ],
)
def test_a_fault_names_the_variable(name, text, said):
    with pytest.raises(ConfigError) as caught:
        load(**{name: text})
    assert str(caught.value).startswith(f"{name}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "key", [("worker", "name"), ("worker", "capabilities", "lora"), ("engines", "xtts-v2", "threads")]
)
def test_a_variable_names_its_key(key):
    assert key_of(variable_of(key)) == key
