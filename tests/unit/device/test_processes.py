import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest

from ttsw.device.processes import ProcessTree, resident_bytes
from ttsw.errors import UnavailableError

# A child that has a child, whose number it prints; both end with their input.
FAMILY = """
import subprocess, sys
with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
    print(child.pid, flush=True)
    input()
    child.communicate(b"\\n")
"""


@contextmanager
def running(code):
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        yield child
        child.communicate(b"\n")


@pytest.fixture
def tree():
    return ProcessTree()


@pytest.fixture
def before(tree):
    """This process, and what else the test run has started."""
    return frozenset(tree.look())


def test_a_tree_of_another_process():
    with running("input()") as child:
        tree = ProcessTree(child.pid)
        assert set(tree.look()) == {child.pid}
    with pytest.raises(UnavailableError, match=f"process {child.pid} has ended"):
        ProcessTree(child.pid)


def test_what_psutil_finds(tree, before):
    assert before == {os.getpid(), *(process.pid for process in psutil.Process().children(recursive=True))}
    assert repr(tree) == f"<ProcessTree of {os.getpid()}, {len(before)} processes>"


def test_a_child_and_its_child_come_and_go(tree, before):
    with running(FAMILY) as child:
        grandchild = int(child.stdout.readline())
        assert tree.look().keys() == before | {child.pid, grandchild}
        assert tree.look().keys() == before | {child.pid, grandchild}
        assert ProcessTree().look().keys() == before | {child.pid, grandchild}
    assert tree.look().keys() == before


def test_a_child_that_came_after_its_parent_was_seen(tree, before):
    with running(
        "import subprocess, sys; input(); subprocess.run([sys.executable, '-c', 'print(1); input()'])"
    ) as child:
        assert tree.look().keys() == before | {child.pid}
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"1\n"
        assert len(tree.look()) == len(before) + 2


def test_a_process_is_asked_for_its_parent_once(tree, before, monkeypatch):
    asked = []
    monkeypatch.setattr(psutil.Process, "ppid", lambda process: asked.append(process.pid) or 0)
    tree.look()
    with running("input()") as child:
        tree.look()
        tree.look()
        assert asked.count(child.pid) == 1
    assert os.getpid() not in asked


def test_a_process_that_ends_while_it_is_asked(tree, before, monkeypatch):
    def end(process):
        raise psutil.NoSuchProcess(process.pid)

    monkeypatch.setattr(psutil.Process, "ppid", end)
    with running("input()"):
        assert tree.look().keys() == before
    assert tree.look().keys() == before


def test_many_threads_see_the_same(tree, before):
    with running(FAMILY) as child:
        child.stdout.readline()
        with ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(lambda _: frozenset(tree.look()), range(64)))
    assert {len(pids) for pids in seen} == {len(before) + 2}


def test_what_has_ended_has_no_memory():
    with running("input()") as child:
        process = psutil.Process(child.pid)
        assert resident_bytes(process) > 0
    assert resident_bytes(process) == 0
