"""The Piper family: what of a text is spoken, what the options do, which packs are refused and why."""

import errno
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from piper.phoneme_ids import phonemes_to_ids
from structlog.testing import capture_logs

import ttsw
from tests.tiny_piper import tiny_config, tiny_pack
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.piper import adapter as piper
from ttsw.adapters.piper import stream as piper_stream
from ttsw.adapters.piper.adapter import PiperAdapter, join, split
from ttsw.errors import InvalidArgumentError, UnavailableError
from ttsw.options import parse_options
from ttsw.packs.reader import read_pack
from ttsw.testing import check_adapter

pytestmark = pytest.mark.slow

JOE = Path(ttsw.__file__).parents[1] / "voicepacks" / "piper" / "en-us-joe-medium"
TEXT = "The birch canoe slid on the smooth planks."


@pytest.fixture(scope="module")
def joe():
    adapter = PiperAdapter.load(read_pack(JOE), EngineSettings())
    yield adapter
    adapter.close()


@pytest.fixture
def tiny(tmp_path):
    return PiperAdapter.load(tiny_pack(tmp_path, speakers=3), EngineSettings())


def steps(adapter, text, **options):
    given = {name: str(value) for name, value in options.items()}
    return adapter.speak(text, parse_options(given, adapter.session_options()))


def speak(adapter, text, **options):
    return np.concatenate([np.empty(0, np.float32), *steps(adapter, text, **options)])


# --- what a voice does


async def test_a_tiny_voice_keeps_the_contract(tmp_path):
    await check_adapter(PiperAdapter.load(tiny_pack(tmp_path), EngineSettings()))


async def test_a_real_voice_keeps_the_contract():
    await check_adapter(PiperAdapter.load(read_pack(JOE), EngineSettings(concurrency=2)))


def test_concurrency_is_the_cores_unless_said(tmp_path, monkeypatch):
    monkeypatch.setattr(piper.os, "cpu_count", lambda: 8)
    pack = tiny_pack(tmp_path)
    for threads, concurrency, expected in ((None, None, 8), (2, None, 4), (16, None, 1), (2, 3, 3)):
        assert PiperAdapter.load(pack, EngineSettings(threads, concurrency)).concurrency == expected


def test_the_same_seed_gives_the_same_audio_also_step_by_step_beside_another(joe):
    alone = speak(joe, TEXT, seed=7)
    ours, theirs = steps(joe, TEXT, seed=7), steps(joe, "Somebody else speaks at the same time.", seed=8)
    mixed = []
    for chunk in ours:
        mixed.append(chunk)
        next(theirs, None)
    assert np.array_equal(np.concatenate(mixed), alone)


def test_another_seed_or_none_gives_other_audio(joe):
    same = [speak(joe, TEXT, seed=7), speak(joe, TEXT, seed=8), speak(joe, TEXT), speak(joe, TEXT)]
    for i, one in enumerate(same):
        for other in same[:i]:
            assert not np.array_equal(one, other)


def test_without_noise_chance_has_no_part(joe):
    one, other = (speak(joe, "No noise.", noise_scale=0, noise_w=0) for _ in range(2))
    assert np.array_equal(one, other)


def test_speed_divides_the_duration(joe):
    seconds = {speed: len(speak(joe, TEXT, noise_w=0, speed=speed)) / joe.sample_rate for speed in (0.5, 1, 1.5, 4)}
    assert seconds[1] / seconds[0.5] == pytest.approx(0.5, rel=0.15)
    assert seconds[1] / seconds[1.5] == pytest.approx(1.5, rel=0.15)
    assert seconds[4] < 0.6 * seconds[1]  # each phoneme keeps a frame, and so does each blank between two


def test_audio_is_neither_normalised_nor_clipped(joe):
    peaks = {round(float(np.abs(speak(joe, text, seed=1)).max()), 3) for text in (TEXT, "A much shorter one.")}
    assert len(peaks) == 2
    assert max(peaks) < 0.99


