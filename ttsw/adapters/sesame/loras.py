"""LoRA voices that share a model: the weights of all of them, and what they add to a step of utterances of any.

All that are loaded lie one after the other, along their rank, so none is filled up to another's size, and an utterance
without one needs none. In a step where utterances have different voices, what comes out of the first factor is set to 0
where it is another's: three operations on each projection, however many voices there are. Where all have the same
voice, only that is computed.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

from ttsw.adapters.pytorch.llama import Adapt

NONE = 0
"""The number of no LoRA at all."""

_MASKS = 64

Pair = tuple[Tensor, Tensor]
"""The factors of what is added to a projection: shapes (rank, in) and (rank, out), the second with the scaling in
it."""

Spans = tuple[tuple[int, int, int], ...]


class _Stack(NamedTuple):
    """What voices add to one projection.

    Args:
        down: Of all, shape (ranks, in).
        up: Of all, shape (ranks, out).
        spans: Whose they are: number, first rank, first rank of the next.
    """

    down: Tensor
    up: Tensor
    spans: Spans


class Loras:
    """The LoRA voices of one model.

    Args:
        device: Where they are to be.
        kind: Their numbers' type.
    """

    def __init__(self, device: torch.device, kind: torch.dtype) -> None:
        self._device, self._kind = device, kind
        self._lock = Lock()
        self._next = NONE + 1
        # replaced as a whole, so that a step which has begun keeps what it has
        self._stacks: dict[str, _Stack] = {}
        self._masks: dict[tuple[Spans, tuple[int, ...]], Tensor] = {}

    def __repr__(self) -> str:
        return f"<Loras: {len(self.numbers)}, {self.bytes / 1e6:.1f} MB>"

    @property
    def numbers(self) -> set[int]:
        """Those that are loaded."""
        return {number for stack in self._stacks.values() for number, *_ in stack.spans}

    @property
    def bytes(self) -> int:
        """The memory that all take."""
        tensors = [each for stack in self._stacks.values() for each in (stack.down, stack.up)]
        return sum(each.numel() * each.element_size() for each in tensors)

    @torch.inference_mode()
    def add(self, pairs: Mapping[str, Pair]) -> int:
        """Load one, and give the number by which it is known.

        Args:
            pairs: What it adds, by the projection's full name.
        """
        with self._lock:
            number, stacks = self._next, dict(self._stacks)
            self._next += 1
            for name, pair in pairs.items():
                down, up = (each.to(self._device, self._kind, copy=True) for each in pair)
                spans: Spans = ()
                if name in stacks:
                    stack = stacks[name]
                    spans = stack.spans
                    down, up = torch.cat([stack.down, down]), torch.cat([stack.up, up])
                start = spans[-1][-1] if spans else 0
                stacks[name] = _Stack(down, up, (*spans, (number, start, len(down))))
            self._replace(stacks)
        return number

    @torch.inference_mode()
    def remove(self, number: int) -> None:
        """Give one's memory back. Utterances that had it are to have ended."""
        with self._lock:
            stacks = {}
            for name, stack in self._stacks.items():
                if all(each != number for each, *_ in stack.spans):
                    stacks[name] = stack
                    continue
                kept = [span for span in stack.spans if span[0] != number]
                if kept:
                    parts = [slice(start, end) for _, start, end in kept]
                    down, up = (torch.cat([each[part] for part in parts]) for each in (stack.down, stack.up))
                    stacks[name] = _Stack(down, up, _shift(kept))
            self._replace(stacks)

    def adapt(self, owners: Sequence[int], prefix: str) -> Adapt | None:
        """Give what is added to projections for some positions; nothing if no position has a LoRA.

        Args:
            owners: The number of each position's, `NONE` for none. One alone stands for all positions.
            prefix: What the projections' full names begin with.
        """
        stacks, given = self._stacks, tuple(owners)
        if not any(given):
            return None
        if len(set(given)) == 1:
            given = given[:1]

        def add(name: str, x: Tensor) -> Tensor | None:
            stack = stacks.get(prefix + name)
            return None if stack is None else self._add(stack, given, x)

        return add

    def _add(self, stack: _Stack, owners: tuple[int, ...], x: Tensor) -> Tensor | None:
        spans = tuple(span for span in stack.spans if span[0] in owners)
        if not spans:
            return None
        start, end = spans[0][1], spans[-1][2]
        inner = torch.mm(x, stack.down[start:end].T)
        if len(owners) > 1:
            inner = inner * self._mask(spans, owners)
        return torch.mm(inner, stack.up[start:end])

    def _mask(self, spans: Spans, owners: tuple[int, ...]) -> Tensor:
        """Give 1 where a rank is that of a position's own LoRA, else 0: shape (positions, ranks)."""
        key = spans, owners
        mask = self._masks.get(key)
        if mask is None:
            start = spans[0][1]
            mask = torch.zeros(len(owners), spans[-1][2] - start)
            for number, low, high in spans:
                mine = torch.tensor([each == number for each in owners])
                mask[mine, low - start : high - start] = 1
            mask = mask.to(self._device, self._kind)
            if len(self._masks) >= _MASKS:
                self._masks = {}
            self._masks[key] = mask
        return mask

    def _replace(self, stacks: dict[str, _Stack]) -> None:
        self._stacks = stacks
        self._masks = {}


def _shift(kept: Sequence[tuple[int, int, int]]) -> Spans:
    """Let spans follow each other without gaps."""
    spans: list[tuple[int, int, int]] = []
    for number, start, end in kept:
        first = spans[-1][2] if spans else 0
        spans.append((number, first, first + end - start))
    return tuple(spans)
