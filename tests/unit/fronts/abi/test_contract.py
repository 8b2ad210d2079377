"""The wire contract with existing clients: names, numbers and types stay unchanged."""

import pytest

from tests.generate_proto import ROOT, generate
from ttsw.fronts.abi.generated import tts

GENERATED = ROOT / "ttsw/fronts/abi/generated"

FIELDS = {
    "StartSessionRequest": "string session_id=1 string model_id=2 map options=3",
    "StartSessionResponse": "bool success=1 string message=2 enum error=15",
    "EndSessionRequest": "string session_id=1",
    "EndSessionResponse": "bool success=1 enum error=15",
    "TextChunk": "string session_id=1 string text=2 bool is_final=3 int64 sequence_number=4 bool flush=5",
    "AudioFrame": "string session_id=1 bytes audio_data=2 int32 sample_rate=3 int32 frame_duration_ms=4 "
    "int64 sequence_number=5 bool is_final=6 int32 segment=7 int64 position_samples=8",
    "ControlRequest": "string session_id=1 enum command=2",
    "ControlResponse": "bool success=1 string message=2 int64 timestamp_ms=3 int64 last_sequence_number=4 "
    "int64 position_samples=5 enum error=15",
    "ModelInfo": "string model_id=1 string family=2 bool is_loaded=3 string languages=4 map metadata=5",
    "ListModelsRequest": "",
    "ListModelsResponse": "message models=1",
    "LoadModelRequest": "string model_id=1 bool preload_only=2",
    "LoadModelResponse": "bool success=1 string message=2 int64 load_duration_ms=3 enum error=15",
    "UnloadModelRequest": "string model_id=1",
    "UnloadModelResponse": "bool success=1 string message=2 enum error=15",
    "Capabilities": "bool streaming=1 bool zero_shot=2 bool lora=3 bool cpu_ok=4 string languages=5 "
    "bool emotive_zero_prompt=6 int32 max_concurrent_sessions=7",
    "GetCapabilitiesRequest": "",
    "GetCapabilitiesResponse": "message capabilities=1 string resident_models=2 map metrics=3",
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_message_is_as_clients_know_it(name):
    fields = getattr(tts, name)._betterproto.meta_by_field_name
    assert " ".join(f"{meta.proto_type} {field}={meta.number}" for field, meta in fields.items()) == FIELDS[name]


def test_commands_are_as_clients_know_them():
    assert {item.name: item.value for item in tts.ControlCommand} == {"PAUSE": 0, "RESUME": 1, "STOP": 2, "RELOAD": 3}


def test_the_service_is_as_clients_know_it():
    calls = {path: handler.cardinality.name for path, handler in tts.TtsServiceBase().__mapping__().items()}
    unary = ("StartSession", "EndSession", "Control", "ListModels", "LoadModel", "UnloadModel", "GetCapabilities")
    assert calls == {f"/tts.TTSService/{name}": "UNARY_UNARY" for name in unary} | {
        "/tts.TTSService/Synthesize": "STREAM_STREAM"
    }


def test_what_is_committed_is_what_the_proto_file_gives(tmp_path):
    pytest.importorskip("grpc_tools", reason="the generator comes with the dependency group `dev`")
    generate(tmp_path / "generated")
    fresh, committed = (texts(folder) for folder in (tmp_path / "generated", GENERATED))
    assert set(fresh) == set(committed), "run `make proto`"
    for name, text in fresh.items():
        assert text == committed[name], f"{name} is out of date: run `make proto`"


def texts(folder):
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*.py")}
