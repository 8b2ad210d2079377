"""The whole: what is spoken is what the library speaks, alone and beside others, with every option."""

from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from time import monotonic

import conformance
import numpy as np
import pytest
import soundfile
import torch
import trio

from tests.engines.cosyvoice2.library import audio, spectrogram
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.cosyvoice2 import adapter as module
from ttsw.adapters.cosyvoice2 import language_model as speech
from ttsw.adapters.cosyvoice2 import random_pack
from ttsw.adapters.cosyvoice2.adapter import CosyVoice2Adapter, next_goal
from ttsw.adapters.cosyvoice2.reference_voice import spectrogram as mel
from ttsw.adapters.hosts.thread import ThreadHost
from ttsw.errors import InternalError, InvalidArgumentError, NotFoundError, TtswError, UnavailableError
from ttsw.options import parse_options

TEXT = "Hello there."
LONGER = "The birch canoe slid on the smooth planks, one two three four five six."


def speak(adapter, words=TEXT, **options):
    return np.concatenate([*adapter.speak(words, {"seed": 1} | options), np.empty(0, np.float32)])


def is_idle(adapter):
    """Whether nothing is held but what was made of recordings."""
    prompts = adapter._flow._prompts.values()
    assert not any(each.users for each in prompts)
    return adapter._speaker.pages.in_use == 0 and adapter._flow.pages.in_use == sum(
        len(each.stream.pages) for each in prompts
    )


@pytest.fixture
def fresh(pack, tmp_path):
    """An adapter that a test may change or close, with clips."""
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "anna.wav", random_pack.voice(2.0, 1), 24_000)
    soundfile.write(clips / "bert.wav", random_pack.voice(2.0, 2), 24_000)
    (clips / "bert.txt").write_text("How do you do?")
    return CosyVoice2Adapter.load(pack, EngineSettings(concurrency=2, cache=tmp_path / "cache", clips=clips))


@pytest.fixture
def heard(adapter, monkeypatch):
    """The utterances that are begun."""
    begun, opened = [], adapter._speaker.open
    monkeypatch.setattr(adapter._speaker, "open", lambda *given: begun.append(opened(*given)) or begun[-1])
    return begun


def at_once(library, adapter, tokens, words=TEXT, *, streaming=True):
    voice = adapter._prompts.find({}, "en").voice
    noise = np.random.default_rng([1, module.crc32(words.encode())]).spawn(2)[1]
    return audio(library, spectrogram(library, voice, tokens, streaming=streaming), noise)


def test_it_is_what_the_library_makes_of_the_tokens(adapter, library, heard):
    """As heard: the first piece's pitch is computed before its chunk is whole, and later phases follow from it."""
    found = speak(adapter, LONGER)
    tokens = heard[0].tokens
    whole = at_once(library, adapter, tokens, LONGER)
    assert found.shape == whole.shape == (len(tokens) * 960,)
    assert len(tokens) > 30
    mels = [mel(torch.from_numpy(each), adapter._model.mel) for each in (found, whole)]
    other = mel(torch.from_numpy(at_once(library, adapter, tokens[::-1], LONGER)), adapter._model.mel)
    assert (mels[0] - mels[1])[30:].abs().mean() < 0.5 * (other - mels[1])[30:].abs().mean()


def test_without_an_early_piece_it_is_exact(adapter, library, heard, monkeypatch):
    monkeypatch.setattr(module, "FIRST", 50)  # with a recording of 75 tokens, the end of a chunk
    found = speak(adapter, LONGER)
    whole = at_once(library, adapter, heard[0].tokens, LONGER)
    seam = slice((100 - 8 - 21) * 480, (100 + 8) * 480)
    off = np.abs(found - whole)
    off[seam] = 0
    assert off.max() < 5e-4
    shot = at_once(library, adapter, heard[0].tokens, LONGER, streaming=False)
    assert (found - shot).std() < shot.std(), "one-shot, where all sees all, is another spectrogram"


