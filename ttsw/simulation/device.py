"""The simulated device's memory, by holder."""

from ttsw.errors import OutOfMemoryError
from ttsw.profiles.schema import Profile
from ttsw.types import MemorySnapshot

MB = 1e6


class SimulatedDevice:
    """A device with the memory that a profile says. Its snapshot never blocks.

    Args:
        profile: The profile.
    """

    def __init__(self, profile: Profile) -> None:
        self.id = "cpu" if profile.device.kind == "cpu" else "cuda:0"
        self.name = profile.device.name
        self.environ: dict[str, str] = {}
        self.total = round(profile.device.memory_mb * MB)
        self.others = 0
        """Memory used by other programs, bytes."""
        self._held: dict[object, int] = {}

    def __repr__(self) -> str:
        return f"<SimulatedDevice {self.name!r}: {self.ours / MB:.0f} of {self.total / MB:.0f} MB>"

    @property
    def ours(self) -> int:
        """Memory held, bytes."""
        return sum(self._held.values())

    def hold(self, holder: object, size_mb: float) -> None:
        """Set a holder's memory, in place of what it held before.

        Raises:
            OutOfMemoryError: The device has too little memory.
        """
        size = round(size_mb * MB)
        rest = self.total - self.others - self.ours + self._held.get(holder, 0)
        if size > rest:
            raise OutOfMemoryError(
                f"the simulated {self.name} is out of memory: {size_mb:.0f} MB are wanted, and {rest / MB:.0f} MB free"
            )
        self._held[holder] = size

    def free(self, holder: object) -> None:
        """Free a holder's memory, if any."""
        self._held.pop(holder, None)

    def snapshot(self) -> MemorySnapshot:
        """Return a snapshot of its memory."""
        return MemorySnapshot(self.id, self.total, self.others + self.ours, self.ours)
