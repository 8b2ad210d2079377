"""What a metadata.yaml may say, what each other is told, and that no file takes long."""

import os
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ttsw.errors import ConfigError
from ttsw.packs.metadata import FamilyName, ModelName, Origin, PathInPack, Role
from ttsw.packs.metadata_file import read_metadata

METADATA = """\
family: piper
model_id: anna
languages: [de]
audio: {sample_rate: 22050}
options: {speed: 1.5}
"""
SHA256 = "0123456789abcdef" * 4


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "metadata.yaml"

    def read(text):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_metadata(path)

    return read


def with_files(entry):
    return f"{METADATA}files: {{m: {entry}}}\n"


def test_what_a_pack_says_is_read(read):
    meta = read(METADATA)
    assert (meta.family, meta.model_id, meta.version, meta.audio.channels) == ("piper", "anna", "1.0", 1)
    assert (meta.languages, meta.options) == (("de",), {"speed": "1.5"})


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ("ref/seed.wav", {"path": "ref/seed.wav"}),
        ("package://some_package/data/model.onnx", {"package": "some_package/data/model.onnx"}),
        (f"{{path: model.onnx, sha256: {SHA256}}}", {"path": "model.onnx", "sha256": SHA256}),
        (f"{{package: p/model.onnx, sha256: {SHA256.upper()}}}", {"package": "p/model.onnx", "sha256": SHA256}),
        (
            f"{{url: 'https://host.example/a?b=c', sha256: {SHA256}, bytes: 9}}",
            {"url": "https://host.example/a?b=c", "sha256": SHA256, "bytes": 9},
        ),
    ],
)
def test_a_file_is_in_the_pack_or_in_a_package_or_at_an_address(read, entry, origin):
    assert read(with_files(entry)).files["m"].model_dump(exclude_none=True) == origin


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "family is missing; model_id is missing; audio is missing"),
        ("- a list\n", "the file: .* must be a mapping"),
        (METADATA + "colour: red\n", "line 6: colour: unknown key; valid are: family, model_id"),
        (METADATA + "sise: {}\n", "line 6: sise: unknown key; did you mean size?"),
        (
            METADATA.replace("22050", "22050, rate: 1"),
            "line 4: audio.rate: unknown key; .*valid are: sample_rate, chan",
        ),
        (METADATA.replace("22050", "fast"), "line 4: audio.sample_rate: 'fast' is not valid: "),
        (METADATA.replace("22050", "11"), "audio.sample_rate: 11 is not valid: .*8000"),
        (METADATA.replace("22050", "true"), "audio.sample_rate: True is not valid: "),
        (METADATA.replace("[de]", "[no]"), "languages.0: False is not valid: must be a text: put it in quotes"),
        (METADATA.replace("[de]", "[Deutsch]"), "languages.0: 'Deutsch' is not valid: must be a language code"),
        (METADATA + "version: 2.0\n", "version: 2.0 is not valid: must be a text: put it in quotes"),
        (METADATA + "size: 12\n", "size: 12 is not valid: must be a mapping"),
        (METADATA + "size: {disk_mb: .nan}\n", "size.disk_mb: nan is not valid"),
        (METADATA + f"size: {{disk_mb: 0x{'f' * 2_000}}}\n", "size.disk_mb: .* is not valid"),
        (
            METADATA.replace("anna", "An na"),
            'model_id: \'An na\' is not valid: must be a-z and 0-9, joined by "-", "_" o',
        ),
        (
            METADATA.replace("piper", "my_piper"),
            "family: 'my_piper' is not valid: must be a-z and 0-9, joined by \"-\",",
        ),
        (METADATA + 'license: "\\e[31mred"\n', "license: .* must be a text in one line, without control characters"),
        (METADATA + "source: [a]\n", r"source: \['a'\] is not valid: "),
        (METADATA + "family: hibari\n", "line 6, column 1: family: given twice; the first is on line 1"),
        (METADATA + "options: {speed: [1]}\n", "options: given twice"),
        (METADATA.replace("1.5", "[1]"), r"options.speed: \['?1'?\] is not valid"),
        (METADATA + "files: [", "line [67], column .*: not valid YAML"),
        (METADATA + "files: !!python/object:os.system x", "line 6, column 8: not valid YAML"),
        (METADATA + "---\n", "line 6, column 1: not valid YAML"),
        (METADATA.encode() + b"source: \xff", "not UTF-8: the byte 0xff at 103"),
        (METADATA + "source: \0", "not valid YAML"),
    ],
)
def test_faults_say_where_and_what_would_be_right(read, text, fault):
    with pytest.raises(ConfigError, match=f"metadata.yaml.*{fault}"):
        read(text)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("12", "files.m: 12 is not valid: must be a mapping"),
        ("{}", "must have one of path, package, url"),
        ("{path: a, package: b/c}", "must have one of path, package, url"),
        ("{pth: a}", "files.m.pth: unknown key; did you mean path?"),
        ("../../secret", "'../../secret' is not valid: must be a file in the pack"),
        ("/etc/passwd", "'/etc/passwd' is not valid: must be a file in the pack"),
        ("a/../b", "must be a file in the pack"),
        ("https://host/model", r"must be a file in the pack .*; an address is \{url: …\}"),
        ("package://p", "must be a file in a Python package: package/folder/file"),
        ("package://a.b/c", "must be a file in a Python package"),
        ("package://p/../../x", "must be a file in a Python package"),
        ("{path: a, sha256: 12ab}", "files.m.sha256: '12ab' is not valid: must be 64 hexadecimal digits"),
        (f"{{url: 'http://host/a', sha256: {SHA256}, bytes: 1}}", "must be an address that begins with https://"),
        (f"{{url: 'https://u:p@host/a', sha256: {SHA256}, bytes: 1}}", "without name and password"),
        (f"{{url: 'https://[host/a', sha256: {SHA256}, bytes: 1}}", "must be an address"),
        (f"{{url: 'https:///a', sha256: {SHA256}, bytes: 1}}", "must be an address"),
        (f"{{url: 'https://host/a b', sha256: {SHA256}, bytes: 1}}", "must be an address"),
        ("{url: 'https://host/a', bytes: 1}", "must have sha256 and bytes beside url"),
        (f"{{url: 'https://host/a', sha256: {SHA256}}}", "must have sha256 and bytes beside url"),
        (f"{{url: 'https://host/a', sha256: {SHA256}, bytes: 0}}", "bytes: 0 is not valid"),
    ],
)
def test_a_file_that_is_nowhere_is_refused(read, entry, fault):
    with pytest.raises(ConfigError, match=fault):
        read(with_files(entry))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
            "line 2, column 8: aliases .* are not possible in a voice pack",
        ),
        ("a: &a {x: 1}\nb: {<<: [*a, *a]}\n", "aliases"),
        ("&a [*a]", "aliases"),
        ("[" * 500_000, "line 1, column .*: (nested more than 20 levels deep|not valid YAML)"),  # libyaml looks ahead
        ("- " * 400_000, "nested more than 20 levels deep"),
        (f"a: {'1:' * 2_000}1", "a text of more than 3000 characters"),
        (f"a: {'9' * 900_000}", "a text of more than 3000 characters"),
        ("# comment\n" * 110_000, "is larger than 1000 kB"),
        ("\n".join(f"key{number}: 1" for number in range(60_000)), "unknown key; .*; …$"),
    ],
)
def test_a_file_made_to_take_long_does_not(read, text, fault):
    started = time.process_time()  # of this process: others may keep the processor
    with pytest.raises(ConfigError, match=fault):
        read(text)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(("make", "fault"), [(os.mkfifo, "is no regular file"), (os.mkdir, "is a directory")])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path, make, fault):
    make(tmp_path / "metadata.yaml")
    with pytest.raises(ConfigError, match=fault):
        read_metadata(tmp_path / "metadata.yaml")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_metadata(tmp_path / "metadata.yaml")


