"""Who is calling: one line into the sessions reactor for every identity that calls, with its office and intake.

The token comes as `authorization: Bearer TOKEN` with every call. The reactor judges it when the line is made, and ends the line
when the token is revoked or expires; the next call with it is then refused.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from flame.core.base.errors import Unauthenticated
from flame.core.model.access import digest
from flame.core.model.messages import Hello, Identity
from flame.manager.desk import Desk
from flame.manager.grpc.intake import Intake
from flame.manager.grpc.office import Office
from flame.shell.gate import Gate

MOST = 1024
"""Identities whose lines are kept; the one that has not called for longest goes first."""


class Caller:
    def __init__(self, desk: Desk, token: str, identity: Identity | None) -> None:
        self.office = Office(desk, token, identity)
        self.intake = Intake(self.office.submit)
        self.ask, self.watch = self.office.ask, self.office.watch


class Callers:
    """Lines by token. `gate`: what is known of everybody who comes this way."""

    def __init__(self, desk: Desk, gate: Gate) -> None:
        self._desk, self._gate = desk, gate
        self._callers: OrderedDict[str, Caller] = OrderedDict()

    async def of(self, context: Any) -> Caller:
        """Raises Unauthenticated."""
        if self._gate.identity is not None:
            return self._kept("", "", self._gate.identity)
        token = _bearer(context)
        key = digest(token)
        known = self._callers.get(key)
        if known is not None and known.office.open:
            self._callers.move_to_end(key)
            return known
        hello = Hello("client", token=token)
        identity = await self._gate.ask(token) if self._gate.must_ask(hello) else self._gate.knows(hello)
        self._callers.pop(key, None)
        return self._kept(key, token, identity)

    def _kept(self, key: str, token: str, identity: Identity | None) -> Caller:
        caller = self._callers.get(key)
        if caller is None:
            caller = self._callers[key] = Caller(self._desk, token, identity)
            if len(self._callers) > MOST:
                self._callers.popitem(last=False)[1].office.close()
        return caller

    def close(self) -> None:
        for caller in self._callers.values():
            caller.office.close()
        self._callers.clear()


def _bearer(context: Any) -> str:
    for name, value in context.invocation_metadata() or ():
        if name == "authorization":
            scheme, _, token = str(value).partition(" ")
            if scheme.lower() == "bearer" and token:
                return token.strip()
    raise Unauthenticated("this address wants a token and none came", hint="send `authorization: Bearer TOKEN`")
