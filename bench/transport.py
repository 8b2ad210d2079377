"""The transport by itself: CPU of the server's process for each frame, and how soon a STOP ends its stream.

Three servers send the same ready-made messages to 100 streams of the same raw client, on one connection, as fast as
they are read: the worker's `grpc_trio`, grpc.aio (C core), and grpclib on asyncio. Rounds alternate between them;
medians count. STOP is a Control that sets a flag which the stream looks at before each message; timed while all other
streams run, from sending it to the stream's end.
"""

from contextlib import ExitStack
from statistics import median
from typing import Any

from bench.process import CLIENT_CORE, SERVER_CORE, Child, Server, reference, running
from bench.report import Report

STREAMS = 100
SERVERS = {"grpc_trio": "grpc_trio", "grpc.aio": "grpc_aio", "grpclib": "grpclib_asyncio"}
ENDLESS = 1_000_000_000


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("transport", f"{STREAMS} streams of ready-made messages on one connection")
    frames, rounds, trials = (100, 1, 20) if quick else (500, 5, 200)
    cpu = _cpu_us(frames, rounds)
    stops = {name: _stops(module, trials) for name, module in SERVERS.items()}
    for name in SERVERS:
        beside = () if name == "grpc.aio" else cpu["grpc.aio"]
        ratio = median(a / b for a, b in zip(cpu[name], beside, strict=True)) if beside else None
        reference_us = median(beside) if beside else None
        report.add(f"CPU per frame, {name}", median(cpu[name]), "µs", reference=reference_us, ratio=ratio)
    for name, found in stops.items():
        if "failed" in found:
            report.remarks.append(f"STOP, {name}: not measured: {found['failed']}")
            continue
        note = f"p50 {found['p50']:.1f}, max {found['max']:.1f}; {trials} trials"
        report.add(f"STOP to the stream's end p99, {name}", found["p99"], "ms", note=note)
    report.remarks.append("reference: grpc.aio")
    return report


def _cpu_us(frames: int, rounds: int) -> dict[str, list[float]]:
    with ExitStack() as stack:
        pairs = {}
        for name, module in SERVERS.items():
            server = stack.enter_context(reference(module, str(frames), core=SERVER_CORE))
            args = (str(server.port), str(STREAMS), "1", "100")
            client = stack.enter_context(running(Child.python("bench.clients.fast", *args, core=CLIENT_CORE)))
            client.line()
            pairs[name] = server, client
        for pair in pairs.values():  # warm
            _round(*pair)
        found = [{name: _round(*pair) for name, pair in pairs.items()} for _ in range(rounds)]
    return {name: [one[name] for one in found] for name in SERVERS}


def _round(server: Server, client: Child) -> float:
    before = server.child.usage()
    client.tell("go")
    frames: int = client.result()["frames"]
    return 1e6 * (server.child.usage() - before).cpu_s / frames


def _stops(module: str, trials: int) -> dict[str, Any]:
    with reference(module, str(ENDLESS), core=SERVER_CORE) as server:
        args = (str(server.port), str(STREAMS), "2")  # grpclib refuses a connection's 101st call, the Control
        with running(Child.python("bench.clients.stops", *args, core=CLIENT_CORE)) as client:
            client.line()
            client.tell(str(trials))
            return client.result()
