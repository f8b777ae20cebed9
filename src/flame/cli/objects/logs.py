"""`flame logs` of workloads and replicas: what all replicas wrote, merged in time order; with -f as it comes."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flame.cli.objects.merging import Held, Line, Splitter, merged
from flame.cli.objects.plan import WORKLOAD
from flame.core.base.errors import FlameError, InvalidArgument, InvalidState, NotFound, Unavailable
from flame.core.objects.describe import find_kind_of_word
from flame.core.objects.kinds import KINDS
from flame.core.objects.stamps import stamp

if TYPE_CHECKING:
    from flame.sdk.objects import Objects

TURN = 0.05
"""Seconds between two looks at lines that wait."""
LOOK = 0.5
"""Seconds between two looks whether anything will come at all."""
OVER = ("Succeeded", "Failed")


@dataclass(frozen=True)
class View:
    """What of a log is shown, and how. tail: the last lines of each replica, None: all; since: seconds; prefix: None: where there are
    several."""

    container: str = ""
    previous: bool = False
    follow: bool = False
    tail: int | None = None
    since: float | None = None
    timestamps: bool = False
    prefix: bool | None = None


@dataclass(frozen=True)
class Subject:
    """`workload`: its replicas, those that come later, too; `pod`: one replica; else `labels`."""

    namespace: str
    workload: str = ""
    pod: str = ""
    labels: str = ""

    def pods(self, objects: Objects) -> list[dict[str, Any]]:
        if self.pod:
            return [objects.get("pod", self.pod, namespace=self.namespace)]
        found = objects.list("pod", namespace=self.namespace, labels=self.selector).items
        return sorted(
            found,
            key=lambda pod: (
                pod["metadata"]["labels"].get(WORKLOAD, ""),
                int(pod["metadata"]["labels"]["flame.xflops.cn/rank"]),
            ),
        )

    @property
    def selector(self) -> str:
        return f"{WORKLOAD}={self.workload}" if self.workload else self.labels

    @property
    def fields(self) -> str:
        return f"metadata.name={self.pod}" if self.pod else ""


def find(objects: Objects, name: str, namespace: str) -> Subject | None:
    """What a name means: `train`, `workload/train`, `train-0`, `pod/train-0`; None: no workload and no replica. Raises NotFound for one
    with its kind that is not there."""
    word, slash, rest = name.partition("/")
    if slash:
        try:
            kind = find_kind_of_word(word)
        except NotFound:
            return None  # a session and the number of a task
        if kind.name not in ("FlameWorkload", "Pod"):
            raise InvalidArgument(f"a {kind.name} has no logs", hint="workloads and pods have")
        objects.get(kind.name, rest, namespace=namespace)
        return Subject(namespace, workload=rest) if kind.name == "FlameWorkload" else Subject(namespace, pod=rest)
    for word in ("flameworkload", "pod"):
        try:
            objects.get(word, name, namespace=namespace)
        except NotFound:
            continue
        return Subject(namespace, workload=name) if word == "flameworkload" else Subject(namespace, pod=name)
    return None


def show(objects: Objects, subject: Subject, view: View) -> None:
    """Print it. Raises NotFound where there is nothing to print."""
    since = stamp_of(time.time() - view.since) if view.since is not None else ""
    say = _Speaker(view)
    if view.follow:
        _Following(objects, subject, view, say, since).run()
        return
    pods = subject.pods(objects)
    if not pods:
        raise _nothing(objects, subject)
    say.several = len(pods) > 1
    logs = [_cut(_lines(objects, pod, view), view, since) for pod in pods]
    for line in merged(logs):
        say(line)


def stamp_of(at: float) -> str:
    """As log lines have their times, so that texts compare."""
    return f"{stamp(at)[:-1]}.{int(at % 1 * 1e6):06d}Z"


def _nothing(objects: Objects, subject: Subject) -> NotFound:
    """Why there are no logs."""
    if not subject.workload:
        return NotFound(
            f"no replica in namespace {subject.namespace} has {subject.labels}", hint="flame get pods --show-labels"
        )
    status = objects.get("flameworkload", subject.workload, namespace=subject.namespace).get("status") or {}
    text = status.get("message") or f"it is {str(status.get('phase') or 'new').lower()}"
    return NotFound(
        f"workload {subject.workload} has no replicas: {text}",
        hint=f"flame debug workload {subject.workload}; flame logs -f waits for them",
    )


def _lines(objects: Objects, pod: Mapping[str, Any], view: View) -> list[Line]:
    about = pod["metadata"]
    splitter = Splitter(about["name"])
    found: list[Line] = []
    try:
        for data in objects.logs(
            about["name"], namespace=about["namespace"], container=view.container, previous=view.previous
        ):
            found += splitter.feed(data)
    except NotFound:
        if view.previous or view.container or (pod.get("status") or {}).get("phase") != "Pending":
            raise
    return [*found, *splitter.feed(b"", end=True)]


def _cut(lines: Sequence[Line], view: View, since: str) -> Sequence[Line]:
    kept = [line for line in lines if line.at >= since]
    return kept if view.tail is None else kept[len(kept) - min(view.tail, len(kept)) :]


class _Speaker:
    """Lines as they are printed. `several`: replicas are told apart by a prefix."""

    def __init__(self, view: View) -> None:
        self._view, self.several = view, False

    def __call__(self, line: Line) -> None:
        several = self.several if self._view.prefix is None else self._view.prefix
        text = f"{line.at} {line.text}" if self._view.timestamps else line.text
        sys.stdout.write(f"[{line.replica}] {text}\n" if several else f"{text}\n")


def _has_run(container: Mapping[str, Any]) -> bool:
    """Is there a log of it? One that waits to be started again has that of the run before."""
    state = container.get("state") or {}
    return "running" in state or "terminated" in state or bool(container.get("lastState"))


class _Following:
    """A thread for each replica, and one for replicas that come; this one merges. All are daemons: they end with the command."""

    def __init__(self, objects: Objects, subject: Subject, view: View, say: _Speaker, since: str) -> None:
        self._objects, self._subject, self._view, self._say, self._since = objects, subject, view, say, since
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._running: dict[tuple[str, int], str] = {}
        self._seen: set[tuple[str, int]] = set()
        self._held = Held()

    def run(self) -> None:
        subject = self._subject
        say = self._say
        say.several = bool(subject.labels) or (bool(subject.workload) and self._wanted() > 1)
        threading.Thread(target=self._watch, name="flame-watch", daemon=True).start()
        looked = time.monotonic()
        while True:
            try:
                self._take(*self._news.get(timeout=TURN))
            except queue.Empty:
                pass
            now = time.monotonic()
            for line in self._held.due(now):
                say(line)
            sys.stdout.flush()
            if not self._running and now - looked > LOOK:
                looked = now
                if self._over():
                    break
        for line in self._held.due(now, all=True):
            say(line)

    def _wanted(self) -> int:
        body = self._objects.get("flameworkload", self._subject.workload, namespace=self._subject.namespace)
        return int(body["spec"].get("replicas", 1))

    def _watch(self) -> None:
        subject = self._subject
        try:
            for change in self._objects.watch(
                "pod", namespace=subject.namespace, labels=subject.selector, fields=subject.fields
            ):
                if change.change in ("ADDED", "MODIFIED"):
                    self._news.put(("pod", change.object))
        except FlameError as error:
            self._news.put(("error", error))

    def _take(self, what: str, value: Any) -> None:
        if what == "error":
            raise value
        if what == "line":
            self._held.add(value, time.monotonic())
        elif what == "ended":
            self._running.pop(value, None)
        elif what == "pod":
            self._pod(value)

    def _pod(self, pod: Mapping[str, Any]) -> None:
        """Follow this run of it, unless that is done already. A container that starts again begins a new run of its log."""
        status, about = pod.get("status") or {}, pod["metadata"]
        run = about["uid"], int(status.get("restarts") or 0)
        begun = any(map(_has_run, status.get("containerStatuses") or ()))
        if run in self._seen or not begun:
            return
        first = not any(uid == about["uid"] for uid, _ in self._seen)
        self._seen.add(run)
        self._running[run] = about["name"]
        threading.Thread(target=self._read, args=(run, about["name"], first), name="flame-logs", daemon=True).start()

    def _read(self, run: tuple[str, int], name: str, first: bool) -> None:
        view = self._view
        try:
            for line in self._fresh(name, view.tail if first else None):
                if line.at >= self._since:
                    self._news.put(("line", line))
        except (NotFound, InvalidState, Unavailable):
            pass  # it is gone, with what it had not told; who comes after it is watched
        except FlameError as error:
            self._news.put(("error", error))
        self._news.put(("ended", run))

    def _fresh(self, name: str, tail: int | None) -> Iterator[Line]:
        objects, view, place = self._objects, self._view, self._subject.namespace
        splitter, offset = Splitter(name), 0
        if tail is not None:
            have: list[Line] = []
            for data in objects.logs(name, namespace=place, container=view.container):
                offset += len(data)
                have += splitter.feed(data)
            yield from have[len(have) - min(tail, len(have)) :]
        for data in objects.logs(name, namespace=place, container=view.container, follow=True, offset=offset):
            yield from splitter.feed(data)
        yield from splitter.feed(b"", end=True)

    def _over(self) -> bool:
        """Will nothing come any more?"""
        subject = self._subject
        if subject.labels:
            return not any(
                (pod.get("status") or {}).get("phase") not in OVER for pod in subject.pods(self._objects)
            ) and bool(self._seen)
        kind, name = ("FlameWorkload", subject.workload) if subject.workload else ("Pod", subject.pod)
        try:
            body = self._objects.get(KINDS[kind].name, name, namespace=subject.namespace)
        except NotFound:
            return True
        return (body.get("status") or {}).get("phase") in OVER
