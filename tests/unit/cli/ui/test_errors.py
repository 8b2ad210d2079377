"""Every error ends in a line and an exit code."""

import errno

import pytest
import trio
import typer
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from pydantic import TypeAdapter, ValidationError

from ttsw.cli.ui.console import Debug
from ttsw.cli.ui.errors import judge, leaves, report_errors
from ttsw.cli.ui.streams import NoReaderError
from ttsw.errors import ConfigError, NotFoundError

OUR_FAULT = "a fault of ttsw's own: ValueError: a bug; ttsw --debug in front of the command shows where"


def test_leaves_are_the_errors_inside_groups():
    one, two, three = ValueError(1), KeyError(2), OSError(3)
    group = ExceptionGroup("", [one, ExceptionGroup("", [two, ExceptionGroup("", [three])])])
    assert list(leaves(group)) == [one, two, three]
    assert list(leaves(one)) == [one]


@pytest.mark.parametrize("wrap", [lambda error: error, lambda error: ExceptionGroup("", [ExceptionGroup("", [error])])])
def test_a_fault_of_ours_is_one_line_and_exit_1(capfd, wrap):
    with pytest.raises(SystemExit, match="1"), report_errors():
        raise wrap(NotFoundError("no model '[bold]'; there are: " + "long-name " * 50))
    stdout, stderr = capfd.readouterr()
    assert not stdout
    assert stderr.startswith("error: no model '[bold]'; there are: long-name")
    assert stderr.count("\n") == 1


def test_the_same_fault_of_several_tasks_is_told_once(capfd):
    with pytest.raises(SystemExit, match="1"), report_errors():
        raise ExceptionGroup("", [ConfigError("this"), ConfigError("this"), NotFoundError("that")])
    assert capfd.readouterr().err == "error: this\nerror: that\n"


def invalid():
    try:
        TypeAdapter(dict[str, int]).validate_python({"a": "x"})
    except ValidationError as error:
        return error


def os_error(number, *names):
    return OSError(number, "why", *names)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("this"), 1, "this"),
        (typer.BadParameter("bad."), 2, "Invalid value: bad"),
        (typer.Abort(), 1, "not confirmed; nothing is done"),
        (invalid(), 1, "a: 'x' is not valid: must be a valid integer, unable to parse string as an integer"),
        (GRPCError(Status.UNAVAILABLE, "gone"), 1, "the worker answered UNAVAILABLE: gone"),
        (StreamTerminatedError("lost"), 1, "the connection ended: lost"),
        (os_error(errno.ENOSPC, "/file"), 1, "/file: why"),
        (os_error(errno.ENOSPC), 1, "why"),
        (os_error(errno.EBADF, "stdout"), 1, "cannot write to stdout: it is closed"),
        (BrokenPipeError(errno.EPIPE, "why"), 1, "why"),
        (MemoryError(), 1, "out of memory"),
        (ValueError("a\nbug"), 1, OUR_FAULT),
        (KeyboardInterrupt(), 130, "interrupted"),
        (NoReaderError(), 141, None),
    ],
)  # fmt: skip
def test_each_kind_of_error_has_its_line_and_its_code(error, code, line):
    wanted = (code, [] if line is None else [line])
    assert judge(error) == wanted
    assert judge(BaseExceptionGroup("", [BaseExceptionGroup("", [error]), error])) == wanted


def test_of_several_errors_each_is_told_and_none_that_only_followed():
    async def cancelled():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep(1)
            except trio.Cancelled as error:
                caught.append(error)
                raise

    caught: list[BaseException] = []
    trio.run(cancelled)
    assert judge(BaseExceptionGroup("", [ConfigError("ours"), ValueError("a bug"), *caught])) == (
        1, ["ours", OUR_FAULT],
    )  # fmt: skip


def test_debug_shows_everything(monkeypatch, capfd):
    monkeypatch.setattr(Debug, "on", True)
    with pytest.raises(SystemExit, match="1"), report_errors():
        raise ConfigError("ours")
    said = capfd.readouterr().err
    assert "Traceback" in said
    assert said.endswith("error: ours\n")
