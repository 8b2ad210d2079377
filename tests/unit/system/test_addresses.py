import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttsw.errors import InvalidArgumentError
from ttsw.system.addresses import is_loopback, join_address, split_address


@given(
    host=st.ip_addresses().map(str) | st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True),
    port=st.integers(0, 65_535),
)
def test_what_is_joined_is_split(host, port):
    assert split_address(join_address(host, port)) == (host, port)
    assert split_address(f"grpc://{join_address(host, port)}") == (host, port)


@pytest.mark.parametrize(
    "text", ["", "host", ":7002", "host:", "host:x", "host:70000", "::1:7002", "a b:1", "user@host:1", "host:²"]
)
def test_what_is_no_address_is_refused_with_an_example(text):
    with pytest.raises(
        InvalidArgumentError, match=r"is not an address; write HOST:PORT, for example 127\.0\.0\.1:7002"
    ):
        split_address(text)


def test_only_loopback_is_this_machine_alone():
    assert is_loopback("127.8.8.8")
    assert not is_loopback("::")
