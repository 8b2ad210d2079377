"""Devices that models live on, and how their memory stands: one immutable snapshot type for main memory and GPUs."""

from ttsw.device.cpu import CpuDevice
from ttsw.device.nvml import NvmlDevice, find_gpus
from ttsw.device.processes import ProcessTree
from ttsw.device.snapshot import Device
from ttsw.types import MemorySnapshot

__all__ = ["CpuDevice", "Device", "MemorySnapshot", "NvmlDevice", "find_devices", "find_gpus"]


def find_devices() -> tuple[Device, ...]:
    """Find the devices of this process: main memory first, then the GPUs, if any.

    Blocks for some 100 ms, or for as long as a GPU's driver hangs: `ttsw.models.device_monitor.search_devices` doesn't.
    """
    tree = ProcessTree()
    return CpuDevice(tree), *find_gpus(tree=tree)
