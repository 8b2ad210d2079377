"""Checking that the GPUs named in the configuration exist; a missing one is an error."""

import os
from collections.abc import Iterable

from ttsw.config import Config
from ttsw.device.snapshot import Device
from ttsw.errors import UnavailableError


def check_gpus(config: Config, devices: Iterable[Device]) -> None:
    """Refuse a configuration that names a missing GPU.

    Args:
        config: The configuration.
        devices: This machine's devices.

    Raises:
        UnavailableError: A GPU is missing; the message names it, the setting that names it, and the existing GPUs.
    """
    faults = missing_gpus(config, devices)
    if faults:
        raise UnavailableError("; ".join(faults))


def missing_gpus(config: Config, devices: Iterable[Device]) -> list[str]:
    """Return the missing GPUs, in words; empty if none is missing."""
    gpus = {device.id: device.name for device in devices if device.id != "cpu"}
    asked = {f"cuda:{number}": "--gpu or model_manager.gpus" for number in config.model_manager.gpus or ()}
    asked |= {engine.device: f"engines.{name}.device" for name, engine in config.engines.items() if engine.device}
    there = ", ".join(f"{key.removeprefix('cuda:')} ({name})" for key, name in gpus.items()) or "none"
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    hint = "" if shown is None else f"; CUDA_VISIBLE_DEVICES is {shown!r}"
    return [
        f"no {named(device)} here, which {by} asks for; GPUs are: {there}{hint}"
        for device, by in asked.items()
        if device != "cpu" and device not in gpus and not (device == "cuda" and gpus)
    ]


def named(device: str) -> str:
    """Return a device's name for people.

    >>> named("cuda:3"), named("cuda")
    ('GPU 3', 'GPU')
    """
    return f"GPU {device.removeprefix('cuda:')}" if ":" in device else "GPU"
