"""What a GPU and a machine tell of themselves, and how a GPU that can't be measured is refused."""

import inspect

import pynvml
import pytest

from tests.unit.device.fake_nvml import GIB, Gpu, parameters
from tests.unit.profiler.telling_nvml import TellingNvml
from ttsw.errors import NotFoundError, UnavailableError
from ttsw.profiler.device_facts import cpu_facts, find_gpu, gpu_facts, host_facts, refuse_whole_mig, software
from ttsw.profiler.disturbances import GpuWatch, others_mb
from ttsw.version import __version__

THERMAL = pynvml.nvmlClocksThrottleReasonSwThermalSlowdown


OWN = {name: function for name, function in vars(TellingNvml).items() if name.startswith("nvml")}


@pytest.fixture(autouse=True)
def _all_gpus(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def card():
    return Gpu("GPU-1", "NVIDIA GeForce RTX 4090", total=24 * GIB)


@pytest.mark.parametrize("name", sorted(OWN))
def test_the_fake_has_the_parameters_of_the_real_one(name):
    own, real = parameters(OWN[name]), parameters(inspect.unwrap(getattr(pynvml, name)))
    assert [parameter for parameter, _ in own] == [parameter for parameter, _ in real]


def test_a_gpu_tells_all(card):
    facts = gpu_facts(find_gpu(0, TellingNvml(card)))
    assert facts.model_dump() == {
        "kind": "gpu",
        "name": "NVIDIA GeForce RTX 4090",
        "memory_mb": pytest.approx(24 * GIB / 1e6, abs=0.1),
        "cores": None,
        "driver": "580.1",
        "compute_capability": "8.9",
        "power_limit_w": 450.0,
        "clock_mhz": 2520.0,
        "mig": False,
        "ecc": True,
    }


def test_what_a_gpu_does_not_tell_is_absent(card):
    facts = gpu_facts(find_gpu(0, TellingNvml(card, mute={"power", "clock", "capability", "ecc", "mig"})))
    assert (facts.power_limit_w, facts.clock_mhz, facts.compute_capability, facts.ecc) == (None, None, None, None)
    assert facts.mig is False


def test_no_driver():
    nvml = TellingNvml()
    nvml.init_error = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    with pytest.raises(
        UnavailableError, match=r"no GPU 0 here: no NVIDIA driver answers \(Driver Not Loaded\); ttsw bench --cpu"
    ):
        find_gpu(0, nvml)


@pytest.mark.parametrize("number", [1, 7, -1])
def test_no_such_gpu(card, number):
    nvml = TellingNvml(card)
    with pytest.raises(NotFoundError, match=rf"no GPU {number} here; there are: 0 \(NVIDIA GeForce RTX 4090\)"):
        find_gpu(number, nvml)
    assert nvml.count == 0


def test_no_gpu_at_all():
    with pytest.raises(NotFoundError, match="no GPU 0 here; there are: none"):
        find_gpu(0, TellingNvml())


def test_gpus_that_are_hidden_are_hinted_at(card, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(NotFoundError, match="CUDA_VISIBLE_DEVICES is ''"):
        find_gpu(0, TellingNvml(card))


def test_the_second_of_two(card):
    nvml = TellingNvml(card, Gpu("GPU-2", "NVIDIA L4", bus=2))
    assert find_gpu(1, nvml).device.name == "NVIDIA L4"
    assert nvml.count == 1


def test_a_gpu_set_up_in_parts_is_refused_as_a_whole(card):
    whole = find_gpu(0, TellingNvml(card, mig=1))
    assert gpu_facts(whole).mig
    with pytest.raises(UnavailableError, match=r"is set up in parts \(MIG\): name one in CUDA_VISIBLE_DEVICES=MIG-"):
        refuse_whole_mig(whole)
    refuse_whole_mig(find_gpu(0, TellingNvml(card)))


def test_a_part_of_a_gpu(card, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1")
    card.uuid = "MIG-1"
    part = find_gpu(0, TellingNvml(card, mute={"mig"}))
    refuse_whole_mig(part)
    assert gpu_facts(part).mig


def test_a_driver_that_dies_half_way(card):
    gpu = find_gpu(0, TellingNvml(card))
    card.error = pynvml.NVML_ERROR_GPU_IS_LOST
    with pytest.raises(UnavailableError, match="doesn't answer"):
        gpu_facts(gpu)
    with pytest.raises(
        UnavailableError, match=r"cuda:0 \(NVIDIA GeForce RTX 4090\) doesn't answer any more: GPU is lost"
    ):
        others_mb(gpu)
    watch = GpuWatch(gpu, 0.0)
    watch.look()
    assert any("doesn't answer any more" in word for word in watch.words())


def test_throttling_and_tenants_are_said(card):
    card.allocated = GIB
    gpu = find_gpu(0, TellingNvml(card, reasons=THERMAL | pynvml.nvmlClocksThrottleReasonGpuIdle))
    watch = GpuWatch(gpu, others_mb(gpu))
    watch.look()
    assert watch.words() == [
        "the GPU's clock was held down by heat (84 °C at most)",
        "others had 1074 MB of the GPU's memory",
    ]


def test_an_idle_gpu_is_no_news(card):
    gpu = find_gpu(0, TellingNvml(card, reasons=pynvml.nvmlClocksThrottleReasonGpuIdle))
    watch = GpuWatch(gpu, others_mb(gpu))
    watch.look()
    assert watch.words() == []


def test_a_gpu_that_tells_nothing_disturbs_nothing(card):
    gpu = find_gpu(0, TellingNvml(card, mute={"reasons", "temperature"}))
    watch = GpuWatch(gpu, 0.0)
    watch.look()
    assert watch.words() == []


def test_this_machine():
    cpu, host = cpu_facts(), host_facts()
    assert (cpu.kind, cpu.name) == ("cpu", host.processor)
    assert cpu.cores == host.cores >= 1
    assert 0 < cpu.memory_mb <= host.memory_mb


def test_versions():
    found = software(["piper", "nobody"])
    assert found["ttsw"] == __version__
    assert {"python", "trio", "numpy"} <= found.keys()
