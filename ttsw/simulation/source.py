"""Where simulated models come from: the packs that a profile knows, in place of those on the disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ttsw.models.records import Record
from ttsw.models.shelf import Shelf
from ttsw.profiles.schema import Profile
from ttsw.sessions.voice import Level, Voice
from ttsw.simulation.device import SimulatedDevice
from ttsw.simulation.host import Load, SimulatedHost
from ttsw.types import Capabilities, VoicePack
from ttsw.units import SAMPLE_RATE

NOWHERE = Path("simulated")


class Simulation:
    """A worker's packs, device and loader, of a profile.

    It stands where `Library`, `find_devices` and `VoiceLoader` stand for this machine.

    Args:
        profile: The profile.
        noise: How much each wait differs by chance, as a share.
        seed: Decides chance.
    """

    def __init__(self, profile: Profile, noise: float = 0.0, seed: int = 0) -> None:
        self.profile = profile
        self.device = SimulatedDevice(profile)
        self._load = Load(profile, noise, seed)
        self.shelf = Shelf({model_id: _pack(model_id, profile) for model_id in profile.models})

    def __repr__(self) -> str:
        return f"<Simulation of {self.profile.name}, {self.device!r}>"

    def refresh(self) -> Shelf:
        """Give the packs, which don't change."""
        return self.shelf

    def usable(self, pack: VoicePack) -> bool:
        """Say that a model can be loaded: all can."""
        return True

    def places(self, pack: VoicePack) -> Sequence[str]:
        """Name the one device."""
        return [self.device.id]

    async def __call__(
        self, pack: VoicePack, record: Record, device: str, loaded: Callable[[], None], base: Voice | None = None
    ) -> Voice:
        """Load a model; see `ttsw.models.source.Source.open`."""
        host = SimulatedHost(pack, self.profile, self.device, self._load)
        await host.start()
        loaded()
        return Voice(host, Level(None))


def _pack(model_id: str, profile: Profile) -> VoicePack:
    facts = profile.models[model_id]
    return VoicePack(
        family=facts.family,
        name=model_id.removeprefix(f"{facts.family}-"),
        root=NOWHERE,
        version=facts.version or "1.0",
        capabilities=Capabilities(cpu_ok=profile.device.kind == "cpu"),
        languages=("en",),
        sample_rate=SAMPLE_RATE,
        vram_mb=facts.size_mb,
        source=f"simulated by the profile {profile.name}",
    )
