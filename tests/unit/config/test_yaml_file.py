"""Files that can't be read, and what each is told."""

import os
from pathlib import Path

import pytest

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
        ("worker:\n  name: [\n", ", line 3, column 1: not valid YAML: "),
        ("worker:\n\tname: x", ", line 2, column 1: not valid YAML: "),
        ("worker:\n  name: a\n  name: b", ", line 3, column 3: worker.name: given twice; the first is on line 2"),
        ("worker: {}\nworker: {}", ", line 2, column 1: worker: given twice; the first is on line 1"),
        ("a: 1\n---\nb: 2", ", line 2, column 1: not valid YAML: "),
        ("worker: !!python/object:os.system {}", ", line 1, column 9: not valid YAML: "),
        ("? {a: 1}\n: 2", ", line 1, column 3: not valid YAML: "),
        ("worker: *nowhere", ", line 1, column 9: not valid YAML: "),
        ("worker: {name: '\x00'}", ": not valid YAML: "),
        ("worker: {name: 2026-99-99}", ", line 1, column 16: not valid YAML: '2026-99-99' is no timestamp"),
        ("name: !!timestamp soon", ", line 1, column 7: not valid YAML: 'soon' is no timestamp"),
        ("a: [1, !!bool maybe]", ", line 1, column 8: not valid YAML: 'maybe' is no bool"),
        ("a: !!int ''", ", line 1, column 4: not valid YAML: '' is no int"),
        ("a: !!float x", ", line 1, column 4: not valid YAML: 'x' is no float"),
        ("a: " + "9:" * 600 + "1.5", ", line 1, column 4: not valid YAML: '9:9:"),
        ("- " * 21, ", line 1, column 41: nested more than 20 levels deep"),
        ("[" * 5000, ", line 1, column "),
        ("a: " + "x" * 3001, ", line 1, column 4: a text of more than 3000 characters"),
        ("# comment\n" * 100_001, ": is larger than 1000 kB"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write, data, said):
    assert refusal(write(data)).startswith(said)


def test_a_configuration_may_come_through_a_pipe(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"worker: {name: alto}\n")
    os.close(writing)
    try:
        assert list(read_settings(Path(f"/dev/fd/{reading}"))) == [("worker", "name")]
    finally:
        os.close(reading)


def test_aliases_are_walked_once(write):
    levels = "\n".join(f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}" for i in range(1, 40))
    assert len(read_settings(write(f"a0: &a0 {{z: 1}}\n{levels}\nworker: &w {{name: alto, again: *w}}"))) == 42
