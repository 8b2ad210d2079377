"""The schema itself: frozen, documented, and what it hands on."""

import pickle

import pytest
from pydantic import ValidationError

from ttsw.config import Config, EngineConfig
from ttsw.config.schema import Section


def sections(section=Config):
    yield section
    for field in section.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from sections(field.annotation)


def test_it_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Config().worker.name = "other"


@pytest.mark.parametrize("section", [*sections(), EngineConfig])
def test_every_key_says_what_it_means(section):
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description or issubclass(field.annotation, Section), name


def test_a_family_without_settings_has_the_defaults():
    config = Config(engines={"piper": EngineConfig(threads=2)})
    assert (config.engine("piper").threads, config.engine("mock")) == (2, EngineConfig())


def test_it_travels_to_other_processes():
    config = Config(engines={"piper": EngineConfig(options={"speed": "2"})})
    assert pickle.loads(pickle.dumps(config)) == config
