"""Notices what disturbs a measurement: others on the processor or the GPU, a clock that is throttled, heat.

It looks at the machine now and then, keeps the worst of what it saw, and puts that in words. What nobody tells isn't
said.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType

import psutil

from ttsw.device.processes import ProcessTree
from ttsw.errors import UnavailableError
from ttsw.profiler.device_facts import Gpu, cores

LOAD_SHARE = 0.25
"""A load average above this share of the cores is worth a word,"""
OTHERS_SHARE = 0.15
"""or others' taking this share of the processor's time,"""
STEAL_SHARE = 0.02
"""or a hypervisor's taking this."""
OTHERS_GPU_MB = 200.0
"""Memory of a GPU that others may have without a word, MB."""
LAG_MS = 25.0
"""The load generator was too slow where it was this late for its own appointments (99th percentile)."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Processor time since the machine's start, s.

    Args:
        at: When it was read, s.
        busy_s: All that was worked.
        steal_s: What a hypervisor gave to others.
        ours_s: What this process and its descendants have worked.
    """

    at: float
    busy_s: float
    steal_s: float
    ours_s: float


def read_times(clock: Callable[[], float], tree: ProcessTree, seen: dict[int, float]) -> CpuTimes:
    """Read the times of the processor; `seen` keeps those of our processes by number, the ended ones too."""
    all_of = psutil.cpu_times()
    idle_s = all_of.idle + getattr(all_of, "iowait", 0.0)
    steal_s = getattr(all_of, "steal", 0.0)
    guests_s = getattr(all_of, "guest", 0.0) + getattr(all_of, "guest_nice", 0.0)
    for pid, process in tree.look().items():
        with suppress(psutil.Error):
            times = process.cpu_times()
            seen[pid] = times.user + times.system
    return CpuTimes(clock(), sum(all_of) - guests_s - idle_s - steal_s, steal_s, sum(seen.values()))


def cpu_words(before: CpuTimes, after: CpuTimes, count: int) -> list[str]:
    """Say what others took of the processor between two looks.

    >>> cpu_words(CpuTimes(0, 0, 0, 0), CpuTimes(10, 15, 1, 5), 2)
    ['others took 50 % of the processor for 10 s', 'the hypervisor took 5.0 % of the processor for 10 s']
    """
    seconds = after.at - before.at
    if seconds <= 0:
        return []
    whole_s = seconds * count
    words = []
    others = (after.busy_s - before.busy_s - max(0.0, after.ours_s - before.ours_s)) / whole_s
    if others > OTHERS_SHARE:
        words.append(f"others took {100 * others:.0f} % of the processor for {seconds:.0f} s")
    steal = (after.steal_s - before.steal_s) / whole_s
    if steal > STEAL_SHARE:
        words.append(f"the hypervisor took {100 * steal:.1f} % of the processor for {seconds:.0f} s")
    return words


def load_words(load: float, count: int) -> list[str]:
    """Say whether the machine was busy before anything was measured.

    >>> load_words(1.7, 2), load_words(0.3, 2)
    (['before it began, the load average was 1.7 on 2 cores'], [])
    """
    return [f"before it began, the load average was {load:.1f} on {count} cores"] if load > LOAD_SHARE * count else []


REASONS: Mapping[str, str] = {
    "nvmlClocksThrottleReasonSwPowerCap": "its power limit",
    "nvmlClocksThrottleReasonHwSlowdown": "its hardware (heat or power)",
    "nvmlClocksThrottleReasonSyncBoost": "the clocks of others in its group",
    "nvmlClocksThrottleReasonSwThermalSlowdown": "heat",
    "nvmlClocksThrottleReasonHwThermalSlowdown": "heat",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": "the power brake",
    "nvmlClocksThrottleReasonApplicationsClocksSetting": "a clock that was set for it",
}
"""Why a GPU's clock may be lower than it could be, by NVML's name for the bit. Idleness is no reason."""


def throttle_words(bits: int, nvml: ModuleType) -> list[str]:
    """Say why a GPU's clock was held down."""
    why = {text for name, text in REASONS.items() if bits & int(getattr(nvml, name, 0))}
    return [f"the GPU's clock was held down by {', '.join(sorted(why))}"] if why else []


def others_mb(gpu: Gpu) -> float:
    """What is in use of a GPU's memory, MB, without what its driver keeps for itself; 0 where that isn't told.

    Raises:
        UnavailableError: It doesn't answer.
    """
    told = gpu.ask(lambda handle: gpu.nvml.nvmlDeviceGetMemoryInfo(handle, gpu.nvml.nvmlMemory_v2))
    return 0.0 if told is None else told.used / 1e6


@dataclass
class GpuWatch:
    """Looks at a GPU.

    Args:
        gpu: The GPU.
        before_mb: What others had of its memory before anything was measured.
    """

    gpu: Gpu
    before_mb: float
    bits: int = 0
    hottest: float = 0.0
    fault: str = ""

    def look(self) -> None:
        """Look at its throttling and its heat. A driver that dies is a word, not the end."""
        nvml = self.gpu.nvml
        try:
            self.bits |= self.gpu.ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons) or 0
            told = self.gpu.ask(lambda handle: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        except UnavailableError as error:
            self.fault = str(error)
        else:
            self.hottest = max(self.hottest, told or 0.0)

    def words(self) -> list[str]:
        """Say what was seen."""
        words = throttle_words(self.bits, self.gpu.nvml)
        if words and self.hottest:
            words[0] += f" ({self.hottest:.0f} °C at most)"
        if self.before_mb > OTHERS_GPU_MB:
            words.append(f"others had {self.before_mb:.0f} MB of the GPU's memory")
        return words + ([self.fault] if self.fault else [])


@dataclass
class DisturbanceWatch:
    """Collects what disturbs a measurement.

    Args:
        clock: Gives the time, s.
        gpu: Looks at the GPU, if that is measured.
        loads: The load average before it began.
    """

    clock: Callable[[], float]
    gpu: GpuWatch | None = None
    loads: Callable[[], float] = lambda: os.getloadavg()[0]
    words: list[str] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Look for the first time."""
        self._tree, self._cores = ProcessTree(), os.cpu_count() or cores()
        self.words += load_words(self.loads(), self._cores)
        self._seen: dict[int, float] = {}
        self._first = self._last = read_times(self.clock, self._tree, self._seen)

    def look(self) -> list[str]:
        """Look again; returns what disturbed since the last look. May block for some 10 ms."""
        now = read_times(self.clock, self._tree, self._seen)
        words = cpu_words(self._last, now, self._cores)
        self._last = now
        if self.gpu is not None:
            self.gpu.look()
        return words

    def say(self, words: Iterable[str]) -> None:
        """Take note of something that was noticed elsewhere."""
        self.words += [word for word in dict.fromkeys(words) if word not in self.words]

    def told(self) -> tuple[str, ...]:
        """Everything that disturbed, in words."""
        whole = cpu_words(self._first, self._last, self._cores)
        late = [lag for lag in self.lags_ms if lag > LAG_MS]
        if late:
            whole.append(
                f"the load generator was too slow in {len(late)} of {len(self.lags_ms)} windows (late by up to "
                f"{max(late):.0f} ms)"
            )
        return (*self.words, *whole, *(self.gpu.words() if self.gpu is not None else ()))
