"""Faults of ours end in a line, others in their traceback."""

import pytest

from ttsw.cli.console import Debug, faults_for_people, leaves
from ttsw.errors import ConfigError, NotFoundError


def test_leaves_are_the_errors_inside_groups():
    one, two, three = ValueError(1), KeyError(2), OSError(3)
    group = ExceptionGroup("", [one, ExceptionGroup("", [two, ExceptionGroup("", [three])])])
    assert list(leaves(group)) == [one, two, three]
    assert list(leaves(one)) == [one]


@pytest.mark.parametrize("wrap", [lambda error: error, lambda error: ExceptionGroup("", [ExceptionGroup("", [error])])])
def test_a_fault_of_ours_is_one_line_and_exit_1(capfd, wrap):
    with pytest.raises(SystemExit, match="1"), faults_for_people():
        raise wrap(NotFoundError("no model '[bold]'; there are: " + "long-name " * 50))
    stdout, stderr = capfd.readouterr()
    assert not stdout
    assert stderr.startswith("error: no model '[bold]'; there are: long-name")
    assert stderr.count("\n") == 1


def test_the_same_fault_of_several_tasks_is_told_once(capfd):
    with pytest.raises(SystemExit, match="1"), faults_for_people():
        raise ExceptionGroup("", [ConfigError("this"), ConfigError("this"), NotFoundError("that")])
    assert capfd.readouterr().err == "error: this\nerror: that\n"


def test_a_fault_that_is_not_ours_comes_up():
    with pytest.raises(ExceptionGroup), faults_for_people():
        raise ExceptionGroup("", [ConfigError("ours"), ValueError("a bug")])
    with pytest.raises(ValueError, match="a bug"), faults_for_people():
        raise ValueError("a bug")


def test_debug_shows_everything(monkeypatch):
    monkeypatch.setattr(Debug, "on", True)
    with pytest.raises(ConfigError), faults_for_people():
        raise ConfigError("ours")


def test_an_interrupt_in_tasks_is_the_shells_130():
    with pytest.raises(SystemExit, match="130"), faults_for_people():
        raise BaseExceptionGroup("", [KeyboardInterrupt()])