def test_an_utterance_that_is_left_half_way_leaves_nothing_behind(joe):
    chunks = steps(joe, TEXT, seed=7)
    first = next(chunks)
    chunks.close()
    assert next(chunks, None) is None
    assert np.array_equal(next(steps(joe, TEXT, seed=7)), first)


# --- text


@pytest.mark.parametrize("text", ["", " ", "...", "\u200b", "\u2014", "\n", "[[]]"])
def test_what_has_no_sound_yields_nothing(joe, text):
    assert list(steps(joe, text)) == []


@pytest.mark.parametrize("text", ["\N{GRINNING FACE}", "!?", "No.", "日本語", "a", "[[hello", "[[hɛloʊ]] you", "x\ny"])
def test_what_has_a_sound_speaks(joe, text):
    assert len(speak(joe, text)) > 0.1 * joe.sample_rate


def inferences(adapter, text):
    return ["".join(part) for part in adapter._phonemes(text)]


def test_abbreviations_do_not_split_a_segment(joe):
    (spoken,) = inferences(joe, "Dr. Smith went to St. Paul's.")
    assert spoken.count(".") == 1
    assert spoken.endswith("z.")
    assert "  " not in spoken
    (spoken,) = inferences(joe, "Really? Yes! I am.")
    assert [mark for mark in spoken if mark in ".?!"] == ["?", "!", "."]


def test_phonemes_that_are_not_closed_are_text(joe):
    assert inferences(joe, "[[hello world") == inferences(joe, "[hello world")
    assert inferences(joe, "[[bar]]") == ["bar"]


def test_a_segment_of_any_length_is_spoken_in_bounded_inferences(joe):
    parts = inferences(joe, "7" * 90 + " and " + "word " * 300)
    assert len(parts) > 2
    assert max(map(len, parts)) <= piper.MOST_PHONEMES


def test_split_loses_nothing():
    phonemes = list("abc defg " * 40 + "x" * 50)
    for most in range(1, 60):
        parts = list(split(phonemes, most))
        assert [phoneme for part in parts for phoneme in part] == phonemes
        assert max(map(len, parts)) <= most


def test_join_of_nothing():
    assert join([]) == join([[]]) == []


# --- speakers


def test_a_speaker_is_a_name_or_a_number(tiny):
    by_name = {name: speak(tiny, "abc", speaker=name, seed=1) for name in ("ann", "bob", "cyd")}
    assert np.array_equal(by_name["bob"], speak(tiny, "abc", speaker="1", seed=1))
    assert np.array_equal(by_name["ann"], speak(tiny, "abc", seed=1))
    assert not np.array_equal(by_name["ann"], by_name["bob"])
    with pytest.raises(InvalidArgumentError, match="one of: ann, bob, cyd, 0, 1, 2"):
        steps(tiny, "abc", speaker="dan")


def test_many_speakers_are_not_listed(tiny, monkeypatch):
    monkeypatch.setattr(piper, "MOST_CHOICES", 2)
    assert tiny.session_options()["speaker"].choices == ()
    with pytest.raises(InvalidArgumentError, match="speaker='dan' is not valid: the voice's 3 speakers are 0 to 2"):
        next(steps(tiny, "abc", speaker="dan"))


def test_a_voice_of_one_speaker_has_no_such_option(joe):
    assert set(joe.session_options()) == {"speed", "noise_scale", "noise_w", "seed"}
    with pytest.raises(InvalidArgumentError, match="unknown option 'speaker'"):
        steps(joe, "abc", speaker="1")


def test_a_voice_that_runs_whole_refuses_a_seed(tmp_path):
    pack = tiny_pack(tmp_path, ("z = Add(mean, n2)", "z = Sum(mean, n2)"))
    with capture_logs():
        adapter = PiperAdapter.load(pack, EngineSettings())
    assert len(list(steps(adapter, "abc"))) == 1
    with pytest.raises(InvalidArgumentError, match="unknown option 'seed'"):
        steps(adapter, "abc", seed=1)


