"""A Piper voice's files: the variants that there are, what cannot be meant, and ids beyond the graph's table."""

import json

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from piper import PiperConfig

from tests.tiny_piper import tiny_config, tiny_model, tiny_pack
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.piper import PiperAdapter
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.piper_files import check_phonemes, embedding_rows, read_config

ROWS = 64


@pytest.fixture
def write(tmp_path):
    def write(change=lambda config: None, *, prefix=b"", speakers=1):
        config = tiny_config(speakers)
        change(config)
        path = tmp_path / "voice.onnx.json"
        path.write_bytes(prefix + json.dumps(config).encode())
        return path

    return write


@pytest.mark.parametrize(
    ("change", "speakers"),
    [
        (lambda config: config.update(phoneme_type="PhonemeType.TEXT"), 1),
        (lambda config: config.update(speaker_id_map=None), 1),
        (lambda config: config.pop("speaker_id_map"), 1),
        (lambda config: config["audio"].update(sample_rate="8000"), 1),
        (lambda config: config.pop("num_speakers"), 1),
        (lambda config: config.pop("num_speakers"), 3),
        (lambda config: config.update(num_speakers=None), 3),
        (lambda config: config.pop("num_symbols"), 1),
        (lambda config: config.update(inference=None, espeak=None, language=None), 1),
        (lambda config: config.pop("espeak"), 1),
        (lambda config: config["phoneme_id_map"].update(a=5), 1),
    ],
)
def test_variants_of_other_exporters_are_read_and_load(tmp_path, change, speakers):
    pack = tiny_pack(tmp_path, speakers=speakers)
    path = pack.files["voice.onnx.json"]
    config = json.loads(path.read_text())
    change(config)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(config).encode())
    read, told = read_config(path)
    assert read.speakers == speakers
    assert PiperConfig.from_dict(read.to_piper(told)).num_speakers == speakers
    adapter = PiperAdapter.load(pack, EngineSettings())
    assert sum(len(chunk) for chunk in adapter.speak("hello", {"speed": 1.0})) > 0
    adapter.close()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda config: config["audio"].update(sample_rate="fast"), r"audio\.sample_rate: "),
        (lambda config: config["audio"].update(sample_rate=22050.5), r"audio\.sample_rate: "),
        (lambda config: config.update(audio=None), "audio: "),
        (lambda config: config.pop("phoneme_id_map"), "phoneme_id_map: "),
        (lambda config: config["phoneme_id_map"].update(a=[-1]), r"phoneme_id_map\.a\.0: "),
        (lambda config: config["phoneme_id_map"].pop("^"), r"phoneme_id_map: it lacks '\^'"),
        (lambda config: config.update(speaker_id_map={"ann": 7}), "'ann' is none of the 1 speakers"),
        (lambda config: config.update(default_speaker_id=3), "default_speaker_id: there are 1 speakers"),
        (lambda config: config.update(inference={"length_scale": 0}), r"inference\.length_scale: "),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(write, change, fault):
    with pytest.raises(InvalidArgumentError, match=rf"is not the configuration of a Piper voice: .*{fault}"):
        read_config(write(change))


@pytest.mark.parametrize("data", [b"", b"[]", b"nope", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_what_is_no_configuration(tmp_path, data):
    path = tmp_path / "voice.onnx.json"
    path.write_bytes(data)
    with pytest.raises(InvalidArgumentError, match="is not the configuration of a Piper voice"):
        read_config(path)
    with pytest.raises(InvalidArgumentError, match=r"none\.json cannot be read: No such file"):
        read_config(tmp_path / "none.json")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
configs = st.fixed_dictionaries({name: st.just(value) | anything for name, value in tiny_config(3).items()})


@given(configs | anything)
def test_whatever_it_says_it_is_read_for_piper_or_refused(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "fuzzed.onnx.json"
    path.write_text(json.dumps(value))
    try:
        config, told = read_config(path)
    except InvalidArgumentError:
        return
    PiperConfig.from_dict(config.to_piper(told))


# --- the graph


def test_a_graph_says_how_many_phonemes_it_knows(tmp_path):
    path = tmp_path / "voice.onnx"
    onnx.save(tiny_model(), path)
    assert embedding_rows(path) == ROWS
    data = path.read_bytes()
    for cut in range(0, len(data), 97):
        path.write_bytes(data[:cut] or b"\x00")
        assert embedding_rows(path) in {None, ROWS}


@given(st.binary(min_size=1, max_size=80))
def test_whatever_a_graph_s_file_holds(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    path.write_bytes(data)
    assert embedding_rows(path) is None or embedding_rows(path) >= 0


@pytest.mark.parametrize("number", [ROWS, 1_000_000])
def test_a_phoneme_beyond_the_graph_s_table_is_found_when_the_voice_is_read(tmp_path, number):
    pack = tiny_pack(tmp_path)
    path = pack.files["voice.onnx.json"]
    config = json.loads(path.read_text())
    config["phoneme_id_map"]["ŋ"] = [3, number]
    path.write_text(json.dumps(config))
    with pytest.raises(InvalidArgumentError, match=r"knows 64 phonemes, .* 'ŋ' have numbers of 64 or more"):
        check_phonemes(read_config(path)[0], pack.files["voice.onnx"])
    with pytest.raises(UnavailableError, match="different voices"):
        PiperAdapter.load(pack, EngineSettings())
