"""What a scheduling cycle costs is what it works: the pause behind it is a multiple of that."""

from __future__ import annotations

import time

from flame.allocation.process import _Timed
from flame.core.allocator.reactor import Allocator
from flame.core.model.reactor import Ticked


class Slow(Allocator):
    def handle(self, event, now):
        self.act()
        return super().handle(event, now)


def cost_of(act) -> float:
    reactor = Slow(lambda kind: "id", lambda: "token")
    reactor.act = act
    _Timed(reactor).handle(Ticked(), 0.0)
    return reactor.cycle_cost


def work(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_time_in_which_the_process_was_stopped_is_no_cost():
    """Else an allocator that was paused for a second would plan nothing for five more."""
    assert cost_of(lambda: time.sleep(0.3)) < 0.1
    assert 0.05 <= cost_of(lambda: work(0.05)) < 0.3
