"""What the device, the machine and the software are, as far as they tell. What one doesn't tell is absent."""

import importlib
import os
import platform
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from ttsw.adapters.envs.environment import EnvironmentState, find, own_families
from ttsw.device import CpuDevice
from ttsw.device.cpu import processor_name
from ttsw.device.nvml import NvmlDevice, find_gpus
from ttsw.errors import NotFoundError, UnavailableError
from ttsw.profiles.schema import DeviceFacts, HostFacts
from ttsw.version import __version__

MB = 1e6
LIBRARIES = ("trio", "numpy", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that is to be measured.

    Args:
        number: The N of `cuda:N`.
        device: The device.
        nvml: The module `pynvml`, or a stand-in.
    """

    number: int
    device: NvmlDevice
    nvml: ModuleType

    def ask(self, question: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - NVML answers many things
        """Ask NVML about it; None where it doesn't tell.

        Raises:
            UnavailableError: It is lost, or its driver has gone.
        """
        nvml = self.nvml
        dead = (nvml.NVMLError_GpuIsLost, nvml.NVMLError_Uninitialized, nvml.NVMLError_DriverNotLoaded)
        try:
            return question(nvml.nvmlDeviceGetHandleByUUID(self.device.uuid))
        except dead as error:
            raise UnavailableError(
                f"{self.device.id} ({self.device.name}) doesn't answer any more: {error}; nvidia-smi may tell more"
            ) from error
        except nvml.NVMLError:
            return None


def find_gpu(number: int, nvml: ModuleType | None = None) -> Gpu:
    """Find a GPU by the number that it has for CUDA.

    Args:
        number: The N of `cuda:N`.
        nvml: The module `pynvml`, or a stand-in.

    Raises:
        UnavailableError: There is no driver, or it doesn't answer.
        NotFoundError: There is no such GPU.
    """
    nvml = nvml or importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise UnavailableError(
            f"no GPU {number} here: no NVIDIA driver answers ({error}); ttsw bench --cpu measures without a GPU"
        ) from error
    with suppress(nvml.NVMLError):
        nvml.nvmlShutdown()
    gpus = find_gpus(nvml=nvml)
    if not 0 <= number < len(gpus):
        for gpu in gpus:
            gpu.close()
        there = ", ".join(f"{each.id.removeprefix('cuda:')} ({each.name})" for each in gpus) or "none"
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if shown is None else f"; CUDA_VISIBLE_DEVICES is {shown!r}"
        raise NotFoundError(f"no GPU {number} here; there are: {there}{hint}; or ttsw bench --cpu")
    for gpu in gpus:
        if gpu is not gpus[number]:
            gpu.close()
    return Gpu(number, gpus[number], nvml)


def gpu_facts(gpu: Gpu) -> DeviceFacts:
    """Describe a GPU.

    Raises:
        UnavailableError: It is lost, or its driver has gone.
    """
    nvml, snapshot = gpu.nvml, gpu.device.snapshot()
    limit_mw = gpu.ask(nvml.nvmlDeviceGetEnforcedPowerLimit)
    clock = gpu.ask(lambda handle: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM))
    capability = gpu.ask(nvml.nvmlDeviceGetCudaComputeCapability)
    ecc = gpu.ask(nvml.nvmlDeviceGetEccMode)
    driver = gpu.ask(lambda _handle: nvml.nvmlSystemGetDriverVersion())
    return DeviceFacts(
        kind="gpu",
        name=gpu.device.name,
        memory_mb=round(snapshot.total / MB, 1),
        driver=None if driver is None else _text(driver),
        compute_capability=None if capability is None else ".".join(map(str, capability)),
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
        clock_mhz=None if clock is None else float(clock),
        mig=_mig(gpu),
        ecc=None if ecc is None else bool(ecc[0]),
    )


def _mig(gpu: Gpu) -> bool | None:
    """Whether it is a part of a GPU, or one that is set up in parts."""
    if gpu.device.uuid.startswith("MIG-"):
        return True
    mode = gpu.ask(gpu.nvml.nvmlDeviceGetMigMode)
    return False if mode is None else bool(mode[0])


def refuse_whole_mig(gpu: Gpu) -> None:
    """Refuse a GPU that is set up in parts, of which no part is named: CUDA would use the first one, whichever.

    Raises:
        UnavailableError: It is one.
    """
    if _mig(gpu) and not gpu.device.uuid.startswith("MIG-"):
        raise UnavailableError(
            f"GPU {gpu.number} ({gpu.device.name}) is set up in parts (MIG): name one in CUDA_VISIBLE_DEVICES=MIG-…, "
            "as nvidia-smi -L lists them, and measure it as GPU 0"
        )


def cpu_facts() -> DeviceFacts:
    """Describe the processor, and the main memory that this process may have."""
    device = CpuDevice()
    return DeviceFacts(kind="cpu", name=device.name, memory_mb=round(device.snapshot().total / MB, 1), cores=cores())


def host_facts() -> HostFacts:
    """Describe the machine."""
    return HostFacts(
        processor=processor_name(),
        cores=cores(),
        memory_mb=round(psutil.virtual_memory().total / MB, 1),
        system=f"{platform.system()} {platform.release()}",
    )


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def software(families: Iterable[str] = ()) -> dict[str, str]:
    """Name the versions of what has a say in the figures.

    Args:
        families: Those measured; of those with an environment of their own, its torch.
    """
    found = {"ttsw": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    for family in sorted({*families} & {*own_families()}):
        environment = find(family, os.environ)
        if environment.state in {EnvironmentState.READY, EnvironmentState.OUTDATED}:
            for name in ("torch", "transformers"):
                version = _version_in(environment.python, name)
                if version is not None:
                    found[f"{name} of {family}"] = version
    return found


def _version_in(python: Path, name: str) -> str | None:
    """Find a library's version in an environment, without starting its interpreter."""
    folders = [str(each) for each in python.parent.parent.glob("lib/python*/site-packages")]
    for distribution in metadata.distributions(name=name, path=folders):
        return distribution.version
    return None


def _text(told: str | bytes) -> str:
    return told.decode(errors="replace") if isinstance(told, bytes) else told
