"""The whole: what is spoken is what the library speaks, alone and beside others, with every option."""

from collections.abc import Iterator
from dataclasses import replace
from threading import Event

import conformance
import numpy as np
import pytest
import soundfile
import torch
import trio

from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.thread import ThreadHost
from ttsw.adapters.xtts import adapter as module
from ttsw.adapters.xtts import random_pack, text
from ttsw.adapters.xtts.adapter import XttsAdapter, spoken
from ttsw.errors import InternalError, InvalidArgumentError, NotFoundError, TtswError, UnavailableError
from ttsw.options import parse_options

TEXT = "Hello there."
FADE = 1200


def speak(adapter, words=TEXT, **options):
    return np.concatenate([*adapter.speak(words, {"seed": 1} | options), np.empty(0, np.float32)])


@pytest.fixture
def fresh(pack, tmp_path):
    """An adapter that a test may change or close, with clips."""
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "anna.wav", random_pack.voice(2.0, 1), 24_000)
    return XttsAdapter.load(pack, EngineSettings(concurrency=2, cache=tmp_path / "cache", clips=clips))


@pytest.mark.parametrize("speed", [1.0, 1.3])
def test_it_is_what_the_librarys_stream_makes(adapter, library, speed):
    voice = adapter._voice({})
    stream = library.inference_stream(
        TEXT, "en", voice.latents, voice.speaker, stream_chunk_size=0, top_k=1, speed=speed, repetition_penalty=5.0
    )
    whole = torch.cat(list(stream)).numpy()
    found = speak(adapter, top_k=1, speed=speed, repetition_penalty=5.0)
    assert found.shape == whole.shape
    assert np.abs(found - whole)[:-FADE].max() < 1e-4
    assert found[-1] == 0 != whole[-1], "a model that finds no end is faded out"


def test_a_seed_decides_and_so_does_the_text(adapter, brief):
    first = speak(adapter)
    assert np.array_equal(speak(adapter), first)
    assert not np.array_equal(speak(adapter, seed=2), first)
    tokens = []
    for words in ("Hello there.", "Hello where."):
        utterance = adapter._decoder.open(adapter._voice({}).latents, [3], 5, adapter._sampling({}), chance(words))
        adapter._batch.advance(utterance, 5)
        adapter._decoder.close(utterance)
        tokens.append(utterance.tokens)
    assert tokens[0] != tokens[1]


def chance(words):
    return np.random.default_rng([1, module.crc32(words.encode())])


def test_the_first_chunk_is_short(adapter):
    sizes = [len(chunk) for chunk in adapter.speak(TEXT, {"seed": 1})]
    assert len(sizes) == 3
    assert sizes[0] == (32 - 13) * 256, "8 tokens are 34 frames, 2 of them wait for the next token, 13 are margin"
    assert sum(sizes) == int(24 * 4 * 24_000 / 22_050) * 256


@pytest.fixture
def brief(monkeypatch):
    """Half a second for any text: 10 tokens."""
    monkeypatch.setattr(text, "LEAST_S", 0.5)
    monkeypatch.setattr(text, "PER_LETTER_S", 0.0)


async def test_interleaved_utterances_are_what_each_is_alone(adapter, brief):
    words = ["One.", "Two, three and four.", "Five! Six? Seven eight nine ten eleven.", "Twelve.", TEXT]
    alone = [speak(adapter, each, seed=number) for number, each in enumerate(words)]
    host, found = ThreadHost(adapter), {}

    async def run(number, each):
        chunks = []

        async def take(chunk, _seconds):
            await trio.lowlevel.checkpoint()
            chunks.append(chunk)

        await host.speak(each, {"seed": number}, lambda chunk: chunk, take)
        found[number] = np.concatenate(chunks)

    async with trio.open_nursery() as nursery:  # five on three places
        for number, each in enumerate(words):
            nursery.start_soon(run, number, each)
    for number, whole in enumerate(alone):
        assert found[number].shape == whole.shape
        assert np.abs(found[number] - whole).max() < 1e-4
    assert adapter._decoder.pages.in_use == 0


