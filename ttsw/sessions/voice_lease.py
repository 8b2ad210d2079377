"""A session's lease on its voice, which it renews for a reload and gives back early when the manager asks for that."""

from collections.abc import Callable
from typing import Protocol, Self

from ttsw.models.leases import Lease
from ttsw.sessions.voice import Voice


class AcquireVoice(Protocol):
    """Acquires a lease on a model, loading the model first if necessary; `ModelManager.acquire` is one."""

    async def __call__(self, model_id: str, *, holder: str, fresh: bool, revoked: Callable[[], None]) -> Lease[Voice]:
        """Return a lease for `holder`, on a newly loaded model if `fresh`.

        `revoked` is called when the lease should be released as soon as possible.
        """
        ...


class VoiceLease:
    """The voice of one session: at most one lease at a time, and none while a revoked session is idle.

    A revocation takes effect when the current utterance ends. The next utterance acquires a new lease.

    Args:
        acquire: Acquires leases.
        model_id: The model.
        holder: Name of the session, as refusals to others mention it.
    """

    def __init__(self, acquire: AcquireVoice, model_id: str, holder: str) -> None:
        self._acquire, self._model_id, self._holder = acquire, model_id, holder
        self._lease: Lease[Voice] | None = None
        self._speaking = self._revoked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    async def voice(self, *, fresh: bool) -> Voice:
        """Return the voice for an utterance, newly loaded if `fresh`.

        Raises:
            TtswError: The model can't be loaded.
        """
        self._speaking = True
        if fresh or self._revoked:
            self._release()  # first, since memory may not suffice for two
        if self._lease is None:
            lease = await self._acquire(self._model_id, holder=self._holder, fresh=fresh, revoked=self._on_revoked)
            self._replace(lease)
            return lease.value
        return self._lease.value

    def utterance_ended(self) -> None:
        """Release a revoked lease, now that the session is idle."""
        self._speaking = False
        if self._revoked:
            self._release()

    def _replace(self, lease: Lease[Voice]) -> None:
        stale, self._lease = self._lease, lease
        if stale is not None:  # an utterance that was stopped meanwhile has acquired one, too
            stale.release()

    def _on_revoked(self) -> None:
        self._revoked = True
        if not self._speaking:
            self._release()

    def _release(self) -> None:
        lease, self._lease, self._revoked = self._lease, None, False
        if lease is not None:
            lease.release()