# --- packs


def refusal(pack):
    with capture_logs(), pytest.raises(UnavailableError) as caught:
        PiperAdapter.load(pack, EngineSettings())
    return str(caught.value)


def test_a_rate_that_is_not_the_voices(tmp_path):
    said = refusal(replace(tiny_pack(tmp_path), sample_rate=22_050))
    assert "22050 Hz" in said
    assert "voice.onnx.json says 8000 Hz" in said


def test_files_that_are_missing_or_too_many(tmp_path):
    pack = tiny_pack(tmp_path)
    model, config = pack.files["voice.onnx"], pack.files["voice.onnx.json"]
    assert "this pack has none" in refusal(replace(pack, files={"voice.onnx.json": config}))
    assert "a.onnx, b.onnx" in refusal(replace(pack, files={"a.onnx": model, "b.onnx": model}))
    assert "neither voice.onnx.json nor config.json" in refusal(replace(pack, files={"voice.onnx": model}))
    PiperAdapter.load(replace(pack, files={"model.onnx": model, "config.json": config}), EngineSettings())


def test_a_graph_that_is_truncated_or_something_else(tmp_path):
    pack = tiny_pack(tmp_path)
    path = pack.files["voice.onnx"]
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a graph at all"):
        path.write_bytes(damaged)
        assert f"{path} is not the graph of a Piper voice" in refusal(pack)


@pytest.mark.parametrize(
    "content", ["{", "[]", "null", "{}", json.dumps(tiny_config() | {"phoneme_type": "runes"}), "\udcff"]
)
def test_a_configuration_that_is_none(tmp_path, content):
    pack = tiny_pack(tmp_path)
    pack.files["voice.onnx.json"].write_text(content, "utf-8", errors="surrogateescape")
    assert "voice.onnx.json is not the configuration of a Piper voice" in refusal(pack)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_speakers": 3}, "take input, input_lengths, scales, sid, but it takes input, input_lengths, scales"),
        ({"phoneme_id_map": {"a": [1]}}, "phoneme_id_map: it lacks"),
        ({"phoneme_type": "espeak", "espeak": {"voice": "klingon-qo'noS"}}, "(espeak) cannot be made here"),
    ],
)
def test_a_configuration_that_does_not_fit(tmp_path, change, says):
    pack = tiny_pack(tmp_path)
    pack.files["voice.onnx.json"].write_text(json.dumps(tiny_config() | change), "utf-8")
    assert says in refusal(pack)


# --- what the machine lacks, and what a voice lacks