def test_a_seed_decides_and_so_does_the_text(adapter, heard):
    first = speak(adapter)
    assert np.array_equal(speak(adapter), first)
    assert not np.array_equal(speak(adapter, seed=2)[:100], first[:100])
    speak(adapter, "Hello there!")
    assert heard[0].tokens == heard[1].tokens != heard[2].tokens
    assert not np.array_equal(*_unseeded(adapter))


def _unseeded(adapter):
    return [np.concatenate([*adapter.speak(TEXT, {})])[:4000] for _ in range(2)]


def test_the_processs_chance_is_left_alone(adapter):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = speak(adapter)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert np.array_equal(speak(adapter), first)


def test_the_first_chunk_is_short(adapter):
    sizes = [len(chunk) for chunk in adapter.speak(LONGER, {"seed": 1})]
    assert sizes[0] == (2 * module.FIRST - 8) * 480
    assert len(sizes) > 2


def test_pieces_end_with_chunks():
    for prompt in range(0, 60, 7):
        goals = [next_goal(0, prompt, 25)]
        for _ in range(3):
            goals.append(next_goal(goals[-1], prompt, 25))
        assert goals[0] == 13
        assert all((prompt + goal) % 25 == 0 for goal in goals[1:])
        assert 8 <= goals[1] - goals[0] <= 32
        assert goals[3] - goals[2] == 25


async def test_interleaved_utterances_are_what_each_is_alone(fresh):
    words = [TEXT, LONGER, "One, two, three.", "How do you do?", "It is a canoe."]
    options = [{}, {"mode": "cross_lingual"}, {"reference_audio": "anna"}, {"instruct": "softly"}, {"speed": 1.5}]
    given = [{"seed": number} | each for number, each in enumerate(options)]
    alone = [speak(fresh, each, **more) for each, more in zip(words, given, strict=True)]
    host, found = ThreadHost(fresh), {}

    async def run(number):
        chunks = []

        async def take(chunk, _seconds):
            await trio.lowlevel.checkpoint()
            chunks.append(chunk)

        await host.speak(words[number], given[number], lambda chunk: chunk, take)
        found[number] = np.concatenate(chunks)

    async with trio.open_nursery() as nursery:  # five on two places
        for number in range(len(words)):
            nursery.start_soon(run, number)
    for number, whole in enumerate(alone):
        assert found[number].shape == whole.shape
        assert np.abs(found[number] - whole).max() < 1e-3
    assert is_idle(fresh)


def break_for_anna(fresh, stage, monkeypatch):
    """Have a stage fail for utterances in Anna's voice, which speak at half tempo; give what undoes nothing else."""
    anna = fresh._prompts.find({"reference_audio": "anna"}, "en").voice

    def faulty(is_hers, real):
        def run(*given, **more):
            if is_hers(*given):
                raise RuntimeError("broken")
            return real(*given, **more)

        return run

    speaker = fresh._flow._begin(anna).stream.speaker
    places = {
        "llm": (fresh._batch, "_step", lambda rows: any(row.least == 4 for row in rows)),
        "encoder": (fresh._flow, "_make", lambda _stream, voice, *_: voice is anna),
        "flow": (fresh._flow._batch, "_step", lambda rows: any(torch.equal(row.speaker, speaker) for row in rows)),
        "vocoder": (fresh._vocoder, "open", lambda _noise, speed: speed == 0.5),
    }
    target, name, is_hers = places[stage]
    monkeypatch.setattr(target, name, faulty(is_hers, getattr(target, name)))


