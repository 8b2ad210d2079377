"""A worker that isn't there: the error says where it was looked for, why it failed, and what to do."""

import pytest
import trio

from ttsw.cli import connect as reaching
from ttsw.cli.connect import open_worker
from ttsw.errors import NotFoundError, UnavailableError


async def test_where_nobody_listens_the_error_says_what_to_do():
    with pytest.raises(UnavailableError) as caught:
        async with open_worker(("127.0.0.1", 1), "do without"):
            pass
    assert str(caught.value) == (
        "no worker at 127.0.0.1:1 (Connection refused); start one with `ttsw serve`, or name another with --addr, "
        "or do without"
    )


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (("::1", 7002), "no worker at [::1]:7002 (gone); start one with"),
        (("10.0.0.1", 1), "no worker at 10.0.0.1:1 (gone); start one there with"),
    ],
)
def test_an_address_is_told_as_it_is_given(address, words):
    fault = "can't connect to [::1]:7002: [Errno 111] gone"
    assert reaching._nobody(address, fault, "").startswith(words)


async def test_a_fault_of_one_who_is_there_is_his_own():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, listeners)
        with pytest.raises(NotFoundError, match="mine"):
            async with open_worker(("127.0.0.1", listeners[0].socket.getsockname()[1])):
                raise NotFoundError("mine")
        nursery.cancel_scope.cancel()
