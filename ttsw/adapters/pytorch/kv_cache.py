"""Paged KV cache: keys and values of all layers, in pages allocated per utterance.

An utterance takes pages as it grows and frees them at its end, so that many of any length fit, and none takes more than
it uses. If the pages run out, the cache grows by half.
"""

from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

PAGE = 32
"""Positions per page: about 1.5 s of speech."""


class KvCacheOwner(Protocol):
    """An owner of pages."""

    pages: list[int]
    closed: bool


class KvCache:
    """The pages of one model.

    Args:
        layers: Number of layers.
        positions: Initial capacity, positions.
        heads: Heads per layer.
        width: Width of a head.
        device: Device of the cache.
        kind: Data type.
    """

    def __init__(
        self,
        layers: int,
        positions: int,
        heads: int,
        width: int,
        device: torch.device,
        *,
        kind: torch.dtype = torch.float32,
    ) -> None:
        self._lock, self._kind = Lock(), kind
        self._shape = (layers, PAGE, 2, heads, width)
        self._device = device
        count = -(-positions // PAGE)
        self._free = list(range(count))
        self.memory = self._make(count)
        """Keys and values, shape (layers, pages, PAGE, 2, heads, width)."""

    def __repr__(self) -> str:
        return f"<Pages: {len(self._free)} of {self.memory.shape[1]} free>"

    @property
    def in_use(self) -> int:
        """Number of pages in use."""
        return int(self.memory.shape[1]) - len(self._free)

    @torch.inference_mode()
    def reserve(self, holder: KvCacheOwner, positions: int) -> tuple[int, ...]:
        """Ensure that an owner has pages for a number of positions, and return their indices.

        Only the thread that makes the step may call this: `memory` may be replaced.
        """
        with self._lock:
            while not holder.closed and len(holder.pages) * PAGE < positions:
                if not self._free:
                    self._grow()
                page = self._free.pop()
                # stale values are masked by a factor of 0, which doesn't mask infinities
                self.memory[:, page] = 0
                holder.pages.append(page)
            return tuple(holder.pages)

    def free(self, holder: KvCacheOwner) -> None:
        """Free an owner's pages."""
        with self._lock:
            holder.closed = True
            self._free += holder.pages
            holder.pages = []

    def _grow(self) -> None:
        count = int(self.memory.shape[1])
        more = max(1, count // 2)
        self.memory = torch.cat([self.memory, self._make(more)], dim=1)
        self._free += range(count, count + more)

    def _make(self, count: int) -> Tensor:
        layers, *shape = self._shape
        with torch.inference_mode():
            return torch.zeros((layers, count, *shape), device=self._device, dtype=self._kind)