@pytest.mark.parametrize("stage", ["llm", "encoder", "flow", "vocoder"])
async def test_a_fault_in_one_utterance_is_its_own(fresh, monkeypatch, stage):
    """At whichever stage: the one ends at once with an error, the others as if nothing had been."""
    good = {LONGER: {}, "One, two, three, four.": {"reference_audio": "bert"}}
    alone = {words: speak(fresh, words, **options) for words, options in good.items()}
    bad = {TEXT[:5]: {"reference_audio": "anna", "speed": 0.5}}
    fresh.prepare({"reference_audio": "anna"})
    (tokens,) = fresh._reader.read(TEXT[:5], "en")
    assert 2 * len(tokens) == 4
    break_for_anna(fresh, stage, monkeypatch)
    host, results = ThreadHost(fresh), {}

    async def run(words, options):
        chunks, started = [], monotonic()

        async def take(chunk, _seconds):
            await trio.lowlevel.checkpoint()
            chunks.append(chunk)

        try:
            await host.speak(words, {"seed": 1} | options, lambda chunk: chunk, take)
            results[words] = np.concatenate(chunks)
        except TtswError as error:
            results[words] = error
            assert monotonic() - started < 3

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for words, options in (good | bad).items():
                nursery.start_soon(run, words, options)
    assert isinstance(results.pop(TEXT[:5]), InternalError)
    for words, found in results.items():
        assert np.abs(found - alone[words]).max() < 1e-3
    assert is_idle(fresh)
    assert all(not each._seats for each in (fresh._batch, fresh._flow._batch))


@pytest.mark.parametrize("stage", ["llm", "flow"])
async def test_one_that_is_cancelled_within_a_step_leaves_nothing(fresh, monkeypatch, stage):
    fresh.prepare({})
    in_step, cancelled, steps = Event(), Event(), []
    batch = fresh._batch if stage == "llm" else fresh._flow._batch
    step = batch._step

    def slow(rows):
        steps.append(len(rows))
        if not in_step.is_set():
            in_step.set()
            assert cancelled.wait(5)
        return step(rows)

    monkeypatch.setattr(batch, "_step", slow)
    host, lengths = ThreadHost(fresh), {}

    async def run(name, scope):
        async def take(chunk, _seconds):
            await trio.lowlevel.checkpoint()
            lengths[name] = lengths.get(name, 0) + len(chunk)

        with scope:
            await host.speak(TEXT, {"seed": 1}, lambda chunk: chunk, take)

    alone = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "alone", alone)
        assert await trio.to_thread.run_sync(in_step.wait, 5)
        alone.cancel()
        cancelled.set()
    assert alone.cancelled_caught
    assert len(steps) == 1, "no step after the one that was under way"
    assert not lengths
    assert is_idle(fresh)
    await run("after", trio.CancelScope())
    assert lengths["after"] == len(speak(fresh))


def test_one_that_is_left_gives_all_back(adapter):
    chunks = adapter.speak(LONGER, {})
    next(chunks)
    assert adapter._speaker.pages.in_use > 0
    chunks.close()
    assert is_idle(adapter)


@pytest.mark.parametrize("words", ["", "...", "\U0001f600", "—", "<|endofprompt|>"])
def test_what_cannot_be_spoken_is_silent(adapter, words):
    assert list(adapter.speak(words, {})) == []


def test_long_text_is_spoken_part_by_part(adapter, heard, monkeypatch):
    monkeypatch.setattr(speech, "LEAST_RATIO", 0.1)
    monkeypatch.setattr(speech, "MOST_RATIO", 0.2)
    found = speak(adapter, "How do you do, you and you? It is a canoe. " * 20)
    assert len(heard) > 2
    assert len(found) == sum(len(each.tokens) for each in heard) * 960


def test_runaway_speech_is_cut_off_with_a_fade(adapter, heard, monkeypatch):
    monkeypatch.setattr(speech, "MOST_RATIO", 3)
    monkeypatch.setattr(speech, "LEAST_RATIO", 3)
    found = speak(adapter)
    assert not heard[0].stopped
    assert len(heard[0].tokens) == heard[0].most
    assert found[-1] == 0 != found[-1300]


class Modes:
    """What the model is shown, by options."""

    def __init__(self, adapter):
        self.adapter = adapter

    def __call__(self, **options):
        prompt = self.adapter._prompts.find(options, "en")
        return prompt.words, len(prompt.spoken), len(prompt.voice.tokens)