async def test_one_that_is_cancelled_within_a_step_leaves_nothing(adapter, monkeypatch):
    in_step, cancelled = Event(), Event()
    step = adapter._decoder.step

    def slow(utterances):
        if len(utterances) == 2 and not in_step.is_set():
            in_step.set()
            assert cancelled.wait(5)
        return step(utterances)

    monkeypatch.setattr(adapter._batch, "_step", slow)
    host, lengths = ThreadHost(adapter), {}

    async def run(name, scope):
        async def take(chunk, _seconds):
            await trio.lowlevel.checkpoint()
            lengths[name] = lengths.get(name, 0) + len(chunk)

        with scope:
            await host.speak(TEXT, {"seed": 1}, lambda chunk: chunk, take)

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for name, scope in enumerate(scopes):
            nursery.start_soon(run, name, scope)
        assert await trio.to_thread.run_sync(in_step.wait, 5)
        scopes[0].cancel()
        cancelled.set()
    assert [scope.cancelled_caught for scope in scopes] == [True, False, False]
    assert lengths[1] == lengths[2] == int(24 * 4 * 24_000 / 22_050) * 256
    assert adapter._decoder.pages.in_use == 0


def test_one_that_is_left_gives_its_pages_back(adapter):
    chunks = adapter.speak(TEXT, {})
    next(chunks)
    assert adapter._decoder.pages.in_use > 0
    chunks.close()
    assert adapter._decoder.pages.in_use == 0


async def test_a_fault_in_one_utterance_is_its_own(adapter, monkeypatch):
    run, host = adapter._decoder._begin, ThreadHost(adapter)

    def begin(utterance):
        if utterance.most == 7:
            raise RuntimeError("broken")
        return run(utterance)

    monkeypatch.setattr(adapter._decoder, "_begin", begin)
    opened = adapter._decoder.open
    monkeypatch.setattr(adapter._decoder, "open", lambda *a: opened(*a[:2], 7 if len(a[1]) < 6 else a[2], *a[3:]))
    results = {}

    async def count(words):
        chunks = []

        async def take(chunk, _seconds):
            await trio.lowlevel.checkpoint()
            chunks.append(len(chunk))

        try:
            await host.speak(words, {"seed": 1}, lambda chunk: chunk, take)
        except TtswError as error:
            results[words] = error
        else:
            results[words] = sum(chunks)

    async with trio.open_nursery() as nursery:
        for words in ("Hi", "Hello over there, you.", "How do you do, all of you?"):
            nursery.start_soon(count, words)
    assert isinstance(results.pop("Hi"), InternalError)
    assert set(results.values()) == {int(24 * 4 * 24_000 / 22_050) * 256}
    assert adapter._decoder.pages.in_use == 0


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 0.5), (2.0, 0.25)])
def test_the_texts_bound_ends_a_segment_with_a_fade(adapter, brief, speed, seconds):
    audio = speak(adapter, speed=speed)
    assert len(audio) / 24_000 == pytest.approx(seconds, abs=0.06)
    assert len(audio) <= seconds * 24_000
    assert audio[-1] == 0
    assert np.abs(audio[-FADE - 200 : -FADE]).max() > 1e-3


def test_a_long_text_is_spoken_in_parts(adapter, monkeypatch):
    monkeypatch.setattr(text, "LEAST_S", 0.2)
    monkeypatch.setattr(text, "PER_LETTER_S", 0.0)
    part = len(speak(adapter))
    words = "The birch canoe slid on the smooth planks, as ever. " * 7
    assert len(speak(adapter, words)) == 2 * part
    assert adapter._decoder.pages.in_use == 0


@pytest.mark.parametrize("words", ["", "...", "\U0001f600", "—"])
def test_what_cannot_be_spoken_is_silent(adapter, words):
    assert list(adapter.speak(words, {})) == []


def test_options_are_the_models_own(adapter, pack):
    options = adapter.session_options()
    assert "speaker" not in options
    assert (options["language"].choices, options["language"].default) == (("en", "de", "zh-cn"), "en")
    assert {name: options[name].default for name in ("temperature", "top_k", "top_p", "repetition_penalty")} == {
        "temperature": 0.75,
        "top_k": 50,
        "top_p": 0.85,
        "repetition_penalty": 5.0,
    }
    with pytest.raises(InvalidArgumentError, match=r"language='ja' .* one of: en, de, zh-cn"):
        parse_options({"language": "ja"}, options)
    assert adapter.model_info["languages"] == ["en", "de", "zh-cn"]
    assert adapter.model_info["model_id"] == pack.model_id


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ((), ("en", "de", "zh-cn")),
        (("de", "en"), ("de", "en")),
        (("zh", "en-gb", "xx"), ("zh-cn", "en")),
        (("xx",), ()),
    ],
)
def test_languages_are_those_of_pack_and_model(wanted, found):
    assert spoken(["en", "de", "zh-cn"], wanted) == found


