import io
import json
import logging

import pytest
import structlog

from ttsw.system.logs import configure_logging
from ttsw.system.terminal import is_safe


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
    assert "ValueError: " in json.loads(line)["exception"]


def test_console_lines_are_for_eyes(capsys):
    configure_logging("INFO", "console")
    structlog.get_logger().info("hello", answer=42)
    (line,) = lines(capsys)
    assert "hello" in line
    assert "answer=42" in line


HOSTILE = "al\u202eot\x1b[2J\nforged line\u200b"


def test_console_lines_show_texts_of_others_as_text(capsys):
    configure_logging("INFO", "console")
    with structlog.contextvars.bound_contextvars(session_id=HOSTILE):
        structlog.get_logger().info("hello", voice=HOSTILE, all=[HOSTILE, 1], filler="a\u3164", many=["\u3164"])
    logging.getLogger("library").warning("said %s", HOSTILE)
    ours, theirs = lines(capsys)
    assert is_safe(ours + theirs)
    assert r"al\\u202eot" in ours
    assert r"al\u202eot\x1b[2J\nforged line\u200b" in theirs


def test_a_traceback_on_the_console_shows_texts_of_others_as_text(capsys):
    configure_logging("INFO", "console")
    try:
        getattr(str, HOSTILE)
    except AttributeError:
        structlog.get_logger().exception("failed")
    said = "\n".join(lines(capsys))
    assert is_safe(said, "\n")
    assert r"no attribute 'al\u202eot\x1b[2J" in said
    assert "Traceback" in said


@pytest.mark.parametrize("given", [HOSTILE, "a\u0085b", "\u2028"])
def test_json_lines_need_no_care(capsys, given):
    configure_logging("INFO", "json")
    structlog.get_logger().info("hello", name=given)
    (line,) = lines(capsys)
    assert json.loads(line)["name"] == given
    assert is_safe(line)


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
