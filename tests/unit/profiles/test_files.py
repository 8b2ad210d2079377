"""Reading profiles strictly, finding and listing them."""

import os

import pytest

from tests.unit.profiles.samples import MEASURED
from ttsw.config import shipped_dir
from ttsw.errors import ConfigError, NotFoundError
from ttsw.profiles.files import find_profile, list_profiles, own_folder, read_profile
from ttsw.profiles.writer import to_yaml, write_profile

TEXT = to_yaml(MEASURED)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "p.yaml"


def fault(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        read_profile(path)
    return str(caught.value)


def line_of(text, start):
    return next(number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start))


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (
            "provenance: measured",
            "provenance: guessed",
            "provenance: 'guessed' is not valid: ",
        ),
        (
            "  cores: 2\n  memory_mb: 8000",
            "  cores: two\n  memory_mb: 8000",
            "host.cores: 'two' is not valid: must be a w",
        ),
        ("floor_mb: 80.5", "floor_mb: -1", "floor_mb: -1 is not valid: must be 0 or more"),
        ("floor_mb: 80.5", "floor_mb: .inf", "floor_mb: inf is not valid: must be a finite number"),
        ("floor_mb: 80.5", "floor_mb: .nan", "floor_mb: nan is not valid: must be"),
        (
            "session_mb: {median: 2.5",
            "session_mb: {median: .nan",
            "piper-anna.session_mb.median: nan is not valid: must be",
        ),
        ("floor_mb: 80.5", "floor: 80.5", "floor: unknown key; did you mean floor_mb? valid are: format, name, "),
        (
            "    peak_mb: 180\n",
            "    peak_mb: 180\n    peak: 180\n",
            "models.hibari-heart.peak: unknown key; did you mean peak_mb? valid are: ",
        ),
        ("name: sample", "name: Sample One", "name: 'Sample One' is not valid: "),
        (
            "    version: '1.0'",
            "    version: 1.0",
            "models.piper-anna.version: 1.0 is not valid: must be a text: put it",
        ),
        ("  margin: 0.9", "  margin: 1.5", "derived.margin: 1.5 is not valid: must be 1 or less"),
        ("  resident_cap: 2", "  resident_cap: 0", "derived.resident_cap: 0 is not valid: must be 1 or more"),
        ("  resident: [hib", "  resident: [x, hib", "derived names what models lacks: x"),
        ("date: 2026-11-22T12:30:15+00:00", "date: yesterday", "date: 'yesterday' is not valid: "),
        (
            "    bound: ttfa",
            "    bound: luck",
            "models.piper-anna.bound: 'luck' is not valid: ",
        ),
        ("slo: {ttfa_ms: 300,", "slo: {ttfa_ms: 0,", "slo.ttfa_ms: 0 is not valid: must be greater than 0"),
        ("    digest: " + "ab" * 32, "    digest: abc", "models.piper-anna.digest: 'abc' is not valid: "),
    ],
)
def test_what_is_not_possible_is_named_with_its_line(path, old, new, wanted):
    assert old in TEXT
    said = fault(path, TEXT.replace(old, new, 1))
    assert wanted in said
    assert said.startswith(f"{path}, line ")


def test_a_fault_names_the_line_that_it_is_on(path):
    text = TEXT.replace("floor_mb: 80.5", "floor_mb: many")
    assert f"{path}, line {line_of(text, 'floor_mb')}: floor_mb: 'many' is not valid: must be a number" == fault(
        path, text
    )


def test_a_fault_in_a_row_of_the_sweep_names_row_and_line(path):
    text = TEXT.replace("- {sessions: 4", "- {sessions: 0")
    said = fault(path, text)
    assert said == (
        f"{path}, line {line_of(text, '- {sessions: 0')}: models.piper-anna.sweep[1].sessions: 0 is not valid: "
        "must be 1 or more"
    )


def test_every_fault_is_told_at_once(path):
    text = (
        TEXT
        .replace("floor_mb: 80.5", "floor_mb: many")
        .replace("name: sample\n", "")
        .replace("  margin: 0.9", "  m: 1")
    )
    said = fault(path, text)
    assert said.startswith("4 faults:\n- ")
    assert f"{path}, line 1: name: is missing" in said
    assert "derived.margin: is missing" in said
    assert "derived.m: unknown key; " in said


def test_thousands_of_faults_are_cut_short(path):
    rows = "".join(f"  m{number}: {{}}\n" for number in range(500))
    said = fault(path, "models:\n" + rows)
    assert "more" in said.splitlines()[-1]
    assert len(said.splitlines()) == 52


