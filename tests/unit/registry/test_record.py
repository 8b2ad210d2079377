"""Serialization and validation of records."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.registry.record import (
    MAX_BYTES,
    MAX_NUMBER,
    TTL_S,
    MalformedRecordError,
    WorkerRecord,
    grpc_addr,
    parse_record,
    printable,
)
from ttsw.system.terminal import is_safe

CAPABILITIES = {
    "streaming": True, "zero_shot": False, "lora": False, "cpu_ok": True, "emotive_zero_prompt": False,
    "languages": ["en", "de"], "max_concurrent_sessions": 16,
    "state": "ready", "version": "1", "device": "cpu", "models": ["a", "b"], "instance": "i", "ttl_s": 30,
}  # fmt: skip
PLAIN = {
    "name": "alto",
    "addr": "grpc://alto.example:7002",
    "capabilities": CAPABILITIES,
    "resident_models": ["c", "a"],
    "metrics": {"rtf": 0.1, "active_sessions": 3},
    "last_heartbeat_ts": 1_000.5,
}


def parse(**changed):
    return parse_record("worker:alto", json.dumps(PLAIN | changed).encode())


def test_a_record_is_understood():
    record = parse()
    assert (record.name, record.key, record.address) == ("alto", "worker:alto", ("alto.example", 7002))
    assert (record.state, record.instance, record.limit) == ("ready", "i", 16)
    assert record.languages == ("en", "de")
    assert record.models == ("c", "a", "b")
    assert record.has_capability("cpu_ok")
    assert not record.has_capability("lora")
    assert not record.has_capability("telepathy")
    assert (record.age_s(1_010.5), record.age_s(0)) == (10, 0)


def test_another_programs_record_is_understood():
    """Accept missing and additional capabilities: the contract defines only six keys and the public capabilities."""
    record = parse(capabilities={"streaming": True, "colour": {"deep": [None]}}, resident_models=[], metrics={"new": 1})
    assert (record.state, record.instance, record.limit, record.ttl_s) == ("ready", "", None, TTL_S)
    assert record.models == record.languages == ()


def test_exactly_six_keys_are_written():
    record = parse().stamped("me", 12, 5.0)
    written = json.loads(record.to_json())
    assert list(written) == ["name", "addr", "capabilities", "resident_models", "metrics", "last_heartbeat_ts"]
    assert written["capabilities"] == CAPABILITIES | {"instance": "me", "ttl_s": 12}
    assert written["last_heartbeat_ts"] == 5.0


def test_a_record_is_out_of_date_by_its_own_word():
    record = parse().stamped("me", 12, 100)
    assert [record.is_stale(now) for now in (88, 100, 112, 112.1, 87.9)] == [False, False, False, True, True]


def test_figures_that_are_none_are_left_out():
    record = WorkerRecord("alto", "grpc://h:1", metrics={"rtf": math.nan, "ttfa_ms_p95": math.inf, "queue_depth": 0})
    assert parse_record(record.key, record.to_json()).metrics == {"queue_depth": 0}


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"name": "bass"}, "name doesn't match the key"),
        ({"name": 3}, "name doesn't match the key"),
        ({"addr": "alto:7002"}, "addr isn't grpc://HOST:PORT"),
        ({"addr": "grpc://alto:0"}, "addr isn't"),
        ({"addr": "grpc://alto:65536"}, "addr isn't"),
        ({"addr": "grpc://a\x1b:1"}, "addr isn't"),
        ({"addr": None}, "addr isn't"),
        ({"addr": "grpc://alto:\u0661"}, "addr isn't"),
        ({"addr": "grpc://[:::]:1"}, "addr isn't"),
        ({"addr": f"grpc://{'a' * 64}:1"}, "addr isn't"),
        ({"addr": "grpc://a..b:1"}, "addr isn't"),
        ({"capabilities": []}, "capabilities isn't an object"),
        ({"capabilities": {"lora": 1}}, "capabilities.lora isn't true or false"),
        ({"capabilities": {"languages": "en"}}, "capabilities.languages isn't a list of valid strings"),
        ({"capabilities": {"models": [1]}}, "capabilities.models isn't"),
        ({"capabilities": {"state": ""}}, "capabilities.state isn't a valid string"),
        ({"capabilities": {"state": "\x1b[2J"}}, "capabilities.state isn't a valid string"),
        ({"capabilities": {"version": "1.0\u202e"}}, "capabilities.version isn't a valid string"),
        ({"capabilities": {"device": "al\u200bto"}}, "capabilities.device isn't a valid string"),
        ({"capabilities": {"models": ["a\u2028b"]}}, "capabilities.models isn't a list"),
        ({"capabilities": {"ttl_s": 1e300}}, "capabilities.ttl_s isn't a valid duration"),
        ({"capabilities": {"max_concurrent_sessions": 10**400}}, "isn't a valid integer"),
        ({"capabilities": {"ttl_s": 0}}, "capabilities.ttl_s isn't a valid duration"),
        ({"capabilities": {"max_concurrent_sessions": True}}, "isn't a valid integer"),
        ({"capabilities": {"max_concurrent_sessions": -1}}, "isn't a valid integer"),
        ({"resident_models": "c"}, "resident_models isn't a list"),
        ({"resident_models": ["\ud800"]}, "resident_models isn't a list"),
        ({"metrics": []}, "metrics isn't an object"),
        ({"metrics": {"rtf": "fast"}}, "metrics.rtf isn't a valid number"),
        ({"metrics": {"rtf": True}}, "metrics.rtf isn't a valid number"),
        ({"metrics": {"rtf": math.inf}}, "metrics.rtf isn't a valid number"),
        ({"metrics": {"ttfa_ms_p95": 7e16}}, "metrics.ttfa_ms_p95 isn't a valid number"),
        ({"metrics": {"\u202e": None}}, r"metrics.\u202e isn't a valid number"),
        ({"last_heartbeat_ts": -1e300}, "last_heartbeat_ts isn't a valid time"),
        ({"metrics": {"rtf": 10**400}}, "metrics.rtf isn't a valid number"),
        ({"metrics": {"\x1b": None}}, r"metrics.\x1b isn't a valid number"),
        ({"last_heartbeat_ts": None}, "last_heartbeat_ts isn't a valid time"),
        ({"pid": 1}, "has unknown keys: pid"),
    ],
)
def test_a_fault_is_named(changed, fault):
    with pytest.raises(MalformedRecordError) as caught:
        parse(**changed)
    assert str(caught.value).startswith("worker:alto: ")
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"9" * 5_000, "not JSON"),
        (b"[]", "a JSON list, not an object"),
        (b"{}", "lacks name, addr"),
        (b" " * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_a_value_that_is_not_a_record(data, fault):
    with pytest.raises(MalformedRecordError, match=fault):
        parse_record("worker:alto", data)


def test_a_record_with_too_many_models_is_an_error():
    models = [f"family-model-{at}" for at in range(10_000)]
    with pytest.raises(MalformedRecordError, match="larger than"):
        WorkerRecord("alto", "grpc://h:1", {"models": models}).to_json()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
records = st.fixed_dictionaries({name: st.just(value) | anything for name, value in PLAIN.items()})


@given(records | anything)
def test_any_value_is_a_record_or_has_a_fault(value):
    data = json.dumps(value).encode()
    try:
        record = parse_record("worker:alto", data)
    except MalformedRecordError as error:
        text = str(error)
        assert text.startswith("worker:alto: ")
        assert is_safe(text)
    else:
        assert parse_record(record.key, record.to_json()) == record
        _ = record.address, record.state, record.models, record.languages, record.limit, record.ttl_s


@given(st.binary(max_size=60))
def test_random_bytes_are_malformed(data):
    with pytest.raises(MalformedRecordError):
        parse_record("worker:alto", data)


names = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=50).filter(is_safe)


@given(
    names,
    st.lists(names, max_size=3),
    st.dictionaries(names, st.floats() | st.integers(), max_size=5),
    st.floats(0, 1e12),
)
def test_what_is_written_is_read(name, models, metrics, now):
    record = WorkerRecord(name, "grpc://[::1]:7002", {"models": models}, tuple(models), metrics).stamped("i", 3, now)
    read = parse_record(record.key, record.to_json())
    assert (read.name, read.address, read.resident_models) == (name, ("::1", 7002), tuple(models))
    assert read.last_heartbeat_ts == now
    assert read.metrics == {key: float(value) for key, value in metrics.items() if abs(value) <= MAX_NUMBER}


@pytest.mark.parametrize(
    ("advertised", "host", "addr"),
    [
        ("tts.example:443", "127.0.0.1", "grpc://tts.example:443"),
        (None, "0.0.0.0", "grpc://box:1"),
        (None, "::", "grpc://box:1"),
        (None, "127.0.0.1", "grpc://127.0.0.1:1"),
        (None, "fe80::1", "grpc://[fe80::1]:1"),
    ],
)
def test_the_address_for_clients(advertised, host, addr):
    assert grpc_addr(advertised, host, 1, "box") == addr


def test_long_texts_of_others_are_cut():
    assert len(printable("x" * 1000)) == 200
