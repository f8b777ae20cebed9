"""A node agent that speaks only `flame.v1`, beside our own, on a real cluster. Its node is the only one large enough for the session."""

from __future__ import annotations

import asyncio

import grpc.aio
import pytest

from flame.wire.v1 import backend_pb2 as be
from flame.wire.v1 import frontend_pb2 as fe
from flame.wire.v1 import types_pb2 as pb
from flame.wire.v1.backend_pb2_grpc import BackendStub
from flame.wire.v1.frontend_pb2_grpc import FrontendStub

BIG = pb.ResourceRequirement(cpu=512, memory=1 << 40)
NODE = pb.Node(
    metadata=pb.Metadata(id="foreign", name="foreign"),
    spec=pb.NodeSpec(hostname="foreign"),
    status=pb.NodeStatus(state=pb.Ready, capacity=BIG, allocatable=BIG, info=pb.NodeInfo(arch="arm64", os="linux")),
)


class Agent:
    """Runs every executor it is told about: each task's output is its input, upside down."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.back = BackendStub(channel)
        self.loops: dict[str, asyncio.Task[None]] = {}
        self.gone = asyncio.Event()
        self.left: list[str] = []

    async def run(self) -> None:
        await self.back.RegisterNode(be.RegisterNodeRequest(node=NODE))
        async for response in self.back.WatchNode(self.heartbeats()):
            executor = response.executor
            new = response.HasField("executor") and executor.metadata.id not in self.loops
            if new and executor.status.state != pb.ExecutorReleased:
                self.loops[executor.metadata.id] = asyncio.create_task(self.execute(executor.metadata.id))

    async def heartbeats(self):
        while not self.gone.is_set():
            yield be.WatchNodeRequest(heartbeat=be.NodeHeartbeat(node_name="foreign", status=NODE.status))
            try:
                await asyncio.wait_for(self.gone.wait(), 1)
            except TimeoutError:
                continue

    async def execute(self, id: str) -> None:
        back = self.back
        spec = pb.ExecutorSpec(node="foreign", resreq=pb.ResourceRequirement(cpu=100))
        await back.RegisterExecutor(be.RegisterExecutorRequest(executor_id=id, executor_spec=spec))
        while True:
            bound = await back.BindExecutor(be.BindExecutorRequest(executor_id=id))
            if not bound.HasField("session"):
                break
            await back.BindExecutorCompleted(be.BindExecutorCompletedRequest(executor_id=id, result=pb.Result()))
            while True:
                launched = await back.LaunchTask(be.LaunchTaskRequest(executor_id=id))
                if not launched.HasField("task"):
                    break
                given = launched.task.spec.input
                if given == b"bad":
                    result = pb.TaskResult(return_code=3, message="bad input")
                else:
                    result = pb.TaskResult(output=given[::-1])
                await back.CompleteTask(be.CompleteTaskRequest(executor_id=id, task_result=result))
            await back.UnbindExecutor(be.UnbindExecutorRequest(executor_id=id))
            await back.UnbindExecutorCompleted(be.UnbindExecutorCompletedRequest(executor_id=id))
        await back.UnregisterExecutor(be.UnregisterExecutorRequest(executor_id=id))
        self.left.append(id)


async def story(listener: str) -> None:
    host, _, port = listener.rpartition(":")
    async with (
        grpc.aio.insecure_channel(listener) as front_channel,
        grpc.aio.insecure_channel(f"{host}:{int(port) + 1}") as back_channel,
    ):
        front, agent = FrontendStub(front_channel), Agent(back_channel)
        running = asyncio.create_task(agent.run())
        spec = pb.ApplicationSpec(command="/bin/false", delay_release=1)
        await front.RegisterApplication(fe.RegisterApplicationRequest(name="reverse", application=spec))
        session = pb.SessionSpec(
            application="reverse", max_instances=2, resreq=pb.ResourceRequirement(cpu=100, memory=1)
        )
        await front.CreateSession(fe.CreateSessionRequest(session_id="foreign-1", session=session))
        inputs = [b"abc", b"bad", b""] + [b"%d!" % n for n in range(100)]
        for data in inputs:
            await front.CreateTask(fe.CreateTaskRequest(task=pb.TaskSpec(session_id="foreign-1", input=data)))

        async def last(no: int) -> pb.Task:
            watch = front.WatchTask(fe.WatchTaskRequest(task_id=str(no), session_id="foreign-1"))
            return [task async for task in watch][-1]

        ended = await asyncio.gather(*(last(no) for no in range(1, len(inputs) + 1)))
        for data, task in zip(inputs, ended, strict=True):
            if data == b"bad":
                assert task.status.state == pb.Failed
                assert [event.message for event in task.status.events if event.code == 3] == ["bad input"]
            else:
                assert (task.status.state, task.spec.output) == (pb.Succeed, data[::-1])
        nodes = (await front.ListNodes(fe.ListNodesRequest())).nodes
        assert "foreign" in [node.metadata.id for node in nodes]
        mine = [e for e in (await front.ListExecutor(fe.ListExecutorRequest())).executors if e.spec.node == "foreign"]
        assert 1 <= len(mine) <= 2
        assert {executor.metadata.id for executor in mine} <= agent.loops.keys()
        closed = await front.CloseSession(fe.CloseSessionRequest(session_id="foreign-1"))
        assert (closed.status.succeed, closed.status.failed) == (len(inputs) - 1, 1)
        await asyncio.gather(*agent.loops.values())
        assert sorted(agent.left) == sorted(agent.loops)
        await agent.back.ReleaseNode(be.ReleaseNodeRequest(node_name="foreign"))
        agent.gone.set()
        await running


@pytest.mark.ledger("A-15", "A-51")
def test_an_agent_made_from_the_published_protos_serves_a_session(listener):
    async def main() -> None:
        async with asyncio.timeout(60):
            await story(listener)

    asyncio.run(main())
