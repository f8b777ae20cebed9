from __future__ import annotations

import asyncio

import grpc
import pytest
from manager.fakes import FakeDesk
from manager.grpc_cluster import refused, run, serving

from flame.core.base.errors import InvalidArgument, PortTaken
from flame.core.model import messages as m
from flame.core.model.payloads import count_of
from flame.core.model.states import TaskState
from flame.manager.grpc.intake import Intake
from flame.manager.grpc.server import CompatServer
from flame.shell.address import Address
from flame.shell.gate import Gate
from flame.wire.v1 import frontend_pb2 as fe
from flame.wire.v1 import types_pb2 as pb
from flame.wire.v1.frontend_pb2_grpc import FrontendStub

BAD = grpc.StatusCode.INVALID_ARGUMENT
GONE = grpc.StatusCode.NOT_FOUND


def spec(**fields: object) -> pb.SessionSpec:
    return pb.SessionSpec(application="app", **fields)


async def created(front, id: str = "s", *payloads: bytes | None) -> None:
    await front.CreateSession(fe.CreateSessionRequest(session_id=id, session=spec()))
    for payload in payloads:
        await front.CreateTask(fe.CreateTaskRequest(task=pb.TaskSpec(session_id=id, input=payload)))


@pytest.mark.ledger("A-51")
def test_a_session_lives_and_dies():
    async def body():
        async with serving(FakeDesk()) as it:
            made = await it.front.CreateSession(
                fe.CreateSessionRequest(session_id="s", session=spec(common_data=b"", priority=3))
            )
            assert (made.metadata.id, made.metadata.name, made.status.state) == ("s", "s", pb.Open)
            assert made.spec.HasField("common_data")
            assert made.spec.priority == 3
            assert [s.metadata.id for s in (await it.front.ListSession(fe.ListSessionRequest())).sessions] == ["s"]
            await refused(
                it.front.DeleteSession(fe.DeleteSessionRequest(session_id="s")), BAD, "Cannot delete open session"
            )
            closed = await it.front.CloseSession(fe.CloseSessionRequest(session_id="s"))
            assert closed.status.state == pb.Closed
            deleted = await it.front.DeleteSession(fe.DeleteSessionRequest(session_id="s"))
            assert deleted.metadata.id == "s"
            await refused(it.front.GetSession(fe.GetSessionRequest(session_id="s")), GONE)

    run(body)


def test_sessions_that_cannot_be_opened_say_why_in_the_published_words():
    async def body():
        async with serving(FakeDesk()) as it:
            await created(it.front)
            create, open = it.front.CreateSession, it.front.OpenSession
            await refused(create(fe.CreateSessionRequest(session_id="x")), BAD, "session spec")
            await refused(
                create(fe.CreateSessionRequest(session_id="s", session=spec())),
                grpc.StatusCode.ALREADY_EXISTS,
                "already exists",
            )
            unknown = pb.SessionSpec(application="nope")
            await refused(create(fe.CreateSessionRequest(session_id="x", session=unknown)), GONE)
            await refused(open(fe.OpenSessionRequest(session_id="x")), GONE, "not found")
            await it.front.CloseSession(fe.CloseSessionRequest(session_id="s"))
            await refused(open(fe.OpenSessionRequest(session_id="s")), BAD, "not open")
            task = pb.TaskSpec(session_id="s")
            await refused(it.front.CreateTask(fe.CreateTaskRequest(task=task)), BAD, "not open")

    run(body)


@pytest.mark.parametrize("id", ["", "../x", "a/b", "a\\b", "a\nb", "x" * 129])
def test_bad_session_ids_are_refused(id):
    async def body():
        async with serving(FakeDesk()) as it:
            await refused(
                it.front.CreateSession(fe.CreateSessionRequest(session_id=id, session=spec())),
                BAD,
                "invalid session id",
            )

    run(body)


def test_a_ten_megabyte_id_is_a_short_error():
    async def body():
        async with serving(FakeDesk()) as it:
            huge = "x" * 10_000_000
            await refused(
                it.front.CreateSession(fe.CreateSessionRequest(session_id=huge, session=spec())), BAD, "10000000 bytes"
            )
            await refused(it.front.GetSession(fe.GetSessionRequest(session_id=huge)), GONE)
            await created(it.front)

    run(body)


