"""A Piper voice's files: the variants that there are, what cannot be meant, and a graph of another voice."""

import errno
import json
import os
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("piper", reason="it comes with the extra `piper`, which is not installed")

import onnx
from piper import PiperConfig

from tests.tiny_piper import tiny_config, tiny_model, tiny_pack
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.piper.adapter import PiperAdapter
from ttsw.errors import InvalidArgumentError, OutOfMemoryError, UnavailableError
from ttsw.formats.json_file import MOST_BYTES
from ttsw.formats.piper_files import read_config, read_voice
from ttsw.packs.install.piper import PiperVoice, describe_voice

pytestmark = pytest.mark.slow

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
        (lambda config: config["phoneme_id_map"].update(a=5, b="6", c=["7"], d=[8.0], e=None), 1),
        (lambda config: config.update(num_speakers="3", speaker_id_map=None), 3),
        (lambda config: config["audio"].update(sample_rate=8000.0, quality=None), 1),
        (lambda config: config["audio"].update(sample_rate=" 8000.0 "), 1),
        (lambda config: config.update(phoneme_type="TEXT", default_speaker_id=None, vowel_clusters=None), 1),
        (lambda config: config.update(language={"family": None}, inference={"noise_w": None}), 1),
        (lambda config: config.update(num_symbols="many", hop_length=[], piper_version=7, anything=[None]), 1),
    ],
)
def test_variants_of_other_exporters_are_read_and_load(tmp_path, change, speakers):
    pack = tiny_pack(tmp_path, speakers=speakers)
    path = pack.files["voice.onnx.json"]
    config = json.loads(path.read_text())
    change(config)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(config).encode())
    read = read_voice(path, pack.files["voice.onnx"])
    assert read.speakers == speakers
    assert PiperConfig.from_dict(read.to_piper()).num_speakers == speakers
    assert "family: piper" in describe_voice(PiperVoice(pack.files["voice.onnx"], path), "x", {}, "MIT")
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
        (lambda config: config["phoneme_id_map"].update(a=[True]), r"phoneme_id_map\.a\.0: "),
        (lambda config: config["phoneme_id_map"].update(a=[2**31]), r"phoneme_id_map\.a\.0: "),
        (lambda config: config["phoneme_id_map"].pop("^"), r"phoneme_id_map: it lacks '\^'"),
        (lambda config: config["phoneme_id_map"].update({"_": []}), "phoneme_id_map: it lacks '_'"),
        (lambda config: config["audio"].update(sample_rate="\uff18000"), r"audio\.sample_rate: .*whole number"),
        (lambda config: config["audio"].update(sample_rate="8000.5"), r"audio\.sample_rate: .*whole number"),
        (lambda config: config["audio"].update(sample_rate=True), r"audio\.sample_rate: .*whole number"),
        (lambda config: config.update(phoneme_type="runes"), "phoneme_type: .*'pinyin'"),
        (lambda config: config.update(phoneme_type="espeak", espeak=None), r"espeak\.voice: it is missing"),
        (lambda config: config.update(vowel_clusters=3), "vowel_clusters: "),
        (lambda config: config.update(num_speakers=10**9), "num_speakers: "),
        (lambda config: config.update(inference={"noise_w": 50}), r"inference\.noise_w: "),
        (lambda config: config.update(inference={"length_scale": float("inf")}), r"inference\.length_scale: "),
        (lambda config: config.update(speaker_id_map={"ann": 7}), "'ann' is none of the 1 speakers"),
        (lambda config: config.update(default_speaker_id=3), "default_speaker_id: there are 1 speakers"),
        (lambda config: config.update(inference={"length_scale": 0}), r"inference\.length_scale: "),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(write, change, fault):
    with pytest.raises(InvalidArgumentError, match=rf"is not the configuration of a Piper voice: .*{fault}"):
        read_config(write(change))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"nope", b"\xff\xfe", b"[" * 100_000, b"null", b" " * (MOST_BYTES + 1), b"9" * 5_000]
)
def test_what_is_no_configuration(tmp_path, data):
    path = tmp_path / "voice.onnx.json"
    path.write_bytes(data)
    with pytest.raises(InvalidArgumentError, match="is not the configuration of a Piper voice"):
        read_config(path)


