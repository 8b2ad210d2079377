"""How long residency takes to decide, in a process of its own: `python -m bench.clients.decisions CYCLES`.

1 000 models whose first loads have all failed, then 100 of them in memory on two devices that have no room left, 30 of
those leased. Each cycle asks for a model that fits only when four have gone, and for more that wait behind it; into
that come the events of sessions, of clients and of the clock. No model is loaded: what residency wants done is kept
until its turn comes. A decision never waits, so what it takes beyond its CPU time is what kept the core from it.
"""

import random
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter_ns, thread_time_ns

from bench.clients.sessions import tell
from ttsw.app import settle_interpreter
from ttsw.errors import FailedPreconditionError, InternalError
from ttsw.models.effects import Demand, Effect, StartLoad, StartUnload, Weigh
from ttsw.models.instances import Footprint, Instance, ModelState, Request
from ttsw.models.limits import ResidencyLimits
from ttsw.models.residency import Residency
from ttsw.sessions.stats import percentile
from ttsw.types import MemorySnapshot

KNOWN, RESIDENT, LEASED = 1_000, 100, 30
MB = 1_000_000
SMALL, BIG, HUGE = 10 * MB, 40 * MB, 2_000 * MB
KINDS = {SMALL: "line up behind it", BIG: "evict four for it", HUGE: "refuse it"}
DEVICES = ("cpu", "cuda:0")
NAMES = [f"family-voice-{number:04}" for number in range(KNOWN)]
LIMITS = ResidencyLimits(
    ttl_s=600, min_residency_s=120, pinned=frozenset(NAMES[:1]), budget=dict.fromkeys(DEVICES, RESIDENT // 2 * SMALL)
)


class World:
    """Models that are names: takes the time of each decision, and keeps what is to be done."""

    def __init__(self) -> None:
        self.residency = Residency(LIMITS)
        self.took_ns: dict[str, list[int]] = defaultdict(list)
        self.computed_ns: dict[str, list[int]] = defaultdict(list)
        self.resident: list[int] = []
        self._now = 0.0
        self._dice = random.Random(20)
        self._weighing, self._loading, self._unloading = deque[Demand](), deque[Instance](), deque[Instance]()
        for name in NAMES:
            self._ask(name, SMALL)
            self._event("a load fails", self.residency.failed, self._loading.pop(), InternalError("no"), self._now)
        self._now += 100
        self._fill(NAMES)
        for instance in self.residency.instances[:LEASED]:
            self.residency.ask(Request(instance.model_id, "session"), self._now)
        for taken in (self.took_ns, self.computed_ns, self.resident):
            taken.clear()

    def cycle(self) -> None:
        """One model too many, and what comes of it; in the end there are as many as before."""
        absent = self._absent()
        big, huge, *small = self._dice.sample(absent, 5)
        leases = [self._ask(big, BIG), *(self._ask(name, SMALL) for name in small)]
        self._go_on()  # while it waits until four have gone
        while self._unloading:
            self._unloaded()
        self._go_on()  # while it is loaded, and three wait
        self._settle()
        self._ask(huge, HUGE)
        for request in leases:
            self._event("release", self.residency.release, request, self._now)
        self._event("observe that others took memory", self.residency.observe, self._seen(3 * SMALL), self._now)
        self._settle()
        self._event("unload", self.residency.unload, big)
        self._settle()
        self._fill(self._absent())

    def _event(self, kind: str, decide: Callable[..., Iterable[Effect]], *args: object) -> None:
        effects: Iterable[Effect] = ()
        computed, began = thread_time_ns(), perf_counter_ns()
        try:
            effects = decide(*args)
        except FailedPreconditionError:  # somebody uses it
            pass
        finally:
            self.took_ns[kind].append(perf_counter_ns() - began)
            self.computed_ns[kind].append(thread_time_ns() - computed)
        self._now += 0.01
        self.resident.append(len(self.residency.instances))
        self._weighing += [effect.demand for effect in effects if isinstance(effect, Weigh)]
        self._loading += [effect.instance for effect in effects if isinstance(effect, StartLoad)]
        self._unloading += [effect.instance for effect in effects if isinstance(effect, StartUnload)]

    def _ask(self, name: str, size: int, *, leases: bool = True) -> Request:
        request = Request(name, "session", leases=leases)
        self._event("ask for one that is absent", self.residency.ask, request, self._now)
        places = [Footprint(device, size) for device in self._dice.sample(DEVICES, 2)]
        while self._weighing:
            self._event(KINDS[size], self.residency.weighed, self._weighing.popleft(), places, self._now)
        return request

    def _go_on(self) -> None:
        ready = [instance for instance in self.residency.instances if instance.state is ModelState.READY]
        for instance in self._dice.sample(ready, 5):
            request = Request(instance.model_id, "session")
            self._event("ask for one that is there", self.residency.ask, request, self._now)
            self._event("release", self.residency.release, request, self._now)
        for instance in self._dice.sample(ready, 2):
            self._event("unload", self.residency.unload, instance.model_id)
        self._event("tick", self.residency.tick, self._now)
        self._event("observe", self.residency.observe, self._seen(), self._now)

    def _unloaded(self) -> None:
        self._event("one is unloaded", self.residency.unloaded, self._unloading.popleft(), self._now, self._seen())

    def _settle(self) -> None:
        while self._unloading or self._loading:
            while self._unloading:
                self._unloaded()
            if self._loading:
                instance = self._loading.popleft()
                self.residency.loaded(instance)
                self._event("one is loaded", self.residency.warmed, instance, self._now, None, self._seen())

    def _seen(self, others: int = 0) -> list[MemorySnapshot]:
        sizes = {
            device: sum(instance.size for instance in self.residency.instances if instance.place.device == device)
            for device in DEVICES
        }
        return [MemorySnapshot(device, RESIDENT // 2 * SMALL, size + others, size) for device, size in sizes.items()]

    def _absent(self) -> list[str]:
        there = {instance.model_id for instance in self.residency.instances}
        return [name for name in NAMES if name not in there]

    def _fill(self, names: Sequence[str]) -> None:
        for name in names[: RESIDENT - len(self.residency.instances)]:
            self._ask(name, SMALL, leases=False)
            self._settle()


def spread(took_ns: Sequence[int], computed_ns: Sequence[int]) -> Mapping[str, float]:
    """Median, 99th percentile and longest, ms; and the 99th percentile of the CPU time alone."""
    found = {"p50": percentile(took_ns, 50), "p99": percentile(took_ns, 99), "max": max(took_ns)}
    return {name: ns / 1e6 for name, ns in (found | {"computed_p99": percentile(computed_ns, 99)}).items()}


def main() -> None:
    """Measure, and tell."""
    cycles = int(sys.argv[1])
    settle_interpreter()
    world = World()
    settle_interpreter()
    for _ in range(cycles):
        world.cycle()
    tell({
        "events": {kind: spread(took_ns, world.computed_ns[kind]) for kind, took_ns in world.took_ns.items()},
        "resident": [min(world.resident), max(world.resident)],
    })


if __name__ == "__main__":
    main()
