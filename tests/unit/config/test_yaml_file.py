"""Files that can't be read, and what each is told."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.config.yaml_file import read_settings
from ttsw.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write_file(data):
        path = tmp_path / "worker.yaml"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write_file


def refusal(path):
    with pytest.raises(ConfigError) as caught:
        read_settings(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "null\n", b"\xef\xbb\xbf"])
def test_an_empty_file_sets_nothing(write, text):
    assert read_settings(write(text)) == {}


def test_settings_know_their_line(write):
    path = write("\n\nworker:\n  name: alto\n  capabilities:\n    languages:\n      - en\n")
    assert {key: setting.origin for key, setting in read_settings(path).items()} == {
        ("worker", "name"): f"{path}, line 4",
        ("worker", "capabilities", "languages"): f"{path}, line 6",
    }


def test_a_missing_file(tmp_path):
    assert refusal(tmp_path / "none.yaml") == ": no such file"


def test_a_directory(tmp_path):
    assert refusal(tmp_path) == ": is a directory; a YAML file is wanted"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(write):
    path = write("")
    path.chmod(0)
    assert "cannot be read: Permission denied" in refusal(path)


def test_a_path_through_a_file(write):
    assert "cannot be read: Not a directory" in refusal(write("") / "deeper.yaml")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"worker: {name: \xff}", ": not UTF-8: the byte 0xff at 15"),
        ("- worker", ": the file holds a list; it must be a mapping of sections"),
        ("worker", ": the file holds a str; it must be a mapping of sections"),
        ("worker:\n  name: [", ", line 2, column 10: not valid YAML: "),
        ("worker:\n\tname: x", ", line 2, column 1: not valid YAML: found character '\\t'"),
        ("worker:\n  name: a\n  name: b", ", line 3, column 3: worker.name: given twice; the first is on line 2"),
        ("worker: {}\nworker: {}", ", line 2, column 1: worker: given twice; the first is on line 1"),
        ("a: 1\n---\nb: 2", ", line 2, column 1: not valid YAML: but found another document"),
        (
            "worker: !!python/object:os.system {}",
            ", line 1, column 9: not valid YAML: could not determine a constructor",
        ),
        ("? {a: 1}\n: 2", ", line 1, column 3: not valid YAML: found unhashable key"),
        ("worker: *nowhere", ", line 1, column 9: not valid YAML: found undefined alias"),
        ("worker: {name: '\x00'}", ": not valid YAML: unacceptable character #x0000"),
        ("worker: {name: 2026-99-99}", ": not valid YAML: month must be in 1..12"),
        ("[" * 5000, ": not valid YAML: maximum recursion depth exceeded"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write, data, said):
    assert refusal(write(data)).startswith(said)


def test_aliases_are_walked_once(write):
    levels = "\n".join(f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}" for i in range(1, 40))
    assert len(read_settings(write(f"a0: &a0 {{z: 1}}\n{levels}\nworker: &w {{name: alto, again: *w}}"))) == 42


@pytest.mark.parametrize("text", ["a: !!timestamp x", "a: !!bool x", "a: !!int x", "a: !!binary ä", "a: !!float x"])
def test_a_tag_that_its_value_does_not_fit_is_not_valid_yaml(write, text):
    assert ": not valid YAML: " in refusal(write(text))


MUTATED = "worker:\n  name: alto\n  grpc_port: 7002\nredis: {url: 'redis://h', at: 2026-01-01}\n"


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.lists(
        st.sampled_from([*"!&*{}[]:,-?|>%@#'\"\n ", "!!timestamp ", "!!set ", "a", "1", "<<: "]), max_size=30
    ).map(lambda parts: "".join(parts).encode())
    | st.tuples(st.integers(0, len(MUTATED)), st.text("!&*{}[]:\n -?\t\x00é", max_size=4)).map(
        lambda cut: (MUTATED[: cut[0]] + cut[1] + MUTATED[cut[0] + 1 :]).encode()
    )
)
def test_whatever_a_file_holds_is_settings_or_one_message(data):
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "worker.yaml")
        path.write_bytes(data)
        try:
            read_settings(path)
        except ConfigError as error:
            faults.append(str(error))
    assert not any("\n" in fault for fault in faults)
