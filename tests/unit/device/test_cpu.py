import gc
import os
import platform
import subprocess
import sys

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.device.test_cgroup import NO_LIMIT_V1, v1, v2
from ttsw.device import CpuDevice
from ttsw.device.cgroup import V2, Cgroup, find_groups
from ttsw.device.cpu import processor_name, spare_bytes, tightest

MIB = 1 << 20
ALLOCATED = 64 * MIB

CHILD = """
held = b"x" * int(input())
print("ready", flush=True)
input()
"""


@pytest.fixture
def device():
    return CpuDevice(groups=())


def limited_to(folder, *, maximum, current, **stat):
    v2(folder, maximum, current, **stat)
    return CpuDevice(groups=[Cgroup(folder, V2)])


def test_the_whole_machine(device):
    seen = device.snapshot()
    assert (seen.device, seen.total) == ("cpu", psutil.virtual_memory().total)
    assert 0 < seen.free < seen.total
    assert 0.8 * psutil.Process().memory_info().rss < seen.ours < seen.total
    assert device.name
    assert device.name in repr(device)


def test_this_process_as_it_is():
    seen = CpuDevice().snapshot()
    assert 0 <= seen.free <= seen.total <= psutil.virtual_memory().total


def test_a_container(tmp_path):
    seen = limited_to(tmp_path, maximum=512 * MIB, current=200 * MIB, inactive_file=50 * MIB).snapshot()
    assert (seen.total, seen.used, seen.free) == (512 * MIB, 150 * MIB, 362 * MIB)


def test_a_limit_above_what_there_is(device, tmp_path):
    above = limited_to(tmp_path, maximum=device.snapshot().total + 1, current=0).snapshot()
    assert above.total == device.snapshot().total
    assert above.used > 0


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_no_limit(device, tmp_path, version):
    membership = tmp_path / "membership"
    if version == "v1":
        v1(tmp_path / "memory", NO_LIMIT_V1, usage=10)
        membership.write_text("4:memory:/\n")
    else:
        v2(tmp_path, "max", current=10)
        membership.write_text("0::/\n")
    groups = find_groups(membership, tmp_path)
    assert len(groups) == 1
    assert CpuDevice(groups=groups).snapshot().total == device.snapshot().total


def test_a_group_above_with_less_left(tmp_path):
    v2(tmp_path, 512 * MIB, current=500 * MIB)  # others in it use most
    v2(tmp_path / "own", 256 * MIB, current=10 * MIB)
    (tmp_path / "membership").write_text("0::/own\n")
    seen = CpuDevice(groups=find_groups(tmp_path / "membership", tmp_path)).snapshot()
    assert (seen.total, seen.free) == (256 * MIB, 12 * MIB)


def test_memory_that_we_take_shows(device):
    """Others on this machine take and give memory meanwhile, so what is free is looked at several times."""
    changes = []
    for _ in range(10):
        before = device.snapshot()
        held = b"x" * ALLOCATED  # written to, so that it is there
        during = device.snapshot()
        del held
        gc.collect()
        after = device.snapshot()
        assert during.ours - before.ours == pytest.approx(ALLOCATED, rel=0.1)
        assert during.ours - after.ours == pytest.approx(ALLOCATED, rel=0.1)
        changes.append(before.free - during.free)
        if changes[-1] == pytest.approx(ALLOCATED, rel=0.2):
            return
    pytest.fail(f"free memory shrank by {changes} bytes instead of {ALLOCATED}")


def test_what_a_child_has_is_ours(device):
    before = device.snapshot()
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdin.write(b"%d\n" % ALLOCATED)
        child.stdin.flush()
        child.stdout.readline()
        taken = device.snapshot().ours - before.ours
        child.communicate(b"\n")
    assert ALLOCATED < taken < ALLOCATED + 32 * MIB  # the interpreter itself has some
    assert device.snapshot().ours == pytest.approx(before.ours, abs=8 * MIB)


SIZES = st.integers(0, 1 << 50)


@given(SIZES, SIZES, st.lists(st.tuples(SIZES, SIZES)))
def test_free_is_between_nothing_and_all(total, available, limited):
    whole, used = tightest(total, available, limited)
    free = whole - used
    assert 0 <= free <= whole <= total
    assert free <= available
    assert whole == min([total, *(limit for limit, _ in limited)])
    assert all(free <= max(0, limit - taken) for limit, taken in limited)


ZONEINFO = """\
Node 0, zone   Normal
  pages free     3000
        min      4000
  pagesets
    cpu: 0
              count:    512
              high:     21927
  vm stats threshold: 28
    cpu: 1
              count:    3
              high_max: 65536
  node_unreclaimable:  0
"""


def test_spare_pages_of_all_processors(tmp_path):
    (tmp_path / "zoneinfo").write_text(ZONEINFO)
    assert spare_bytes(tmp_path / "zoneinfo") == 515 * os.sysconf("SC_PAGE_SIZE")
    assert spare_bytes(tmp_path / "missing") == 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: Fast CPU @ 9 GHz: new\nmodel name\t: other\n", "Fast CPU @ 9 GHz: new"),
        ("processor\t: 0\nBogoMIPS\t: 50\n", None),
        ("model name\t:\n", None),
    ],
)
def test_names(tmp_path, text, name):
    (tmp_path / "cpuinfo").write_text(text)
    assert processor_name(tmp_path / "cpuinfo") == (name or processor_name(tmp_path / "missing"))


def test_a_processor_without_a_name_is_called_after_its_architecture(tmp_path):
    assert processor_name(tmp_path / "missing") in {platform.machine(), platform.processor()}
