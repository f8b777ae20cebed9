"""One scheduling cycle: Snapshot -> Proposal -> Plan."""

from __future__ import annotations

from flame.core.model.snapshot import Plan, Snapshot
from flame.core.scheduler.actions.allocate import allocate
from flame.core.scheduler.actions.explain import explain
from flame.core.scheduler.actions.reclaim import reclaim, serve_longest
from flame.core.scheduler.actions.release import release
from flame.core.scheduler.actions.reserve import reserve
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.memory import Memory
from flame.core.scheduler.proposal import Proposal
from flame.core.scheduler.settings import SchedulingSettings


def run_cycle(snapshot: Snapshot, policy: Policy, settings: SchedulingSettings, memory: Memory | None = None) -> Plan:
    """Everything that should change now, and why the rest waits. `memory`: of the cycles before, which makes this one cheaper."""
    proposal = Proposal(snapshot, memory)
    release(proposal)
    reserve(proposal, policy, settings)
    serve_longest(proposal, policy, settings)
    allocate(proposal, policy, settings)
    reclaim(proposal, policy, settings)
    explain(proposal, policy, settings)
    return proposal.plan()
