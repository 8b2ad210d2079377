"""The hibari family: what of a text is spoken, how much silence is kept, what options do, which packs are refused."""

import errno
import json
import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ttsw
from ttsw.adapters.base import EngineSettings
from ttsw.errors import InvalidArgumentError, OutOfMemoryError, UnavailableError
from ttsw.options import parse_options
from ttsw.packs.reader import read_pack
from ttsw.testing import check_adapter

pytest.importorskip("hibari", reason="the voice comes with the extra `hibari`, which is not installed")

from hibari.g2p import G2P

from ttsw.adapters.hibari import adapter as hibari
from ttsw.adapters.hibari import english as hibari_english
from ttsw.adapters.hibari.adapter import HibariAdapter, audible, pause_after, split
from ttsw.adapters.hibari.english import Table
from ttsw.adapters.memory import is_out_of_memory, telling_memory

pytestmark = pytest.mark.slow

HEART = Path(ttsw.__file__).parents[1] / "voicepacks" / "hibari" / "heart"
TEXT = "The birch canoe slid on the smooth planks."
LONG = (
    "When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow, which is a division of "
    "white light into many beautiful colours that take the shape of a long round arch, with its path high above, and "
    "its two ends apparently beyond the horizon."
)


@pytest.fixture(scope="module")
def heart():
    adapter = HibariAdapter.load(read_pack(HEART), EngineSettings())
    yield adapter
    adapter.close()


@pytest.fixture
def pack(tmp_path):
    """The voice with files of its own, to damage."""
    pack = read_pack(HEART)
    files = {role: tmp_path / role for role in pack.files}
    for role, path in pack.files.items():
        files[role].write_bytes(path.read_bytes())
    return replace(pack, root=tmp_path, files=files)


def steps(adapter, text, **options):
    given = {name: str(value) for name, value in options.items()}
    return adapter.speak(text, parse_options(given, adapter.session_options()))


def speak(adapter, text, **options):
    return np.concatenate([np.empty(0, np.float32), *steps(adapter, text, **options)])


def seconds(adapter, text, **options):
    return len(speak(adapter, text, **options)) / adapter.sample_rate


# --- what the voice does


async def test_the_voice_keeps_the_contract():
    await check_adapter(HibariAdapter.load(read_pack(HEART), EngineSettings(concurrency=2)))


def test_threads_and_concurrency_are_as_said(pack, monkeypatch):
    monkeypatch.setattr(hibari.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(hibari, "EnglishReader", lambda **_: Spelling())
    for threads, concurrency, expected in ((None, None, 8), (2, None, 4), (16, None, 1), (2, 3, 3)):
        adapter = HibariAdapter.load(pack, EngineSettings(threads, concurrency))
        assert adapter.concurrency == expected
        assert adapter._graph.get_session_options().intra_op_num_threads == (threads or 1)


def test_the_same_seed_gives_the_same_audio_also_step_by_step_beside_another(heart):
    alone = speak(heart, TEXT, seed=7)
    ours, theirs = steps(heart, TEXT, seed=7), steps(heart, "Somebody else speaks at the same time.", seed=8)
    mixed = []
    for chunk in ours:
        mixed.append(chunk)
        next(theirs, None)
    assert np.array_equal(np.concatenate(mixed), alone)


def test_the_same_seed_gives_the_same_audio_also_in_threads_beside_others(heart):
    texts = [f"This is number {number}, xyzzyq." for number in range(4)]
    alone = [speak(heart, text, seed=7) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda text: speak(heart, text, seed=7), texts * 3))
    for one, other in zip(beside, alone * 3, strict=True):
        assert np.array_equal(one, other)


def test_another_seed_or_none_gives_another_noise_far_below_the_speech(heart):
    spoken = [speak(heart, TEXT, seed=7), speak(heart, TEXT, seed=8), speak(heart, TEXT), speak(heart, TEXT)]
    for i, one in enumerate(spoken):
        for other in spoken[:i]:
            assert 0 < np.std(one - other) < 0.01 * np.std(one)


