"""NVIDIA's GPUs, as their driver's management library (NVML) tells of them.

`cuda:N` means the Nth GPU that CUDA shows to a program: see `ttsw.device.visible`. All GPUs are counted in the order of
their PCI addresses. CUDA's own default puts the fastest first, by a rule that isn't public; so with GPUs of different
kinds, `cuda:N` is the same GPU in torch only where CUDA_DEVICE_ORDER is PCI_BUS_ID, or CUDA_VISIBLE_DEVICES has UUIDs.
A child process that is given one GPU is best given `NvmlDevice.uuid` there.

NVML counts how often it was initialised. Each device holds one of these, from its making until `close`, and nothing
else here does; without `close`, that ends with the process. NVML's functions may be called from any thread.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock
from types import ModuleType
from typing import TypeVar

from ttsw.device.processes import ProcessTree
from ttsw.device.visible import visible
from ttsw.errors import UnavailableError
from ttsw.types import MemorySnapshot

T = TypeVar("T")


class NvmlDevice:
    """A GPU, or a part of one.

    In a snapshot, memory that the driver keeps for itself counts as used. `ours` is what NVML says of the processes
    that are ours. It is 0 where NVML doesn't say: in a container, a driver may know processes only by their numbers
    outside of it, or not tell how much each of them uses.

    Args:
        number: The N of `cuda:N`.
        uuid: What NVML and CUDA call it: `GPU-…`, or `MIG-…` for a part.
        nvml: The module `pynvml`, or a stand-in.
        tree: Which processes are ours; whoever looks for another process's memory may put in that one's.

    Raises:
        UnavailableError: It doesn't answer.
    """

    def __init__(self, number: int, uuid: str, nvml: ModuleType, tree: ProcessTree) -> None:
        self.id = f"cuda:{number}"
        self.uuid = self.name = uuid
        self._nvml, self.tree = nvml, tree
        self._lock = Lock()
        try:
            self._handle: object | None = _open(nvml, uuid)
        except nvml.NVMLError as error:
            raise self._unavailable(error) from error
        try:
            self.name = self._ask(nvml.nvmlDeviceGetName)
        except UnavailableError:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<NvmlDevice {self.id}, {self.name!r}, {self.uuid}{', closed' if self._handle is None else ''}>"

    @property
    def environ(self) -> dict[str, str]:
        """See `Device.environ`."""
        return {"CUDA_VISIBLE_DEVICES": self.uuid}

    def snapshot(self) -> MemorySnapshot:
        """Look at its memory; takes some milliseconds at most.

        Raises:
            UnavailableError: The GPU is lost, or its driver has gone.
        """
        total, free, processes = self._ask(self._look)
        ours = self.tree.look() if processes else {}
        # Not NVML's `used`: newer drivers leave out of it what is reserved. `free` never had it.
        return MemorySnapshot(self.id, total, total - free, sum(size for pid, size in processes if pid in ours))

    def close(self) -> None:
        """Let go of NVML; the device can't be used any more."""
        with self._lock, suppress(self._nvml.NVMLError):
            if self._handle is not None:
                self._handle = None
                self._nvml.nvmlShutdown()

    def _look(self, handle: object) -> tuple[int, int, list[tuple[int, int]]]:
        nvml = self._nvml
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2)
        except (nvml.NVMLError_FunctionNotFound, nvml.NVMLError_ArgumentVersionMismatch, nvml.NVMLError_NotSupported):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return memory.total, memory.free, self._processes(handle)

    def _processes(self, handle: object) -> list[tuple[int, int]]:
        """List the processes on the GPU, and what each of them uses, as far as the driver tells."""
        nvml = self._nvml
        for ask in (nvml.nvmlDeviceGetComputeRunningProcesses_v3, nvml.nvmlDeviceGetComputeRunningProcesses_v2):
            with suppress(nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):
                return [(process.pid, process.usedGpuMemory or 0) for process in ask(handle)]
        return []

    def _ask(self, question: Callable[[object], T]) -> T:
        """Ask NVML; a second time if it has to be initialised anew, as after its driver was."""
        nvml, handle = self._nvml, self._handle
        if handle is None:
            raise UnavailableError(f"{self.id} ({self.name}) was closed; find the GPUs again")
        try:
            try:
                return question(handle)
            except nvml.NVMLError_Uninitialized:
                return question(self._replace(handle, _open))
            except nvml.NVMLError_InvalidArgument:  # initialised anew by another device
                return question(self._replace(handle, _find))
        except nvml.NVMLError as error:
            raise self._unavailable(error) from error

    def _replace(self, stale: object, get: Callable[[ModuleType, str], object]) -> object:
        """Get another handle for one that is of no use, unless another thread has done so."""
        with self._lock:
            if self._handle is stale:
                self._handle = get(self._nvml, self.uuid)
            return self._handle

    def _unavailable(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"{self.id} ({self.name}) doesn't answer: {error}; nvidia-smi may tell more")


def find_gpus(
    environ: Mapping[str, str] = os.environ, *, nvml: ModuleType | None = None, tree: ProcessTree | None = None
) -> tuple[NvmlDevice, ...]:
    """Find the GPUs that this process can use: none where there is no NVIDIA driver.

    A GPU that is set up in parts (MIG) is found as a whole, unless CUDA_VISIBLE_DEVICES names a part.

    Args:
        environ: Where CUDA_VISIBLE_DEVICES is looked up.
        nvml: The module `pynvml`, or a stand-in.
        tree: Which processes are ours.
    """
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")  # here, because it takes 25 ms
        except ImportError:
            return ()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ()
    tree = tree or ProcessTree()
    gpus: list[NvmlDevice] = []
    with suppress(nvml.NVMLError, UnavailableError):  # as in CUDA, one that isn't there ends the list
        for uuid in visible(environ.get("CUDA_VISIBLE_DEVICES"), _all_uuids(nvml)):
            gpus.append(NvmlDevice(len(gpus), uuid, nvml, tree))
    with suppress(nvml.NVMLError):
        nvml.nvmlShutdown()
    return tuple(gpus)


def _all_uuids(nvml: ModuleType) -> list[str]:
    """List the GPUs that answer, in the order of their PCI addresses; NVML promises no order."""
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        with suppress(nvml.NVMLError):  # it is lost, or may not be used from here
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found.append((nvml.nvmlDeviceGetPciInfo(handle).busId, nvml.nvmlDeviceGetUUID(handle)))
    return [uuid for _, uuid in sorted(found)]


def _open(nvml: ModuleType, uuid: str) -> object:
    """Initialise NVML, and find a GPU; NVML stays initialised if that succeeds."""
    nvml.nvmlInit()
    try:
        return _find(nvml, uuid)
    except nvml.NVMLError:
        nvml.nvmlShutdown()
        raise


def _find(nvml: ModuleType, uuid: str) -> object:
    """Find a GPU, or a part of one."""
    return nvml.nvmlDeviceGetHandleByUUID(uuid)
