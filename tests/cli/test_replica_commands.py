"""flame logs, exec, debug shell: what goes on in replicas."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time

import pytest

from flame.cli.objects.merging import Held, Line, Splitter, merged
from flame.testing.cluster import eventually


def job(name, script, replicas=1, restart="Never", type="Training", labels=None, **spec):
    container = {"name": "main", "image": "none", "command": ["sh", "-c", script]}
    return json.dumps(
        {
            "apiVersion": "flame.xflops.cn/v1alpha1",
            "kind": "FlameWorkload",
            "metadata": {"name": name},
            "spec": {
                "type": type,
                "replicas": replicas,
                "template": {
                    "metadata": {"labels": labels or {}},
                    "spec": {"restartPolicy": restart, "terminationGracePeriodSeconds": 0, "containers": [container]},
                },
                **spec,
            },
        }
    )


COUNT = "for i in 1 2 3 4 5; do echo rank $FLAME_RANK line $i; sleep 0.15; done"


@pytest.mark.ledger("B-156")
def test_logs_of_all_replicas_are_merged_in_time_order(flame):
    assert flame("apply", "-f", "-", stdin=job("count", COUNT, replicas=3, labels={"app": "count"})).code == 0
    follow = flame("logs", "-f", "count", "--timestamps")
    assert follow.code == 0, follow
    found = re.findall(r"^\[count-(\d)\] (\S+Z) rank (\d) line (\d)$", follow.out, re.MULTILINE)
    assert len(found) == 15 == len(follow.out.splitlines())
    assert all(prefix == rank for prefix, _, rank, _ in found)
    stamps = [stamp for _, stamp, _, _ in found]
    assert stamps == sorted(stamps)
    assert [rank for _, _, rank, _ in found[:3]] != ["0"] * 3, "they are really mixed"
    after = flame("logs", "count", "--timestamps")
    assert after.out == follow.out, "also once they have ended"
    assert flame("logs", "-l", "app=count", "--timestamps").out == follow.out
    assert flame("logs", "-l", "app=count", "-f", "--timestamps").out == follow.out
    assert flame("logs", "count-2").out == "".join(f"rank 2 line {i}\n" for i in range(1, 6))
    assert flame("logs", "pod/count-2", "--tail", "1").out == "rank 2 line 5\n"
    assert len(flame("logs", "workload/count", "--tail", "2", "--no-prefix").out.splitlines()) == 6
    assert flame("logs", "count", "--since", "1h").out == flame("logs", "count").out
    time.sleep(1.01)
    assert flame("logs", "count", "--since", "1s").out == ""
    assert flame("logs", "-l", "app=nobody").code == 68
    nobody = flame("logs", "nobody")
    assert nobody.code == 68 and "no workload, replica or session 'nobody'" in nobody.err
    assert flame("logs").code == 65 and flame("logs", "count", "-f", "--previous").code == 65


def followed_over(flame, name):
    """What `logs -f` says of a job that goes on once there is a file `go`; by then its first line was seen."""
    process = subprocess.Popen(["flame", "logs", "-f", name], env=flame.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert flame("exec", name, "--", "touch", "go").code == 0
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return first + rest


WAIT = "until test -e go; do sleep 0.05; done"


def test_following_goes_on_over_attempts(flame):
    script = f"echo attempt $FLAME_ATTEMPT; [ $FLAME_ATTEMPT = 2 ] && exit 0; {WAIT}; exit 3"
    flame("apply", "-f", "-", stdin=job("twice", script))
    assert followed_over(flame, "twice") == "attempt 1\nattempt 2\n"
    assert flame("logs", "twice", "--previous").out == "attempt 1\n"


def test_following_goes_on_over_restarts(flame):
    script = f"test -e x && echo second && exit 0; echo first; touch x; {WAIT}; exit 1"
    flame("apply", "-f", "-", stdin=job("again", script, restart="OnFailure"))
    assert followed_over(flame, "again") == "first\nsecond\n"
    assert flame("logs", "again", "--previous").out == "first\n"


def test_lines_are_merged_by_time_whatever_pieces_they_come_in():
    def text(replica, *numbers):
        return b"".join(b"2026-01-01T00:00:0%d.000000Z stdout F %s %d\n" % (n, replica.encode(), n) for n in numbers)

    def lines(replica, data, size):
        splitter = Splitter(replica)
        for at in range(0, len(data), size):
            yield from splitter.feed(data[at : at + size])
        yield from splitter.feed(b"", end=True)

    for size in (1, 7, 1000):
        found = list(merged([lines("a", text("a", 1, 4, 5), size), lines("b", text("b", 2, 3, 6), size)]))
        assert [line.text for line in found] == ["a 1", "b 2", "b 3", "a 4", "a 5", "b 6"]


def test_a_line_in_parts_is_one_line():
    splitter = Splitter("r")
    data = b"2026-01-01T00:00:01Z stdout P half \n2026-01-01T00:00:02Z stderr F other\n2026-01-01T00:00:03Z stdout F done\nno line\n"
    assert [(line.at[-3:], line.text) for line in splitter.feed(data)] == [("02Z", "other"), ("01Z", "half done")]


def test_lines_wait_for_earlier_ones():
    held = Held(1.0)
    held.add(Line("05", "a", "stdout", "late"), 10.0)
    assert list(held.due(10.5)) == []
    held.add(Line("03", "b", "stdout", "early"), 10.6)
    assert [line.text for line in held.due(11.0)] == ["early", "late"]
    held.add(Line("07", "a", "stdout", "x"), 12.0)
    assert list(held.due(12.1)) == [] and [line.text for line in held.due(12.1, all=True)] == ["x"]


@pytest.fixture
def box(flame):
    """A workload that waits to be looked into."""
    flame("apply", "-f", "-", stdin=job("box", "echo up; sleep 600", type="Inference", restart="Always"))
    eventually(lambda: flame("get", "fw", "box", "-o", "jsonpath={.status.readyReplicas}").out == "1\n")
    return flame


def test_exec(box):
    ran = box("exec", "box", "--", "sh", "-c", "echo $FLAME_RANK $FLAME_WORKLOAD; echo oops; exit 7")
    assert (ran.code, ran.out) == (7, "0 box\noops\n"), "its exit code is ours"
    assert box("exec", "box-0", "-i", "--", "cat", stdin="through\nthe pipe\n").out == "through\nthe pipe\n"
    assert box("exec", "box", "--", "cat", stdin="not passed on").out == "", "without -i there is no input"
    big = box("exec", "box", "-i", "--", "wc", "-c", stdin="x" * 3_000_000)
    assert big.out.strip() == "3000000", big
    assert box("exec", "box", "--", "sh", "-c", "kill -9 $$").code == 137
    assert box("exec", "nobody", "--", "true").code == 68
    assert box("exec", "box", "--", "no-such-program").code == 65
    assert box("exec", "box", "-c", "other", "--", "true").code == 68


def test_a_replica_that_has_ended_has_logs_and_no_commands(flame):
    flame("apply", "-f", "-", stdin=job("short", "echo bye"))
    flame("wait", "fw/short", "--for=condition=Complete")
    refused = flame("exec", "short", "--", "true")
    assert refused.code == 66 and "does not run: it has succeeded" in refused.err
    assert flame("logs", "short").out == "bye\n"


def on_terminal(command, environment, *steps, size=(30, 100)):
    """Run on a terminal; steps: (text to wait for, what is typed then, or a new size). Returns the screen and the exit code."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(
        command,
        env=environment | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    seen, at, deadline = b"", 0, time.monotonic() + 30
    waiting = list(steps)
    while time.monotonic() < deadline:
        if waiting and waiting[0][0] in seen[at:]:
            _, typed = waiting.pop(0)
            at = len(seen)
            if isinstance(typed, tuple):
                fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", *typed, 0, 0))
            else:
                os.write(ours, typed)
        if not select.select([ours], [], [], 0.1)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            data = os.read(ours, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
    try:
        code = process.wait(10)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert not waiting, (waiting, seen)
    return seen.decode(), code


def test_exec_with_a_terminal(box):
    screen, code = on_terminal(
        [
            "flame",
            "exec",
            "-it",
            "box",
            "--",
            "sh",
            "-c",
            "stty size; trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.1; done",
        ],
        box.environment,
        (b"ready", (40, 120)),
    )
    assert "30 100" in screen and "40 120" in screen and code == 5
    screen, code = (
        on_terminal(["flame", "exec", "-it", "box", "--", "sh"], box.environment, (b"$ ", b"echo a$((1+1))b; exit 3\n"))
        if os.getuid()
        else on_terminal(
            ["flame", "exec", "-it", "box", "--", "sh"], box.environment, (b"# ", b"echo a$((1+1))b; exit 3\n")
        )
    )
    assert "a2b" in screen and code == 3
    # `exec`: a shell that is about to fork by vfork loses a Ctrl-C (dash 0.5.12, 4 % of those that come right after the echo).
    screen, code = on_terminal(
        ["flame", "exec", "-it", "box", "--", "sh", "-c", "echo go; exec sleep 60"], box.environment, (b"go", b"\x03")
    )
    assert code == 130, "Ctrl-C goes to the command"


@pytest.mark.ledger("B-160")
def test_a_shell_in_a_replica(box):
    ran = box("debug", "shell", "box", stdin="echo $FLAME_WORKLOAD:$FLAME_RANK\nexit 4\n")
    assert (ran.code, ran.out) == (4, "box:0\n")
    prompt = b"# " if not os.getuid() else b"$ "
    screen, code = on_terminal(
        ["flame", "debug", "shell", "box-0"], box.environment, (prompt, b"echo $POD_NAME-$((20+3)); exit 6\n")
    )
    assert "box-0-23" in screen and code == 6


def test_a_drain_waits_for_replicas(flame):
    name = flame("node", "list", "-o", "name").out.split()[0]
    script = "trap 'sleep 0.5; exit 0' TERM; echo here; while true; do sleep 0.1; done"
    body = json.loads(job("slow", script))
    body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5
    assert flame("apply", "-f", "-", stdin=json.dumps(body)).code == 0
    eventually(lambda: "here" in flame("logs", "slow").out)
    listed = json.loads(flame("node", "list", "-o", "json").out)
    assert listed[0]["replicas"] == 1
    try:
        late = flame("node", "drain", name, "--timeout", "0.1")
        assert late.code != 0 and f"still on node {name} after 0.1 s: 1 replica" in late.err
        assert flame("node", "drain", name).out == f"Node {name} is cordoned and empty.\n"
        assert json.loads(flame("node", "list", "-o", "json").out)[0]["replicas"] == 0
        assert flame("delete", "workload", "slow").code == 0
    finally:
        flame("node", "uncordon", name)
