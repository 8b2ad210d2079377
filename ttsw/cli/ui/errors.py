"""Where every error of the command line ends: in a line on stderr and an exit code, without a traceback.

Exit codes: 2 where the command line itself is wrong, 130 after Ctrl-C, 141 where the reader of stdout has left (as the
shell says of a program that SIGPIPE ends; nothing is said then), 1 for all else.
"""

import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import trio
import typer
from grpclib.exceptions import GRPCError, StreamTerminatedError
from pydantic import ValidationError
from rich.markup import escape

from ttsw.cli.ui.console import Debug, err
from ttsw.cli.ui.streams import STDOUT, NoReaderError, leave_stdout, reason
from ttsw.errors import TtswError

USAGE, INTERRUPTED, NO_READER = 2, 130, 141

_ParserError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What the parser of the command line raises; Typer doesn't say its name."""


@contextmanager
def report_errors() -> Generator[None, None, None]:
    """End the program with a line that says what is wrong, and the exit code, whatever error comes up.

    Raises:
        SystemExit: There was an error.
    """
    try:
        yield
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:
        code, lines = judge(error)
        leave_stdout()
        with suppress(OSError):  # stderr may be full, or closed
            if Debug.on and code != USAGE:
                traceback.print_exception(error)
            for line in lines:
                err.print(f"[bold red]error:[/] {escape(line)}", soft_wrap=True)
        sys.exit(code)


def judge(error: BaseException) -> tuple[int, list[str]]:
    """Say which exit code an error means, and which lines tell it; errors that say the same are told once."""
    faults = [each for each in leaves(error) if not isinstance(each, trio.Cancelled)] or [error]
    if any(isinstance(each, KeyboardInterrupt) for each in faults):
        return INTERRUPTED, ["interrupted"]
    if any(isinstance(each, NoReaderError) for each in faults):
        return NO_READER, []
    code = USAGE if all(isinstance(each, _ParserError) for each in faults) else 1
    return code, list(dict.fromkeys(filter(None, map(sentence, faults))))


def leaves(error: BaseException) -> Generator[BaseException, None, None]:
    """Give the errors inside nested groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def sentence(fault: BaseException) -> str:
    """Tell one error to a person."""
    if isinstance(fault, TtswError):
        return str(fault)
    for kinds, tell in _SENTENCES:
        if isinstance(fault, kinds):
            return " ".join(tell(fault).split())
    kind, text = type(fault).__name__, " ".join(str(fault).split())
    return f"a fault of ttsw's own: {kind}: {text}; ttsw --debug in front of the command shows where"


def _usage(fault: BaseException) -> str:
    """Tell what is wrong with a command line, and where help is."""
    told = str(fault.format_message()) if hasattr(fault, "format_message") else str(fault)
    context = getattr(fault, "ctx", None)
    hint = "" if context is None else f"; {context.command_path} --help shows what is possible"
    return told and f"{told.rstrip('.')}{hint}"  # without arguments, help is shown already


def _invalid(fault: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['input']!r} is not valid: "
        f"{each['msg'].replace('Input should be', 'must be')}"
        for each in fault.errors()
    )


def _status(fault: GRPCError) -> str:
    return f"the worker answered {fault.status.name}: {fault.message or 'without a reason'}"


def _broken(fault: BaseException) -> str:
    return f"the connection ended: {fault.__cause__ or fault}"


def _system(fault: OSError) -> str:
    why = reason(fault)
    if fault.filename == STDOUT:
        return f"cannot write to stdout: {why}"
    return why if fault.filename is None else f"{fault.filename}: {why}"


_SENTENCES: list[tuple[Any, Callable[[Any], str]]] = [
    (_ParserError, _usage),
    (typer.Abort, lambda _: "not confirmed; nothing is done"),
    (ValidationError, _invalid),
    (GRPCError, _status),
    ((StreamTerminatedError, trio.BrokenResourceError, trio.ClosedResourceError), _broken),
    (OSError, _system),
    (UnicodeEncodeError, lambda fault: f"{fault.object!r} is no valid text: {fault.reason}"),
    (MemoryError, lambda _: "out of memory"),
]
"""How each kind of error is told."""
