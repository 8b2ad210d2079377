"""Devices that hold models, and snapshots of their memory: main memory and GPUs."""

from ttsw.device.cpu import CpuDevice
from ttsw.device.nvml import NvmlDevice, find_gpus
from ttsw.device.processes import ProcessTree
from ttsw.device.snapshot import Device
from ttsw.types import MemorySnapshot

__all__ = ["CpuDevice", "Device", "MemorySnapshot", "NvmlDevice", "find_devices", "find_gpus"]


def find_devices() -> tuple[Device, ...]:
    """Return this process's devices: main memory first, then the GPUs, if any.

    Blocks for about 100 ms, or as long as a GPU driver hangs; `ttsw.models.device_monitor.search_devices` has a
    deadline.
    """
    tree = ProcessTree()
    return CpuDevice(tree), *find_gpus(tree=tree)
