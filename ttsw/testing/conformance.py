"""What every adapter must do, as a function: `await check_adapter(adapter)`, or of a host that has loaded it.

Each check speaks through a host, as the worker does. A fault is an AssertionError that says what was expected.
"""

import math
from collections.abc import Mapping

import numpy as np
import trio

from ttsw.adapters.base import TTSAdapter
from ttsw.adapters.hosts.base import Host, ModelDescription
from ttsw.adapters.hosts.thread import ThreadHost
from ttsw.options import OptionValue, parse_options
from ttsw.types import Samples

LONGEST_TEXT = 4_096
"""Characters of an option's text, at most."""

TEXT = "The birch canoe slid on the smooth planks."
OTHER_TEXT = "Glue the sheet to the dark blue background."

ROUNDING = 1e-3
"""Differences of samples that nobody hears: -60 dB. What is computed beside others is rounded otherwise than alone."""


async def check_adapter(adapter: TTSAdapter | Host, options: Mapping[str, str] | None = None) -> None:
    """Check an adapter against the contract of `TTSAdapter`. Closes it in the end.

    Args:
        adapter: A loaded model, or a host that has one.
        options: Session options to check it with.

    Raises:
        AssertionError: The adapter breaks the contract.
    """
    host: Host = ThreadHost(adapter) if isinstance(adapter, TTSAdapter) else adapter
    values = parse_options(options or {}, host.model.options)
    if "seed" in host.model.options:
        values.setdefault("seed", 1)
    check_description(host.model)
    if host.model.prepares:
        await host.prepare(values)
    spoken = await check_speech(host, values)
    await check_leaving(host, values)
    await check_interleaving(host, values, spoken)
    await check_concurrency(host, values)
    await host.close()


def check_description(model: ModelDescription) -> None:
    """What the adapter says of itself is whole, and its options are usable as declared."""
    for key in ("model_id", "family", "sample_rate", "languages"):
        assert key in model.info, f"model_info lacks {key!r}"
    assert model.info["model_id"] == model.pack.model_id, "model_info names another model than the voice pack"
    assert 8_000 <= model.sample_rate <= 192_000, f"sample_rate {model.sample_rate} Hz is no rate of speech"
    assert model.concurrency >= 1, "concurrency is the number of steps that may run at once: at least 1"
    if model.info.get("zero_shot"):
        assert "reference_audio" in model.options, "zero_shot is claimed, and no recording can be shown"
    for name, option in model.options.items():
        assert name.isidentifier(), f"option {name!r} is no identifier"
        assert option.help, f"option {name!r} has no help"
        if option.default is not None:
            option.parse(name, str(option.default))
        bounded = math.isfinite(option.low) and math.isfinite(option.high)
        assert bounded or option.kind not in {"int", "float"}, f"option {name!r} takes a number of any size"
        assert option.longest <= LONGEST_TEXT, f"option {name!r} takes {option.longest} characters"


async def check_speech(host: Host, values: Mapping[str, OptionValue]) -> Samples:
    """Text becomes finite mono float32 audio in chunks, each step coming to an end."""
    chunks = await _speak(host, TEXT, values)
    assert chunks, "a sentence gave no audio at all"
    for chunk in chunks:
        assert isinstance(chunk, np.ndarray), f"a chunk is a {type(chunk).__name__}, not a numpy array"
        assert chunk.dtype == np.float32, f"a chunk is {chunk.dtype}, not float32"
        assert chunk.ndim == 1, f"a chunk has shape {chunk.shape}, not (n,)"
        assert np.isfinite(chunk).all(), "a chunk has samples that are NaN or infinite"
    spoken = np.concatenate(chunks)
    seconds = len(spoken) / host.model.sample_rate
    assert 0.2 < seconds < 60, f"{len(TEXT)} characters became {seconds:.2f} s of audio"
    assert np.abs(spoken).max() > 1e-3, "the audio is silent"
    return spoken


async def check_leaving(host: Host, values: Mapping[str, OptionValue]) -> None:
    """An utterance may be left at any chunk, and before the first; the model then speaks as if nothing had been."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await _speak(host, TEXT, values)
    assert scope.cancelled_caught, "a cancelled utterance went on to its end"
    with trio.CancelScope() as scope:

        async def leave(_chunk: Samples, _seconds: float) -> None:
            scope.cancel()
            await trio.lowlevel.checkpoint()

        await host.speak(TEXT, values, lambda chunk: chunk, leave)
    assert scope.cancelled_caught, "an utterance went on after its listener had left"
    assert await _speak(host, TEXT, values), "after a cancelled utterance the model says nothing"


async def check_interleaving(host: Host, values: Mapping[str, OptionValue], spoken: Samples) -> None:
    """Two utterances step by step beside each other are what each is alone: nothing is shared between them."""
    results: dict[str, list[Samples]] = {}

    async def run(name: str, text: str) -> None:
        results[name] = await _speak(host, text, values)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, "one", TEXT)
        nursery.start_soon(run, "other", OTHER_TEXT)
    if "seed" in values or _same(np.concatenate(await _speak(host, TEXT, values)), spoken):
        assert _same(np.concatenate(results["one"]), spoken), (
            "the same text and seed sound different when another utterance runs beside"
        )


async def check_concurrency(host: Host, values: Mapping[str, OptionValue]) -> None:
    """More utterances than places all come to their end."""
    finished = 0

    async def run() -> None:
        nonlocal finished
        assert await _speak(host, TEXT, values), "an utterance among others gave no audio"
        finished += 1

    wanted = min(host.model.concurrency + 2, 6)
    async with trio.open_nursery() as nursery:
        for _ in range(wanted):
            nursery.start_soon(run)
    assert finished == wanted, f"{finished} of {wanted} utterances came to their end"


async def _speak(host: Host, text: str, values: Mapping[str, OptionValue]) -> list[Samples]:
    chunks: list[Samples] = []

    async def keep(chunk: Samples, _seconds: float) -> None:
        chunks.append(chunk)

    await host.speak(text, values, lambda chunk: chunk, keep)
    return chunks


def _same(one: Samples, other: Samples) -> bool:
    return len(one) == len(other) and np.allclose(one, other, rtol=0, atol=ROUNDING)
