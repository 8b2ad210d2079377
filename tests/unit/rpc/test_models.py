"""What clients are told of voice packs."""

from pathlib import Path
from types import SimpleNamespace

from ttsw.models.packs import Shelf
from ttsw.rpc.models import model_infos
from ttsw.types import VoicePack


def tell(*packs, broken=(), residents=(), loading=()):
    shelf = Shelf({pack.model_id: pack for pack in packs}, dict(broken))
    manager = SimpleNamespace(shelf=shelf, residents=dict.fromkeys(residents), loading=frozenset(loading))
    return {info.model_id: info for info in model_infos(manager)}


def pack(name, **more):
    return VoicePack(family="mock", name=name, root=Path(), **more)


def test_every_pack_is_told_with_its_state():
    infos = tell(pack("a"), pack("b"), pack("c"), residents=["mock-a"], loading=["mock-b"])
    assert {key: info.metadata["state"] for key, info in infos.items()} == {
        "mock-a": "ready",
        "mock-b": "loading",
        "mock-c": "absent",
    }
    assert [key for key, info in infos.items() if info.is_loaded] == ["mock-a"]


def test_a_pack_is_told_with_what_it_says_of_itself():
    info = tell(pack("a", languages=("en", "de"), license="CC0-1.0", disk_mb=63, sample_rate=22_050))["mock-a"]
    assert (info.family, info.languages) == ("mock", ["en", "de"])
    assert (info.metadata["license"], info.metadata["disk_mb"], info.metadata["sample_rate"]) == (
        "CC0-1.0",
        "63",
        "22050",
    )
    assert "source" not in info.metadata


def test_a_broken_pack_is_told_with_its_fault():
    info = tell(pack("a"), broken={"piper-b": "there is no file model.onnx"})["piper-b"]
    assert (info.family, info.is_loaded) == ("piper", False)
    assert info.metadata == {"state": "broken", "last_error": "there is no file model.onnx"}
