"""The model manager's view of models: finding one, its memory footprint, loading it, and the devices' free memory.

`PackSource` implements this view on voice packs, saved measurements and real devices. All of that blocks, so it runs in
a few bounded lanes of threads.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ttsw.concurrency.threads import Lane, run_in
from ttsw.device import Device
from ttsw.errors import TtswError, UnavailableError
from ttsw.models.device_monitor import DeviceMonitor
from ttsw.models.instances import Footprint
from ttsw.models.measurements import MeasurementStore, ModelRecord, ModelSize
from ttsw.packs.catalogue import Catalogue
from ttsw.types import MemorySnapshot, VoicePack

MB = 1_000_000


class LoadedValue(Protocol):
    """A loaded model, as far as the manager uses it."""

    async def lost(self) -> TtswError:
        """Wait until the model is lost without having been closed; return the reason."""
        ...

    async def close(self) -> None:
        """Unload the model; shielded from cancellation, with a deadline of its own."""
        ...


V = TypeVar("V", bound=LoadedValue)
V_load = TypeVar("V_load")


class PackReader(Protocol):
    """The voice packs of this machine, or of a simulated one."""

    @property
    def catalogue(self) -> Catalogue:
        """The packs as of the last `refresh`."""
        ...

    def refresh(self) -> Catalogue:
        """Read the packs again where they have changed; may block."""
        ...


class Loader(Protocol[V_load]):
    """Loads models, on this machine or on a simulated one."""

    def devices_for(self, pack: VoicePack) -> Sequence[str]:
        """Return the devices that can hold a model, the best one first; may block.

        Raises:
            TtswError: The model can't be used here.
        """
        ...

    async def load(
        self,
        pack: VoicePack,
        record: ModelRecord,
        device: str,
        loaded: Callable[[], None],
        base: V_load | None = None,
    ) -> V_load:
        """Load a model; see `ModelSource.open`."""
        ...


class ModelSource(Protocol[V]):
    """The models that a manager can load."""

    async def weigh(self, model_id: str) -> tuple[VoicePack, Sequence[Footprint]]:
        """Find a model and its footprint on each device that can hold it, the best device first.

        Raises:
            TtswError: The model doesn't exist, or can't be used here.
        """
        ...

    async def open(self, pack: VoicePack, place: Footprint, loaded: Callable[[], None], base: V | None) -> V:
        """Load a model and warm it up. If cancelled, it leaves nothing behind.

        Args:
            pack: The model.
            place: The device that it is loaded on.
            loaded: Called once the weights are in memory.
            base: The loaded model that this one is based on, as `open` returned it; None for an independent model.

        Raises:
            OutOfMemoryError: The device ran out of memory.
            TtswError: The model can't be loaded.
        """
        ...

    async def look(self) -> Sequence[MemorySnapshot]:
        """Return the devices' memory; a device that doesn't answer in time is left out."""
        ...

    async def keep(self, pack: VoicePack, device: str, measured: ModelSize) -> ModelSize:
        """Save a model's measured size.

        Returns:
            The size to use: the saved one where this measurement is doubtful.
        """
        ...


@dataclass
class PackSource(Generic[V]):
    """Models from voice packs.

    Args:
        find: Returns the current catalogue.
        measurements: Saved sizes and checksums.
        devices: The devices that can hold models.
        choose: Returns the devices for a pack, the best one first; see `Loader.devices_for`.
        load: Loads a model; see `Loader.load`.
    """

    find: Callable[[], Catalogue]
    measurements: MeasurementStore
    devices: Sequence[Device]
    choose: Callable[[VoicePack], Sequence[str]]
    load: Callable[[VoicePack, ModelRecord, str, Callable[[], None], V | None], Awaitable[V]]
    _loaded_families: set[str] = field(default_factory=set, init=False)
    _monitor: DeviceMonitor = field(init=False)

    def __post_init__(self) -> None:
        self._monitor = DeviceMonitor(self.devices)

    @property
    def silent(self) -> Mapping[str, str]:
        """See `DeviceMonitor.silent`."""
        return self._monitor.silent

    async def weigh(self, model_id: str) -> tuple[VoicePack, Sequence[Footprint]]:
        """See `ModelSource.weigh`."""
        return await run_in(Lane.WEIGHING, self._weigh, model_id)

    async def open(self, pack: VoicePack, place: Footprint, loaded: Callable[[], None], base: V | None) -> V:
        """See `ModelSource.open`; the pack's checksums are verified first."""
        record = await run_in(Lane.RECORDS, self.measurements.check, pack)
        return await self.load(pack, record, place.device, loaded, base)

    async def look(self) -> Sequence[MemorySnapshot]:
        """See `ModelSource.look`."""
        return await self._monitor.look()

    async def keep(self, pack: VoicePack, device: str, measured: ModelSize) -> ModelSize:
        """See `ModelSource.keep`. A family's first load also loads its libraries, so that it measures too much."""
        known = self.measurements[pack.model_id].measured.get(device)
        first = pack.family not in self._loaded_families
        self._loaded_families.add(pack.family)
        if first and known is not None:
            return known
        await run_in(Lane.RECORDS, self.measurements.keep_size, pack.model_id, device, measured)
        return measured

    def _weigh(self, model_id: str) -> tuple[VoicePack, Sequence[Footprint]]:
        catalogue = self.find()
        pack = catalogue[model_id]
        measured = self.measurements[model_id].measured
        return pack, [footprint(pack, device, measured) for device in self.choose(catalogue.base(pack) or pack)]


def footprint(pack: VoicePack, device: str, measured: Mapping[str, ModelSize]) -> Footprint:
    """Return a pack's footprint on a device: the measured size, or else the one in its metadata.

    >>> from pathlib import Path
    >>> footprint(VoicePack("piper", "anna", Path(), disk_mb=60), "cpu", {})
    Footprint(device='cpu', size=60000000, peak=60000000, least=0)

    Raises:
        UnavailableError: A file of the pack is missing.
    """
    # in main memory, weights take at least their size on disk; a GPU may hold them in half precision
    least = sum(map(_size, pack.files.values())) if device == "cpu" else 0
    known = measured.get(device)
    if known is not None:
        return Footprint(device, known.size, known.peak, least)
    return Footprint(device, round((pack.vram_mb or pack.disk_mb) * MB), least=least)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error