@pytest.mark.parametrize("file", ["voice.onnx", "voice.onnx.json"])
@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EMFILE, "raise this process's limit of open files"),
        (errno.EACCES, "let the user that this runs as read it"),
        (errno.EIO, "see the system's log"),
        (errno.ENOENT, "No such file"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_what_the_system_refuses_is_not_the_files_fault(tmp_path, monkeypatch, file, number, says):
    pack = tiny_pack(tmp_path)
    real, kind = Path.open, OutOfMemoryError if number == errno.ENOMEM else UnavailableError

    def fail(path, *args, **kwargs):
        if path.name == file:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", fail)
    for read in (read_voice, lambda *_: PiperAdapter.load(pack, EngineSettings())):
        with pytest.raises(kind, match=rf"{file} cannot be read: .*{says}") as caught:
            read(pack.files["voice.onnx.json"], pack.files["voice.onnx"])
        assert "damaged" not in str(caught.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
places = [(name,) for name in tiny_config(3)] + [
    (section, key)
    for section in ("audio", "espeak", "inference", "phoneme_id_map", "speaker_id_map")
    for key in [*tiny_config(3)[section]][:4]
]
odd = st.sampled_from([
    -1,
    0,
    2**31,
    2**70,
    1e308,
    float("nan"),
    True,
    "²",
    "\uff11\uff12",
    "8000",
    " 3",
    "\ud800",
    [[]],
    {},
    None,
])


@given(
    speakers=st.sampled_from([1, 3]),
    changes=st.lists(st.tuples(st.sampled_from(places), anything | odd), min_size=1, max_size=3),
    dropped=st.lists(st.sampled_from(places), max_size=2),
)
def test_whatever_it_says_it_is_spoken_with_or_refused(tmp_path_factory, speakers, changes, dropped):
    config = deepcopy(tiny_config(speakers))
    for place, value in [*changes, *((place, ...) for place in dropped)]:
        *outer, last = place
        inside = config.get(outer[0]) if outer else config
        if not isinstance(inside, dict):
            continue
        if value is ...:
            inside.pop(last, None)
        else:
            inside[last] = value
    folder = tmp_path_factory.getbasetemp()
    path, model = folder / "fuzzed.onnx.json", folder / f"fuzzed-{speakers}.onnx"
    path.write_text(json.dumps(config))
    if not model.exists():
        onnx.save(tiny_model(speakers=speakers), model)
    try:
        read = read_voice(path, model)
    except InvalidArgumentError as error:
        said = str(error)
    else:
        said = ""
    assert len(said.encode()) < 3_000
    if said:
        return
    voice = PiperConfig.from_dict(read.to_piper())
    assert max(number for ids in voice.phoneme_id_map.values() for number in ids) < ROWS
    assert 1 <= voice.num_speakers <= speakers
    assert isinstance(voice.sample_rate, int)


@given(anything)
def test_what_is_no_configuration_at_all_is_refused(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "anything.onnx.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InvalidArgumentError, match="is not the configuration of a Piper voice"):
        read_config(path)


# --- the graph


@pytest.mark.parametrize("number", [ROWS, 1_000_000])
def test_a_phoneme_beyond_the_graph_s_table_is_found_when_the_voice_is_read(tmp_path, number):
    pack = tiny_pack(tmp_path)
    path = pack.files["voice.onnx.json"]
    config = json.loads(path.read_text())
    config["phoneme_id_map"]["ŋ"] = [3, number]
    path.write_text(json.dumps(config))
    refused(pack, "are not of the same voice: it knows 64 phonemes, and 'ŋ' have numbers of 64 or more")


@pytest.mark.parametrize(
    ("told", "speakers", "says"),
    [
        ({"num_speakers": 4}, 3, "it knows 3 speakers, and the configuration has 4"),
        ({"num_speakers": None, "speaker_id_map": {"ann": 0, "eve": 8}}, 3, "it knows 3 speakers, .* has 9"),
        (
            {"num_speakers": 1, "speaker_id_map": {}},
            3,
            "it should take input, input_lengths, scales, but it takes .*sid",
        ),
        ({"num_speakers": 3}, 1, "it should take input, input_lengths, scales, sid, but"),
    ],
)
def test_a_speaker_beyond_the_graph_s_table_is_found_too(tmp_path, told, speakers, says):
    pack = tiny_pack(tmp_path, speakers=speakers)
    path = pack.files["voice.onnx.json"]
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    refused(pack, says)


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"not a graph at all"]
)
def test_a_graph_that_is_none_is_not_added(tmp_path, damage):
    pack = tiny_pack(tmp_path)
    model = pack.files["voice.onnx"]
    model.write_bytes(damage(model.read_bytes()))
    refused(pack, "is not the graph of a Piper voice, or it is damaged")


def refused(pack, says):
    """What adding a voice refuses, loading it refuses in the same words."""
    model, config = pack.files["voice.onnx"], pack.files["voice.onnx.json"]
    with pytest.raises(InvalidArgumentError, match=says) as adding:
        describe_voice(PiperVoice(model, config), "x", {}, "MIT")
    with pytest.raises(UnavailableError, match=says) as loading:
        PiperAdapter.load(pack, EngineSettings())
    assert str(adding.value) == str(loading.value)
