"""HTML of the pages. Every text that comes from a cluster goes through `_t`; nothing else puts text into a page."""

from __future__ import annotations

from html import escape
from typing import Any

from flame.core.base.quantity import format_size
from flame.core.model.messages import Identity
from flame.gateway.pages.overview import NodeRow, OverviewShape, SessionRow, Wait, WorkloadRow
from flame.version import __version__

KEYS = (
    ("/", "filter the lists"), ("↑ ↓", "go through a list"), ("Home End", "to its begin, its end"), ("Enter", "show the log"),
    ("s w n", "to sessions, workloads, nodes"), ("l", "to the log"), ("Esc", "close, clear the filter"), ("?", "this help"),
)  # fmt: skip


def _t(value: Any) -> str:
    return escape(str(value), quote=True)


def _page(title: str, body: str, head: str = "", lang: str = "en") -> str:
    return (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>{_t(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        '<link rel="icon" href="/static/flame.svg" type="image/svg+xml"><link rel="stylesheet" href="/static/flame.css">'
        f"{head}</head><body>{body}</body></html>"
    )


def login(error: str = "") -> str:
    told = f'<p role="alert" class="bad">{_t(error)}</p>' if error else ""
    return _page(
        "Flame: log in",
        '<main class="login"><h1>Flame</h1><form method="post" action="/login"><label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus '
        f'aria-describedby="about"><button>Log in</button></form>{told}'
        '<p id="about">A token of the cluster: the file <code>token</code> of its data directory holds one, and '
        "<code>flame token create</code> makes more.</p></main>",
    )


def docs() -> str:
    return _page(
        "Flame: API",
        '<main><div id="swagger-ui"></div></main>',
        '<link rel="stylesheet" href="/docs/swagger-ui.css"><script src="/docs/swagger-ui-bundle.js" defer></script>'
        '<script src="/static/docs.js" defer></script>',
    )


def dashboard(found: OverviewShape, who: Identity, csrf: str) -> str:
    keys = "".join(f"<dt><kbd>{_t(key)}</kbd></dt><dd>{_t(does)}</dd>" for key, does in KEYS)
    return _page(
        "Flame",
        '<a class="skip" href="#sessions">Skip to the lists</a>'
        '<header><h1><img src="/static/flame.svg" alt="" width="24" height="24"> Flame</h1>'
        '<nav aria-label="Lists"><a href="#sessions">Sessions</a> <a href="#workloads">Workloads</a> '
        '<a href="#nodes">Nodes</a> <a href="/docs">API</a></nav>'
        '<form role="search" id="search"><label for="filter">Filter</label> <input id="filter" type="search" '
        'autocomplete="off" spellcheck="false" aria-keyshortcuts="/"></form>'
        f'<p class="who">{_t(who.name)}, {_t(who.role)} of {_t(who.tenant)} <button id="help-button" type="button" '
        'aria-keyshortcuts="?">Keys</button> <button id="logout" type="button">Log out</button></p></header>'
        f'<main id="lists">{lists(found)}</main>'
        '<section id="log" aria-labelledby="log-title" hidden><h2 id="log-title">Log</h2>'
        '<p class="tools"><label for="rank">Replica</label> <select id="rank"></select> '
        '<button id="log-close" type="button">Close</button></p><p id="log-state" role="status"></p>'
        '<pre id="log-text" tabindex="0" role="log" aria-label="Lines of the log"></pre></section>'
        f'<dialog id="help" aria-labelledby="help-title"><h2 id="help-title">Keys</h2><dl>{keys}</dl>'
        '<form method="dialog"><button autofocus>Close</button></form></dialog>'
        f'<footer>Flame {_t(__version__)} · <span id="live" role="status">as of {_t(found.at)}</span></footer>',
        f'<meta name="csrf-token" content="{_t(csrf)}"><script src="/static/flame.js" type="module"></script>',
    )


def lists(found: OverviewShape) -> str:
    """The part that is renewed while one looks."""
    s = found.status
    health = "ok" if s.storage == "ok" and s.allocator and s.nodes_ready == s.nodes else "bad"
    trouble = [f"storage: {s.storage}"] if s.storage != "ok" else []
    trouble += [] if s.allocator else ["the allocator is not connected"]
    facts = (
        ("Nodes", f"{s.nodes_ready} ready of {s.nodes}"), ("Sessions", f"{s.sessions_open} open"),
        ("Tasks", f"{s.pending:,} pending, {s.running:,} running"), ("Executors", str(s.executors)),
    )  # fmt: skip
    shown = "".join(f"<div><dt>{_t(name)}</dt><dd>{_t(value)}</dd></div>" for name, value in facts)
    told = "".join(f'<p role="alert" class="bad">{_t(text)}</p>' for text in trouble)
    return (
        f'<dl id="facts" class="{health}" data-at="{_t(found.at)}">{shown}</dl>{told}'
        + _table(
            "sessions", "Sessions", ("Session", "Application", "State", "Tasks", "Done", "Rate", "Waiting for"),
            [_session(row) for row in found.sessions], found.sessions_total,
        )
        + _table(
            "workloads", "Workloads", ("Workload", "Type", "Phase", "Ready", "Waiting for"),
            [_workload(row) for row in found.workloads], found.workloads_total,
        )
        + _table(
            "nodes", "Nodes", ("Node", "Phase", "CPU", "Memory", "GPU", "Runs"),
            [_node(row) for row in found.nodes], len(found.nodes),
        )
    )  # fmt: skip


def _table(id: str, title: str, heads: tuple[str, ...], rows: list[str], total: int) -> str:
    head = "".join(f'<th scope="col">{_t(name)}</th>' for name in heads)
    more = f'<p class="more">{len(rows)} of {total:,} are shown; the API has all.</p>' if total > len(rows) else ""
    empty = f'<p class="empty">No {_t(title.lower())}.</p>' if not rows else ""
    return (
        f'<section aria-labelledby="{id}-title"><h2 id="{id}-title"><a id="{id}" tabindex="-1"></a>{_t(title)} '
        f'<span class="count">{total:,}</span></h2><div class="scroll"><table data-list="{id}" aria-labelledby="{id}-title">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{empty}{more}</section>"
    )


def _row(key: str, title: str, about: str, cells: list[tuple[str, str]], **data: str) -> str:
    """cells: (heading, HTML)."""
    marks = "".join(f' data-{word}="{_t(value)}"' for word, value in data.items())
    rest = "".join(f'<td data-label="{_t(head)}">{cell}</td>' for head, cell in cells)
    return (
        f'<tr data-key="{_t(key)}"{marks}><th scope="row"><button type="button" class="name" tabindex="-1">{_t(title)}</button>'
        f'<span class="about">{_t(about)}</span></th>{rest}</tr>'
    )


def _session(row: SessionRow) -> str:
    s = row.session
    ended = s.succeeded + s.failed + s.cancelled
    failed = f' <span class="bad">{s.failed:,} failed</span>' if s.failed else ""
    rate = "" if s.rate is None else f"{s.rate:,.1f}/s"
    tenant = f"tenant {s.tenant}" if s.tenant != "default" else ""
    return _row(
        f"session/{s.number}", s.id, tenant,
        [
            ("Application", _t(s.application)), ("State", _state(s.state)),
            ("Tasks", f"{s.pending:,} pending, {s.running:,} running"), ("Done", f"{ended:,}{failed}"), ("Rate", _t(rate)),
            ("Waiting for", _waits(row.waits)),
        ],
        kind="session", name=str(s.number),
    )  # fmt: skip


def _workload(row: WorkloadRow) -> str:
    return _row(
        f"workload/{row.namespace}/{row.name}", row.name, row.namespace,
        [
            ("Type", _t(row.type)), ("Phase", _state(row.phase)), ("Ready", f"{row.ready}/{row.replicas}"),
            ("Waiting for", _waits(row.waits)),
        ],
        kind="workload", name=row.name, namespace=row.namespace, replicas=str(row.replicas),
    )  # fmt: skip


def _node(row: NodeRow) -> str:
    models: dict[str, int] = {}
    for device in row.devices:
        models[device.model] = models.get(device.model, 0) + 1
    gpus = ", ".join(f"{count} x {model}" for model, count in models.items())
    gpu = _meter("GPU", row.gpu_used, row.gpu, f"{row.gpu_used / 1000:g} of {row.gpu / 1000:g}") if row.gpu else "none"
    if gpus:
        gpu += f' <span class="about">{_t(gpus)}</span>'
    cpu = _meter("CPU", row.cpu_used, row.cpu, f"{row.cpu_used / 1000:g} of {row.cpu / 1000:g}")
    memory = _meter(
        "Memory", row.memory_used, row.memory, f"{format_size(row.memory_used)} of {format_size(row.memory)}"
    )
    return _row(
        f"node/{row.name}", row.name, "",
        [
            ("Phase", _state(row.phase)), ("CPU", cpu), ("Memory", memory), ("GPU", gpu),
            ("Runs", f"{row.replicas} replicas, {row.executors} executors"),
        ],
        kind="node", name=row.name,
    )  # fmt: skip


def _meter(label: str, used: int, there: int, text: str) -> str:
    return f'<meter aria-label="{_t(label)} used" min="0" max="{max(1, there)}" value="{used}"></meter> {_t(text)}'


def _state(word: str) -> str:
    mood = {
        "Open": "good",
        "Running": "good",
        "Ready": "good",
        "Succeeded": "good",
        "Pending": "waits",
        "Failed": "bad",
    }
    mood |= {"NotReady": "bad", "Lost": "bad", "Unknown": "bad"}
    return f'<span class="state {mood.get(word, "")}">{_t(word)}</span>'


def _waits(found: Wait | None) -> str:
    if found is None:
        return ""
    help = f'<span class="next">{_t(found.next)}</span>' if found.next else ""
    return f'<span class="why">{_t(found.message)}</span>{help}'
