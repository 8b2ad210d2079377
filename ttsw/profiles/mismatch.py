"""What a profile says and this machine doesn't: decides how grave each difference is."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ttsw.profiles.schema import Profile
from ttsw.profiles.selection import LESS, normal, same_product

Gravity = Literal["grave", "warning", "note"]
"""`grave`: the limits may not hold at all; `warning`: figures may be off; `note`: the profile says nothing of it."""


class Mismatch(NamedTuple):
    """A difference.

    Args:
        gravity: How grave it is.
        text: What it is, in words.
    """

    gravity: Gravity
    text: str


def mismatches(
    profile: Profile,
    *,
    device_name: str,
    memory_mb: float,
    driver: str | None = None,
    cores: int | None = None,
    digests: Mapping[str, str | None],
) -> list[Mismatch]:
    """List in which ways a machine isn't the profile's, the gravest first.

    Args:
        profile: The profile.
        device_name: The device's product name.
        memory_mb: Its memory.
        driver: A GPU's driver; None where it isn't known.
        cores: A CPU's cores, those that this process may use; None for a GPU.
        digests: SHA-256 over the files of each model that is to be served, hex; None where it isn't known.
    """
    found = [*_device(profile, device_name, memory_mb, driver, cores), *_models(profile, digests)]
    order: tuple[Gravity, ...] = ("grave", "warning", "note")
    return sorted(found, key=lambda each: order.index(each.gravity))


def _device(profile: Profile, name: str, memory_mb: float, driver: str | None, cores: int | None) -> list[Mismatch]:
    device, found = profile.device, []
    same = normal(device.name) == normal(name) if device.kind == "cpu" else same_product(device.name, name)
    if device.kind != ("gpu" if cores is None else "cpu") or not same:
        found.append(Mismatch("grave", f"the profile {profile.name} is of {device.name}, and this is {name}"))
    if device.cores is not None and cores is not None and cores != device.cores:
        gravity: Gravity = "grave" if cores < device.cores else "warning"
        found.append(Mismatch(gravity, f"the profile is of {device.cores} cores, and there are {cores}"))
    if memory_mb < LESS * device.memory_mb:
        text = f"the profile's device has {device.memory_mb:.0f} MB of memory, and this one {memory_mb:.0f} MB"
        found.append(Mismatch("grave", text))
    if device.driver is not None and driver is not None and driver != device.driver:
        text = f"measured with the driver {device.driver}, and this is {driver}; ttsw profiles verify measures again"
        found.append(Mismatch("warning", text))
    return found


def _models(profile: Profile, digests: Mapping[str, str | None]) -> list[Mismatch]:
    found = []
    for model_id, digest in sorted(digests.items()):
        facts = profile.models.get(model_id)
        if facts is None:
            found.append(Mismatch("note", f"the profile says nothing of the model {model_id}"))
        elif facts.digest is not None and digest is not None and digest != facts.digest:
            other = f"{digest[:12]}…, not {facts.digest[:12]}…"
            text = f"the files of the model {model_id} aren't those that were measured ({other})"
            found.append(Mismatch("warning", text))
    return found
