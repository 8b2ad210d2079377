import pytest

from tests.unit.simulation.profiles import facts, make
from ttsw.errors import OutOfMemoryError
from ttsw.simulation.device import SimulatedDevice


@pytest.fixture
def device():
    return SimulatedDevice(make(1_000.0, a=facts()))


def test_who_holds_what_is_seen(device):
    device.hold("a", 300)
    device.hold("b", 100)
    device.hold("a", 200)
    device.others = 50_000_000
    seen = device.snapshot()
    assert (seen.device, seen.total, seen.used, seen.ours) == ("cuda:0", 10**9, 350_000_000, 300_000_000)
    device.free("a")
    device.free("nobody")
    assert device.ours == 100_000_000
    assert "100 of 1000 MB" in repr(device)


def test_more_than_there_is_cannot_be_had(device):
    device.hold("a", 900)
    with pytest.raises(OutOfMemoryError, match=r"the simulated NVIDIA .* 101 MB are wanted, and 100 MB"):
        device.hold("b", 101)
    device.hold("a", 1_000)
    assert device.ours == 10**9
