"""What disturbs is said, what doesn't isn't."""

import os

import pytest

from ttsw.device.processes import ProcessTree
from ttsw.profiler.disturbances import LAG_MS, CpuTimes, DisturbanceWatch, cpu_words, load_words, read_times

QUIET = CpuTimes(0, 100, 1, 50)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (CpuTimes(10, 120, 1, 70), []),
        (CpuTimes(10, 122, 1, 70), []),
        (CpuTimes(10, 126, 1, 70), ["others took 30 % of the processor for 10 s"]),
        (CpuTimes(10, 120, 3, 70), ["the hypervisor took 10.0 % of the processor for 10 s"]),
        (CpuTimes(0, 200, 9, 50), []),
    ],
)
def test_others_on_the_processor(after, words):
    assert cpu_words(QUIET, after, 2) == words


@pytest.mark.parametrize(("load", "said"), [(0.0, 0), (0.5, 0), (0.51, 1), (40.0, 1)])
def test_the_load_before(load, said):
    assert len(load_words(load, 2)) == said


def test_times_go_on():
    seen = {}
    before = read_times(lambda: 1.0, ProcessTree(), seen)
    sum(range(2_000_000))
    after = read_times(lambda: 2.0, ProcessTree(), seen)
    assert after.ours_s > before.ours_s > 0
    assert after.busy_s >= before.busy_s
    assert os.getpid() in seen


def test_what_ended_processes_did_is_still_ours():
    seen = {-5: 100.0}
    assert read_times(lambda: 1.0, ProcessTree(), seen).ours_s > 100


def test_a_watch_tells_each_thing_once():
    watch = DisturbanceWatch(lambda: 0.0, loads=lambda: 1000.0)
    watch.say(["it is odd", "it is odd"])
    watch.say(["it is odd"])
    watch.lags_ms += [1.0, LAG_MS + 1, 3 * LAG_MS]
    assert watch.look() == []
    first, odd, late = watch.told()
    assert "the load average was 1000.0" in first
    assert odd == "it is odd"
    assert late == f"the load generator was too slow in 2 of 3 windows (late by up to {3 * LAG_MS:.0f} ms)"


def test_nothing_to_say():
    watch = DisturbanceWatch(lambda: 0.0, loads=lambda: 0.0)
    watch.look()
    watch.lags_ms.append(1.0)
    assert watch.told() == ()
