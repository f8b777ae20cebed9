"""Every connection begins so, whoever is at its ends."""

from __future__ import annotations

from flame.core.model.messages.base import Message


class Hello(Message):
    """First message of every connection. `role` is client, executor, manager or agent."""

    role: str
    magic: str = "FLAME"
    version_min: int = 1
    version_max: int = 1
    features: tuple[str, ...] = ()
    token: str = ""
    client_id: str = ""  # a client's own id, or an executor's placement id
    history: str = ""  # of the last Welcome, "" on the first connection
    session: str = ""  # executors: the session they serve
    held: tuple[int, ...] = ()  # executors reconnecting: runs they hold
    python: str = ""  # "3.11"


class Welcome(Message):
    version: int
    epoch: int
    history: str
    durability: str  # memory, process, power
    cluster: str = "flame"
    release: str = ""
    features: tuple[str, ...] = ()
    python: str = ""
    shard: int = 0  # which of `shards` this is
    shards: tuple[str, ...] = ()  # addresses of all session managers, when there are several


class Failure(Message):
    """The answer to a request that could not be done; `code` is a key of `core.base.errors.BY_CODE`."""

    code: str
    message: str
    hint: str = ""
    retry_after: float = 0.0  # seconds; 0: nobody can tell
    room: int = 0  # of a full queue: tasks that a smaller frame may have; 0: nobody said


class Done(Message):
    """The answer to a request that has nothing to tell."""
