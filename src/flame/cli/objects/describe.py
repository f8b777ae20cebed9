"""`flame describe`: one object for people: what it is, what is so and why, what happened, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from flame.cli import running
from flame.cli.objects.get import everything
from flame.cli.objects.names import Named, named, space
from flame.cli.objects.options import DEFAULT, Kinds, Namespace, Selector, flags
from flame.cli.objects.plan import WORKLOAD, asks, condition
from flame.cli.objects.printing import age, pairs, row, size
from flame.cli.options import DataDir, Endpoint
from flame.cli.output import labelled, table, write
from flame.core.base.errors import NotFound
from flame.core.base.quantity import format_milli, quantity_milli, quantity_units
from flame.core.objects.kinds import KINDS

if TYPE_CHECKING:
    from flame.sdk.objects import Objects

WIDTH = 19
HIDDEN = ("flame.xflops.cn/last-applied", "kubectl.kubernetes.io/last-applied-configuration")
EVENTS = 20
"""Events that are shown, the last ones."""
Body = Mapping[str, Any]


def describe(
    what: Kinds,
    namespace: Namespace = None,
    selector: Selector = "",
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Tell everything about objects."""
    with running.client(data_dir, endpoint) as client:
        objects = client.objects
        bodies = []
        for kind, name in named(what):
            if name:
                bodies.append(objects.get(kind.name, name, namespace=space(kind, namespace)))
            else:
                bodies += everything(objects, kind, space(kind, namespace), selector)
        if not bodies:
            raise NotFound(
                f"there are no {' '.join(what)} in namespace {namespace or DEFAULT}", hint="flame get all -A"
            )
        for index, body in enumerate(bodies):
            if index:
                write("\n")
            write("\n".join(tell(objects, body)))


def tell(objects: Objects, body: Body) -> Iterator[str]:
    """The lines about one object."""
    kind = body["kind"]
    yield labelled(_head(body), WIDTH)
    sections = {"FlameWorkload": _workload, "Pod": _pod, "Node": _node, "FlameAgent": _node, "ResourceQuota": _quota}
    yield from (sections[kind](objects, body) if kind in sections else _plain(body))
    if kind == "FlameQuota":
        yield from _quota(objects, body)
    found = (body.get("status") or {}).get("conditions")
    if found:
        yield "Conditions:"
        cells = [
            [
                c.get("type", ""),
                c.get("status", ""),
                c.get("reason") or "-",
                age(c.get("lastTransitionTime")),
                c.get("message") or "-",
            ]
            for c in found
        ]
        yield _indented(table(("Type", "Status", "Reason", "Since", "Message"), cells))
    if kind == "FlameWorkload":
        yield from _replicas(objects, body)
    yield from _events(objects, body)
    if kind == "FlameWorkload":
        yield from _next(objects, body)


def _indented(text: str) -> str:
    return "\n".join(f" {line}" for line in text.split("\n"))


def _head(body: Body) -> list[tuple[str, str]]:
    about = body["metadata"]
    notes = {key: text for key, text in (about.get("annotations") or {}).items() if key not in HIDDEN}
    lines = [("Name", about["name"])]
    lines += [("Namespace", about["namespace"])] if about.get("namespace") else []
    lines += [("Kind", f"{body['kind']} ({body['apiVersion']})")]
    lines += [("Labels", "\n".join(_each(about.get("labels"))) or "-"), ("Annotations", "\n".join(_each(notes)) or "-")]
    lines += [("Created", f"{about.get('creationTimestamp', '-')} ({age(about.get('creationTimestamp'))} ago)")]
    if about.get("deletionTimestamp"):
        lines.append(
            (
                "Deleted",
                f"{about['deletionTimestamp']}, waits for {', '.join(about.get('finalizers') or ()) or 'nothing'}",
            )
        )
    return lines


def _each(values: Mapping[str, Any] | None) -> list[str]:
    found = [f"{key}={text}" for key, text in (values or {}).items()]
    return found


def _workload(objects: Objects, body: Body) -> Iterator[str]:
    spec, status = body["spec"], body.get("status") or {}
    scheduling = spec.get("scheduling") or {}
    lines = [
        ("Type", spec.get("type", "Training")),
        ("Phase", " ".join(filter(None, (status.get("phase", "Pending"), f"({status['reason']})" if status.get("reason") else "")))),
        ("Message", status.get("message") or "-"),
        ("Replicas", f"{spec.get('replicas', 1)} wanted, {status.get('replicas', 0)} there, {status.get('readyReplicas', 0)} ready, "
                     f"{status.get('succeeded', 0)} succeeded"),
        ("Attempts", f"{status.get('attempt', 1)}; failed {status.get('failed', 0)}, lost {status.get('losses', 0)}"),
        ("Priority class", status.get("priorityClass") or scheduling.get("priorityClassName") or "-"),
        ("Each asks", asks(spec)),
        ("Strategy", (spec.get("strategy") or {}).get("type") or "RollingUpdate"),
    ]  # fmt: skip
    lines += [("Timeout", str(spec["timeout"]))] if spec.get("timeout") else []
    lines += [("Node selector", pairs(scheduling["nodeSelector"]))] if scheduling.get("nodeSelector") else []
    if scheduling.get("tolerations"):
        lines.append(("Tolerations", "\n".join(_toleration(one) for one in scheduling["tolerations"])))
    yield labelled(lines, WIDTH)
    yield "Containers:"
    pod = spec["template"]["spec"]
    for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
        yield from _container(container)


