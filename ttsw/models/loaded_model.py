"""One copy of a model: loading and unloading it, and measuring both. `ttsw.models.residency` decides when."""

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
"""Longest wait for the memory of an unloaded model to be returned, seconds."""

BACK_SHARE = 0.75
"""Share of it that must be returned before it counts as free."""

NOISE = 8_000_000
"""Measurement noise from other activity in the process, bytes."""


class LoadedModel(Generic[V]):
    """One copy of a model.

    Args:
        pack: The model.
        place: The device that it is loaded on.
        source: Loads it.
        traffic: Tracks overlapping loads and unloads.
        base: The loaded model that it is based on, if any.
    """

    def __init__(
        self, pack: VoicePack, place: Footprint, source: ModelSource[V], traffic: LoadOverlap, base: V | None = None
    ) -> None:
        self.pack, self.place, self._base = pack, place, base
        self.value: V | None = None
        """The loaded model; None before the load and after the unload."""
        self.measured: ModelSize | None = None
        self.load_s = 0.0
        self.load = trio.CancelScope()
        """Scope of the load; cancelling it ends the load."""
        self._watch = trio.CancelScope()
        self.gone = trio.Event()
        self._source, self._traffic = source, traffic
        self._probe = MemoryProbe(source.look, place.device)

    async def open(self, loaded: Callable[[], None]) -> None:
        """Load the model, and measure its memory unless other loads overlap. A failed load leaves nothing behind.

        Raises:
            TtswError: The model can't be loaded.
        """
        started = trio.current_time()
        begun = self._traffic.begin(self.place.device)
        try:
            await self._probe.start()
            await self._open_watched(loaded)
        finally:
            alone = self._traffic.end(self.place.device, begun)
        self.load_s = trio.current_time() - started
        taken = await self._probe.taken()
        if alone and taken is not None:
            least = self.place.least
            measured = ModelSize(max(taken.size, least), max(taken.peak, least), self.load_s)
            self.measured = await self._source.keep(self.pack, self.place.device, measured)

    async def lost(self) -> TtswError | None:
        """Wait until the model is lost, and return the reason; None once it is being unloaded."""
        with self._watch:
            if self.value is not None:
                return await self.value.lost()
        return None

    async def close(self, size: float) -> int | None:
        """Unload the model, and wait for its memory to be returned.

        Args:
            size: Its memory, bytes.

        Returns:
            The bytes returned; None if they couldn't be measured.
        """
        begun = self._traffic.begin(self.place.device)
        self._probe = MemoryProbe(self._source.look, self.place.device)
        await self._probe.start()
        await self.drop()
        back = None
        with trio.move_on_after(BACK_S) as patience:
            back = await self._probe.await_return(BACK_SHARE * size - NOISE)
        self._traffic.end(self.place.device, begun)
        if patience.cancelled_caught:
            log.warning("memory did not come back", model_id=self.pack.model_id, size_mb=size / 1e6, waited_s=BACK_S)
        return back

    async def drop(self) -> None:
        """Unload the model without measuring memory. A failure is logged, and the model counts as unloaded."""
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
            nursery.start_soon(self._probe.watch, name=f"memory probe of {self.pack.model_id}")
            try:
                self.value = await self._source.open(self.pack, self.place, loaded, self._base)
            except Exception as error:  # raised after the nursery, which would wrap it in an exception group
                failure = error
            self._probe.stop()
        if isinstance(failure, TtswError):
            raise failure
        if failure is not None:
            log.error("load failed", model_id=self.pack.model_id, exc_info=failure)
            text = f"loading {self.pack.model_id} failed: {type(failure).__name__}: {failure}"
            raise InternalError(text) from failure
