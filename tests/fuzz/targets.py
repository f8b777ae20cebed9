"""What is thrown at the engine, and what it may do about it: every target takes bytes and raises only errors that are typed answers.

Anything else (a KeyError, a hang, a broken invariant) is a bug. `seeds` are valid inputs that mutations start from.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from flame.allocation.process import decode_row as decode_allocator_row
from flame.core.allocator.reactor import Allocator
from flame.core.base.errors import FlameError, StorageCorrupt
from flame.core.model import messages as m
from flame.core.model.access import digest
from flame.core.model.payloads import pack_payloads
from flame.core.model.reactor import Close, Joined, Lost, Received, Recorded, Send
from flame.core.sessions import records as r
from flame.core.sessions.reactor import Sessions
from flame.manager.process import decode_row
from flame.ops.config import ClusterConfig, load
from flame.store.port import Row
from flame.wire.codec import Deframer, decode, encode, frame

ALLOCATOR, CLIENT, EXECUTOR = 1, 10, 20


def a_reactor() -> Sessions:
    """A session with tasks, one executor that has some of them, a tenant with a user."""
    core = Sessions()
    core.begin(1, "h", 1000.0)

    def handle(event: object) -> None:
        core.handle(event, 1000.0)  # type: ignore[arg-type]

    handle(Joined(ALLOCATOR, m.Hello("allocator")))
    tokens = (m.TokenInfo("i", "ann", "user", "acme", 0.0, None, digest("secret")),)
    handle(Received(ALLOCATOR, 0, m.Identities((m.TenantInfo("acme"),), tokens)))
    handle(Joined(CLIENT, m.Hello("client", client_id="c", features=("results",))))
    handle(Received(CLIENT, 1, m.RegisterApp("app", m.AppSpec())))
    handle(Received(CLIENT, 2, m.OpenSession("s", m.SessionSpec("app"))))
    handle(Received(CLIENT, 3, m.Submit("s", 1, *pack_payloads([b"x"] * 10))))
    handle(Received(ALLOCATOR, 0, m.Granted("e", "s", "n", "token")))
    handle(Joined(EXECUTOR, m.Hello("executor", client_id="e", token="token")))
    handle(Received(EXECUTOR, 0, m.Entered(0)))
    return core


def frames(data: bytes) -> None:
    """Bytes on a connection: cut into frames, decoded, and said to the reactor by a client and by an executor."""
    try:
        messages = [decode(envelope) for envelope in Deframer().feed(data)]
    except FlameError:
        return
    if not messages:
        return
    core = a_reactor()
    gone: set[int] = set()
    for peer in (CLIENT, EXECUTOR):
        for request, message in messages:
            if peer in gone:
                break
            effects = core.handle(Received(peer, request, message), 1000.0)
            core.check()
            for effect in effects:
                assert isinstance(effect, Send) is False or encode(effect.message, effect.request)
                if isinstance(effect, Close):
                    gone.add(effect.peer)
                    core.handle(Lost(effect.peer), 1000.0)
    core.check()


def hello(data: bytes) -> None:
    """A token, an id, a role: whatever a stranger says about himself."""
    text = data.decode("utf-8", "replace")
    parts = (text.split("\n") + [""] * 4)[:4]
    core = a_reactor()
    for identity in (None, m.Identity("x", "user", parts[3] or "acme", "oidc")):
        said = m.Hello(parts[0] or "client", token=parts[1], client_id=parts[2], session=parts[3])
        if said.role == "allocator":
            continue  # the shell lets no stranger say that
        effects = core.handle(Joined(99, said, identity), 1000.0)
        core.check()
        assert (
            identity is not None
            or parts[1] in ("secret", "token")
            or not any(isinstance(e, Send) and type(e.message) is m.Welcome and e.peer == 99 for e in effects)
        )
        core.handle(Lost(99), 1000.0)


def journal(data: bytes) -> None:
    """A row of the journal that was damaged in a way its checksum does not show (or written by somebody else)."""
    try:
        record = decode_row(Row(1, "", r.VERSION, data))
    except StorageCorrupt:
        return
    r.encode_record(record)


def allocator_journal(data: bytes) -> None:
    try:
        record = decode_allocator_row(Row(1, "", 1, data))
    except StorageCorrupt:
        return
    made = Allocator(lambda kind: "p", lambda: "t")
    made.handle(Recorded(1, record), 1.0)
    made.check()


def yaml(data: bytes) -> None:
    """flame-cluster.yaml."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        try:
            load(Path(file.name), ClusterConfig(Path("/tmp/x")))
        except FlameError:
            return


@functools.cache
def _issuer() -> object:
    from flame.security.oidc import Issuer

    return Issuer("http://127.0.0.1:9", "flame")


def jwt(data: bytes) -> None:
    """A token of an outside issuer that is not there."""
    try:
        _issuer().verify(data.decode("utf-8", "replace"))  # type: ignore[attr-defined]
    except FlameError:
        return
    raise AssertionError("a token was taken that nobody signed")


def _valid_frames() -> list[bytes]:
    kinds = [
        m.Submit("s", 2, *pack_payloads([b"a", None, b""])), m.OpenSession("t", m.SessionSpec("app"), "either"), m.CancelTasks("s", (1, 3)),
        m.Resume("s", (1, 2)), m.WatchTask("s", 1, 5), m.CloseSession("s"), m.GetTask("s", 1), m.ListTasks("s"), m.Explain("s/1"),
        m.Completed("s", 1, (1, 2, 1, 1, 1), b"", *pack_payloads([b"x", b"y"]), 1.0, 2.0), m.Recalled("s", (1, 2, 1, 1, 1)),
        m.Started("s", 1, 1, 1, 1.0), m.LogLine("s", 1, "out", "hi"), m.SetTenant(m.TenantInfo("t")), m.CreateToken("n", "user"),
    ]  # fmt: skip
    return [frame(kind, n) for n, kind in enumerate(kinds, 1)]


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "frames": (frames, _valid_frames()),
    "hello": (hello, [b"client\nsecret\nc\nacme", b"executor\ntoken\ne\ns", b"client\n\n\n"]),
    "journal": (
        journal,
        [
            r.encode_record(r.SessionOpened("s", 1, m.SessionSpec("app"), 1.0)),
            r.encode_record(r.SessionClosed("s", 1.0)),
        ],
    ),
    "allocator-journal": (
        allocator_journal,
        [msgspec.msgpack.encode([5, "acme"]), msgspec.msgpack.encode([3, "node/n", "r", 1, "m", 1.0])],
    ),
    "yaml": (
        yaml,
        [b"cluster:\n  name: x\n  resreq: cpu=1,mem=1g\n  listen: 127.0.0.1:1\n  limits: {max_sessions: 3}\n"],
    ),
    "jwt": (jwt, [b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", b"eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.AAAA"]),
}
