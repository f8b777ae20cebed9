"""Authorities, once for all tests that only read them: ours, and one that is not ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from flame.security.authority import Authority, Identity


class Trust(NamedTuple):
    """An authority as it signs now, as it signed 400 days ago, and as it will in 30 days."""

    authority: Authority
    past: Authority
    future: Authority

    @property
    def ca(self) -> Path:
        return self.authority.ca_file

    def identity(
        self, name: str, role: str = "server", hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    ) -> Identity:
        return self.authority.issue(role, name, hosts)


def trust(directory: Path, name: str) -> Trust:
    now = datetime.now(UTC)
    Authority.create(directory, name, clock=lambda: now - timedelta(days=800))
    return Trust(
        Authority.load(directory),
        Authority.load(directory, clock=lambda: now - timedelta(days=400)),
        Authority.load(directory, clock=lambda: now + timedelta(days=30)),
    )


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return trust(tmp_path_factory.mktemp("ours") / "certs", "flame")


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return trust(tmp_path_factory.mktemp("foreign") / "certs", "elsewhere")