def test_a_pack_whose_languages_the_model_lacks_is_refused(pack):
    with pytest.raises(UnavailableError, match=r"none of its languages \(xx\) is one of the model's"):
        XttsAdapter.load(replace(pack, languages=("xx",)), EngineSettings())


def test_a_pack_of_another_rate_is_refused(pack):
    with pytest.raises(UnavailableError, match="its metadata says 22050 Hz, but the model speaks at 24000 Hz"):
        XttsAdapter.load(replace(pack, sample_rate=22_050), EngineSettings())


@pytest.mark.parametrize("device", ["cuda:97", "cuda:x", "quantum", "mps"])
def test_a_device_that_is_not_there_is_told(pack, device):
    with pytest.raises(UnavailableError, match=r"is not there: torch .* sees cpu|is no device"):
        XttsAdapter.load(pack, EngineSettings(device=device))


def test_threads_are_those_of_the_settings(pack, monkeypatch):
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    XttsAdapter.load(pack, EngineSettings(threads=2))
    assert set_to == [2]


def test_every_option_is_heard(fresh, brief):
    plain = speak(fresh, seed=3)
    changes = [
        {"language": "de"},
        {"speed": 1.2},
        {"temperature": 2.0},
        {"top_k": 2},
        {"top_p": 0.1},
        {"repetition_penalty": 1.0, "temperature": 0.05},
        {"reference_audio": "anna"},
    ]
    for change in changes:
        other = speak(fresh, seed=3, **change)
        assert other.shape != plain.shape or not np.allclose(other, plain, atol=1e-6), f"{change} changes nothing"


def test_prepare_does_it_all(fresh):
    fresh.prepare({"reference_audio": "anna", "language": "de"})
    assert fresh._voices.computed == 1
    speak(fresh, reference_audio="anna")
    assert fresh._voices.computed == 1
    with pytest.raises(NotFoundError, match=r"there is no recording 'nobody'; there are: seed.wav, anna"):
        fresh.prepare({"reference_audio": "nobody"})
    soundfile.write(fresh._clips / "quiet.wav", np.zeros(48_000), 24_000)
    with pytest.raises(InvalidArgumentError, match="is silent"):
        fresh.prepare({"reference_audio": "quiet"})


def test_speakers_of_the_checkpoint(pack, tmp_path, monkeypatch):
    names = {
        name: {"gpt_cond_latent": torch.randn(1, 32, 64), "speaker_embedding": torch.randn(1, 512, 1)}
        for name in ("Ana Florence", "Bert")
    }
    torch.save(names, tmp_path / "speakers_xtts.pth")
    files = {role: path for role, path in pack.files.items() if role != "seed.wav"}
    brings = replace(pack, files=files | {"speakers_xtts.pth": tmp_path / "speakers_xtts.pth"})
    adapter = XttsAdapter.load(brings, EngineSettings())
    monkeypatch.setattr(text, "LEAST_S", 0.1)
    assert adapter.session_options()["speaker"].choices == ("Ana Florence", "Bert")
    assert not np.allclose(speak(adapter, speaker="Ana Florence"), speak(adapter, speaker="Bert"))
    with pytest.raises(InvalidArgumentError, match="speaker and reference_audio both name a voice; give one"):
        adapter.prepare({"speaker": "Bert", "reference_audio": "anna"})
    with pytest.raises(InvalidArgumentError, match="has no voice of its own"):
        adapter.prepare({})


def test_closed_while_idle_it_is_gone(fresh):
    chunks = fresh.speak(TEXT, {})
    next(chunks)
    chunks.close()
    fresh.close()
    assert not hasattr(fresh, "_decoder")


async def test_it_keeps_the_contract(pack, tmp_path):
    adapter = XttsAdapter.load(pack, EngineSettings(concurrency=2, cache=tmp_path))
    assert adapter.concurrency == 2
    assert isinstance(adapter.speak(TEXT, {}), Iterator)
    await conformance.check_adapter(adapter)
