"""Real-time listeners and somebody who interrupts them: `python -m bench.clients.realtime PORT SESSIONS CONNECTIONS`.

Each session speaks a text, and when it is over speaks it again. A line `listen SECONDS` measures when frames arrive;
`control TRIALS` sends STOPs and PAUSEs, one each 25 ms, to sessions by turn, and measures when the audio ceases.

A frame's time is taken in user space right after the read that brought it. The kernel's own arrival time of the same
read is kept beside it: the difference is this client's own lag, and jitter by the kernel's times is free of it.
"""

import random
import sys
from collections.abc import Mapping
from time import monotonic, time_ns
from typing import Any

from bench.clients.sessions import SERVICE, SYNTHESIZE, is_empty, rounds, start_session, tell, text_chunk
from bench.samples import text_of
from bench.wire import Call, Client, Connection
from ttsw.fronts.abi.generated.tts import ControlCommand, ControlRequest
from ttsw.sessions.stats import percentile

LEAD_IN = 5
"""Frames of an utterance whose times don't count: the first come at once, as far as the lead goes."""
FRAME_NS = 20_000_000
TRIAL_EVERY_S = 0.025
HELD_S = 0.5
"""How long a session is listened to after a STOP or PAUSE before it may be used again."""
STALL_NS = 5_000_000


class Listener:
    """One session, spoken to again and again."""

    def __init__(self, crowd: "Crowd", connection: Connection, name: str) -> None:
        self.connection, self.name = connection, name
        self._crowd = crowd
        self._request = text_chunk(name, text_of(1_500))
        self.call: Call | None = None
        self.last_ns = self.last_kernel_ns = self.frames = 0
        self.busy_until = 0.0

    def speak(self) -> None:
        """Begin an utterance."""
        self.frames = 0
        self.call = self.connection.begin(SYNTHESIZE, on_message=self._hear)
        self.connection.send(self.call, self._request)
        self.connection.flush()

    def _hear(self, call: Call, frame: bytes, now: int) -> None:
        if call is not self.call or is_empty(frame):
            return
        kernel_ns = self.connection.kernel_ns
        self.frames += 1
        crowd = self._crowd
        if crowd.listening and self.frames > LEAD_IN:
            crowd.gaps_ns.append(now - self.last_ns)
            if kernel_ns and self.last_kernel_ns:
                crowd.kernel_gaps_ns.append(kernel_ns - self.last_kernel_ns)
                crowd.lags_ns.append(now - kernel_ns)
            if abs(now - self.last_ns - FRAME_NS) > STALL_NS:
                crowd.late.append((now, now - self.last_ns, now - kernel_ns if kernel_ns else 0))
        self.last_ns, self.last_kernel_ns = now, kernel_ns


class Crowd:
    """All listeners, on one thread."""

    def __init__(self, port: int, sessions: int, connections: int) -> None:
        self.client = Client(("127.0.0.1", port), stamps=True)
        links = self.client.connect(connections)
        self.listeners = [Listener(self, links[i % connections], f"load-{i:03}") for i in range(sessions)]
        self.listening = False
        self.gaps_ns: list[int] = []
        self.kernel_gaps_ns: list[int] = []
        self.lags_ns: list[int] = []
        self.late: list[tuple[int, int, int]] = []
        for listener in self.listeners:
            start_session(self.client, listener.connection, listener.name, {})

    def run_until(self, deadline: float) -> None:
        """Listen; a text that is over is spoken again."""
        while (now := monotonic()) < deadline:
            self.client.poll(min(deadline - now, 0.1))
            for listener in self.listeners:
                if listener.call is not None and listener.call.ended_ns:
                    listener.speak()

    def begin(self) -> None:
        """Begin all texts, spread over a second, as people do."""
        for listener in self.listeners:
            listener.speak()
            self.run_until(monotonic() + 1.0 / len(self.listeners))
        self.run_until(monotonic() + 1.0)

    def listen(self, seconds: float) -> Mapping[str, Any]:
        """Measure inter-arrival times."""
        self.listening = True
        began = time_ns()
        self.run_until(monotonic() + seconds)
        self.listening = False
        return {
            "frames": len(self.gaps_ns),
            "jitter_ms": _jitter(self.gaps_ns),
            "kernel_jitter_ms": _jitter(self.kernel_gaps_ns),
            "lag_ms": _spread([lag / 1e6 for lag in self.lags_ns]),
            "beyond_5_ms": len(self.late),
            "worst": [
                {"at_s": (at - began) / 1e9, "gap_ms": gap / 1e6, "client_lag_ms": lag / 1e6}
                for at, gap, lag in _worst(self.late)
            ],
        }

    def control(self, trials: int) -> Mapping[str, Any]:
        """Interrupt sessions; STOP and PAUSE by turns, `trials` of each."""
        dice = random.Random(20)
        found: dict[str, list[float]] = {"stop": [], "pause": [], "stop_reply": [], "pause_reply": [], "stop_end": []}
        open_trials: list[Trial] = []
        for number in range(2 * trials):
            ready = [
                one for one in self.listeners if one.busy_until < monotonic() and one.call and one.frames > LEAD_IN
            ]
            open_trials.append(Trial(dice.choice(ready), stop=number % 2 == 0))
            self._until_next(open_trials, found, monotonic() + TRIAL_EVERY_S * dice.uniform(0.5, 1.5))
        self._until_next(open_trials, found, monotonic() + HELD_S + 0.1)
        return {name: _spread(values) for name, values in found.items()}

    def _until_next(self, trials: "list[Trial]", found: dict[str, list[float]], deadline: float) -> None:
        while (now := monotonic()) < deadline:
            self.client.poll(min(deadline - now, 0.01))
            for trial in [trial for trial in trials if trial.over]:
                trials.remove(trial)
                trial.settle(found)


