"""`ttsw say`, `ttsw models` and `ttsw config`, as a person at a shell meets them."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import threading
import wave

import numpy as np
import pytest
import yaml

from tests.integration.support import PATIENCE_S, TTSW, Client, clean_environment, eventually

MOCK = {"TTSW_MODEL_MANAGER__DEFAULT_MODEL_ID": "mock-440hz", "TTSW_MODEL_MANAGER__WARMUP_ENABLED": "false"}


def ttsw(*arguments, stdin=b"", code=0, **environment):
    """Run the command to its end: what it wrote on stdout, bytes, and on stderr, text."""
    ended = subprocess.run(
        [*TTSW, *arguments], input=stdin, env=clean_environment(COLUMNS="200", **environment), timeout=PATIENCE_S,
        capture_output=True, check=False,
    )  # fmt: skip
    said = ended.stderr.decode()
    assert ended.returncode == code, said
    assert "Traceback" not in said
    return ended.stdout, said


@contextlib.contextmanager
def talking_to(*arguments):
    """Run the command with its ends in the test's hand; it is killed where it gets stuck."""
    pipe = subprocess.PIPE
    with subprocess.Popen([*TTSW, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, env=clean_environment()) as run:
        watchdog = threading.Timer(PATIENCE_S, run.kill)
        watchdog.start()
        try:
            yield run
        finally:
            watchdog.cancel()


@pytest.fixture
def say(worker):
    """Run `ttsw say` against the worker."""

    def run(*arguments, **how):
        return ttsw("say", *arguments, "--addr", f"grpc://{worker.address}", **how)

    return run


def read_wav(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 48_000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_say_writes_a_file_and_tells_how_it_went(say, tmp_path):
    stdout, said = say("Twenty characters ok", "-o", str(tmp_path / "out.wav"))
    assert not stdout
    assert said.count("\n") == 1
    for words in (f"{tmp_path}/out.wav: 1.00 s of audio", "first after", "RTF", "underruns", "LUFS"):
        assert words in said
    samples = read_wav(tmp_path / "out.wav")
    assert len(samples) == 48_000
    assert np.abs(samples).max() > 3000


def test_say_streams_a_wav_to_stdout(say):
    stdout, said = say("Ten chars.", "-o", "-", "-O", "speed=2")
    assert stdout[:4] == b"RIFF"
    assert stdout[8:12] == b"WAVE"
    assert len(stdout) == 44 + 13 * 1920
    assert said.startswith("stdout: 0.26 s of audio")


def test_say_reads_stdin_and_joins_what_comes_in_pieces(worker, tmp_path):
    with talking_to("say", "-", "-o", "-", "--addr", worker.address) as running:
        for piece in ("One sentence, grö".encode()[:-1], "ö".encode()[1:], b"sse. And a wo"):
            running.stdin.write(piece)
            running.stdin.flush()
        assert len(running.stdout.read(44 + 1920)) == 44 + 1920  # it speaks, and stdin is still open
        running.stdin.write(b"rd.")
        stdout, said = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, said
    assert b" underruns" in said
    assert len(stdout) > 40 * 1920


def test_say_without_a_worker(tmp_path):
    _, said = ttsw("say", "Twenty characters ok", "--local", "-o", str(tmp_path / "out.wav"), **MOCK)
    assert "1.00 s of audio" in said
    assert len(read_wav(tmp_path / "out.wav")) == 48_000


def test_say_has_nothing_to_say(say, tmp_path):
    keep = tmp_path / "keep.wav"
    keep.write_bytes(b"good")
    told = "error: nothing in this text can be spoken by mock-440hz, which speaks en; there is no audio\n"
    assert say("...", "-o", str(keep), code=1)[1] == told
    assert ttsw("say", "...", "-o", str(keep), "--local", code=1, **MOCK)[1] == told
    assert keep.read_bytes() == b"good"
    assert [*tmp_path.iterdir()] == [keep]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_say_leaves_the_file_of_before_and_nothing_else(worker, tmp_path, number):
    keep = tmp_path / "keep.wav"
    keep.write_bytes(b"good")
    with talking_to("say", "word " * 2000, "-o", str(keep), "-O", "pacing=realtime", "--addr", worker.address) as run:
        eventually(lambda: len([*tmp_path.iterdir()]) == 2)
        run.send_signal(number)
        _, said = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 128 + number
    assert said == (b"error: interrupted\n" if number == signal.SIGINT else b"")
    assert keep.read_bytes() == b"good"
    assert [*tmp_path.iterdir()] == [keep]


def test_a_listener_that_leaves_ends_say(worker):
    """As `ttsw say … -o - | head`: no traceback, and the worker is told."""
    with talking_to("say", "word " * 300, "-o", "-", "-O", "pacing=fast", "--addr", worker.address) as running:
        assert running.stdout.read(4) == b"RIFF"
        running.stdout.close()
        said = running.stderr.read().decode()
    assert said == "error: whoever read the audio from stdout has left\n"
    assert running.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Hi", "-O", "speed"), ("-O 'speed' is no option", "KEY=VALUE")),
        (("Hi", "-O", "sped=2"), ("unknown option 'sped'", "speed")),
        (("Hi", "--model", "no-such"), ("no model 'no-such'", "mock-440hz")),
        (("Hi", "-o", "/no/such/folder/out.wav"), ("cannot write /no/such/folder/out.wav", "No such file")),
        (("Hi", "-O", "fail_after_ms=10"), ("the mock voice failed",)),
        (("[bold]Hi[/]", "-O", "[red]x=1"), ("'[red]x'",)),
    ],
)
def test_what_say_cannot_do_is_said_in_one_line(say, arguments, words):
    stdout, said = say(*arguments, code=1)
    assert not stdout
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    for word in words:
        assert word in said


