"""Engines in processes: what the way of a chunk costs, what a busy engine costs the others, that nothing is left.

The way of a chunk is timed from the engine's having it to whoever takes it, by the clock that processes of one machine
share, beside the same way from a thread. A busy engine is one in Python that takes most of a core for 20 real-time
sessions: their jitter with the engine in a process, beside that with the engine in threads of the server. Memory is
that of the server and of all its children.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import psutil

from bench.process import CLIENT_CORE, CORES, SERVER_CORE, Child, Server, product, running
from bench.report import Report
from ttsw.sessions.stats import percentile

MB = 1e6
LISTENERS = 20
BURN = 0.035
"""CPU time of the busy engine for each second of audio, s: with all that listen, 0.7 of a core."""
SETTLING_S = 5
"""How long sessions speak before they are heard: at first, the engine makes ahead what it may for each."""
SIZE_MB = 200
CYCLES = 20
PACK = "family: {family}\nmodel_id: {name}\nlanguages: [en]\naudio: {{sample_rate: 24000}}\noptions: {options}\n"


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("processes", "engines in processes of their own")
    for chunk_ms in (100, 1_000):
        for utterances in (1, 8):
            _chunks(report, chunk_ms, utterances, chunks=200 if quick else 1_000, rounds=2 if quick else 5)
    _jitter(report, seconds=3 if quick else 10, rounds=1 if quick else 3)
    for utterances in (1, 8):
        _halts(report, utterances, trials=20 if quick else 300)
    _cycles(report, cycles=3 if quick else CYCLES)
    return report


def _chunks(report: Report, chunk_ms: int, utterances: int, *, chunks: int, rounds: int) -> None:
    with running(Child.python("bench.clients.chunks", *map(str, (chunk_ms, utterances, chunks, rounds)))) as child:
        found = child.result(timeout_s=600)
    beyond = [process["p99"] - thread["p99"] for thread, process in zip(found["thread"], found["process"], strict=True)]
    told = "; ".join(
        f"{where}: p50 {median(one['p50'] for one in heard):.2f}, p99 {median(one['p99'] for one in heard):.2f}"
        for where, heard in found.items()
    )
    note = f"{told}; rounds {min(beyond):.2f} to {max(beyond):.2f}, {found['process'][0]['chunks']} chunks each"
    what = f"chunk of {chunk_ms / 1000:g} s, {utterances} at once, process over thread: difference of p99"
    report.add(what, median(beyond), "ms", target=1, sense="<", note=note)


class Setup(NamedTuple):
    """An engine in Python, and where it runs.

    Args:
        name: What to call it.
        host: `thread` or `process`.
        cores: Those that its process may use.
        burn: CPU time that it takes for each second of audio, s.
    """

    name: str
    host: str
    cores: tuple[int, ...] = (SERVER_CORE,)
    burn: float = BURN


SETUPS = (
    Setup("a busy engine in threads", "thread"),
    Setup("a busy engine in a process", "process", tuple(CORES)),
    Setup("a busy engine in a process on the server's core", "process"),
    Setup("an engine that takes nothing in a process", "process", tuple(CORES), 0.0),
)


def _jitter(report: Report, *, seconds: int, rounds: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        settings = _folders(folder) | {"PYTHONPATH": os.pathsep.join([name, os.environ.get("PYTHONPATH", "")])}
        _install(folder, "burning", "bench.clients.burning:Burning")
        _pack(folder, "burning", "voice")
        heard = list(
            zip(*[[_listen(setup, settings, seconds) for setup in SETUPS] for _ in range(rounds)], strict=True)
        )
    p99 = [[one["jitter_ms"]["p99"] for one in each] for each in heard]
    for setup, each, found in zip(SETUPS, p99, heard, strict=True):
        held: dict[str, Any] = {}
        if setup.burn and setup.host == "process":
            ratio = median(one / other for one, other in zip(each, p99[0], strict=True))
            held = {"target": 5, "sense": "<", "reference": median(p99[0]), "ratio": ratio}
        report.add(f"jitter p99, {LISTENERS} sessions on {setup.name}", median(each), "ms", note=_told(found), **held)
    report.remarks.append(
        f"busy engine: Python for {BURN * 1000:g} ms of CPU time a second of audio, one step at a time; the server has "
        f"core {SERVER_CORE}, the client core {CLIENT_CORE}; the engine's process may use {len(CORES)} cores, the "
        f"client's among them, where nothing else is said"
    )


def _listen(setup: Setup, settings: Mapping[str, str], seconds: int) -> dict[str, Any]:
    of_setup = {
        "TTSW_ENGINES__BURNING__HOST": setup.host,
        "TTSW_ENGINES__BURNING__OPTIONS__BURN": f"{setup.burn}",
    }
    with product("burning", core=SERVER_CORE, settings={**settings, **of_setup}) as server:
        engines = psutil.Process(server.child.pid).children(recursive=True)
        assert len(engines) == (setup.host == "process"), engines
        for engine in engines:
            for thread in engine.threads():
                os.sched_setaffinity(thread.id, setup.cores)  # threads to come inherit it
        args = (str(server.port), str(LISTENERS))
        with running(Child.python("bench.clients.listeners", *args, core=CLIENT_CORE)) as client:
            client.line()
            for heard_s in (SETTLING_S, seconds):
                _ask(client, str(heard_s))
                before = server.child.usage(), [_cpu_s(engine) for engine in engines]
                heard = client.result()
            used_s = (server.child.usage() - before[0]).cpu_s
            engine_s = sum(_cpu_s(engine) for engine in engines) - sum(before[1])
    return heard | {"server": used_s / seconds, "engine": engine_s / seconds}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _told(rounds_of: tuple[dict[str, Any], ...]) -> str:
    """What else is known of the frames; of the spread, the worst round counts."""
    tail, most = (max(one["jitter_ms"][which] for one in rounds_of) for which in ("p99.9", "max"))
    kernel = median(one["kernel_jitter_ms"].get("p99", 0.0) for one in rounds_of)
    spread = ", ".join(f"{one['jitter_ms']['p99']:.1f}" for one in rounds_of)
    server, engine = (median(100 * one[which] for one in rounds_of) for which in ("server", "engine"))
    cores = f"server {server:.0f} % of a core" + (f", engine {engine:.0f}" if engine else "")
    return f"rounds {spread}; p99.9 {tail:.1f}, max {most:.1f}; p99 by the kernel's times {kernel:.1f}; {cores}"


def _halts(report: Report, utterances: int, *, trials: int) -> None:
    with running(Child.python("bench.clients.halts", str(utterances), str(trials))) as child:
        found = child.result(timeout_s=600)
    note = f"p50 {found['p50']:.1f}, max {found['max']:.1f}; {trials} trials; steps of 20 ms that nothing interrupts"
    what = f"STOP to engine idle p99, {utterances} at once"
    report.add(what, found["p99"], "ms", target=100, sense="<", note=note)


class Left(NamedTuple):
    """What a server and its children have."""

    rss: int
    children: int
    descriptors: int


def _cycles(report: Report, *, cycles: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        _pack(folder, "mock", "small")
        _pack(folder, "mock", "large", size_mb=SIZE_MB)
        settings = _folders(folder) | {"TTSW_ENGINES__MOCK__HOST": "process"}
        with product(settings=settings) as server, _owner(server) as owner:
            ready = _left(server)
            small, settled = _come_and_go(server, owner, "mock-small", cycles)
            large, left = _come_and_go(server, owner, "mock-large", cycles)
    start, end = settled[-1], left[-1]
    grown = [(one.rss - start.rss) / MB for one in left]
    what = f"left behind by {cycles} loads and unloads of {SIZE_MB} MB"
    note = f"after the first {grown[0]:+.2f}, after {cycles // 2} {grown[cycles // 2 - 1]:+.2f}"
    report.add(what, grown[-1], "MB", note=f"{note}; server and engines have {end.rss / MB:.1f}")
    report.add(f"{what}, of the model", 100 * grown[-1] / SIZE_MB, "%", target=1)
    report.add(f"{what}: processes", end.children - ready.children, target=0, note=f"{ready.children} when ready")
    more = end.descriptors - ready.descriptors
    report.add(f"{what}: file descriptors", more, target=0, note=f"{ready.descriptors} when ready")
    note = f"of a model without a size, once; {cycles} of it leave {(start.rss - ready.rss) / MB:+.2f}"
    report.add("left behind by the first load and unload", (settled[0].rss - ready.rss) / MB, "MB", note=note)
    for what, at in (("load → ready", 0), ("unload → memory back", 1)):
        times, others = ([pair[at] for pair in each] for each in (small, large))
        note = f"p95 {percentile(times, 95):.0f}; of {SIZE_MB} MB {median(others):.0f}; {cycles} times"
        report.add(f"{what}, mock in a process", median(times), "ms", note=note)


def _come_and_go(
    server: Server, owner: Child, model_id: str, cycles: int
) -> tuple[list[tuple[float, float]], list[Left]]:
    """Load and unload again and again; gives how long both took, ms, and what was there after each."""
    took, left = [], []
    for _ in range(cycles):
        load, unload = (1000 * _ask(owner, f"{order} {model_id}")["took_s"] for order in ("load", "unload"))
        took.append((load, unload))
        left.append(_left(server))
    return took, left


@contextmanager
def _owner(server: Server) -> Iterator[Child]:
    with running(Child.python("bench.clients.loads", str(server.port))) as owner:
        owner.line()
        yield owner


def _left(server: Server) -> Left:
    worker = psutil.Process(server.child.pid)
    children = worker.children(recursive=True)
    rss = sum(process.memory_info().rss for process in (worker, *children))
    return Left(rss, len(children), worker.num_fds())


def _folders(folder: Path) -> dict[str, str]:
    return {
        "TTSW_MODEL_MANAGER__VOICEPACKS_DIR": str(folder / "voicepacks"),
        "TTSW_MODEL_MANAGER__STATE_DIR": str(folder / "state"),
    }


def _pack(folder: Path, family: str, name: str, **options: float) -> None:
    pack = folder / "voicepacks" / family / name
    pack.mkdir(parents=True)
    given = "{" + ", ".join(f"{option}: {value:g}" for option, value in options.items()) + "}"
    (pack / "metadata.yaml").write_text(PACK.format(family=family, name=name, options=given), "utf-8")


def _install(folder: Path, family: str, adapter: str) -> None:
    """Have whoever finds `folder` on its path find a family there, as of a package that is installed."""
    about = folder / f"{family}-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {family}\nVersion: 0\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[ttsw.adapters]\n{family} = {adapter}\n", "utf-8")


def _ask(child: Child, order: str) -> dict[str, Any]:
    child.tell(order)
    return child.result()
