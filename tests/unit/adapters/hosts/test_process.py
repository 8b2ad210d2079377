import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import trio

import ttsw.adapters.hosts.process as module
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.engine_processes import EngineProcesses, open_engine_processes
from ttsw.adapters.hosts.launch import Launch
from ttsw.adapters.hosts.protocol import WINDOW
from ttsw.errors import InternalError, NotFoundError, OutOfMemoryError, UnavailableError
from ttsw.testing import check_adapter
from ttsw.types import VoicePack

TROUBLE = Path(__file__).with_name("trouble.py")


def launch(**more):
    return Launch("trouble:Trouble", packages={"trouble": TROUBLE}, **more)


@pytest.fixture
def pack(tmp_path):
    def pack(load=""):
        return VoicePack("trouble", "voice", tmp_path, sample_rate=24_000, options={"load": load})

    return pack


@pytest.fixture
async def engines():
    async with open_engine_processes() as engines:
        yield engines


@pytest.fixture
async def host(engines, pack):
    return await engines.open(pack(), EngineSettings(threads=3), launch())


async def speak(host, text, taken=None, wait=None, options=None):
    taken = [] if taken is None else taken

    async def take(value, seconds):
        assert seconds >= 0
        taken.append(value)
        await trio.lowlevel.checkpoint()
        if wait is not None:
            await wait(len(taken))

    await host.speak(text, options or {}, lambda chunk: chunk, take)
    return taken


def children():
    """Engines of this process; tests of workers have other children, which outlast them."""
    return [each for each in psutil.Process().children() if "ttsw.adapters.hosts.child" in each.cmdline()]


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def until(condition):
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.01)


# What it does.


async def test_chunks_come_in_order_as_they_were_made(host):
    chunks = await speak(host, "count 5")
    assert [chunk[0] for chunk in chunks] == [0, 1, 2, 3, 4]
    assert all(chunk.dtype == np.float32 and chunk.shape == (100,) for chunk in chunks)
    chunks[0][:] = 7  # they are the taker's own


async def test_the_model_is_described_as_it_describes_itself(host, pack):
    assert host.model.pack == pack()
    assert (host.model.sample_rate, host.model.concurrency) == (24_000, 4)
    assert host.model.options["seed"].high == 100
    assert host.model.info["model_id"] == "trouble-voice"
    assert host.model.prepares
    assert "running" in repr(host)


async def test_it_passes_the_conformance_suite(host):
    await check_adapter(host)


async def test_many_speak_at_once_and_each_gets_its_own(host):
    results = {}

    async def run(count):
        results[count] = await speak(host, f"count {count}")

    async with trio.open_nursery() as nursery:
        for count in range(1, 20):
            nursery.start_soon(run, count)
    assert {count: [chunk[0] for chunk in chunks] for count, chunks in results.items()} == {
        count: list(range(count)) for count in range(1, 20)
    }


async def test_the_engine_waits_for_the_listener(host):
    gate = trio.Event()
    async with trio.open_nursery() as nursery:

        async def hold(count):
            if count == 1:
                await gate.wait()

        nursery.start_soon(speak, host, "count 50", None, hold)
        await trio.sleep(0.3)
        steps = (await speak(host, "steps"))[0][0]
        assert steps <= WINDOW + 2, "made ahead: what is taken, what is on its way, what waits to be sent"
        gate.set()


async def test_prepare_asks_the_adapter(host):
    await host.prepare({"seed": 12})
    with pytest.raises(NotFoundError, match="there is no thirteen"):
        await host.prepare({"seed": 13})


async def test_where_it_runs_is_told_and_its_memory(host):
    await until(lambda: "resident_mb" in host.about)
    assert (host.about["host"], host.about["pid"]) == ("process", str(host.pid))
    await until(lambda: host.memory.resident > 10_000_000)
    assert abs(host.memory.resident - psutil.Process(host.pid).memory_info().rss) < 30_000_000


async def test_it_has_the_environment_and_the_interpreter_it_is_given(engines, pack, tmp_path):
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    run = launch(environ={"CUDA_VISIBLE_DEVICES": "GPU-1"})
    host = await engines.open(pack(), EngineSettings(), run)
    assert (await speak(host, "environment CUDA_VISIBLE_DEVICES"))[0][0] == len("GPU-1")


async def test_what_it_prints_is_kept_for_the_log_and_disturbs_nothing(host):
    await until(lambda: len(host._tail) >= 2)
    assert sorted(host._tail) == ["loading trouble-voice", "this goes to stdout"]


