"""Arithmetic of resources and the choice of GPUs."""

import math

from hypothesis import given
from hypothesis import strategies as st

from flame.core.model.resources import (
    Gpu,
    add,
    choose_devices,
    dominant_share,
    fits,
    lacking,
    occupy,
    slots,
    sub,
    total,
)

amounts = st.dictionaries(st.sampled_from(["cpu", "memory", "gpu", "fpga"]), st.integers(0, 10**6))


@given(amounts, amounts)
def test_what_was_added_can_be_taken_away(left, right):
    back = sub(add(left, right), right)
    assert all(back.get(name, 0) == left.get(name, 0) for name in {*left, *right})


@given(amounts, amounts)
def test_the_sum_holds_its_parts(left, right):
    assert fits(left, add(left, right)) and add(left, right) == total([left, right])


def test_what_is_missing_counts_as_zero():
    assert fits({}, {}) and fits({"gpu": 0}, {}) and not fits({"gpu": 1}, {"cpu": 5})
    assert lacking({"cpu": 2, "memory": 9, "gpu": 1}, {"cpu": 2, "memory": 3}) == ["memory", "gpu"]


def test_the_dominant_share_is_the_largest():
    assert dominant_share({"cpu": 1, "memory": 3}, {"cpu": 10, "memory": 4}) == 0.75
    assert dominant_share({"gpu": 1}, {"cpu": 10}) == math.inf
    assert dominant_share({}, {}) == 0.0


def test_slots_are_counted_in_default_sizes():
    """A-38: the largest resource decides, rounded up."""
    default = {"cpu": 1000, "memory": 1 << 30}
    assert [slots(r, default) for r in ({}, {"cpu": 500}, {"cpu": 2000}, {"cpu": 1000, "memory": 5 << 29})] == [
        1,
        1,
        2,
        3,
    ]


def test_whole_gpus_come_from_empty_devices():
    devices = [Gpu("a", used=100), Gpu("b"), Gpu("c")]
    assert choose_devices(devices, 2000) == {"b": 1000, "c": 1000}
    assert choose_devices(devices, 3000) is None


def test_a_fraction_takes_the_fullest_device_with_room():
    devices = [Gpu("a"), Gpu("b", used=500), Gpu("c", used=800)]
    assert choose_devices(devices, 500) == {"b": 500}
    assert choose_devices(devices, 1500) == {"a": 1000, "b": 500}
    assert choose_devices([Gpu("a", used=600), Gpu("b", used=600)], 500) is None


@given(st.lists(st.integers(1, 2500), max_size=12))
def test_no_device_is_used_twice(requests):
    devices = [Gpu(str(n)) for n in range(4)]
    taken = [found for milli in requests if (found := choose_devices(devices, milli)) and not occupy(devices, found)]
    assert all(0 <= device.used <= 1000 for device in devices)
    for found in taken:
        occupy(devices, found, -1)
    assert all(device.used == 0 for device in devices)
