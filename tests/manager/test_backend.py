from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import grpc
from manager.fakes import FakeDesk
from manager.grpc_cluster import refused, run, serving

from flame.core.model import messages as m
from flame.core.model.states import TaskState
from flame.wire.v1 import backend_pb2 as be
from flame.wire.v1 import frontend_pb2 as fe
from flame.wire.v1 import types_pb2 as pb

BAD = grpc.StatusCode.INVALID_ARGUMENT
GONE = grpc.StatusCode.NOT_FOUND
NODE = pb.Node(
    metadata=pb.Metadata(id="n", name="n"),
    spec=pb.NodeSpec(hostname="n"),
    status=pb.NodeStatus(capacity=pb.ResourceRequirement(cpu=4, memory=1 << 30), info=pb.NodeInfo(arch="arm64")),
)


class Agent:
    """The loop of a published node agent, one call at a time."""

    def __init__(self, it) -> None:
        self.back, self.front, self.desk = it.back, it.front, it.desk
        self.pushed: asyncio.Queue[pb.Executor] = asyncio.Queue()
        self.acks = 0
        self.silent = asyncio.Event()

    async def heartbeats(self):
        yield be.WatchNodeRequest(heartbeat=be.NodeHeartbeat(node_name="n", status=NODE.status))
        await self.silent.wait()

    async def watch(self) -> None:
        async for response in self.back.WatchNode(self.heartbeats()):
            if response.HasField("executor"):
                self.pushed.put_nowait(response.executor)
            else:
                self.acks += 1

    async def executor(self, state: int) -> pb.Executor:
        """The next pushed executor in this state."""
        while (found := await self.pushed.get()).status.state != state:
            pass
        return found

    def place(self, id: str = "e1", session: str = "s") -> None:
        self.desk.by_role("agent").push(
            m.StartPlacement(id, "n", session, "app", self.desk.apps["app"].spec, {"cpu": 1000}, {}, "", "token")
        )

    async def bound(self, id: str = "e1") -> m.Message:
        self.place(id)
        await self.executor(pb.ExecutorVoid)
        spec = pb.ExecutorSpec(node="n")
        await self.back.RegisterExecutor(be.RegisterExecutorRequest(executor_id=id, executor_spec=spec))
        got = await self.back.BindExecutor(be.BindExecutorRequest(executor_id=id))
        await self.back.BindExecutorCompleted(be.BindExecutorCompletedRequest(executor_id=id))
        return got

    async def launch(self, id: str = "e1"):
        return await self.back.LaunchTask(be.LaunchTaskRequest(executor_id=id))

    async def complete(self, id: str = "e1", **result: object):
        request = be.CompleteTaskRequest(executor_id=id, task_result=pb.TaskResult(**result))
        return await self.back.CompleteTask(request)


@asynccontextmanager
async def an_agent(*payloads: bytes | None):
    async with serving(FakeDesk()) as it:
        it.desk.apps["app"] = m.AppInfo("app", m.AppSpec(delay_release=5.0), 0, 1.0)
        session = pb.SessionSpec(application="app", common_data=b"cd")
        await it.front.CreateSession(fe.CreateSessionRequest(session_id="s", session=session))
        for payload in payloads:
            await it.front.CreateTask(fe.CreateTaskRequest(task=pb.TaskSpec(session_id="s", input=payload)))
        agent = Agent(it)
        await it.back.RegisterNode(be.RegisterNodeRequest(node=NODE))
        watching = asyncio.create_task(agent.watch())
        yield agent
        agent.silent.set()
        await watching


def test_an_executor_serves_a_session_from_registration_to_release():
    async def body():
        async with an_agent(b"one", None) as agent:
            got = await agent.bound()
            assert (got.application.metadata.name, got.session.metadata.id) == ("app", "s")
            assert got.session.spec.common_data == b"cd"
            agent.desk.assign(agent.desk.by_role("executor"), "s", 1, 2)

            first = (await agent.launch()).task
            assert (first.metadata.id, first.spec.input, first.status.state) == ("1", b"one", pb.Running)
            assert agent.desk.tasks["s"][0].state == TaskState.RUNNING
            assert agent.desk.tasks["s"][1].state == TaskState.PENDING
            assert (await agent.launch()).task.metadata.id == "1"  # an answer that got lost is given again
            await agent.complete(return_code=0, output=b"")
            second = (await agent.launch()).task
            assert not second.spec.HasField("input")
            await agent.complete(return_code=7, message="no such thing")
            one, two = agent.desk.tasks["s"]
            assert (one.state, one.output) == (TaskState.SUCCEED, b"")
            assert (two.state, two.events[0].message) == (TaskState.FAILED, "no such thing")

            waiting = asyncio.create_task(agent.launch())
            await asyncio.sleep(0.05)
            assert not waiting.done()
            agent.desk.by_role("executor").push(m.Leave())
            assert not (await waiting).HasField("task")
            await agent.back.UnbindExecutor(be.UnbindExecutorRequest(executor_id="e1"))
            await agent.back.UnbindExecutorCompleted(be.UnbindExecutorCompletedRequest(executor_id="e1"))
            line = agent.desk.by_role("executor")
            assert m.Left() in line.said
            empty = await agent.back.BindExecutor(be.BindExecutorRequest(executor_id="e1"))
            assert not empty.HasField("session")
            await agent.back.UnregisterExecutor(be.UnregisterExecutorRequest(executor_id="e1"))
            assert line.closed
            assert m.PlacementExited("e1", exit_code=0) in agent.desk.by_role("agent").said
            await refused(agent.launch(), GONE)

    run(body)


