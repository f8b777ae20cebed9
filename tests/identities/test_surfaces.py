"""The one table on every surface of a running cluster: task plane over TLS, gRPC over TLS, commands; and what an identity's end means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from flame.core.base.errors import FlameError, NotFound, PermissionDenied, Unauthenticated, Unavailable
from flame.core.model import messages as m
from flame.core.model.access import EVERY, LADDER, RULES
from flame.core.model.payloads import pack_payloads
from flame.sdk.connect import connect
from flame.testing.cluster import eventually
from flame.wire.v1 import frontend_pb2 as fe
from flame.wire.v1 import types_pb2 as pb
from flame.wire.v1.frontend_pb2_grpc import FrontendStub

BIN = Path(sys.executable).parent
WHO = [f"{role}@{tenant}" for role in LADDER for tenant in ("acme", "*")]

QUESTIONS = {
    m.OpenSession: m.OpenSession("matrix", None, "open"),
    m.Submit: m.Submit("none", 1, *pack_payloads([b"x"])),
    m.ShareBlob: m.ShareBlob("none", "d", b""),
    m.RegisterApp: m.RegisterApp("-bad-", m.AppSpec()),
    m.UpdateApp: m.UpdateApp("none", m.AppSpec()),
    m.CreateToken: m.CreateToken("", "user", "acme"),
    m.SetTenant: m.SetTenant(m.TenantInfo("-bad-")),
    m.CancelTasks: m.CancelTasks("none", (1, 1)),
    m.Resume: m.Resume("none", ()),
    m.FetchBlob: m.FetchBlob("none", "d"),
    m.WatchTask: m.WatchTask("none", 1, 1),
    m.GetTask: m.GetTask("none", 1),
    m.Unwatch: m.Unwatch(1),
    m.PutObject: m.PutObject("apply", "FlameWorkload", name="none", body=b"{}"),
    m.DeleteObject: m.DeleteObject("FlameWorkload", name="none"),
    m.GetObject: m.GetObject("FlameWorkload", name="none"),
    m.ListObjects: m.ListObjects("FlameWorkload"),
    m.WatchObjects: m.WatchObjects("FlameWorkload", 0, wait=0.0),
    m.DebugObject: m.DebugObject("FlameWorkload", name="none"),
    m.CallReplica: m.CallReplica("logs", "none"),
}
"""A harmless question of every kind; those of one name are made below."""


def question(kind):
    made = QUESTIONS.get(kind)
    return made if made is not None else kind(*(["none"] if kind.__struct_fields__ else []))


def may(who: str, kind: type[m.Message]) -> bool:
    role, tenant = who.split("@")
    rule = RULES[kind]
    return LADDER.index(role) >= LADDER.index(rule.least) and (tenant == EVERY or not rule.cluster)


@pytest.mark.parametrize("who", WHO)
def test_the_task_plane_keeps_the_table(secured, who):
    with secured.connect(who) as client:
        for kind in RULES:
            try:
                client.link.ask(question(kind))
                denied = False
            except PermissionDenied:
                denied = True
            except FlameError:
                denied = False
            assert denied != may(who, kind), (who, kind.__name__)


CALLS = {
    "RegisterApplication": (
        fe.RegisterApplicationRequest(name="new", application=pb.ApplicationSpec()),
        m.RegisterApp,
    ),
    "UpdateApplication": (fe.UpdateApplicationRequest(name="none", application=pb.ApplicationSpec()), m.UpdateApp),
    "UnregisterApplication": (fe.UnregisterApplicationRequest(name="none"), m.UnregisterApp),
    "GetApplication": (fe.GetApplicationRequest(name="none"), m.GetApp),
    "ListApplication": (fe.ListApplicationRequest(), m.ListApps),
    "ListExecutor": (fe.ListExecutorRequest(), m.ListExecutors),
    "ListNodes": (fe.ListNodesRequest(), m.ListNodes),
    "GetNode": (fe.GetNodeRequest(name="none"), m.ListNodes),
    "CreateSession": (
        fe.CreateSessionRequest(session_id="x", session=pb.SessionSpec(application="none")),
        m.OpenSession,
    ),
    "OpenSession": (fe.OpenSessionRequest(session_id="none"), m.OpenSession),
    "CloseSession": (fe.CloseSessionRequest(session_id="none"), m.CloseSession),
    "GetSession": (fe.GetSessionRequest(session_id="none"), m.GetSession),
    "ListSession": (fe.ListSessionRequest(), m.ListSessions),
    "CreateTask": (fe.CreateTaskRequest(task=pb.TaskSpec(session_id="none", input=b"x")), m.Submit),
    "GetTask": (fe.GetTaskRequest(session_id="none", task_id="1"), m.GetTask),
    "WatchTask": (fe.WatchTaskRequest(session_id="none", task_id="1"), m.WatchTask),
    "ListTask": (fe.ListTaskRequest(session_id="none"), m.ListTasks),
}


def front(secured):
    credentials = grpc.ssl_channel_credentials(secured.ca.read_bytes())
    return grpc.secure_channel(secured.endpoint.removeprefix("tls://"), credentials)


def call(stub: FrontendStub, name: str, request, token: str) -> tuple[grpc.StatusCode, str]:
    """How it ended."""
    try:
        answer = getattr(stub, name)(request, metadata=(("authorization", f"Bearer {token}"),), timeout=10)
        if name in ("WatchTask", "ListTask"):
            list(answer)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


@pytest.mark.parametrize("who", WHO)
def test_grpc_keeps_the_table(secured, who):
    with front(secured) as channel:
        stub = FrontendStub(channel)
        for name, (request, kind) in CALLS.items():
            code, words = call(stub, name, request, secured.tokens[who])
            assert (code == grpc.StatusCode.PERMISSION_DENIED) != may(who, kind), (who, name, code, words)


def test_grpc_wants_a_token_that_is_known(secured):
    with front(secured) as channel:
        stub = FrontendStub(channel)
        for token, words in (("", "none came"), ("flame_guess", "not known")):
            for name, (request, _) in CALLS.items():
                code, said = call(stub, name, request, token)
                assert code == grpc.StatusCode.UNAUTHENTICATED, (name, code, said)
                assert words in said


def command(secured, who: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("FLAME_")}
    env |= {
        "FLAME_ENDPOINT": secured.endpoint,
        "FLAME_CA_FILE": str(secured.ca),
        "FLAME_TOKEN": secured.tokens[who],
        "NO_COLOR": "1",
    }
    return subprocess.run([str(BIN / words[0]), *words[1:]], env=env, capture_output=True, text=True, timeout=60)


COMMANDS = (
    (("flmctl", "list", "-s"), m.ListSessions),
    (("flmctl", "create", "--app", "none"), m.OpenSession),
    (("flame", "node", "uncordon", "none"), m.SetNode),
    (("flame", "token", "list"), m.ListTokens),
    (("flame", "tenant", "create", "acme"), m.SetTenant),
)


@pytest.mark.parametrize("who", ["viewer@acme", "user@*", "operator@*", "admin@acme", "admin@*"])
def test_commands_keep_the_table(secured, who):
    for words, kind in COMMANDS:
        done = command(secured, who, *words)
        denied = "needs the role" in done.stderr or "concerns the whole cluster" in done.stderr
        assert denied != may(who, kind), (who, words, done)
        assert not denied or done.returncode == (77 if words[0] == "flame" else 1), done


# -- what is not yours ----------------------------------------------------------------------------------------------------------


@pytest.mark.ledger("A-18")
def test_a_tenant_sees_its_own_sessions_tasks_and_logs_only(secured):
    with secured.connect("user@acme") as ann, secured.connect("admin@bolt") as bob, secured.cluster.connect() as local:
        with ann.session("flmexec", id="mine") as session:
            session.run(json.dumps({"language": "shell", "code": "echo secret-of-acme"}).encode()).result(60)
            assert session.id == "acme/mine"
            eventually(
                lambda: (
                    any("secret-of-acme" in line.text for line in ann.logs("mine")) or ann.get_session("mine").succeed
                )
            )
            assert not bob.list_sessions()
            assert not bob.list_executors()
            for name in ("mine", "acme/mine"):
                with pytest.raises(NotFound):
                    bob.logs(name)
            with pytest.raises(NotFound):
                bob.explain("acme/mine/1")
            assert local.get_session("acme/mine").succeed == 1
            with bob.session("flmping", id="mine") as other:
                assert other.id == "bolt/mine"
                other.run(None).result(60)
        assert {s.id for s in local.list_sessions()} >= {"acme/mine", "bolt/mine"}


def test_code_inside_a_task_is_of_its_tenant(secured):
    """It has its executor's token and no other; what it starts or sees is its tenant's."""
    look = "import flame\nwith flame.connect() as c:\n    who = c.whoami()\n"
    code = look + "    print(who.role, who.tenant, {s.spec.tenant for s in c.list_sessions()})\n"
    with (
        secured.connect("user@acme") as ann,
        secured.connect("user@bolt") as bob,
        bob.session("flmping", id="other"),
        ann.session("flmexec") as session,
    ):
        task = {"language": "python", "code": code}
        said = session.run(json.dumps(task).encode()).result(60)
    assert bytes(json.loads(bytes(said))["data"]).decode().split() == ["user", "acme", "{'acme'}"]


# -- an identity's end ------------------------------------------------------------------------------------------------------------


def test_a_revoked_token_is_dead_at_once_on_every_connection(secured):
    with secured.cluster.connect() as local:
        made = local.create_token("short-lived", "user", "acme")
        client = connect(secured.endpoint, token=made.token, ca_file=secured.ca)
        with front(secured) as channel:
            stub = FrontendStub(channel)
            assert call(stub, "ListSession", fe.ListSessionRequest(), made.token)[0] == grpc.StatusCode.OK
            session = client.session("flmping")
            session.run(None).result(60)
            local.revoke_token(made.info.id)
            begin = time.monotonic()
            eventually(lambda: client.link.broken is not None, 5, "the connection of a revoked token goes on")
            eventually(
                lambda: (
                    call(stub, "ListSession", fe.ListSessionRequest(), made.token)[0] == grpc.StatusCode.UNAUTHENTICATED
                ),
                5,
            )
            assert time.monotonic() - begin < 5
        assert isinstance(client.link.broken, Unauthenticated)
        with pytest.raises(Unauthenticated, match="not known"):
            connect(secured.endpoint, token=made.token, ca_file=secured.ca)
        local.close_session(session.id, "cancel")
        client.close()


def test_tokens_and_tenants_survive_a_restart(secured):
    secured.cluster.kill("allocator")
    secured.cluster.kill("manager")

    def works() -> bool:
        try:
            with secured.connect("user@acme") as client:
                return client.whoami().tenant == "acme"
        except Unavailable:
            return False

    eventually(works, 20)
    with secured.cluster.connect() as local:
        assert {use.tenant.name for use in local.list_tenants()} >= {"acme", "bolt", "default"}


@pytest.mark.parametrize(
    ("token", "said"), [("", "wants a token"), ("flame_wrong", "not known"), ("a.b.c", "not known")]
)
def test_wrong_tokens_say_what_is_wrong_and_never_the_token(secured, token, said):
    with pytest.raises(Unauthenticated, match=said) as caught:
        connect(secured.endpoint, token=token, ca_file=secured.ca)
    assert not token or token not in str(caught.value) + caught.value.hint


def test_the_audit_log_says_who_did_what(secured):
    with secured.connect("user@acme") as ann:
        with ann.session("flmping", id="audited"):
            pass
        with pytest.raises(PermissionDenied):
            ann.create_token("x")
    path = secured.cluster.data_dir / "logs" / "audit.jsonl"
    assert path.stat().st_mode & 0o077 == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    mine = [(line["verb"], line["object"], line["outcome"]) for line in lines if line["who"] == "user-acme"]
    assert ("OpenSession", "audited", "ok") in mine
    assert ("CloseSession", "acme/audited", "ok") in mine
    assert ("CreateToken", "x", "permission_denied") in mine
    assert any(line["who"] == "nobody" and line["outcome"] == "unauthenticated" for line in lines)


def test_no_token_is_written_anywhere_but_to_its_owner(secured):
    """Journals and logs hold digests; the cluster's own token lies in its 0600 file."""
    kept = secured.cluster.data_dir
    for path in kept.rglob("*"):
        if path.is_file() and path.name != "token":
            data = path.read_bytes()
            for who, token in secured.tokens.items():
                assert token.encode() not in data, f"{who} in {path}"
    assert (kept / "token").stat().st_mode & 0o777 == 0o600
