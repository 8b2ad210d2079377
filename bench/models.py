"""What it costs that models come and go: decisions, a rush on a model that loads, loads and unloads, jitter, starts.

Decisions are timed in processes of their own, without a server. All else asks a server with folders of its own, so that
what it remembers of models begins with the run. 20 real-time sessions, the server on one core and their client on the
other, are heard by turns without and with loads: the model that is the heaviest to load comes and goes in the same
process, again and again. What a first load brings into a process for good (libraries), and what it finds out for good
(size, loudness), is told apart from later loads.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.logged import SESSIONS, serve, serve_anew
from bench.process import CLIENT_CORE, SERVER_CORE, Child, running
from bench.report import Report
from bench.samples import fit
from ttsw.sessions.stats import percentile

MB, MIB = 1e6, 1 << 20
RUSH = SESSIONS // 2
SLOW = "family: mock\nmodel_id: slow\nlanguages: [en]\naudio: {sample_rate: 24000}\noptions: {load_ms: 2000}\n"
LISTENERS = 20


class Voice(NamedTuple):
    """A model, and the extra that brings it."""

    name: str
    extra: str
    model_id: str


MOCK = Voice("mock", "", "mock-440hz")
JOE = Voice("joe", "piper", "piper-en-us-joe-medium")
HIBARI = Voice("hibari", "hibari", "hibari-heart")


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("models", "models that come and go")
    there = [voice for voice in (JOE, HIBARI) if find_spec(voice.extra)]
    report.remarks += [f"{voice.name} is left out: not installed" for voice in (JOE, HIBARI) if voice not in there]
    _decisions(report, cycles=30 if quick else 500)
    _rush(report)
    for voice in there:
        _cycles(report, voice, cycles=5 if quick else 50, settled=2 if quick else 10)
    if JOE in there:
        for voice in (MOCK, *there[1:]):
            _jitter(report, voice, seconds=4 if quick else 10, rounds=1 if quick else 3)
    for voice in there:
        _starts(report, voice, starts=1 if quick else 5)
    return report


def _decisions(report: Report, *, cycles: int) -> None:
    with running(Child.python("bench.clients.decisions", str(cycles))) as child:
        found = child.result()
    with running(Child.python("bench.clients.grants", str(20 * cycles))) as child:
        take = child.result()
    events = found["events"]
    slowest = max(events, key=lambda kind: float(events[kind]["p99"]))
    what = "1 000 models known, 100 resident"
    note = f'the slowest kind, "{slowest}": {_spread(events[slowest])}'
    report.add(f"a decision, {what}: p99", events[slowest]["p99"], "ms", target=1, sense="<", note=note)
    report.add(f"ask → grant by the manager, {what}: p99", take["p99"], "ms", target=1, sense="<", note=_spread(take))
    few, most = found["resident"]
    told = "; ".join(f"{kind}: p99 {one['p99']:.3f}, {_spread(one)}" for kind, one in events.items())
    report.remarks.append(f"decisions with {few} to {most} resident, ms: {told}")


def _spread(one: dict[str, float]) -> str:
    return f"p50 {one['p50']:.3f}, max {one['max']:.2f}; p99 of CPU time {one['computed_p99']:.3f}"


def _rush(report: Report) -> None:
    with TemporaryDirectory() as name:
        pack = Path(name, "voicepacks", "mock", "slow")
        pack.mkdir(parents=True)
        (pack / "metadata.yaml").write_text(SLOW, "utf-8")
        with serve(Path(name)) as server:
            with running(Child.python("bench.clients.rush", server.port, str(RUSH), "mock-slow")) as client:
                client.line()
                before = server.child.rss_bytes()
                found = _ask(client, "rush")
                grown = server.child.rss_bytes() - before
            loads = server.lines("model loaded", "mock-slow")
    ready_s = datetime.fromisoformat(loads[0]["timestamp"]).timestamp()
    what = f"{RUSH} sessions opened at once on a model that is loading"
    note = f"all in line after {found['in_line_s']:.2f} s, {ready_s - found['in_line_at_s']:.2f} s before it was ready"
    report.add(f"{what}: loads", len(loads), target=1, note=note)
    report.add(f"{what}: served", found["served"], target=RUSH, sense=">=", note="; ".join(found["refusals"]))
    note = f"to the first {1000 * (found['first_at_s'] - ready_s):.0f}"
    report.add(f"{what}: ready to last answer", 1000 * (found["last_at_s"] - ready_s), "ms", note=note)
    report.add(f"{what}: growth of RSS", grown / MIB, "MiB", note=f"{grown / 1024 / RUSH:.1f} KiB a session")


def _cycles(report: Report, voice: Voice, *, cycles: int, settled: int) -> None:
    name, _, model_id = voice
    loads, unloads, sizes, left = [], [], [], []
    with serve_anew() as server, running(Child.python("bench.clients.loads", server.port)) as owner:
        owner.line()
        for cycle in range(1, cycles + 1):
            loaded = _ask(owner, f"load {model_id}")
            loads.append(1000 * loaded["took_s"])
            sizes.append(loaded["size_mb"])
            unloads.append(1000 * _ask(owner, f"unload {model_id}")["took_s"])
            left.append((float(cycle), float(server.child.rss_bytes())))
        backs = [line["bytes_back"] for line in server.lines("model unloaded", model_id)]
    note = f"p95 {percentile(loads[1:], 95):.0f}; the first, with its libraries and its loudness, {loads[0]:.0f}"
    report.add(f"load → ready, {name}", median(loads[1:]), "ms", note=f"{note}; {cycles} cycles")
    note = f"p95 {percentile(unloads, 95):.0f}, max {max(unloads):.0f}"
    report.add(f"unload → memory back, {name}", median(unloads), "ms", note=note)
    size, back = median(sizes), median(bytes_back or 0 for bytes_back in backs) / MB
    note = f"by the server's measure, {min(sizes):.1f} to {max(sizes):.1f}; at the first load {sizes[0]:.1f}"
    report.add(f"memory of {name}", size, "MB", note=note)
    note = f"not seen to come back {backs.count(None)} times of {len(backs)}"
    report.add(f"memory that came back, {name}", back, "MB", reference=size, ratio=back / size, note=note)
    slope, margin = (100 * value / (size * MB) for value in fit(left[settled - 1 :]))
    before, after = (left[at][1] / MIB for at in (settled - 1, -1))
    note = f"± {margin:.2f}; RSS {before:.1f} MiB after {settled}, {after:.1f} after {cycles}"
    report.add(f"left behind by each cycle, {name}", slope, "% of the model", target=1, sense="<", note=note)


def _jitter(report: Report, voice: Voice, *, seconds: int, rounds: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        _ready_s(folder, voice.model_id)  # an earlier start, which has left nothing for this one to find out but joe
        server = stack.enter_context(serve(folder, voice.model_id, core=SERVER_CORE))
        args = (server.port, str(LISTENERS))
        crowd = stack.enter_context(running(Child.python("bench.clients.listeners", *args, core=CLIENT_CORE)))
        owner = stack.enter_context(running(Child.python("bench.clients.loads", server.port, core=CLIENT_CORE)))
        for child in (crowd, owner):
            child.line()

        def listen(*orders: str) -> dict[str, Any]:
            _ask(crowd, str(seconds))
            for order in orders:
                owner.tell(order)
            loads = [owner.result() for _ in orders]
            return crowd.result() | (loads[0] if loads else {})

        first = listen(f"churn {JOE.model_id} 0")
        quiet, loud = zip(*[(listen(), listen(f"churn {JOE.model_id} {seconds}")) for _ in range(rounds)], strict=True)
    what = f"jitter p99 of {LISTENERS} sessions on {voice.name}"
    alone, busy = (median(heard["jitter_ms"]["p99"] for heard in each) for each in (quiet, loud))
    report.add(f"{what}, no load", alone, "ms", note=_gaps(quiet))
    note = f"{_gaps(loud)}; {sum(len(heard['load_s']) for heard in loud)} loads"
    ratio = busy / alone
    report.add(f"{what}, while joe loads", busy, "ms", target=10, sense="<", reference=alone, ratio=ratio, note=note)
    report.add(f"{what}, first load of joe", first["jitter_ms"]["p99"], "ms", note=_gaps([first]))


def _gaps(heard: Sequence[dict[str, Any]]) -> str:
    """What else is known of the frames; of the spread, the worst round counts."""
    tail, most = (max(each["jitter_ms"][which] for each in heard) for which in ("p99.9", "max"))
    lag = max(each["lag_ms"].get("p99", 0.0) for each in heard)
    late, frames = (sum(each[what] for each in heard) for what in ("beyond_5_ms", "frames"))
    return f"p99.9 {tail:.1f}, max {most:.1f}; {late} of {frames} beyond 5 ms; client's own lag p99 {lag:.2f}"


def _starts(report: Report, voice: Voice, *, starts: int) -> None:
    pairs = []
    for _ in range(starts):
        with TemporaryDirectory() as folder:
            pairs.append([_ready_s(Path(folder), voice.model_id) for _ in range(2)])
    first, second = (median(times) for times in zip(*pairs, strict=True))
    what = f"start to ready with {voice.name}"
    report.add(f"{what}, the first", first, "s", note=f"finds out its size and loudness; {starts} starts")
    report.add(f"{what}, the second", second, "s", reference=first, ratio=second / first, note="both are known")


def _ready_s(folder: Path, model_id: str) -> float:
    with serve(folder, model_id) as server:
        return server.ready_s


def _ask(child: Child, order: str) -> dict[str, Any]:
    child.tell(order)
    return child.result()
