"""For all tests: which requirement rows stand (`pytest -m ledger`), and nothing left behind between tests."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from flame.core.model.access import PREFIX
from flame.testing.cluster import LocalCluster

# What a shell does whose environment is activated: services and replicas find the Python that the tests run with.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

# Tests fork; threads that gRPC would start again in the fork are in the way.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

TOKEN = re.compile(PREFIX.encode() + rb"[A-Za-z0-9_-]{43}")
"""What every token looks like that the engine makes."""
_leaks: list[str] = []
_rows: dict[str, list[tuple[str, str]]] = defaultdict(list)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.when == "call" or (report.when == "setup" and not report.passed):
        for marker in item.iter_markers("ledger"):
            for row in marker.args:
                _rows[row].append((report.outcome, item.nodeid))
    return report


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Rows only when they were asked for: a long list would hide the failures of a normal run."""
    for leak in _leaks:
        terminalreporter.write_line(f"FAILED a token was written to {leak}", red=True)
    if "ledger" not in (config.option.markexpr or "") or not _rows:
        return
    terminalreporter.section("ledger")
    for row in sorted(_rows, key=lambda name: (name[0], int(name[2:]))):
        outcomes = [outcome for outcome, _ in _rows[row]]
        word = "fails" if "failed" in outcomes else "stands" if "passed" in outcomes else "skipped"
        terminalreporter.write_line(f"{row:<6} {word:<8} {len(outcomes)} tests")
    standing = sum("failed" not in [o for o, _ in tests] for tests in _rows.values())
    terminalreporter.write_line(f"{standing} of {len(_rows)} rows stand")


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server for the whole run; each test takes a database of its own."""
    from flame.testing.postgres import PostgresServer

    with PostgresServer() as server:
        yield server


@pytest.fixture
def database(postgres):
    """Address of an empty database."""
    return postgres.make_database()


@pytest.fixture(autouse=True, scope="session")
def a_home_of_their_own(tmp_path_factory, request):
    """Tests that use the SDK in this process must not find, or leave anything in, the user's own ~/.flame."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    patch.setenv("HOME", str(home))
    for name in ("FLAME_ENDPOINT", "FLAME_TOKEN", "FLAME_TOKEN_FILE", "FLAME_SYNC"):
        patch.delenv(name, raising=False)
    yield
    patch.undo()


def _look_for_tokens(where: str, data: bytes) -> None:
    if TOKEN.search(data):
        _leaks.append(where)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, text in report.sections:
        _look_for_tokens(f"{report.nodeid}: {name}", text.encode())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Secrets never in logs: in nothing that any test printed, and in no log of any cluster it ran, may there be a token."""
    if _leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True, scope="session")
def logs_hold_no_tokens():
    def inspect(data_dir: Path) -> None:
        for path in (data_dir / "logs").rglob("*"):
            if path.is_file():
                _look_for_tokens(str(path.relative_to(data_dir)), path.read_bytes())

    LocalCluster.inspectors.append(inspect)
    yield
    LocalCluster.inspectors.remove(inspect)
