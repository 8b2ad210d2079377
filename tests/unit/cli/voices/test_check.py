"""What `ttsw voices check` hears in a voice, good or bad."""

import numpy as np
import pytest

import ttsw.placement
from ttsw.cli.voices.check import SENTENCES, check_pack, check_speech, speak_once
from ttsw.errors import InvalidArgumentError
from ttsw.testing import FakeAdapter
from ttsw.types import VoicePack

RATE = 24_000


class Singer(FakeAdapter):
    """Speaks as its class says."""

    steps = 20
    level = 0.1
    said = None
    closed = False

    def speak(self, text, options):
        type(self).said = text
        phases = np.arange(RATE // 10) * (2 * np.pi * 220 / RATE)
        for _ in range(self.steps):
            yield (self.level * np.sin(phases)).astype(np.float32)

    def close(self):
        type(self).closed = True


@pytest.fixture
def sing(monkeypatch):
    def sing(**how):
        kind = type("Singer", (Singer,), how)
        monkeypatch.setattr(ttsw.placement, "adapter_class", lambda _family: kind)
        return kind

    return sing


def pack(tmp_path, **more):
    return VoicePack("fake", "voice", tmp_path, **{"sample_rate": RATE, "languages": ("en",)} | more)


async def test_a_good_voice_is_measured(sing, tmp_path):
    kind = sing()
    spoken = await speak_once(pack(tmp_path))
    assert spoken.audio_s == pytest.approx(2)
    assert -30 < spoken.lufs < -20
    assert kind.said == SENTENCES["en"]
    assert kind.closed


@pytest.mark.parametrize(("languages", "said"), [(("de",), "de"), (("zh-CN", "en"), "zh"), (("eo",), "en"), ((), "en")])
async def test_a_voice_is_asked_to_speak_its_language(sing, tmp_path, languages, said):
    kind = sing()
    await speak_once(pack(tmp_path, languages=languages))
    assert kind.said == SENTENCES[said]


def fails(_self, _text, _options):
    raise ZeroDivisionError("oh")
    yield


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"steps": 0}, "its model makes 0.00 s of audio of a sentence"),
        ({"steps": 2}, "its model makes 0.20 s of audio of a sentence"),
        ({"steps": 10**9}, "its model makes more than 60 s of audio of a sentence"),
        ({"level": 0.0}, "its model is silent: -inf LUFS"),
        ({"level": np.nan}, "NaN"),
        ({"speak": fails}, "the engine of fake-voice failed: ZeroDivisionError: oh"),
        ({"sample_rate": 22_050}, "its model speaks at 22050 Hz, and 24000 in the metadata"),
    ],
)
def test_a_voice_that_does_not_speak_is_broken_and_closed(sing, tmp_path, how, said):
    kind = sing(**how)
    good, sentence = check_pack(pack(tmp_path), load=True)
    assert not good
    assert sentence.startswith("broken: ")
    assert said in sentence
    assert kind.closed


def test_an_option_that_the_model_lacks_is_a_fault(sing, tmp_path):
    sing()
    with pytest.raises(InvalidArgumentError, match="unknown option 'speed'"):
        check_speech(pack(tmp_path, options={"speed": "2"}))


def test_without_loading_only_files_are_read(sing, tmp_path):
    kind = sing()
    (tmp_path / "model").write_text("x")
    files = pack(tmp_path, files={"model": tmp_path / "model"}, checksums={"model": "0" * 64})
    assert "is not the file that the pack describes" in check_pack(files, load=False)[1]
    (tmp_path / "model").unlink()
    assert "No such file" in check_pack(files, load=False)[1]
    assert kind.said is None