def test_modes_show_the_model_what_the_librarys_do(fresh):
    shown, reader = Modes(fresh), fresh._reader
    said = reader._tokens(random_pack.SEED_TEXT)
    assert shown() == shown(mode="zero_shot") == (said, 75, 75)
    assert shown(mode="cross_lingual") == ([], 0, 75)
    assert shown(instruct="sound happy") == (reader._tokens("sound happy<|endofprompt|>"), 0, 75)
    assert shown(instruct="sad", mode="cross_lingual")[1:] == (0, 75)
    assert shown(reference_audio="anna") == ([], 0, 50), "nobody knows what is said"
    assert shown(reference_audio="bert") == (reader._tokens("How do you do?"), 50, 50)
    assert shown(reference_audio="anna", reference_text="Hello there.") == (reader._tokens("Hello there."), 50, 50)
    assert shown(reference_text="Hello 2.") == (reader._tokens("Hello two."), 75, 75)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reference_audio": "anna", "mode": "zero_shot"}, r"mode=zero_shot needs its transcript: .*anna\.wav"),
        ({"instruct": "x" * 301}, "option instruct has 301 characters, and must have 1 to 300"),
        ({"instruct": " "}, "option instruct has 1 characters"),
        ({"reference_text": "x" * 1001}, "option reference_text has 1001 characters"),
        ({"instruct": "sad", "mode": "zero_shot"}, "instruct and mode=zero_shot exclude each other"),
        ({"reference_audio": "quiet"}, "is silent"),
        ({"reference_audio": "short"}, "too short"),
        ({"reference_audio": "long"}, "lasts 31 s, and CosyVoice 2 takes at most 30 s"),
        ({"reference_audio": "../seed"}, "is not valid"),
    ],
)
def test_options_that_cannot_be_are_refused_as_a_session_starts(fresh, options, said):
    for name, seconds, gain in (("quiet", 2, 0), ("short", 0.5, 1), ("long", 31, 1)):
        soundfile.write(fresh._prompts._clips / f"{name}.wav", gain * random_pack.voice(seconds), 24_000)
    with pytest.raises(InvalidArgumentError, match=said):
        fresh.prepare(options)
    with pytest.raises(InvalidArgumentError, match=said):
        next(fresh.speak(TEXT, options))
    assert is_idle(fresh)


def test_every_option_is_heard(fresh):
    plain = speak(fresh, "It is 2.", seed=3)
    changes = [
        {"language": "zh"},
        {"speed": 1.2},
        {"temperature": 2.0},
        {"top_k": 1},
        {"top_p": 0.05},
        {"mode": "cross_lingual"},
        {"instruct": "sound happy"},
        {"reference_text": "How do you do?"},
        {"reference_audio": "anna"},
    ]
    for change in changes:
        other = speak(fresh, "It is 2.", seed=3, **change)
        assert other.shape != plain.shape or not np.allclose(other, plain, atol=1e-6), f"{change} changes nothing"


def test_options_are_the_models_own(adapter, pack):
    options = adapter.session_options()
    assert "speaker" not in options
    assert (options["language"].choices, options["language"].default) == (("en", "zh"), "en")
    assert (options["top_k"].default, options["top_p"].default) == (25, 0.8)
    assert [name for name, option in options.items() if option.voice] == ["reference_audio"]
    with pytest.raises(InvalidArgumentError, match=r"language='fr' .* one of: en, zh"):
        parse_options({"language": "fr"}, options)
    with pytest.raises(InvalidArgumentError, match="mode='other'"):
        parse_options({"mode": "other"}, options)
    assert adapter.model_info["languages"] == ["en", "zh"]
    assert adapter.model_info["model_id"] == pack.model_id


def test_prepare_does_it_all(fresh):
    fresh.prepare({"reference_audio": "anna"})
    assert fresh._voices.computed == 1
    prompts = len(fresh._flow._prompts)
    speak(fresh, reference_audio="anna")
    assert fresh._voices.computed == 1
    assert len(fresh._flow._prompts) == prompts
    with pytest.raises(NotFoundError, match=r"there is no recording 'nobody'; there are: seed.wav, anna"):
        fresh.prepare({"reference_audio": "nobody"})


