"""Configurations of CSMs and LoRAs: what can be spoken with, and a sentence for whatever can't."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.errors import InvalidArgumentError, OutOfMemoryError, UnavailableError
from ttsw.formats.csm_files import read_csm, read_lora_settings
from ttsw.formats.json_file import MOST_BYTES

LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8.0, "rank_pattern": {}, "alpha_pattern": {"q_proj": 1}}
CSM = {"model_type": "csm", "codec_config": {"model_type": "mimi"}}


@pytest.fixture
def write(tmp_path):
    def write(value, encoding="utf-8"):
        path = tmp_path / "config.json"
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode(encoding))
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_can_be_spoken_with_is_read_in_any_of_jsons_encodings(write, encoding):
    assert read_lora_settings(write(LORA, encoding)) == LORA
    assert read_csm(write(CSM, encoding)) == CSM


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"peft_type": None}, "is None, not 'LORA'"),
        ({"bias": "all"}, "a LoRA with bias 'all' isn't spoken with; merge it"),
        ({"use_dora": True}, "a LoRA with DoRA isn't spoken with; merge it"),
        ({"r": True}, "gives no r and lora_alpha that can be"),
        ({"r": 10**9}, "gives no r and lora_alpha that can be"),
        ({"lora_alpha": float("inf")}, "gives no r and lora_alpha that can be"),
        ({"lora_alpha": float("nan")}, "gives no r and lora_alpha that can be"),
        ({"rank_pattern": {"q_proj": "8"}}, "its rank_pattern must give numbers by patterns of names"),
        ({"rank_pattern": [1]}, "its rank_pattern must give numbers"),
        ({"alpha_pattern": {"q_proj": None}}, "its alpha_pattern must give numbers"),
        ({"alpha_pattern": {"(q_proj": 1}}, r"alpha_pattern has '\(q_proj', which is no pattern"),
    ],
)
def test_a_lora_that_can_not_be_is_refused(write, change, says):
    with pytest.raises(InvalidArgumentError, match=says):
        read_lora_settings(write(LORA | change))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b" " * (MOST_BYTES + 1)])
@pytest.mark.parametrize("read", [read_lora_settings, read_csm])
def test_what_is_no_configuration_is_refused(write, read, data):
    with pytest.raises(InvalidArgumentError, match="is not the configuration of a "):
        read(write(data))


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EMFILE, UnavailableError), (errno.EACCES, UnavailableError), (errno.ENOMEM, OutOfMemoryError)],
)
@pytest.mark.parametrize("read", [read_lora_settings, read_csm])
def test_what_the_system_refuses_is_not_the_files_fault(write, monkeypatch, read, number, kind):
    path = write(LORA)

    def fail(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(kind, match=rf"config\.json cannot be read: {os.strerror(number)}"):
        read(path)


odd = st.sampled_from([
    None,
    True,
    -1,
    0,
    2**70,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "²",
    "LORA",
    [],
    {},
    {"(": 1},
    {"a": {}},
])


@given(st.lists(st.tuples(st.sampled_from([*LORA, "bias", "codec_config", "model_type", "quantization_config"]), odd)))
def test_whatever_they_say_is_taken_or_refused(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_text(json.dumps(LORA | CSM | dict(changes)))
    for read in (read_lora_settings, read_csm):
        try:
            found = read(path)
        except InvalidArgumentError:
            continue
        assert isinstance(found, dict)
