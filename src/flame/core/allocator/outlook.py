"""Who has the room that a workload waits for: does somebody of a higher rank, and when do enough of them end? Asked by a diagnosis only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from flame.core.allocator.policy import charge_of, class_of, quotas_for
from flame.core.allocator.state import Book, Demand, Node
from flame.core.model.resources import add, total
from flame.core.model.rules import affinity_refusal, selector_refusal, taint_refusal
from flame.core.model.states import NodeState
from flame.core.scheduler.quota import QuotaTree
from flame.core.workloads.diagnosis import Outlook
from flame.core.workloads.job import Job

ROOM = ("NoCapacity", "Gpu", "Gang")
"""Reasons that end when others end."""
NAMED = 3
"""Holders that are named."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that runs. `ends`: when at the latest; 0: nobody knows; None: it has no end of its own."""

    key: str
    name: str
    rank: int
    rank_name: str
    ends: float | None


Enough = Callable[[Collection[str]], bool]
"""Would it start if these were gone?"""


def outlook(book: Book, job: Job, reason: str) -> Outlook:
    """`reason`: the word for why it waits."""
    demand = book.demands.get(job.key)
    if demand is None:
        return Outlook()
    holders = [_holder(book, key, other) for key, other in book.demands.items() if key != job.key and other.placements]
    enough = _enough(book, job, demand, reason)
    if enough is None or not holders or enough(()):
        return Outlook()
    mine = class_of(book, job).value
    above = [holder for holder in holders if holder.rank > mine]
    rest = [holder.key for holder in holders if holder.rank <= mine]
    outranked = ""
    if above and enough([holder.key for holder in above]) and not (rest and enough(rest)):
        outranked = ", ".join(_ranked(holder) for holder in above[:NAMED]) + (", ..." if len(above) > NAMED else "")
    return Outlook(outranked, *_first_end(holders, enough))


def _ranked(holder: Holder) -> str:
    return (
        f"{holder.name} (class {holder.rank_name}, {holder.rank})"
        if holder.rank_name
        else f"{holder.name} ({holder.rank})"
    )


def _first_end(holders: Sequence[Holder], enough: Enough) -> tuple[str, float]:
    """Whose end makes room at last, and when that is (0: nobody knows); empty: none of them ends by itself."""
    gone: list[str] = []
    timed = sorted((holder for holder in holders if holder.ends), key=lambda holder: holder.ends or 0.0)
    for holder in timed:
        gone.append(holder.key)
        if enough(gone):
            return holder.name, holder.ends or 0.0
    for holder in holders:
        if holder.ends == 0 and enough([holder.key]):
            return holder.name, 0.0
    return "", 0.0


def _holder(book: Book, key: str, demand: Demand) -> Holder:
    job = demand.job
    if job is None:
        return Holder(key, f"session {key}", book.default_class.value, book.default_class.name, 0.0)
    rank = class_of(book, job)
    ends: float | None = 0.0
    if job.spec.timeout and job.started:
        ends = job.started + job.spec.timeout
    elif job.spec.type == "Inference":
        ends = None
    return Holder(key, job.spec.name, rank.value, rank.name, ends)


def _enough(book: Book, job: Job, demand: Demand, reason: str) -> Enough | None:
    """None: others do not matter for this reason."""
    missing = job.spec.min_available - len(job.live()) if job.spec.gang else 1
    count = max(1, missing)
    if reason == "QuotaExceeded":
        return lambda gone: _allowed(book, job, demand, count, gone)
    if reason in ROOM:
        nodes = [node for node in book.nodes.values() if _open(book, job, node)]
        return lambda gone: sum(_fit(node, demand, gone) for node in nodes) >= count
    if reason == "MaxConcurrentWorkloads":
        return lambda gone: any(book.demands[key].job is not None for key in gone)
    return None


def _allowed(book: Book, job: Job, demand: Demand, count: int, gone: Collection[str]) -> bool:
    tree = QuotaTree(book.quotas)
    for key, other in book.demands.items():
        limits = other.job.spec.limits if other.job is not None else {}
        for _ in other.placements if key not in gone else ():
            tree.charge(quotas_for(book, other.wish.tenant, other.wish.namespace), charge_of(other.resources, limits))
    names = quotas_for(book, job.tenant, job.spec.namespace)
    return tree.refusal(names, charge_of(demand.resources, job.spec.limits), count) is None


def _open(book: Book, job: Job, node: Node) -> bool:
    """May it run there at all?"""
    rules, info = job.spec.rules, node.info
    if node.state != NodeState.READY or node.peer is None or info.name in book.cordoned:
        return False
    barred = selector_refusal(rules, info.labels) or affinity_refusal(rules, info.labels, info.name)
    return not barred and not taint_refusal(rules, info.taints)


def _fit(node: Node, demand: Demand, gone: Collection[str]) -> int:
    """Replicas that a node would take without these."""
    back = total(one.held() for one in node.placements.values() if one.session in gone)
    free = add(node.free(), back)
    need = {name: amount for name, amount in demand.resources.items() if amount}
    return min((free.get(name, 0) // amount for name, amount in need.items()), default=1 << 30)