def test_closing_with_running_tasks_is_an_error_and_changes_nothing():
    async def body():
        async with serving(FakeDesk()) as it:
            await created(it.front, "s", b"x")
            it.desk.change("s", 1, state=TaskState.RUNNING)
            close = it.front.CloseSession(fe.CloseSessionRequest(session_id="s"))
            await refused(close, grpc.StatusCode.INTERNAL, "Cannot close session with running tasks")

    run(body)


def test_tasks_are_numbered_from_one_and_keep_absent_and_empty_apart():
    async def body():
        async with serving(FakeDesk()) as it:
            await created(it.front, "s")
            make = it.front.CreateTask
            first = await make(fe.CreateTaskRequest(task=pb.TaskSpec(session_id="s", input=b"", output=b"ignored")))
            second = await make(fe.CreateTaskRequest(task=pb.TaskSpec(session_id="s")))
            assert (first.metadata.id, second.metadata.id) == ("1", "2")
            assert first.spec.HasField("input")
            assert not first.spec.HasField("output")
            assert not second.spec.HasField("input")
            listed = [t async for t in it.front.ListTask(fe.ListTaskRequest(session_id="s"))]
            assert [(t.metadata.id, t.spec.HasField("input")) for t in listed] == [("1", True), ("2", False)]

    run(body)


def test_tasks_created_together_get_a_number_each():
    async def body():
        async with serving(FakeDesk()) as it:
            await created(it.front, "s")
            requests = [fe.CreateTaskRequest(task=pb.TaskSpec(session_id="s", input=b"%d" % n)) for n in range(200)]
            made = await asyncio.gather(*map(it.front.CreateTask, requests))
            assert sorted(int(t.metadata.id) for t in made) == list(range(1, 201))
            assert all(it.desk.tasks["s"][int(t.metadata.id) - 1].input == t.spec.input for t in made)

    run(body)


def test_what_arrives_in_one_turn_of_the_loop_travels_in_one_frame():
    async def body():
        frames: list[int] = []

        async def send(session: str, lengths: bytes, blob: bytes) -> m.Submitted:
            count = count_of(lengths)
            frames.append(count)
            return m.Submitted(session, len(frames), 1 + sum(frames[:-1]), count)

        intake = Intake(send)
        numbers = await asyncio.gather(*(intake.submit("s", b"x") for _ in range(5000)))
        assert numbers == list(range(1, 5001))
        assert frames == [4096, 904]

    run(body)


def test_an_input_over_the_limit_is_refused_with_its_size():
    async def body():
        async with serving(FakeDesk()) as it:
            await created(it.front, "s")
            task = pb.TaskSpec(session_id="s", input=bytes(5_000_000))
            await refused(it.front.CreateTask(fe.CreateTaskRequest(task=task)), BAD, "5,000,000 bytes")

    run(body)


def test_a_watch_tells_later_changes_and_ends_with_the_terminal_one():
    async def body():
        async with serving(FakeDesk()) as it:
            await created(it.front, "s", b"in")
            watch = it.front.WatchTask(fe.WatchTaskRequest(task_id="1", session_id="s"))
            seen: list[pb.Task] = []

            async def read() -> None:
                async for task in watch:
                    seen.append(task)

            reader = asyncio.create_task(read())
            while not it.desk.watches:
                await asyncio.sleep(0.01)
            it.desk.change("s", 1, state=TaskState.RUNNING)
            it.desk.change("s", 1, state=TaskState.SUCCEED, output=b"out", completed=2.0)
            await reader
            assert [t.status.state for t in seen] == [pb.Running, pb.Succeed]
            assert (seen[-1].spec.input, seen[-1].spec.output) == (b"in", b"out")
            again = [t async for t in it.front.WatchTask(fe.WatchTaskRequest(task_id="1", session_id="s"))]
            assert [t.status.state for t in again] == [pb.Succeed]

    run(body)


def test_a_watch_never_ends_silently():
    async def body():
        async with serving(FakeDesk()) as it:
            await created(it.front, "s", b"in")
            for session, task in (("s", "2"), ("x", "1")):
                await refused(it.front.WatchTask(fe.WatchTaskRequest(task_id=task, session_id=session)), GONE)
            await refused(
                it.front.WatchTask(fe.WatchTaskRequest(task_id="one", session_id="s")), BAD, "invalid task id"
            )
            watch = it.front.WatchTask(fe.WatchTaskRequest(task_id="1", session_id="s"))
            ended = asyncio.create_task(refused(watch, GONE, "not found"))
            while not it.desk.watches:
                await asyncio.sleep(0.01)
            it.desk.by_role("client").lost()
            await ended
            # the office makes itself a new line
            assert (await it.front.GetSession(fe.GetSessionRequest(session_id="s"))).metadata.id == "s"

    run(body)


