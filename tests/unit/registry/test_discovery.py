"""Filtering and ranking of workers."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.registry.discovery import Wanted, find_workers, fits, pick
from ttsw.registry.record import WorkerRecord

NOW = 1000.0


def worker(name, *, resident=(), models=(), sessions=0.0, limit=4, queue=0.0, age_s=0.0, state="ready", **more):
    capabilities = {"state": state, "models": list(models), "max_concurrent_sessions": limit, **more}
    metrics = {"active_sessions": sessions, "queue_depth": queue}
    return WorkerRecord(name, f"grpc://{name}:1", capabilities, tuple(resident), metrics, NOW - age_s)


def best(wanted, *workers, tie_break=lambda: 0.5):
    picked = pick(workers, wanted, NOW, tie_break=tie_break)
    return picked and picked.name


def test_the_least_busy_that_has_the_model_then_the_least_busy_that_could_load_it():
    busy, idle = worker("busy", resident=["m"], sessions=3), worker("idle", resident=["m"], sessions=1)
    could, could_less = worker("could", models=["m"]), worker("less", models=["m"], sessions=2)
    others = worker("others", resident=["n"]), worker("no-models")
    assert best(Wanted("m"), busy, could, idle, *others) == "idle"
    assert best(Wanted("m"), busy, could, *others) == "busy"
    assert best(Wanted("m"), could_less, could, *others) == "could"
    assert best(Wanted("m"), *others) is None


def test_busy_is_a_share_of_the_limit():
    small, large = worker("small", sessions=2, limit=4), worker("large", sessions=3, limit=16)
    assert best(Wanted(), small, large) == "large"
    assert best(Wanted(), worker("queued", queue=2), worker("free", queue=1)) == "free"


def test_one_that_is_full_comes_last_for_by_now_it_may_not_be():
    full, could = worker("full", resident=["m"], sessions=4), worker("could", models=["m"], sessions=3)
    assert best(Wanted("m"), full, could) == "could"
    assert best(Wanted("m"), full) == "full"


def test_stale_ones_and_those_not_ready_are_passed_over():
    assert best(Wanted(), worker("stale", age_s=31), worker("future", age_s=-31)) is None
    assert best(Wanted(), worker("slow", age_s=31, ttl_s=120)) == "slow"
    for state in ("starting", "draining", "unheard-of"):
        assert best(Wanted(), worker("x", state=state)) is None
        assert best(Wanted(states=frozenset({state})), worker("x", state=state)) == "x"


def test_of_equals_any_may_be_picked():
    equals = worker("a"), worker("b"), worker("c")
    chances = iter((0.9, 0.1, 0.5))
    assert best(Wanted(), *equals, tie_break=lambda: next(chances)) == "b"
    assert {best(Wanted(), *equals, tie_break=random.random) for _ in range(200)} == {"a", "b", "c"}


def test_a_record_without_capabilities_is_accepted():
    assert best(Wanted(), WorkerRecord("bare", "grpc://h:1", last_heartbeat_ts=NOW)) == "bare"


@pytest.mark.parametrize(
    ("wanted", "fit"),
    [
        (Wanted(), True),
        (Wanted(model="m"), True),
        (Wanted(model="x"), False),
        (Wanted(language="en"), True),
        (Wanted(language="EN-gb"), False),
        (Wanted(language="de-AT"), True),
        (Wanted(language="d"), False),
        (Wanted(capabilities=frozenset({"lora"})), True),
        (Wanted(capabilities=frozenset({"lora", "zero_shot"})), False),
    ],
)
def test_requirements(wanted, fit):
    record = worker("x", resident=["m"], languages=["en-US", "de"], lora=True, zero_shot=False)
    assert fits(record, wanted) is fit


class Registry:
    @staticmethod
    async def read_all():
        good = worker("good")
        return NOW, {good.key: good.to_json(), "worker:\x1b": b"{", "worker:list": "no text"}


async def test_a_malformed_record_does_not_hide_others():
    listing = await find_workers(Registry())
    assert [each.name for each in listing.workers] == ["good"]
    assert [fault.text for fault in listing.faults][1] == "worker:list: no text"
    assert listing.faults[0].text.startswith(r"worker:\x1b: not JSON")
    assert listing.now == NOW


HUGE = (
    st.integers(10**15, 10**400) | st.integers(-(10**400), -(10**15)) | st.sampled_from([7e16, 1e308, -1e308, 5e-324])
)
number = st.integers() | st.floats() | HUGE
value = number | st.none() | st.booleans() | st.text(max_size=4) | st.lists(number | st.text(max_size=3), max_size=3)
capabilities = st.dictionaries(
    st.sampled_from(["max_concurrent_sessions", "ttl_s", "languages", "models", "state", "lora"]), value, max_size=4
)
metrics = st.dictionaries(
    st.sampled_from(["active_sessions", "queue_depth", "ttfa_ms_p95", "rtf"]) | st.text(max_size=3), number, max_size=4
)


@given(capabilities, metrics, number | st.just(NOW), st.sampled_from(["grpc://h:1", "grpc://[::1]:1", "grpc://..:1"]))
async def test_no_record_keeps_another_from_being_found_and_picked(capabilities, metrics, stamp, addr):
    good, full = worker("good", resident=["m"]), worker("full", resident=["m"], sessions=4)
    other = {"name": "other", "addr": addr, "capabilities": {"models": ["m"]} | capabilities, "metrics": metrics}
    record = {**other, "resident_models": [], "last_heartbeat_ts": stamp}

    class Odd:
        @staticmethod
        async def read_all():
            return NOW, {
                **{each.key: each.to_json() for each in (good, full)},
                "worker:other": json.dumps(record).encode(),
            }

    listing = await find_workers(Odd())
    assert {"good", "full"} <= {each.name for each in listing.workers}
    assert len(listing.workers) + len(listing.faults) == 3
    for wanted in (Wanted(), Wanted("m"), Wanted(language="en"), Wanted(capabilities=frozenset({"lora"}))):
        pick(listing.workers, wanted, listing.now)
    assert pick(listing.workers, Wanted("m"), listing.now).name in {"good", "full"}
    for record in listing.workers:
        assert len(f"{record.age_s(NOW):.0f}") < 20
        assert all(len(f"{figure:.3f}") < 25 for figure in record.metrics.values())
        _ = record.address[0].encode("idna"), record.ttl_s, record.limit
