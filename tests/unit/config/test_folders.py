import errno
import os
import stat
from pathlib import Path

import pytest

from ttsw.config import data_dir, folders, state_dir
from ttsw.errors import ConfigError


def test_the_environment_names_them():
    assert data_dir({"XDG_DATA_HOME": "/data"}) == Path("/data/ttsw")
    assert state_dir({"XDG_STATE_HOME": "/state"}) == Path("/state/ttsw")


@pytest.mark.parametrize("named", ["", "relative/path"])
def test_without_it_they_are_in_the_users_home(named):
    assert data_dir({"XDG_DATA_HOME": named}) == Path.home() / ".local/share/ttsw"
    assert state_dir({"XDG_STATE_HOME": named}) == Path.home() / ".local/state/ttsw"


@pytest.fixture
def no_home(monkeypatch, tmp_path):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders._private_temporary.cache_clear()
    yield tmp_path / f"ttsw-{os.getuid()}"
    folders._private_temporary.cache_clear()


def test_a_user_without_a_home_has_a_folder_that_nobody_else_writes_to(no_home):
    assert state_dir({}) == no_home / ".local/state/ttsw"
    assert data_dir({}) == no_home / ".local/share/ttsw"
    assert folders.homeless({}) == no_home
    assert stat.S_IMODE(no_home.stat().st_mode) == 0o700
    folders._private_temporary.cache_clear()
    assert folders.homeless({}) == no_home, "and finds it again"
    assert folders.homeless({"XDG_DATA_HOME": "/data", "XDG_STATE_HOME": "/state"}) is None


@pytest.mark.parametrize("trap", ["link", "writable", "file"])
def test_a_folder_that_somebody_has_laid_out_is_not_used(no_home, tmp_path, trap):
    if trap == "link":
        (tmp_path / "theirs").mkdir()
        no_home.symlink_to(tmp_path / "theirs")
    elif trap == "file":
        no_home.touch()
    else:
        no_home.mkdir()
        no_home.chmod(0o777)
    found = folders.homeless({})
    assert found != no_home
    assert found.parent == tmp_path
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


def test_a_full_disk_leaves_the_folder_unmade(no_home, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    assert folders.homeless({}) == no_home


def test_a_user_for_whom_there_is_no_folder_at_all_is_told_what_to_set(no_home, monkeypatch):
    no_home.touch()
    monkeypatch.setattr("tempfile.tempdir", "/dev/null")
    with pytest.raises(ConfigError, match="set XDG_STATE_HOME to a folder"):
        state_dir({})
