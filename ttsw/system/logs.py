"""Logging: structured lines on stderr, for ttsw's and libraries' messages.

Lines contain texts of clients and other programs. JSON escapes control characters; console lines are made safe here.
"""

import io
import logging
import os
import sys
from types import TracebackType
from typing import Literal, TextIO

import structlog

from ttsw.system.terminal import is_safe, make_safe


def configure_logging(
    level: str = "INFO", form: Literal["json", "console"] = "json", *, include_session_id: bool = True
) -> None:
    """Configure logging to stderr.

    Args:
        level: Lowest severity, by name.
        form: `json` for programs, one object per line; `console` for people.
        include_session_id: Whether lines of a session carry its id.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if not include_session_id:
        shared.insert(1, _drop_session_id)
    if form == "json":
        shared.append(structlog.processors.format_exc_info)
    render = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=_coloured(), exception_formatter=_write_traceback)
    )
    renderers: list[structlog.typing.Processor] = [render] if form == "json" else [_make_safe, render]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    for name in ("hpack", "h2"):  # at DEBUG, they tell every header of every call
        logging.getLogger(name).setLevel(logging.INFO)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _coloured() -> bool:
    """Return whether to colour lines: for a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _drop_session_id(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event.pop("session_id", None)
    return event


def _make_safe(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {make_safe(key): _shown(key, value) for key, value in event.items()}


def _shown(key: str, value: object) -> object:
    """Make an event's value safe to show. Only stacks may have several lines; exceptions are written later."""
    if key == "exc_info":
        return value
    if isinstance(value, str):
        return make_safe(value, "\n\t" if key == "stack" else "")
    text = repr(value)  # what the console shows of it
    return value if is_safe(text) else make_safe(text)


def _write_traceback(to: TextIO, error: tuple[type[BaseException], BaseException, TracebackType | None]) -> None:
    traceback = io.StringIO()
    structlog.dev.plain_traceback(traceback, error)
    to.write(make_safe(traceback.getvalue(), "\n\t"))