def test_the_node_is_registered_and_its_stream_tells_every_change():
    async def body():
        async with an_agent() as agent:
            (asked,) = [q for q in agent.desk.asked if isinstance(q, m.RegisterNode)]
            assert (asked.name, asked.capacity["cpu"], asked.arch) == ("n", 4000, "arm64")
            await agent.bound()
            assert (await agent.executor(pb.ExecutorIdle)).metadata.id == "e1"
            assert (await agent.executor(pb.ExecutorBound)).status.session_id == "s"
            assert agent.acks == 1
            assert any(isinstance(q, m.Heartbeat) for q in agent.desk.by_role("agent").said)

    run(body)


def test_an_executor_nobody_knows_is_dropped_by_its_agent():
    async def body():
        async with an_agent() as agent:
            status = pb.ExecutorStatus(state=pb.ExecutorBound, session_id="old")
            stale = pb.Executor(metadata=pb.Metadata(id="old"), status=status)
            await agent.back.RegisterNode(be.RegisterNodeRequest(node=NODE, executors=[stale]))
            assert (await agent.executor(pb.ExecutorReleased)).metadata.id == "old"
            synced = await agent.back.SyncNode(be.SyncNodeRequest(node=NODE))
            assert not synced.executors

    run(body)


def test_a_failed_bind_is_told_and_the_executor_is_released():
    async def body():
        async with an_agent() as agent:
            agent.place()
            await agent.executor(pb.ExecutorVoid)
            spec = pb.ExecutorSpec(node="n")
            await agent.back.RegisterExecutor(be.RegisterExecutorRequest(executor_id="e1", executor_spec=spec))
            await agent.back.BindExecutor(be.BindExecutorRequest(executor_id="e1"))
            result = pb.Result(return_code=12, message="on_session_enter failed: no")
            await agent.back.BindExecutorCompleted(be.BindExecutorCompletedRequest(executor_id="e1", result=result))
            assert m.Entered(12, "on_session_enter failed: no") in agent.desk.by_role("executor").said
            await agent.back.UnbindExecutor(be.UnbindExecutorRequest(executor_id="e1"))
            await agent.back.UnbindExecutorCompleted(be.UnbindExecutorCompletedRequest(executor_id="e1"))
            assert not (await agent.back.BindExecutor(be.BindExecutorRequest(executor_id="e1"))).HasField("session")

    run(body)


def test_calls_in_the_wrong_state_name_the_state():
    async def body():
        async with an_agent() as agent:
            agent.place()
            await agent.executor(pb.ExecutorVoid)
            await refused(agent.launch(), BAD, "Executor is void")
            await refused(agent.back.BindExecutor(be.BindExecutorRequest(executor_id="e1")), BAD, "Executor is void")
            await agent.bound("e2")
            register = be.RegisterExecutorRequest(executor_id="e2", executor_spec=pb.ExecutorSpec())
            await refused(agent.back.RegisterExecutor(register), BAD, "Executor is bound")
            await refused(agent.complete("e2", return_code=0), BAD, "no task")
            await refused(agent.complete("e9", return_code=0), GONE, "e9")
            await refused(agent.back.CompleteTask(be.CompleteTaskRequest(executor_id="e2")), BAD, "result")
            await refused(agent.back.RegisterExecutor(be.RegisterExecutorRequest(executor_id="e1")), BAD, "spec")
            await refused(agent.back.RegisterNode(be.RegisterNodeRequest()), BAD, "node")

    run(body)


def test_prefetched_tasks_are_given_back_on_recall():
    async def body():
        async with an_agent(b"1", b"2", b"3") as agent:
            await agent.bound()
            line = agent.desk.by_role("executor")
            agent.desk.assign(line, "s", 1, 3)
            await agent.launch()
            line.push(m.Recall("s", (1, 3, 1, 1, 1)))
            recalled = [q for q in line.said if isinstance(q, m.Recalled)]
            assert recalled == [m.Recalled("s", (2, 2, 1, 1, 1))]

    run(body)


def test_a_lost_line_is_made_again_and_the_result_is_sent_again():
    async def body():
        async with an_agent(b"1") as agent:
            await agent.bound()
            line = agent.desk.by_role("executor")
            agent.desk.assign(line, "s", 1, 1)
            await agent.launch()
            line.lost()
            completing = asyncio.create_task(agent.complete(return_code=0, output=b"x"))
            await asyncio.sleep(0.05)
            assert not completing.done()  # nobody has recorded it
            await completing
            again = agent.desk.by_role("executor")
            assert again is not line
            assert (again.hello.features, again.hello.held) == (("entered",), (1, 1, 1, 1, 1))
            assert agent.desk.tasks["s"][0].output == b"x"

    run(body)


def test_a_stopped_placement_is_dropped_after_its_grace():
    async def body():
        async with an_agent() as agent:
            await agent.bound()
            agent.desk.by_role("agent").push(m.StopPlacement("e1", grace=0.05))
            assert not (await agent.launch()).HasField("task")
            assert (await agent.executor(pb.ExecutorReleased)).metadata.id == "e1"

    run(body)


def test_a_node_that_leaves_is_released_and_one_that_never_came_ends_its_stream():
    async def body():
        async with an_agent() as agent:
            await agent.back.ReleaseNode(be.ReleaseNodeRequest(node_name="n"))
            assert m.ReleaseNode("n") in agent.desk.by_role("agent").said
            await refused(agent.back.ReleaseNode(be.ReleaseNodeRequest(node_name="n")), GONE)
            await agent.watch()

    run(body)
