"""Which models to measure: those named, or all that can be loaded on the device."""

from collections.abc import Sequence

from ttsw.adapters.envs.environment import own_families
from ttsw.adapters.hosts.engine_processes import EngineProcesses
from ttsw.config import Config
from ttsw.device import Device
from ttsw.errors import NotFoundError
from ttsw.packs.catalogue import Catalogue
from ttsw.placement import Placement
from ttsw.profiles.schema import Profile
from ttsw.types import VoicePack

IDLE_FAMILY = "mock"
"""Measured only where it is asked for: it makes a sine."""


def choose_models(
    config: Config, shelf: Catalogue, named: Sequence[str], devices: Sequence[Device], *, gpu: str | None
) -> list[str]:
    """Choose models.

    Args:
        config: The configuration.
        shelf: The voice packs.
        named: Those asked for; none for all.
        devices: The devices of this machine.
        gpu: The GPU that is measured, as `cuda:0`; None for the CPU.

    Raises:
        NotFoundError: One that is asked for isn't there, or there is none to measure.
        PackError: One that is asked for is broken, or lacks files.
    """
    if named:
        return [shelf[model_id].model_id for model_id in dict.fromkeys(named)]
    placement = Placement(config, EngineProcesses(), devices)
    found = [
        model_id
        for model_id, pack in shelf.packs.items()
        if pack.family != IDLE_FAMILY and _goes_to(gpu, pack, config) and placement.usable(pack)
    ]
    if not found:
        device = gpu or "the CPU"
        raise NotFoundError(f"no model can be loaded on {device}; ttsw voices list tells what there is and what lacks")
    return found


def _goes_to(gpu: str | None, pack: VoicePack, config: Config) -> bool:
    """Whether a model goes to the device, as far as its family and the configuration say."""
    wanted = config.engine(pack.family).device
    if gpu is None:
        return wanted in {None, "cpu"} and pack.capabilities.cpu_ok
    return wanted in {"cuda", gpu} or (wanted is None and pack.family in own_families())


def simulated_models(profile: Profile, named: Sequence[str]) -> list[str]:
    """Choose models of a profile that is simulated.

    Raises:
        NotFoundError: One that is asked for isn't in it.
    """
    for model_id in named:
        if model_id not in profile.models:
            raise NotFoundError(
                f"no model {model_id!r} in the profile {profile.name}; there are: {', '.join(profile.models) or 'none'}"
            )
    return list(dict.fromkeys(named)) or list(profile.models)
