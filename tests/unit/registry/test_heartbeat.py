"""Times of writes, ownership of a name, and log lines; without Redis, event loop or clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.registry.heartbeat import Condition, Heartbeat, HeartbeatTiming, Holder, describe_holder, may_replace
from ttsw.registry.record import WorkerRecord

TIMING = HeartbeatTiming(10.0, gap_s=0.1, backoff_s=0.25, max_backoff_s=2.0)
OWN = WorkerRecord("alto", "grpc://a:1")


def make_heartbeat(chance=1.0):
    return Heartbeat(TIMING, lambda: chance)


def beat(heartbeat, now):
    heartbeat.write_started(now)
    return heartbeat.written(now)


def test_it_writes_at_once_and_then_beats():
    heartbeat = make_heartbeat()
    assert heartbeat.due < 0
    assert beat(heartbeat, 5).event == "registered"
    assert heartbeat.due == 15
    assert beat(heartbeat, 15) is None


def test_beats_come_early_by_chance():
    heartbeat = make_heartbeat(0.0)
    beat(heartbeat, 0)
    assert heartbeat.due == 8


def test_changes_are_written_immediately_and_together():
    heartbeat = make_heartbeat()
    beat(heartbeat, 0)
    heartbeat.changed()
    assert heartbeat.due == pytest.approx(0.1)
    beat(heartbeat, 5)
    heartbeat.changed()
    heartbeat.changed()
    assert heartbeat.due == pytest.approx(5.1)
    beat(heartbeat, 5.1)
    assert heartbeat.due == pytest.approx(15.1)


def test_a_change_during_a_write_is_written_after_it():
    heartbeat = make_heartbeat()
    beat(heartbeat, 0)
    heartbeat.write_started(10)
    heartbeat.changed()
    heartbeat.written(10.5)
    assert heartbeat.due == pytest.approx(10.1)


def test_delays_back_off_and_changes_do_not_shorten_them():
    heartbeat = make_heartbeat()
    waits = []
    for now in range(0, 60, 10):
        heartbeat.write_started(now)
        heartbeat.failed(Condition.UNREACHABLE, "unreachable", now)
        heartbeat.changed()
        waits.append(heartbeat.due - now)
    assert waits == [0.25, 0.5, 1, 2, 2, 2]
    beat(heartbeat, 60)
    heartbeat.failed(Condition.UNREACHABLE, "unreachable", 70)
    assert heartbeat.due == 70.25


def test_no_wait_is_longer_than_the_interval():
    heartbeat = Heartbeat(HeartbeatTiming(0.1), lambda: 1.0)
    heartbeat.failed(Condition.UNREACHABLE, "unreachable", 0)
    assert heartbeat.due == 0.1


def test_one_line_a_change():
    heartbeat = make_heartbeat()
    log_lines = [beat(heartbeat, 0), beat(heartbeat, 10)]
    log_lines += [heartbeat.failed(Condition.UNREACHABLE, "gone", now) for now in (20, 21, 22)]
    log_lines += [heartbeat.failed(Condition.SLOW, "slow", now) for now in (23, 24)]
    log_lines += [heartbeat.name_held(Holder(OWN, 100.0), now) for now in (25, 35)]
    log_lines += [beat(heartbeat, 40), beat(heartbeat, 50)]
    lines = [(line.level, line.event, line.fields) for line in log_lines if line]
    assert lines == [
        ("info", "registered", {}),
        ("warning", "not registered", {"condition": "unreachable", "error": "gone"}),
        ("warning", "not registered", {"condition": "slow to respond", "error": "slow"}),
        ("error", "not registered", {"error": describe_holder(Holder(OWN, 100.0))}),
        ("info", "registered", {"away_s": 30}),
    ]


events = st.sampled_from(["written", "failed", "held", "changed"])


@given(st.lists(st.tuples(events, st.floats(0, 20)), max_size=40), st.floats(0, 1))
def test_the_next_write_is_never_too_early_or_too_late(happens, chance):
    heartbeat, now = make_heartbeat(chance), 0.0
    for event, after_s in happens:
        now += after_s
        if event == "changed":
            heartbeat.changed()
            continue
        heartbeat.write_started(now)
        if event == "written":
            heartbeat.written(now)
        elif event == "failed":
            heartbeat.failed(Condition.UNREACHABLE, "", now)
        else:
            heartbeat.name_held(Holder(OWN, 0.0), now)
        assert now + 0.09 < heartbeat.due <= now + TIMING.interval_s


def held(instance="other", addr="grpc://b:1", age_s=0.0):
    return Holder(WorkerRecord("alto", addr).stamped(instance, 30, 100.0), 100.0 + age_s)


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
        (Holder(None, 0, "not JSON"), True, False, False),
        (Holder(None, 0, "not JSON"), True, True, True),
        (Holder(None, 0, "not JSON"), False, True, False),
    ],
)
def test_which_holders_may_be_replaced(there, new, takeover, may):
    assert may_replace(there, OWN, "me", new=new, takeover=takeover) is may


def test_the_description_of_a_holder():
    assert describe_holder(held(age_s=3)) == (
        "the name alto is held by another worker, at grpc://b:1, whose last heartbeat was 3 s ago"
    )
    assert "worker:alto: not JSON" in describe_holder(Holder(None, 0, "worker:alto: not JSON"))
