"""From objects to what the scheduler goes by: settings, priority classes, the quota tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from flame.core.allocator.holdings import RankClass
from flame.core.allocator.state import Book, Demand, Placement
from flame.core.base.errors import FlameError
from flame.core.base.quantity import format_milli, parse_quantity
from flame.core.model.access import EVERY
from flame.core.model.snapshot import DemandView, PlacementView, QuotaView
from flame.core.model.states import PlacementState
from flame.core.objects.settings import RBAC, effective, sources_of, view
from flame.core.objects.state import Key
from flame.core.scheduler.quota import QuotaTree, charge_on
from flame.core.workloads.job import Job

SETTINGS_CODE = 5003
NOTHING: Mapping[str, int] = MappingProxyType({})


def refresh(book: Book) -> None:
    """Read all of it again: something of it was written."""
    book.settings_changed = False
    try:
        book.view = view(effective(sources_of(book.objects, book.parse)))
        if book.settings.reached and not book.view.rbac:  # written while only this machine reached the cluster
            book.view = replace(book.view, rbac=True)
            book.note(
                "scheduler/settings",
                "SettingsRefused",
                SETTINGS_CODE,
                f"{RBAC} stays on: other machines reach this cluster",
            )
    except FlameError as error:  # stored under an older schema: what holds goes on holding
        book.note("scheduler/settings", "SettingsRefused", SETTINGS_CODE, f"{error.message}; the settings before stay")
    book.classes = {}
    book.default_class = RankClass()
    for stored in book.objects.each("PriorityClass"):
        body = stored.body
        made = RankClass(stored.key.name, int(body["value"]), body.get("preemptionPolicy") != "Never")
        book.classes[stored.key.name] = made
        if body.get("globalDefault"):
            book.default_class = made
    book.quotas, book.quotas_of = (), {}
    views: list[QuotaView] = []
    for stored in book.objects.each("FlameQuota"):
        views.append(_tree_quota(stored.key.name, stored.spec))
    roots = {
        stored.spec.get("tenant") or stored.key.name: stored.key.name for stored in book.objects.each("FlameQuota")
    }
    for stored in book.objects.each("ResourceQuota"):
        key = stored.key
        name = _name(key)
        views.append(QuotaView(name, roots.get(key.tenant, ""), hard=_amounts(stored.spec.get("hard") or {})))
        place = key.tenant, key.namespace
        book.quotas_of[place] = (*book.quotas_of.get(place, ()), name)
    for tenant, root in roots.items():
        book.quotas_of[tenant, EVERY] = (root,)
    book.quotas = tuple(views)
    book.tree = QuotaTree(book.quotas)
    for placement in book.placements.values():
        charge(book, placement, 1)
    sharers = book.view.gpu_max_sharers if book.view.gpu_sharing else 1
    for name, node in book.nodes.items():
        own = {device.uuid: device.max_sharers for device in node.info.devices}
        for device in node.devices:
            device.max_sharers = own.get(device.uuid) or sharers
        book.fleet.node(name)
        book.fleet.memory.free(name)
    book.changed()


def _tree_quota(name: str, spec: Mapping[str, Any]) -> QuotaView:
    return QuotaView(
        name,
        spec.get("parent") or "",
        _amounts(spec.get("hard") or {}),
        _amounts(spec.get("guaranteed") or {}),
        _amounts(spec.get("lend") or {}),
    )


def _amounts(given: Mapping[str, Any]) -> dict[str, int]:
    """CPUs and GPUs in thousandths, memory in bytes, all else as it is."""
    return {name: int(parse_quantity(amount) * scale(name)) for name, amount in given.items()}


def scale(name: str) -> int:
    bare = name.partition("@")[0].rpartition("requests.")[2].rpartition("limits.")[2]
    return 1000 if bare in ("cpu", "nvidia.com/gpu", "gpu") else 1


def quotas_for(book: Book, tenant: str, namespace: str) -> tuple[str, ...]:
    """The quotas that count what runs there, the nearest first."""
    return (*book.quotas_of.get((tenant, namespace), ()), *book.quotas_of.get((tenant, EVERY), ()))


def charge_of(requests: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    """What one placement is charged, by the names that quotas use."""
    found = {"pods": 1, "count/pods": 1}
    for prefix, amounts in (("requests.", requests), ("limits.", limits)):
        for name, amount in amounts.items():
            found[prefix + ("nvidia.com/gpu" if name == "gpu" else name)] = amount
    for name in ("cpu", "memory"):  # a bare name means the requests
        if name in requests:
            found[name] = requests[name]
    return found


def class_of(book: Book, job: Job) -> RankClass:
    """Its priority class; one that is not there counts as none."""
    spec = job.spec
    found = book.classes.get(spec.priority_class) if spec.priority_class else book.default_class
    found = found or RankClass(spec.priority_class)
    if spec.preemption:
        found = RankClass(found.name, found.value, spec.preemption != "Never")
    return found


def show_use(book: Book) -> None:
    """Write what is used into the status of every quota. It is not journalled: it is counted again."""
    tree = book.tree
    for kind in ("ResourceQuota", "FlameQuota"):
        for stored in list(book.objects.each(kind)):
            name = stored.key.name if kind == "FlameQuota" else _name(stored.key)
            hard = stored.spec.get("hard") or {}
            have = tree.used(name) if name in tree else {}
            counted = {key: _text(key, have.get(key, 0)) for key in {**hard, **(stored.spec.get("guaranteed") or {})}}
            status = {"hard": dict(hard), "used": counted}
            if stored.status != status:
                book.commit(book.objects.with_status(stored, status))


def _text(name: str, amount: int) -> str:
    if scale(name) == 1000:
        return format_milli(amount)
    in_bytes = "memory" in name or name.endswith("storage")
    return f"{amount >> 30}Gi" if in_bytes and amount and amount % (1 << 30) == 0 else str(amount)


def _name(key: Key) -> str:
    return f"{key.namespace}/{key.name}" if key.tenant == "default" else f"{key.tenant}/{key.namespace}/{key.name}"


def charge(book: Book, placement: Placement, sign: int) -> None:
    """Count a placement in or out of the quotas that count it."""
    if sign > 0:
        demand = book.demands.get(placement.session)
        if demand is None:
            return
        limits = demand.job.spec.limits if demand.job is not None else NOTHING
        names = quotas_for(book, demand.wish.tenant, demand.wish.namespace)
        placement.charged = names, charge_of(placement.resources, limits) if names else NOTHING
    names, amounts = placement.charged
    if names:
        node = book.nodes.get(placement.node)
        model = node.devices[0].model if node is not None and node.devices else ""
        book.tree.charge(names, charge_on(amounts, model) if book.tree.by_model else amounts, sign)


def _floor(book: Book, demand: Demand, job: Job) -> int:
    """While it waits until it may try again its room is kept; while it waits for a claim or for what a client must write, it is not."""
    held = demand.wish.hold and book.now >= job.not_before
    return 0 if job.spec.completes or not job.started or held else demand.wish.min_instances


def workload_view(book: Book, demand: Demand, job: Job) -> DemandView:
    """A workload as the scheduler sees it."""
    wish, spec = demand.wish, job.spec
    rank, quotas = class_of(book, job), quotas_for(book, wish.tenant, wish.namespace) if book.quotas else ()
    views = tuple(
        PlacementView(
            p.id, p.node, p.held(), p.since, p.state == PlacementState.DRAINING, None, p.devices,
            (p.resources.get("gpu", 0) + p.resources.get("cpu", 0) / 100) / 1000, max(p.since, job.checkpoint), job.safe_until, job.overdue,
        )
        for p in demand.placements.values()
    )  # fmt: skip
    return DemandView(
        session=wish.session,
        app=wish.app,
        resources=demand.resources,
        want=wish.want,
        min=wish.min_instances,
        max=wish.max_instances,
        rank=rank.value,
        created=wish.created,
        tenant=wish.tenant,
        hold=wish.hold,
        served=demand.served,
        placements=views,
        workload=True,
        floor=_floor(book, demand, job),
        gang=spec.min_available if spec.gang else 0,
        labels=spec.labels,
        namespace=spec.namespace,
        rules=spec.rules,
        quotas=quotas,
        charge=charge_of(demand.resources, spec.limits) if quotas else NOTHING,
        preempts=rank.preempts,
        waiting=job.waiting,
        explained=bool(demand.reasons),
    )
