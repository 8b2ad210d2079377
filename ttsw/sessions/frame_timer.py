"""One timer for all who wait for their next frame.

A timer of trio's own costs a cancel scope, and a wake-up of the whole loop; at 100 sessions that was a third of all the
work. Here those whose times fall into the same 2 ms share one. As a frame's 20 ms are a multiple of that, each
utterance's frames stay 20 ms apart; its first is up to 2 ms later.
"""

import heapq
import math

import trio

GRID_S = 0.002
"""What times are rounded up to, s."""


class FrameTimer:
    """Wakes tasks at times on a grid; works while `run` runs."""

    def __init__(self) -> None:
        self._ticks: list[int] = []  # a heap, in units of the grid
        self._waiting: dict[int, trio.lowlevel.ParkingLot] = {}
        self._sleep = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Metronome, {sum(map(len, self._waiting.values()))} waiting for {len(self._ticks)} ticks>"

    async def run(self) -> None:
        """Keep time until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._next_s()) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._ticks and self._next_s() <= now:
                self._waiting.pop(heapq.heappop(self._ticks)).unpark_all()

    async def wait_until(self, when: float) -> None:
        """Wait until `when`, on trio's clock, or up to 2 ms longer."""
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
