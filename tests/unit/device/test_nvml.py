import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttsw.device.nvml
from tests.unit.device.fake_nvml import FUNCTIONS, GIB, FakeNvml, Gpu, parameters
from ttsw.device import NvmlDevice, find_gpus
from ttsw.errors import UnavailableError

FIRST = Gpu("GPU-11111111-aaaa", "NVIDIA One", bus=0x1A)
SECOND = Gpu("GPU-22222222-bbbb", "NVIDIA Two", bus=0x3B)


@pytest.fixture
def gpu():
    return Gpu("GPU-11111111-aaaa")


@pytest.fixture
def nvml(gpu):
    return FakeNvml(gpu)


@pytest.fixture
def device(nvml):
    (device,) = find_gpus({}, nvml=nvml)
    return device


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_the_fake_has_the_parameters_of_the_real_one(name):
    assert parameters(FUNCTIONS[name]) == parameters(getattr(pynvml, name))


def test_every_function_used_is_faked():
    text = Path(ttsw.device.nvml.__file__).read_text("utf-8")
    used = {name for name in re.findall(r"\bnvml\.(nvml\w+)", text) if callable(getattr(pynvml, name))}
    assert used == FUNCTIONS.keys()


def test_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpus({}) == ()


@pytest.mark.parametrize(
    "code",
    [
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        pynvml.NVML_ERROR_UNKNOWN,
    ],
)
def test_no_driver(nvml, code):
    nvml.init_error = code
    assert find_gpus({}, nvml=nvml) == ()
    assert nvml.count == 0


def test_the_real_library_is_found_or_not_in_silence(capfd):
    for gpu in find_gpus({"CUDA_VISIBLE_DEVICES": "0"}):
        gpu.close()
    assert capfd.readouterr() == ("", "")


def test_importing_neither_imports_pynvml_nor_warns():
    code = "import sys, ttsw.device; assert 'pynvml' not in sys.modules; ttsw.device.find_devices()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, timeout=60, env={**os.environ}
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def test_two_gpus_in_the_order_of_their_addresses():
    nvml = FakeNvml(SECOND, FIRST)
    gpus = find_gpus({}, nvml=nvml)
    assert [(gpu.id, gpu.name, gpu.uuid) for gpu in gpus] == [
        ("cuda:0", "NVIDIA One", FIRST.uuid),
        ("cuda:1", "NVIDIA Two", SECOND.uuid),
    ]
    assert "cuda:1, 'NVIDIA Two'" in repr(gpus[1])


def test_only_those_that_cuda_shows():
    nvml = FakeNvml(FIRST, SECOND)
    assert [gpu.name for gpu in find_gpus({"CUDA_VISIBLE_DEVICES": "1"}, nvml=nvml)] == ["NVIDIA Two"]
    assert [gpu.name for gpu in find_gpus({"CUDA_VISIBLE_DEVICES": "GPU-2,GPU-1"}, nvml=nvml)] == [
        "NVIDIA Two",
        "NVIDIA One",
    ]
    assert find_gpus({"CUDA_VISIBLE_DEVICES": ""}, nvml=nvml) == ()


def test_a_part_of_a_gpu():
    part = Gpu("MIG-33333333-cccc", "NVIDIA Two MIG 1g.10gb", total=10 * GIB)
    (device,) = find_gpus({"CUDA_VISIBLE_DEVICES": part.uuid}, nvml=FakeNvml(FIRST, part))
    assert (device.id, device.snapshot().total) == ("cuda:0", 10 * GIB)


def test_a_part_that_is_not_there():
    nvml = FakeNvml(FIRST)
    assert find_gpus({"CUDA_VISIBLE_DEVICES": "MIG-4"}, nvml=nvml) == ()
    assert nvml.count == 0


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_NO_PERMISSION])
def test_a_gpu_that_cannot_be_used_is_left_out(code):
    gone = Gpu("GPU-0", bus=0, error=code)
    nvml = FakeNvml(gone, FIRST)
    assert [(gpu.id, gpu.uuid) for gpu in find_gpus({}, nvml=nvml)] == [("cuda:0", FIRST.uuid)]
    assert nvml.count == 1


