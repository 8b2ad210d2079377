"""The whole: what is spoken is what the libraries speak, alone and beside others, with every option."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from threading import Event

import conformance
import numpy as np
import pytest
import soundfile
import torch
import trio
from transformers import CsmForConditionalGeneration

from tests.engines.sesame.making import TEXTS, ask, by_peft, read_pack
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.thread import ThreadHost
from ttsw.adapters.sesame import random_pack, text
from ttsw.adapters.sesame.adapter import SesameAdapter
from ttsw.adapters.sesame.engine import CHUNKS
from ttsw.adapters.sesame.lora_cache import KEPT
from ttsw.errors import InternalError, InvalidArgumentError, NotFoundError, TtswError, UnavailableError
from ttsw.options import parse_options
from ttsw.types import Capabilities

TEXT = TEXTS[0]
FRAME = 1920
SAID = "Somebody says this, so that others may sound alike, one day."


def speak(adapter, words=TEXT, **options):
    return np.concatenate([*adapter.speak(words, {"seed": 1} | options), np.empty(0, np.float32)])


def attach(adapter, packs, name):
    return adapter.attach(read_pack(packs / name, base="sesame-tiny"))


@pytest.fixture
def fresh(pack, tmp_path):
    """An adapter that a test may change or close, with clips."""
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "anna.wav", random_pack.voice(1.2, 1), 24_000)
    (clips / "anna.txt").write_text(SAID)
    soundfile.write(clips / "mute.wav", random_pack.voice(1.2, 2), 16_000)
    return SesameAdapter.load(pack, EngineSettings(concurrency=2, cache=tmp_path / "cache", clips=clips))


@torch.inference_mode()
def by_library(library, tokens):
    codes = torch.from_numpy(ask(library, tokens))[:-1].long()
    return library.codec_model.decode(codes.T[None]).audio_values[0, 0].numpy()


def test_it_is_what_the_library_makes(adapter, library, reader):
    found = speak(adapter, top_k=1)
    whole = by_library(library, reader.encode(TEXT, 0))
    assert found.shape == whole.shape
    assert np.abs(found - whole).max() < 1e-4


def test_the_first_chunk_is_short_and_seams_are_none(adapter):
    sizes = [len(chunk) // FRAME for chunk in adapter.speak(TEXT, {"seed": 1})]
    assert tuple(sizes[:3]) == CHUNKS == (1, 2, 4)
    assert sum(sizes) > 10


def test_a_seed_decides_and_so_does_the_text(adapter):
    first = speak(adapter)
    assert np.array_equal(speak(adapter), first)
    assert not np.array_equal(speak(adapter, seed=2)[:FRAME], first[:FRAME])
    assert not np.array_equal(speak(adapter, TEXT + ".")[:FRAME], first[:FRAME])


@pytest.fixture
def voices(adapter, packs):
    """The base and three LoRAs on it."""
    made = {name: attach(adapter, packs, name) for name in ("anna", "bert", "carl")}
    yield {"": adapter} | made
    for each in made.values():
        each.close()
    assert adapter._engine.loras.bytes == 0


async def test_three_voices_and_their_base_at_once_are_what_each_is_alone(voices):
    alone = {name: [speak(voice, words, seed=3) for words in TEXTS] for name, voice in voices.items()}
    assert len({len(whole[0]) for whole in alone.values()} | {each[0][0] for each in alone.values()}) > 4
    found = {}

    async def run(name, voice):
        host, found[name] = ThreadHost(voice), []
        for words in TEXTS:
            chunks = []

            async def take(chunk, _seconds, chunks=chunks):
                await trio.lowlevel.checkpoint()
                chunks.append(chunk)

            await host.speak(words, {"seed": 3}, lambda chunk: chunk, take)
            found[name].append(np.concatenate(chunks))

    async with trio.open_nursery() as nursery:  # four on three places
        for name, voice in voices.items():
            nursery.start_soon(run, name, voice)
    for name, wholes in alone.items():
        for one, other in zip(wholes, found[name], strict=True):
            assert one.shape == other.shape
            assert np.abs(one - other).max() < 1e-4
    assert voices[""]._engine.decoder.pages.in_use == 0


def test_a_lora_voice_is_what_peft_makes(voices, packs, reader):
    for name in ("anna", "bert"):
        whole = by_library(by_peft(packs / "tiny", packs / name), reader.encode(TEXT, 0))
        assert np.abs(speak(voices[name], top_k=1) - whole).max() < 1e-4


def test_a_merged_model_is_its_base_with_the_lora(voices, packs):
    merged = SesameAdapter.load(read_pack(packs / "merged"), EngineSettings())
    for options in ({"top_k": 1}, {"seed": 5}):
        one, other = speak(merged, **options), speak(voices["anna"], **options)
        assert one.shape == other.shape
        assert np.abs(one - other).max() < 1e-4
    assert merged.model_info["loras"] == []


def test_a_lora_voice_says_what_it_is(voices, packs):
    anna = voices["anna"]
    assert anna.model_info["model_id"] == "sesame-anna"
    assert anna.model_info["base"] == "sesame-tiny"
    assert anna.model_info["lora"] is True
    assert "lora" not in anna.session_options()
    assert anna.concurrency == voices[""].concurrency
    with pytest.raises(UnavailableError, match="nothing is based on sesame-anna"):
        anna.attach(read_pack(packs / "bert", base="sesame-anna"))


def test_a_lora_that_does_not_fit_is_refused_and_leaves_nothing(adapter, packs):
    with pytest.raises(UnavailableError, match="is based on sesame-other, not on sesame-tiny"):
        adapter.attach(read_pack(packs / "anna", base="sesame-other"))
    with pytest.raises(UnavailableError, match="is no LoRA as peft writes it"):
        adapter.attach(read_pack(packs / "tiny", base="sesame-tiny"))
    with pytest.raises(UnavailableError, match="says 44100 Hz, but the model speaks at 24000 Hz"):
        adapter.attach(read_pack(packs / "anna", base="sesame-tiny", sample_rate=44_100))
    assert adapter._engine.loras.bytes == 0


def test_a_lora_that_makes_nonsense_leaves_nothing(adapter, packs, monkeypatch):
    monkeypatch.setattr(adapter._engine, "test", lambda *_: (_ for _ in ()).throw(UnavailableError("broken")))
    with pytest.raises(UnavailableError, match="broken"):
        attach(adapter, packs, "anna")
    assert adapter._engine.loras.bytes == 0


def test_one_that_is_left_gives_all_back(voices):
    chunks = [voice.speak(TEXT, {"seed": 1}) for voice in voices.values()]
    for each in chunks:
        next(each)
    decoder = voices[""]._engine.decoder
    assert decoder.pages.in_use > 0
    others = [np.concatenate([*each]) for each in chunks[1:]]
    chunks[0].close()
    assert decoder.pages.in_use == 0
    for voice, rest in zip([*voices.values()][1:], others, strict=True):
        assert np.abs(speak(voice)[FRAME:] - rest).max() < 1e-4


async def test_one_that_is_cancelled_within_a_step_leaves_nothing(adapter, monkeypatch):
    in_step, cancelled = Event(), Event()
    step = adapter._engine.decoder.step

    def slow(utterances):
        if len(utterances) == 2 and not in_step.is_set():
            in_step.set()
            assert cancelled.wait(5)
        return step(utterances)

    monkeypatch.setattr(adapter._engine.batch, "_step", slow)
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
    assert lengths[1] == lengths[2] == len(speak(adapter))
    assert adapter._engine.decoder.pages.in_use == 0


async def test_a_fault_in_one_utterance_is_its_own(adapter, monkeypatch):
    read, host = adapter._engine.decoder._read, ThreadHost(adapter)

    def broken(utterance):
        if len(utterance.prompt) < 10:
            raise RuntimeError("broken")
        return read(utterance)

    wanted = {words: len(speak(adapter, words)) for words in TEXTS if words != "One."}
    monkeypatch.setattr(adapter._engine.decoder, "_read", broken)
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
        for words in TEXTS:
            nursery.start_soon(count, words)
    assert isinstance(results.pop("One."), InternalError)
    assert results == wanted
    assert adapter._engine.decoder.pages.in_use == 0


def test_the_texts_bound_ends_a_segment_with_a_fade(adapter, monkeypatch):
    monkeypatch.setattr(text, "LEAST_S", 0.5)
    monkeypatch.setattr(text, "PER_LETTER_S", 0.0)
    audio = speak(adapter)
    assert len(audio) == 6 * FRAME
    assert audio[-1] == 0
    assert np.abs(audio[-1400:-1200]).max() > 1e-3


def test_a_long_text_is_spoken_in_parts_that_go_on_from_each_other(adapter, monkeypatch):
    monkeypatch.setattr(text, "MOST_CHARACTERS", 50)
    prompts, opened = [], adapter._engine.decoder.open
    monkeypatch.setattr(
        adapter._engine.decoder, "open", lambda prompt, *more: prompts.append(len(prompt)) or opened(prompt, *more)
    )
    speak(adapter, f"{TEXT} {TEXT} {TEXT} {TEXT}")
    alone, first, *others = prompts
    assert len(others) == 2
    assert first > alone + 47
    prompts.clear()
    speak(adapter, f"{TEXT} {TEXT}", context_turns=0)
    assert prompts == [alone, alone]


@pytest.mark.parametrize("words", ["", "...", "\U0001f600", "—"])
def test_what_cannot_be_spoken_is_silent(adapter, words):
    assert list(adapter.speak(words, {})) == []


def test_a_session_goes_on_from_what_was_said(adapter, voices):
    plain = speak(adapter, session="a")
    assert np.array_equal(plain, speak(adapter)), "the first goes on from nothing"
    second = speak(adapter, session="a")
    assert not np.array_equal(second[:FRAME], plain[:FRAME])
    third = speak(adapter, session="a", context_turns=1)
    assert np.array_equal(speak(adapter, session="b"), plain)
    assert np.array_equal(speak(voices["anna"], session="a"), speak(voices["anna"])), "another's turns are not its own"
    assert np.array_equal(speak(adapter, session="a", context_turns=0), plain)
    assert len(adapter._turns.get(("a", None, None, None))) == 4
    assert not np.array_equal(third[:FRAME], second[:FRAME])
    adapter._turns.forget()


def test_a_turn_that_was_left_or_cut_off_is_not_remembered(adapter, monkeypatch):
    chunks = adapter.speak(TEXT, {"seed": 1, "session": "c"})
    next(chunks)
    chunks.close()
    *_, _last = zip(range(5), adapter.speak(TEXT, {"seed": 1, "session": "c"}), strict=False)
    monkeypatch.setattr(text, "LEAST_S", 0.3)
    monkeypatch.setattr(text, "PER_LETTER_S", 0.0)
    speak(adapter, session="c")
    assert adapter._turns.get(("c", None, None, None)) == ()
    assert adapter._engine.decoder.pages.in_use == 0


def test_options_are_the_models_own(adapter, pack):
    options = adapter.session_options()
    assert "lora" not in options
    assert (options["language"].choices, options["language"].default) == (("en",), "en")
    assert (options["temperature"].default, options["top_k"].default) == (0.9, 50)
    assert options["session"].internal
    with pytest.raises(InvalidArgumentError, match=r"language='de' is not valid: it must be one of: en"):
        parse_options({"language": "de"}, options)
    for speaker in ("-1", "10", "x"):
        with pytest.raises(InvalidArgumentError, match=rf"speaker='{speaker}' .* a whole number from 0 to 9"):
            parse_options({"speaker": speaker}, options)
    assert adapter.model_info["languages"] == ["en"]
    assert adapter.model_info["model_id"] == pack.model_id


def test_where_the_model_draws_in_two_ways_it_has_no_one_default(pack, tmp_path):
    (tmp_path / "how.json").write_text('{"temperature": 0.8, "depth_decoder_temperature": 0.6, "top_k": 7}')
    files = {**pack.files, "generation_config.json": tmp_path / "how.json"}
    adapter = SesameAdapter.load(replace(pack, files=files), EngineSettings())
    options = adapter.session_options()
    assert (options["temperature"].default, options["top_k"].default) == (None, None)
    assert adapter._draws({}) == ((0.8, 7), (0.6, 50))
    assert adapter._draws({"temperature": 1.5}) == ((1.5, 7), (1.5, 50))


def test_a_pack_of_another_rate_is_refused(pack):
    with pytest.raises(UnavailableError, match="its metadata says 22050 Hz, but the model speaks at 24000 Hz"):
        SesameAdapter.load(replace(pack, sample_rate=22_050), EngineSettings())


@pytest.mark.parametrize("device", ["cuda:97", "quantum"])
def test_a_device_that_is_not_there_is_told(pack, device):
    with pytest.raises(UnavailableError, match=r"is not there: torch .* sees cpu|is no device"):
        SesameAdapter.load(pack, EngineSettings(device=device))


def test_every_option_is_heard(fresh):
    plain = speak(fresh, seed=3)
    changes = [
        {"speaker": 1},
        {"temperature": 2.0},
        {"top_k": 2},
        {"reference_audio": "anna"},
        {"reference_audio": "anna", "reference_text": "Something else was said, by somebody, somewhere, all day long."},
        {"reference_audio": "mute", "reference_text": SAID},
    ]
    heard = {each.tobytes() for each in (plain, *(speak(fresh, seed=3, **change) for change in changes))}
    assert len(heard) == len(changes) + 1


def test_a_recording_is_read_once_and_then_kept(fresh):
    fresh.prepare({"reference_audio": "anna"})
    assert fresh._engine.voices.computed == 1
    first = speak(fresh, reference_audio="anna")
    assert fresh._engine.voices.computed == 1
    again = SesameAdapter.load(
        fresh.pack, EngineSettings(cache=fresh._engine.clips.parent / "cache", clips=fresh._engine.clips)
    )
    assert np.array_equal(speak(again, reference_audio="anna"), first)
    assert again._engine.voices.computed == 0


@pytest.mark.parametrize(
    ("options", "kind", "match"),
    [
        ({"reference_audio": "nobody"}, NotFoundError, "there is no recording 'nobody'; there are: anna, mute"),
        ({"reference_audio": "mute"}, InvalidArgumentError, "give it as reference_text, or write it into mute.txt"),
        (
            {"reference_audio": "mute", "reference_text": " . "},
            InvalidArgumentError,
            "what is said in mute.wav isn't known",
        ),
        ({"reference_text": "Hello."}, InvalidArgumentError, "name that, as reference_audio"),
        ({"reference_audio": "anna", "reference_text": "a" * 1500}, InvalidArgumentError, "use a shorter recording"),
        ({"reference_audio": "../tiny"}, InvalidArgumentError, "must be the name of a registered clip"),
        ({"reference_audio": "quiet", "reference_text": SAID}, InvalidArgumentError, "is silent"),
    ],
)
def test_a_recording_that_will_not_do_is_refused_at_the_start(fresh, options, kind, match):
    if options.get("reference_audio") == "quiet":
        soundfile.write(fresh._engine.clips / "quiet.wav", np.zeros(48_000), 24_000)
    with pytest.raises(kind, match=match):
        fresh.prepare(options)


def test_a_packs_own_recording_is_its_voice(tmp_path):
    random_pack.build(tmp_path / "own", "tiny", recording=True)
    pack = read_pack(tmp_path / "own")
    adapter = SesameAdapter.load(pack, EngineSettings())
    adapter.prepare({})
    assert adapter._engine.voices.computed == 1
    without = {role: path for role, path in pack.files.items() if role != "seed.wav"}
    plain = SesameAdapter.load(replace(pack, files=without), EngineSettings())
    assert not np.array_equal(speak(adapter)[:FRAME], speak(plain)[:FRAME])
    assert np.array_equal(speak(adapter), speak(plain, reference_audio="ref/seed.wav"))
    whole = by_library(
        CsmForConditionalGeneration.from_pretrained(tmp_path / "own"), plain._engine.reader.encode(TEXT, 0)
    )
    assert np.abs(speak(plain, top_k=1) - whole).max() < 1e-4, "with as many codebooks as the real model has"
    (tmp_path / "own" / "ref" / "seed.txt").unlink()
    with pytest.raises(InvalidArgumentError, match=r"write it into seed.txt beside the recording"):
        adapter.prepare({})


@pytest.fixture
def shelved(packs, tmp_path):
    """A pack with LoRAs of its own, one of them broken."""
    root = shutil.copytree(packs / "tiny", tmp_path / "tiny")
    for name in ("anna", "bert"):
        shutil.copytree(packs / name, root / "lora" / name)
    for number in range(KEPT):
        shutil.copytree(packs / "carl", root / "lora" / f"carl-{number}")
    shutil.copytree(packs / "carl", root / "lora" / "broken")
    (root / "lora" / "broken" / "adapter_model.safetensors").write_bytes(b"x")
    return SesameAdapter.load(read_pack(root), EngineSettings())


def test_a_packs_own_loras_are_an_option(shelved, voices):
    choices = shelved.session_options()["lora"].choices
    assert choices == ("anna", "bert", "broken", *(f"carl-{number}" for number in range(KEPT)))
    assert shelved.model_info["loras"] == [*choices]
    shelved.prepare({"lora": "anna"})
    assert shelved._shelf._loaded.keys() == {"anna"}
    plain = speak(shelved)
    for name in ("anna", "bert"):
        assert np.abs(speak(shelved, lora=name) - speak(voices[name])).max() < 1e-4
    assert np.array_equal(speak(shelved), plain)
    with pytest.raises(UnavailableError, match=r"adapter_model.safetensors is no file of weights"):
        shelved.prepare({"lora": "broken"})
    with pytest.raises(InvalidArgumentError, match="lora='nobody' is not valid: it must be one of: anna, bert"):
        parse_options({"lora": "nobody"}, shelved.session_options())


def test_those_that_were_used_last_stay_loaded(shelved):
    speaking = shelved.speak(TEXT, {"lora": "anna", "seed": 1})
    first = next(speaking)
    for number in range(KEPT):
        shelved.prepare({"lora": f"carl-{number}"})
    shelf = shelved._shelf
    assert [*shelf._loaded] == ["anna", *(f"carl-{number}" for number in range(1, KEPT))], "anna speaks, and stays"
    assert len(shelved._engine.loras.numbers) == KEPT
    whole = np.concatenate([first, *speaking])
    shelved.prepare({"lora": "bert"})
    assert "anna" not in shelf._loaded
    assert np.array_equal(speak(shelved, lora="anna"), whole)
    assert all(count == 0 for count in shelf._users.values())


def test_sessions_have_turns_of_each_voice(shelved):
    alone = {name: speak(shelved, lora=name) for name in ("anna", "bert")}
    for name, whole in alone.items():
        assert np.array_equal(speak(shelved, lora=name, session="s"), whole)


def test_closed_while_idle_it_is_gone(fresh, packs):
    anna = attach(fresh, packs, "anna")
    engine = fresh._engine
    chunks = anna.speak(TEXT, {})
    next(chunks)
    chunks.close()
    speak(anna, session="x")
    anna.close()
    assert engine.loras.bytes == 0
    assert len(speak(fresh)) > 0
    fresh.close()
    assert not hasattr(fresh, "_engine")


async def test_it_keeps_the_contract(pack, tmp_path):
    adapter = SesameAdapter.load(pack, EngineSettings(concurrency=2, cache=tmp_path))
    assert adapter.concurrency == 2
    assert isinstance(adapter.speak(TEXT, {}), Iterator)
    await conformance.check_adapter(adapter)


async def test_so_does_a_lora_voice(adapter, packs):
    capable = Capabilities(zero_shot=True, lora=True)
    anna = adapter.attach(read_pack(packs / "anna", base="sesame-tiny", capabilities=capable))
    await conformance.check_adapter(anna)
    assert adapter._engine.loras.bytes == 0
