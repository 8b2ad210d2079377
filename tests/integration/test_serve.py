"""`ttsw serve`: how it says that it serves, how it stops, what it logs, and how it refuses to start."""

import contextlib
import json
import signal
import socket
import subprocess

import grpc
import pytest

from tests.integration.support import (
    TTSW,
    check_frames,
    clean_environment,
    eventually,
    refused,
    serve_in_vain,
)
from ttsw.app import OPEN
from ttsw.fronts.abi.generated.tts import ErrorCode

COLD = {"model_manager__warmup_enabled": "false"}


# ---- starting


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (("--gpu", "99"), {}, "no GPU 99 here, which --gpu or model_manager.gpus asks for"),
        ((), {"TTSW_MODEL_MANAGER__GPUS": "99"}, "no GPU 99 here"),
        ((), {"TTSW_ENGINES__PIPER__DEVICE": "cuda:99"}, "no GPU 99 here, which engines.piper.device asks for"),
    ],
)
def test_a_gpu_that_is_not_here_is_no_reason_to_serve_on_the_cpu(arguments, variables, words):
    said = serve_in_vain("--adapter", "mock", *arguments, **variables)
    assert words in said
    assert said.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("host", "shown", "is_open"),
    [
        ("0.0.0.0", "0.0.0.0", True),
        ("127.0.0.1", "127.0.0.1", False),
        ("::1", "[::1]", False),
        ("localhost", None, False),
    ],
)
def test_where_it_listens_is_said_and_what_that_means(tmp_path, host, shown, is_open):
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    log = tmp_path / "log"
    line = [*TTSW, "serve", "--adapter", "mock", "--port", "0", "--host", host]
    environment = clean_environment(TTSW_MODEL_MANAGER__WARMUP_ENABLED="false")
    with (
        log.open("wb") as stderr,
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment) as run,
    ):
        ready = run.stdout.readline()
        addr = ready.strip().removeprefix("ready grpc://")
        if shown is not None:
            assert addr.rpartition(":")[0] == shown
        said = subprocess.run(
            [*TTSW, "models", "list", "--addr", addr], capture_output=True, env=environment, timeout=60, check=False
        )
        run.terminate()
    assert b"mock-440hz" in said.stdout, said.stderr
    told = [json.loads(each) for each in log.read_text().splitlines()]
    assert [each["what"] for each in told if each["event"] == "open to the network"] == [OPEN] * is_open


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


# ---- stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_speech_finish_and_takes_no_new_work(start_worker, connect, number):
    own = start_worker(**COLD)
    client, newcomer = connect(own), connect(own)
    speaking, idle = client.start(duration_ms=2500), client.start()
    call = client.open(speaking, "a")
    frames = [next(call)]
    newcomer.capabilities()
    own.signal(number)
    eventually(lambda: own.lines("draining"))
    answer = newcomer.try_start("too-late")
    assert (answer.success, answer.error) == (False, ErrorCode.UNAVAILABLE)
    assert "draining" in answer.message
    code, text = refused(newcomer.open(idle, "Too late."))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "another worker" in text
    frames.extend(call)
    check_frames(frames, speaking)
    assert len(frames) == 125
    assert own.wait() == 0
    (drained,) = own.lines("drained")
    assert drained["utterances_cut"] == 0


def test_speech_beyond_the_drain_time_is_cut_with_a_status(start_worker, connect):
    own = start_worker(worker__drain_timeout_s="0.2", **COLD)
    client = connect(own)
    call = client.open(client.start(duration_ms=60_000), "a")
    next(call)
    own.signal(signal.SIGTERM)
    code, text = refused(call)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "the worker has stopped" in text
    assert own.wait() == 0
    (line,) = own.lines("utterance")
    assert line["cause"] == "session ended"


def test_a_second_sigint_ends_it_at_once(start_worker, connect):
    own = start_worker(**COLD)
    client = connect(own)
    call = client.open(client.start(duration_ms=60_000), "a")
    next(call)
    own.signal(signal.SIGINT)
    eventually(lambda: own.lines("draining"))
    own.signal(signal.SIGINT)
    assert own.wait(10) == 130
    with pytest.raises(grpc.RpcError):
        list(call)


def test_a_signal_while_it_starts_ends_it_in_order(start_worker):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    slow = {"engines__mock__options__delay_ms": 30_000}  # it warms up for two minutes
    own = start_worker("--adapter", "mock", "--port", str(port), ready=False, **slow)
    eventually(lambda: accepts(port))
    own.signal(signal.SIGTERM)
    assert own.wait() == 0
    assert "Traceback" not in own.log.read_text()


