"""What the server keeps: memory of an idle session, and whether memory grows with utterances.

RSS of the server's process, read from outside. Idle sessions are opened over gRPC and left alone, on one connection and
each on its own; the cost of one is the slope of RSS over their number. Then short utterances (mock voice, one word) on
20 sessions, 10 000 of them: the slope of RSS over the utterances after the first 2 000, with its 95 % interval. It
passes where the interval reaches below 16 bytes an utterance: no Python object is smaller, so none is left behind.
"""

import resource

from bench.process import Child, product, running
from bench.report import Report
from bench.samples import fit

KIB = 1024
SESSIONS_TARGET_KIB = 100
SMALLEST_OBJECT_BYTES = 16
STREAMS = 20


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("memory", "RSS of the server's process")
    _idle_sessions(report, "on one connection", "shared", 400 if quick else 2_000)
    _idle_sessions(report, "with a connection each", "own", 200 if quick else 1_000)
    _utterances(report, warm=400 if quick else 2_000, total=1_200 if quick else 10_000)
    return report


def _idle_sessions(report: Report, name: str, way: str, most: int) -> None:
    step = most // 10
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * most)), hard))
    with (
        product(sessions=most) as server,
        running(Child.python("bench.clients.idle", str(server.port), way)) as client,
    ):
        client.line()
        points = []
        for there in range(0, most + 1, step):
            client.tell(str(step if there else 0))
            assert client.result()["sessions"] == there
            points.append((float(there), server.child.rss_bytes() / KIB))
    line = fit(points[1:])  # the first of anything brings code into memory
    report.add(
        f"an idle session, {name}",
        line.slope,
        "KiB",
        target=SESSIONS_TARGET_KIB,
        note=f"±{line.margin:.1f}; {most} sessions, RSS {points[0][1] / KIB:.0f} → {points[-1][1] / KIB:.0f} MiB",
    )


def _utterances(report: Report, *, warm: int, total: int) -> None:
    step = 100
    with product() as server, running(Child.python("bench.clients.utterances", str(server.port), str(STREAMS))) as load:
        load.line()
        points = []
        for spoken in range(step, total + 1, step):
            load.tell(str(step))
            if not load.result()["frames"]:
                raise RuntimeError("no frames came")
            points.append((float(spoken), float(server.child.rss_bytes())))
    later = [point for point in points if point[0] >= warm]
    line = fit(later)
    note = f"slope {line.slope:.1f} ± {line.margin:.1f}; {_mib(later[0])} after {warm}, {_mib(later[-1])} after {total}"
    least = line.slope - line.margin
    report.add("growth with each utterance, at least", least, "bytes", target=SMALLEST_OBJECT_BYTES, note=note)


def _mib(point: tuple[float, float]) -> str:
    return f"{point[1] / KIB / KIB:.1f} MiB"
