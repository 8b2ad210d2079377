"""When a peer's silence is too long. Pure: is told what happened, and judges with `now`; `connection` acts on it."""

from math import inf

from ttsw.grpc_trio.settings import Settings


class Keepalive:
    """Clocks of one connection: preface, idleness, keepalive. Times are seconds of one monotonic clock."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._began = now
        self._heard = now
        self._pinged = inf
        self._idle_since = now
        self.agreed = False

    def agree(self) -> None:
        """Note that the peer speaks HTTP/2: its SETTINGS are here."""
        self.agreed = True

    def heard(self, now: float) -> None:
        """Note that bytes came."""
        self._heard = now
        self._pinged = inf

    def busy(self) -> None:
        """Note that a call is in progress."""
        self._idle_since = inf

    def idle(self, now: float) -> None:
        """Note that the last call has ended."""
        self._idle_since = now

    def judge(self, now: float) -> tuple[str, float]:
        """Return a verdict and when to ask again.

        The verdict is empty, "ping" (send one; it is taken as sent), "idle" (let the connection go), or says why the
        connection is to be closed.
        """
        settings = self._settings
        if not self.agreed:
            due = self._began + settings.preface_s
            return ("no HTTP/2 preface in time", inf) if now >= due else ("", due)
        if now >= self._pinged + settings.keepalive_timeout_s:
            return "keepalive: the peer is silent", inf
        if now >= self._idle_since + settings.idle_s:
            return "idle", inf
        verdict = ""
        if self._pinged == inf and now >= self._heard + settings.keepalive_s:
            self._pinged, verdict = now, "ping"
        ping_due = (
            self._heard + settings.keepalive_s if self._pinged == inf else self._pinged + settings.keepalive_timeout_s
        )
        return verdict, min(ping_due, min(self._idle_since, now) + settings.idle_s, now + settings.keepalive_s)
