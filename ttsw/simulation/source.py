"""Where simulated models come from: the packs that a profile knows, in place of those on the disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ttsw.models.measurements import ModelRecord
from ttsw.packs.catalogue import Catalogue
from ttsw.profiles.schema import Profile
from ttsw.sessions.voice import LoudnessTarget, Voice
from ttsw.simulation.device import SimulatedDevice
from ttsw.simulation.host import SimulatedHost, SimulatedLoad
from ttsw.types import Capabilities, VoicePack
from ttsw.units import SAMPLE_RATE

NOWHERE = Path("simulated")


class SimulatedSource:
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
        self._load = SimulatedLoad(profile, noise, seed)
        self.shelf = Catalogue({model_id: _pack(model_id, profile) for model_id in profile.models})

    def __repr__(self) -> str:
        return f"<Simulation of {self.profile.name}, {self.device!r}>"

    def refresh(self) -> Catalogue:
        """Give the packs, which don't change."""
        return self.shelf

    def usable(self, pack: VoicePack) -> bool:
        """Say that a model can be loaded: all can."""
        return True

    def places(self, pack: VoicePack) -> Sequence[str]:
        """Name the one device."""
        return [self.device.id]

    async def __call__(
        self, pack: VoicePack, record: ModelRecord, device: str, loaded: Callable[[], None], base: Voice | None = None
    ) -> Voice:
        """Load a model; see `ttsw.models.source.ModelSource.open`."""
        host = SimulatedHost(pack, self.profile, self.device, self._load)
        await host.start()
        loaded()
        return Voice(host, LoudnessTarget(None))


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
