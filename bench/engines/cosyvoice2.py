"""CosyVoice 2 by itself, without a worker: what it costs to speak, beside what the library's own stream costs.

`python -m bench.engines.cosyvoice2 --size tiny|full | --pack DIR` under the family's interpreter, in the repository's
root. Random weights cost what trained ones do; each utterance has `--tokens`, 40 ms each. Figures are of this machine,
at this moment: the ratios are those that can be compared. The library's stream is run by its `token2wav`, piece after
piece as its `tts` does, without that one's thread and its waiting.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
import trio

from bench.engines.common import TEXT, Figures, allocated, peak, show, speak_together, stop_to_idle, timed
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.cosyvoice2 import language_model as speech
from ttsw.adapters.cosyvoice2 import random_pack
from ttsw.adapters.cosyvoice2.adapter import CosyVoice2Adapter, next_goal
from ttsw.adapters.cosyvoice2.checkpoint import load_model
from ttsw.adapters.cosyvoice2.encoder import AHEAD
from ttsw.adapters.cosyvoice2.stream import STEPS
from ttsw.types import VoicePack

TOKENS_PER_S = 25


def main() -> None:
    """Measure, print, and write what was asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--pack", type=Path, help="a voice pack's folder; without it, one of random weights is made")
    asked.add_argument("--size", choices=["tiny", "full"], default="tiny")
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--threads", type=int, help="threads of one inference, on the CPU")
    asked.add_argument("--sessions", default="1,2,4,8", help="how many utterances at once")
    asked.add_argument("--tokens", type=int, default=200, help="length of an utterance, 40 ms each")
    asked.add_argument("--json", type=Path)
    args = asked.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    sessions = [int(each) for each in args.sessions.split(",")]
    with TemporaryDirectory() as folder:
        root = args.pack or make_pack(Path(folder) / args.size, args.size)
        figures = measure(root, args.device, args.threads, sessions, args.tokens)
    show(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2), "utf-8")


def make_pack(root: Path, size: Literal["tiny", "full"]) -> Path:
    """Write a voice pack of random weights."""
    random_pack.build(root, size)
    return root


def measure(root: Path, device: str, threads: int | None, sessions: list[int], tokens: int) -> Figures:
    """Take all figures of a pack on a device."""
    files = {path.name: path for path in root.rglob("*") if path.is_file()}
    files |= {f"text_{path.name}": path for path in (root / "CosyVoice-BlankEN").iterdir()}
    pack = VoicePack("cosyvoice2", root.name, root, languages=("en",), sample_rate=24_000, files=files)
    before, started = allocated(device), perf_counter()
    adapter = CosyVoice2Adapter.load(pack, EngineSettings(device=device, threads=threads, concurrency=max(sessions)))
    figures: Figures = {"device": device, "torch": torch.__version__, "threads": torch.get_num_threads()}
    figures |= {"load_s": perf_counter() - started, "load_mb": allocated(device) - before}
    (said,) = adapter._reader.read(TEXT, "en")
    ratio: Any = (tokens + 0.5) / len(said)
    speech.LEAST_RATIO = speech.MOST_RATIO = ratio
    started = perf_counter()
    adapter.prepare({})
    figures["clone_s"] = perf_counter() - started
    figures["llm_step_ms_by_rows"] = step_ms(adapter, sessions)
    figures["flow_piece_ms_by_rows"] = piece_ms(adapter, sessions)
    for name in ("llm_step", "flow_piece"):
        by_rows = figures[f"{name}_ms_by_rows"]
        figures[f"{name}_gain_by_rows"] = {rows: rows * by_rows[1] / by_rows[rows] for rows in by_rows if 1 in by_rows}
    figures["chunks"] = chunk_times(adapter, pack, tokens)
    figures["by_sessions"] = {count: trio.run(speak_together, [adapter] * count) for count in sessions}
    figures["stop_to_idle_ms"] = trio.run(stop_to_idle, adapter)
    figures["peak_mb"] = peak(device)
    adapter.close()
    del adapter
    figures["left_mb"] = allocated(device) - before
    return figures


def step_ms(adapter: CosyVoice2Adapter, sessions: list[int]) -> dict[int, float]:
    """The median time of the language model's step with so many utterances, about 130 positions each, ms."""
    speaker, prompt, found = adapter._speaker, adapter._prompts.find({}, "en"), {}
    for rows in sessions:
        utterances = [
            speaker.open(prompt.words, [5] * 40, prompt.spoken, adapter._sampling, np.random.default_rng(row))
            for row in range(rows)
        ]
        times = []
        for number in range(rows + 24):
            started = perf_counter()
            for utterance, made in zip(utterances, speaker.step(utterances), strict=True):
                if made is not None:
                    utterance.accept(made)
            times += [perf_counter() - started] * (number >= rows + 4)
        for utterance in utterances:
            speaker.close(utterance)
        found[rows] = median(times) * 1000
    return found


