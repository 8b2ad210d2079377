"""100 real-time sessions on one core: how evenly frames come, how promptly STOP and PAUSE are obeyed, what it costs.

Jitter is |inter-arrival - 20 ms| for each frame of each session after the first five. Barge-in latency is the time from
sending the Control until the session's last audio frame arrives (0 where none came after it), by turns STOP and PAUSE,
one every 25 ms, while all sessions speak. The server has one core, the client the other. The client's own lag is the
time from a packet's arrival in the kernel to the client's timestamp. Two ways to connect: all sessions on one
connection, as from a gateway, and each on its own, as from as many callers.
"""

from typing import Any

from bench.process import CLIENT_CORE, SERVER_CORE, Child, product, running
from bench.report import Report

SESSIONS = 100


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("realtime", f"{SESSIONS} real-time sessions, server on one core, client on the other")
    for connections in (1, SESSIONS):
        name = "1 connection" if connections == 1 else f"{connections} connections"
        _measure(report, name, connections, seconds=2 if quick else 15, trials=20 if quick else 250)
    return report


def _measure(report: Report, name: str, connections: int, *, seconds: float, trials: int) -> None:
    with product(core=SERVER_CORE) as server:
        args = (str(server.port), str(SESSIONS), str(connections))
        with running(Child.python("bench.clients.realtime", *args, core=CLIENT_CORE)) as client:
            client.line()
            _ask(client, "begin")
            before = server.child.usage()
            heard = _ask(client, f"listen {seconds}")
            used = server.child.usage() - before
            controls = _ask(client, f"control {trials}")
    _note_jitter(report, name, heard)
    share = 100 * used.cpu_s / seconds
    kernel = f"{100 * used.system_s / seconds:.0f} % of it in the kernel" if share else ""
    report.add(f"server CPU, {name}", share, "% of a core", target=70, sense="<", note=kernel)
    for kind in ("stop", "pause"):
        _note_control(report, name, kind, controls)
    report.remarks.append(
        f"{name}: server's threads waited {1000 * used.queued_s / seconds:.1f} ms a second for the core; "
        f"{heard['beyond_5_ms']} of {heard['frames']} frames beyond 5 ms. Largest: "
        + "; ".join(
            f"{one['gap_ms']:.1f} ms at {one['at_s']:.2f} s (client's lag {one['client_lag_ms']:.1f} ms)"
            for one in heard["worst"]
        )
    )


def _note_jitter(report: Report, name: str, heard: dict[str, Any]) -> None:
    jitter, kernel, lag = heard["jitter_ms"], heard["kernel_jitter_ms"], heard["lag_ms"]
    report.add(
        f"jitter p99, {name}",
        jitter["p99"],
        "ms",
        target=5,
        sense="<",
        note=f"p50 {jitter['p50']:.2f}, p99.9 {jitter['p99.9']:.2f}, max {jitter['max']:.1f}; {jitter['count']} frames",
    )
    if kernel["count"]:
        report.add(
            f"the same by the kernel's times, {name}",
            kernel["p99"],
            "ms",
            note=f"p50 {kernel['p50']:.2f}, p99.9 {kernel['p99.9']:.2f}, max {kernel['max']:.1f}",
        )
        report.add(
            f"client's own lag p99, {name}", lag["p99"], "ms", note=f"p50 {lag['p50']:.2f}, max {lag['max']:.1f}"
        )


def _note_control(report: Report, name: str, kind: str, controls: dict[str, Any]) -> None:
    audio, reply = controls[kind], controls[f"{kind}_reply"]
    note = f"reply p50 {reply['p50']:.1f}, p99 {reply['p99']:.1f}; {audio['count']} trials"
    if kind == "stop":
        note = f"stream's end p99 {controls['stop_end']['p99']:.1f}; {note}"
    report.add(f"{kind.upper()} to last audio p99, {name}", audio["p99"], "ms", target=20, sense="<", note=note)
    report.add(f"{kind.upper()} to last audio max, {name}", audio["max"], "ms", target=50, sense="<")


def _ask(client: Child, order: str) -> dict[str, Any]:
    client.tell(order)
    return client.result()
