"""How long an engine in a process goes on after a STOP: `python -m bench.clients.halts UTTERANCES TRIALS`.

The engine is always within a step: 20 ms of Python that nothing interrupts, a step at a time, and whatever it makes is
taken at once. Timed from cancelling all `speak` until the engine has left all of them.
"""

import random
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import monotonic

import trio

from bench.clients import burning
from bench.clients.chunks import as_it_is
from bench.clients.sessions import tell
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.engine_processes import open_engine_processes
from ttsw.adapters.hosts.launch import Launch
from ttsw.adapters.hosts.process import ProcessHost
from ttsw.app import settle_interpreter
from ttsw.options import parse_options
from ttsw.sessions.stats import percentile
from ttsw.system.logs import configure_logging
from ttsw.types import Samples, VoicePack

PACK = VoicePack("burning", "bench", Path(), sample_rate=24_000)
STEP_MS = 20.0
OPTIONS = parse_options({"chunk_ms": f"{STEP_MS}", "burn": "1", "duration_ms": "600000"}, burning.Burning.options)
"""A step takes as long as its audio."""


async def halt(host: ProcessHost, utterances: int, dice: random.Random) -> float:
    """Let them speak, cancel them; gives how long the engine went on, ms."""
    heard: set[int] = set()
    all_speak = trio.Event()

    async def speak(number: int) -> None:
        async def take(_chunk: Samples, _seconds: float) -> None:
            heard.add(number)
            if len(heard) == utterances:
                all_speak.set()

        await host.speak("on", OPTIONS, as_it_is, take)

    async with trio.open_nursery() as nursery:
        for number in range(utterances):
            nursery.start_soon(speak, number)
        await all_speak.wait()
        await trio.sleep(dice.uniform(1, 2) * STEP_MS / 1000)
        assert host.busy == utterances
        cancelled = monotonic()
        nursery.cancel_scope.cancel(reason="stop")
    while host.busy:  # noqa: ASYNC110 - nothing in the worker waits for it, so there is no event of it
        await trio.sleep(0.0005)
    return 1000 * (monotonic() - cancelled)


async def halts(utterances: int, trials: int) -> Mapping[str, float]:
    """Try it again and again."""
    dice = random.Random(20)
    launch = Launch("burning:Burning", packages={"burning": Path(burning.__file__)})
    async with open_engine_processes() as engines:
        host = await engines.open(PACK, EngineSettings(), launch)
        settle_interpreter()
        took = [await halt(host, utterances, dice) for _ in range(trials)]
        await host.close()
    return {"p50": percentile(took, 50), "p99": percentile(took, 99), "max": max(took)}


def main() -> None:
    """Measure, and tell."""
    configure_logging("WARNING")
    tell(trio.run(partial(halts, *map(int, sys.argv[1:]))))


if __name__ == "__main__":
    main()
