"""Whoever is tied to a process dies with it."""

import os
import signal
import subprocess
import sys

import pytest

from ttsw.system.lifeline import tied

PARENT = """
import os, subprocess, sys, time
from ttsw.system.lifeline import tied
theirs, lifeline = os.pipe()
command = [sys.executable, "-c", "print('there', flush=True); import time; time.sleep(600)"]
subprocess.Popen(tied(theirs, command), pass_fds=[theirs])
os.close(theirs)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel signals a pipe's closing on Linux only")
def test_a_child_dies_with_its_killed_parent():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"there\n"
        parent.send_signal(signal.SIGKILL)
        assert parent.stdout.read() == b""  # it ends when the child, whose stdout it is too, has ended


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel signals a pipe's closing on Linux only")
def test_a_child_of_who_has_ended_already():
    theirs, lifeline = os.pipe()
    os.close(lifeline)
    try:
        done = subprocess.run(
            tied(theirs, [sys.executable, "-c", "print('there')"]),
            pass_fds=[theirs],
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(theirs)
    assert (done.returncode, done.stdout) == (1, b"")
