"""ModelInfo of voice packs in all states."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ttsw.fronts.abi.model_info import model_infos
from ttsw.models.instances import ModelState
from ttsw.models.manager import ModelStatus
from ttsw.models.measurements import ModelRecord, ModelSize
from ttsw.packs.catalogue import Catalogue
from ttsw.types import VoicePack


def infos_of(*packs, broken=(), statuses=None, removed=(), records=None):
    catalogue = Catalogue({pack.model_id: pack for pack in packs}, dict(broken))
    statuses = statuses or {}
    manager = SimpleNamespace(
        status=lambda key: statuses.get(key, ModelStatus()), packs={pack.model_id: pack for pack in removed}
    )
    return {info.model_id: info for info in model_infos(catalogue, manager, records or {})}


def pack(name, **more):
    return VoicePack(family="mock", name=name, root=Path(), **more)


def test_every_pack_is_listed_with_its_state():
    statuses = {
        "mock-a": ModelStatus(ModelState.READY, "cpu", 12_340_000, load_s=1.5, leases=2),
        "mock-b": ModelStatus(ModelState.FAILED, error="weights are corrupt"),
        "mock-d": ModelStatus(ModelState.READY, "cpu", idle_s=3.25),
    }
    infos = infos_of(*map(pack, "abcd"), statuses=statuses)
    states = {key: info.metadata["state"] for key, info in infos.items()}
    assert states == {"mock-a": "ready", "mock-b": "failed", "mock-c": "absent", "mock-d": "ready"}
    assert [key for key, info in infos.items() if info.is_loaded] == ["mock-a", "mock-d"]
    metadata = infos["mock-a"].metadata
    assert (metadata["device"], metadata["size_mb"]) == ("cpu", "12.3")
    assert (metadata["load_s"], metadata["leases"]) == ("1.50", "2")
    assert "idle_s" not in metadata
    assert infos["mock-d"].metadata["idle_s"] == "3.2"
    assert infos["mock-b"].metadata["last_error"] == "weights are corrupt"


def test_a_model_that_is_not_in_memory_has_its_earlier_measurements():
    record = ModelRecord(
        digest="ab" * 32,
        measured={"cpu": ModelSize(34_500_000, 50_000_000, 0.512)},
        notes={"calibration": {"lufs": -21.456}},
    )
    info = infos_of(pack("a"), records={"mock-a": record})["mock-a"]
    metadata = info.metadata
    assert (metadata["state"], metadata["size_mb"], metadata["load_s"]) == ("absent", "34.5", "0.51")
    assert (metadata["digest"], metadata["voice_lufs"]) == ("ab" * 32, "-21.46")


@pytest.mark.parametrize("note", [None, [], {}, {"lufs": "loud"}, {"lufs": 1e9}])
def test_a_model_without_a_plausible_calibration_has_no_loudness(note):
    info = infos_of(pack("a"), records={"mock-a": ModelRecord(notes={"calibration": note})})["mock-a"]
    assert not {"digest", "voice_lufs"} & info.metadata.keys()


def test_a_model_whose_pack_was_removed_is_listed_while_it_is_in_memory():
    info = infos_of(pack("a"), removed=[pack("z")], statuses={"mock-z": ModelStatus(ModelState.READY, "cpu")})["mock-z"]
    assert info.is_loaded
    assert "its voice pack has been removed" in info.metadata["last_error"]
    info = infos_of(
        removed=[pack("z")], broken={"mock-z": "no file"}, statuses={"mock-z": ModelStatus(ModelState.READY)}
    )["mock-z"]
    assert (info.is_loaded, info.metadata["last_error"]) == (True, "no file")


def test_a_pack_is_listed_with_its_metadata():
    info = infos_of(pack("a", languages=("en", "de"), license="CC0-1.0", disk_mb=63, sample_rate=22_050))["mock-a"]
    assert (info.family, info.languages) == ("mock", ["en", "de"])
    assert (info.metadata["license"], info.metadata["disk_mb"], info.metadata["sample_rate"]) == (
        "CC0-1.0",
        "63",
        "22050",
    )
    assert "source" not in info.metadata


def test_a_broken_pack_is_listed_with_its_error():
    info = infos_of(pack("a"), broken={"piper-b": "there is no file model.onnx"})["piper-b"]
    assert (info.family, info.is_loaded) == ("piper", False)
    assert info.metadata == {"state": "broken", "last_error": "there is no file model.onnx"}
