"""A lease: the right to use a model that is in memory, until it is given back."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar

V_co = TypeVar("V_co", covariant=True)


class Lease(Generic[V_co]):
    """Holds a model; use it in a `with` block, or `release` it.

    Args:
        value: The loaded model.
        give_back: Called once.
    """

    def __init__(self, value: V_co, give_back: Callable[[], None]) -> None:
        self.value = value
        self._give_back: Callable[[], None] | None = give_back
        self.revoked = False
        """Whether it should be given back as soon as that is possible: the model is to be unloaded."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it back; a second time is no fault."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()