# How an utterance ends early.


async def test_a_cancelled_utterance_is_left_by_the_engine_at_its_next_step(host):
    with trio.CancelScope() as scope:

        async def leave(count):
            if count == 2:
                scope.cancel()
            await trio.lowlevel.checkpoint()

        await speak(host, "slow 1000", None, leave)
    assert scope.cancelled_caught
    await until(lambda: not host.busy)
    _steps, left = (await speak(host, "steps"))[0]
    assert left == 1


async def test_cancel_before_the_first_chunk(host):
    with trio.move_on_after(0.005) as scope:
        await speak(host, "slow 1000")
    assert scope.cancelled_caught
    await until(lambda: not host.busy)
    assert [chunk[0] for chunk in await speak(host, "count 2")] == [0, 1]


async def test_a_taker_that_fails_ends_its_utterance_alone(host):
    async def fail(count):
        raise LookupError("no more")

    with pytest.raises(LookupError):
        await speak(host, "slow 1000", None, fail)
    await until(lambda: not host.busy)


async def test_what_cant_be_converted_is_an_error_of_ours(host):
    async def take(value, seconds):
        await trio.lowlevel.checkpoint()

    def convert(chunk):
        raise ValueError("no such rate")

    with pytest.raises(InternalError, match="no such rate"):
        await host.speak("count 3", {}, convert, take)
    await until(lambda: not host.busy)


async def test_an_engine_that_fails_costs_the_utterance_alone(host):
    with pytest.raises(InternalError, match="ValueError: the tensor has a hole"):
        await speak(host, "then error")
    assert len(await speak(host, "count 3")) == 3


async def test_an_engine_without_memory_says_so(host):
    with pytest.raises(OutOfMemoryError, match="CUDA out of memory"):
        await speak(host, "then memory")
    assert len(await speak(host, "count 3")) == 3


# How a process ends.


async def end_of(host, text):
    """Have a process end while three speak; returns what each got."""
    errors = []

    async def run(text):
        try:
            await speak(host, text)
        except UnavailableError as error:
            errors.append(error)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, "slow 100000")
            nursery.start_soon(run, "slow 100000")
            await until(lambda: host.busy == 2)
            nursery.start_soon(run, text)
        lost = await host.lost()
    assert len(errors) == 3
    assert {str(error) for error in errors} == {str(lost)}
    assert len(set(map(id, errors))) == 3, "each has an error of its own"
    assert gone(host.pid)
    with pytest.raises(UnavailableError):
        await speak(host, "count 1")
    with trio.fail_after(1):
        await host.close()
    return str(lost)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("then exit 7", "the engine of trouble-voice ended with exit code 7: the last words"),
        ("then kill", "the engine of trouble-voice was killed by SIGKILL, as the system does when memory runs out"),
        ("then segv", "the engine of trouble-voice was killed by SIGSEGV"),
    ],
)
async def test_a_process_that_dies_tells_those_who_speak(host, text, told):
    assert (await end_of(host, text)).startswith(told)


@pytest.mark.parametrize("text", ["then stop", "then grip"])
async def test_a_process_that_hangs_is_ended(engines, pack, monkeypatch, text):
    monkeypatch.setattr(module, "PING_S", 0.1)
    host = await engines.open(pack(), EngineSettings(), launch(answer_s=0.5))
    assert "has not answered for 0.5 s, and was killed" in await end_of(host, text)


async def test_a_step_that_never_ends_is_ended_with_its_process(engines, pack, monkeypatch):
    monkeypatch.setattr(module, "PING_S", 0.1)
    host = await engines.open(pack(), EngineSettings(), launch(step_s=0.5))
    assert "has been at one step for" in await end_of(host, "then sleep 1000")


async def test_a_process_that_talks_nonsense_is_ended(engines, pack):
    host = await engines.open(pack(), EngineSettings(), launch())
    errors = []
    try:
        await speak(host, "then garbage")
    except InternalError as error:
        errors.append(str(error))
    assert "sent an invalid message" in errors[0]
    assert gone(host.pid)


