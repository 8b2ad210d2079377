"""Speech without a server: a model loaded in this program, under the caller's nursery."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from ttsw.concurrency.unwrap import unwrapped
from ttsw.config import Config
from ttsw.device import find_devices
from ttsw.models.device_monitor import search_devices
from ttsw.sessions.synthesizer import Synthesizer, run_synthesizer
from ttsw.worker import Worker


@asynccontextmanager
async def open_synthesizer(model_id: str = "", config: Config | None = None) -> AsyncGenerator[Synthesizer, None]:
    """Load a model for a block, and return a synthesizer that speaks with it.

    Args:
        model_id: The model; empty means the configuration's default.
        config: The configuration; None means the defaults.

    Raises:
        NotFoundError: No voice pack has this id.
        ResourceExhaustedError: The device has too little free memory.
        TtswError: The model failed to load; the message says why.
    """
    worker = Worker(config or Config(), devices=await search_devices(find_devices))
    with unwrapped():
        async with trio.open_nursery() as nursery:
            await nursery.start(worker.run_models)
            async with worker.models.lease(worker.named(model_id)) as voice, run_synthesizer(voice) as synthesizer:
                yield synthesizer
            nursery.cancel_scope.cancel(reason="the synthesizer is closed")
