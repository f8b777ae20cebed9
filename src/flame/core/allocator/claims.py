"""Claims: capacity that is asked for and not yet ours. A granted claim becomes nodes.

    requested -> pending(reason) | granted(nodes) | denied(reason) | revoked(deadline)

A provider (this host, a simulated cloud, later Kubernetes, Ray and pools) answers claims with updates; `Claims` keeps them along
the table and refuses what the table does not have. Providers are pure as well: what they learn from outside comes in as calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from flame.core.base.errors import AlreadyExists, InvalidArgument, NotFound
from flame.core.model.lifecycle import CLAIM
from flame.core.model.resources import Resources
from flame.core.model.states import ClaimState


@dataclass(frozen=True)
class ClaimSpec:
    """`count` nodes of this shape. `gang`: all or none; `term`: seconds it is wanted for, None without end."""

    id: str
    resources: Resources
    count: int = 1
    gang: bool = False
    term: float | None = None
    tenant: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClaimUpdate:
    """What a provider says about a claim.

    reason:   why it waits, was denied or is taken back
    nodes:    names under which its nodes register; only when granted
    deadline: when a revoked claim's nodes go away, seconds since the epoch
    """

    id: str
    state: ClaimState
    reason: str = ""
    nodes: tuple[str, ...] = ()
    deadline: float | None = None


class ClaimProvider(Protocol):
    """Where capacity comes from. Every method returns at once; answers that take time come out of `poll`."""

    name: str

    def request(self, spec: ClaimSpec, now: float) -> Sequence[ClaimUpdate]:
        """Ask for capacity. Asking twice for the same id is asking once."""
        ...

    def withdraw(self, id: str, now: float) -> Sequence[ClaimUpdate]:
        """Give it back, or stop asking. Of an unknown id: nothing."""
        ...

    def poll(self, now: float) -> Sequence[ClaimUpdate]:
        """What has changed by now."""
        ...

    def deadline(self) -> float | None:
        """When `poll` has something to say without anything else happening."""
        ...


@dataclass(frozen=True)
class Claim:
    spec: ClaimSpec
    provider: str
    state: ClaimState = ClaimState.REQUESTED
    reason: str = ""
    nodes: tuple[str, ...] = ()
    deadline: float | None = None


_COMMANDS = {
    ClaimState.PENDING: "wait",
    ClaimState.GRANTED: "grant",
    ClaimState.DENIED: "deny",
    ClaimState.REVOKED: "revoke",
}


class Claims:
    """All claims of a cluster and the providers that answer them."""

    def __init__(self, providers: Sequence[ClaimProvider]) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._claims: dict[str, Claim] = {}

    def request(self, spec: ClaimSpec, provider: str, now: float) -> Claim:
        """Raises InvalidArgument for a claim of nothing or an unknown provider, AlreadyExists for an id in use."""
        if spec.count < 1 or not any(amount > 0 for amount in spec.resources.values()):
            raise InvalidArgument(
                f"claim {spec.id!r} asks for nothing", hint="count and some resource must be positive"
            )
        if provider not in self._providers:
            raise InvalidArgument(f"unknown claim provider {provider!r}", hint=f"known: {sorted(self._providers)}")
        if spec.id in self._claims:
            raise AlreadyExists(f"claim {spec.id!r} exists")
        self._claims[spec.id] = Claim(spec, provider)
        self._take(self._providers[provider].request(spec, now))
        return self._claims[spec.id]

    def withdraw(self, id: str, now: float) -> Claim:
        """Raises NotFound."""
        claim = self.get(id)
        self._take(self._providers[claim.provider].withdraw(id, now))
        return self._claims[id]

    def poll(self, now: float) -> list[Claim]:
        """Ask every provider what has changed; the claims that have."""
        changed: dict[str, None] = {}
        for provider in self._providers.values():
            changed |= dict.fromkeys(self._take(provider.poll(now)))
        return [self._claims[id] for id in changed]

    def deadline(self) -> float | None:
        moments = [moment for p in self._providers.values() if (moment := p.deadline()) is not None]
        return min(moments, default=None)

    def get(self, id: str) -> Claim:
        """Raises NotFound."""
        if id not in self._claims:
            raise NotFound(f"no claim {id!r}")
        return self._claims[id]

    def all(self) -> list[Claim]:
        return list(self._claims.values())

    def _take(self, updates: Sequence[ClaimUpdate]) -> list[str]:
        taken = []
        for update in updates:
            claim = self._claims.get(update.id)
            if claim is None:
                continue  # a late word about a claim of an earlier life
            state = CLAIM.step(claim.state, _COMMANDS[update.state])
            nodes = update.nodes or claim.nodes
            self._claims[update.id] = replace(
                claim, state=state, reason=update.reason, nodes=nodes, deadline=update.deadline
            )
            taken.append(update.id)
        return taken
