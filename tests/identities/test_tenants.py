"""Tenants in the sessions reactor: nobody sees, names or fills what belongs to somebody else."""

from __future__ import annotations

import pytest

from flame.core.model import messages as m
from flame.core.model.access import digest
from flame.core.model.payloads import pack_payloads
from flame.core.model.reactor import Audit, Close, Joined, Lost, Received, Send, Ticked
from flame.core.sessions.reactor import Sessions, Settings

ALLOCATOR, LOCAL, ANN, BOB, EYE = 90, 1, 2, 3, 4
TOKENS = {"ann": ("user", "acme"), "bob": ("user", "bolt"), "eye": ("viewer", "acme"), "boss": ("admin", "acme")}


class World:
    def __init__(self, **settings) -> None:
        self.now = 1000.0
        self.effects = []
        self.sessions = Sessions(Settings(**settings))
        self.sessions.begin(1, "h", self.now)
        self.handle(Joined(ALLOCATOR, m.Hello("allocator")))
        self.tokens = {
            name: m.TokenInfo(f"id-{name}", name, role, tenant, 0.0, None, digest(f"secret-{name}"))
            for name, (role, tenant) in TOKENS.items()
        }
        self.tell(acme=m.TenantInfo("acme", max_sessions=2, max_queued=5, max_bytes=100), bolt=m.TenantInfo("bolt"))
        self.handle(Joined(LOCAL, m.Hello("client", client_id="l", features=("results",))))
        for peer, name in ((ANN, "ann"), (BOB, "bob"), (EYE, "eye")):
            self.join(peer, name)
            if name != "eye":
                assert self.ask(peer, m.RegisterApp("app", m.AppSpec())) == m.Done()

    def tell(self, **tenants) -> None:
        self.tenants = tenants or self.tenants
        self.handle(Received(ALLOCATOR, 0, m.Identities(tuple(self.tenants.values()), tuple(self.tokens.values()))))

    def join(self, peer, name, client="same-id") -> None:
        hello = m.Hello("client", client_id=client, token=f"secret-{name}", features=("results",))
        self.handle(Joined(peer, hello, None))

    def handle(self, event):
        self.effects = self.sessions.handle(event, self.now)
        self.sessions.check()
        return self.effects

    def ask(self, peer, message):
        answers = [e.message for e in self.handle(Received(peer, 7, message)) if isinstance(e, Send) and e.request == 7]
        return answers[-1] if answers else None

    def open(self, peer, id="s", **spec):
        return self.ask(peer, m.OpenSession(id, m.SessionSpec("app", **spec)))

    def submit(self, peer, session, *payloads, seq=1):
        return self.ask(peer, m.Submit(session, seq, *pack_payloads(payloads)))


@pytest.fixture
def world():
    return World()


def test_two_tenants_may_use_the_same_names(world):
    mine, theirs = world.open(ANN), world.open(BOB)
    assert (mine.id, theirs.id) == ("acme/s", "bolt/s")
    assert mine.spec.application == "acme/app"
    assert world.submit(ANN, "s", b"a").session == "acme/s"
    assert world.submit(BOB, "bolt/s", b"b", b"c").count == 2
    assert world.ask(ANN, m.GetSession("s")).pending == 1
    assert [s.id for s in world.ask(BOB, m.ListSessions()).sessions] == ["bolt/s"]
    assert {s.id for s in world.ask(LOCAL, m.ListSessions()).sessions} == {"acme/s", "bolt/s"}
    assert [a.name for a in world.ask(ANN, m.ListApps()).apps] == ["acme/app"]


@pytest.mark.parametrize("name", ["acme/s", "1"])
def test_what_is_not_yours_is_not_there(world, name):
    """By key or by number: every verb that names a session answers as if there were none."""
    world.open(ANN)
    world.submit(ANN, "s", b"a")
    for question in (
        m.GetSession(name), m.CloseSession(name), m.DeleteSession(name), m.Submit(name, 9, *pack_payloads([b"x"])), m.Resume(name, ()),
        m.GetTask(name, 1), m.ListTasks(name), m.WatchTask(name, 1, 1), m.CancelTasks(name, (1, 1)), m.ShareBlob(name, "d", b""),
        m.FetchBlob(name, "d"), m.Explain(name), m.Explain(f"{name}/1"), m.GetLogs(name), m.OpenSession(name, None, "open"),
    ):  # fmt: skip
        answer = world.ask(BOB, question)
        assert isinstance(answer, m.Failure), question
        assert answer.code == "not_found", question
    assert world.ask(ANN, m.GetSession("s")).pending == 1
    assert isinstance(world.ask(ANN, m.Explain("s/1")), m.Explanation)
    assert isinstance(world.ask(ANN, m.Explain("acme/s/1")), m.Explanation)


def test_a_session_of_another_tenant_is_refused_and_written_down(world):
    answer = world.open(ANN, tenant="bolt")
    assert answer.code == "permission_denied"
    (line,) = [e for e in world.effects if isinstance(e, Audit)]
    assert (line.who.name, line.verb, line.object, line.code) == ("ann", "OpenSession", "s", "permission_denied")
    assert world.ask(LOCAL, m.OpenSession("x", m.SessionSpec("app", tenant="nowhere"))).code == "not_found"
    assert world.ask(LOCAL, m.OpenSession("x", m.SessionSpec("app", tenant="acme"))).id == "acme/x"


