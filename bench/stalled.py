"""Clients that stop reading: what each costs the server, what comes back, and what a healthy session notices.

500 clients, each with a connection of its own, begin to speak as fast as they can and then read nothing. A healthy
session speaks in real time meanwhile; how late its frames come is told apart while they arrive, are there, and leave
all at once. RSS is the server process's own.
"""

import time

from bench.process import Child, product, running
from bench.report import Report

CLIENTS = 500
MB = 1e6
GIVEN_BACK_S = 15.0
"""When the server has looked at its heap since they left, s."""


def run(*, quick: bool) -> Report:
    """Measure."""
    clients = 100 if quick else CLIENTS
    report = Report("stalled", f"{clients} clients that stop reading, mock voice in chunks of 0.2 s")
    with (
        product(sessions=clients + 1) as server,
        running(Child.python("bench.clients.healthy", str(server.port))) as healthy,
    ):
        healthy.line()
        before = server.child.rss_bytes() / MB
        stalled = Child.python("bench.clients.stalled", str(server.port), str(clients))
        with running(stalled):
            stalled.line()
            healthy.tell("arriving")
            arriving = healthy.result()
            time.sleep(3)  # noqa: TID251 - a bench has no loop
            there = server.child.rss_bytes() / MB
            healthy.tell("there")
            held = healthy.result()
        time.sleep(2)  # noqa: TID251
        healthy.tell("leaving")
        leaving = healthy.result()
        time.sleep(GIVEN_BACK_S)  # noqa: TID251
        after = server.child.rss_bytes() / MB
    note = f"RSS {before:.0f} → {there:.0f} MB"
    report.add("a client that stops reading", (there - before) / clients, "MB", target=0.25, note=note)
    report.add("given back after they left", (there - after) / (there - before), note=f"RSS {after:.0f} MB")
    for name, found in (("arrive", arriving), ("are there", held), ("leave all at once", leaving)):
        report.add(f"a healthy session's latest frame while they {name}", found["late_ms"], "ms", target=20)
    return report
