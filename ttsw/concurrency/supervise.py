"""Supervised services: a failed one is restarted, with increasing delays."""

import math
import random
from collections.abc import Awaitable, Callable

import structlog
import trio

log = structlog.get_logger(__name__)

FIRST_S = 1.0
"""Delay after a first failure, seconds; doubles with each further one."""
MOST_S = 60.0
"""Longest delay, seconds. A service that ran for longer starts with the first delay again."""


async def supervise(name: str, service: Callable[[], Awaitable[None]], *, chance: random.Random | None = None) -> None:
    """Run a service until it returns or is cancelled; whenever it fails, log that, wait, and restart it.

    Args:
        name: Its name in the log.
        service: The service; each run starts from scratch.
        chance: Randomises the delays, so that many workers don't restart at once.
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
