"""Continuous batching without a dedicated thread.

A thread that waits and finds no step in progress makes the next step for all waiting threads, up to the batch size; so
a step serves several utterances for the price of one, and nothing runs without demand. Each waiting utterance gets one
token per step, and its thread continues as soon as it has what it needs. The model defines the step; this module
doesn't know torch.
"""

from collections.abc import Callable, Sequence
from threading import Condition, Lock
from typing import Any, Generic, Protocol, TypeVar

import trio

POLL_S = 0.005
"""Interval at which a waiting thread checks for cancellation, seconds."""

Made = TypeVar("Made")
Taken_contra = TypeVar("Taken_contra", contravariant=True)


class BatchRow(Protocol[Taken_contra]):
    """An utterance in a batch."""

    @property
    def count(self) -> int:
        """Number of its tokens."""
        ...

    @property
    def done(self) -> bool:
        """Whether it is complete."""
        ...

    def accept(self, result: Taken_contra) -> None:
        """Add a step's result for this row: one more token."""
        ...


AnyRow = TypeVar("AnyRow", bound=BatchRow[Any])


class _Seat(Generic[AnyRow]):
    """A row whose thread waits for `goal` tokens."""

    def __init__(self, row: AnyRow, goal: int, lock: Lock) -> None:
        self.row, self.goal = row, goal
        self.served = Condition(lock)
        self.error: Exception | None = None

    @property
    def over(self) -> bool:
        return self.error is not None or self.row.done or self.row.count >= self.goal


class Batch(Generic[AnyRow, Made]):
    """Makes steps for many rows, in the threads that wait for them.

    Args:
        step: Makes one step for some rows and returns each one's result, None for a row that must wait for the next
            step. It doesn't change the rows, so that it can be repeated for each alone if it fails.
        places: Most rows per step.
    """

    def __init__(self, step: Callable[[Sequence[AnyRow]], Sequence[Made | None]], places: int) -> None:
        self._step, self._places = step, places
        self._lock = Lock()
        self._seats: list[_Seat[AnyRow]] = []
        self._stepping = False

    def __repr__(self) -> str:
        return f"<Batch: {len(self._seats)} waiting{', stepping' * self._stepping}>"

    def advance(self, row: AnyRow, tokens: int) -> None:
        """Advance a row by a number of tokens, or to its end. Only one thread at a time may call this for a row.

        Raises:
            Exception: This row's own step, or its `accept`, failed; other rows are unaffected. trio.Cancelled: The task
            that this thread works for was cancelled. A step in progress may still be made for the row, but no later
            one.
        """
        seat = _Seat(row, row.count + tokens, self._lock)
        with self._lock:
            self._seats.append(seat)
        try:
            while not seat.over:
                check_cancelled()
                self._wait_or_step(seat)
        finally:
            with self._lock:
                self._seats.remove(seat)
                successor = next((each for each in self._seats if not each.over), None)
                if successor is not None and not self._stepping:
                    successor.served.notify()
        if seat.error is not None:
            raise seat.error

    def _wait_or_step(self, seat: _Seat[AnyRow]) -> None:
        with self._lock:
            if self._stepping:
                seat.served.wait(POLL_S)
                return
            if seat.over:
                return
            self._stepping = True
            seats = [each for each in self._seats if not each.over][: self._places]
        try:
            self._serve(seats)
        finally:
            with self._lock:
                self._stepping = False
                self._seats.sort(key=seats.__contains__)  # rows not served come first in the next step
                for each in self._seats:
                    if each.over:
                        each.served.notify()

    def _serve(self, seats: Sequence[_Seat[AnyRow]]) -> None:
        """Make a step for these rows; if it fails, make one for each alone, so that only the faulty row fails."""
        try:
            results = self._step([seat.row for seat in seats])
        except Exception as error:
            if len(seats) > 1:
                for seat in seats:
                    self._serve([seat])
            else:
                seats[0].error = error
            return
        for seat, result in zip(seats, results, strict=True):
            try:
                if result is not None:
                    seat.row.accept(result)
            except Exception as error:
                seat.error = error


def check_cancelled() -> None:
    """Raise if the task that this thread works for was cancelled; do nothing in a thread that isn't trio's.

    Raises:
        trio.Cancelled: It was cancelled.
    """
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return
