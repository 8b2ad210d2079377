"""Where shipped folders are found."""

import pytest

from ttsw.config import shipped_dir
from ttsw.errors import NotFoundError


def test_in_a_checkout(tmp_path):
    (tmp_path / "voicepacks").mkdir()
    assert shipped_dir("voicepacks", tmp_path / "ttsw") == tmp_path / "voicepacks"


def test_an_installed_wheel_has_its_own(tmp_path):
    (tmp_path / "proto").mkdir()
    (tmp_path / "ttsw/_shipped/proto").mkdir(parents=True)
    assert shipped_dir("proto", tmp_path / "ttsw") == tmp_path / "ttsw/_shipped/proto"


def test_a_missing_one_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(NotFoundError, match=r"no shipped folder 'configs': looked at .*_shipped/configs and .*configs"):
        shipped_dir("configs", tmp_path / "ttsw")


def test_ours():
    assert (shipped_dir("configs") / "worker.yaml").is_file()
