import ctypes

import pytest

from ttsw.system import heap


def test_freed_memory_is_counted_and_returned():
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("this C library doesn't tell how much of its heap is free")
    blocks = [bytes(100_000) for _ in range(300)]
    keep, blocks = blocks[::10], None
    assert heap.free_bytes() > 0
    heap.trim_memory()
    assert len(keep) == 30


def test_another_c_library_is_no_fault(monkeypatch):
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _name: object())
    heap.trim_memory()
    assert heap.free_bytes() == 0
