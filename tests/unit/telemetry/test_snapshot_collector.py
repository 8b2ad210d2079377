from tests.unit.telemetry.support import scrape, snapshot
from ttsw.telemetry.metrics import Metrics
from ttsw.version import __version__

JOE = ("model", "piper-joe")


async def test_it_exports_the_state_of_the_worker():
    seen = await scrape(Metrics("anna"))
    assert seen["tts_sessions",] == 200
    assert seen["tts_sessions_limit",] == 256
    assert seen["tts_active_requests",] == 180
    assert seen["tts_queue_depth",] == 4
    assert seen["tts_worker_state", ("state", "ready")] == 1
    assert seen["tts_worker_state", ("state", "draining")] == 0
    assert seen["tts_model_state", JOE, ("state", "ready")] == 1
    assert seen["tts_model_state", JOE, ("state", "failed")] == 0
    assert seen["tts_model_memory_bytes", ("device", "cpu"), JOE] == 90e6
    assert seen["tts_device_memory_bytes", ("device", "cpu"), ("kind", "ours")] == 2000
    assert seen["tts_device_answers", ("device", "cpu")] == 1


async def test_silent_devices_are_exported_with_or_without_known_memory():
    seen = await scrape(Metrics(), snapshot(silent=("cpu", "cuda:0")))
    assert seen["tts_device_answers", ("device", "cpu")] == 0
    assert seen["tts_device_answers", ("device", "cuda:0")] == 0
    assert seen["tts_device_memory_bytes", ("device", "cpu"), ("kind", "ours")] == 2000, "the last known value"


async def test_a_model_on_its_way_takes_no_memory_yet():
    seen = await scrape(Metrics())
    assert seen["tts_model_state", ("model", "hibari-heart"), ("state", "loading")] == 1
    assert not [key for key in seen if key[0] == "tts_model_memory_bytes" and ("model", "hibari-heart") in key]


async def test_removed_models_and_devices_disappear():
    metrics = Metrics()
    assert [key for key in await scrape(metrics) if key[0] == "tts_model_state"]
    seen = await scrape(metrics, snapshot(models=(), memory=()))
    assert not [key for key in seen if key[0] in {"tts_model_state", "tts_device_memory_bytes"}]


async def test_build_information():
    ((_, *labels),) = [key for key in await scrape(Metrics("anna")) if key[0] == "tts_build_info"]
    assert dict(labels)["version"] == __version__
    assert dict(labels)["worker"] == "anna"


async def test_a_snapshot_before_the_first_look_is_that_of_a_worker_that_starts():
    metrics = Metrics()
    families = {family.name: family for family in metrics.registry.collect()}
    states = {sample.labels["state"]: sample.value for sample in families["tts_worker_state"].samples}
    assert states == {"starting": 1, "ready": 0, "draining": 0}
