"""Ids: how they are made and what is refused."""

import random

import pytest

from flame.core.base.errors import InvalidArgument
from flame.core.base.ids import check_app_name, check_session_id, session_id


def test_an_id_is_the_application_and_six_letters():
    """A-04: `<app>-<6 url-safe chars>`."""
    made = session_id("flmping", random.Random(1).randrange)
    app, _, suffix = made.rpartition("-")
    assert (app, len(suffix), suffix.isalnum() and suffix.isascii()) == ("flmping", 6, True)


def test_ids_hardly_ever_collide():
    pick = random.Random(2).randrange
    made = {session_id("a", pick) for _ in range(50_000)}
    assert len(made) >= 49_999


def test_a_long_application_name_still_gives_a_valid_id():
    assert check_session_id(session_id("a" * 253, random.Random(3).randrange))


@pytest.mark.parametrize("text", ["a", "pi-1", "x" * 128, "ünïcode", "with space"])
def test_good_ids(text):
    assert check_session_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "../x", "a/b", "a\\b", "a..b", "a\n", "\x7f", "x" * 129, "ü" * 65, "x" * 10_000_000]
)
def test_bad_ids_are_refused(text):
    with pytest.raises(InvalidArgument) as caught:
        check_session_id(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["a", "flmping", "A-1_b.c", "_x", "9", "a" * 253])
def test_good_application_names(text):
    assert check_app_name(text) == text


@pytest.mark.parametrize("text", ["", ".a", "-a", "a..b", "a/b", "a\\b", "a b", "ä", "a\n", "a" * 254])
def test_bad_application_names_are_refused(text):
    with pytest.raises(InvalidArgument):
        check_app_name(text)
