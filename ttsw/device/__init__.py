"""Devices that models live on, and how their memory stands: one immutable snapshot type for main memory and GPUs."""

from ttsw.device.snapshot import Device, MemorySnapshot

__all__ = ["Device", "MemorySnapshot"]