def test_the_segments_of_an_utterance_do_not_share_their_noise(heart, monkeypatch):
    seen = []
    monkeypatch.setattr(heart, "_infer", lambda *given: seen.append(given[2].random()) or np.empty(0, np.float32))
    for text in ("One.", "Two."):
        speak(heart, text, seed=7)
    assert seen[0] != seen[1]


def test_speed_divides_the_duration(heart):
    own = seconds(heart, TEXT)
    for speed in (0.5, 0.75, 1.25, 1.5, 2):
        assert own / seconds(heart, TEXT, speed=speed) == pytest.approx(speed, rel=0.15)
    for speed in (0.4, 2.1):
        with pytest.raises(InvalidArgumentError, match=r"a number from 0\.5 to 2"):
            steps(heart, TEXT, speed=speed)


def test_it_has_no_options_but_these(heart):
    assert set(heart.session_options()) == {"speed", "seed"}


def test_audio_is_neither_normalised_nor_clipped(heart):
    peaks = {round(float(np.abs(speak(heart, text, seed=1)).max()), 3) for text in (TEXT, "A much shorter one.")}
    assert len(peaks) == 2
    assert max(peaks) < 0.99


def test_audio_comes_second_by_second(heart):
    sizes = [len(chunk) for chunk in steps(heart, TEXT)]
    assert set(sizes[:-1]) == {heart.sample_rate}
    assert 0 < sizes[-1] <= heart.sample_rate


def test_an_utterance_that_is_left_half_way_leaves_nothing_behind(heart):
    chunks = steps(heart, TEXT, seed=7)
    first = next(chunks)
    chunks.close()
    assert next(chunks, None) is None
    assert np.array_equal(next(steps(heart, TEXT, seed=7)), first)


# --- silence


