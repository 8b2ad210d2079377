import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ttsw.adapters.hosts.send_queue import SendQueue


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def test_what_has_room_goes_at_once(ends):
    ours, theirs = ends
    SendQueue(ours).put(b"hello")
    assert theirs.recv(100) == b"hello"


async def test_what_has_no_room_goes_in_order_as_there_is(ends, nursery):
    ours, theirs = ends
    outbox = SendQueue(ours)
    nursery.start_soon(outbox.run)
    wanted = b"".join(bytes([number]) * 100_000 for number in range(20))
    for number in range(20):
        outbox.put(bytes([number]) * 100_000)
    assert "0 messages" not in repr(outbox)
    got = b""
    reader = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    with trio.fail_after(5):
        while len(got) < len(wanted):
            got += await reader.receive_some(65_536)
    assert got == wanted
    await wait_all_tasks_blocked(0.05)
    assert repr(outbox) == "<Outbox, 0 messages waiting>"
    outbox.put(b"and more")
    assert await reader.receive_some(100) == b"and more"


async def test_when_the_other_end_is_gone_nobody_fails(ends, nursery):
    ours, theirs = ends
    outbox = SendQueue(ours)
    outbox.put(b"x" * 1_000_000)
    nursery.start_soon(outbox.run)
    await wait_all_tasks_blocked()
    theirs.close()
    await wait_all_tasks_blocked()
    outbox.put(b"x")
    fresh = SendQueue(ours)
    fresh.put(b"x")
