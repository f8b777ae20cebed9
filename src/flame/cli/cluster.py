"""Which cluster a command talks to: the global options put it here, `connected` uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Where:
    """Set once by the global options of a command."""

    endpoint: str | None = None
    config: Path | None = None


@contextmanager
def connected() -> Iterator[Any]:
    """A client of the cluster that was named, or that runs here; without one, of the private history."""
    from flame.cli.clientfile import endpoint_of
    from flame.sdk.connect import connect

    with connect(Where.endpoint or (endpoint_of(Where.config) if Where.config else None)) as client:
        yield client