def piece_ms(adapter: CosyVoice2Adapter, sessions: list[int]) -> dict[int, float]:
    """The median time of the ten steps of a piece of 1 s, of so many utterances together, ms."""
    flow, prompt, found = adapter._flow, adapter._prompts.find({}, "en"), {}
    estimator = flow._estimator
    for rows in sessions:
        made = [flow.open(prompt.voice) for _ in range(rows)]
        streams = [each.stream for each in made]
        times = []
        for number in range(6):
            for stream in streams:
                noise = flow._noise[:50]
                stream.give(noise, torch.cat([noise, noise], dim=1).to(estimator.kind), 1)
            started = perf_counter()
            for _ in range(STEPS):
                for stream, result in zip(streams, estimator.step(streams), strict=True):
                    if result is not None:
                        stream.accept(result)
            synchronize(adapter)
            times += [perf_counter() - started] * (number > 1)
            for stream in streams:
                stream.forget(0)
        for each in made:
            flow.close(each)
        found[rows] = median(times) * 1000
    return found


def chunk_times(adapter: CosyVoice2Adapter, pack: VoicePack, tokens: int) -> Figures:
    """How the time of tokens' audio grows with what was spoken: of ours and of the library's stream, run by turns."""
    said = np.random.default_rng(0).integers(0, adapter._model.flow.vocab_size, tokens).tolist()
    library = by_library(adapter, pack)
    ours, theirs = [], []
    for _ in range(2):
        ours.append([*timed(by_us(adapter, said))])
        theirs.append([*timed(library(said))])
    mine, other = ([min(each) for each in zip(*runs, strict=True)] for runs in (ours, theirs))
    first, their_first, mine, other = mine[0], other[0], mine[2:-1], other[1:-1]  # of equal size, all that are left
    return {
        "ours_ms": [each * 1000 for each in mine],
        "library_ms": [each * 1000 for each in other],
        "ours_last_to_first": mine[-1] / mine[0],
        "library_last_to_first": other[-1] / other[0],
        "last_chunk_library_to_ours": other[-1] / mine[-1],
        "first_ours_ms": first * 1000,
        "first_library_ms": their_first * 1000,
        "first_tokens_ours": 13 + AHEAD,
        "first_tokens_library": 25 + -len(adapter._prompts.find({}, "en").voice.tokens) % 25 + AHEAD,
    }


def by_us(adapter: CosyVoice2Adapter, tokens: list[int]) -> Iterator[Any]:
    """Give our stream of tokens."""
    voice = adapter._prompts.find({}, "en").voice
    spectrogram, speech_ = adapter._flow.open(voice), adapter._vocoder.open(np.random.default_rng(0))
    goal = 0
    while goal < len(tokens):
        goal = next_goal(goal, len(voice.tokens), adapter._flow.chunk)
        end = goal + AHEAD >= len(tokens)
        goal = len(tokens) if end else goal
        yield speech_.push(adapter._flow.push(spectrogram, tokens[: goal + AHEAD], end=end), end=end)
    adapter._flow.close(spectrogram)


def by_library(adapter: CosyVoice2Adapter, pack: VoicePack) -> Callable[[list[int]], Iterator[Any]]:
    """Give the library's stream of the same weights, as float32 on the CPU, as 16-bit numbers on a GPU."""
    from cosyvoice.cli.model import CosyVoice2Model  # noqa: PLC0415 - after what makes it possible

    half = adapter._device.type == "cuda"
    loaded = load_model(pack, adapter._device)
    positions = [loaded.flow.encoder.embed.pos_enc, loaded.flow.encoder.up_embed.pos_enc]
    for each in positions:  # these were made without memory
        each.pe = None
        each.extend_pe(torch.zeros(1, 5000, device=adapter._device))
    model = CosyVoice2Model(loaded.llm, loaded.flow, loaded.hift, fp16=half)
    model.device = adapter._device
    voice = adapter._prompts.find({}, "en").voice

    def stream(tokens: list[int]) -> Iterator[Any]:
        prompt, spoken, offset = voice.tokens[None], torch.tensor([tokens]), 0
        model.hift_cache_dict["one"] = None
        given: Mapping[str, Any] = {
            "prompt_token": prompt,
            "prompt_feat": voice.mel[None],
            "embedding": voice.speaker,
            "uuid": "one",
        }
        hop = 25 + -prompt.shape[1] % 25
        while len(tokens) - offset >= hop + AHEAD:
            known = spoken[:, : offset + hop + AHEAD]
            yield model.token2wav(known, token_offset=offset, stream=True, finalize=False, **given).cpu()
            offset, hop = offset + hop, 25
        yield model.token2wav(spoken, token_offset=offset, finalize=True, **given).cpu()

    return stream


def synchronize(adapter: CosyVoice2Adapter) -> None:
    """Wait until a GPU has done what it was given."""
    if adapter._device.type == "cuda":
        torch.cuda.synchronize(adapter._device)


if __name__ == "__main__":
    main()
