"""Act between two given passes of trio's scheduler: whatever was woken in the first has not run yet.

`wait_all_tasks_blocked` shows a program at rest only. Races between a wake-up and a cancel are in between.
"""

from collections.abc import Awaitable, Callable

import trio


class At(trio.abc.Instrument):
    """Calls `act` once, before the scheduler's pass number `tick`, counted from 0."""

    def __init__(self, tick: int, act: Callable[[], object]) -> None:
        self.passes = 0
        self.acted = False
        self.error: Exception | None = None
        self._tick, self._act = tick, act

    def after_io_wait(self, timeout: float) -> None:
        if self.passes == self._tick:
            self.acted = True
            try:
                self._act()
            except Exception as error:  # trio would only log it
                self.error = error
        self.passes += 1


async def at_tick(tick: int, act: Callable[[], object], run: Callable[[], Awaitable[object]]) -> bool:
    """Run something, and call `act` before the pass number `tick` of its run; says whether it ran for so long."""
    instrument = At(tick, act)
    trio.lowlevel.add_instrument(instrument)
    try:
        await run()
    finally:
        trio.lowlevel.remove_instrument(instrument)
    if instrument.error is not None:
        raise instrument.error
    return instrument.acted
