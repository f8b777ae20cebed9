"""@flame.task and FlameExecutor on a real cluster."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import flame
from flame.sdk import connect as connecting
from flame.testing.cluster import eventually


@pytest.fixture(autouse=True)
def default(client, monkeypatch):
    monkeypatch.setattr(connecting, "_default", client)


def test_submit_map_and_local_call():
    @flame.task
    def square(x):
        return x * x

    assert square(4) == 16
    assert square.submit(4).result(30) == 16
    assert list(square.map(range(2000))) == [x * x for x in range(2000)]
    assert sorted(square.map(range(50), ordered=False)) == sorted(x * x for x in range(50))


def test_closures_lambdas_and_sibling_functions_travel():
    factor = 7

    def helper(x):
        return x * factor

    @flame.task
    def work(x, *, plus=0):
        return helper(x) + plus

    assert work.submit(3, plus=1).result(30) == 22


def test_futures_as_arguments_are_replaced_by_their_values():
    @flame.task
    def slow(x):
        time.sleep(0.1)
        return x

    @flame.task
    def add(a, b):
        return a + b

    assert add.submit(slow.submit(1), add.submit(slow.submit(2), 3)).result(30) == 6


def test_an_argument_that_failed_fails_the_call():
    @flame.task
    def bad():
        raise LookupError("nothing there")

    @flame.task
    def use(x):
        return x

    with pytest.raises(flame.TaskFailed, match="nothing there"):
        use.submit(bad.submit()).result(30)


def test_the_original_exception_is_the_cause():
    @flame.task
    def bad():
        raise LookupError("nothing there")

    with pytest.raises(flame.TaskFailed) as caught:
        bad.submit().result(30)
    assert isinstance(caught.value.__cause__, LookupError)
    assert "in bad" in caught.value.remote_traceback


def test_retry_on_names_what_is_worth_another_attempt():
    @flame.task(retries=5, retry_on=(OSError,))
    def flaky(kind):
        attempt = flame.current_task().attempt
        if attempt < 3:
            raise OSError("busy") if kind == "os" else ValueError("wrong")
        return attempt

    assert flaky.submit("os").result(30) == 3
    with pytest.raises(flame.TaskFailed, match="wrong"):
        flaky.submit("value").result(30)


def test_nested_tasks_lend_their_slot_and_never_deadlock():
    @flame.task
    def fib(n):
        if n < 2:
            return n
        left, right = fib.submit(n - 1), fib.submit(n - 2)
        return left.result() + right.result()

    assert fib.submit(7).result(90) == 13


def test_yielded_items_come_as_they_are_made():
    @flame.task
    def count(n):
        for i in range(n):
            yield i
            time.sleep(0.15)

    stream = count.submit(4)
    seen = []
    begun = time.monotonic()
    for item in stream:
        seen.append((item, time.monotonic() - begun))
    assert [i for i, _ in seen] == [0, 1, 2, 3]
    assert seen[0][1] < seen[3][1] - 0.2
    assert stream.result() == [0, 1, 2, 3]


def test_timeout_option():
    @flame.task(timeout=0.2)
    def forever():
        time.sleep(60)

    with pytest.raises(flame.TaskTimeout):
        forever.submit().result(30)


def test_what_cannot_be_pickled_is_typed_and_harmless():
    lock = threading.Lock()

    @flame.task
    def bad():
        return lock

    @flame.task
    def fine(x):
        return x

    with pytest.raises(flame.Unpicklable, match="bad"):
        bad.submit()
    with pytest.raises(flame.Unpicklable, match="argument"):
        fine.submit(lock)
    assert fine.submit(1).result(30) == 1


def test_a_result_that_cannot_be_pickled_fails_its_task():
    @flame.task
    def bad():
        return threading.Lock()

    with pytest.raises(flame.Unpicklable, match="cannot be pickled"):
        bad.submit().result(30)


def test_unknown_options_are_named():
    @flame.task
    def f():
        return 1

    with pytest.raises(flame.InvalidArgument, match="cpus"):
        f.options(cpus=2)
    assert f.options(retries=1, timeout=20).submit().result(30) == 1


def test_a_script_needs_no_main_guard_and_may_use_its_siblings(cluster, tmp_path):
    (tmp_path / "sibling.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "script.py").write_text(
        textwrap.dedent("""
            import flame, sibling

            @flame.task
            def work(x):
                return sibling.double(x)

            print(sum(work.map(range(10))))
        """)
    )
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(FLAME_ENDPOINT=str(cluster.data_dir)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "90\n", done.stderr


def test_flame_sync_runs_in_the_caller(tmp_path):
    script = textwrap.dedent("""
        import os, flame

        @flame.task
        def pid():
            return os.getpid()

        @flame.task
        def items():
            yield 1
            yield 2

        assert pid.submit().result() == os.getpid()
        assert list(items.submit()) == [1, 2]

        class Echo(flame.FlameService):
            def on_task_invoke(self, ctx):
                return ctx.input

        with flame.connect().session(Echo) as session:
            assert session.invoke(b"x") == b"x"
        print("ok")
    """)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(FLAME_SYNC="1"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "ok\n", done.stderr


def environment(**more):
    import os

    return os.environ | more


def test_executor_submit_and_map(client):
    with flame.FlameExecutor(client=client) as pool:
        futures = [pool.submit(pow, 2, n) for n in range(2000)]
        assert [f.result(30) for f in futures] == [2**n for n in range(2000)]
        assert list(pool.map(divmod, [7, 8], [2, 3])) == [(3, 1), (2, 2)]
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result(30)


def test_a_python_mismatch_is_named(client, monkeypatch):
    from flame.sdk import functions

    monkeypatch.setattr(functions, "common_data", lambda: b'{"python": "3.0", "path": "[]"}')
    pool = flame.FlameExecutor(client=client)
    with pytest.raises(flame.FlameError, match=r"Python 3\.0"):
        pool.submit(pow, 2, 2).result(60)
    pool.shutdown(wait=False, cancel_futures=True)


def test_ctrl_c_cancels_what_the_call_began(cluster, client):
    """A script in the middle of a map is interrupted: its tasks do not go on."""
    script = textwrap.dedent("""
        import flame, time

        class Sleeper(flame.FlameService):
            def on_task_invoke(self, ctx):
                time.sleep(0.5)

        client = flame.connect()
        session = client.session(Sleeper, id="interrupted", detached=True)
        print("ready", flush=True)
        try:
            list(session.map([None] * 400))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment(FLAME_ENDPOINT=str(cluster.data_dir)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    eventually(lambda: client.get_session("interrupted").running > 0)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=60)[0] == "interrupted\n"
    info = client.get_session("interrupted")
    assert (info.pending, info.cancelled > 300) == (0, True)
