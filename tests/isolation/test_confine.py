"""What a process does to itself, each time in a child: limits cannot be taken back."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flame.platform import confine

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has these")


def in_child(do: Callable[[], Any]) -> Any:
    """What `do` returns, in a forked child."""
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.write(write, json.dumps(do()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return json.loads(said)


def test_limits_are_set_and_never_raised():
    def do() -> Any:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 2 << 20))
        confine.set_limits({"core": 0, "file_size": 8 << 20, "data": 1 << 30})
        return [
            resource.getrlimit(which) for which in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_DATA)
        ]

    core, file_size, data = in_child(do)
    assert (core, file_size) == ([0, 0], [2 << 20, 2 << 20])
    assert (1 << 30) + confine.HEADROOM < data[0] < (1 << 30) + confine.HEADROOM + (1 << 30)


def test_memory_beyond_the_mapping_limit_is_refused():
    def do() -> Any:
        confine.set_limits({"data": 64 << 20})
        fits = len(bytearray(32 << 20))
        try:
            bytearray(512 << 20)
        except MemoryError:
            return [fits, "refused"]
        return [fits, "given"]

    assert in_child(do) == [32 << 20, "refused"]


FORKS = """
import errno, os, sys, time
from flame.platform import confine
os.setuid(64321)  # nobody else is this one
confine.set_limits({"processes": confine.threads_of_user() + 5})
pids, error = [], 0
try:
    for _ in range(50):
        if (pid := os.fork()) == 0:
            time.sleep(60)
            os._exit(0)
        pids.append(pid)
except OSError as found:
    error = found.errno
for pid in pids:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
print(len(pids), errno.errorcode.get(error))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user first: the limit does not count for root")
def test_processes_of_a_user_are_counted_from_what_there_are():
    """In a fresh interpreter: libraries that other tests loaded want threads of their own after a fork."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60, check=True)
    made, error = done.stdout.split()
    assert error == "EAGAIN" and int(made) <= 5


def test_no_new_privileges_reach_children():
    def do() -> Any:
        confine.forbid_new_privileges()
        return subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout

    assert "NoNewPrivs:\t1" in in_child(do)


def test_an_environment_is_gone_from_where_the_kernel_shows_it():
    """In a new process: a forked one shares the block of the test's own."""
    script = """
import os, subprocess
from flame.platform.confine import EnvironmentBlock, marked
block = EnvironmentBlock()
assert b"HUSH" in open("/proc/self/environ", "rb").read()
block.replace({"PATH": os.environ["PATH"], "KEPT": "yes"})
assert b"HUSH" not in open("/proc/self/environ", "rb").read()
assert set(os.environ) == {"PATH", "KEPT"} and os.environ["KEPT"] == "yes"
assert "HUSH" not in subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
block.mark("NAME", "e-1")
if (pid := os.fork()) == 0:
    os.setsid()
    os._exit(marked(os.getppid(), "NAME") != "e-1" or marked(os.getpid(), "NAME") != "e-1")
assert os.waitpid(pid, 0)[1] == 0
block.mark("NAME", "x" * 1_000_000)
assert marked(os.getpid(), "NAME") == "e-1" and marked(os.getpid(), "OTHER") == ""
print("fine")
"""
    source = str(Path(confine.__file__).parents[2])
    environment = os.environ | {"HUSH": "secret", "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr


def test_orphans_come_to_who_adopts_them():
    def do() -> Any:
        confine.adopt_orphans()
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
        os.wait()
        (orphan,) = confine.children()
        os.kill(orphan, 9)
        return os.waitpid(orphan, 0)[0] == orphan

    assert in_child(do) is True
