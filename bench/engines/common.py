"""What benches of families on torch share: utterances at once, interrupted ones, memory, and how all is shown."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
import trio

from ttsw.adapters.base import TTSAdapter
from ttsw.adapters.hosts.thread import ThreadHost
from ttsw.types import Samples

TEXT = "The birch canoe slid on the smooth planks, and nobody saw it go."
ROUNDS = 5

Figures = dict[str, Any]


def timed(chunks: Iterator[Any]) -> Iterator[float]:
    """Yield the seconds that each chunk took."""
    marks = [perf_counter()]
    marks += (perf_counter() for _ in chunks)
    return (after - before for before, after in pairwise(marks))


async def speak_together(voices: Sequence[TTSAdapter]) -> Figures:
    """One utterance of each at once, in rounds: time to the first audio, and seconds that a second of audio takes."""
    base = ThreadHost(voices[0])
    hosts = [ThreadHost(voice, base._places) for voice in voices]  # as in a worker, they take turns
    first, audio_s, spent = [], 0.0, 0.0

    async def one(voice: TTSAdapter, number: int, started: float) -> None:
        heard: list[float] = []

        async def take(chunk: Samples, _seconds: float) -> None:
            nonlocal audio_s
            await trio.lowlevel.checkpoint()
            heard.append(perf_counter() - started)
            audio_s += len(chunk) / voice.sample_rate

        await hosts[number].speak(TEXT, {"seed": number}, lambda chunk: chunk, take)
        first.append(heard[0])

    for _ in range(ROUNDS if torch.cuda.is_available() else 2):
        started = perf_counter()
        async with trio.open_nursery() as nursery:
            for number, voice in enumerate(voices):
                nursery.start_soon(one, voice, number, started)
        spent += perf_counter() - started
    p95 = quantiles(first, n=20, method="inclusive")[-1] if len(first) > 1 else first[0]
    return {
        "ttfa_p50_ms": median(first) * 1000,
        "ttfa_p95_ms": p95 * 1000,
        "rtf_all": spent / audio_s,
        "rtf_each": spent / audio_s * len(voices),
    }


async def stop_to_idle(adapter: TTSAdapter) -> float:
    """From the cancelling of an utterance, within a step, to the model's rest: the median, ms."""
    host, times = ThreadHost(adapter), []

    async def take(_chunk: Samples, _seconds: float) -> None:
        await trio.lowlevel.checkpoint()

    for number in range(ROUNDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.speak, TEXT, {"seed": number}, lambda chunk: chunk, take)
            await trio.sleep(0.2 + 0.03 * number)
            started = perf_counter()
            nursery.cancel_scope.cancel()
        times.append(perf_counter() - started)
    return median(times) * 1000


def allocated(device: str) -> float:
    """Memory that torch holds on a GPU, MB; of main memory torch keeps no count: 0."""
    return torch.cuda.memory_allocated(device) / 1e6 if device.startswith("cuda") else 0.0


def peak(device: str) -> float:
    """The most that torch has held on a GPU, MB."""
    return torch.cuda.max_memory_allocated(device) / 1e6 if device.startswith("cuda") else 0.0


def show(figures: Figures, indent: str = "") -> None:
    """Print figures, line by line."""
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "  ")
        elif isinstance(value, list):
            print(f"{indent}{name}: {' '.join(f'{each:.0f}' for each in value)}")
        else:
            print(f"{indent}{name}: {value:.3g}" if isinstance(value, float) else f"{indent}{name}: {value}")
