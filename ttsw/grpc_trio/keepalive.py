"""Preface, keepalive and idle timeouts of one connection. Pure: `connection` passes the time and acts on the result."""

from math import inf

from ttsw.grpc_trio.settings import Settings


class Keepalive:
    """Timers of one connection. All times are seconds of one monotonic clock.

    Attributes:
        established: Whether the peer's SETTINGS have arrived.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._opened_at = now
        self._last_input = now
        self._pinged_at = inf
        self._idle_since = now
        self.established = False

    def on_settings(self) -> None:
        """Record the peer's SETTINGS, which prove that it speaks HTTP/2."""
        self.established = True

    def on_input(self, now: float) -> None:
        """Record received bytes."""
        self._last_input = now
        self._pinged_at = inf

    def on_call(self) -> None:
        """Record a call in progress."""
        self._idle_since = inf

    def on_idle(self, now: float) -> None:
        """Record the end of the last call."""
        self._idle_since = now

    def check(self, now: float) -> tuple[str, float]:
        """Return the action due now, and the time of the next check.

        The action is "" (nothing), "ping" (the caller sends a PING), "idle" (drain the connection), or the reason for
        closing the connection.
        """
        settings = self._settings
        if not self.established:
            due = self._opened_at + settings.preface_s
            return ("no HTTP/2 preface in time", inf) if now >= due else ("", due)
        if now >= self._pinged_at + settings.keepalive_timeout_s:
            return "keepalive timed out: no reply to PING", inf
        if now >= self._idle_since + settings.idle_s:
            return "idle", inf
        action = ""
        if self._pinged_at == inf and now >= self._last_input + settings.keepalive_s:
            self._pinged_at, action = now, "ping"
        ping_due = (
            self._last_input + settings.keepalive_s
            if self._pinged_at == inf
            else self._pinged_at + settings.keepalive_timeout_s
        )
        return action, min(ping_due, min(self._idle_since, now) + settings.idle_s, now + settings.keepalive_s)
