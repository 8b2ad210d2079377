from dataclasses import replace

import pytest

from ttsw.adapters.hosts.engine_processes import EngineProcesses
from ttsw.config import load_config, shipped_dir
from ttsw.device import CpuDevice
from ttsw.errors import NotFoundError, UnavailableError
from ttsw.loader import VoiceLoader
from ttsw.models.measurements import MeasurementStore
from ttsw.packs.catalogue import read_catalogue
from ttsw.placement import Placement
from ttsw.types import VoicePack

MOCK = "mock-440hz"


@pytest.fixture
def book(tmp_path):
    return MeasurementStore(tmp_path)


@pytest.fixture
def pack():
    return read_catalogue(shipped_dir("voicepacks"))[MOCK]


def loader(book, **settings):
    return loader_of(load_config(None, {}, {f"model_manager.{key}": value for key, value in settings.items()}), book)


def loader_of(config, book):
    return VoiceLoader(config, Placement(config, EngineProcesses(), [CpuDevice()]), book)


async def load(loader, book, pack):
    told = []
    voice = await loader.load(pack, book[pack.model_id], "cpu", lambda: told.append("loaded"))
    await voice.close()
    assert told == ["loaded"]
    return voice


async def test_a_voice_is_calibrated_at_its_first_load_and_not_again(book, pack, tmp_path, monkeypatch):
    first = await load(loader(book), book, pack)
    assert first.calibration.lufs == pytest.approx(-15.8, abs=0.3)
    again = MeasurementStore(tmp_path)
    assert again[MOCK].notes["calibration"]["lufs"] == first.calibration.lufs
    monkeypatch.setattr("ttsw.loader.calibrate_voice", lambda *given: pytest.fail("it was measured again"))
    assert (await load(loader(again), again, pack)).calibration == first.calibration


async def test_without_warm_up_a_known_calibration_holds_and_none_is_measured(book, pack):
    cold = loader(book, warmup_enabled=False)
    assert (await load(cold, book, pack)).calibration is None
    await load(loader(book), book, pack)
    assert (await load(cold, book, pack)).calibration is not None


async def test_other_defaults_are_calibrated_anew(book, pack):
    await load(loader(book), book, pack)
    config = load_config(None, {}, {"engines.mock.options.speed": "2"})
    fast = await load(loader_of(config, book), book, pack)
    assert fast.defaults == {"speed": "2"}
    assert fast.calibration is not None


async def test_a_calibration_on_request_is_kept(book, pack):
    calibration = await loader(book).calibrate(pack)
    assert book[MOCK].notes["calibration"]["lufs"] == calibration.lufs
    assert book[MOCK].digest


def test_a_family_that_is_not_installed_has_no_place(book, pack):
    assert loader(book).devices_for(pack) == ["cpu"]
    with pytest.raises(NotFoundError, match="no adapter for family 'unheard-of' is installed"):
        loader(book).devices_for(VoicePack("unheard-of", "a", pack.root))


@pytest.mark.parametrize("change", [{"limited_lufs": [-24.0, -21.0]}, {"lufs": 164.0}, {"speech_s": -1}])
async def test_a_calibration_that_cannot_be_is_measured_again_which_is_said_once(book, pack, change, capsys):
    first = await load(loader(book), book, pack)
    damaged = book[MOCK].notes["calibration"] | change
    book.keep_note(MOCK, "calibration", damaged)
    again = loader(book)
    again.devices_for(pack)
    voice = await load(again, book, pack)
    again.devices_for(pack)
    assert voice.calibration == first.calibration
    assert book[MOCK].notes["calibration"]["lufs"] == first.calibration.lufs
    assert capsys.readouterr().out.count("saved calibration unusable") == 1


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"pitch": "2"}, "unknown option 'pitch'; valid are: "),
        ({"speed": "fast"}, "option speed='fast' is not valid: it must be a number from 0.25 to 4"),
        ({"size_mb": "1e99"}, "voice pack .*: option size_mb='1e99' is not valid"),
        ({"session": "a#1"}, "unknown option 'session'"),
    ],
)
async def test_options_of_a_pack_that_no_session_could_have_are_the_pack_s_fault(book, pack, options, fault):
    with pytest.raises(UnavailableError, match=fault) as caught:
        await load(loader(book), book, replace(pack, options=options))
    assert str(pack.root) in str(caught.value)


async def test_options_of_the_configuration_are_held_to_the_model_too(book, pack):
    config = load_config(None, {}, {"engines.mock.options.pitch": "2"})
    for use in (load(loader_of(config, book), book, pack), loader_of(config, book).calibrate(pack)):
        with pytest.raises(UnavailableError, match=r"unknown option 'pitch'.*under engines\.mock\.options"):
            await use


async def test_what_an_option_costs_is_the_configuration_s_too(book, pack):
    config = load_config(None, {}, {"engines.mock.options.work_mb": "1"})
    voice = await load(loader_of(config, book), book, replace(pack, options={"size_mb": "1", "load_ms": "1"}))
    parsed = voice.parse_options({"speed": "2"}, lead_ms=40)
    assert (parsed.engine["work_mb"], parsed.engine["size_mb"], parsed.engine["speed"]) == (1, 1, 2)
