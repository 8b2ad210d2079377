"""A simulated machine: the voice packs, device and loader that a profile describes."""

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
    """Packs, device and loader of a profile, in place of this machine's.

    Implements `ttsw.models.source.PackReader` and `Loader`.

    Args:
        profile: The profile.
        noise: Random variation of each delay, as a share of it.
        seed: Seed of that variation.
    """

    def __init__(self, profile: Profile, noise: float = 0.0, seed: int = 0) -> None:
        self.profile = profile
        self.device = SimulatedDevice(profile)
        self._delays = SimulatedLoad(profile, noise, seed)
        self.catalogue = Catalogue({model_id: _pack(model_id, profile) for model_id in profile.models})

    def __repr__(self) -> str:
        return f"<Simulation of {self.profile.name}, {self.device!r}>"

    def refresh(self) -> Catalogue:
        """Return the packs, which never change."""
        return self.catalogue

    def usable(self, pack: VoicePack) -> bool:
        """Return True: every simulated model can be loaded."""
        return True

    def devices_for(self, pack: VoicePack) -> Sequence[str]:
        """Return the only device."""
        return [self.device.id]

    async def load(
        self, pack: VoicePack, record: ModelRecord, device: str, loaded: Callable[[], None], base: Voice | None = None
    ) -> Voice:
        """Load a model; see `ttsw.models.source.ModelSource.open`."""
        host = SimulatedHost(pack, self.profile, self.device, self._delays)
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