def test_results_go_to_the_client_that_asked_though_another_has_its_id(world):
    """A client's id is its own word; it is only trusted inside of its identity."""
    world.open(ANN)
    world.submit(ANN, "s", b"a")
    assert len({hello.client_id for peer, hello in world.sessions.core.peers.items() if peer in (ANN, BOB, EYE)}) == 3


def test_a_viewer_looks_and_changes_nothing(world):
    world.open(ANN)
    assert world.ask(EYE, m.GetSession("s")).id == "acme/s"
    assert world.ask(EYE, m.CloseSession("s")).code == "permission_denied"
    assert world.submit(EYE, "s", b"x").code == "permission_denied"


@pytest.mark.parametrize(("token", "said"), [("", "wants a token"), ("guess", "not known"), ("secret-old", "expired")])
def test_bad_tokens_are_refused_before_anything_else(world, token, said):
    world.tokens["old"] = m.TokenInfo("id-old", "old", "user", "acme", 0.0, 999.0, digest("secret-old"))
    world.tell()
    effects = world.handle(Joined(9, m.Hello("client", client_id="c", token=token), None))
    (failure,) = [e.message for e in effects if isinstance(e, Send)]
    assert failure.code == "unauthenticated"
    assert said in failure.message
    assert [e.peer for e in effects if isinstance(e, Close)] == [9]
    assert world.ask(9, m.ListSessions()) is None


def test_a_revoked_token_ends_its_connections(world):
    del world.tokens["ann"]
    world.tell()
    assert [e.peer for e in world.effects if isinstance(e, Close)] == [ANN]
    assert [e.message.code for e in world.effects if isinstance(e, Send) and e.peer == ANN] == ["unauthenticated"]


def test_a_token_ends_by_itself(world):
    world.tokens["short"] = m.TokenInfo("id-s", "short", "user", "acme", 0.0, 1005.0, digest("secret-short"))
    world.tell()
    world.join(9, "short")
    assert world.ask(9, m.WhoAmI()).expires == 1005.0
    world.now = 1005.5
    assert [e.peer for e in world.handle(Ticked()) if isinstance(e, Close)] == [9]


def test_tokens_cannot_be_judged_before_the_allocator_spoke():
    sessions = Sessions()
    sessions.begin(1, "h", 0.0)
    effects = sessions.handle(Joined(9, m.Hello("client", token="flame_x"), None), 0.0)
    assert [e.message.code for e in effects if isinstance(e, Send)] == ["unavailable"]


def test_a_tenants_queue_is_bounded_by_tasks_bytes_and_sessions(world):
    world.open(ANN)
    assert world.submit(ANN, "s", b"1", b"2", b"3").count == 3
    full = world.submit(ANN, "s", b"4", b"5", b"6", seq=2)
    assert (full.code, full.retry_after > 0) == ("exhausted", True)
    assert "5" in full.message
    assert world.submit(ANN, "s", b"4", seq=3).count == 1
    assert world.submit(ANN, "s", b"x" * 98, seq=4).code == "exhausted"
    # The refused frame comes again under its old key, behind a later one that was taken.
    world.ask(ANN, m.CancelTasks("s", (1, 3)))
    assert world.submit(ANN, "s", b"4", b"5", b"6", seq=2).count == 3
    assert world.open(ANN, "two").id == "acme/two"
    assert world.open(ANN, "three").code == "exhausted"
    assert world.open(BOB, "three").id == "bolt/three"
    assert {t.tenant.name: (t.sessions, t.queued) for t in world.ask(LOCAL, m.ListTenants()).tenants} == {
        "default": (0, 0), "acme": (2, 4), "bolt": (1, 0),
    }  # fmt: skip


def test_what_waits_is_counted_down_whatever_way_it_ends(world):
    world.open(ANN)
    world.submit(ANN, "s", b"1234", b"5")
    load = world.sessions.core.load("acme")
    assert (load.sessions, load.queued, load.bytes) == (1, 2, 5)
    world.ask(ANN, m.CloseSession("s", "cancel"))
    assert (load.sessions, load.queued, load.bytes) == (0, 0, 0)


def test_the_engine_itself_is_bounded():
    world = World(max_queued=4, max_bytes=50)
    world.open(BOB)
    assert world.submit(BOB, "s", b"1", b"2", b"3", b"4").count == 4
    assert world.submit(BOB, "s", b"5", seq=2).code == "exhausted"


