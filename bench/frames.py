"""What a frame costs: CPU time of the server's process, the worker's whole way against grpc.aio with nothing to do.

Both servers stream to 100 calls of the same client at once. The worker (`ttsw serve`, mock voice, `pacing=fast`) makes
the audio, shapes, frames and encodes it; grpc.aio (C core) sends messages that are encoded already. Rounds alternate
between the two, each round gives a ratio, and the median counts. Three clients: raw sockets on one connection, raw
sockets on a connection for each stream, and grpc.aio's own.
"""

from contextlib import ExitStack
from statistics import median

from bench.process import CLIENT_CORE, SERVER_CORE, Child, Server, product, reference, running
from bench.report import Report

STREAMS = 100
LOADS = (
    ("raw client, 1 connection", "fast", 1),
    ("raw client, 100 connections", "fast", STREAMS),
    ("grpc.aio client, 1 channel", "fast_grpc", 1),
)


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("frames", f"server CPU per frame, {STREAMS} streams as fast as they go")
    rounds, characters = (1, 100) if quick else (4, 240)
    for name, module, connections in LOADS:
        _compare(report, name, module, connections, rounds=rounds, characters=characters)
    return report


def _compare(report: Report, name: str, module: str, connections: int, *, rounds: int, characters: int) -> None:
    frames = characters * 50 // 20
    with ExitStack() as stack:
        servers = (
            stack.enter_context(product(core=SERVER_CORE)),
            stack.enter_context(reference("grpc_aio", str(frames), core=SERVER_CORE)),
        )
        args = (str(STREAMS), str(connections), str(characters))
        clients = [
            stack.enter_context(
                running(Child.python(f"bench.clients.{module}", str(server.port), *args, core=CLIENT_CORE))
            )
            for server in servers
        ]
        for client in clients:
            client.line()
        pairs = list(zip(servers, clients, strict=True))
        for pair in pairs:  # warm
            _round(*pair)
        found = [[_round(*pair) for pair in pairs] for _ in range(rounds)]
    ours, theirs = ([1e6 * cpu_s / frames for cpu_s, frames in column] for column in zip(*found, strict=True))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    report.add(
        f"CPU per frame, {name}",
        median(ours),
        "µs",
        target=1.0,
        reference=median(theirs),
        ratio=median(ratios),
        target_is_ratio=True,
        note=f"grpc.aio server; ratios of {rounds} rounds {min(ratios):.2f}–{max(ratios):.2f}",
    )


def _round(server: Server, client: Child) -> tuple[float, int]:
    before = server.child.usage()
    client.tell("go")
    frames: int = client.result()["frames"]
    if not frames:
        raise RuntimeError("no frames came")
    return (server.child.usage() - before).cpu_s, frames
