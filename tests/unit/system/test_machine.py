"""Faults of the machine, by number and by the system's words, and what is none."""

import errno
import os

import pytest

from ttsw.errors import OutOfMemoryError, UnavailableError
from ttsw.system.machine import cannot_read, explain_fault, find_fault, may_pass

NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EIO)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_fault_is_known_by_its_number_by_its_cause_and_by_its_words(number):
    wrapped = ValueError("damaged")
    wrapped.__cause__ = OSError(number, "…")
    for error in (
        OSError(number, os.strerror(number)),
        wrapped,
        RuntimeError(f"Load model failed: open file fail: {os.strerror(number)}"),  # ONNX Runtime
        RuntimeError(f"I/O error: something (os error {number})"),  # Rust
    ):
        assert find_fault(error) == number
        told = explain_fault("x.onnx cannot be opened", error)
        assert type(told) is UnavailableError
        assert str(told).startswith("x.onnx cannot be opened: ")
        assert "; " in str(told), "it says what to do"


def test_no_memory_is_that():
    assert isinstance(cannot_read("x", OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))), OutOfMemoryError)


@pytest.mark.parametrize(
    "error", [ValueError("cut short"), RuntimeError("error 24"), OSError("no number"), KeyError("a"), Exception()]
)
def test_what_is_no_fault_of_the_machine(error):
    assert find_fault(error) is None
    assert explain_fault("x", error) is None


def test_a_file_that_cannot_be_read_says_why():
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "x")
    assert str(cannot_read("x", missing)) == "x cannot be read: No such file or directory"
    assert str(cannot_read("x", OSError("odd"))) == "x cannot be read: odd"


def test_some_faults_pass_by_themselves():
    assert may_pass(RuntimeError("x cannot be read: Too many open files"))
    assert not may_pass(OSError(errno.EACCES, os.strerror(errno.EACCES)))
    assert not may_pass(ValueError("damaged"))
