"""Watched tasks of a client, across connections: a new one subscribes again and asks where the tasks are, so that a start that happened
while there was no connection is told, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flame.core.base.errors import FlameError, NotFound
from flame.core.model import messages as m
from flame.core.model.states import TaskState

Hook = Callable[[m.TaskChanged], None]


class Watch:
    """One subscription. Where answers to `again` go it stands for a queue: of that, `put` is all that is needed."""

    def __init__(self, message: m.WatchTask, hook: Hook, owner: Watches) -> None:
        self.message, self.hook, self._owner = message, hook, owner
        #: (attempt, state) that was told last
        self.told = (0, 0)

    def put(self, answer: m.Message | FlameError) -> None:
        """Where the task is, after a reconnect. Its end comes by the watch itself; that of a deleted session by nothing else."""
        if isinstance(answer, m.TaskInfo) and answer.state == TaskState.RUNNING:
            self._owner.changed(m.TaskChanged(self.message.watch, answer))
        elif isinstance(answer, NotFound):
            self._owner.changed(m.TaskChanged(self.message.watch, None))


class Watches:
    """call: runs a hook on the thread for callbacks."""

    def __init__(self, call: Callable[[Callable[[], object]], None]) -> None:
        self._call = call
        self._watches: dict[int, Watch] = {}

    def add(self, message: m.WatchTask, hook: Hook) -> None:
        self._watches[message.watch] = Watch(message, hook, self)

    def drop(self, number: int) -> bool:
        """Was it there?"""
        return self._watches.pop(number, None) is not None

    def changed(self, message: m.TaskChanged) -> None:
        found = self._watches.get(message.watch)
        if found is None:
            return
        if message.task is not None:
            now = message.task.attempt, message.task.state
            if now == found.told:
                return
            found.told = now
        if message.task is None or message.task.state >= TaskState.SUCCEED:
            self.drop(message.watch)
        self._call(lambda: found.hook(message))

    def again(self) -> Iterator[tuple[m.Message, Watch]]:
        """What to ask on a new connection, and where the answers go."""
        for watch in list(self._watches.values()):
            yield watch.message, watch
            yield m.GetTask(watch.message.session, watch.message.no), watch
