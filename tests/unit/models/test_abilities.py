from pathlib import Path

from ttsw.models.abilities import Abilities, sum_up
from ttsw.types import Capabilities, VoicePack

PACK = VoicePack("f", "a", Path(), capabilities=Capabilities(lora=True), languages=("en", "de"))


def test_a_model_that_is_loaded_knows_better_than_its_pack():
    assert Abilities.of(PACK) == Abilities(Capabilities(lora=True), ("en", "de"))
    info = {"lora": False, "zero_shot": True, "languages": ["en"], "sample_rate": 24_000}
    assert Abilities.of(PACK, info) == Abilities(Capabilities(lora=False, zero_shot=True), ("en",))


def test_together_they_can_what_one_of_them_can():
    other = Abilities(Capabilities(streaming=False, cpu_ok=False, emotive_zero_prompt=True), ("zh", "en"))
    both = sum_up([Abilities.of(PACK), other])
    assert both.capabilities.names() == ("streaming", "lora", "cpu_ok", "emotive_zero_prompt")
    assert both.languages == ("de", "en", "zh")


def test_without_models_nothing_can_be_done():
    assert sum_up([]) == Abilities(Capabilities(streaming=False, cpu_ok=False), ())