def _toleration(one: Body) -> str:
    value = f"={one['value']}" if one.get("value") else ""
    return f"{one.get('key') or 'any'}{value}:{one.get('effect') or 'any effect'}"


def _container(container: Body) -> Iterator[str]:
    yield f"  {container.get('name', '-')}:"
    lines = [("Image", container.get("image") or "-")]
    command = [*(container.get("command") or ()), *(container.get("args") or ())]
    lines += [("Command", " ".join(command))] if command else []
    resources = container.get("resources") or {}
    lines += [(word.title(), pairs(resources[word])) for word in ("requests", "limits") if resources.get(word)]
    ports = [f"{p.get('name') or '-'}:{p['containerPort']}" for p in container.get("ports") or ()]
    lines += [("Ports", ", ".join(ports))] if ports else []
    lines += [
        (f"{word} probe".capitalize(), _probe(container[f"{word}Probe"]))
        for word in ("startup", "readiness", "liveness")
        if container.get(f"{word}Probe")
    ]
    yield "\n".join(f"    {line}" for line in labelled(lines, WIDTH - 2).split("\n"))


def _probe(probe: Body) -> str:
    if get := probe.get("httpGet"):
        asked = f"GET {get.get('path') or '/'} at port {get.get('port')}"
    elif tcp := probe.get("tcpSocket"):
        asked = f"connect to port {tcp.get('port')}"
    else:
        asked = "run " + " ".join((probe.get("exec") or {}).get("command") or ())
    return f"{asked} every {probe.get('periodSeconds', 10)} s, {probe.get('failureThreshold', 3)} failures are too many"


def _replicas(objects: Objects, body: Body) -> Iterator[str]:
    about = body["metadata"]
    pods = objects.list("pod", namespace=about["namespace"], labels=f"{WORKLOAD}={about['name']}").items
    if not pods:
        yield "Replicas:          none has a node"
        return
    yield "Replicas:"
    cells = []
    for pod in sorted(pods, key=lambda pod: int(pod["metadata"]["labels"]["flame.xflops.cn/rank"])):
        name, ready, status, restarts, *_ = row(KINDS["Pod"], pod, everywhere=False, wide=True)
        reason = (
            (pod.get("status") or {}).get("message")
            or (pod.get("status") or {}).get("reason")
            or _container_text(pod)
            or "-"
        )
        cells.append([name, pod["spec"].get("nodeName", "-"), ready, status, restarts, reason])
    yield _indented(table(("Name", "Node", "Ready", "Status", "Restarts", "Reason"), cells))


def _container_text(pod: Body) -> str:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        for state in (container.get("state") or {}).values():
            if state.get("message"):
                return str(state["message"])
    return ""


def _pod(objects: Objects, body: Body) -> Iterator[str]:
    spec, status = body["spec"], body.get("status") or {}
    owner: Body = next(iter(body["metadata"].get("ownerReferences") or ()), {})
    lines = [
        ("Node", f"{spec.get('nodeName', '-')} ({status.get('hostIP') or '-'})"),
        ("Owner", f"{owner.get('kind', '-')}/{owner.get('name', '-')}"),
        ("Status", status.get("phase") or "-"),
        ("Reason", ": ".join(filter(None, (status.get("reason"), status.get("message")))) or "-"),
        ("Ready", f"{status.get('ready', '-')}, {status.get('restarts', 0)} restarts"),
    ]
    if status.get("ports"):
        lines.append(("Ports here", pairs(status["ports"])))
    yield labelled(lines, WIDTH)
    yield "Containers:"
    states = {
        one["name"]: one
        for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    }
    for container in spec.get("containers") or ():
        yield from _container(container)
        state = states.get(container["name"])
        if state is not None:
            word, details = next(iter((state.get("state") or {"unknown": {}}).items()))
            lines = [
                ("State", word),
                *((key[0].upper() + key[1:], str(value)) for key, value in details.items() if value not in ("", None)),
            ]
            if state.get("lastState"):
                lines.append(("Last state", str(state["lastState"].get("terminated", {}).get("message", "-"))))
            yield "\n".join(f"    {line}" for line in labelled(lines, WIDTH - 2).split("\n"))


