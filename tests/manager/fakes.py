"""A desk without reactors: enough of both to try the gRPC edge alone."""

from __future__ import annotations

from collections.abc import Callable

from flame.core.base import errors as e
from flame.core.model import messages as m
from flame.core.model.payloads import decode_failure, pack_payloads, unpack_payloads
from flame.core.model.states import TaskState


class FakeLine:
    def __init__(self, desk: FakeDesk, hello: m.Hello, push: Callable[[m.Message], None], lost: Callable[[], None]):
        self.desk, self.hello, self.push, self.lost = desk, hello, push, lost
        self.said: list[m.Message] = []
        self.closed = False

    async def ask(self, message: m.Message) -> m.Message:
        return self.desk.answer(self, message)

    def say(self, message: m.Message) -> None:
        self.said.append(message)
        self.desk.told(self, message)

    def close(self) -> None:
        self.closed = True


class FakeDesk:
    """Sessions with tasks in a dictionary. Executors that enter get tasks by `assign`."""

    def __init__(self) -> None:
        self.apps: dict[str, m.AppInfo] = {"app": m.AppInfo("app", m.AppSpec(delay_release=0.0), 0, 1.0)}
        self.sessions: dict[str, m.SessionInfo] = {}
        self.tasks: dict[str, list[m.TaskInfo]] = {}
        self.watches: dict[tuple[str, int], list[tuple[FakeLine, int]]] = {}
        self.lines: list[FakeLine] = []
        self.asked: list[m.Message] = []
        self.submits: list[m.Submit] = []

    def line(self, hello, push, lost, identity=None) -> FakeLine:
        if identity is None and hello.role == "client":
            raise e.Unauthenticated("this token is not known here")
        line = FakeLine(self, hello, push, lost)
        self.lines.append(line)
        if hello.role == "executor":
            session = self.sessions[hello.session]
            app = self.apps[session.spec.application]
            push(m.Enter(session.id, app.name, app.spec, session.spec.common_data))
        return line

    async def allocator_line(self, hello, push, lost) -> FakeLine:
        return self.line(hello, push, lost)

    def by_role(self, role: str) -> FakeLine:
        return next(line for line in reversed(self.lines) if line.hello.role == role)

    # -- the sessions reactor, roughly ----------------------------------------------------------------------------

    def answer(self, line: FakeLine, message: m.Message) -> m.Message:
        self.asked.append(message)
        return getattr(self, f"on_{type(message).__name__}")(line, message)

    def told(self, line: FakeLine, message: m.Message) -> None:
        if isinstance(message, m.Started):
            self.change(message.session, message.no, state=TaskState.RUNNING)
        elif isinstance(message, m.Completed):
            (output,) = unpack_payloads(message.lengths, message.blob)
            first = message.runs[0]
            if message.codes[0]:
                event = m.EventInfo(3, decode_failure(output or b"").message, 3.0)
                self.change(message.session, first, state=TaskState.FAILED, completed=3.0, events=(event,))
            else:
                self.change(message.session, first, state=TaskState.SUCCEED, completed=3.0, output=output)
            line.push(m.Recorded(message.seq))

    def change(self, session: str, no: int, **fields: object) -> None:
        old = self.tasks[session][no - 1]
        new = self.tasks[session][no - 1] = m.TaskInfo(
            **{f: fields.get(f, getattr(old, f)) for f in old.__struct_fields__}
        )
        for line, watch in self.watches.get((session, no), ()):
            line.push(m.TaskChanged(watch, new))

    def assign(self, line: FakeLine, session: str, first: int, count: int, *, lease: int = 1) -> None:
        payloads = [task.input for task in self.tasks[session][first - 1 : first - 1 + count]]
        line.push(m.Assign(session, (first, count, 1, lease, 1), *pack_payloads(payloads)))

    def session(self, id: str) -> m.SessionInfo:
        if id not in self.sessions:
            raise e.NotFound(f"session <{id[:99]}> not found")
        return self.sessions[id]

    def on_OpenSession(self, line, q):
        known = self.sessions.get(q.id)
        if known is not None and q.mode == "create":
            raise e.AlreadyExists(f"session <{q.id}> already exists")
        if known is not None and known.state:
            raise e.SessionClosed(f"session <{q.id}> is closed")
        if known is None:
            if q.spec is None:
                raise e.NotFound(f"no session <{q.id}>")
            self.on_GetApp(line, m.GetApp(q.spec.application))
            known = self.sessions[q.id] = m.SessionInfo(q.id, 1, q.spec, 0, 1.0, None, 0, 0, 0, 0, 0)
            self.tasks[q.id] = []
        return known

    def on_CloseSession(self, line, q):
        old = self.session(q.id)
        if any(task.state == TaskState.RUNNING for task in self.tasks[q.id]):
            raise e.SessionBusy("1 task is running")
        self.sessions[q.id] = m.SessionInfo(old.id, 1, old.spec, 1, 1.0, 2.0, 0, 0, 0, 0, 0)
        return self.sessions[q.id]

    def on_DeleteSession(self, line, q):
        if not self.session(q.id).state:
            raise e.InvalidState("Cannot delete open session")
        del self.sessions[q.id]
        for (session, _), watchers in self.watches.items():
            for watcher, watch in watchers if session == q.id else ():
                watcher.push(m.TaskChanged(watch, None))
        return m.Done()

    def on_GetSession(self, line, q):
        return self.session(q.id)

    def on_ListSessions(self, line, q):
        return m.SessionList(tuple(self.sessions.values()))

    def on_RegisterApp(self, line, q):
        if q.name in self.apps:
            raise e.AlreadyExists(f"application <{q.name}> already exists")
        self.apps[q.name] = m.AppInfo(q.name, q.spec, 0, 1.0)
        return m.Done()

    def on_UpdateApp(self, line, q):
        self.on_GetApp(line, q)
        self.apps[q.name] = m.AppInfo(q.name, q.spec, 0, 1.0)
        return m.Done()

    def on_UnregisterApp(self, line, q):
        self.on_GetApp(line, q)
        del self.apps[q.name]
        return m.Done()

    def on_GetApp(self, line, q):
        if q.name not in self.apps:
            raise e.NotFound(f"application <{q.name}> not found")
        return self.apps[q.name]

    def on_ListApps(self, line, q):
        return m.AppList(tuple(self.apps.values()))

    def on_ListNodes(self, line, q):
        return m.NodeList((m.NodeInfo("n1", 1, {"cpu": 4000, "memory": 1 << 30}, {"cpu": 4000}, "x86_64", "linux"),))

    def on_ListExecutors(self, line, q):
        return m.ExecutorList((m.ExecutorInfo("e1", "n1", 4, "s"),))

    def on_Submit(self, line, q):
        session = self.session(q.session)
        if session.state:
            raise e.SessionClosed(f"session <{q.session}> is not open")
        self.submits.append(q)
        tasks = self.tasks[q.session]
        first = len(tasks) + 1
        for payload in unpack_payloads(q.lengths, q.blob):
            tasks.append(m.TaskInfo(q.session, len(tasks) + 1, 0, 1, 1.0, None, payload, None))
        return m.Submitted(q.session, q.seq, first, len(tasks) + 1 - first)

    def on_GetTask(self, line, q):
        self.session(q.session)
        if not 1 <= q.no <= len(self.tasks[q.session]):
            raise e.NotFound(f"task {q.session}/{q.no} not found")
        return self.tasks[q.session][q.no - 1]

    def on_ListTasks(self, line, q):
        self.session(q.session)
        found = self.tasks[q.session][q.start - 1 : q.start - 1 + 2]
        last = q.start + len(found)
        return m.TaskList(tuple(found), last if last <= len(self.tasks[q.session]) else 0)

    def on_WatchTask(self, line, q):
        task = self.on_GetTask(line, q)
        self.watches.setdefault((q.session, q.no), []).append((line, q.watch))
        if task.state >= TaskState.SUCCEED:
            line.push(m.TaskChanged(q.watch, task))
        return m.Done()

    def on_RegisterNode(self, line, q):
        return m.Done()
