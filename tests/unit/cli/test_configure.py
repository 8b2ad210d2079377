"""Which model a command line means."""

import pytest

from ttsw.cli.configure import configure
from ttsw.errors import ConfigError, NotFoundError

METADATA = "family: {0}\nmodel_id: {1}\naudio:\n  sample_rate: 48000\n"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Packs of two families, one of them broken."""
    for family, name in (("demo", "a"), ("demo", "b"), ("other", "c")):
        folder = tmp_path / family / name
        folder.mkdir(parents=True)
        (folder / "metadata.yaml").write_text(METADATA.format(family, name) if family == "demo" else "family: other")
    monkeypatch.setenv("TTSW_MODEL_MANAGER__VOICEPACKS_DIR", str(tmp_path))


def default(*arguments):
    return configure(None, *arguments).model_manager.default_model_id


@pytest.mark.usefixtures("shelf")
def test_a_family_means_its_first_model():
    assert default("demo", None) == "demo-a"


@pytest.mark.usefixtures("shelf")
def test_a_model_that_is_named_wins_over_a_family():
    assert default("demo", "demo-b") == "demo-b"


@pytest.mark.usefixtures("shelf")
def test_the_configured_default_stays_where_it_is_of_the_family(monkeypatch):
    monkeypatch.setenv("TTSW_MODEL_MANAGER__DEFAULT_MODEL_ID", "demo-b")
    assert default("demo", None) == "demo-b"


@pytest.mark.usefixtures("shelf")
def test_a_family_without_a_pack_is_told_with_those_that_have():
    with pytest.raises(NotFoundError, match="no voice pack of family 'none'; there are packs of: demo, hibari, mock"):
        default("none", None)


@pytest.mark.usefixtures("shelf")
def test_a_family_whose_packs_are_broken_is_told_with_the_fault():
    with pytest.raises(NotFoundError, match=r"no usable voice pack of family 'other': .*model_id"):
        default("other", None)


def test_flags_are_settings():
    config = configure(None, None, None, **{"worker.grpc_port": 1, "worker.grpc_host": None})
    assert (config.worker.grpc_port, config.worker.grpc_host) == (1, "127.0.0.1")
    with pytest.raises(ConfigError, match="flag worker"):
        configure(None, None, None, **{"worker.grpc_port": -1})
