"""Where audio is kept: a whole WAV file, or what was there before."""

import errno
import io
import stat
import struct
import wave
from contextlib import suppress

import pytest

from ttsw.cli.say.recorder import Recorder, wav_header
from ttsw.cli.ui.streams import NoReaderError
from ttsw.errors import InvalidArgumentError, UnavailableError

FRAME = b"\x01\x02" * 960


class Pipe(io.BytesIO):
    """Stands for stdout."""

    def __init__(self, fault=None, terminal=False):
        super().__init__()
        self.buffer, self.fault, self.terminal = self, fault, terminal

    def isatty(self):
        return self.terminal

    def write(self, data):
        if self.fault is not None:
            raise self.fault
        return super().write(data)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.wav"


def frames_of(path):
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (48_000, 1, 2)
        return file.readframes(file.getnframes() + 1)


def test_a_file_is_a_wav_of_all_that_was_heard(target):
    with Recorder(str(target)) as recorder:
        recorder.write(FRAME)
        recorder.write(b"")
        recorder.write(FRAME)
        assert not target.exists(), "it isn't whole yet"
    assert frames_of(target) == 2 * FRAME
    assert [*target.parent.iterdir()] == [target]


@pytest.mark.parametrize("frames", [0, 1])
def test_a_file_of_before_stays_as_it_was_unless_a_whole_one_takes_its_place(target, frames):
    for before in (None, b"good"):
        if before is not None:
            target.write_bytes(before)
        with suppress(KeyError), Recorder(str(target)) as recorder:
            for _ in range(frames):
                recorder.write(FRAME)
            raise KeyError
        with Recorder(str(target)):
            pass  # nothing was spoken
        left = {path: path.read_bytes() for path in target.parent.iterdir()}
        assert left == ({} if before is None else {target: before})


def test_a_file_is_replaced_with_its_mode_and_behind_its_link(target, tmp_path):
    real = tmp_path / "real.wav"
    real.write_bytes(b"old")
    real.chmod(0o640)
    target.symlink_to(real)
    with Recorder(str(target)) as recorder:
        recorder.write(FRAME)
    assert target.is_symlink()
    assert frames_of(real) == FRAME
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_path_that_cannot_be_written_is_told(tmp_path):
    path = tmp_path / "no" / "out.wav"
    with pytest.raises(InvalidArgumentError, match=r"cannot write .*out\.wav: No such file"), Recorder(str(path)):
        pass
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(InvalidArgumentError, match="Is a directory"), Recorder(str(tmp_path / "folder.wav")):
        pass


@pytest.mark.parametrize("name", ["x.mp3", "x", "x.wav.ogg", ".wav"])
def test_a_name_of_another_format_is_refused_with_what_works(tmp_path, name):
    with pytest.raises(InvalidArgumentError, match=r"ends in \.wav, or - for a WAV stream on stdout"):
        Recorder(str(tmp_path / name))
    Recorder(str(tmp_path / "X.WAV"))


def test_a_device_is_written_to_and_stays_one(target):
    with Recorder("/dev/null") as recorder:
        recorder.write(FRAME)
    with pytest.raises(UnavailableError, match="cannot write /dev/full: No space left"), Recorder("/dev/full"):
        pass


def test_without_a_target_nothing_is_kept():
    with Recorder(None) as recorder:
        recorder.write(FRAME)
    assert "not kept" in recorder.name


def test_a_stream_begins_with_a_header_of_unknown_length(monkeypatch):
    pipe = Pipe()
    monkeypatch.setattr("sys.stdout", pipe)
    with Recorder("-") as recorder:
        recorder.write(FRAME)
    assert recorder.name == "stdout"
    assert pipe.getvalue() == wav_header() + FRAME


def test_no_audio_goes_to_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout", Pipe(terminal=True))
    with pytest.raises(InvalidArgumentError, match="audio to a terminal"):
        Recorder("-")


def test_a_reader_of_stdout_that_has_left_is_told(monkeypatch):
    monkeypatch.setattr("sys.stdout", Pipe())
    with Recorder("-") as recorder:
        recorder._file.fault = NoReaderError()
        with pytest.raises(UnavailableError, match="whoever read the audio from stdout has left"):
            recorder.write(FRAME)
        recorder._file.fault = OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(UnavailableError, match="cannot write stdout: No space left on device"):
            recorder.write(FRAME)


@pytest.mark.parametrize(("size", "told"), [(None, 2**32 - 1), (0, 0), (1920, 1920), (2**33, 2**32 - 1)])
def test_the_header_is_a_wavs(size, told):
    header = wav_header() if size is None else wav_header(size)
    assert len(header) == 44
    riff, whole, form, fmt, length, kind, channels, rate, bytes_s, block, bits, data, most = struct.unpack(
        "<4sI4s4sIHHIIHH4sI", header
    )
    assert (riff, form, fmt, data) == (b"RIFF", b"WAVE", b"fmt ", b"data")
    assert (length, kind, channels, rate, bytes_s, block, bits) == (16, 1, 1, 48_000, 96_000, 2, 16)
    assert (whole, most) == (min(told + 36, 2**32 - 1), told)


@pytest.mark.parametrize("moment", ["_put", "_open"])
def test_an_interrupt_while_it_is_opened_leaves_nothing(tmp_path, monkeypatch, moment):
    target = tmp_path / "out.wav"
    real = getattr(Recorder, moment)

    def interrupted(self, *arguments):
        if (file := real(self, *arguments)) is not None:
            file.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, moment, interrupted)
    with pytest.raises(KeyboardInterrupt), Recorder(str(target)):
        pass
    assert not [*tmp_path.iterdir()]
