"""A device whose memory is what a test says it is."""

from ttsw.errors import OutOfMemoryError, UnavailableError
from ttsw.types import MemorySnapshot


class FakeDevice:
    """Memory to take and to give back.

    Args:
        id: Its short name: `cpu`, `cuda:0`.
        total: Its memory, bytes.
        ours: What this process has of it to begin with, bytes.
        used_by_others: What others have of it, bytes; set it as you like.

    Attributes:
        lingering: What was given back but doesn't show as free yet, bytes.
        lost: Why the device no longer answers; empty while it does.
        looks: How many snapshots were asked for.
    """

    def __init__(self, id: str = "cuda:0", total: int = 8 << 30, *, ours: int = 0, used_by_others: int = 0) -> None:  # noqa: A002
        self.id, self.name = id, f"fake {id}"
        self.total, self.ours, self.used_by_others = total, ours, used_by_others
        self.lingering = 0
        self.lost = ""
        self.looks = 0

    def __repr__(self) -> str:
        return (
            f"<FakeDevice {self.id}, {self.ours} + {self.used_by_others} + {self.lingering} of {self.total} bytes used>"
        )

    @property
    def environ(self) -> dict[str, str]:
        """See `Device.environ`."""
        return {"CUDA_VISIBLE_DEVICES": self.id}

    def snapshot(self) -> MemorySnapshot:
        """Look at its memory.

        Raises:
            UnavailableError: It is `lost`.
        """
        self.looks += 1
        if self.lost:
            raise UnavailableError(f"{self.id} ({self.name}) doesn't answer: {self.lost}")
        return MemorySnapshot(self.id, self.total, self.ours + self.used_by_others + self.lingering, self.ours)

    def take(self, size: int) -> None:
        """Take memory.

        Raises:
            OutOfMemoryError: There is less than that; nothing was taken.
        """
        free = self.total - self.ours - self.used_by_others - self.lingering
        if size > free:
            raise OutOfMemoryError(f"{self.id} has {free} bytes left, {size} were asked for")
        self.ours += size

    def give(self, size: int, *, lingers: bool = False) -> None:
        """Give memory back; with `lingers` it isn't ours any more, but shows as free only after `settle`."""
        if size > self.ours:
            raise ValueError(f"{size} bytes given back, but only {self.ours} are ours")
        self.ours -= size
        self.lingering += size * lingers

    def settle(self) -> None:
        """Let all that was given back show as free."""
        self.lingering = 0