def quiet(audio, rate):
    """Seconds before the first and after the last 10 ms that are at most 40 dB below the whole."""
    size = rate // 100
    levels = np.sqrt(np.mean(audio[: len(audio) // size * size].reshape(-1, size) ** 2, axis=1))
    heard = np.flatnonzero(levels > 0.01 * np.sqrt(np.mean(audio**2)))
    return heard[0] / 100, (len(levels) - 1 - heard[-1]) / 100


@pytest.mark.parametrize(
    ("end", "low", "high"), [(".", 0.25, 0.45), ("?", 0.25, 0.45), (",", 0.1, 0.3), (";", 0.1, 0.3), ("", 0, 0.2)]
)
def test_little_silence_is_kept(heart, end, low, high):
    for text in ("The birch canoe slid on the smooth planks", "It's easy to tell the depth of a well", "Hats off"):
        before, after = quiet(speak(heart, text + end, seed=1), heart.sample_rate)
        assert before <= 0.12
        assert low <= after <= high


def test_what_is_left_out_is_silent(heart, monkeypatch):
    for text in ("Hush!", "Fish.", "Tests,", "Puff, puff", "Huh", TEXT):
        kept = len(speak(heart, text, seed=1))
        with monkeypatch.context() as whole:
            whole.setattr(hibari, "QUIET", -np.inf)
            whole.setattr(hibari, "LEAD_S", 10)
            audio = speak(heart, text, seed=1)
        sound = np.sqrt(np.mean(audio**2))
        windows = np.sqrt(np.mean(np.lib.stride_tricks.sliding_window_view(audio, 240) ** 2, axis=-1))
        loud = np.flatnonzero(windows > 0.01 * sound)
        assert loud[-1] - loud[0] < kept < len(audio)


def test_audible_frames():
    frames = np.full(400, hibari.QUIET - 1, np.float32)
    pitch = np.zeros(400, np.float32)
    assert audible(frames, pitch, 0.1) == slice(0)
    pitch[100:200] = 200
    assert audible(frames, pitch, 0.1) == slice(96, 208)
    frames[90] = frames[210] = hibari.QUIET + 1
    assert audible(frames, pitch, 0.05) == slice(86, 215)
    frames[1] = hibari.QUIET + 1
    assert audible(frames, pitch, 0.05).start == 0


def test_what_is_nowhere_audible_is_not_spoken(heart, monkeypatch):
    monkeypatch.setattr(hibari, "QUIET", np.inf)
    monkeypatch.setattr(hibari, "VOICED_HZ", np.inf)
    assert list(steps(heart, TEXT)) == []


def test_a_pause_follows_the_last_mark_whatever_closes_after_it():
    marked = {'jɛs."': 0.3, "jɛs?”)": 0.3, "jɛs…": 0.3, "jɛs, ": 0.15, "jɛs—": 0.15, "jɛs": 0.05, '"': 0.05, "": 0.05}
    assert {phonemes: pause_after(phonemes) for phonemes in marked} == marked


# --- text


@pytest.mark.parametrize(
    "text", ["", " ", "...", "\u200b", "\u2014", "\n", "!?", '"', "€", "\N{GRINNING FACE}", "日本語"]
)
def test_what_has_no_sound_yields_nothing(heart, text):
    assert list(steps(heart, text)) == []


@pytest.mark.parametrize("text", ["No.", "a", "x\ny", "5 %", "Zürich", "Привет", "①a", "\x00a", "\ud800a", "&"])
def test_what_has_a_sound_speaks(heart, text):
    assert 0.1 < seconds(heart, text) < 3


def test_phonemes_may_be_given(heart):
    assert heart._reader.read("[hibari](/hibari/)") == "hibari"


@pytest.mark.parametrize(
    "text", ["7" * 90 + " and " + "word " * 300, "a/" * 125, "1-" * 125, "x" * 600, "(" * 600, LONG]
)
def test_a_segment_of_any_length_is_spoken_in_bounded_inferences(heart, monkeypatch, text):
    seen = []
    monkeypatch.setattr(heart, "_infer", lambda *given: seen.append(given[0]) or np.empty(0, np.float32))
    speak(heart, text)
    assert max(map(len, seen), default=0) <= hibari.MOST_PHONEMES
    assert len(seen) > 1 or "(" in text


def test_a_cut_makes_a_pause_and_nothing_else(heart):
    parts = list(split(heart._reader.read(LONG), hibari.MOST_PHONEMES))
    assert len(parts) == 2
    assert parts[0].endswith(",")
    assert " ".join(parts) == heart._reader.read(LONG)


def test_split_loses_nothing_but_spaces():
    phonemes = "abc defg, " * 40 + "x" * 50
    for most in range(1, 60):
        parts = list(split(phonemes, most))
        assert "".join(parts).replace(" ", "") == phonemes.replace(" ", "")
        assert max(map(len, parts)) <= most
    assert list(split("", 5)) == [""]


class Spelling:
    """A reader without tables."""

    @staticmethod
    def read(text):
        return text


@pytest.fixture(scope="module")
def library():
    return G2P()


def test_the_reader_reads_as_the_library_does(heart, library):
    for text in (TEXT, LONG, "Dr. Smith paid $4.50 at 3:30 p.m., didn't he?", "He read the live record to Xyzzyq."):
        assert heart._reader.read(text) == library(text)


@pytest.mark.parametrize("text", ["①a", "1" * 40, "I)①#—º@#"])
def test_the_reader_reads_on_where_the_library_fails(heart, library, text):
    with pytest.raises((ValueError, IndexError)):
        library(text)
    before, *read, after = heart._reader.read(f"before {text} after").split()
    assert (before, after) == (library("before"), library("after"))
    assert library("one") in read


def test_the_reader_reads_the_whole_of_a_long_word(heart, library):
    assert "ʃæft" not in library("Donaudampfschifffahrtsgesellschaft")
    assert heart._reader.read("Donaudampfschifffahrtsgesellschaft").endswith("ʃæft")
    longest = "pneumonoultramicroscopicsilicovolcanoconiosis"
    assert len(longest) == hibari_english.LONGEST_WORD
    assert heart._reader.read(longest) == library(longest)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(text=st.text(st.one_of(st.characters(), st.sampled_from("aB1'.,-$%/ ①²[]()")), max_size=40))
def test_the_reader_fails_at_nothing(heart, text):
    heart._reader.read(text)


def test_a_british_pack_is_read_as_british_english(heart):
    adapter = HibariAdapter.load(replace(read_pack(HEART), languages=("en-GB",)), EngineSettings())
    assert adapter._reader.read("Hello, bath.") == G2P(british=True)("Hello, bath.")
    assert adapter._reader.read("Hello, bath.") != heart._reader.read("Hello, bath.")
    assert seconds(adapter, "Hello, bath. xyzzyq") > 0.5
    adapter.close()


@pytest.mark.parametrize("name", ["lexicon_us_gold.json.gz", "lexicon_gb_silver.json.gz"])
def test_a_table_has_what_its_text_has(name):
    text = hibari_english._asset(name)
    everything = json.loads(text)
    table = Table(text)
    assert len(table._starts) == len(everything)
    for key in list(everything)[::50]:
        assert table.get(key) == everything[key]
    for key in ("", "no such word", '"', "\\", "\ud800", "zzzzzz"):
        assert table.get(key) == everything.get(key)


def test_a_table_keeps_odd_keys_and_values():
    entries = {'"': "a", "\\": 'b"', "é": {"NN": 1.5, '"': -2}, "": "empty", "n": "\n", "same": "é"}
    table = Table(json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode())
    assert {key: table.get(key) for key in entries} == entries
    assert Table(b"{}").get("any") is None


# --- memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : … Status Message: std::bad_alloc"),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : … Failed to allocate memory for requested buffer of size 64"),
    ],
)
def test_a_lack_of_memory_is_told_from_other_faults(error):
    assert is_out_of_memory(error)
    with pytest.raises(OutOfMemoryError, match="no memory is left for this"), telling_memory("for this"):
        raise error
    with pytest.raises(ValueError, match="other"), telling_memory("for this"):
        raise ValueError("other")


class Fails:
    """Fails at whatever it is asked for."""

    def __init__(self, error):
        self.error = error

    def __call__(self, *_args, **_kwargs):
        raise self.error

    run = read = __call__


@pytest.mark.parametrize("part", ["_graph", "_reader"])
def test_a_segment_that_gets_no_memory_says_so_and_the_next_is_spoken(heart, monkeypatch, part):
    with monkeypatch.context() as full:
        full.setattr(heart, part, Fails(RuntimeError("std::bad_alloc")))
        with pytest.raises(OutOfMemoryError, match="to speak 42 characters"):
            speak(heart, TEXT)
    assert seconds(heart, TEXT) > 1


@pytest.mark.parametrize("call", ["open_session", "EnglishReader", "audible"])
def test_a_model_that_gets_no_memory_says_so(pack, monkeypatch, call):
    monkeypatch.setattr(hibari, call, Fails(MemoryError("too much")))
    with pytest.raises(OutOfMemoryError, match=r"model\.onnx: too much"):
        HibariAdapter.load(pack, EngineSettings())


def test_the_reader_does_not_take_a_lack_of_memory_for_a_text_it_cannot_read(heart, monkeypatch):
    monkeypatch.setattr(heart._reader, "_g2p", Fails(MemoryError()))
    with pytest.raises(MemoryError):
        heart._reader.read(TEXT)


def test_closing_drops_everything_at_once(pack):
    adapter = HibariAdapter.load(pack, EngineSettings())
    speak(adapter, TEXT)
    held = [weakref.ref(thing) for thing in (adapter._graph, adapter._reader, adapter._reader._g2p)]
    adapter.close()
    assert [thing() for thing in held] == [None] * 3
    assert hibari.dsp._ola_norm.cache_info().currsize == 0


# --- packs


def refusal(pack):
    with pytest.raises(UnavailableError) as caught:
        HibariAdapter.load(pack, EngineSettings())
    return str(caught.value)


def test_the_weights_are_those_of_the_pack(pack, heart):
    adapter = HibariAdapter.load(pack, EngineSettings())
    assert np.array_equal(speak(adapter, TEXT, seed=1), speak(heart, TEXT, seed=1))


def test_a_rate_that_is_not_the_voices(pack):
    said = refusal(replace(pack, sample_rate=22_050))
    assert "its metadata says 22050 Hz, but the model speaks at 24000 Hz" in said


@pytest.mark.parametrize("role", ["model.onnx", "vocab.json"])
def test_a_file_that_is_missing(pack, role):
    files = {name: path for name, path in pack.files.items() if name != role}
    assert f"{role} is not there; the pack has {next(iter(files))}" in refusal(replace(pack, files=files))
    assert "the pack has none" in refusal(replace(pack, files={}))


def test_a_graph_that_is_truncated_or_something_else(pack):
    path = pack.files["model.onnx"]
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], b"", b"not a graph at all"):
        path.write_bytes(damaged)
        assert f"{path} is not the graph of a hibari voice, or it is damaged" in refusal(pack)
    path.write_bytes(Path(hibari_english.ASSETS, "oov.onnx").read_bytes())
    assert f"{path} is not the graph of a hibari voice: it makes" in refusal(pack)