def test_what_the_driver_reserves_is_used(device, gpu):
    gpu.allocated = 3 * GIB
    seen = device.snapshot()
    assert (seen.device, seen.total, seen.used, seen.ours) == ("cuda:0", 16 * GIB, 3 * GIB + GIB // 2, 0)


def test_an_old_driver(device, gpu, nvml):
    gpu.allocated, gpu.processes = 3 * GIB, [(os.getpid(), GIB)]
    expected = device.snapshot()
    nvml.missing = {"nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetComputeRunningProcesses_v3"}
    assert device.snapshot() == expected
    nvml.missing.add("nvmlDeviceGetComputeRunningProcesses_v2")
    assert device.snapshot().ours == 0


def test_ours_is_what_we_and_our_children_have(device, gpu):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        gpu.processes = [(os.getpid(), 1 * GIB), (child.pid, 2 * GIB), (1, 4 * GIB)]
        assert device.snapshot().ours == 3 * GIB
        child.communicate(b"\n")
    assert device.snapshot().ours == 1 * GIB


def test_use_that_the_driver_does_not_tell_is_none(device, gpu):
    gpu.allocated, gpu.processes = GIB, [(os.getpid(), None)]
    assert (device.snapshot().ours, device.snapshot().used) == (0, GIB + GIB // 2)


def test_a_lost_gpu(device, gpu):
    gpu.error = pynvml.NVML_ERROR_GPU_IS_LOST
    with pytest.raises(UnavailableError, match=r"^cuda:0 \(NVIDIA Test 1000\) doesn't answer: GPU is lost; nvidia-smi"):
        device.snapshot()
    gpu.error = 0
    assert device.snapshot().total == 16 * GIB


def test_after_its_driver_was_loaded_anew(device, nvml):
    before = device.snapshot()
    nvml.reload_driver()
    assert device.snapshot() == before
    assert nvml.count == 1


def test_while_its_driver_is_away(device, nvml):
    nvml.reload_driver()
    nvml.init_error = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    with pytest.raises(UnavailableError, match="Driver Not Loaded"):
        device.snapshot()
    nvml.init_error = 0
    assert device.snapshot().total == 16 * GIB


def test_a_driver_that_comes_back_without_the_gpu(device, nvml):
    nvml.reload_driver()
    lost, nvml.gpus = nvml.gpus, []
    with pytest.raises(UnavailableError, match="Not Found"):
        device.snapshot()
    assert nvml.count == 0
    nvml.gpus = lost
    assert device.snapshot().total == 16 * GIB


def test_it_is_initialised_anew_but_once_by_many_threads(device, nvml):
    nvml.reload_driver()
    nvml.inits = 0
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: device.snapshot(), range(64)))
    assert len(set(seen)) == 1
    assert (nvml.count, nvml.inits) == (1, 1)


def test_both_of_two_gpus_survive_a_reload_and_each_others_end():
    nvml = FakeNvml(FIRST, SECOND)
    one, two = find_gpus({}, nvml=nvml)
    nvml.reload_driver()
    assert (one.snapshot().device, two.snapshot().device) == ("cuda:0", "cuda:1")
    one.close()
    assert two.snapshot().device == "cuda:1"
    two.close()
    assert nvml.count == 0


def test_each_device_holds_nvml_until_it_is_closed():
    nvml = FakeNvml(FIRST, SECOND)
    one, two = find_gpus({}, nvml=nvml)
    assert nvml.count == 2
    one.close()
    one.close()
    assert nvml.count == 1
    assert two.snapshot().total == 16 * GIB
    with pytest.raises(UnavailableError, match="was closed"):
        one.snapshot()
    assert "closed" in repr(one)
    two.close()
    assert nvml.count == 0


def test_closing_when_the_driver_has_gone(device, nvml):
    nvml.reload_driver()
    device.close()
    assert nvml.count == 0


def test_one_that_is_not_there_holds_nothing(nvml):
    with pytest.raises(UnavailableError, match=r"cuda:3 \(GPU-9\) doesn't answer: Not Found"):
        NvmlDevice(3, "GPU-9", nvml, tree=None)
    assert nvml.count == 0


def test_one_without_a_name_holds_nothing(nvml, monkeypatch):
    def lose(handle):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(nvml, "nvmlDeviceGetName", lose, raising=False)
    assert find_gpus({}, nvml=nvml) == ()
    assert nvml.count == 0


@given(st.integers(0, 1 << 40), st.data())
def test_free_is_between_nothing_and_all(total, data):
    reserved = data.draw(st.integers(0, total))
    gpu = Gpu("GPU-1", total=total, reserved=reserved, allocated=data.draw(st.integers(0, total - reserved)))
    (device,) = find_gpus({}, nvml=FakeNvml(gpu))
    seen = device.snapshot()
    assert 0 <= seen.free <= seen.total
    assert seen.free == total - reserved - gpu.allocated
