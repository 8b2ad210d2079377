"""A copy of a model: its load and its unload, each measured. When they happen is decided elsewhere."""

from collections.abc import Callable
from typing import Generic

import structlog
import trio

from ttsw.errors import InternalError, TtswError
from ttsw.models.instances import Footprint
from ttsw.models.measurements import ModelSize
from ttsw.models.memory_probe import LoadOverlap, MemoryProbe
from ttsw.models.source import ModelSource, V
from ttsw.types import VoicePack

log = structlog.get_logger(__name__)

BACK_S = 5.0
"""How long an unloaded model's memory may take to come back, s."""

BACK_SHARE = 0.75
"""How much of it must be back before others are told that it is free."""

NOISE = 8_000_000
"""What can't be told from all else that goes on in a process, bytes."""


class LoadedModel(Generic[V]):
    """One copy.

    Args:
        pack: The model.
        place: Where it goes.
        source: Where it comes from.
        traffic: What else comes and goes.
        base: The loaded model that it is based on, if it does.
    """

    def __init__(
        self, pack: VoicePack, place: Footprint, source: ModelSource[V], traffic: LoadOverlap, base: V | None = None
    ) -> None:
        self.pack, self.place, self._base = pack, place, base
        self.value: V | None = None
        """The loaded model; None before and after."""
        self.measured: ModelSize | None = None
        self.load_s = 0.0
        self.load = trio.CancelScope()
        """Holds the load; whoever decides that it shall end cancels it."""
        self._watch = trio.CancelScope()
        self.gone = trio.Event()
        self._source, self._traffic = source, traffic
        self._gauge = MemoryProbe(source.look, place.device)

    async def open(self, loaded: Callable[[], None]) -> None:
        """Load it, and measure what it takes unless other traffic blurs that. Failed or cancelled, it isn't there.

        Raises:
            TtswError: It can't be loaded.
        """
        started = trio.current_time()
        begun = self._traffic.begin(self.place.device)
        try:
            await self._gauge.start()
            await self._open_watched(loaded)
        finally:
            alone = self._traffic.end(self.place.device, begun)
        self.load_s = trio.current_time() - started
        taken = await self._gauge.taken()
        if alone and taken is not None:
            least = self.place.least
            measured = ModelSize(max(taken.size, least), max(taken.peak, least), self.load_s)
            self.measured = await self._source.keep(self.pack, self.place.device, measured)

    async def lost(self) -> TtswError | None:
        """Wait until the loaded model is gone by itself, and say why; None once it is being unloaded."""
        with self._watch:
            if self.value is not None:
                return await self.value.lost()
        return None

    async def close(self, size: float) -> int | None:
        """Unload it, and wait for its memory to come back.

        Args:
            size: What it takes, bytes.

        Returns:
            The bytes that came back; None where that couldn't be seen.
        """
        begun = self._traffic.begin(self.place.device)
        self._gauge = MemoryProbe(self._source.look, self.place.device)
        await self._gauge.start()
        await self.drop()
        back = None
        with trio.move_on_after(BACK_S) as patience:
            back = await self._gauge.await_return(BACK_SHARE * size - NOISE)
        self._traffic.end(self.place.device, begun)
        if patience.cancelled_caught:
            log.warning("memory did not come back", model_id=self.pack.model_id, size_mb=size / 1e6, waited_s=BACK_S)
        return back

    async def drop(self) -> None:
        """Unload it without a look at memory; a failure is logged, and the model counts as gone."""
        self._watch.cancel(reason="unloaded")
        value, self.value, self._base = self.value, None, None
        if value is None:
            return
        try:
            await value.close()
        except Exception:
            log.exception("unload failed", model_id=self.pack.model_id)

    async def _open_watched(self, loaded: Callable[[], None]) -> None:
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._gauge.watch, name=f"gauge of {self.pack.model_id}")
            try:
                self.value = await self._source.open(self.pack, self.place, loaded, self._base)
            except Exception as error:  # raised outside of the nursery, which would wrap it in a group
                failure = error
            self._gauge.stop()
        if isinstance(failure, TtswError):
            raise failure
        if failure is not None:
            log.error("load failed", model_id=self.pack.model_id, exc_info=failure)
            text = f"loading {self.pack.model_id} failed: {type(failure).__name__}: {failure}"
            raise InternalError(text) from failure
