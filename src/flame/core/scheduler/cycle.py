"""One scheduling cycle: Snapshot -> Proposal -> Plan."""

from __future__ import annotations

from flame.core.model.snapshot import Plan, Snapshot
from flame.core.scheduler.actions.allocate import allocate
from flame.core.scheduler.actions.explain import explain
from flame.core.scheduler.actions.reclaim import reclaim
from flame.core.scheduler.actions.release import release
from flame.core.scheduler.actions.reserve import reserve
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.proposal import Proposal
from flame.core.scheduler.settings import SchedulingSettings


def run_cycle(snapshot: Snapshot, policy: Policy, settings: SchedulingSettings) -> Plan:
    """Everything that should change now, and why the rest waits."""
    proposal = Proposal(snapshot)
    release(proposal)
    reserve(proposal, policy, settings)
    allocate(proposal, policy, settings)
    reclaim(proposal, policy, settings)
    explain(proposal, policy)
    return proposal.plan()
