"""Several utterances on one model: who computes when.

Each `next()` of an utterance comes in a thread of its host's, and wants so many tokens. Whoever finds nobody computing
takes the lead, and computes steps for all rows that want tokens, until its own has what it wants. The others wait; each
goes on as soon as its row has its tokens, and when the leader leaves, one of them leads. So there is no thread of our
own, each row gets one token a step, and a step costs hardly more for many rows than for one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

import torch
import trio

from ttsw.adapters.xtts.gpt import Gpt
from ttsw.adapters.xtts.sampling import Sampling, choose
from ttsw.errors import InternalError

PATIENCE_S = 0.02
"""How long one who waits doesn't look whether it is cancelled."""


class Row:
    """One segment that is being generated; from `Batch.open`.

    Args:
        how: How its tokens are chosen.
        most: Tokens that it may have.
    """

    def __init__(self, how: Sampling, most: int) -> None:
        self.how, self.most = how, most
        self.slot = -1
        self.length = 0
        self.made = 0
        """Tokens chosen so far."""
        self.over = False
        """Whether it has come to its end,"""
        self.cut = False
        """by the bound, and not by itself."""
        self.token = 0
        self.wanted = 0
        self.failed = False
        self.latents: list[torch.Tensor] = []

    def take(self, latent: torch.Tensor, token: int, stop: int) -> None:
        """Take what a step has made of it."""
        self.failed = token < 0
        self.latents.append(latent)
        self.made += 1
        self.token = token
        self.cut = self.made >= self.most and token != stop
        self.over = self.failed or self.cut or token == stop
        self.wanted = 0 if self.over else max(0, self.wanted - 1)


class Batch:
    """All segments that are being generated on one model."""

    def __init__(self, gpt: Gpt) -> None:
        self._gpt = gpt
        self._changed = Condition()
        self._led = False
        self._rows: list[Row] = []
        self.steps = 0
        """Steps computed so far,"""
        self.tokens = 0
        """and tokens made in them."""

    def open(self, conditioning: torch.Tensor, text: list[int], how: Sampling, most: int) -> Row:
        """Begin a segment. It holds memory of the model until `close`.

        Args:
            conditioning: The voice's latents, shape (1, n, channels).
            text: The text's tokens.
            how: How tokens are chosen.
            most: Tokens of audio that it may have.

        Raises:
            trio.Cancelled: Nobody wants it any more.
        """
        row = Row(how, min(most, self._gpt.most))
        with self._lead():
            row.slot = self._gpt.take_slot()
            try:
                hidden, row.length = self._gpt.prefill(row.slot, conditioning, text)
                self._choose([row], hidden)
            except BaseException:
                self._gpt.give_slot(row.slot)
                raise
        return row

    def advance(self, row: Row, count: int) -> torch.Tensor:
        """Generate some more of a segment.

        Args:
            row: The segment.
            count: Tokens wanted, 1 or more; there are fewer at its end.

        Returns:
            Latents, shape (n, channels), of all tokens since the last call.

        Raises:
            InternalError: The model computes what are no numbers.
            trio.Cancelled: Nobody wants it any more.
        """
        row.wanted = 0 if row.over else max(0, count - len(row.latents))
        if row.wanted:
            self._rows.append(row)
            try:
                self._compute(row)
            finally:
                self._rows.remove(row)
        if row.failed:
            raise InternalError("the model's weights give no numbers: they are damaged, or too large for its precision")
        latents, row.latents = torch.stack(row.latents), []
        return latents

    def close(self, row: Row) -> None:
        """Give back what a segment holds; waits for the step that is being computed."""
        with self._lead(cancellable=False):
            self._gpt.give_slot(row.slot)

    def _compute(self, row: Row) -> None:
        while row.wanted:
            with self._changed:
                if self._led:
                    self._changed.wait_for(lambda: not (row.wanted and self._led), PATIENCE_S)
                leads = bool(row.wanted) and not self._led
                self._led = self._led or leads
            try:
                while leads and row.wanted:
                    trio.from_thread.check_cancelled()
                    self._step()
            finally:
                if leads:
                    self._leave()
            trio.from_thread.check_cancelled()

    def _step(self) -> None:
        """One token for each row that wants one; nothing has happened where it fails."""
        rows = [row for row in self._rows.copy() if row.wanted]
        hidden = self._gpt.step(
            [row.slot for row in rows],
            [row.length for row in rows],
            [row.token for row in rows],
            [row.made for row in rows],
        )
        for row in rows:
            row.length += 1
        self._choose(rows, hidden)
        if not all(row.wanted for row in rows):
            with self._changed:
                self._changed.notify_all()

    def _choose(self, rows: list[Row], hidden: torch.Tensor) -> None:
        gpt = self._gpt
        with torch.inference_mode():
            tokens = choose(gpt.logits(hidden), gpt.seen[[row.slot for row in rows]], [row.how for row in rows])
            tokens = tokens.where(hidden.isfinite().all(-1), -1)
        for row, latent, token in zip(rows, hidden, tokens.tolist(), strict=True):
            row.take(latent, token, gpt.stop)
        self.steps += 1
        self.tokens += len(rows)

    @contextmanager
    def _lead(self, *, cancellable: bool = True) -> Iterator[None]:
        """Be the only one who computes, for a block."""
        with self._changed:
            while not self._changed.wait_for(lambda: not self._led, PATIENCE_S):
                if cancellable:
                    trio.from_thread.check_cancelled()
            self._led = True
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._changed:
            self._led = False
            self._changed.notify_all()
