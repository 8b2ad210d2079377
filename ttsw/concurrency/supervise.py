"""Services that may fail without the worker: each is started again, after longer and longer waits."""

import math
import random
from collections.abc import Awaitable, Callable

import structlog
import trio

log = structlog.get_logger(__name__)

FIRST_S = 1.0
"""Wait after a first failure, s; doubles with each further one,"""
MOST_S = 60.0
"""up to this. Who has run for longer starts from the first again."""


async def supervise(name: str, service: Callable[[], Awaitable[None]], *, chance: random.Random | None = None) -> None:
    """Run a service until it ends by itself or is cancelled; whenever it fails, log that, wait, and run it again.

    Args:
        name: What the log calls it.
        service: Starts from nothing each time.
        chance: Spreads the waits, so that many workers don't come back at once.
    """
    chance = chance or random.Random()
    failures = 0
    while True:
        started = trio.current_time()
        try:
            await service()
        except Exception:
            if trio.current_time() - started > MOST_S:
                failures = 0
            wait_s = min(FIRST_S * math.exp2(failures), MOST_S) * chance.uniform(0.5, 1.0)
            failures += 1
            log.exception("service failed; restarting", service=name, wait_s=round(wait_s, 1))
        else:
            return
        await trio.sleep(wait_s)
