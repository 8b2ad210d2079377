from pathlib import Path

from ttsw.device import CpuDevice, NvmlDevice, find_devices

DEVICE = Path(__file__).parents[3] / "ttsw" / "device"


def test_main_memory_comes_first_then_the_gpus():
    first, *others = find_devices()
    assert isinstance(first, CpuDevice)
    assert all(isinstance(device, NvmlDevice) for device in others)
    assert [device.id for device in others] == [f"cuda:{number}" for number in range(len(others))]


def test_every_device_of_this_machine_answers():
    for device in find_devices():
        seen = device.snapshot()
        assert seen.device == device.id
        assert device.name
        assert 0 <= seen.free <= seen.total
        assert seen.total > 0
        assert seen.ours >= 0


def test_nothing_here_knows_of_the_event_loop_or_the_log():
    for file in DEVICE.glob("*.py"):
        assert not {"import trio", "import asyncio", "import logging", "import structlog"} & set(
            file.read_text("utf-8").splitlines()
        )
