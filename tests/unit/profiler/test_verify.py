"""Which device a profile is held against; what is measured there is test_measuring's."""

from functools import partial

import pytest
import trio

from tests.unit.device.fake_nvml import Gpu
from tests.unit.profiler.telling_nvml import TellingNvml
from tests.unit.profiles.samples import MEASURED
from ttsw.config import Config
from ttsw.device.nvml import find_gpus
from ttsw.errors import InvalidArgumentError, NotFoundError, UnavailableError
from ttsw.profiler import verify as module
from ttsw.profiler.device_facts import find_gpu
from ttsw.profiler.verify import find_target, verify


@pytest.fixture
def machine(monkeypatch):
    """Put GPUs into the machine."""

    def put(*gpus, mig=0):
        nvml = TellingNvml(*gpus, mig=mig)
        monkeypatch.setattr(module, "find_devices", lambda: find_gpus({}, nvml=nvml))
        monkeypatch.setattr(module, "find_gpu", lambda number: find_gpu(number, nvml))

    return put


def profile(kind="gpu", name="NVIDIA L4"):
    return MEASURED.model_copy(update={"device": MEASURED.device.model_copy(update={"kind": kind, "name": name})})


FAST, SMALL = Gpu("GPU-1", "NVIDIA H100"), Gpu("GPU-2", "NVIDIA L4", bus=2)


@pytest.mark.parametrize(("named", "number"), [(None, 1), (0, 0), (1, 1)])
def test_the_gpu_that_is_named_or_that_the_profile_is_of(machine, named, number):
    machine(FAST, SMALL)
    assert find_target(profile(), Config(), named).device_id == f"cuda:{number}"


def test_the_first_gpu_where_none_is_of_the_profiles_name(machine):
    machine(FAST, SMALL)
    assert find_target(profile(name="NVIDIA A10G"), Config(), None).device_id == "cuda:0"


def test_no_such_gpu(machine):
    machine(SMALL)
    with pytest.raises(NotFoundError, match="no GPU 7"):
        find_target(profile(), Config(), 7)
    machine()
    with pytest.raises((NotFoundError, UnavailableError)):
        find_target(profile(), Config(), None)


def test_a_gpu_in_parts(machine):
    machine(SMALL, mig=1)
    with pytest.raises(UnavailableError, match="MIG"):
        find_target(profile(), Config(), None)


def test_a_cpus_profile_is_held_against_the_cpu():
    assert find_target(profile("cpu", "Some CPU"), Config(), None).device_id == "cpu"
    run = partial(verify, profile("cpu", "Some CPU"), config=Config(), progress=None, gpu=0)
    with pytest.raises(InvalidArgumentError, match="--gpu is of no use"):
        trio.run(run)