def test_say_where_there_is_no_worker(unused_port, tmp_path):
    _, said = ttsw("say", "Hi", "--addr", f"127.0.0.1:{unused_port}", code=1)
    assert said == (
        f"error: no worker at 127.0.0.1:{unused_port} (Connection refused); start one with `ttsw serve`, or name "
        "another with --addr, or speak without one: --local\n"
    )


def test_a_failure_leaves_no_audio_of_before_in_question(say, tmp_path):
    """What was heard until the failure is no whole text, and takes no whole one's place."""
    keep = tmp_path / "out.wav"
    say("Twenty characters ok", "-o", str(keep))
    before = keep.read_bytes()
    say("Twenty characters ok", "-o", str(keep), "-O", "fail_after_ms=500", code=1)
    assert keep.read_bytes() == before
    assert [*tmp_path.iterdir()] == [keep]


@pytest.fixture
def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_a_configuration_is_checked(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("worker:\n  grpc_port: 1\n")
    bad.write_text("worker:\n  grpc_prot: 1\n")
    stdout, said = ttsw("config", "check", str(good))
    assert stdout.decode().endswith("good.yaml: usable\n")
    assert not said
    stdout, said = ttsw("config", "check", str(bad), code=1)
    assert not stdout
    assert said.startswith("error: ")
    assert "line 2" in said
    assert "did you mean grpc_port?" in said


def test_a_configuration_is_shown_with_where_it_comes_from(tmp_path):
    file = tmp_path / "worker.yaml"
    file.write_text("worker:\n  grpc_port: 1\n  name: of-the-file\n")
    given = {"WORKER_NAME": "of-the-environment", "TTSW_AUDIO__LEAD_MS": "80"}
    shown, _ = ttsw("config", "show", str(file), **given)
    config = yaml.safe_load(shown)
    assert (config["worker"]["grpc_port"], config["worker"]["name"]) == (1, "of-the-environment")
    assert config["audio"]["lead_ms"] == 80
    shown, _ = ttsw("config", "show", str(file), "--origins", **given)
    rows = {line.split()[0]: line for line in shown.decode().splitlines() if line.split()}
    assert "worker.yaml, line 2" in rows["worker.grpc_port"]
    assert rows["worker.name"].split()[1:] == ["of-the-environment", "WORKER_NAME"]
    assert "TTSW_AUDIO__LEAD_MS" in rows["audio.lead_ms"]
    assert "default" in rows["worker.grpc_host"]


def test_the_version_and_the_help():
    assert ttsw("--version")[0].startswith(b"ttsw ")
    shown, _ = ttsw("--help")
    for command in (b"serve", b"say", b"config"):
        assert command in shown


@pytest.fixture
def models(start_worker, tmp_path):
    """Run `ttsw models` against a worker of its own, which has a mock voice that takes its time to load."""
    pack = tmp_path / "mock" / "slow"
    pack.mkdir(parents=True)
    (pack / "metadata.yaml").write_text(
        "family: mock\nmodel_id: slow\naudio: {sample_rate: 24000}\nlicense: CC0-1.0\n"
        "options: {load_ms: 300, size_mb: 20}\n"
    )
    worker = start_worker(
        model_manager__warmup_enabled="false", model_manager__voicepacks_dir=tmp_path, model_manager__resident_cap=2
    )

    def run(command, *arguments, **how):
        return ttsw("models", command, *arguments, "--addr", worker.address, **how)

    run.worker = worker
    return run


def listed(models):
    return {model["model_id"]: model for model in json.loads(models("list", "--json")[0])}


def test_a_model_is_listed_loaded_shown_and_unloaded(models):
    assert listed(models)["mock-slow"]["state"] == "absent"
    stdout, _ = models("load", "mock-slow")
    assert re.fullmatch(rb"mock-slow: ready after \d\.\d\d s\n", stdout)
    told = listed(models)["mock-slow"]
    assert (told["state"], told["is_loaded"], told["device"], told["license"]) == ("ready", True, "cpu", "CC0-1.0")
    assert float(told["size_mb"]) == pytest.approx(20, abs=2)
    stdout, _ = models("list")
    (line,) = [line for line in stdout.decode().splitlines() if "mock-slow" in line]
    assert line.split()[:3] == ["mock-slow", "ready", "cpu"]
    assert b"load s" in models("show", "mock-slow")[0]
    assert models("unload", "mock-slow")[0] == b"mock-slow: unloaded\n"
    assert listed(models)["mock-slow"]["state"] == "absent"
    assert float(listed(models)["mock-slow"]["size_mb"]) == pytest.approx(20, abs=2), "it is known from now on"


def test_what_cannot_be_done_with_a_model_is_said_in_a_line(models):
    for command in ("load", "unload", "show"):
        assert "no model 'nobody'" in models(command, "nobody", code=1)[1]
    worker = Client(models.worker.address)
    with worker, worker.session("mock-slow") as session_id:
        assert f"in use by session {session_id}" in models("unload", "mock-slow", code=1)[1]
        assert models("unload", "mock-slow", "--force")[0] == b"mock-slow: unloaded\n"
        assert "ttsw voices pull" in models("load", "piper-en-us-lessac-medium", code=1)[1]
    models("load", "mock-slow", "--preload-only")
    assert "127.0.0.1" in ttsw("models", "list", "--addr", "127.0.0.1:1", code=1)[1]


@pytest.mark.parametrize("as_json", [False, True])
def test_watching_writes_each_look_into_a_pipe_as_it_comes_until_interrupted(models, as_json):
    flags = ["--json"] * as_json
    with talking_to("models", "list", "--watch", *flags, "--addr", models.worker.address) as run:
        for _ in range(2):
            if as_json:
                assert "mock-440hz" in {each["model_id"] for each in json.loads(run.stdout.readline())}
            else:
                block = list(iter(run.stdout.readline, b"\n"))
                assert any(b"mock-440hz" in line for line in block)
        assert run.poll() is None
        run.send_signal(signal.SIGINT)
        _, stderr = run.communicate(timeout=PATIENCE_S)
    assert stderr == b"error: interrupted\n"
    assert run.returncode == 130


def test_a_reader_that_leaves_ends_watching_without_a_word(models):
    with talking_to("models", "list", "--watch", "--addr", models.worker.address) as run:
        run.stdout.readline()
        run.stdout.close()
        assert run.wait(PATIENCE_S) == 141
        assert run.stderr.read() == b""


def test_a_variable_that_sets_nothing_is_told_with_the_nearest():
    _, said = ttsw("config", "check", TTSW_WORKER_PORT="3")
    assert said.count("\n") == 1
    assert "variable ignored" in said
    assert "TTSW_WORKER__GRPC_PORT sets a key" in said


def test_a_configuration_that_names_what_is_not_here_is_usable_with_warnings(tmp_path):
    file = tmp_path / "worker.yaml"
    file.write_text(
        "model_manager: {default_model_id: hibari-hart, max_sessions: {nobody: 1}, gpus: [99]}\n"
        "engines: {pipr: {threads: 1}}\n"
    )
    stdout, said = ttsw("config", "check", str(file))
    assert stdout.decode().endswith("worker.yaml: usable\n")
    warnings = said.splitlines()
    assert len(warnings) == 4
    assert all(each.startswith("warning: ") for each in warnings)
    for words in (
        "model_manager.default_model_id: no model 'hibari-hart'; did you mean hibari-heart?",
        "model_manager.max_sessions: no model 'nobody'",
        "engines.pipr: no family 'pipr'; did you mean piper?",
        "no GPU 99 here",
    ):
        assert words in said


@pytest.mark.parametrize("arguments", [(), ("--origins",)])
def test_a_password_is_not_shown(arguments):
    shown = ttsw("config", "show", *arguments, TTSW_REDIS__URL="redis://alto:secret@redis.example:6379/1")[0]
    assert b"redis.example" in shown
    assert b"secret" not in shown
