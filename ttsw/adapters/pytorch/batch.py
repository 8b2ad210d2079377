"""Who makes the model's steps, and for whom: threads that each want something for their own utterance, together.

There is no thread of the batch's own. Whoever waits and finds nobody at work makes the next step for all who wait, as
many as there are places; so a step serves several utterances at the price of one, and nothing runs for nobody. Each
utterance that waits gets one token a step. A thread that has what it came for goes on at once. What a step does is the
model's; this knows no torch.
"""

from collections.abc import Callable, Sequence
from threading import Condition, Lock
from typing import Any, Generic, Protocol, TypeVar

import trio

POLL_S = 0.005
"""How often a thread that waits looks whether it was cancelled, s."""

Made = TypeVar("Made")
Taken_contra = TypeVar("Taken_contra", contravariant=True)


class BatchRow(Protocol[Taken_contra]):
    """An utterance, as the batch sees it."""

    @property
    def count(self) -> int:
        """How many tokens it has."""
        ...

    @property
    def done(self) -> bool:
        """Whether there will be no more."""
        ...

    def accept(self, result: Taken_contra) -> None:
        """Take what a step made for this row: a token more."""
        ...


AnyRow = TypeVar("AnyRow", bound=BatchRow[Any])


class _Seat(Generic[AnyRow]):
    """A row whose thread waits, until it has `goal` tokens."""

    def __init__(self, row: AnyRow, goal: int, lock: Lock) -> None:
        self.row, self.goal = row, goal
        self.served = Condition(lock)
        self.error: Exception | None = None

    @property
    def over(self) -> bool:
        return self.error is not None or self.row.done or self.row.count >= self.goal


class Batch(Generic[AnyRow, Made]):
    """Makes steps for many rows, in the threads that want them.

    Args:
        step: Makes one step for some rows, and gives the result of each, None for one that has to wait for the next.
            It leaves the rows as they are, so that it can be made again for each alone if it fails.
        places: How many rows one step may serve.
    """

    def __init__(self, step: Callable[[Sequence[AnyRow]], Sequence[Made | None]], places: int) -> None:
        self._step, self._places = step, places
        self._lock = Lock()
        self._seats: list[_Seat[AnyRow]] = []
        self._stepping = False

    def __repr__(self) -> str:
        return f"<Batch: {len(self._seats)} waiting{', stepping' * self._stepping}>"

    def advance(self, row: AnyRow, tokens: int) -> None:
        """Give a row so many tokens more, or all there will be. Called by one thread at a time for a row.

        Raises:
            Exception: Of this row's own step, or of its `accept`. No other row notices.
            trio.Cancelled: The task that this thread works for was cancelled. A step under way may still be made for
                the row, but none to come.
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
                self._seats.sort(key=seats.__contains__)  # who was not served is first next time
                for each in self._seats:
                    if each.over:
                        each.served.notify()

    def _serve(self, seats: Sequence[_Seat[AnyRow]]) -> None:
        """Make a step for these; if it fails, one for each by itself, so that whose fault it was is theirs alone."""
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
    """Leave if the task that this thread works for was cancelled; in a thread that isn't trio's, do nothing.

    Raises:
        trio.Cancelled: It was.
    """
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return
