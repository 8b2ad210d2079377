"""When free memory is given back, and that it is."""

import ctypes

import numpy as np
import pytest
import trio

from ttsw.system import memory_keeper
from ttsw.system.heap import free_bytes, trim_memory
from ttsw.system.memory_keeper import EVERY_S, WORTH_BYTES, keep_memory_low


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library doesn't tell what is free")
def test_what_is_free_is_seen_and_goes_with_a_trim():
    pieces = [np.ones(25_000) for _ in range(1_000)]  # 200 KB each: some on the heap, some mapped
    small = [bytes(20_000) for _ in range(5_000)]
    del pieces, small[:-1]  # the last one holds the heap's end
    free = free_bytes()
    assert free > 50_000_000
    trim_memory()
    assert free_bytes() >= 0


async def test_it_is_given_back_only_where_it_is_worth_it(autojump_clock, nursery, monkeypatch):
    free, trims = [0], []

    async def run_sync(call):
        await trio.lowlevel.checkpoint()
        trims.append(trio.current_time())
        free[0] = 30_000_000

    monkeypatch.setattr(memory_keeper, "free_bytes", lambda: free[0])
    monkeypatch.setattr(memory_keeper.trio.to_thread, "run_sync", run_sync)
    await nursery.start(keep_memory_low)
    free[0] = WORTH_BYTES - 1
    await trio.sleep(5 * EVERY_S)
    assert trims == []
    free[0] = WORTH_BYTES
    await trio.sleep(5 * EVERY_S)
    assert len(trims) == 1
    free[0] = WORTH_BYTES + 20_000_000
    await trio.sleep(5 * EVERY_S)
    assert len(trims) == 1, "30 MB of it could not be given back"
    free[0] = WORTH_BYTES + 30_000_000
    await trio.sleep(2 * EVERY_S)
    assert len(trims) == 2
