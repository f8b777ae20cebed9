"""One table of who may do what: pure, then on every surface against one running cluster (see test_surfaces)."""

from __future__ import annotations

import pytest

from flame.core.base.errors import PermissionDenied
from flame.core.model import access
from flame.core.model import messages as m
from flame.core.model.access import ADMIN, EVERY, LADDER, OPERATOR, USER, VIEWER
from flame.core.sessions.reactor import VERBS

READING = {
    m.WhoAmI, m.GetStatus, m.GetSession, m.ListSessions, m.GetTask, m.ListTasks, m.WatchTask, m.Unwatch, m.GetLogs, m.Explain,
    m.GetApp, m.ListApps, m.ListNodes, m.ListExecutors, m.ListTenants, m.GetObject, m.ListObjects, m.WatchObjects,
    m.DebugObject, m.CallReplica,
}  # fmt: skip
WORKING = {
    m.Submit, m.Resume, m.ShareBlob, m.FetchBlob, m.OpenSession, m.CloseSession, m.DeleteSession, m.CancelTasks, m.RegisterApp,
    m.UpdateApp, m.UnregisterApp, m.PutObject, m.DeleteObject,
}  # fmt: skip
OPERATING = {m.SetNode}
RULING = {m.ListTokens, m.CreateToken, m.RevokeToken, m.SetTenant, m.DropTenant}
MAY = {
    VIEWER: READING,
    USER: READING | WORKING,
    OPERATOR: READING | WORKING | OPERATING,
    ADMIN: READING | WORKING | OPERATING | RULING,
}
CLUSTER_WIDE = {m.SetNode, m.SetTenant, m.DropTenant}


def allowed(who: m.Identity, kind: type[m.Message]) -> bool:
    try:
        access.permit(who, kind)
    except PermissionDenied:
        return False
    return True


def test_every_verb_has_a_rule():
    assert set(VERBS) - {m.JoinNode} == set(access.RULES)


@pytest.mark.parametrize("role", LADDER)
@pytest.mark.parametrize("kind", sorted(VERBS, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_the_matrix_of_roles_and_verbs(role, kind):
    assert allowed(m.Identity("x", role, EVERY), kind) == (kind in MAY[role])
    assert allowed(m.Identity("x", role, "acme"), kind) == (kind in MAY[role] - CLUSTER_WIDE)


@pytest.mark.parametrize("role", [access.EXECUTOR, access.JOIN, access.AGENT, "manager", "", "nobody"])
def test_roles_beside_the_ladder_may_nearly_nothing(role):
    may = {kind for kind in VERBS if allowed(m.Identity("x", role, EVERY), kind)}
    assert may == {access.EXECUTOR: {m.FetchBlob}, access.JOIN: {m.JoinNode}, access.AGENT: {m.JoinNode}}.get(
        role, set()
    )


def test_names_of_tenants_cannot_be_confused():
    acme, other, every = (m.Identity("x", USER, tenant) for tenant in ("acme", "other", EVERY))
    things = {"plain": 1, "acme/plain": 2, "other/plain": 3}
    assert [access.lookup(who, "plain", things) for who in (acme, other, every)] == [2, 3, 1]
    assert [access.lookup(who, "acme/plain", things) for who in (acme, other, every)] == [2, None, 2]
    assert access.lookup(m.Identity("x", USER), "acme/plain", things) is None


def test_a_token_is_kept_as_its_digest():
    assert (
        access.digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )  # FIPS 180-4, example B.1
    assert access.same("a", "a")
    assert not access.same("a", "\udc80")
