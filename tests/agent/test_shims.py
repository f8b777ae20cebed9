"""The gRPC shim against services that behave and services that do not."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from flame.agent.shims import grpc as shim
from flame.agent.shims.environment import compose, expand, socket_path
from flame.agent.shims.installers import Installed, install
from flame.agent.shims.process import how
from flame.core.base.errors import FlameError, InvalidArgument, TaskFailed, Unimplemented
from flame.core.model import messages as m
from flame.sdk.service import SessionContext, TaskContext

SERVICE = Path(__file__).parent / "foreign_service.py"


@pytest.fixture(autouse=True)
def executor(tmp_path, monkeypatch):
    """The surroundings of an executor process: a directory of its own and an id."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLAME_EXECUTOR_ID", "e-1")
    monkeypatch.setenv("FLAME_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FLAME_SOCKET_DIR", str(tmp_path / "s"))
    (tmp_path / "s").mkdir()
    return tmp_path


def a_spec(behaviour: str = "", **more: object) -> m.AppSpec:
    environment = {"MISBEHAVE": behaviour}
    given = {"command": sys.executable, "arguments": (str(SERVICE),), "environments": environment} | more
    return m.AppSpec(**given)


@contextlib.contextmanager
def serving(behaviour: str = "", common_data: bytes | None = None, **more: object):
    spec = a_spec(behaviour, **more)
    made = shim.GrpcShim(m.Enter("s", "app", spec, common_data))
    ctx = SessionContext("s", "app", common_data, spec)
    made.on_session_enter(ctx)
    try:
        yield lambda data, no=1: made.on_task_invoke(TaskContext(no, 1, data, ctx))
    finally:
        made.on_session_leave()


@pytest.mark.ledger("A-22")
def test_a_foreign_service_is_entered_invoked_and_left(executor):
    with serving() as invoke:
        assert [invoke(data) for data in (b"x", b"", None)] == [b"x", b"", None]
        for n in range(100):
            assert invoke(b"%d" % n) == b"%d" % n
        assert invoke(b"context", 7) == f"{sys.executable}|s|7".encode()
        with pytest.raises(TaskFailed, match="five"):
            invoke(b"fail")
        with pytest.raises(TaskFailed, match="boom in invoke"):
            invoke(b"raise")
        with pytest.raises(TaskFailed, match="larger than max"):
            invoke(b"huge")
        with pytest.raises(FlameError, match="at most"):
            invoke(bytes(5_000_000))
        assert invoke(b"still there") == b"still there"
        assert (executor / "work" / "app" / "e-1" / "tmp").is_dir()
    assert not (executor / "work" / "app" / "e-1").exists()
    assert not list((executor / "s").iterdir())


def test_its_environment_is_the_published_one(executor, monkeypatch):
    monkeypatch.setenv("SOMETHING", "of the agent")
    environment = {"MISBEHAVE": "", "MIXED": "${SOMETHING} and $NOTHING", "RUST_LOG": "trace"}
    with serving(environments=environment) as invoke:
        env = dict(line.split("=", 1) for line in invoke(b"env").decode().splitlines() if "=" in line)
    assert env["FLAME_INSTANCE_ENDPOINT"].startswith(str(executor / "s"))
    assert env["MIXED"] == "of the agent and "
    assert env["RUST_LOG"] == "info"
    assert env["TMPDIR"] == env["TMP"] == env["TEMP"] == str(executor / "work" / "app" / "e-1" / "tmp")
    assert "FLAME_EXECUTOR_ID" not in env


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ("exit", "exited with code 1 before it listened: cannot find my model"),
        ("refuse", "not today"),
        ("enter-raises", "boom in enter"),
    ],
)
def test_a_service_that_cannot_serve_says_why(behaviour, text):
    with pytest.raises(FlameError, match=text), serving(behaviour):
        pass


@pytest.mark.parametrize(("behaviour", "text"), [("silent", "did not listen"), ("garbage", "does not speak gRPC")])
def test_a_service_that_never_answers_is_given_up_and_ended(monkeypatch, behaviour, text):
    monkeypatch.setenv("FLAME_START_LIMIT", "0.7")
    with pytest.raises(FlameError, match=text), serving(behaviour):
        pass


