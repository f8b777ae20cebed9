"""Control groups: what the kernel's files say, what we write into them, and that nothing of ours stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from isolation.conftest import alive, groups_of, needs_groups

from flame.platform import hierarchies
from flame.platform.cgroups import Cgroups, Group, Limits, counted, knobs, namespace, started, sweep
from flame.platform.hierarchies import Hierarchy, Mount, enable, memberships, mounts, own, unified
from flame.testing.cluster import eventually

HYBRID = """\
24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
25 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
26 24 0:24 /docker/abc /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
27 24 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
28 24 0:26 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
"""


def test_mounts_and_memberships():
    assert mounts(HYBRID) == [
        Mount(1, Path("/sys/fs/cgroup/cpu,cpuacct"), "/", ("cpu",)),
        Mount(1, Path("/sys/fs/cgroup/memory"), "/docker/abc", ("memory",)),
        Mount(2, Path("/sys/fs/cgroup/unified"), "/", ()),
        Mount(1, Path("/sys/fs/cgroup/devices"), "/", ()),
    ]
    assert mounts("1 2 0:3 /a\\040b /x\\040y rw - cgroup2 cgroup2 rw") == [Mount(2, Path("/x y"), "/a b", ())]
    assert memberships("8:cpu,cpuacct:/a\n0::/user.slice/x:y\n") == {
        "cpu": "/a",
        "cpuacct": "/a",
        "": "/user.slice/x:y",
    }


@pytest.mark.parametrize(
    ("root", "group", "found"),
    [
        ("/", "/a/b", "/mnt/a/b"),
        ("/docker/x", "/docker/x/y", "/mnt/y"),
        ("/docker/x", "/", "/mnt"),
        ("/a", "/b", "/mnt"),
    ],
)
def test_own_group(root, group, found):
    assert own(Mount(1, Path("/mnt"), root, ()), group) == Path(found)


def test_limits_as_each_version_says_them():
    limits = Limits(memory=1 << 20, memory_share=2 << 20, cpu=2500, cpu_max=500, processes=7)
    assert [(k.file, k.value) for k in knobs(1, limits)] == [
        ("cpu.shares", "2560"),
        ("cpu.cfs_quota_us", "50000"),
        ("memory.limit_in_bytes", "1048576"),
        ("memory.memsw.limit_in_bytes", "1048576"),
        ("memory.soft_limit_in_bytes", "2097152"),
        ("pids.max", "7"),
    ]
    assert [(k.file, k.value) for k in knobs(2, limits)] == [
        ("cpu.weight", "250"),
        ("cpu.max", "50000 100000"),
        ("memory.max", "1048576"),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
        ("memory.low", "2097152"),
        ("pids.max", "7"),
    ]
    assert [(k.file, k.value) for k in knobs(2, Limits(cpu=1))] == [("cpu.weight", "1")]
    assert [(k.file, k.value) for k in knobs(1, Limits(cpu=1))] == [("cpu.shares", "2")]


def test_counts():
    assert counted("low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n", "oom_kill") == 3
    assert counted("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill") == 1
    assert counted("oom_kill_disable 0\n", "oom_kill") == 0


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


@needs_groups
def test_groups_limit_kill_and_go():
    made, _ = Cgroups.open()
    assert made is not None
    assert groups_of(os.getpid())
    group = made.make("one")
    try:
        group.limit(Limits(memory=96 << 20, processes=20))
        group.limit(Limits(memory=64 << 20, processes=20, cpu=500))  # only what changes is written
        command = "import sys, time; sys.stdin.readline(); held = bytearray(16 << 20); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", command], stdin=subprocess.PIPE)
        group.add(child.pid)
        assert group.pids() == [child.pid]
        assert child.stdin is not None
        with child.stdin as line:
            line.write(b"\n")
        eventually(lambda: group.peak() > 16 << 20)
        assert group.oom_kills() == 0
        assert not group.remove()
        assert not group.kill()
        assert child.wait(10) == -signal.SIGKILL
        eventually(group.remove)
        assert group.kill() and group.remove()
    finally:
        eventually(made.close)
    assert not groups_of(os.getpid())


@needs_groups
def test_an_engine_that_starts_removes_what_a_dead_one_left():
    parents = hierarchies.find()[0]
    dead = sleeper()
    stale = f"flame-{namespace()}-{dead.pid}-{started(dead.pid)}"
    living = f"flame-{namespace()}-{os.getpid()}-{started(os.getpid())}"
    foreign = f"flame-1-{os.getpid()}-1"
    groups = [Group(parents, name) for name in (stale, living, foreign)]
    inside = Group([Hierarchy(h.version, h.parent / stale, h.controllers) for h in parents], "e1")
    left = sleeper()
    inside.add(left.pid)
    try:
        for parent in parents:
            assert sweep(parent.parent) == []  # its engine lives
        assert all(directory.exists() for directory in inside.directories)
        dead.kill()
        dead.wait()
        eventually(lambda: not [name for parent in parents for name in sweep(parent.parent)])
        assert left.wait(10) == -signal.SIGKILL
        assert [all(d.exists() for d in group.directories) for group in groups] == [False, True, True]
        assert not alive(left.pid)
    finally:
        for group in groups:
            group.remove()


@pytest.fixture
def tree():
    """A group in the kernel's unified hierarchy, with a controller to pass on: which one does not matter for the rules."""
    mount = next((m for m in mounts(Path("/proc/self/mountinfo").read_text()) if m.version == 2), None)
    if mount is None or not os.access(mount.point / "cgroup.subtree_control", os.W_OK):
        pytest.skip("no unified hierarchy that can be written to")
    top = mount.point
    free = (top / "cgroup.controllers").read_text().split()
    if not free:
        pytest.skip("the unified hierarchy has no controllers here")
    name, used = free[0], (top / "cgroup.subtree_control").read_text().split()
    hierarchies.write(top / "cgroup.subtree_control", f"+{name}")
    group = top / f"flame-test-{os.getpid()}"
    group.mkdir()
    yield group, name
    for inner in sorted(group.rglob("*"), reverse=True):
        if inner.is_dir():
            hierarchies.write(inner / "cgroup.kill", "1")
            eventually(lambda inner=inner: not (inner / "cgroup.procs").read_text())
            inner.rmdir()
    hierarchies.write(group / "cgroup.kill", "1")
    eventually(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()
    if name not in used:
        hierarchies.write(top / "cgroup.subtree_control", f"-{name}")


def test_unified_groups_kill_with_one_write(tree):
    group, name = tree
    one = Group([Hierarchy(2, group, (name,))], "e1")
    child = sleeper()
    one.add(child.pid)
    assert not one.kill()
    assert child.wait(10) == -signal.SIGKILL
    eventually(one.remove)


def test_a_unified_group_with_our_own_processes_passes_controllers_on(tree):
    group, name = tree
    child = sleeper()
    hierarchies.write(group / "cgroup.procs", str(child.pid))
    eventually(lambda: Path(f"/proc/{child.pid}/exe").readlink() == Path("/proc/self/exe").readlink())
    assert not enable(group, [name], may_move=False)
    assert unified(group, [name], group) == Hierarchy(2, group, (name,))
    assert (group / "cgroup.subtree_control").read_text().split() == [name]
    assert (group / hierarchies.ENGINE / "cgroup.procs").read_text().split() == [str(child.pid)]
    child.kill()
    child.wait()


def test_other_people_s_processes_are_not_moved(tree):
    group, name = tree
    child = subprocess.Popen(["sleep", "600"])
    hierarchies.write(group / "cgroup.procs", str(child.pid))
    eventually(lambda: Path(f"/proc/{child.pid}/exe").readlink() != Path("/proc/self/exe").readlink())
    reason = unified(group, [name], group)
    assert isinstance(reason, str)
    assert (group / "cgroup.procs").read_text().split() == [str(child.pid)]
    # Beside it there is room: the group above passes the controller on already.
    assert unified(group, [name], group.parent) == Hierarchy(2, group.parent, (name,))
    child.kill()
    child.wait()
