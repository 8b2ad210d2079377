import math

import pytest

from ttsw.device.cgroup import find_groups

MIB = 1 << 20
NO_LIMIT_V1 = 9223372036854771712


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "cgroup"
    root.mkdir()
    return root


@pytest.fixture
def find(tmp_path, root):
    """Return a function that finds the cgroups of a process of which the kernel says these lines."""

    def find(*lines):
        membership = tmp_path / "membership"
        membership.write_text("".join(f"{line}\n" for line in lines))
        return find_groups(membership, root)

    return find


def v2(folder, maximum="max", current=0, high="max", **stat):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").write_text("cpu memory\n")
    (folder / "memory.max").write_text(f"{maximum}\n")
    (folder / "memory.high").write_text(f"{high}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text("".join(f"{name} {size}\n" for name, size in stat.items()))


def v1(folder, limit=NO_LIMIT_V1, usage=0, **stat):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text("".join(f"{name} {size}\n" for name, size in stat.items()))


def limits(groups):
    return [group.limit() for group in groups]


def test_no_cgroups(tmp_path, find, root):
    assert find_groups(tmp_path / "missing", root) == ()
    assert find() == find("") == find("0::/") == ()


def test_v2_of_its_own_and_above(find, root):
    (root / "cgroup.controllers").write_text("cpu memory\n")  # the real root has no limit
    v2(root / "a", maximum=512 * MIB)
    v2(root / "a/b")
    v2(root / "a/b/c", maximum=1024 * MIB)
    v2(root / "a/other", maximum=MIB)
    assert limits(find("0::/a/b/c")) == [1024 * MIB, math.inf, 512 * MIB]


def test_v2_in_a_container_that_sees_only_its_own(find, root):
    v2(root, maximum=256 * MIB)
    assert limits(find("0::/")) == [256 * MIB]
    assert limits(find("0::/docker/0123")) == [256 * MIB]


def test_v2_outside_of_what_can_be_seen(find, root):
    v2(root, maximum=256 * MIB)
    assert find("0::/../other") == ()


def test_v2_slows_down_above_high(find, root):
    v2(root, maximum=256 * MIB, high=200 * MIB)
    assert limits(find("0::/")) == [200 * MIB]


def test_v1_of_its_own_and_above(find, root):
    v1(root / "memory")
    v1(root / "memory/a", limit=512 * MIB)
    v1(root / "memory/a/b", limit=1024 * MIB)
    found = find("9:name=systemd:/x", "4:memory:/a/b", "1:cpu,cpuacct:/a", "0::/")
    assert limits(found) == [1024 * MIB, 512 * MIB, NO_LIMIT_V1]


def test_v1_in_a_container_that_sees_only_its_own(find, root):
    v1(root / "memory", limit=256 * MIB)
    assert limits(find("4:memory:/docker/0123")) == [256 * MIB]


def test_v1_beside_other_controllers(find, root):
    v1(root / "memory", limit=256 * MIB)
    assert limits(find("4:cpu,memory:/")) == [256 * MIB]


def test_hybrid(find, root):
    v1(root / "memory/a", limit=256 * MIB)
    v2(root / "unified/a")
    for name in ("max", "high", "current", "stat"):
        (root / f"unified/a/memory.{name}").unlink()
    assert limits(find("4:memory:/a", "0::/a")) == [256 * MIB]


def test_hybrid_with_memory_in_v2(find, root):
    v2(root / "unified/a", maximum=128 * MIB)
    assert limits(find("1:cpu:/a", "0::/a")) == [128 * MIB]


def test_a_path_with_a_colon(find, root):
    v2(root / "a:b", maximum=MIB)
    (root / "cgroup.controllers").touch()
    assert limits(find("0::/a:b")) == [MIB]


def test_v2_cache_that_can_be_dropped_is_not_used(find, root):
    cache = {"anon": 300, "file": 650, "shmem": 50, "inactive_file": 500, "active_file": 100}
    v2(root, 2_000, 1_000, **cache, file_mapped=40, file_dirty=7, file_writeback=3)
    (group,) = find("0::/")
    assert group.used() == 1_000 - (600 - 50)


def test_v1_cache_below_counts_too(find, root):
    own = {"inactive_file": 9, "active_file": 9, "mapped_file": 9}
    below = {"total_inactive_file": 500, "total_active_file": 100, "total_mapped_file": 40}
    v1(root / "memory", 2_000, 1_000, **own, **below, total_dirty=7, total_writeback=3)
    (group,) = find("4:memory:/")
    assert group.used() == 1_000 - (600 - 50)


def test_more_mapped_than_cached(find, root):
    v2(root, 2_000, 1_000, inactive_file=10, file_mapped=50)  # shared memory that is mapped
    assert find("0::/")[0].used() == 1_000


def test_a_cgroup_that_has_gone(find, root):
    v2(root / "a", 2_000, 1_000)
    (root / "cgroup.controllers").touch()
    (group,) = find("0::/a")
    for file in (root / "a").iterdir():
        file.unlink()
    assert (group.limit(), group.used()) == (math.inf, 0)


def test_limits_are_read_anew(find, root):
    v2(root, 2_000, 1_000)
    (group,) = find("0::/")
    v2(root, 3_000, 1_500)
    assert (group.limit(), group.used()) == (3_000, 1_500)
