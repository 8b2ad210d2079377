"""XTTS-v2 by itself, without a worker: what it costs to speak, beside what the library's own stream costs.

`python -m bench.engines.xtts --size tiny|full | --pack DIR` under the family's interpreter, in the repository's root.
Random weights cost what trained ones do; a model of them never ends by itself, so each utterance is cut off after
`--tokens`. Figures are of this machine, at this moment: the ratios are those that can be compared.
"""

import argparse
import json
from collections.abc import Iterator
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
from ttsw.adapters.xtts import random_pack, text
from ttsw.adapters.xtts.adapter import CHUNK, XttsAdapter
from ttsw.adapters.xtts.reference_voice import XttsReference
from ttsw.types import VoicePack

TOKENS_PER_S = 22_050 / 1024


def main() -> None:
    """Measure, print, and write what was asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--pack", type=Path, help="a voice pack's folder; without it, one of random weights is made")
    asked.add_argument("--size", choices=["tiny", "full"], default="tiny")
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--sessions", default="1,2,4,8", help="how many utterances at once")
    asked.add_argument("--tokens", type=int, default=144, help="length of an utterance, 46 ms each")
    asked.add_argument("--json", type=Path)
    args = asked.parse_args()
    sessions = [int(each) for each in args.sessions.split(",")]
    with TemporaryDirectory() as folder:
        root = args.pack or make_pack(Path(folder) / args.size, args.size)
        figures = measure(root, args.device, sessions, args.tokens)
    show(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2), "utf-8")


def make_pack(root: Path, size: Literal["tiny", "full"]) -> Path:
    """Write a voice pack of random weights."""
    random_pack.build(root, size, most_tokens=602)
    return root


def measure(root: Path, device: str, sessions: list[int], tokens: int) -> Figures:
    """Take all figures of a pack on a device."""
    files = {path.name: path for path in root.rglob("*") if path.is_file()}
    pack = VoicePack("xtts-v2", root.name, root, languages=("en",), sample_rate=24_000, files=files)
    text.LEAST_S, text.PER_LETTER_S = (tokens + 0.5) / TOKENS_PER_S, 0.0
    before, started = allocated(device), perf_counter()
    adapter = XttsAdapter.load(pack, EngineSettings(device=device, concurrency=max(sessions)))
    figures: Figures = {"device": device, "torch": torch.__version__, "threads": torch.get_num_threads()}
    figures |= {"load_s": perf_counter() - started, "load_mb": allocated(device) - before}
    started = perf_counter()
    adapter.prepare({})
    figures["clone_s"] = perf_counter() - started
    figures["step_ms_by_rows"] = {rows: step_ms(adapter, rows) for rows in sessions}
    figures["chunks"] = chunk_times(adapter, tokens)
    figures["by_sessions"] = {count: trio.run(speak_together, [adapter] * count) for count in sessions}
    figures["stop_to_idle_ms"] = trio.run(stop_to_idle, adapter)
    figures["peak_mb"] = peak(device)
    adapter.close()
    del adapter
    figures["left_mb"] = allocated(device) - before
    return figures


def step_ms(adapter: XttsAdapter, rows: int) -> float:
    """The median time of a step with so many utterances, about 130 positions each, ms."""
    decoder, voice = adapter._decoder, adapter._voice({})
    chance = np.random.default_rng(0)
    how = adapter._sampling({})
    utterances = [decoder.open(voice.latents, [5] * (60 + row), 600, how, chance) for row in range(rows)]
    times = []
    for number in range(rows + 24):
        started = perf_counter()
        for utterance, made in zip(utterances, decoder.step(utterances), strict=True):
            if made is not None:
                utterance.accept(made)
        times += [perf_counter() - started] * (number >= rows + 4)
    for utterance in utterances:
        decoder.close(utterance)
    return median(times) * 1000


def chunk_times(adapter: XttsAdapter, tokens: int) -> Figures:
    """How the time of a chunk grows with what was spoken: of ours and of the library's stream, run by turns."""
    voice, most = adapter._voice({}), tokens // CHUNK * CHUNK
    ours, library = [], []
    for _ in range(2):
        ours.append([*timed(adapter.speak(TEXT, {"seed": 1}))][3:-1])  # of equal size
        library.append([*timed(by_library(adapter, voice, most))][:-1])
    mine, theirs = ([min(each) for each in zip(*runs, strict=False)] for runs in (ours, library))
    return {
        "ours_ms": [each * 1000 for each in mine],
        "library_ms": [each * 1000 for each in theirs],
        "ours_last_to_first": mine[-1] / mine[0],
        "library_last_to_first": theirs[-1] / theirs[0],
        "last_chunk_library_to_ours": theirs[-1] / mine[-1],
        "whole_library_to_ours": sum(map(sum, library)) / sum(map(sum, ours)) * (len(mine) / len(theirs)),
    }


def by_library(adapter: XttsAdapter, voice: XttsReference, tokens: int) -> Iterator[Any]:
    """Give the library's stream of the same weights."""
    model = adapter._model
    if not hasattr(model.gpt, "gpt_inference"):
        model.gpt.init_gpt_for_inference()
        model.gpt.gpt_inference.train(mode=False)
    for chunk in model.inference_stream(
        TEXT,
        "en",
        voice.latents,
        voice.speaker,
        stream_chunk_size=CHUNK,
        max_new_tokens=tokens,
        suppress_tokens=[model.gpt.stop_audio_token],
    ):
        yield chunk.cpu()


if __name__ == "__main__":
    main()
