from pathlib import Path

from ttsw.packs.capabilities import ModelCapabilities, combine
from ttsw.types import Capabilities, VoicePack

PACK = VoicePack("f", "a", Path(), capabilities=Capabilities(lora=True), languages=("en", "de"))


def test_a_model_that_is_loaded_knows_better_than_its_pack():
    assert ModelCapabilities.of(PACK) == ModelCapabilities(Capabilities(lora=True), ("en", "de"))
    info = {"lora": False, "zero_shot": True, "languages": ["en"], "sample_rate": 24_000}
    assert ModelCapabilities.of(PACK, info) == ModelCapabilities(Capabilities(lora=False, zero_shot=True), ("en",))


def test_together_they_can_what_one_of_them_can():
    other = ModelCapabilities(Capabilities(streaming=False, cpu_ok=False, emotive_zero_prompt=True), ("zh", "en"))
    both = combine([ModelCapabilities.of(PACK), other])
    assert both.capabilities.names() == ("streaming", "lora", "cpu_ok", "emotive_zero_prompt")
    assert both.languages == ("de", "en", "zh")


def test_without_models_nothing_can_be_done():
    assert combine([]) == ModelCapabilities(Capabilities(streaming=False, cpu_ok=False), ())
