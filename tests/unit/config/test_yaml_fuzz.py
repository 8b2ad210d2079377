"""Whatever is in a YAML file, its reader gives what it holds or refuses it with one error."""

import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ttsw.config import load_config, shipped_dir
from ttsw.errors import ConfigError
from ttsw.packs.metadata_file import read_metadata
from ttsw.profiles.files import read_profile


def configuration(path):
    return load_config(path, {}, {})


SAMPLES = {
    configuration: [*shipped_dir("configs").glob("*.yaml")],
    read_metadata: [*shipped_dir("voicepacks").glob("*/*/metadata.yaml")],
    read_profile: [*shipped_dir("profiles").glob("*.yaml")],
}
TAGS = [
    "timestamp",
    "int",
    "float",
    "bool",
    "null",
    "binary",
    "omap",
    "pairs",
    "set",
    "map",
    "seq",
    "str",
    "merge",
    "value",
]
PIECES = [
    *(f"!!{tag} " for tag in TAGS),
    *(
        "!!python/object:os.system ",
        "!a ",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "|\n",
        ">-\n",
        "\n---\n",
    ),
    *(
        "'",
        '"',
        "\t",
        "\0",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ud7ff",
        "%YAML 9.9\n",
        "# ",
        "0b",
        "0x",
        "1:2:3",
        "1e999",
        ".nan",
    ),
    *("9" * 3000, "2026-99-99", "2001-01-01T00:00:00+99:99", "=", "~", "no", '"\\x"', '"\\ud800"'),
]
fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(params=SAMPLES)
def reader(request):
    return request.param


@pytest.fixture
def check(tmp_path, reader):
    path = tmp_path / "it.yaml"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(ConfigError):
            reader(path)

    return check


@fuzz
@given(st.binary(max_size=200))
def test_any_bytes(check, data):
    check(data)


@fuzz
@given(st.text(max_size=200) | st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map("".join))
def test_any_text(check, text):
    check(text.encode(errors="surrogatepass"))


@fuzz
@given(
    seed=st.integers(0, 2**32), pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=3), min_size=1, max_size=4)
)
def test_a_good_file_with_something_else_in_places(check, reader, seed, pieces):
    chance = random.Random(seed)
    text = good(chance.choice(SAMPLES[reader]))
    for piece in pieces:
        at = chance.randrange(len(text) + 1)
        text = text[:at] + piece + text[at + chance.choice((0, 0, 1, len(piece))) :]
    check(text.encode(errors="surrogatepass"))


def good(path: Path) -> str:
    """A file without the long lists in its middle, which only take time."""
    return path.read_text()[:3000]


def test_the_samples_are_good(reader):
    assert SAMPLES[reader]
    for path in SAMPLES[reader]:
        reader(path)
