"""How `ttsw workers` shows what is registered."""

import json

import pytest
from rich.console import Console

from ttsw.cli.workers import _plain, _shown, registry_url
from ttsw.errors import ConfigError, InvalidArgumentError
from ttsw.registry.discovery import Fault, Listing
from ttsw.registry.record import WorkerRecord

NOW = 1000.0
METRICS = {"active_sessions": 3, "ttfa_ms_p95": 123.4, "rtf": 0.1234, "device_memory_free_mb": 2048.4}
BUSY = WorkerRecord(
    "alto", "grpc://a.example:7002", {"state": "ready", "max_concurrent_sessions": 16}, (*"wxyz",), METRICS, NOW - 3.6
)
BARE = WorkerRecord("bass-[red]", "grpc://[::1]:7002", last_heartbeat_ts=NOW - 40)
DRAINING = WorkerRecord("cello", "grpc://c:1", {"state": "draining", "max_concurrent_sessions": 4}, (), {}, NOW)
FAULT = Fault("worker:[dim]", "worker:[dim]: not JSON")


def shown(*workers, faults=()):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(_shown(Listing(workers, faults, NOW)), soft_wrap=True)
    return [line.split() for line in capture.get().splitlines()]


def test_a_line_a_worker():
    heading, busy, bare, draining, malformed = shown(BUSY, BARE, DRAINING, faults=(FAULT,))
    assert " ".join(heading) == "worker address state sessions in memory TTFA p95 RTF free MB heartbeat"
    assert " ".join(busy) == "alto a.example:7002 ready 3/16 w, x, y, … 123 ms 0.123 2048 4 s ago"
    assert " ".join(bare) == "bass-[red] [::1]:7002 stale 40 s ago"
    assert " ".join(draining) == "cello c:1 draining ?/4 0 s ago"
    assert " ".join(malformed) == "malformed worker:[dim]: not JSON"


def test_nobody_and_nobody_but_faults():
    assert shown() == [["no", "workers"]]
    assert shown(faults=(FAULT,)) == [["malformed", "worker:[dim]:", "not", "JSON"]]


def test_programs_get_everything():
    told = json.loads(json.dumps(_plain(Listing((BUSY, BARE), (FAULT,), NOW))))
    assert told["malformed"] == [{"key": FAULT.key, "fault": FAULT.text}]
    busy, bare = told["workers"]
    assert (busy["state"], busy["stale"], busy["age_s"]) == ("ready", False, 3.6)
    assert (busy["metrics"], busy["resident_models"]) == (METRICS, ["w", "x", "y", "z"])
    assert (bare["state"], bare["stale"]) == ("ready", True)


def test_the_registry_is_the_one_given_or_the_configured_one(monkeypatch, tmp_path):
    monkeypatch.delenv("TTSW_REDIS__URL", raising=False)
    with pytest.raises(InvalidArgumentError, match="no registry: give --redis URL"):
        registry_url(None)
    file = tmp_path / "worker.yaml"
    file.write_text("redis: {url: redis://file}\n")
    assert registry_url(None, file) == "redis://file"
    monkeypatch.setenv("TTSW_REDIS__URL", "redis://environment")
    assert registry_url(None, file) == "redis://environment"
    assert registry_url("rediss://option", file) == "rediss://option"
    with pytest.raises(ConfigError, match=r"redis\.url"):
        registry_url("http://elsewhere")