def test_weights_that_are_no_numbers(pack):
    onnx = pytest.importorskip("onnx", reason="weights are damaged with what comes with the extra `piper`")
    path = pack.files["model.onnx"]
    model = onnx.load(path)
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT:
            values = np.full_like(onnx.numpy_helper.to_array(weight), np.nan)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    assert f"{path} and" in refusal(pack)


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]", "null", "\udcff", "[" * 100_000, '{"a": ' + "9" * 5_000 + "}"),
        *('{"a": "b"}', '{"a": null}', '{"a": 1.5}', '{"a": "²"}', '{"a": true}', '{"a": -1}'),
    ],
)
def test_a_table_of_phonemes_that_is_none(pack, content):
    path = pack.files["vocab.json"]
    path.write_text(content, "utf-8", errors="surrogateescape")
    assert f"{path} is not the table of a hibari voice's phonemes" in refusal(pack)


def test_a_table_of_phonemes_may_begin_with_a_mark_of_its_encoding(pack):
    path = pack.files["vocab.json"]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    HibariAdapter.load(pack, EngineSettings()).close()


def test_a_phoneme_beyond_the_graph_s_table_is_found_at_load(pack):
    path = pack.files["vocab.json"]
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"☃": 177, "☂": 178}), "utf-8")
    assert "the graph knows 178 phonemes, and '☂' have numbers of 178 or more" in refusal(pack)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("name", ["model.onnx", "vocab.json"])
