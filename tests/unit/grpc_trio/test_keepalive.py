from math import inf

from ttsw.grpc_trio import Settings
from ttsw.grpc_trio.keepalive import Keepalive

SETTINGS = Settings(preface_s=5, idle_s=100, keepalive_s=30, keepalive_timeout_s=10)


def established(settings: Settings = SETTINGS) -> Keepalive:
    keepalive = Keepalive(settings, 0.0)
    keepalive.on_settings()
    keepalive.on_call()
    return keepalive


def test_a_peer_has_time_for_its_preface():
    keepalive = Keepalive(SETTINGS, 0.0)
    keepalive.on_input(4.0)
    assert keepalive.check(4.9) == ("", 5.0)
    assert keepalive.check(5.0)[0] == "no HTTP/2 preface in time"


def test_silence_is_answered_by_one_ping_and_then_the_end():
    keepalive = established()
    assert keepalive.check(0.0) == ("", 30.0)
    assert keepalive.check(30.0) == ("ping", 40.0)
    assert keepalive.check(35.0)[0] == ""
    assert keepalive.check(40.0)[0] == "keepalive timed out: no reply to PING"


def test_any_byte_answers_a_ping():
    keepalive = established()
    keepalive.check(30.0)
    keepalive.on_input(39.0)
    assert keepalive.check(40.0) == ("", 69.0)


def test_idle_counts_from_the_last_call():
    keepalive = established()
    keepalive.on_input(190.0)
    assert keepalive.check(200.0)[0] == ""
    keepalive.on_idle(200.0)
    keepalive.on_input(299.0)
    assert keepalive.check(299.0) == ("", 300.0)
    keepalive.on_call()
    assert keepalive.check(300.0)[0] == ""
    keepalive.on_idle(301.0)
    keepalive.on_input(400.0)
    assert keepalive.check(401.0)[0] == "idle"


def test_a_call_that_ends_while_nothing_else_happens_is_noticed_in_time():
    keepalive = established(Settings(idle_s=50, keepalive_s=inf))
    _, wake_at = keepalive.check(0.0)
    keepalive.on_idle(1.0)
    assert wake_at <= 51.0


def test_no_limits_no_wake():
    keepalive = established(Settings(keepalive_s=inf, idle_s=inf))
    assert keepalive.check(1e9) == ("", inf)
