"""Sesame CSM by itself, without a worker: what it costs to speak, and to speak in many voices over one model.

`python -m bench.engines.sesame --size tiny|full | --pack DIR` under the family's interpreter, in the repository's root.
Beside it stands what transformers' own `generate` costs on the same weights. Random weights cost what trained ones do;
no utterance ends by itself here, each is cut off after `--frames`. Figures are of this machine, at this moment: the
ratios are those that can be compared.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
import trio
from transformers import CsmForConditionalGeneration

from bench.engines.common import TEXT, Figures, allocated, peak, show, speak_together, stop_to_idle, timed
from ttsw.adapters.base import EngineSettings, TTSAdapter
from ttsw.adapters.sesame import random_pack, text
from ttsw.adapters.sesame.adapter import SesameAdapter
from ttsw.adapters.sesame.engine import CHUNK
from ttsw.adapters.sesame.loras import NONE
from ttsw.types import VoicePack

RANK = 16
LORAS = 4


def main() -> None:
    """Measure, print, and write what was asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--pack", type=Path, help="a voice pack's folder; without it, one of random weights is made")
    asked.add_argument("--size", choices=["tiny", "full"], default="tiny")
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--sessions", default="1,2,4,8", help="how many utterances at once")
    asked.add_argument("--frames", type=int, default=75, help="length of an utterance, 80 ms each")
    asked.add_argument("--threads", type=int, default=1, help="threads of one step, on the CPU")
    asked.add_argument("--no-library", action="store_true", help="leave out what transformers costs")
    asked.add_argument("--json", type=Path)
    args = asked.parse_args()
    torch.set_num_threads(args.threads)
    sessions = [int(each) for each in args.sessions.split(",")]
    with TemporaryDirectory() as folder:
        root = args.pack or Path(folder) / args.size
        if args.pack is None:
            random_pack.build(root, args.size)
        figures = measure(root, Path(folder), args.device, sessions, args.frames, library=not args.no_library)
    show(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2), "utf-8")


def measure(root: Path, folder: Path, device: str, sessions: Sequence[int], frames: int, *, library: bool) -> Figures:
    """Take all figures of a pack on a device."""
    before, started = allocated(device), perf_counter()
    adapter = SesameAdapter.load(read_pack(root), EngineSettings(device=device, concurrency=max(sessions)))
    figures: Figures = {"device": device, "torch": torch.__version__, "threads": torch.get_num_threads()}
    figures |= {"load_s": perf_counter() - started, "load_mb": allocated(device) - before}
    engine = adapter._engine
    engine.decoder.end = -1
    text.LEAST_S, text.PER_LETTER_S = (frames + 0.5) / engine.codec.frame_rate, 0.0
    figures["step_ms_by_rows"] = {rows: step_ms(adapter, [NONE] * rows) for rows in sessions}
    figures["codec_ms_a_frame_by_chunk"] = {size: codec_ms(adapter, size) for size in (1, 2, 4, CHUNK, 12)}
    figures["by_sessions"] = {count: trio.run(speak_together, [adapter] * count) for count in sessions}
    figures["stop_to_idle_ms"] = trio.run(stop_to_idle, adapter)
    if library:
        figures["chunks"] = chunk_times(adapter, root, frames)
    figures["lora"] = lora(adapter, root, folder, max(sessions))
    figures["peak_mb"] = peak(device)
    adapter.close()
    del adapter, engine
    figures["left_mb"] = allocated(device) - before
    return figures


def read_pack(root: Path, base: str = "") -> VoicePack:
    """Describe a voice pack without what reads metadata."""
    files = {path.name: path for path in root.rglob("*") if path.is_file()}
    return VoicePack("sesame", root.name, root, languages=("en",), sample_rate=24_000, files=files, base=base)


def step_ms(adapter: SesameAdapter, voices: Sequence[int]) -> float:
    """The median time of a step with so many utterances in these voices, about 100 positions each, ms."""
    decoder, draws = adapter._engine.decoder, adapter._engine.draws
    rows = [
        decoder.open(decoder.embed_text([5] * (60 + number)), 900, draws, np.random.default_rng(number), voice)
        for number, voice in enumerate(voices)
    ]
    times = []
    for number in range(len(rows) + 3 + repeats(adapter)):
        started = perf_counter()
        for row, made in zip(rows, decoder.step(rows), strict=True):
            if made is not None:
                row.accept(made)
        times += [perf_counter() - started] * (number >= len(rows) + 3)
    for row in rows:
        decoder.close(row)
    return median(times) * 1000


def codec_ms(adapter: SesameAdapter, size: int) -> float:
    """The time of a frame's audio, where so many are made at once, ms."""
    engine = adapter._engine
    codes = torch.randint(0, 64, (size, engine.decoder.books), device=engine.device)
    speech, times = engine.codec.open(), []
    for _ in range(2 + repeats(adapter)):
        started = perf_counter()
        speech.push(codes)
        times.append(perf_counter() - started)
    return median(times[2:]) * 1000 / size


