from math import inf

from ttsw.grpc_trio import Settings
from ttsw.grpc_trio.keepalive import Keepalive

SETTINGS = Settings(preface_s=5, idle_s=100, keepalive_s=30, keepalive_timeout_s=10)


def agreed(settings: Settings = SETTINGS) -> Keepalive:
    watch = Keepalive(settings, 0.0)
    watch.agree()
    watch.busy()
    return watch


def test_a_peer_has_time_for_its_preface():
    watch = Keepalive(SETTINGS, 0.0)
    watch.heard(4.0)
    assert watch.judge(4.9) == ("", 5.0)
    assert watch.judge(5.0)[0] == "no HTTP/2 preface in time"


def test_silence_is_answered_by_one_ping_and_then_the_end():
    watch = agreed()
    assert watch.judge(0.0) == ("", 30.0)
    assert watch.judge(30.0) == ("ping", 40.0)
    assert watch.judge(35.0)[0] == ""
    assert watch.judge(40.0)[0] == "keepalive: the peer is silent"


def test_any_byte_answers_a_ping():
    watch = agreed()
    watch.judge(30.0)
    watch.heard(39.0)
    assert watch.judge(40.0) == ("", 69.0)


def test_idle_counts_from_the_last_call():
    watch = agreed()
    watch.heard(190.0)
    assert watch.judge(200.0)[0] == ""
    watch.idle(200.0)
    watch.heard(299.0)
    assert watch.judge(299.0) == ("", 300.0)
    watch.busy()
    assert watch.judge(300.0)[0] == ""
    watch.idle(301.0)
    watch.heard(400.0)
    assert watch.judge(401.0)[0] == "idle"


def test_a_call_that_ends_while_nothing_else_happens_is_noticed_in_time():
    watch = agreed(Settings(idle_s=50, keepalive_s=inf))
    _, wake_at = watch.judge(0.0)
    watch.idle(1.0)
    assert wake_at <= 51.0


def test_no_limits_no_wake():
    watch = agreed(Settings(keepalive_s=inf, idle_s=inf))
    assert watch.judge(1e9) == ("", inf)