class Trial:
    """One STOP or PAUSE, sent on creation."""

    def __init__(self, listener: Listener, *, stop: bool) -> None:
        self._listener, self._stop = listener, stop
        self._kind = "stop" if stop else "pause"
        assert listener.call is not None
        self._call = listener.call
        self.ends = monotonic() + HELD_S
        listener.busy_until = self.ends + HELD_S
        self._reply = self._command(ControlCommand.STOP if stop else ControlCommand.PAUSE)
        self._sent_ns = time_ns()
        listener.connection.flush()

    def _command(self, command: ControlCommand) -> Call:
        connection = self._listener.connection
        reply = connection.begin(SERVICE + "Control")
        connection.send(reply, bytes(ControlRequest(session_id=self._listener.name, command=command)))
        return reply

    @property
    def over(self) -> bool:
        """Whether the time to listen for late frames has passed."""
        return monotonic() >= self.ends

    def settle(self, found: dict[str, list[float]]) -> None:
        """Take note of it, and let the session speak on.

        Raises:
            RuntimeError: The command was not obeyed.
        """
        listener = self._listener
        if not self._reply.ended_ns or self._reply.status != "0" or (self._stop and not self._call.ended_ns):
            raise RuntimeError(f"{self._kind} was not answered within {HELD_S} s")
        found[self._kind].append(max(0, listener.last_ns - self._sent_ns) / 1e6)
        found[f"{self._kind}_reply"].append((self._reply.ended_ns - self._sent_ns) / 1e6)
        if self._stop:
            found["stop_end"].append((self._call.ended_ns - self._sent_ns) / 1e6)
            listener.speak()
        else:
            self._command(ControlCommand.RESUME)
            listener.connection.flush()


def _worst(late: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The five largest, one for each tenth of a second: a stall makes many frames late at once."""
    by_instant: dict[int, tuple[int, int, int]] = {}
    for item in sorted(late, key=lambda item: abs(item[1] - FRAME_NS)):
        by_instant[item[0] // 100_000_000] = item
    return sorted(by_instant.values(), key=lambda item: -abs(item[1] - FRAME_NS))[:5]


def _jitter(gaps_ns: list[int]) -> Mapping[str, float]:
    return _spread([abs(gap - FRAME_NS) / 1e6 for gap in gaps_ns])


def _spread(values: list[float]) -> Mapping[str, float]:
    if not values:
        return {"count": 0}
    found = {f"p{percent:g}": percentile(values, percent) for percent in (50, 95, 99, 99.9)}
    return {"count": len(values), "max": max(values), **found}


def main() -> None:
    """Open the sessions; then what the parent asks for."""
    crowd = Crowd(*map(int, sys.argv[1:]))
    for order in rounds():
        name, _, value = order.partition(" ")
        if name == "begin":
            crowd.begin()
            tell({"begun": True})
        elif name == "listen":
            tell(crowd.listen(float(value)))
        else:
            tell(crowd.control(int(value)))


if __name__ == "__main__":
    main()