def test_application_failures_are_results_and_bad_arguments_are_statuses():
    async def body():
        async with serving(FakeDesk()) as it:
            register = it.front.RegisterApplication

            def named(name: str, **fields: object) -> fe.RegisterApplicationRequest:
                return fe.RegisterApplicationRequest(name=name, application=pb.ApplicationSpec(**fields))

            await refused(register(fe.RegisterApplicationRequest(name="a")), BAD, "spec is missed")
            await refused(register(named("a", working_directory="tmp")), BAD, "tmp")
            for part, words in (("input", "input"), ("output", "output"), ("common_data", "common data")):
                schema = pb.ApplicationSchema(**{part: '{"type": "objekt"}'})
                await refused(register(named("a", schema=schema)), BAD, f"invalid {words} schema:")
            for name in ("", ".a", "-a", "a..b", "a/b", "ä", "x" * 254):
                assert (await register(named(name))).return_code == -1
            assert (await register(named("a", command="/bin/true"))).return_code == 0
            again = await register(named("a"))
            assert (again.return_code, "already exists" in again.message) == (-1, True)
            app = await it.front.GetApplication(fe.GetApplicationRequest(name="a"))
            assert (app.spec.command, app.spec.max_instances, app.spec.delay_release) == ("/bin/true", 1_000_000, 60)
            unknown = fe.UpdateApplicationRequest(name="b", application=pb.ApplicationSpec())
            assert (await it.front.UpdateApplication(unknown)).return_code == -1
            drop = it.front.UnregisterApplication
            assert (await drop(fe.UnregisterApplicationRequest(name="a"))).return_code == 0
            assert (await drop(fe.UnregisterApplicationRequest(name="a"))).return_code == -1
            await refused(it.front.GetApplication(fe.GetApplicationRequest(name="a")), GONE)

    run(body)


def test_nodes_and_executors_are_listed():
    async def body():
        async with serving(FakeDesk()) as it:
            (node,) = (await it.front.ListNodes(fe.ListNodesRequest())).nodes
            assert (node.metadata.id, node.spec.hostname, node.status.capacity.cpu) == ("n1", "n1", 4)
            got = await it.front.GetNode(fe.GetNodeRequest(name="n1"))
            assert got.node == node
            await refused(it.front.GetNode(fe.GetNodeRequest(name="n2")), GONE, "node <n2> not found")
            (executor,) = (await it.front.ListExecutor(fe.ListExecutorRequest())).executors
            assert (executor.status.state, executor.status.session_id) == (pb.ExecutorBound, "s")

    run(body)


def test_garbage_bytes_are_refused_and_the_server_goes_on():
    async def body():
        async with serving(FakeDesk()) as it:
            async with grpc.aio.insecure_channel(it.server.address) as channel:
                call = channel.unary_unary("/flame.v1.Frontend/CreateSession")
                with pytest.raises(grpc.aio.AioRpcError):
                    await call(b"\xff\xff\xff\x00garbage")
            await created(it.front)

    run(body)


def test_a_token_is_wanted_where_one_is_set():
    async def body():
        server = CompatServer(FakeDesk(), gate=Gate(None, "sesame"))
        await server.start("127.0.0.1")
        async with grpc.aio.insecure_channel(server.address) as channel:
            front = FrontendStub(channel)
            for metadata in ((), (("authorization", "Bearer wrong"),)):
                call = front.ListNodes(fe.ListNodesRequest(), metadata=metadata)
                await refused(call, grpc.StatusCode.UNAUTHENTICATED, "token")
            right = (("authorization", "Bearer sesame"),)
            assert (await front.ListNodes(fe.ListNodesRequest(), metadata=right)).nodes
        await server.stop(0)

    run(body)


def test_a_taken_port_and_a_public_address_are_typed_errors():
    async def body():
        async with serving(FakeDesk()) as it:
            with pytest.raises(PortTaken, match="in use"):
                await CompatServer(FakeDesk()).start("127.0.0.1", it.server.port)
            with pytest.raises(InvalidArgument, match="only loopback"):
                await CompatServer(FakeDesk()).start("0.0.0.0", 0)

    run(body)


def test_loopback_is_recognised():
    assert [Address(host=h).loopback for h in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [
        True
    ] * 3 + [False] * 2
