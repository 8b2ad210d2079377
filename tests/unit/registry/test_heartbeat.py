"""When is written, who may have a name, and what is logged: without Redis, loop or clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.registry.heartbeat import Condition, Heartbeat, Held, Tempo, describe_holder, may_replace
from ttsw.registry.record import WorkerRecord

TEMPO = Tempo(10.0, gap_s=0.1, backoff_s=0.25, most_backoff_s=2.0)
OWN = WorkerRecord("alto", "grpc://a:1")


def make_pulse(chance=1.0):
    return Heartbeat(TEMPO, lambda: chance)


def beat(pulse, now):
    pulse.began(now)
    return pulse.written(now)


def test_it_writes_at_once_and_then_beats():
    pulse = make_pulse()
    assert pulse.due < 0
    assert beat(pulse, 5).event == "registered"
    assert pulse.due == 15
    assert beat(pulse, 15) is None


def test_beats_come_early_by_chance():
    pulse = make_pulse(0.0)
    beat(pulse, 0)
    assert pulse.due == 8


def test_news_are_written_at_once_and_many_as_one():
    pulse = make_pulse()
    beat(pulse, 0)
    pulse.changed()
    assert pulse.due == pytest.approx(0.1)
    beat(pulse, 5)
    pulse.changed()
    pulse.changed()
    assert pulse.due == pytest.approx(5.1)
    beat(pulse, 5.1)
    assert pulse.due == pytest.approx(15.1)


def test_news_while_a_write_is_under_way_are_written_after_it():
    pulse = make_pulse()
    beat(pulse, 0)
    pulse.began(10)
    pulse.changed()
    pulse.written(10.5)
    assert pulse.due == pytest.approx(10.1)


def test_waits_grow_up_to_a_short_one_and_news_do_not_hurry_them():
    pulse = make_pulse()
    waits = []
    for now in range(0, 60, 10):
        pulse.began(now)
        pulse.failed(Condition.AWAY, "away", now)
        pulse.changed()
        waits.append(pulse.due - now)
    assert waits == [0.25, 0.5, 1, 2, 2, 2]
    beat(pulse, 60)
    pulse.failed(Condition.AWAY, "away", 70)
    assert pulse.due == 70.25


def test_no_wait_is_longer_than_the_interval():
    pulse = Heartbeat(Tempo(0.1), lambda: 1.0)
    pulse.failed(Condition.AWAY, "away", 0)
    assert pulse.due == 0.1


def test_one_line_a_change():
    pulse = make_pulse()
    notes = [beat(pulse, 0), beat(pulse, 10)]
    notes += [pulse.failed(Condition.AWAY, "gone", now) for now in (20, 21, 22)]
    notes += [pulse.failed(Condition.SLOW, "slow", now) for now in (23, 24)]
    notes += [pulse.held(Held(OWN, 100.0), now) for now in (25, 35)]
    notes += [beat(pulse, 40), beat(pulse, 50)]
    told = [(note.level, note.event, note.fields) for note in notes if note]
    assert told == [
        ("info", "registered", {}),
        ("warning", "not registered", {"condition": "away", "error": "gone"}),
        ("warning", "not registered", {"condition": "slow to answer", "error": "slow"}),
        ("error", "not registered", {"error": describe_holder(Held(OWN, 100.0))}),
        ("info", "registered", {"away_s": 30}),
    ]


events = st.sampled_from(["written", "failed", "held", "changed"])


@given(st.lists(st.tuples(events, st.floats(0, 20)), max_size=40), st.floats(0, 1))
def test_whatever_happens_the_next_write_is_neither_far_nor_rushed(happens, chance):
    pulse, now = make_pulse(chance), 0.0
    for event, after_s in happens:
        now += after_s
        if event == "changed":
            pulse.changed()
            continue
        pulse.began(now)
        if event == "written":
            pulse.written(now)
        elif event == "failed":
            pulse.failed(Condition.AWAY, "", now)
        else:
            pulse.held(Held(OWN, 0.0), now)
        assert now + 0.09 < pulse.due <= now + TEMPO.interval_s


def held(instance="other", addr="grpc://b:1", age_s=0.0):
    return Held(WorkerRecord("alto", addr).stamped(instance, 30, 100.0), 100.0 + age_s)


@pytest.mark.parametrize(
    ("there", "new", "takeover", "may"),
    [
        (held("me"), False, False, True),
        (held(), True, False, False),
        (held(), True, True, True),
        (held(), False, True, False),
        (held(age_s=31), False, False, True),
        (held(addr="grpc://a:1"), True, False, True),
        (held(addr="grpc://a:1"), False, False, False),
        (Held(None, 0, "not JSON"), True, False, False),
        (Held(None, 0, "not JSON"), True, True, True),
        (Held(None, 0, "not JSON"), False, True, False),
    ],
)
def test_who_may_have_a_name(there, new, takeover, may):
    assert may_replace(there, OWN, "me", new=new, takeover=takeover) is may


def test_who_has_it_is_told():
    assert describe_holder(held(age_s=3)) == (
        "the name alto is held by another worker, at grpc://b:1, whose last heartbeat was 3 s ago"
    )
    assert "worker:alto: not JSON" in describe_holder(Held(None, 0, "worker:alto: not JSON"))