def lora(adapter: SesameAdapter, root: Path, folder: Path, rows: int) -> Figures:
    """What voices over one model cost: to load, to change, to keep, and in steps of all of them."""
    make = random_pack.build_lora
    attached: list[TTSAdapter] = []
    figures: Figures = {}
    make(folder / "lora", root, rank=RANK)
    loads = []
    for _ in range(LORAS):
        started = perf_counter()
        attached.append(adapter.attach(read_pack(folder / "lora", adapter.pack.model_id)))
        loads.append(perf_counter() - started)
    loras = adapter._engine.loras
    numbers = sorted(loras.numbers)
    figures["load_ms"] = [each * 1000 for each in loads]
    figures["mb_each"] = loras.bytes / LORAS / 1e6
    plain = step_ms(adapter, [NONE] * rows)
    figures[f"step_ms_{rows}_rows_plain"] = plain
    figures[f"step_ms_{rows}_rows_one_voice"] = one = step_ms(adapter, numbers[:1] * rows)
    mixed = [(NONE, *numbers)[number % (LORAS + 1)] for number in range(rows)]
    figures[f"step_ms_{rows}_rows_mixed"] = many = step_ms(adapter, mixed)
    figures |= {"one_voice_to_plain": one / plain, "mixed_to_plain": many / plain}
    figures["change_of_voice_ms"] = change_ms(attached)
    figures["together"] = trio.run(speak_together, [adapter, *attached])
    started = perf_counter()
    attached.pop().close()
    figures["unload_ms"] = (perf_counter() - started) * 1000
    for each in attached:
        each.close()
    return figures


def change_ms(voices: Sequence[TTSAdapter]) -> float:
    """How much later the first audio comes if the utterance before had another voice, ms."""
    times: tuple[list[float], list[float]] = [], []
    for number in range(4 * LORAS + 2):
        started = perf_counter()
        chunks = voices[number // 2 % len(voices)].speak(TEXT, {"seed": number})
        next(chunks)
        times[number % 2].append(perf_counter() - started)
        chunks.close()  # type: ignore[attr-defined]  # it is a generator
    changed, same = (median(each[1:]) for each in times)  # the very first is slower in any case
    return (changed - same) * 1000


def chunk_times(adapter: SesameAdapter, root: Path, frames: int) -> Figures:
    """How the time of a chunk grows with what was spoken: of ours, and of the library's, by turns.

    The library's `generate` hands out frames; of these it can make audio all at once only: that is what a chunk costs.
    """
    engine = adapter._engine
    model = CsmForConditionalGeneration.from_pretrained(root, dtype=engine.model.kind).to(engine.device).eval()
    ours, library, alone = [], [], []
    for _ in range(2):
        ours.append([*timed(adapter.speak(TEXT, {"seed": 1}))][3:-1])  # of equal size
        made, frame_s = by_library(model, adapter, frames)
        library.append(made)
        alone.append(frame_s)
    mine, theirs = ([min(each) for each in zip(*runs, strict=False)] for runs in (ours, library))
    return {
        "ours_ms": [each * 1000 for each in mine],
        "library_ms": [each * 1000 for each in theirs],
        "ours_last_to_first": mine[-1] / mine[0],
        "library_last_to_first": theirs[-1] / theirs[0],
        "last_chunk_library_to_ours": theirs[-1] / mine[-1],
        "whole_library_to_ours": sum(map(sum, library)) / sum(map(sum, ours)) * (len(mine) / len(theirs)),
        "library_frame_ms": min(alone) * 1000,
    }


def by_library(model: CsmForConditionalGeneration, adapter: SesameAdapter, frames: int) -> tuple[list[float], float]:
    """Give the seconds of each chunk by the library, and those of a frame without its audio."""
    marks, made, spent = [perf_counter()], [], [0.0]

    class Streamer:
        def put(self, frame: torch.Tensor) -> None:
            if frame.shape[-1] != adapter._engine.decoder.books:
                return  # the prompt
            made.append(frame.reshape(1, -1))
            if len(made) % CHUNK == 0:
                started = perf_counter()
                codes = torch.cat(made).clamp(max=model.config.codec_config.codebook_size - 1)
                model.codec_model.decode(codes.T[None].to(model.device)).audio_values.cpu()
                marks.append(perf_counter())
                spent[0] += marks[-1] - started

        def end(self) -> None:
            """Nothing is left over."""

    tokens = torch.tensor([adapter._engine.reader.encode(TEXT, 0)], device=model.device)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        model.generate(input_ids=tokens, max_new_tokens=frames, suppress_tokens=[0], streamer=Streamer())
    whole = marks[-1] - marks[0] - spent[0]
    return [after - before for before, after in pairwise(marks)], whole / (len(made) // CHUNK * CHUNK)


def repeats(adapter: SesameAdapter) -> int:
    """How often to do what is timed: less often where a step takes seconds."""
    large = adapter._engine.model.config.hidden_size > 1000 and adapter._engine.device.type == "cpu"
    return 3 if large else 20


if __name__ == "__main__":
    main()