def test_speakers_of_the_model(pack, tmp_path, voice):
    saved = {
        "prompt_text": torch.tensor([[5, 6, 7]]),
        "flow_prompt_speech_token": voice.tokens[None],
        "prompt_speech_feat": voice.mel[None],
        "flow_embedding": voice.speaker,
    }
    torch.save({"Anna": saved, "Bert": {"embedding": voice.speaker}}, tmp_path / "spk2info.pt")
    files = {role: path for role, path in pack.files.items() if role != "seed.wav"}
    brings = replace(pack, files=files | {"spk2info.pt": tmp_path / "spk2info.pt"})
    adapter = CosyVoice2Adapter.load(brings, EngineSettings())
    assert adapter.session_options()["speaker"].choices == ("Anna", "Bert")
    shown = Modes(adapter)
    assert shown(speaker="Anna") == ([5, 6, 7], 75, 75)
    assert shown(speaker="Anna", mode="cross_lingual") == ([], 0, 75)
    assert shown(speaker="Bert") == ([], 0, 0)
    assert not np.allclose(speak(adapter, speaker="Anna")[:4000], speak(adapter, speaker="Bert")[:4000])
    with pytest.raises(InvalidArgumentError, match=r"mode=zero_shot needs its transcript: .*speaker Bert"):
        adapter.prepare({"speaker": "Bert", "mode": "zero_shot"})
    with pytest.raises(InvalidArgumentError, match="speaker and reference_audio both name a voice; give one"):
        adapter.prepare({"speaker": "Bert", "reference_audio": "anna"})
    with pytest.raises(InvalidArgumentError, match="has no voice of its own"):
        adapter.prepare({})


def test_a_pack_whose_languages_the_model_lacks_is_refused(pack):
    with pytest.raises(UnavailableError, match=r"none of its languages \(xx\) is one of the model's"):
        CosyVoice2Adapter.load(replace(pack, languages=("xx",)), EngineSettings())


def test_a_pack_of_another_rate_is_refused(pack):
    with pytest.raises(UnavailableError, match=r"its metadata says 22050 Hz, but the model speaks at 24000 Hz"):
        CosyVoice2Adapter.load(replace(pack, sample_rate=22_050), EngineSettings())


def test_a_device_that_is_not_there_is_told(pack):
    with pytest.raises(UnavailableError, match=r"is not there: torch .* sees cpu"):
        CosyVoice2Adapter.load(pack, EngineSettings(device="cuda:97"))


def test_half_precision_says_the_same(model, voice, adapter):
    """The flow as 16-bit numbers, as a GPU has it, tried on the CPU with its own kind of them."""
    from copy import deepcopy  # noqa: PLC0415

    from ttsw.adapters.cosyvoice2.flow import Flow  # noqa: PLC0415
    from ttsw.adapters.cosyvoice2.language_model import CosyVoiceSampling, TokenGenerator  # noqa: PLC0415

    half = replace(model, flow=deepcopy(model.flow).half(), llm=deepcopy(model.llm).half())
    tokens = list(range(60))
    found = []
    for each in (model, half):
        flow = Flow(each, 1)
        made = flow.open(voice)
        found.append(torch.cat([flow.push(made, tokens[:28], end=False), flow.push(made, tokens, end=True)]))
        assert found[-1].dtype == torch.float32
        flow.close(made)
    assert (found[0] - found[1]).abs().mean() < 0.01
    rows = []
    for each in (model, half):
        speaker = TokenGenerator(each.llm, 64)
        row = speaker.open([5, 6], [7, 8], voice.tokens, CosyVoiceSampling(), np.random.default_rng(0))
        logits = []
        for _ in range(3):
            (made,) = speaker.step([row])
            logits.append(made.logits)
            row.accept(made)
        rows.append(np.stack(logits))
    assert rows[1].dtype == np.float32
    assert np.abs(rows[0][0] - rows[1][0]).max() < 0.05


def test_closed_while_idle_it_is_gone(fresh):
    chunks = fresh.speak(TEXT, {})
    next(chunks)
    chunks.close()
    fresh.close()
    assert not hasattr(fresh, "_speaker")


async def test_it_keeps_the_contract(pack, tmp_path):
    adapter = CosyVoice2Adapter.load(pack, EngineSettings(concurrency=2, cache=tmp_path))
    assert adapter.concurrency == 2
    assert isinstance(adapter.speak(TEXT, {}), Iterator)
    await conformance.check_adapter(adapter)