def test_what_the_system_refuses_is_not_the_voice_s_fault(pack, monkeypatch, number, name):
    real = Path.open

    def fail(path, *args, **kwargs):
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", fail)
    if name == "model.onnx":
        monkeypatch.setattr(hibari, "open_session", Fails(RuntimeError("Load model failed")))
    said = refusal(pack)
    assert f"{name} cannot be read: {os.strerror(number)}; " in said
    assert "damaged" not in said


def test_what_onnx_runtime_can_not_open_is_not_damaged(pack, monkeypatch):
    monkeypatch.setattr(hibari, "open_session", Fails(RuntimeError("open file fail errcode:24 - Too many open files")))
    said = refusal(pack)
    assert "model.onnx cannot be opened: Too many open files; raise" in said
    assert "damaged" not in said


def test_a_library_that_the_machine_keeps_from_its_tables_is_not_the_voice_s_fault(pack, monkeypatch):
    fault = OSError(errno.EMFILE, os.strerror(errno.EMFILE), "lexicon.json.gz")
    monkeypatch.setattr(hibari, "EnglishReader", Fails(fault))
    assert "lexicon.json.gz cannot be read: Too many open files; raise" in refusal(pack)


@pytest.mark.parametrize("content", ["{}", '{"n": 70000}'])
def test_a_table_of_phonemes_of_another_model(pack, content):
    pack.files["vocab.json"].write_text(content, "utf-8")
    model, table = pack.files["model.onnx"], pack.files["vocab.json"]
    assert f"{model} and {table} don't fit each other" in refusal(pack)
