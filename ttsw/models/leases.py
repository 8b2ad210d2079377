"""Lease: the counted right to use a loaded model."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar

V_co = TypeVar("V_co", covariant=True)


class Lease(Generic[V_co]):
    """Keeps a model in memory until released; use it in a `with` block, or call `release`.

    Args:
        value: The loaded model.
        on_release: Called once, at the first release.
    """

    def __init__(self, value: V_co, on_release: Callable[[], None]) -> None:
        self.value = value
        self._on_release: Callable[[], None] | None = on_release
        self.revoked = False
        """Whether the manager wants it released as soon as possible, in order to unload the model."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the lease; further calls do nothing."""
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            on_release()
