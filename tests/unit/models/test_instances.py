import pytest

from ttsw.errors import InternalError
from ttsw.models.instances import MOVES, Footprint, Instance, InstanceEvent, ModelState


@pytest.mark.parametrize(
    "state", [ModelState.LOADING, ModelState.WARMING, ModelState.READY, ModelState.DRAINING, ModelState.UNLOADING]
)
@pytest.mark.parametrize("event", InstanceEvent)
def test_every_move_is_in_the_table_or_refused(state, event):
    instance = Instance("f-a", Footprint("cpu"), 1, state=state)
    if (state, event) in MOVES:
        instance.move(event)
        assert instance.state is MOVES[state, event]
    else:
        with pytest.raises(InternalError, match=f"f-a that is {state} can't be {event}"):
            instance.move(event)
        assert instance.state is state


def test_a_peak_is_no_less_than_the_size_and_a_size_no_less_than_the_least():
    assert Footprint("cpu", 5, 3).peak == 5
    assert Footprint("cpu", 5, 6, 7) == Footprint("cpu", 7, 7, 7)


def test_it_is_idle_since_it_was_loaded_or_last_used():
    instance = Instance("f-a", Footprint("cpu"), 1, state=ModelState.READY, loaded_at=10.0)
    assert instance.idle_s(15) == 5
    instance.used_at = 12.0
    assert instance.idle_s(15) == 3
    instance.state = ModelState.DRAINING
    assert instance.idle_s(15) == 0
