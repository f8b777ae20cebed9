"""What the library sees of a future while results come in: each future is told once, whatever is between the library's two looks."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, as_completed, wait
from concurrent.futures._base import FINISHED, PENDING

from flame.sdk.future import Future


class Waiter:
    def __init__(self) -> None:
        self.told: list[Future] = []

    add_result = add_exception = add_cancelled = lambda self, future: self.told.append(future)


def test_a_result_that_comes_while_the_library_looks_is_told_afterwards():
    future, waiter = Future(), Waiter()
    with future._condition:
        assert future._state == PENDING
        future._stage = FINISHED  # as the link does it, without the condition
        settling = threading.Thread(target=future._settle)
        settling.start()
        assert future._state == PENDING, "the second look says the same"
        future._waiters.append(waiter)
    settling.join(5)
    assert future._state == FINISHED
    assert waiter.told == [future]


def test_a_result_that_was_there_at_the_first_look_is_not_told():
    future, waiter = Future(), Waiter()
    future._stage = FINISHED
    with future._condition:
        assert future._state == FINISHED
        future._waiters.append(waiter)
    assert not future._settle()
    assert waiter.told == []


def test_as_completed_and_wait_while_results_come_in():
    """Thousands of futures that end while they are looked at: every one is seen once, and nobody is told too early."""
    for _ in range(20):
        futures = [Future() for _ in range(500)]

        def resolve(futures=futures) -> None:
            for future in futures:
                future._stage = FINISHED
                if future._cond is not None and future._settle():
                    future._call_hooks()

        thread = threading.Thread(target=resolve)
        thread.start()
        done, _ = wait(futures[250:], return_when=FIRST_COMPLETED, timeout=10)
        assert done
        assert len(list(as_completed(futures, timeout=10))) == 500
        thread.join(10)
        assert len(wait(futures, timeout=10).done) == 500