@pytest.mark.parametrize("given", ["2", "'1'", "0", "true", "null", "1.0", "[1]"])
def test_another_format_is_refused_with_what_this_version_reads(path, given):
    said = fault(path, TEXT.replace("format: 1", f"format: {given}"))
    assert f"{path}, line 4: format: " in said
    assert "this version of ttsw reads profiles of format 1" in said
    assert "faults" not in said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "the file holds nothing"),
        ("- 1\n", "the file holds a list; a profile is a mapping"),
        ("just a text", "the file holds a str"),
        ("a: [", "not valid YAML"),
        ("a: 1\na: 2\n", "line 2, column 1: a: given twice; the first is on line 1"),
        ("models:\n  x:\n    sweep:\n    - {sessions: 1, sessions: 2}\n", "models.x.sweep[0].sessions: given twice"),
        ("a: &a [1]\nb: *a\n", "line 2, column 4: aliases (*a) are not possible"),
        ("a: " + "[" * 30 + "]" * 30, "nested more than 20 levels"),
        ("notes: " + "x" * 4000, "a text of more than 3000 characters"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("? [a]\n: 1\n", "not valid YAML"),
        ("date: 2026-13-45\n", "not valid YAML"),
        (b"\xff\xfe\x00", "not UTF-8: the byte 0xff at 0"),
        (b"#" * 4_000_001, "is larger than 4000 kB"),
        (b"a: \x00", "not valid YAML"),
    ],
)
def test_what_is_no_profile_is_told(path, text, wanted):
    said = fault(path, text)
    assert wanted in said
    assert str(path) in said


def test_what_is_no_file_is_told(path, tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_profile(path)
    with pytest.raises(ConfigError, match="is a directory"):
        read_profile(tmp_path)
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="is no regular file"):
        read_profile(path)


def test_a_byte_order_mark_is_no_fault(path):
    path.write_text(TEXT, encoding="utf-8-sig")
    assert read_profile(path) == MEASURED


# --- finding and listing


@pytest.fixture
def environ(tmp_path):
    return {"XDG_DATA_HOME": str(tmp_path / "data")}


def test_a_path_is_taken_as_it_is(environ, path, monkeypatch):
    write_profile(MEASURED, path)
    assert find_profile(str(path), environ) == path
    monkeypatch.chdir(path.parent)
    assert find_profile("p.yaml", environ).samefile(path)
    for missing in ("./p", "q.yaml", "a/b"):
        with pytest.raises(NotFoundError, match=f"there is no profile file {missing}"):
            find_profile(missing, environ)


def test_names_are_found_in_the_own_folder_first(environ):
    assert find_profile("rtx4090", environ) == shipped_dir("profiles") / "rtx4090.yaml"
    own = own_folder(environ) / "rtx4090.yaml"
    write_profile(MEASURED, own)
    assert find_profile("rtx4090", environ) == own
    listed = {each.name: each for each in list_profiles(environ)}
    assert (listed["rtx4090"].origin, listed["rtx4090"].profile) == ("own", MEASURED)
    assert listed["l4"].origin == "shipped"
    assert list(listed) == sorted(listed)


def test_an_unknown_name_is_told_with_those_there_are(environ):
    with pytest.raises(NotFoundError, match=r"no profile 'rtx409'; did you mean rtx4090\? there are: a100-80g, .*l4, "):
        find_profile("rtx409", environ)
    with pytest.raises(NotFoundError, match="no profile 'zzz'; there are: "):
        find_profile("zzz", environ)


def test_a_broken_profile_is_listed_with_its_fault(environ):
    folder = own_folder(environ)
    folder.mkdir(parents=True)
    (folder / "bad.yaml").write_text("format: 9\n")
    (folder / ".hidden.yaml").write_text("")
    (folder / "notes.txt").write_text("")
    (folder / "folder.yaml").mkdir()
    broken = {each.name: each.fault for each in list_profiles(environ) if each.profile is None}
    assert set(broken) == {"bad", "folder"}
    assert "format: 9 is not valid" in broken["bad"]
    assert "is a directory" in broken["folder"]


def test_an_installation_without_profiles_still_has_the_users_own(environ, monkeypatch):
    def none(_name):
        raise NotFoundError("nothing is shipped")

    monkeypatch.setattr("ttsw.profiles.files.shipped_dir", none)
    assert list_profiles(environ) == []
    with pytest.raises(NotFoundError, match="there are: none"):
        find_profile("rtx4090", environ)