def _node(objects: Objects, body: Body) -> Iterator[str]:
    """A node and the agent of it are one to whoever asks for either."""
    name = body["metadata"]["name"]
    try:
        agent, node = objects.get("flameagent", name), objects.get("node", name)
    except NotFound:
        return
    status, spec = node["status"], node.get("spec") or {}
    taints = [f"{t['key']}={t.get('value') or ''}:{t['effect']}" for t in spec.get("taints") or ()]
    info = status.get("nodeInfo") or {}
    addresses = ", ".join(f"{a['type']} {a['address']}" for a in status.get("addresses") or ())
    yield labelled(
        [
            ("Status", status.get("phase", "-") + (", cordoned" if spec.get("unschedulable") else "")),
            ("Taints", "\n".join(taints) or "-"),
            ("Addresses", addresses or "-"),
            ("System", f"{info.get('operatingSystem') or '-'}, {info.get('architecture') or '-'}"),
            ("Heartbeat", f"{age(agent['status'].get('lastHeartbeatTime'))} ago"),
        ],
        WIDTH,
    )
    yield "Resources:"
    cells = []
    allocated = agent["status"].get("allocated") or {}
    for resource in status.get("allocatable") or {}:
        have, used = status["allocatable"][resource], allocated.get(resource, "0")
        if resource == "pods":
            used = str(agent["status"].get("workloads", 0))
        cells.append(
            [
                resource,
                _amount(resource, status["capacity"].get(resource, "0")),
                _amount(resource, have),
                _amount(resource, used),
                share(used, have),
            ]
        )
    yield _indented(table(("Resource", "Capacity", "Allocatable", "Allocated", "Part"), cells))
    devices = status.get("devices") or ()
    if devices:
        yield "GPUs:"
        found = [[d["uuid"], d["model"], size(d["memory"]), f"{d['used'] / 10:g}%", str(d["sharers"])] for d in devices]
        yield _indented(table(("UUID", "Model", "Memory", "Allocated", "Sharers"), found))
    pods = [pod for pod in objects.list("pod").items if pod["spec"].get("nodeName") == name]
    live = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    yield f"Replicas:          {len(live)}, and {agent['status'].get('executors', 0)} executors of sessions"
    if live:
        cells = [
            [pod["metadata"]["namespace"], pod["metadata"]["name"], pod["status"]["phase"], requests(pod)]
            for pod in live
        ]
        yield _indented(table(("Namespace", "Name", "Status", "Requests"), cells))


def requests(pod: Body) -> str:
    return "; ".join(
        pairs({k: _amount(k, v) for k, v in (c.get("resources") or {}).get("requests", {}).items()})
        for c in pod["spec"].get("containers") or ()
    )


def _amount(resource: str, value: str) -> str:
    return size(value) if resource in ("memory", "storage") or resource.endswith("memory") else str(value)


def share(used: str, have: str) -> str:
    """`25%` of what there is."""
    total = quantity_milli(have)
    return f"{100 * quantity_milli(used) / total:.0f}%" if total else "-"


def _quota(objects: Objects, body: Body) -> Iterator[str]:
    status = body.get("status") or {}
    hard, used = body["spec"].get("hard") or {}, status.get("used") or {}
    cells = [[name, _left(name, used.get(name, "0")), _left(name, hard[name])] for name in hard]
    yield "Resources:"
    yield _indented(table(("Resource", "Used", "Hard"), cells)) if cells else "  no hard limits"


def _left(name: str, value: Any) -> str:
    if "memory" in name or "storage" in name:
        return size(quantity_units(value))
    return format_milli(quantity_milli(value))


def _plain(body: Body) -> Iterator[str]:
    """Every other kind: what is in it, as YAML."""
    import yaml

    rest = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    if rest:
        yield yaml.safe_dump(rest, sort_keys=False, allow_unicode=True).rstrip()


def _events(objects: Objects, body: Body) -> Iterator[str]:
    from flame.cli.objects.get import _is_about

    kind = KINDS[body["kind"]]
    about = body["metadata"]
    found = everything(objects, KINDS["Event"], about.get("namespace") or DEFAULT)
    events: Sequence[Body] = [event for event in found if _is_about(event, Named(kind, about["name"]))][-EVENTS:]
    if not events:
        yield "Events:            none"
        return
    yield "Events:"
    columns = KINDS["Event"]
    cells = []
    for event in events:
        last, type_, reason, subject, message = row(columns, event, everywhere=False, wide=False)
        cells.append([last, str(event.get("count", 1)), type_, reason, subject, message])
    yield _indented(table(("Last", "Count", "Type", "Reason", "Object", "Message"), cells))


def _next(objects: Objects, body: Body) -> Iterator[str]:
    """The next step: what the diagnosis says, then commands."""
    about, status = body["metadata"], body.get("status") or {}
    place = flags(about["namespace"])
    try:
        found = objects.debug("flameworkload", about["name"], namespace=about["namespace"])
    except NotFound:
        return
    yield "Next:"
    for cause in found.get("causes") or ():
        yield f"  {cause['kind']}: {cause['next']}"
    if condition(status, "Scheduled").get("status") == "True":
        yield f"  flame logs {about['name']}{place}"
    if not found["ok"]:
        yield f"  flame debug workload {about['name']}{place}"


def register(app: typer.Typer) -> None:
    app.command()(describe)
