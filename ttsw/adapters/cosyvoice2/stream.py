"""The frames of one utterance on their way through the flow's steps, and what is remembered of those before them.

Decides what an utterance remembers and for how long. What a step computes is `estimator`'s, for which
frames is `flow`'s.
"""

from typing import NamedTuple

import torch
from torch import Tensor

STEPS = 10
"""Steps of a chunk: the library's."""

RECENT = 4
"""Chunks of its own speech that an utterance remembers, 1 s each. The prompt is remembered whole."""


class GeneratedMel(NamedTuple):
    """What a step made for an utterance.

    Args:
        x: Its frames, shape (frames, bands), float32.
        ends: The convolutions' ends where its whole chunks end; None where it has none.
    """

    x: Tensor
    ends: Tensor | None


class MelStream:
    """The frames of one utterance, which come piece by piece. A row of the batch.

    Args:
        speaker: Whom to sound like, shape (bands,).
    """

    def __init__(self, speaker: Tensor) -> None:
        self.speaker = speaker
        self.pages: list[int] = []
        self.closed = False
        self.count = 0
        """Steps that were made."""
        self.prompt: list[int] = []
        self.recent: list[int] = []
        """Pages of the prompt's chunks and of the last ones, in use."""
        self.ends: list[Tensor] | None = None
        """Of each step the ends of the convolutions."""
        self.new: list[int] = []
        """Pages of the chunks that are being made."""
        self.given = self.x = torch.empty(0, 0)
        self.keep = 0
        self._next: list[Tensor] = []

    def __repr__(self) -> str:
        return f"<Stream: step {self.step}, {len(self.pages)} pages>"

    def fork(self) -> "MelStream":
        """Give a stream that goes on from what this one remembers as its prompt, in pages that stay this one's."""
        stream = MelStream(self.speaker)
        stream.prompt, stream.ends = [*self.prompt], self.ends
        return stream

    @property
    def done(self) -> bool:
        """Whether there will be no more: that is its owner's to know."""
        return False

    @property
    def step(self) -> int:
        """Which step is next for the frames that it has."""
        return self.count % STEPS

    def give(self, x: Tensor, given: Tensor, keep: int) -> None:
        """Take the frames that the next steps are to be made for.

        Args:
            x: Noise, shape (frames, bands), float32.
            given: What guides them, and the prompt's frames where they are the prompt's, shape (frames, 2 * bands).
            keep: How many whole chunks they begin with, to be remembered.
        """
        self.x, self.given, self.keep = x, given, keep
        self.new, self._next = [], []
        self.count = -(-self.count // STEPS) * STEPS  # what was begun before and failed is over

    def accept(self, result: GeneratedMel) -> None:
        """Take a step; see `Row.accept`."""
        self.x = result.x
        if result.ends is not None:
            self._next.append(result.ends)
        self.count += 1
        if self.step == 0 and self.keep:
            self.ends, self.recent = self._next, self.recent + self.new
            self.new, self.keep = [], 0

    def forget(self, prompt: int) -> None:
        """Set the first of the last chunks apart as the prompt's, so many, and let go of what is too old."""
        if prompt > len(self.prompt):
            count = prompt - len(self.prompt)
            self.prompt, self.recent = self.prompt + self.recent[:count], self.recent[count:]
        self.recent = self.recent[-RECENT:]
