"""What is told, and when: an executor may forget a frame only behind its record."""

from __future__ import annotations

from flame.core.model import messages as m
from flame.core.model.payloads import pack_payloads
from flame.core.model.reactor import LAZY, Joined, Persist, Received, Send
from flame.core.sessions.reactor import Sessions


def test_recorded_follows_the_record():
    sessions = Sessions()
    sessions.begin(1, "h", 0.0)
    sessions.handle(Joined(9, m.Hello("allocator")), 0.0)
    sessions.handle(Joined(1, m.Hello("client", client_id="c", features=("results",))), 0.0)
    sessions.handle(Received(1, 1, m.RegisterApp("app", m.AppSpec())), 0.0)
    sessions.handle(Received(1, 2, m.OpenSession("s", m.SessionSpec("app"))), 0.0)
    sessions.handle(Received(9, 0, m.Granted("e", "s", "n", "t")), 0.0)
    sessions.handle(Joined(5, m.Hello("executor", client_id="e", token="t")), 0.0)
    sessions.handle(Received(5, 0, m.Entered(0)), 0.0)
    effects = sessions.handle(Received(1, 3, m.Submit("s", 1, *pack_payloads([b"x"]))), 0.0)
    assign = next(e.message for e in effects if isinstance(e, Send) and isinstance(e.message, m.Assign))
    done = m.Completed("s", 1, assign.runs, b"", *pack_payloads([b"y"]), 0.0, 0.1)
    effects = sessions.handle(Received(5, 0, done), 0.1)
    record = next(i for i, e in enumerate(effects) if isinstance(e, Persist))
    told = next(i for i, e in enumerate(effects) if isinstance(e, Send) and isinstance(e.message, m.Recorded))
    assert told > record
    assert effects[told].when == LAZY