async def test_what_a_process_has_started_ends_with_it(engines, pack, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PING_S", 0.1)
    host = await engines.open(pack(), EngineSettings(), launch(answer_s=0.3))
    with pytest.raises(UnavailableError):
        await speak(host, f"then spawn {tmp_path / 'pid'}")
    await until(lambda: gone(int((tmp_path / "pid").read_text())))


async def test_close_ends_the_process_and_who_still_speaks_is_told(host):
    with pytest.RaisesGroup(pytest.RaisesExc(UnavailableError, match="was unloaded while it spoke")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, host, "slow 100000")
            await until(lambda: host.busy)
            await host.close()
            assert gone(host.pid)
    with pytest.raises(UnavailableError, match="was unloaded"):
        await speak(host, "count 1")
    with trio.move_on_after(0.05) as scope:
        await host.lost()
    assert scope.cancelled_caught, "what is closed isn't lost"


async def test_close_is_shielded_and_a_second_one_harmless(host):
    with trio.CancelScope() as scope:
        scope.cancel()
        await host.close()
    assert gone(host.pid)
    await host.close()


async def test_a_process_that_doesnt_heed_close_is_killed(engines, pack, monkeypatch):
    monkeypatch.setattr(module, "LEAVE_S", 0.2)
    host = await engines.open(pack(), EngineSettings(), launch())
    os.kill(host.pid, signal.SIGSTOP)
    with trio.fail_after(5):
        await host.close()
    assert gone(host.pid)


async def test_a_kill_from_outside_while_nobody_speaks_is_noticed(host):
    os.kill(host.pid, signal.SIGKILL)
    with trio.fail_after(5):
        assert "SIGKILL" in str(await host.lost())


async def test_when_the_owner_ends_so_do_the_processes(pack):
    with trio.CancelScope() as scope:
        async with EngineProcesses().owned() as engines:
            hosts = [await engines.open(pack(), EngineSettings(), launch()) for _ in range(2)]
            scope.cancel()
            await trio.sleep_forever()
    assert all(gone(host.pid) for host in hosts)


async def test_an_owner_that_is_cancelled_at_once_leaves_nothing():
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_engine_processes():
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert not children()


async def test_what_a_cancelled_block_closes_is_told_to_close(pack, tmp_path):
    closing = pack().options | {"close": str(tmp_path / "closed")}
    with trio.CancelScope() as scope:
        async with open_engine_processes() as engines:
            host = await engines.open(replace(pack(), options=closing), EngineSettings(), launch())
            try:
                scope.cancel()
                await trio.sleep_forever()
            finally:
                await host.close()  # noqa: ASYNC102 - it shields itself
    assert gone(host.pid)
    assert (tmp_path / "closed").read_text() == "trouble-voice"


# How a load ends.


@pytest.mark.parametrize(
    ("load", "kind", "told"),
    [
        ("exit 3", UnavailableError, "ended with exit code 3: the last words"),
        ("kill", UnavailableError, "was killed by SIGKILL"),
        ("error", InternalError, "ValueError: the tensor has a hole"),
        ("memory", OutOfMemoryError, "CUDA out of memory"),
    ],
)
async def test_a_load_that_fails_says_why_and_leaves_nothing(engines, pack, load, kind, told):
    with pytest.raises(kind, match=told):
        await engines.open(pack(load), EngineSettings(), launch())
    assert not children()


@pytest.mark.parametrize("load", ["sleep 1000", "stop", "grip"])
async def test_a_load_that_takes_too_long_is_ended(engines, pack, load):
    with pytest.raises(UnavailableError, match=r"has not loaded in 0\.5 s"):
        await engines.open(pack(load), EngineSettings(), launch(load_s=0.5))
    assert not children()


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.1, 0.3, 1.0])
async def test_a_load_that_is_cancelled_leaves_nothing(engines, pack, after_s):
    with trio.move_on_after(after_s) as scope:
        await engines.open(pack("sleep 1000"), EngineSettings(), launch())
    assert scope.cancelled_caught
    assert not children()


async def test_an_interpreter_or_an_adapter_that_isnt_there(engines, pack, tmp_path):
    with pytest.raises(UnavailableError, match="the interpreter /nowhere/python can't be run: No such file"):
        await engines.open(pack(), EngineSettings(), launch(python=Path("/nowhere/python")))
    with pytest.raises(UnavailableError, match="no_such_module"):
        await engines.open(pack(), EngineSettings(), Launch("no_such_module:Adapter"))
    with pytest.raises(UnavailableError, match="exit code 0"):
        await engines.open(pack(), EngineSettings(), launch(python=Path("/bin/true")))
    assert not children()


async def test_no_file_descriptor_is_left(engines, pack):
    before = psutil.Process().num_fds()
    for _ in range(3):
        host = await engines.open(pack(), EngineSettings(), launch())
        await host.close()
        with pytest.raises(UnavailableError):
            await engines.open(pack("exit 3"), EngineSettings(), launch())
    assert psutil.Process().num_fds() == before


