"""The replicas of one agent, without any I/O: orders by placement id, and what is said of each while it lives and once it has ended."""

from __future__ import annotations

from flame.core.base.backoff import Backoff
from flame.core.model import messages as m
from flame.core.model.reactor import Effect
from flame.core.peers.replica import FINAL, Replica


class Replicas:
    """`AgentPeer` owns it. What has ended leaves with its last report."""

    def __init__(self, restarts: Backoff | None = None) -> None:
        self.restarts = restarts
        self.live: dict[str, Replica] = {}

    def start(self, order: m.StartReplica, now: float) -> None:
        """Once for each id: the caller knows which have ended."""
        if order.id not in self.live:
            self.live[order.id] = replica = Replica(order, self.restarts)
            replica.begin(now)

    def running(self, node: str) -> list[m.Placed]:
        """For the list of what the node runs."""
        found = []
        for order, replica in ((replica.order, replica) for replica in self.live.values()):
            if order.node == node:
                pid = next((one.pid for one in replica.main if one.pid), 0)
                found.append(
                    m.Placed(
                        order.id,
                        "",
                        order.resources,
                        order.devices,
                        pid,
                        order.token,
                        owner=order.owner,
                        rank=order.spec.rank,
                        attempt=order.spec.attempt,
                        replica=replica.status(),
                    )
                )
        return found

    def tick(self, now: float) -> None:
        for replica in list(self.live.values()):
            replica.tick(now)

    def deadline(self) -> float | None:
        return min((at for replica in self.live.values() if (at := replica.deadline()) is not None), default=None)

    def drain(self) -> list[m.ReplicaChanged]:
        """What has changed, in order of time for each replica. Of a replica that has ended it is the last word."""
        return [report for replica in list(self.live.values()) for report in replica.drain()]

    def actions(self) -> list[Effect]:
        """What to do now. Ended replicas are forgotten here, after their last action."""
        found = [action for replica in self.live.values() for action in replica.actions()]
        self.live = {id: replica for id, replica in self.live.items() if replica.phase not in FINAL}
        return found


def ended(report: m.ReplicaChanged) -> m.PlacementExited:
    """The end of a placement, of the last report about its replica: code and signal of the container that decided it."""
    bad = next((one for one in report.containers if one.state == "terminated" and one.exit_code != 0), None)
    code, number = (
        (bad.exit_code, bad.signal) if bad is not None else (0 if report.phase == "Succeeded" else None, None)
    )
    reason = (
        "" if report.phase == "Succeeded" else f"{report.reason}: {report.message}" if report.message else report.reason
    )
    return m.PlacementExited(report.id, code, number, log=report.log, reason=reason)