def test_what_the_allocator_must_do_is_passed_on_with_who_asked(world):
    world.tokens["boss"] = m.TokenInfo("id-boss", "boss", "admin", "acme", 0.0, None, digest("secret-boss"))
    world.tell()
    world.join(9, "boss")
    assert world.ask(9, m.CreateToken("new", "user", "acme", by="somebody else")) is None
    (asked,) = [e for e in world.effects if isinstance(e, Send) and e.peer == ALLOCATOR]
    assert asked.message.by == "acme/boss"
    made = m.TokenCreated(m.TokenInfo("i", "new", "user", "acme", 0.0), "flame_secret")
    told = world.handle(Received(ALLOCATOR, asked.request, made))
    assert [(e.peer, e.request, e.message) for e in told if isinstance(e, Send)] == [(9, 7, made)]
    assert not any("flame_secret" in repr(e) for e in told if isinstance(e, Audit))
    for message, code in (
        (m.CreateToken("new", "user", "bolt"), "permission_denied"),
        (m.CreateToken("new", "king", "acme"), "invalid_argument"),
        (m.CreateToken("new", "join", "acme"), "invalid_argument"),
        (m.CreateToken("", "user", "acme"), "invalid_argument"),
        (m.CreateToken("new", "user", "acme", ttl=-1), "invalid_argument"),
        (m.RevokeToken("id-bob"), "not_found"),
        (m.SetTenant(m.TenantInfo("new")), "permission_denied"),
        (m.SetNode("n"), "permission_denied"),
    ):
        assert world.ask(9, message).code == code, message
    assert {info.name for info in world.ask(9, m.ListTokens()).tokens} == {"ann", "eye", "boss"}
    assert not any(info.digest for info in world.ask(9, m.ListTokens()).tokens)


def test_who_waits_for_an_allocator_that_goes_away_hears_so(world):
    assert world.ask(LOCAL, m.SetTenant(m.TenantInfo("new"))) is None
    told = world.handle(Lost(ALLOCATOR))
    assert [e.message.code for e in told if isinstance(e, Send) and e.request == 7] == ["unavailable"]
    assert world.ask(LOCAL, m.SetTenant(m.TenantInfo("new"))).code == "unavailable"


def test_a_service_is_somebody_of_its_sessions_tenant(world):
    """Code inside a task connects with its executor's token: it sees its tenant, and no other."""
    world.open(ANN)
    world.handle(Received(ALLOCATOR, 0, m.Granted("e1", "acme/s", "n1", "flame_executor")))
    world.handle(Joined(9, m.Hello("client", client_id="c", token="flame_executor")))
    who = world.ask(9, m.WhoAmI())
    assert (who.role, who.tenant) == ("user", "acme")
    assert world.ask(9, m.GetSession("bolt/s")).code == "not_found"


@pytest.mark.ledger("B-044")
def test_what_replicas_of_a_workload_open_counts_in_its_namespace(world):
    """And what tasks of such a session open, whatever they ask for: both parts of a Hybrid share a quota."""
    name = "workload job/acme/lab/serve"
    world.tokens["serve"] = m.TokenInfo("id-serve", name, "user", "acme", 0.0, None, digest("secret-serve"))
    world.tell()
    world.join(8, "serve")
    assert world.open(8, "batch", namespace="elsewhere").spec.namespace == "lab"
    world.handle(Received(ALLOCATOR, 0, m.Granted("e1", "acme/batch", "n1", "flame_executor")))
    world.handle(Joined(9, m.Hello("client", client_id="c", token="flame_executor")))
    assert world.open(9, "inner").spec.namespace == "lab"
    assert world.open(BOB, "other").spec.namespace == "default"


@pytest.mark.ledger("B-134")
def test_a_question_of_a_service_account_is_passed_on_with_who_it_is_and_nobody_says_that_itself(world):
    name = "system:serviceaccount:lab:robot"
    world.tokens["robot"] = m.TokenInfo("id-robot", name, "account", "acme", 0.0, None, digest("secret-robot"))
    world.tell()
    world.join(8, "robot")

    def passed_on(peer, message):
        (asked,) = [e for e in world.handle(Received(peer, 7, message)) if isinstance(e, Send)]
        assert asked.peer == ALLOCATOR
        return asked.message

    put = m.PutObject("create", "ConfigMap", body=b"{}", subject="default/root", by="root")
    for ask in (
        m.GetObject("ConfigMap", "", "x", "", "default/root"), m.ListObjects("Pod"), m.WatchObjects("Pod", 0),
        m.DeleteObject("Node", name="x"), put,
    ):  # fmt: skip
        assert passed_on(8, ask).subject == f"acme/{name}"
    assert passed_on(ANN, put).subject == ""  # its role lets it
    assert passed_on(EYE, put).subject == "acme/eye"
    assert passed_on(EYE, m.GetObject("ConfigMap", "", "x", "", "default/root")).subject == ""
    assert passed_on(ANN, m.PutObject("create", "ResourceQuota", body=b"{}")).subject == "acme/ann"
    assert world.ask(ANN, m.PutObject("create", "ClusterRole", body=b"{}")).code == "permission_denied"
    assert world.ask(8, m.PutObject("create", "RoleBinding", body=b"{}")).code == "permission_denied"
    assert world.ask(8, m.PutObject("create", "ConfigMap", body=b"{}", tenant="bolt")).code == "permission_denied"
    assert world.ask(8, m.CreateToken("x", "user", "acme")).code == "permission_denied"
    assert world.ask(8, m.ListSessions()).code == "permission_denied"
