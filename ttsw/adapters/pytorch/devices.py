"""Choosing a device, and making results on it independent of the rest of the batch."""

import gc

import torch

from ttsw.adapters.base import EngineSettings
from ttsw.errors import UnavailableError
from ttsw.system.heap import trim_memory


def prepare_device(settings: EngineSettings) -> torch.device:
    """Return an engine's device, and set torch up for it.

    Raises:
        UnavailableError: torch doesn't see the device.
    """
    device = find_device(settings.device)
    if device.type == "cpu" and settings.threads:
        torch.set_num_threads(settings.threads)
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # else a vocoder's windows would differ audibly from the whole
    return device


def find_device(name: str) -> torch.device:
    """Return a device.

    Raises:
        UnavailableError: torch doesn't see the device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UnavailableError(f"{name!r} is no device: cpu and cuda:0 are such names") from error
    there = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) < there:
        return torch.device("cuda", device.index or 0)
    if device.type != "cpu":
        gpus = ", ".join(f"cuda:{index}" for index in range(there)) or "no GPU"
        raise UnavailableError(f"device {name} is not there: torch {torch.__version__} sees cpu and {gpus}")
    return device


def give_back(device: torch.device) -> None:
    """Return free memory to the device and the system, after a model was dropped."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    trim_memory()
