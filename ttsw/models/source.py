"""Where models come from, as the manager needs it: what a model takes, its loading, the devices' memory.

`PackSource` is the real one: voice packs on a disk, records of what was measured, devices that are looked at. All of
that blocks, so it happens in threads: those of a few lanes, however much is asked for.
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
    """What the manager needs of a loaded model: that it can be unloaded, and tells when it is gone by itself."""

    async def lost(self) -> TtswError:
        """Wait until it is gone though nobody has closed it; says why."""
        ...

    async def close(self) -> None:
        """Give everything back; shielded from cancellation, with a deadline of its own."""
        ...


V = TypeVar("V", bound=LoadedValue)


class ModelSource(Protocol[V]):
    """Where models come from."""

    async def weigh(self, model_id: str) -> tuple[VoicePack, Sequence[Footprint]]:
        """Find a model, and where it can be, the best place first.

        Raises:
            TtswError: There is none, or it can't be used here.
        """
        ...

    async def open(self, pack: VoicePack, place: Footprint, loaded: Callable[[], None], base: V | None) -> V:
        """Load a model, say `loaded` when its weights are in memory, warm it up. Cancelled, it leaves nothing behind.

        Args:
            pack: The model.
            place: Where it goes.
            loaded: To be called.
            base: The loaded model that it is based on, as this source has opened it; None where it stands by itself.

        Raises:
            OutOfMemoryError: The device had no memory left.
            TtswError: It can't be loaded.
        """
        ...

    async def look(self) -> Sequence[MemorySnapshot]:
        """Look at the devices' memory; one that doesn't answer in time is left out."""
        ...

    async def keep(self, pack: VoicePack, device: str, measured: ModelSize) -> ModelSize:
        """Remember what a model took; returns what counts: what was known, where this measurement is doubtful."""
        ...


@dataclass
class PackSource(Generic[V]):
    """Models from voice packs.

    Args:
        find: Reads the voice packs there are now.
        book: What was measured of them.
        devices: What they can be on.
        choose: Names the devices for a pack, the best first; raises a TtswError where there is none.
        load: Loads one and warms it up, as `ModelSource.open` says; given what is known of it, too.
    """

    find: Callable[[], Catalogue]
    book: MeasurementStore
    devices: Sequence[Device]
    choose: Callable[[VoicePack], Sequence[str]]
    load: Callable[[VoicePack, ModelRecord, str, Callable[[], None], V | None], Awaitable[V]]
    _met: set[str] = field(default_factory=set, init=False)
    _lookout: DeviceMonitor = field(init=False)

    def __post_init__(self) -> None:
        self._lookout = DeviceMonitor(self.devices)

    @property
    def silent(self) -> Mapping[str, str]:
        """See `DeviceMonitor.silent`."""
        return self._lookout.silent

    async def weigh(self, model_id: str) -> tuple[VoicePack, Sequence[Footprint]]:
        """See `ModelSource.weigh`."""
        return await run_in(Lane.WEIGHING, self._weigh, model_id)

    async def open(self, pack: VoicePack, place: Footprint, loaded: Callable[[], None], base: V | None) -> V:
        """See `ModelSource.open`; its files are checked against the pack's checksums first."""
        record = await run_in(Lane.RECORDS, self.book.check, pack)
        return await self.load(pack, record, place.device, loaded, base)

    async def look(self) -> Sequence[MemorySnapshot]:
        """See `ModelSource.look`."""
        return await self._lookout.look()

    async def keep(self, pack: VoicePack, device: str, measured: ModelSize) -> ModelSize:
        """See `ModelSource.keep`. A family's first load also loads its libraries, so that it measures too much."""
        known = self.book[pack.model_id].measured.get(device)
        first = pack.family not in self._met
        self._met.add(pack.family)
        if first and known is not None:
            return known
        await run_in(Lane.RECORDS, self.book.keep_size, pack.model_id, device, measured)
        return measured

    def _weigh(self, model_id: str) -> tuple[VoicePack, Sequence[Footprint]]:
        shelf = self.find()
        pack = shelf[model_id]
        measured = self.book[model_id].measured
        return pack, [place(pack, device, measured) for device in self.choose(shelf.base(pack) or pack)]


def place(pack: VoicePack, device: str, measured: Mapping[str, ModelSize]) -> Footprint:
    """Say what a pack takes on a device: as measured there, else as its metadata says.

    >>> from pathlib import Path
    >>> place(VoicePack("piper", "anna", Path(), disk_mb=60), "cpu", {})
    Footprint(device='cpu', size=60000000, peak=60000000, least=0)

    Raises:
        UnavailableError: A file of the pack is gone.
    """
    # in main memory weights take what they take on disk, or more; a GPU may hold them in half precision
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