ODD = st.text(st.sampled_from("aZ09-_./\\ \0\n\x1b~é") | st.characters(), max_size=12)


def is_valid(kind, text):
    try:
        return TypeAdapter(kind).validate_python(text) == text
    except ValidationError:
        return False


@given(ODD)
def test_a_name_that_is_valid_is_one_folder_below_another(text):
    for kind in (FamilyName, ModelName, Role):
        if is_valid(kind, text):
            assert os.path.normpath(f"/base/{text}") == f"/base/{text}"
            assert text.isascii()
            assert text.isprintable()
            assert not text.startswith((".", "-"))
    assert is_valid(FamilyName, text) == bool(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", text))
    assert is_valid(FamilyName, text) <= is_valid(ModelName, text) <= is_valid(Role, text)


@given(ODD | st.lists(ODD | st.sampled_from(["..", ".", ""]), max_size=4).map("/".join))
def test_a_path_that_is_valid_is_below_its_pack(text):
    if is_valid(PathInPack, text):
        assert os.path.normpath(f"/base/{text}") == f"/base/{text}"
        assert os.path.normpath(text).startswith("..") is text.startswith("..")


@given(st.dictionaries(st.sampled_from(["path", "package", "url", "sha256", "bytes", "x"]), ODD | st.integers()))
def test_an_origin_is_one_place_or_none(given_):
    try:
        origin = Origin.model_validate(given_)
    except ValidationError:
        return
    assert [origin.path, origin.package, origin.url].count(None) == 2
