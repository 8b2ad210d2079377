"""Whatever goes wrong on the command line ends in a line and an exit code, with every command."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest
import typer

from tests.integration.forks import Case, run_all
from tests.integration.support import TTSW, clean_environment
from ttsw.cli.main import app

NOBODY = "127.0.0.1:1"
"""Where nobody listens."""

RIGHT = {
    ("serve",): ["--config", "/dev/null/none.yaml"],
    ("say",): ["Hello there.", "--local", "--model", "mock-440hz", "-o", "-"],
    ("workers",): ["--redis", "redis://127.0.0.1:1"],
    ("bench",): ["--cpu", "--model", "nobody"],
    ("models", "list"): ["--addr", NOBODY],
    ("models", "show"): ["mock-440hz", "--addr", NOBODY],
    ("models", "load"): ["mock-440hz", "--addr", NOBODY],
    ("models", "unload"): ["mock-440hz", "--addr", NOBODY],
    ("voices", "list"): ["--json"],
    ("voices", "show"): ["mock-440hz"],
    ("voices", "check"): ["mock-440hz"],
    ("voices", "add"): ["/dev/null/none"],
    ("voices", "pull"): ["nobody"],
    ("voices", "remove"): ["mock-440hz", "--yes"],
    ("voices", "calibrate"): ["nobody"],
    ("voices", "clone"): ["anna", "/dev/null/none.wav"],
    ("voices", "clips"): ["--json"],
    ("voices", "unclone"): ["nobody"],
    ("engines", "list"): [],
    ("engines", "install"): ["nobody"],
    ("engines", "check"): ["nobody"],
    ("engines", "remove"): ["nobody", "--yes"],
    ("profiles", "list"): [],
    ("profiles", "show"): ["rtx4090"],
    ("profiles", "diff"): ["l4", "l40s"],
    ("profiles", "plan"): ["--vram", "24GB"],
    ("profiles", "verify"): ["nobody"],
    ("config", "check"): [],
    ("config", "show"): [],
}
"""For each command, arguments with which it is done in a moment; it says something on stdout, or fails."""

WRONG = "/dev/null/\N{SNOWMAN}[/none]\x1b"
"""No number, no file, no name of anything, and hard to print."""


def commands() -> Iterator[tuple[tuple[str, ...], object]]:
    """Walk over every command that there is."""

    def walk(command, path):
        if not hasattr(command, "list_commands"):
            yield path, command
        else:
            for name in command.list_commands(None):
                yield from walk(command.get_command(None, name), (*path, name))

    yield from walk(typer.main.get_command(app), ())


COMMANDS = dict(commands())


def wrongly(path, command) -> Iterator[list[str]]:
    """Give the command lines that have one option wrong each, and those without arguments and with one too many."""
    needed = [WRONG for each in command.params if each.param_type_name == "argument" and each.required]
    yield [*path, "--no-such-option"]
    yield [*path, *needed, *(["surplus"] * 20)]
    if needed:
        yield [*path, *needed]
        yield [*path]
    for each in command.params:
        if each.param_type_name == "option" and each.name != "help":
            option = max(each.opts, key=len)
            given = [f"{option}=x"] if each.is_flag else [option, WRONG]
            yield [*path, *given, *needed]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    return clean_environment(
        XDG_DATA_HOME=str(folder / "data"), XDG_STATE_HOME=str(folder / "state"), HOME=str(folder),
        TTSW_MODEL_MANAGER__WARMUP_ENABLED="false", TTSW_MODEL_MANAGER__DEFAULT_MODEL_ID="mock-440hz",
    )  # fmt: skip


def check(case, outcome, *, fails=True):
    told = f"{case} ended with {outcome.code}: {outcome.err[-1500:]}"
    assert "Traceback" not in outcome.err, told
    assert "fault of ttsw's own" not in outcome.err, told
    assert "Exception ignored" not in outcome.err, told
    assert outcome.code in {0, 1, 2, 130, 141}, told
    if fails:
        assert outcome.code != 0, told
        if case.stderr == "file" and outcome.code != 141:
            assert outcome.err or "Usage:" in outcome.out, told


def test_every_command_has_arguments_here():
    assert set(RIGHT) == set(COMMANDS)


def test_no_option_of_any_command_can_be_wrong_without_a_line_that_says_so(environment):
    cases = [Case(line) for path, command in COMMANDS.items() for line in wrongly(path, command)]
    assert len(cases) > 100
    for case, outcome in zip(cases, run_all(cases, environment), strict=True):
        check(case, outcome)


@pytest.mark.parametrize("stdout", ["closed", "full", "gone"])
def test_a_result_that_cannot_be_written_is_a_failure(environment, stdout):
    cases = [Case([*path, *RIGHT[path]], stdout=stdout) for path in COMMANDS]
    for case, outcome in zip(cases, run_all(cases, environment), strict=True):
        check(case, outcome)
        if stdout == "gone" and case.arguments[:2] in (["voices", "list"], ["config", "show"], ["profiles", "list"]):
            assert (outcome.code, outcome.err) == (141, "")


@pytest.mark.parametrize("closed", [("stdin", "stderr"), ("stdin", "stdout", "stderr")])
def test_closed_streams_break_nothing(environment, closed):
    cases = [Case([*path, *RIGHT[path]], **dict.fromkeys(closed, "closed")) for path in COMMANDS]
    for case, outcome in zip(cases, run_all(cases, environment), strict=True):
        check(case, outcome, fails="stdout" in closed)


def test_say_needs_the_stdin_that_it_reads(environment):
    case = Case(["say", "-", "--local", "--model", "mock-440hz"], stdin="closed")
    (outcome,) = run_all([case], environment)
    assert (outcome.code, outcome.err) == (1, "error: cannot read the text from stdin: it is closed\n")


def test_a_full_disk_costs_no_earlier_file(environment, tmp_path):
    keep = tmp_path / "keep.wav"
    keep.write_bytes(b"good")
    say = ["say", "A sentence of some length.", "--local", "--model", "mock-440hz", "-o"]
    cases = [
        Case([*say, str(keep)], most_bytes=10_000),
        Case([*say, "/dev/full"]),
        Case(["profiles", "show", "rtx4090", "--html", "/dev/full"]),
        Case(["profiles", "show", "rtx4090", "--html", str(tmp_path / "page.html")], most_bytes=1000),
    ]
    for case, outcome in zip(cases, run_all(cases, environment), strict=True):
        check(case, outcome)
        assert outcome.err.startswith("error: ")
        assert "cannot" in outcome.err
    assert keep.read_bytes() == b"good"
    assert {each.name for each in tmp_path.iterdir()} <= {"keep.wav", "page.html"}


def talks(kind, listener):
    """Be a server that accepts, and then is of no use."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            if kind == "answers garbage":
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            elif kind == "resets":
                connection.recv(10)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize("kind", ["closes", "resets", "answers garbage", "isn't there"])
