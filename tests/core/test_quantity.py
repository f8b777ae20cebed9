"""Amounts as text, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame.core.base.backoff import Backoff
from flame.core.base.errors import InvalidArgument
from flame.core.base.quantity import (
    describe,
    format_duration,
    format_resources,
    format_size,
    parse_duration,
    parse_milli,
    parse_resources,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("17", 17), ("17b", 17), ("1k", 1024), ("1KB", 1024), ("1ki", 1024), ("1KiB", 1024), ("2Gi", 2 << 30)]
    + [("1.5m", 3 << 19), ("1t", 1 << 40), ("1PiB", 1 << 50), (" 3 g ", 3 << 30), (12, 12)],
)
def test_every_suffix_is_binary_in_any_case(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "g", "-1", "1x", "1ib", "1 2", "1e3", "9999p", "nan", "٣g"])
def test_what_is_not_a_size_is_refused(text):
    with pytest.raises(InvalidArgument):
        parse_size(text)


def test_sizes_print_in_the_largest_unit_they_fill():
    assert [format_size(n) for n in (17, 1024, 5 << 20, (1 << 30) + 5, 3 << 40)] == [
        "17B",
        "1Ki",
        "5Mi",
        "1Gi",
        "3072Gi",
    ]


@pytest.mark.parametrize(("text", "milli"), [("1", 1000), ("0.5", 500), ("500m", 500), (2, 2000), ("1.25", 1250)])
def test_cpus_may_be_fractions(text, milli):
    assert parse_milli(text) == milli


@pytest.mark.parametrize("text", ["", "m", "-1", "0.0001", "0.5m", "inf", "nan", "1g", "1e40"])
def test_what_is_not_an_amount_is_refused(text):
    with pytest.raises(InvalidArgument):
        parse_milli(text)


def test_resource_text_names_what_it_leaves_out_as_zero():
    assert parse_resources("cpu=1,mem=1g") == {"cpu": 1000, "memory": 1 << 30, "gpu": 0}
    assert parse_resources("memory=1,gpu=2, CPU=0.5") == {"cpu": 500, "memory": 1, "gpu": 2000}


@pytest.mark.parametrize(
    "text", ["", "cpu", "cpu=", "=1", "cpu=1,", "disk=1", "cpu=1,cpu=2", "mem=1,memory=2", "cpu=x"]
)
def test_bad_resource_text_is_refused_with_help(text):
    with pytest.raises(InvalidArgument) as caught:
        parse_resources(text)
    assert caught.value.hint


@given(st.integers(0, 10**6), st.integers(0, 2**50), st.integers(0, 10**5))
def test_resource_text_reads_back_exactly(cpu, memory, gpu):
    amounts = {"cpu": cpu, "memory": memory, "gpu": gpu}
    assert parse_resources(format_resources(amounts)) == amounts


def test_people_read_units():
    assert describe({"cpu": 2500, "memory": 1 << 30, "gpu": 0, "fpga": 2}) == "cpu 2500m, memory 1Gi, fpga 2"
    assert describe({}) == "nothing"


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1h30m", 5400), ("250ms", 0.25), ("7", 7), (0.5, 0.5), ("1d", 86400)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "10x", "1h 30m", "inf"])
def test_what_is_not_a_duration_is_refused(text):
    with pytest.raises(InvalidArgument):
        parse_duration(text)


@given(st.integers(0, 10**10))
def test_durations_read_back(millis):
    assert round(parse_duration(format_duration(millis / 1000)) * 1000) == millis


def test_waits_double_up_to_the_ceiling():
    policy = Backoff(first=0.1, ceiling=30.0)
    assert [policy.delay(n) for n in (0, 1, 2, 3, 10, 10_000)] == [0.0, 0.1, 0.2, 0.4, 30.0, 30.0]
