"""What would fit on a GPU, from what is known."""

from pathlib import Path

import pytest

from ttsw.cli.profiles.plan import UNTOLD, Sized, find_card_for, plan, read_size, size_of
from ttsw.errors import InvalidArgumentError, NotFoundError
from ttsw.models.measurements import ModelSize
from ttsw.profiles.estimation import estimate_model, of_size
from ttsw.profiles.gpu_cards import CARDS
from ttsw.profiles.schema import Slo
from ttsw.types import Capabilities, VoicePack


def pack(family="sesame", *, cpu_ok=False, **more):
    return VoicePack(family, "x", Path(), capabilities=Capabilities(cpu_ok=cpu_ok), **more)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("24GB", 24_000), ("24", 24_000), ("0.5 tb", 500_000), ("24576MiB", 25_769.8), ("512m", 512), (" 8 g ", 8_000)],
)
def test_amounts_of_memory(text, wanted):
    assert read_size(text) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("text", ["", "GB", "-3GB", "0GB", "24 pounds", "1e9", "24,5GB", "nan", "9" * 400])
def test_what_is_no_amount_is_told(text):
    with pytest.raises(InvalidArgumentError, match="is no amount of memory; write 24GB, 24GiB or 24000MB"):
        read_size(text)


def test_what_was_measured_on_a_gpu_counts_more_than_what_a_pack_states():
    measured = {"cpu": ModelSize(1, 2, 3.0), "cuda:0": ModelSize(3_000_000_000, 3_500_000_000, 4.0)}
    found = size_of(pack(vram_mb=5000), measured)
    assert (found.facts.size_mb, found.facts.peak_mb, found.source) == (3000, 3500, "measured here on cuda:0")
    found = size_of(pack(vram_mb=5000), {"cpu": ModelSize(1, 2, 3.0)})
    assert (found.facts.size_mb, found.facts.peak_mb, found.source) == (5000, 6000, "stated by its pack")
    found = size_of(pack(disk_mb=40, base="sesame-b"), {})
    assert (found.facts.size_mb, found.facts.base, found.source) == (
        40,
        "sesame-b",
        "its files’ size, stated by its pack",
    )


def test_a_model_for_processors_is_refused():
    with pytest.raises(InvalidArgumentError, match="piper-x runs on the processor, and takes no memory of a GPU"):
        size_of(pack("piper", cpu_ok=True, disk_mb=60), {})


def test_what_is_said_of_a_gpu_is_put_together():
    assert find_card_for(None, 24_000, None) is None
    assert find_card_for("l4", None, None) == CARDS["l4"]
    assert find_card_for("l4", 1000, 99) == CARDS["l4"]._replace(memory_mb=1000, bandwidth_gb_s=99)
    card = find_card_for(None, 1000, 99)
    assert (card.product, card.memory_mb, card.bandwidth_gb_s) == (UNTOLD, 1000, 99)
    with pytest.raises(NotFoundError, match="no card 'x'; known are: "):
        find_card_for("x", None, None)


MODELS = {"a": Sized(of_size("sesame", 5000), "s"), "b": Sized(of_size("xtts-v2", 6000), "s")}


def test_without_a_speed_only_memory_is_planned():
    found = plan(MODELS, 24_000, None)
    assert found.derived.resident == ("a", "b")
    assert found.derived.sessions == {}
    assert found.room == {"a": 265, "b": 65}


def test_with_a_speed_the_formula_of_shipped_profiles_counts():
    found = plan(MODELS, 24_000, CARDS["rtx4090"])
    wanted = estimate_model(CARDS["rtx4090"], MODELS["a"].facts, Slo())
    assert found.models["a"].facts == wanted
    assert found.derived.sessions["a"] == wanted.sessions // 2
    assert found.bound["a"] == wanted.bound


def test_what_does_not_fit_is_not_there():
    found = plan(MODELS, 3000, CARDS["rtx4090"]._replace(memory_mb=3000))
    assert (found.derived.resident, found.derived.sessions, found.room) == ((), {}, {})
    assert plan(MODELS, 7000, None).derived.resident == ("a",)
