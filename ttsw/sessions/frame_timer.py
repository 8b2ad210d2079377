"""Frame timer: one task that wakes all utterances whose next frame is due.

A trio timeout per utterance costs a cancel scope and a wake-up of the event loop; with 100 sessions that was a third of
all work. Here, deadlines within the same 2 ms share one. A frame's 20 ms are a multiple of that, so each utterance's
frames stay 20 ms apart; its first frame is up to 2 ms late.
"""

import heapq
import math

import trio

GRID_S = 0.002
"""Grid to which deadlines are rounded up, seconds."""


class FrameTimer:
    """Wakes tasks at deadlines on a grid, while `run` runs."""

    def __init__(self) -> None:
        self._ticks: list[int] = []  # a heap, in units of the grid
        self._waiting: dict[int, trio.lowlevel.ParkingLot] = {}
        self._sleep = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Metronome, {sum(map(len, self._waiting.values()))} waiting for {len(self._ticks)} ticks>"

    async def run(self) -> None:
        """Run the timer until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._next_s()) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._ticks and self._next_s() <= now:
                self._waiting.pop(heapq.heappop(self._ticks)).unpark_all()

    async def wait_until(self, when: float) -> None:
        """Wait until `when`, by trio's clock, or up to 2 ms longer."""
        tick = math.ceil(when / GRID_S - 1e-6)
        lot = self._waiting.get(tick)
        if lot is None:
            lot = self._waiting[tick] = trio.lowlevel.ParkingLot()
            heapq.heappush(self._ticks, tick)
            if self._ticks[0] == tick:
                self._sleep.deadline = tick * GRID_S
        await lot.park()

    def _next_s(self) -> float:
        return self._ticks[0] * GRID_S if self._ticks else math.inf
