"""NVML as `pynvml` shows it, with GPUs that a test sets up: real error classes and structures, made-up answers."""

import inspect
from dataclasses import dataclass, field
from types import ModuleType

import pynvml

GIB = 1 << 30


@dataclass
class Gpu:
    uuid: str
    name: str = "NVIDIA Test 1000"
    bus: int = 1
    total: int = 16 * GIB
    reserved: int = GIB // 2
    allocated: int = 0
    processes: list[tuple[int, int | None]] = field(default_factory=list)
    error: int = 0  # what the driver answers about it, if not 0


class Handle:
    def __init__(self, gpu: Gpu, generation: int) -> None:
        self.gpu, self.generation = gpu, generation


class FakeNvml(ModuleType):
    """A stand-in for the module `pynvml`: its functions are this class's, all else is the real one's.

    Only names that the real module has can be asked for, so a name that it doesn't have fails here too.
    """

    def __init__(self, *gpus: Gpu) -> None:
        super().__init__("pynvml")
        self.gpus = list(gpus)
        self.count = 0  # of initialisations
        self.inits = 0  # ever
        self.generation = 0
        self.init_error = 0
        self.missing: set[str] = set()  # functions that this driver's library doesn't have

    def __getattr__(self, name):
        return getattr(pynvml, name)

    def reload_driver(self) -> None:
        self.count, self.generation = 0, self.generation + 1

    # What follows has the names and parameters of pynvml; test_nvml.py compares them.

    def nvmlInit(self):  # noqa: N802
        self.inits += 1
        _check(self.init_error)
        self.count += 1

    def nvmlShutdown(self):  # noqa: N802
        self._check_initialised()
        self.count -= 1
        if not self.count:
            self.generation += 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        self._check_initialised()
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        self._check_initialised()
        return self._attach(self.gpus[index])

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        self._check_initialised()
        for gpu in self.gpus:
            if gpu.uuid == uuid:
                return self._attach(gpu)
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        return self._gpu(handle).uuid

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        return self._gpu(handle).name

    def nvmlDeviceGetPciInfo(self, handle):  # noqa: N802
        return pynvml.nvmlPciInfo_t(busId=f"00000000:{self._gpu(handle).bus:02X}:00.0".encode())

    def nvmlDeviceGetMemoryInfo(self, handle, version=None):  # noqa: N802
        gpu = self._gpu(handle)
        free = gpu.total - gpu.reserved - gpu.allocated
        if not version:
            return pynvml.c_nvmlMemory_t(total=gpu.total, free=free, used=gpu.total - free)
        self._check_there("nvmlDeviceGetMemoryInfo_v2")
        assert version == pynvml.nvmlMemory_v2
        return pynvml.c_nvmlMemory_v2_t(version, gpu.total, gpu.reserved, free, gpu.allocated)

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle):  # noqa: N802
        self._check_there("nvmlDeviceGetComputeRunningProcesses_v3")
        return [
            pynvml.nvmlFriendlyObject({"pid": pid, "usedGpuMemory": size, "gpuInstanceId": 0, "computeInstanceId": 0})
            for pid, size in self._gpu(handle).processes
        ]

    def nvmlDeviceGetComputeRunningProcesses_v2(self, handle):  # noqa: N802
        self._check_there("nvmlDeviceGetComputeRunningProcesses_v2")
        return [
            pynvml.nvmlFriendlyObject({"pid": pid, "usedGpuMemory": size}) for pid, size in self._gpu(handle).processes
        ]

    def _check_initialised(self):
        _check(0 if self.count else pynvml.NVML_ERROR_UNINITIALIZED)

    def _check_there(self, name):
        _check(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND if name in self.missing else 0)

    def _attach(self, gpu):
        _check(gpu.error)
        return Handle(gpu, self.generation)

    def _gpu(self, handle):
        self._check_initialised()
        _check(0 if handle.generation == self.generation else pynvml.NVML_ERROR_INVALID_ARGUMENT)
        _check(handle.gpu.error)
        return handle.gpu


FUNCTIONS = {name: function for name, function in vars(FakeNvml).items() if name.startswith("nvml")}


def parameters(function):
    """Name a function's parameters and their defaults, without `self`."""
    found = inspect.signature(function).parameters.values()
    return [(parameter.name, parameter.default) for parameter in found if parameter.name != "self"]


def _check(code):
    if code:
        raise pynvml.NVMLError(code)
