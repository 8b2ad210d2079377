"""The way of a chunk from its engine to who takes it: `python -m bench.clients.chunks MS UTTERANCES CHUNKS ROUNDS`.

The same engine in threads of this process and in a process of its own, by turns: in a round, UTTERANCES at once have
CHUNKS chunks of MS each from the one, then from the other. No chunk waits for one before it to be taken. What is timed
ends where `take` is called, and begins where the engine has the samples, in whichever process that is.
"""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import monotonic_ns

import trio

from bench.clients import stamping
from bench.clients.sessions import tell
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.base import Host
from ttsw.adapters.hosts.engine_processes import open_engine_processes
from ttsw.adapters.hosts.launch import Launch
from ttsw.adapters.hosts.thread import open_thread_host
from ttsw.app import settle_interpreter
from ttsw.options import OptionValue
from ttsw.sessions.stats import percentile
from ttsw.system.logs import configure_logging
from ttsw.types import Samples, VoicePack

PACK = VoicePack("stamping", "bench", Path(), sample_rate=24_000)
EVERY_MS = 5.0
"""How often a lone utterance has a chunk, ms. Of several, each has them a quarter as often."""
WARM = 100
"""Chunks of each utterance before the first round."""


async def hear(host: Host, utterances: int, options: Mapping[str, OptionValue]) -> list[float]:
    """Take chunks; gives how long each was on its way, ms."""
    ages: list[float] = []

    async def take(chunk: Samples, _seconds: float) -> None:
        ages.append(stamping.age_ms(chunk, monotonic_ns()))

    async with trio.open_nursery() as nursery:
        for number in range(utterances):
            nursery.start_soon(host.speak, f"utterance {number}", options, as_it_is, take)
    return ages


def as_it_is(chunk: Samples) -> Samples:
    """Convert nothing."""
    return chunk


async def compare(chunk_ms: float, utterances: int, chunks: int, rounds: int) -> Mapping[str, object]:
    """Hear both, by turns."""
    settings = EngineSettings()
    launch = Launch("stamping:Stamping", packages={"stamping": Path(stamping.__file__)})
    options = {"chunk_ms": chunk_ms, "wait_ms": EVERY_MS * (1 if utterances == 1 else 4)}
    found: dict[str, list[Mapping[str, float]]] = {"thread": [], "process": []}
    async with open_engine_processes() as engines:
        hosts: dict[str, Host] = {
            "thread": await open_thread_host(PACK, settings, lambda _: stamping.Stamping),
            "process": await engines.open(PACK, settings, launch),
        }
        for host in hosts.values():
            await hear(host, utterances, {**options, "chunks": WARM})
        settle_interpreter()
        for _ in range(rounds):
            for where, host in hosts.items():
                ages = await hear(host, utterances, {**options, "chunks": chunks // utterances})
                spread = {f"p{percent}": percentile(ages, percent) for percent in (50, 99)}
                found[where].append({**spread, "max": max(ages), "chunks": len(ages)})
        for host in hosts.values():
            await host.close()
    return found


def main() -> None:
    """Measure, and tell."""
    configure_logging("WARNING")
    tell(trio.run(partial(compare, *map(int, sys.argv[1:]))))


if __name__ == "__main__":
    main()
