from pathlib import Path

import pytest

from ttsw.config import data_dir, state_dir
from ttsw.errors import ConfigError


def test_the_environment_names_them():
    assert data_dir({"XDG_DATA_HOME": "/data"}) == Path("/data/ttsw")
    assert state_dir({"XDG_STATE_HOME": "/state"}) == Path("/state/ttsw")


@pytest.mark.parametrize("named", ["", "relative/path"])
def test_without_it_they_are_in_the_users_home(named):
    assert data_dir({"XDG_DATA_HOME": named}) == Path.home() / ".local/share/ttsw"
    assert state_dir({"XDG_STATE_HOME": named}) == Path.home() / ".local/state/ttsw"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="no home directory; set XDG_STATE_HOME to a folder"):
        state_dir({})
