"""What `ttsw say` takes on its command line."""

import pytest

from ttsw.cli.connect import parse_address
from ttsw.cli.say.command import parse_pairs
from ttsw.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("pairs", "options"),
    [
        ([], {}),
        (["speed=2"], {"speed": "2"}),
        (["speed=2", "speed=3"], {"speed": "3"}),
        (["name=a=b"], {"name": "a=b"}),
        (["name="], {"name": ""}),
    ],
)
def test_pairs_become_options(pairs, options):
    assert parse_pairs(pairs) == options


def test_what_is_no_pair_is_told():
    with pytest.raises(InvalidArgumentError, match="'speed' is no option; write it as KEY=VALUE"):
        parse_pairs(["a=1", "speed"])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:1", ("localhost", 1)),
        ("grpc://10.0.0.1:7002", ("10.0.0.1", 7002)),
        ("[::1]:65535", ("::1", 65_535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", ":", "host", "host:", ":7002", "host:port", "host:65536", "host:-1", "host:1.5", "::1:7002", "[::1]", "a@b:1"],
)
def test_what_is_no_address_is_told(text):
    with pytest.raises(InvalidArgumentError, match="is not an address; write HOST:PORT"):
        parse_address(text)
