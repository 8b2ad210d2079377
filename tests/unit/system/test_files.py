import errno
import os
import threading

import pytest

from ttsw.system import files
from ttsw.system.files import locked, open_whole, write_whole


def write_half(path, error):
    with open_whole(path) as file:
        file.write(b"half")
        raise error


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_when_it_is_whole_and_not_before(tmp_path):
    path = tmp_path / "a.json"
    with open_whole(path) as file:
        file.write(b"whole")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("before", [None, b"good"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, before, error):
    path = tmp_path / "a.json"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(type(error)):
        write_half(path, error)
    assert names(tmp_path) == ([] if before is None else ["a.json"])
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("step", ["fsync", "fchmod"])
def test_every_step_that_can_fail_leaves_nothing(tmp_path, monkeypatch, step):
    path = tmp_path / "a.json"
    path.write_bytes(b"good")

    def full(*_given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"half", durable=True)
    assert (names(tmp_path), path.read_bytes()) == (["a.json"], b"good")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
def test_the_kernels_own_full_disk_at_the_last_flush(tmp_path, monkeypatch):
    opened = os.open

    def open_full(path, flags, mode=0o777):
        file = opened(path, flags, mode)
        full = opened("/dev/full", os.O_RDWR)
        os.dup2(full, file)
        os.close(full)
        return file

    monkeypatch.setattr(files.os, "open", open_full)
    monkeypatch.setattr(files.os, "fchmod", lambda *_given: None)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a.json", b"x" * 100)
    assert names(tmp_path) == []


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "a.json", b"")


def test_permissions_are_those_of_the_file_before_or_the_users_own(tmp_path):
    path, plain = tmp_path / "a", tmp_path / "plain"
    plain.write_bytes(b"")
    write_whole(path, b"")
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o600)
    write_whole(path, b"")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_device_is_written_to_and_not_replaced():
    write_whole(files.Path(os.devnull), b"x")
    assert files.Path(os.devnull).is_char_device()


def test_a_long_name_has_room_for_the_temporary_one(tmp_path):
    write_whole(tmp_path / ("x" * 255), b"x")
    assert names(tmp_path) == ["x" * 255]


def test_a_lock_keeps_others_out_until_its_block_ends(tmp_path):
    order, held = [], threading.Event()

    def hold():
        with locked(tmp_path / "lock"):
            held.set()
            done.wait(5)
            order.append("first")

    done = threading.Event()
    first = threading.Thread(target=hold)  # noqa: TID251 - the test needs somebody else
    first.start()
    assert held.wait(5)
    with (
        pytest.raises(TimeoutError, match="locked by another process for over 0 s"),
        locked(tmp_path / "lock", wait_s=0),
    ):
        order.append("in between")
    threading.Timer(0.05, done.set).start()
    with locked(tmp_path / "lock"):
        order.append("second")
    first.join()
    assert order == ["first", "second"]


def test_a_lock_is_given_back_when_its_block_fails(tmp_path):
    with pytest.raises(LookupError), locked(tmp_path / "lock"):
        raise LookupError
    with locked(tmp_path / "lock", wait_s=0):
        pass


def test_a_file_system_without_locks_is_written_without(tmp_path, monkeypatch):
    def unsupported(*_given):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", unsupported)
    with locked(tmp_path / "lock", wait_s=0):
        pass


def test_a_lock_that_cannot_be_had_is_an_error(tmp_path, monkeypatch):
    def refused(*_given):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files.fcntl, "flock", refused)
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path / "lock", wait_s=0):
        pass
