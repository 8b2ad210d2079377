from importlib.metadata import EntryPoint

import pytest

import ttsw.adapters.families as families_module
from ttsw.adapters.families import adapter_class, families
from ttsw.adapters.mock import MockAdapter
from ttsw.errors import NotFoundError, UnavailableError


@pytest.fixture
def entry(monkeypatch):
    def add(value: str) -> None:
        entry = EntryPoint("own", value, families_module.GROUP)
        monkeypatch.setattr(families_module, "entry_points", lambda group: [entry])
        families.cache_clear()

    yield add
    families.cache_clear()


def test_the_shipped_families_are_found():
    assert {"mock", "piper"} <= set(families())
    assert adapter_class("mock") is MockAdapter


def test_the_distributions_are_searched_once(entry, monkeypatch):
    entry("ttsw.testing:FakeAdapter")
    assert set(families()) == {"own"}
    monkeypatch.setattr(families_module, "entry_points", lambda group: pytest.fail("searched again"))
    assert set(families()) == {"own"}


def test_an_unknown_family_is_refused_with_those_that_exist():
    with pytest.raises(NotFoundError, match=r"'kazoo' is installed; there are: .*mock"):
        adapter_class("kazoo")


def test_a_users_own_package_adds_a_family(entry):
    entry("ttsw.testing:FakeAdapter")
    assert adapter_class("own").__name__ == "FakeAdapter"


def test_a_family_without_its_libraries_says_how_to_get_them(entry):
    entry("no_such_module:Adapter")
    with pytest.raises(
        UnavailableError,
        match=r"No module named 'no_such_module'.*install, for .*, what the package that brings own names",
    ):
        adapter_class("own")


def test_an_entry_point_that_is_no_adapter_is_refused(entry):
    entry("builtins:dict")
    with pytest.raises(UnavailableError, match="no TTSAdapter"):
        adapter_class("own")
