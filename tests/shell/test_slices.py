"""Who has to wait for whom on a busy core."""

from __future__ import annotations

import multiprocessing

import pytest

from flame.platform.slices import LONG, give_way, time_slice
from flame.testing.cluster import LocalCluster


def supported() -> bool:
    """Does the kernel let a process say how long its slice is?"""
    answers = multiprocessing.get_context("spawn").SimpleQueue()
    process = multiprocessing.get_context("spawn").Process(target=_try, args=(answers,))
    process.start()
    process.join(30)
    return answers.get()


def _try(answers) -> None:
    give_way()
    answers.put(time_slice(0) == LONG)


def test_nobody_waits_for_the_scheduler():
    if not supported():
        pytest.skip("slices can be chosen from Linux 6.12 on")
    with LocalCluster() as cluster:
        assert time_slice(cluster.pid("allocator")) == LONG
        assert 0 < time_slice(cluster.pid("manager")) < LONG
    assert 0 < time_slice(0) < LONG
