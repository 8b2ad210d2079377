"""From `--profile` to a configuration: which profile, on which devices, and what of it isn't so here."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from ttsw.config import Config
from ttsw.config.keys import Setting, Settings
from ttsw.device import Device, find_devices
from ttsw.errors import FailedPreconditionError, NotFoundError, UnavailableError
from ttsw.models.measurements import open_measurements
from ttsw.profiler.device_facts import cores, find_gpu, gpu_facts
from ttsw.profiles.files import find_profile, list_profiles, read_profile
from ttsw.profiles.mismatch import Mismatch, mismatches
from ttsw.profiles.schema import Profile
from ttsw.profiles.selection import choose, same_product
from ttsw.profiles.settings import to_settings

log = structlog.get_logger(__name__)

AUTO = "auto"
MB = 1e6


@dataclass(frozen=True)
class Chosen:
    """What a server runs by.

    Args:
        profile: The profile; None where `auto` found none that fits.
        devices: The devices that it is for.
        mismatches: What of it isn't so here.
    """

    profile: Profile | None
    devices: Sequence[str] = ()
    mismatches: Sequence[Mismatch] = ()

    @property
    def settings(self) -> Settings:
        """What it sets in the configuration."""
        if self.profile is None:
            return {}
        origin = f"profile {self.profile.name}"
        return {key: Setting(value, origin) for key, value in to_settings(self.profile, self.devices).items()}

    def announce(self) -> None:
        """Say in the log what the worker runs by."""
        if self.profile is None:
            log.warning("no profile fits", devices=list(self.devices), mend="ttsw bench measures one")
            return
        profile, derived = self.profile, self.profile.derived
        log.info(
            "profile",
            name=profile.name,
            provenance=profile.provenance,
            device=profile.device.name,
            date=profile.date.date().isoformat(),
            sessions=dict(derived.sessions),
            budget_mb=derived.budget_mb,
            resident_cap=derived.resident_cap,
            **({"note": ESTIMATED} if profile.provenance == "estimated" else {}),
        )
        slow = [model_id for model_id in derived.sessions if profile.models[model_id].sessions == 0]
        if slow:
            log.warning("too slow", models=slow, what=TOO_SLOW)
        for mismatch in self.mismatches:
            tell = log.info if mismatch.gravity == "note" else log.warning
            tell("profile mismatch", gravity=mismatch.gravity, what=mismatch.text)


TOO_SLOW = "not even one session kept the SLOs when it was measured; one at a time is let in all the same"
ESTIMATED = "its figures are estimated from published specifications and the models' sizes; ttsw bench measures"


def announce_none(config: Config) -> None:
    """Say in the log that the worker runs by no profile."""
    limit = config.worker.capabilities.max_concurrent_sessions
    log.info(
        "no profile",
        limits=f"{limit} sessions, 2 to 4 on a model made for a GPU; memory as packs say until it is measured",
        mend="ttsw bench measures what this machine can, and --profile runs by it",
    )


def choose_profile(
    named: str,
    config: Config,
    environ: Mapping[str, str] = os.environ,
    devices: Sequence[Device] | None = None,
) -> Chosen:
    """Find the profile that is meant, and hold it against this machine.

    Args:
        named: A name, a path, or `auto`.
        config: The configuration, without what the profile sets.
        environ: The environment.
        devices: What there is; looked for if None.

    Raises:
        NotFoundError: There is no such profile.
        ConfigError: It can't be read.
        FailedPreconditionError: It is an interrupted measurement's.
    """
    there = [each for each in (find_devices() if devices is None else devices) if _allowed(each, config)]
    profile = _fitting(there, environ) if named == AUTO else read_profile(find_profile(named, environ))
    if profile is None:
        return Chosen(None, [device.id for device in there])
    if profile.provenance == "partial":
        raise FailedPreconditionError(
            f"the profile {named} is partial: its measurement was interrupted, and it may lack limits; "
            "ttsw bench measures it whole"
        )
    of_kind = [each for each in there if (each.id == "cpu") == (profile.device.kind == "cpu")]
    same = [each for each in of_kind if each.id == "cpu" or same_product(profile.device.name, each.name)]
    meant = same or of_kind
    here = meant or [each for each in there if each.id == "cpu"]
    digests = {model_id: open_measurements(config)[model_id].digest or None for model_id in _wanted(config)}
    found: dict[Mismatch, None] = {}
    for device in here:
        found |= dict.fromkeys(
            mismatches(
                profile,
                device_name=device.name,
                memory_mb=device.snapshot().total / MB,
                driver=_driver(device),
                cores=cores() if device.id == "cpu" else None,
                digests=digests,
            )
        )
    return Chosen(profile, [each.id for each in meant], tuple(found))


def refuse_mismatch(chosen: Chosen) -> None:
    """Refuse a profile that isn't this machine's.

    Raises:
        FailedPreconditionError: Something of it isn't so here, or none fits.
    """
    faults = [each.text for each in chosen.mismatches if each.gravity != "note"]
    if chosen.profile is None:
        faults = [f"no profile fits {', '.join(chosen.devices)}"]
    if faults:
        raise FailedPreconditionError(
            f"--strict-profile: {'; '.join(faults)}; ttsw bench measures a profile of this one"
        )


def read_named(named: str, environ: Mapping[str, str] = os.environ) -> Profile:
    """Read a profile by name or path.

    Raises:
        NotFoundError: There is none.
        ConfigError: It can't be read.
    """
    return read_profile(find_profile(named, environ))


def _fitting(devices: Sequence[Device], environ: Mapping[str, str]) -> Profile | None:
    """The profile that fits the first GPU for which there is one, or else the CPU."""
    profiles = [each.profile for each in list_profiles(environ) if each.profile is not None]
    for device in sorted(devices, key=lambda each: each.id == "cpu"):
        memory_mb = device.snapshot().total / MB
        count = cores() if device.id == "cpu" else None
        found = choose(profiles, device.name, cores=count, memory_mb=memory_mb)
        if found is not None:
            return found
    return None


def _allowed(device: Device, config: Config) -> bool:
    numbers = config.model_manager.gpus
    return device.id == "cpu" or numbers is None or device.id in {f"cuda:{number}" for number in numbers}


def _wanted(config: Config) -> list[str]:
    models = config.model_manager
    return [models.default_model_id, *models.preload_model_ids]


def _driver(device: Device) -> str | None:
    if device.id == "cpu":
        return None
    try:
        gpu = find_gpu(int(device.id.partition(":")[2]))
        try:
            return gpu_facts(gpu).driver
        finally:
            gpu.device.close()
    except (UnavailableError, NotFoundError):
        return None
