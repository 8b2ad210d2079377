"""Written as YAML that reads well, and read back as it was."""

import stat

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from tests.unit.profiles.samples import MEASURED, profiles
from ttsw.errors import ConfigError
from ttsw.profiles.files import read_profile
from ttsw.profiles.writer import WIDTH, tidy, to_yaml, write_profile

pytestmark = pytest.mark.slow


def test_a_profile_is_read_back_as_it_was(tmp_path):
    assert write_profile(MEASURED, tmp_path / "new" / "sample.yaml") == MEASURED
    assert read_profile(tmp_path / "new" / "sample.yaml") == MEASURED


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(profile=profiles())
def test_any_profile_is_read_back_with_its_numbers_rounded(profile, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    written = write_profile(profile, path)
    assert written == tidy(profile) == tidy(written)
    assert read_profile(path) == written


def test_it_reads_well():
    text = to_yaml(MEASURED)
    for line in (
        "# A profile of ttsw: what one device can do with which models; measured by ttsw bench.",
        "slo: {ttfa_ms: 300, c100_percent: 100}",
        "    session_mb: {median: 2.5, low: 2, high: 3, n: 3}",
        "      load_s: {median: 0.9, low: 0.85, high: 0.95, n: 3}",
        "  resident: [hibari-heart, piper-anna]",
        "  memory_mb: 8000",
        "notes: |-",
    ):
        assert line in text.splitlines()
    assert "null" not in text
    assert "driver" not in text
    assert "jitter" not in text
    rows = [line for line in text.splitlines() if line.startswith("      - {sessions: ")]
    assert len(rows) == 4
    assert all(row.endswith("}") for row in rows)
    assert max(len(line) for line in text.splitlines() if "{" not in line) <= WIDTH
    lines = text.splitlines()
    assert lines[lines.index("models:") - 1].startswith("# What is known of each model")


def test_an_estimate_says_so_at_the_top():
    assert "ESTIMATED, not measured" in to_yaml(MEASURED.model_copy(update={"provenance": "estimated"})).splitlines()[0]


def test_numbers_have_five_digits():
    models = {"piper-anna": MEASURED.models["piper-anna"].model_copy(update={"size_mb": 137.123456})}
    profile = MEASURED.model_copy(update={"models": MEASURED.models | models, "floor_mb": 12345.678})
    found = tidy(profile)
    assert found.models["piper-anna"].size_mb == 137.12
    assert found.floor_mb == 12346
    assert found.models["hibari-heart"] == MEASURED.models["hibari-heart"]


def test_others_may_read_it_and_nothing_is_left_beside_it(tmp_path):
    write_profile(MEASURED, tmp_path / "a.yaml")
    write_profile(MEASURED, tmp_path / "a.yaml")
    assert [each.name for each in tmp_path.iterdir()] == ["a.yaml"]
    assert stat.S_IMODE((tmp_path / "a.yaml").stat().st_mode) == 0o644


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/a\.yaml: the profile cannot be written: "):
        write_profile(MEASURED, tmp_path / "file" / "a.yaml")
    (tmp_path / "taken.yaml").mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        write_profile(MEASURED, tmp_path / "taken.yaml")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "taken.yaml"]


def test_any_yaml_reader_finds_numbers():
    tree = yaml.safe_load(to_yaml(MEASURED.model_copy(update={"floor_mb": 1e-05})))
    assert tree["floor_mb"] == 1e-05
    assert tree["models"]["piper-anna"]["sweep"][0]["ttfa_ms"]["p95"] == pytest.approx(110)
