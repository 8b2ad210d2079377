import io
import json
import logging

import pytest
import structlog

from ttsw.logs import configure_logging


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys):
    captured = capsys.readouterr()
    assert captured.out == "", "logs belong on stderr"
    return captured.err.splitlines()


def test_json_lines_carry_the_session(capsys):
    configure_logging("INFO", "json")
    with structlog.contextvars.bound_contextvars(session_id="s1"):
        structlog.get_logger("ttsw.test").info("utterance", frames=3)
    (line,) = lines(capsys)
    event = json.loads(line)
    assert (event["event"], event["frames"], event["session_id"], event["level"]) == ("utterance", 3, "s1", "info")
    assert event["logger"] == "ttsw.test"
    assert event["timestamp"].endswith("Z")


def test_without_the_session_where_it_is_not_wanted(capsys):
    configure_logging("INFO", "json", include_session_id=False)
    with structlog.contextvars.bound_contextvars(session_id="s1"):
        structlog.get_logger().info("utterance")
    (line,) = lines(capsys)
    assert "session_id" not in json.loads(line)


def test_libraries_speak_the_same_format_and_the_level_holds_for_all(capsys):
    configure_logging("WARNING", "json")
    logging.getLogger("library").info("quiet")
    structlog.get_logger().info("quiet")
    logging.getLogger("library").warning("loud %d", 1)
    (line,) = lines(capsys)
    assert (json.loads(line)["event"], json.loads(line)["logger"]) == ("loud 1", "library")


def test_an_exception_is_in_its_line(capsys):
    configure_logging("INFO", "json")
    try:
        int("broken")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(capsys)
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_console_lines_are_for_eyes(capsys):
    configure_logging("INFO", "console")
    structlog.get_logger().info("hello", answer=42)
    (line,) = lines(capsys)
    assert "hello" in line
    assert "answer=42" in line


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_lines_are_coloured_on_a_terminal_unless_somebody_minds(monkeypatch, variables, coloured):
    for name, value in ({"NO_COLOR": "", "TERM": "xterm"} | variables).items():
        monkeypatch.setenv(name, value)
    said = io.StringIO()
    said.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", said)
    configure_logging("INFO", "console")
    structlog.get_logger("colours").warning("word")
    assert ("\x1b[" in said.getvalue()) is coloured
