"""`ttsw say`: speak a text through a worker, or without one, and tell how well that went."""

import codecs
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn

from ttsw.cli.configure import configure
from ttsw.cli.connect import HERE, parse_address
from ttsw.cli.say.failover import speak_with_failover
from ttsw.cli.say.listener import PlaybackListener
from ttsw.cli.say.recorder import Recorder
from ttsw.cli.say.synthesis import Hear, Text, speak_at, speak_locally
from ttsw.cli.ui.console import err
from ttsw.cli.ui.streams import from_shell, reason
from ttsw.cli.workers import registry_url
from ttsw.errors import InvalidArgumentError


def say(
    text: Annotated[str, typer.Argument(help="Text to speak; - reads stdin and speaks as it arrives.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE.wav", help="Where to write the audio; - is stdout.")
    ] = None,
    addr: Annotated[
        str | None, typer.Option(help="The worker.", metavar="HOST:PORT", show_default="127.0.0.1:7002")
    ] = None,
    redis: Annotated[str | None, typer.Option(help="Registry; its best worker speaks.", metavar="URL")] = None,
    local: Annotated[bool, typer.Option("--local", help="Speak in this process, without a worker.")] = False,
    model: Annotated[str, typer.Option(help="The model; by default the worker's default model.")] = "",
    option: Annotated[
        list[str] | None, typer.Option("--option", "-O", metavar="KEY=VALUE", help="A session option; repeatable.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file, for --local.")] = None,
) -> None:
    """Speak TEXT, then report time to first audio, duration, RTF, underruns and loudness."""
    if sum((addr is not None, redis is not None, local)) > 1:
        raise InvalidArgumentError("--addr, --redis and --local are three ways to speak; give one of them")
    recorder, options = Recorder(output), parse_pairs([from_shell(each) for each in option or []])
    source: Text = stdin_as_it_comes() if text == "-" else from_shell(text)
    if text == "-":
        options.setdefault("text_mode", "tokens")
    if output not in {None, "-"}:
        options.setdefault("pacing", "fast")
    if local:
        speak = partial(speak_locally, configure(config, None, model or None), source, options)
    elif redis is not None:
        speak = partial(speak_with_failover, registry_url(redis), source, model, options, tell=_tell)
    else:
        speak = partial(speak_at, parse_address(addr or HERE), source, model, options)
    listener = trio.run(_listen, speak, recorder)
    err.print(listener.summary(recorder.name), soft_wrap=True)


def _tell(text: str) -> None:
    err.print(escape(text), soft_wrap=True)


async def _listen(speak: Callable[[Hear], Awaitable[None]], recorder: Recorder) -> PlaybackListener:
    listener = PlaybackListener(trio.current_time)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    async with _ended_by_signals():
        with recorder, Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
            task = progress.add_task("waiting for the first audio …")

            def hear(pcm: bytes) -> None:
                listener.hear(pcm)
                recorder.write(pcm)
                if pcm:
                    progress.update(task, description=f"speaking … {listener.audio_s:.1f} s of audio")

            await speak(hear)
    return listener


@asynccontextmanager
async def _ended_by_signals() -> AsyncGenerator[None, None]:
    """Let the block clean up when SIGTERM or SIGHUP ends it.

    Raises:
        Exit: One came; the code is that of a program that it ends.
    """
    came: list[int] = []

    async def watch(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(*heeded(signal.SIGTERM, signal.SIGHUP)) as signals:
            task_status.started()
            async for number in signals:
                came.append(number)
                nursery.cancel_scope.cancel(reason=signal.Signals(number).name)

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        yield
        nursery.cancel_scope.cancel(reason="spoken")
    if came:
        raise typer.Exit(128 + came[0])


def heeded(*numbers: signal.Signals) -> list[signal.Signals]:
    """Leave out the signals that this program was told to ignore, as nohup tells it."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def parse_pairs(pairs: list[str]) -> dict[str, str]:
    """Turn `KEY=VALUE` texts into options.

    >>> parse_pairs(["speed=1.2", "text_mode=tokens"])
    {'speed': '1.2', 'text_mode': 'tokens'}

    Raises:
        InvalidArgumentError: One has no `=`.
    """
    for pair in pairs:
        if "=" not in pair:
            raise InvalidArgumentError(f"-O {pair!r} is no option; write it as KEY=VALUE, for example -O speed=1.2")
    return dict(pair.split("=", 1) for pair in pairs)


async def stdin_as_it_comes() -> AsyncGenerator[str, None]:
    """Give what arrives on stdin, when it arrives.

    Raises:
        InvalidArgumentError: Stdin is closed, or a folder.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    stream = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
    try:
        os.read(stream.fileno(), 0)
        async for data in stream:
            yield decoder.decode(data)
    except (OSError, trio.BrokenResourceError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        why = reason(cause) if isinstance(cause, OSError) else error
        raise InvalidArgumentError(f"cannot read the text from stdin: {why}") from error
    yield decoder.decode(b"", final=True)
