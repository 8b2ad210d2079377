"""Questions by the thousand, all of them valid, beside sessions that speak: no frame is late, and no thread is made."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil
import pytest

from tests.integration.support import PATIENCE_S

pytestmark = pytest.mark.alone

SESSIONS, CALLS, TRIES = 20, 1_000, 5
LATE_S = 0.020
THREADS = 8
BUSY = 0.28
"""Share of the floods' time that the worker waits for a core: 0.21 beside them alone, more where others run."""

LISTEN = """
import json, sys, time
import trio
from ttsw.fronts.abi.client import open_client
from ttsw.fronts.abi.generated.tts import TextChunk

heard = []

async def listen(client, number):
    session = f"session-{number}"
    await client.start_session(session, "mock-440hz", {"duration_ms": "600000", "chunk_ms": "200"})
    frames = heard[number]
    async with client.synthesize() as call:
        await call.send(TextChunk(session_id=session, text="x", is_final=True))
        await call.end()
        async for frame in call:
            frames.append((time.monotonic(), frame.sequence_number))
            if number == 0 and len(frames) == 50:
                print("speaking", flush=True)

async def main(port, sessions):
    heard.extend([] for _ in range(sessions))
    async with open_client("127.0.0.1", port) as client, trio.open_nursery() as nursery:
        for number in range(sessions):
            nursery.start_soon(listen, client, number)
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()
    print(json.dumps(heard))

trio.run(main, *map(int, sys.argv[1:]))
"""

ASK = """
import json, os, sys, time
import grpc

os.nice(19)  # it stands for clients on other machines
port, calls, tries = map(int, sys.argv[1:])
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
methods = [channel.unary_unary(f"/tts.TTSService/{name}") for name in ("GetCapabilities", "ListModels")]
for method in methods:
    method(b"")
floods = []
for _ in range(tries):
    time.sleep(1)
    began = time.monotonic()
    answers = [methods[number % 2].future(b"", timeout=60) for number in range(calls)]
    assert all(answer.result() for answer in answers)
    floods.append((began, time.monotonic()))
print(json.dumps(floods))
"""


def python(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def lateness(frames):
    """When each frame came, and by how much later than 20 ms after the one before: seconds."""
    return [(at, at - before - 0.02 * (number - last)) for (before, last), (at, number) in pairwise(frames)]


def queued_s(pid):
    """For how long a process's main thread was ready to run and had no core, s (Linux, sched-stats.rst)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[1]) / 1e9


def in_ms(seconds):
    return [round(each * 1000, 1) for each in seconds]


@pytest.mark.slow
def test_a_thousand_questions_at_once_delay_no_frame_and_take_no_threads(start_worker):
    worker = start_worker(worker__capabilities__max_concurrent_sessions=64)
    process = psutil.Process(worker.process.pid)
    with python(LISTEN, worker.port, SESSIONS) as listener:
        assert listener.stdout.readline() == "speaking\n"
        before = process.num_threads()
        kept_waiting_s = -queued_s(process.pid)
        most, asking = before, python(ASK, worker.port, CALLS, TRIES)
        while asking.poll() is None:
            most = max(most, process.num_threads())
        kept_waiting_s += queued_s(process.pid)
        floods = json.loads(asking.communicate(timeout=PATIENCE_S)[0])
        heard = json.loads(listener.communicate("\n", timeout=PATIENCE_S)[0])
    late = [each for frames in heard for each in lateness(frames)]
    worst = [max(by for at, by in late if began <= at <= ended + 0.1) for began, ended in floods]
    calm = [max(by for at, by in late if ended + 0.3 <= at <= ended + 0.9) for _, ended in floods[:-1]]
    took = [round(ended - began, 2) for began, ended in floods]
    told = (
        f"late by {in_ms(worst)} ms, in between by {in_ms(calm)}; {CALLS} calls took {took} s; {most - before} threads"
    )
    print(told)  # noqa: T201 - the figures
    assert most - before <= THREADS, told
    if median(calm) > LATE_S / 2 or kept_waiting_s > BUSY * sum(took):
        pytest.skip(f"this machine is too busy to tell: the worker waited {kept_waiting_s:.1f} s for a core; {told}")
    assert median(worst) <= LATE_S + median(calm), told
