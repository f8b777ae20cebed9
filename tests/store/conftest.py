from __future__ import annotations

import pytest
from store.places import DURABLE, KINDS, Place


@pytest.fixture(scope="session")
def one_database(postgres):
    """For tests that only need a name of their own in it."""
    return postgres.make_database()


def _place(request, tmp_path):
    dsn = request.getfixturevalue("one_database") if request.param.startswith("postgres") else ""
    return Place(request.param, tmp_path, dsn)


@pytest.fixture(params=KINDS)
def anywhere(request, tmp_path):
    return _place(request, tmp_path)


@pytest.fixture(params=DURABLE)
def place(request, tmp_path):
    """Where what is written stays."""
    return _place(request, tmp_path)


@pytest.fixture
def store(anywhere):
    made = anywhere.make()
    made.open("h1")
    yield made
    made.close()
