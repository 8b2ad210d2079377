"""Whether control is exact under load: 48 sessions speak, and each is interrupted again and again.

STOP: the end marker must carry the number after the one in the reply. PAUSE: no audio frame may come beyond the number
in the reply, though the listener reads on for 60 ms. Then gRPC's C core cancels a Synthesize and at once begins the
next in the same session: how many are refused. Then bursts of StartSession, as many as the worker takes, from a
connection each: how many are refused.
"""

from bench.process import Child, product, running
from bench.report import Report

SESSIONS = 48


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("control", f"{SESSIONS} sessions at pacing=realtime, mock voice")
    commands = 480 if quick else 10_000
    with (
        product(sessions=SESSIONS) as server,
        running(Child.python("bench.clients.control", str(server.port), str(SESSIONS))) as client,
    ):
        client.line()
        for command in ("STOP", "PAUSE"):
            client.tell(f"{command} {commands}")
            found = client.result(600)
            note = f"{found['commands']} while speaking; the worst was off by {found['worst']} frames"
            report.add(
                f"replies to {command} that name another frame than the last", found["wrong"], target=0, note=note
            )
        trials = 80 if quick else 1_000
        client.tell(f"cancel {trials}")
        report.add("cancel, then speak: refused", client.result(600)["refused"], target=0, note=f"of {trials}")
        bursts = 10 if quick else 50
        client.tell(f"burst {bursts}")
        note = f"of {bursts * SESSIONS}, each burst of exactly the limit"
        report.add("StartSession within the limit: refused", client.result(600)["refused"], target=0, note=note)
    return report
