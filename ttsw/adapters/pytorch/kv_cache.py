"""Memory of what utterances have seen: keys and values of all layers, in pages that come and go with them.

An utterance takes pages as it grows and gives them all back at its end, so that many of any length fit, and a long one
takes nothing that it doesn't use. If there are too few, there are made more, by half of what there was.
"""

from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

PAGE = 32
"""Positions in a page: 1.5 s of speech, or so."""


class KvCacheOwner(Protocol):
    """Who holds pages."""

    pages: list[int]
    closed: bool


class KvCache:
    """The pages of one model.

    Args:
        layers: How many layers there are.
        positions: How many positions to have room for from the start.
        heads: Heads of a layer.
        width: Width of a head.
        device: Where they are.
        kind: Their numbers' type.
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
        """How many pages are held."""
        return int(self.memory.shape[1]) - len(self._free)

    @torch.inference_mode()
    def reserve(self, holder: KvCacheOwner, positions: int) -> tuple[int, ...]:
        """See that a holder has pages for so many positions, and give their numbers.

        Only for the one who makes the step: what is under way in `memory` may be replaced.
        """
        with self._lock:
            while not holder.closed and len(holder.pages) * PAGE < positions:
                if not self._free:
                    self._grow()
                page = self._free.pop()
                # what is left of another's audio is hidden by a factor of 0, which hides no infinity
                self.memory[:, page] = 0
                holder.pages.append(page)
            return tuple(holder.pages)

    def free(self, holder: KvCacheOwner) -> None:
        """Take a holder's pages back, for good."""
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
