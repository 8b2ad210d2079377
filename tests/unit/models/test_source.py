from pathlib import Path

import pytest
import trio

from ttsw.errors import NotFoundError, UnavailableError
from ttsw.models.instances import Footprint
from ttsw.models.measurements import MeasurementStore, ModelRecord, ModelSize
from ttsw.models.source import PackSource, footprint
from ttsw.packs.catalogue import Catalogue
from ttsw.packs.reader import PackError
from ttsw.testing import FakeDevice
from ttsw.types import VoicePack

MEASURED = ModelSize(90_000_000, 150_000_000, 1.0)


@pytest.fixture
def pack(tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(b"x" * 1_000)
    return VoicePack("f", "a", tmp_path, vram_mb=40, disk_mb=20, files={"model.onnx": weights})


@pytest.fixture
def device():
    return FakeDevice("cpu", 1_000, ours=10)


@pytest.fixture
def source(pack, device, tmp_path):
    async def load(pack, record, device, loaded, base):
        await trio.lowlevel.checkpoint()
        loaded()
        return pack, record, device, base

    book = MeasurementStore(tmp_path / "state")
    return PackSource(lambda: Catalogue({"f-a": pack}), book, (device,), lambda _pack: ["cpu"], load)


def test_a_pack_takes_what_it_says_until_it_was_measured(pack):
    assert footprint(pack, "cuda:0", {}) == Footprint("cuda:0", 40_000_000, 40_000_000)
    assert footprint(pack, "cpu", {"cpu": MEASURED}) == Footprint("cpu", 90_000_000, 150_000_000, 1_000)
    small = VoicePack("f", "b", Path(), disk_mb=20)
    assert footprint(small, "cpu", {"cuda:0": MEASURED}) == Footprint("cpu", 20_000_000, 20_000_000)


def test_in_main_memory_it_takes_its_files_at_least(pack):
    assert footprint(pack, "cpu", {"cpu": ModelSize(1, 2, 1.0)}) == Footprint("cpu", 1_000, 1_000, 1_000)
    assert footprint(pack, "cuda:0", {"cuda:0": ModelSize(1, 2, 1.0)}).size == 1


def test_a_file_that_is_gone_is_a_fault(pack):
    pack.files["model.onnx"].unlink()
    with pytest.raises(UnavailableError, match="weights cannot be read"):
        footprint(pack, "cpu", {})


async def test_what_is_kept_weighs_from_then_on(source, pack):
    assert (await source.weigh("f-a"))[1] == [Footprint("cpu", 40_000_000, 40_000_000, 1_000)]
    assert await source.keep(pack, "cpu", MEASURED) == MEASURED
    found, places = await source.weigh("f-a")
    assert (found, places) == (pack, [Footprint("cpu", 90_000_000, 150_000_000, 1_000)])
    with pytest.raises(NotFoundError):
        await source.weigh("f-b")


async def test_the_first_load_of_a_family_does_not_replace_what_is_known(source, pack, tmp_path):
    """It brings in libraries, which stay when the model goes."""
    await source.keep(pack, "cpu", MEASURED)
    restarted = PackSource(
        source.find, MeasurementStore(tmp_path / "state"), source.devices, source.choose, source.load
    )
    larger = ModelSize(120_000_000, 200_000_000, 2.0)
    assert await restarted.keep(pack, "cpu", larger) == MEASURED
    assert await restarted.keep(pack, "cpu", larger) == larger


async def test_a_model_is_opened_with_what_is_known_of_it(source, pack):
    told = []
    opened, record, device, base = await source.open(pack, Footprint("cpu"), lambda: told.append("loaded"), "the base")
    assert (opened, device, told, base) == (pack, "cpu", ["loaded"], "the base")
    assert isinstance(record, ModelRecord)
    assert len(record.digest) == 64


async def test_a_model_whose_files_are_not_what_they_should_be_is_not_opened(source, pack):
    damaged = VoicePack("f", "a", pack.root, files=pack.files, checksums={"model.onnx": "0" * 64})
    with pytest.raises(PackError):
        await source.open(damaged, Footprint("cpu"), lambda: pytest.fail("it was loaded"), None)


async def test_a_device_that_is_lost_is_left_out(source, device):
    (seen,) = await source.look()
    assert (seen.device, seen.total, seen.ours) == ("cpu", 1_000, 10)
    device.lost = "it fell off the bus"
    assert await source.look() == []


async def test_what_stands_on_another_goes_where_that_can(pack, device, tmp_path):
    asked = []

    def choose(chosen):
        asked.append(chosen.model_id)
        return ["cuda:0"]

    voice = VoicePack("f", "voice", tmp_path, vram_mb=5, base="f-a")
    shelf = Catalogue({"f-a": pack, "f-voice": voice})
    source = PackSource(lambda: shelf, MeasurementStore(tmp_path / "state"), (device,), choose, None)
    assert await source.weigh("f-voice") == (voice, [Footprint("cuda:0", 5_000_000)])
    assert asked == ["f-a"]


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("f-none", "no model 'f-none'; there are: "),
        ("f-voice", "its base f-voice is based on f-voice itself; name that one"),
        ("f-other", "its base f-other is based on f-a itself; name that one"),
        ("g-a", "its base g-a is of the family 'g', and must be of 'f'"),
    ],
)
async def test_what_cannot_be_a_base(pack, device, tmp_path, base, message):
    packs = {
        "f-a": pack,
        "f-voice": VoicePack("f", "voice", tmp_path, base=base),
        "f-other": VoicePack("f", "other", tmp_path, base="f-a"),
        "g-a": VoicePack("g", "a", tmp_path),
    }
    source = PackSource(
        lambda: Catalogue(packs), MeasurementStore(tmp_path / "state"), (device,), lambda _: ["cpu"], None
    )
    with pytest.raises((NotFoundError, UnavailableError), match=message):
        await source.weigh("f-voice")