def test_a_server_that_vanishes_is_told_in_a_line(environment, kind, tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    addr = f"127.0.0.1:{listener.getsockname()[1]}"
    if kind == "isn't there":
        listener.close()
    else:
        threading.Thread(target=talks, args=(kind, listener), daemon=True).start()  # noqa: TID251 - ends with the listener
    out = str(tmp_path / "out.wav")
    cases = [
        Case([*path, *({"show", "load", "unload"} & {*path} and ["mock-440hz"]), "--addr", addr])
        for path in COMMANDS
        if path[0] == "models"
    ]
    cases += [
        Case(["models", "list", "--watch", "--addr", addr]),
        Case(["say", "Hello.", "--addr", addr, "-o", out]),
        Case(["say", "-", "--addr", addr, "-o", "-"]),
        Case(["say", "Hello.", "--redis", f"redis://{addr}"]),
        Case(["workers", "--redis", f"redis://{addr}"]),
    ]
    try:
        for case, outcome in zip(cases, run_all(cases, environment), strict=True):
            check(case, outcome)
            assert outcome.err.startswith("error: ")
            assert addr in outcome.err
    finally:
        listener.close()
    assert not list(tmp_path.iterdir())


def test_what_a_worker_refuses_in_mid_text_is_one_line(worker, tmp_path):
    """As `head -c 200000 /dev/urandom | base64 | ttsw say -`: both who send and who read hear of the end."""
    refused = subprocess.run(
        [*TTSW, "say", "-", "-o", str(tmp_path / "x.wav"), "--addr", worker.address, "-O", "fail_after_ms=100"],
        input=os.urandom(150_000).hex().encode(), capture_output=True, env=clean_environment(), timeout=60, check=False,
    )  # fmt: skip
    said = refused.stderr.decode()
    assert refused.returncode == 1, said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())