def accepts(port):
    """Whether somebody listens on a port."""
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=30):
        return True
    return False


def test_a_rude_connection_does_not_disturb_the_end(start_worker):
    """The worker lingers with a peer that broke the protocol, to tell it so; a drain may come in between."""
    own = start_worker(**COLD)
    with socket.create_connection(("127.0.0.1", own.port), timeout=30) as rude:
        rude.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while rude.recv(4096):  # its end of the connection is closed now, and it waits for ours
            pass
        own.signal(signal.SIGTERM)
        assert own.wait() == 0


# ---- watching


def test_sigusr1_logs_the_nursery_tree(start_worker, connect):
    own = start_worker(**COLD)
    client = connect(own)
    call = client.open(client.start("talker", duration_ms=60_000), "a")
    next(call)
    own.signal(signal.SIGUSR1)
    eventually(lambda: own.lines("task tree"))
    tree = "\n".join(own.lines("task tree")[0]["tree"])
    for task in ("ModelManager.run", "gRPC listener", "session talker", "utterance of talker", "watch_signals"):
        assert task in tree
    call.cancel()
    client.end("talker")


def test_each_utterance_is_one_line_of_json(worker, client):
    with client.session(pacing="fast", fail_after_ms=500, chunk_ms=100) as session_id:
        refused(client.open(session_id, "Twenty characters ok"))
    failed = worker.utterance(session_id)
    with client.session() as session_id:
        frames = client.speak(session_id, "Ten chars.")
    line = worker.utterance(session_id)
    assert line["model_id"] == "mock-440hz"
    assert (line["level"], line["cause"]) == ("info", "finished")
    assert (line["frames"], line["audio_s"], line["characters"], line["segments"]) == (len(frames), 0.5, 10, 1)
    assert 0 < line["ttfa_ms"] < 10_000
    assert 0 <= line["rtf"] < 10
    assert {"underruns", "largest_gap_ms", "timestamp"} <= set(line)
    assert "error" not in line
    assert (failed["level"], failed["cause"]) == ("warning", "failed")
    assert "fail_after_ms" in failed["error"]


def test_the_environment_configures_it(start_worker, connect):
    own = start_worker(logging__level="warning", logging__include_session_id="false", **COLD)
    client = connect(own)
    refused(client.open(client.start(fail_after_ms=10), "Fails."))
    (line,) = eventually(own.lines)
    assert (line["event"], line["level"]) == ("utterance", "warning")
    assert "session_id" not in line


# ---- refusing


def test_a_port_that_is_taken(worker):
    said = serve_in_vain("--port", str(worker.port), "--adapter", "mock", TTSW_MODEL_MANAGER__WARMUP_ENABLED="false")
    assert said.startswith(f"error: cannot listen on 127.0.0.1:{worker.port}: another program does")
    assert "another port with --port" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("--default-model", "no-such"), {}, ("no model 'no-such'", "mock-440hz", "piper-en-us-joe-medium")),
        (("--adapter", "no-such"), {}, ("no voice pack of family 'no-such'", "hibari, mock, piper")),
        (("--port", "70000"), {}, ("worker.grpc_port", "70000", "flag")),
        ((), {"TTSW_WORKER__GRPC_PROT": "1"}, ("TTSW_WORKER__GRPC_PROT", "did you mean TTSW_WORKER__GRPC_PORT?")),
        ((), {"LOG_LEVEL": "LOUD"}, ("LOG_LEVEL", "LOUD", "WARNING")),
        ((), {"TTSW_WORKER__TLS_CERT": "/no.pem", "TTSW_WORKER__TLS_KEY": "/no.key"}, ("/no.pem", "/no.key")),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(arguments, environment, said):
    cold = {"TTSW_MODEL_MANAGER__WARMUP_ENABLED": "false"}
    line = serve_in_vain("--port", "0", *(arguments or ("--adapter", "mock")), **cold, **environment)
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    for words in said:
        assert words in line


def test_all_faults_of_a_file_are_told_with_their_lines(tmp_path):
    file = tmp_path / "worker.yaml"
    file.write_text("worker:\n  grpc_port: high\n  nmae: joe\nadio:\n  lead_ms: 40\n")
    said = serve_in_vain("--config", str(file))
    for words in ("error: ", "grpc_port", "nmae", "adio", "worker.yaml, line 2"):
        assert words in said