def copying(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_temporary_folder_is_not_the_voice_s_fault(tmp_path, monkeypatch, number):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(piper_stream, "copyfileobj", copying(number))
    said = refusal(tiny_pack(tmp_path))
    assert f"the temporary folder {tmp_path} is full ({os.strerror(number)}): make room there for 0 MB, or set" in said
    assert "or set TMPDIR to a folder that has it" in said
    assert "damaged" not in said
    assert not [*tmp_path.glob("ttsw-*")]


def test_a_disk_that_is_really_full(tmp_path, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr(piper_stream, "copyfileobj", lambda *_: Path("/dev/full").write_bytes(b"x"))
    assert "is full (No space left on device)" in refusal(tiny_pack(tmp_path))


def test_no_temporary_folder_at_all_is_not_the_voice_s_fault(tmp_path, monkeypatch):
    def none(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(piper_stream, "TemporaryDirectory", none)
    said = refusal(tiny_pack(tmp_path))
    assert "cannot be written to (No usable temporary directory" in said
    assert "or set TMPDIR" in said


def test_a_temporary_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert f"the temporary folder {tmp_path / 'gone'} cannot be written to" in refusal(tiny_pack(tmp_path))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_a_file_that_the_machine_can_not_copy_is_not_damaged(tmp_path, monkeypatch, number):
    monkeypatch.setattr(piper_stream, "copyfileobj", copying(number))
    said = refusal(tiny_pack(tmp_path))
    assert f"cannot be copied to the temporary folder {tempfile.gettempdir()}: {os.strerror(number)}; " in said
    assert "damaged" not in said


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_what_onnx_runtime_can_not_open_is_neither_damaged_nor_run_whole(tmp_path, monkeypatch, number):
    def fail(*_, **__):
        raise RuntimeError(f"[ONNXRuntimeError] : 3 : NO_SUCHFILE : open file fail: {os.strerror(number)}")

    monkeypatch.setattr(piper_stream, "open_session", fail)
    with capture_logs() as logs, pytest.raises(UnavailableError, match=rf"{os.strerror(number)}; ") as caught:
        PiperAdapter.load(tiny_pack(tmp_path), EngineSettings())
    assert "damaged" not in str(caught.value)
    assert not logs


def test_a_phoneme_that_only_the_run_shows_to_be_beyond_the_table_is_found_at_load(tmp_path):
    hidden = ("rows = Gather(embedding, input)", "all = Abs(input)  rows = Gather(embedding, all)")
    pack = tiny_pack(tmp_path, hidden)
    path = pack.files["voice.onnx.json"]
    config = json.loads(path.read_text())
    config["phoneme_id_map"]["ŋ"] = [64]
    path.write_text(json.dumps(config))
    assert "idx=64" in refusal(pack)


def test_phonemes_that_a_voice_lacks_are_told_of_once(tmp_path):
    adapter = PiperAdapter.load(tiny_pack(tmp_path), EngineSettings())
    with capture_logs() as logs:
        whole = speak(adapter, "naïve ŋ café ŋŋŋ", noise_scale=0, noise_w=0)
        again = speak(adapter, "ŋ ŋ ŋ hello", noise_scale=0, noise_w=0)
    assert len(whole)
    assert len(again)
    assert [line["event"] for line in logs] == ["phonemes missing from voice"]
    assert "ŋ" in logs[0]["phonemes"]


@pytest.mark.parametrize(("kind", "extra"), [("pinyin", "zh"), ("japanese", "ja"), ("thai", "th")])
def test_a_kind_of_phonemes_names_the_libraries_that_it_lacks(tmp_path, monkeypatch, kind, extra):
    for name in ("chinese", "japanese", "thai"):
        monkeypatch.setitem(sys.modules, f"piper.phonemize_{name}", None)
    pack = tiny_pack(tmp_path)
    path = pack.files["voice.onnx.json"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"phoneme_type": kind}))
    said = refusal(pack)
    assert f"its phonemes ({kind}) cannot be made here, since piper.phonemize_" in said
    assert f"{sys.executable} -m pip install 'piper-tts[{extra}]'" in said


def test_a_phonemizer_that_the_machine_keeps_from_its_files_is_not_the_voice_s_fault(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(piper.PiperVoice, "phonemize", fail)
    assert "cannot be made here: Too many open files; raise" in refusal(tiny_pack(tmp_path))


def test_pinyin_that_a_voice_lacks_is_told_of_once_too(tmp_path, monkeypatch, caplog):
    chinese = ModuleType("piper.phonemize_chinese")
    chinese.ChinesePhonemizer = lambda _: SimpleNamespace(phonemize=lambda text: [list(text)])
    chinese.phonemes_to_ids = phonemes_to_ids
    monkeypatch.setitem(sys.modules, "piper.phonemize_chinese", chinese)
    pack = tiny_pack(tmp_path)
    path = pack.files["voice.onnx.json"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"phoneme_type": "pinyin"}))
    adapter = PiperAdapter.load(pack, EngineSettings())
    with capture_logs() as logs:
        assert len(speak(adapter, "ŋabŋcŋ"))
        assert len(speak(adapter, "ŋŋ hello"))
    assert [line["event"] for line in logs] == ["phonemes missing from voice"]
    assert not caplog.records, "the library logs each"
