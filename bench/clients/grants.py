"""How long a lease on a model that is there takes, through the manager: `python -m bench.clients.grants LEASES`.

1 000 models are known, 100 are in memory, 30 of those leased; one is being loaded, and ten wait for it to end. Loading
takes no time, and memory has no bound: what is timed is the way from asking to the grant, in trio's loop.
"""

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter_ns, thread_time_ns

import trio
import trio.testing

from bench.clients.decisions import LEASED, NAMES, RESIDENT, SMALL, spread
from bench.clients.sessions import tell
from ttsw.app import settle_interpreter
from ttsw.errors import TtswError
from ttsw.models.instances import Footprint
from ttsw.models.manager import ModelManager
from ttsw.models.measurements import ModelSize
from ttsw.system.logs import configure_logging
from ttsw.types import MemorySnapshot, VoicePack


class Model:
    """A loaded model."""

    async def lost(self) -> TtswError:
        """Never be lost."""
        await trio.sleep_forever()
        raise AssertionError("for ever has ended")

    async def close(self) -> None:
        """There is nothing to give back."""
        await trio.lowlevel.checkpoint()


class Models:
    """Has every model that is asked for; see `ttsw.models.source.ModelSource`. The last one's load doesn't end."""

    async def weigh(self, model_id: str) -> tuple[VoicePack, Sequence[Footprint]]:
        """Find a model."""
        await trio.lowlevel.checkpoint()
        family, _, name = model_id.partition("-")
        return VoicePack(family, name, Path()), [Footprint("cpu", SMALL)]

    async def open(self, pack: VoicePack, place: Footprint, loaded: Callable[[], None], base: Model | None) -> Model:
        """Load one."""
        if pack.model_id == NAMES[-1]:
            await trio.sleep_forever()
        loaded()
        return Model()

    async def look(self) -> Sequence[MemorySnapshot]:
        """Look at no device."""
        await trio.lowlevel.checkpoint()
        return []

    async def keep(self, pack: VoicePack, device: str, measured: ModelSize) -> ModelSize:
        """Remember nothing."""
        await trio.lowlevel.checkpoint()
        return measured


async def take(times: int) -> Mapping[str, float]:
    """Take leases and give them back; tells how long a take is."""
    dice, took_ns, computed_ns = random.Random(20), [], []
    manager = ModelManager[Model](Models())
    async with trio.open_nursery() as nursery:
        await nursery.start(manager.run)
        for name in NAMES[:RESIDENT]:
            await manager.load(name)
        held = [await manager.acquire(name, holder="session") for name in NAMES[:LEASED]]
        for name in NAMES[:-12:-1]:
            nursery.start_soon(manager.load, name)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(times):
            name = dice.choice(NAMES[:RESIDENT])
            computed, began = thread_time_ns(), perf_counter_ns()
            lease = await manager.acquire(name, holder="session")
            took_ns.append(perf_counter_ns() - began)
            computed_ns.append(thread_time_ns() - computed)
            lease.release()
        for lease in held:
            lease.release()
        nursery.cancel_scope.cancel(reason="measured")
    return spread(took_ns, computed_ns)


def main() -> None:
    """Measure, and tell."""
    configure_logging("WARNING")
    settle_interpreter()
    tell(trio.run(partial(take, int(sys.argv[1]))))


if __name__ == "__main__":
    main()