def test_a_leave_that_hangs_does_not_hold_the_executor(monkeypatch):
    monkeypatch.setattr(shim, "LEAVE_SECONDS", 0.3)
    begun = time.monotonic()
    with serving("leave-hangs") as invoke:
        invoke(b"x")
    assert time.monotonic() - begun < 10


def test_a_command_that_is_not_there_is_told():
    with pytest.raises(InvalidArgument, match="cannot start '/nowhere'"), serving(command="/nowhere"):
        pass
    with pytest.raises(InvalidArgument, match="no command"), serving(command=None):
        pass


DIES = """
import sys
from test_shims import a_spec
from flame.agent.shims import grpc as shim
from flame.core.model import messages as m
from flame.sdk.service import SessionContext, TaskContext
spec = a_spec()
made = shim.GrpcShim(m.Enter("s", "app", spec, None))
ctx = SessionContext("s", "app", None, spec)
made.on_session_enter(ctx)
made.on_task_invoke(TaskContext(1, 1, sys.argv[1].encode(), ctx))
"""


@pytest.mark.ledger("A-14")
@pytest.mark.parametrize(("how_", "code"), [("exit", 7), ("kill", -11)])
def test_a_service_that_dies_under_a_task_takes_its_executor_with_it(how_, code):
    env = dict(os.environ) | {"PYTHONPATH": str(SERVICE.parent)}
    done = subprocess.run([sys.executable, "-c", DIES, how_], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert how_ == "kill" or "last words" in done.stderr


def test_words_for_exit_codes():
    assert [how(3), how(-9), how(-250)] == ["exited with code 3", "was killed by SIGKILL", "was killed by signal 250"]


def test_small_parts(tmp_path, monkeypatch):
    assert expand("$A/${B}/$C.", {"A": "1", "B": "2"}) == "1/2/."
    env = compose({"PATH": "/bin"}, {"TMP": "/mine"}, Installed({"X": "1"}, {"PATH": ["/p/bin"]}), tmp_path)
    assert (env["PATH"], env["X"], env["TMP"], env["TEMP"]) == ("/p/bin:/bin", "1", "/mine", str(tmp_path))
    monkeypatch.setenv("FLAME_SOCKET_DIR", str(tmp_path / ("x" * 90)))
    assert len(str(socket_path("e-1"))) < 100


def packed(archive: Path, name: str, content: bytes) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o755
        tar.addfile(info, io.BytesIO(content))


@pytest.mark.ledger("A-19")
def test_packages_are_unpacked_once_by_content(tmp_path):
    archive = tmp_path / "p.tar.gz"
    spec = m.AppSpec(url=archive.as_uri(), installer="binary")
    packed(archive, "bin/tool", b"one")
    first = install("app", spec, tmp_path, {})
    source = Path(first.variables["FLAME_APP_DIR"])
    before = (source / "bin" / "tool").stat().st_ino
    assert first == install("app", spec, tmp_path, {})
    assert (source / "bin" / "tool").stat().st_ino == before
    assert first.paths["PATH"] == [str(source / "bin"), str(source)]
    packed(archive, "bin/tool", b"two")
    assert install("app", spec, tmp_path, {}) != first


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"installer": "magic"}, InvalidArgument, "unknown installer"),
        ({"installer": "binary", "url": "file:///nowhere.tar.gz"}, InvalidArgument, "no package"),
        ({"installer": "binary", "url": "grpc://x/y.tar.gz"}, Unimplemented, "cannot be fetched"),
    ],
)
def test_packages_that_cannot_be_installed_say_why(tmp_path, fields, kind, text):
    with pytest.raises(kind, match=text):
        install("app", m.AppSpec(**fields), tmp_path, {})


def test_a_package_that_leads_outside_is_refused(tmp_path):
    packed(tmp_path / "p.tgz", "../../../../../out", b"x")
    with pytest.raises(InvalidArgument, match="leads outside"):
        install("app", m.AppSpec(url=(tmp_path / "p.tgz").as_uri(), installer="binary"), tmp_path, {})
