import pytest

from ttsw.models.capacity import Capacity, Start, Wait
from ttsw.models.instances import Footprint, Instance, InstanceEvent


def copy(name, size, device="cpu", *, going=False):
    instance = Instance(name, Footprint(device, size), serial=1, size=size)
    for event in (InstanceEvent.LOADED, InstanceEvent.WARMED, *([InstanceEvent.DISMISSED] if going else [])):
        instance.move(event)
    instance.loaded_at = 0.0
    return instance


def test_what_fits_is_started():
    assert Capacity(2, {"cpu": 100}).plan([Footprint("cpu", 60)], [copy("a", 40)], []) == Start(Footprint("cpu", 60))


def test_the_best_place_is_taken_where_it_fits():
    places = [Footprint("cuda:0", 60), Footprint("cpu", 60)]
    room = Capacity(9, {"cuda:0": 100, "cpu": 100})
    assert room.plan(places, [], []).place.device == "cuda:0"
    assert room.plan(places, [copy("a", 50, "cuda:0")], []).place.device == "cpu"


def test_what_goes_already_is_waited_for_and_nothing_else_goes():
    going, idle = copy("a", 60, going=True), copy("b", 40)
    assert Capacity(9, {"cpu": 100}).plan([Footprint("cpu", 60)], [going, idle], [idle]) == Wait()


def test_the_fewest_go_that_make_room():
    small, middle, large = copy("a", 10), copy("b", 20), copy("c", 70)
    all_three = [small, middle, large]
    room = Capacity(9, {"cpu": 100})
    assert room.plan([Footprint("cpu", 10)], all_three, all_three) == Wait((small,))
    assert room.plan([Footprint("cpu", 60)], all_three, all_three) == Wait((large,)), "the first two can be spared"
    assert room.plan([Footprint("cpu", 75)], all_three, all_three) == Wait((small, large))


def test_for_the_cap_any_may_go_for_memory_only_its_device_counts():
    here, there = copy("a", 50), copy("b", 50, "cuda:0")
    assert Capacity(2, {}).plan([Footprint("cpu", 50)], [here, there], [there, here]) == Wait((there,))
    assert Capacity(9, {"cpu": 60}).plan([Footprint("cpu", 50)], [here, there], [there, here]) == Wait((here,))


def test_what_can_never_fit_is_told():
    assert Capacity(9, {"cpu": 60}).plan([Footprint("cpu", 61)], [copy("a", 10)], [copy("a", 10)]) is None


def test_the_peak_counts():
    assert Capacity(9, {"cpu": 60}).plan([Footprint("cpu", 50, 70)], [], []) is None


@pytest.mark.parametrize(("left", "gone"), [(90, 0), (89, 1), (50, 1), (49, 2), (0, 3)])
def test_where_there_is_too_much_the_first_go(left, gone):
    copies = [copy("a", 40), copy("b", 40), copy("c", 10)]
    assert Capacity(9, {"cpu": left}).excess("cpu", copies, copies) == tuple(copies[:gone])