# The worker's own end.


@pytest.mark.parametrize("state", ["idle", "stopped", "grip"])
def test_a_process_dies_with_its_worker_whatever_it_does(tmp_path, state):
    script = tmp_path / "worker.py"
    script.write_text(
        f"""
import os, signal, sys, trio
from pathlib import Path
from ttsw.adapters.base import EngineSettings
from ttsw.adapters.hosts.engine_processes import open_engine_processes
from ttsw.adapters.hosts.launch import Launch
from ttsw.system.logs import configure_logging
from ttsw.types import VoicePack

configure_logging("CRITICAL")

async def main():
    async with open_engine_processes() as engines, trio.open_nursery() as nursery:
        pack = VoicePack("trouble", "voice", Path(), sample_rate=24_000)
        launch = Launch("trouble:Trouble", packages={{"trouble": Path({str(TROUBLE)!r})}})
        host = await engines.open(pack, EngineSettings(), launch)
        async def take(*_): pass
        if {state!r} == "grip":
            nursery.start_soon(host.speak, "then grip", {{}}, lambda c: c, take)
            await trio.sleep(0.3)
        if {state!r} == "stopped":
            os.kill(host.pid, signal.SIGSTOP)
        print(host.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as worker:
        pid = int(worker.stdout.readline())
        assert not gone(pid)
        worker.kill()
        worker.wait()
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
        assert gone(pid)


async def test_a_block_that_ends_without_closing_its_hosts_has_lost_none(pack, capsys):
    async with open_engine_processes() as engines:
        host = await engines.open(pack(), EngineSettings(), launch())
    assert gone(host.pid)
    assert "engine lost" not in capsys.readouterr().out


# What is based on the model.


@pytest.fixture
def voice(tmp_path):
    def voice(load=""):
        return VoicePack("trouble", "anna", tmp_path, sample_rate=24_000, options={"load": load}, base="trouble-voice")

    return voice


async def loaded(host):
    """How many voices the engine has."""
    return int((await speak(host, "loaded"))[0][0])


async def test_voices_share_the_process_of_their_base(host, voice):
    one, other = await host.attach(voice()), await host.attach(voice())
    assert (one.model.pack, one.model.info["model_id"]) == (voice(), "trouble-anna")
    assert one.about["pid"] == host.about["pid"]
    assert "trouble-anna on <ProcessHost" in repr(one)
    results = {}

    async def run(name, host, count):
        results[name] = await speak(host, f"count {count}")

    async with trio.open_nursery() as nursery:
        for name, each, count in (("base", host, 3), ("one", one, 4), ("other", other, 5)):
            nursery.start_soon(run, name, each, count)
    assert {name: len(chunks) for name, chunks in results.items()} == {"base": 3, "one": 4, "other": 5}
    assert await loaded(host) == 3
    await one.close()
    assert await loaded(other) == 2
    with pytest.raises(InternalError, match="no such voice: it was never loaded, or was unloaded"):
        await speak(one, "count 1")
    with pytest.raises(NotFoundError, match="no thirteen"):
        await other.prepare({"seed": 13})


async def test_a_voice_passes_the_conformance_suite(host, voice):
    await check_adapter(await host.attach(voice()))
    assert await loaded(host) == 1


async def test_a_voice_that_cannot_be_loaded_costs_the_others_nothing(host, voice):
    with pytest.raises(InternalError, match="the tensor has a hole"):
        await host.attach(voice("error"))
    with pytest.raises(OutOfMemoryError):
        await host.attach(voice("memory"))
    assert len(await speak(host, "count 3")) == 3
    with pytest.raises(UnavailableError, match="trouble-anna is based on another model itself"):
        await (await host.attach(voice())).attach(voice())


async def test_who_leaves_while_a_voice_is_loaded_leaves_none_behind(host, voice):
    with trio.move_on_after(0.1):
        await host.attach(voice("sleep 0.5"))
    await until(lambda: not host.busy)
    assert await loaded(host) == 1


async def test_a_voice_goes_with_its_process(host, voice):
    attached = await host.attach(voice())
    with pytest.raises(UnavailableError, match="killed by SIGKILL"):
        await speak(attached, "then kill")
    assert "killed by SIGKILL" in str(await attached.lost())
    await attached.close()
    with pytest.raises(UnavailableError):
        await host.attach(voice())
    with pytest.raises(UnavailableError):
        await attached.prepare({})
