import pytest

from ttsw.errors import OutOfMemoryError, UnavailableError
from ttsw.testing.devices import FakeDevice


@pytest.fixture
def device():
    return FakeDevice("cuda:0", 100, used_by_others=30)


def test_its_names(device):
    assert (device.id, device.name) == ("cuda:0", "fake cuda:0")
    assert repr(device) == "<FakeDevice cuda:0, 0 + 30 + 0 of 100 bytes used>"


def test_what_is_taken_is_ours(device):
    device.take(50)
    seen = device.snapshot()
    assert (seen.device, seen.total, seen.used, seen.ours, seen.free) == ("cuda:0", 100, 80, 50, 20)
    device.used_by_others = 10
    assert device.snapshot().free == 40


def test_what_is_given_back_is_free(device):
    device.take(50)
    device.give(20)
    assert (device.snapshot().ours, device.snapshot().free) == (30, 40)


def test_what_lingers_is_free_once_it_has_settled(device):
    device.take(50)
    device.give(50, lingers=True)
    assert (device.snapshot().ours, device.snapshot().free) == (0, 20)
    with pytest.raises(OutOfMemoryError):
        device.take(21)
    device.settle()
    assert device.snapshot().free == 70


def test_no_more_than_there_is(device):
    with pytest.raises(OutOfMemoryError, match="cuda:0 has 70 bytes left, 71 were asked for"):
        device.take(71)
    assert device.snapshot().ours == 0
    device.take(70)
    assert device.snapshot().free == 0


def test_no_more_than_is_ours(device):
    device.take(10)
    with pytest.raises(ValueError, match="only 10 are ours"):
        device.give(11)


def test_lost(device):
    device.lost = "it fell off the bus"
    with pytest.raises(UnavailableError, match=r"cuda:0 \(fake cuda:0\) doesn't answer: it fell off the bus"):
        device.snapshot()
    device.lost = ""
    assert device.snapshot().free == 70
    assert device.looks == 2
