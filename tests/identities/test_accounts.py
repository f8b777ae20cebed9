"""Service accounts and bindings through client and commands: who makes their tokens, what ends them, what a binding adds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from objects.made import guide

from flame.core.base.errors import FlameError, InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from flame.core.model import messages as m
from flame.core.model.access import account_name
from flame.sdk.connect import connect
from flame.testing.cluster import eventually

pytestmark = pytest.mark.ledger("B-134")
API = {"apiVersion": "rbac.authorization.k8s.io/v1"}


def an_account(name, namespace="flame-system"):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def a_map(name, namespace="default"):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {}}


def a_quota(name):
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": 999}}}


def a_binding(name, role, *subjects, namespace=""):
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    return API | {
        "kind": kind,
        "metadata": meta,
        "subjects": list(subjects),
        "roleRef": {"kind": "ClusterRole", "name": role},
    }


def a_role(name, *resources, verbs=("*",)):
    return API | {
        "kind": "ClusterRole", "metadata": {"name": name},
        "rules": [{"apiGroups": ["*"], "resources": list(resources), "verbs": list(verbs)}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def admin(secured):
    with secured.cluster.connect() as client:
        for document in guide("rbac"):
            client.objects.apply(dict(document.body))
        client.objects.apply(an_account("flame-admin"))
        client.objects.apply(an_account("stranger"))
        yield client


def as_account(secured, token):
    return connect(secured.endpoint, token=token, ca_file=secured.ca)


def test_the_guides_account_is_admin_and_another_is_not(secured, admin):
    made = admin.create_account_token("flame-system", "flame-admin")
    assert (made.info.role, made.info.tenant, made.info.name) == (
        "account",
        "default",
        account_name("flame-system", "flame-admin"),
    )
    with as_account(secured, made.token) as client:
        assert client.whoami().role == "account"
        objects = client.objects
        assert objects.create(a_map("mine")).change == "created"
        assert objects.apply(a_map("mine")).change == "configured"
        objects.replace({**a_map("mine"), "data": {"a": "1"}})
        objects.patch("ConfigMap", "mine", {"data": {"b": "2"}})
        assert objects.get("ConfigMap", "mine")["data"] == {"a": "1", "b": "2"}
        assert "mine" in [body["metadata"]["name"] for body in objects.list("ConfigMap").items]
        objects.delete("ConfigMap", "mine")
        with pytest.raises(PermissionDenied, match=r"may not create resourcequotas in namespace 'default': no role"):
            objects.apply(a_quota("mine"))
        for ask in (m.GetStatus(), m.ListSessions(), m.ListTokens(), m.SetNode("n1", True), m.CallReplica("logs", "x")):
            with pytest.raises(PermissionDenied):
                client.link.ask(ask)
    stranger = admin.create_account_token("flame-system", "stranger").token
    with as_account(secured, stranger) as client:
        for try_ in (
            lambda: client.objects.apply(a_map("x")), lambda: client.objects.get("ConfigMap", "x"), lambda: client.objects.list("Pod"),
            lambda: client.objects.delete("FlameWorkload", "x"),
        ):  # fmt: skip
            with pytest.raises(PermissionDenied):
                try_()


def test_a_client_cannot_say_itself_who_it_is(secured, admin):
    """What a session manager adds to a question replaces what came with it."""
    admin.objects.apply(a_map("theirs"))
    stranger = admin.create_account_token("flame-system", "stranger").token
    with as_account(secured, stranger) as client:
        for subject in ("", f"default/{account_name('flame-system', 'flame-admin')}"):
            with pytest.raises(PermissionDenied):
                client.link.ask(m.GetObject("ConfigMap", "default", "theirs", "", subject))
            with pytest.raises(PermissionDenied):
                client.link.ask(m.ListObjects("ConfigMap", subject=subject))
            with pytest.raises(PermissionDenied):
                client.link.ask(m.DeleteObject("ConfigMap", "default", "theirs", subject=subject))
            with pytest.raises(PermissionDenied):
                client.link.ask(m.CallReplica("logs", "theirs-0", subject=subject))
    assert admin.objects.get("ConfigMap", "theirs")


def test_nobody_becomes_more_than_it_is(secured, admin):
    admin.objects.apply(a_role("everything", "*"))
    admin.objects.apply(
        a_binding("all", "everything", {"kind": "ServiceAccount", "name": "flame-admin", "namespace": "flame-system"})
    )
    token = admin.create_account_token("flame-system", "flame-admin").token
    bodies = [a_role("more", "*"), a_binding("mine", "everything", {"kind": "User", "name": "me"})]
    with as_account(secured, token) as client:
        client.objects.apply(a_quota("now-it-may"))
        client.objects.delete("ResourceQuota", "now-it-may")
        for body in bodies:
            with pytest.raises(PermissionDenied):
                client.objects.apply(body)
        with pytest.raises(PermissionDenied):
            client.objects.delete("ClusterRoleBinding", "all")
        with pytest.raises(PermissionDenied):
            client.create_account_token("flame-system", "stranger")
    admin.objects.delete("ClusterRoleBinding", "all")
    for who in ("viewer@*", "user@*", "operator@*", "admin@acme"):
        with secured.connect(who) as client:
            for body in bodies:
                with pytest.raises(PermissionDenied):
                    client.objects.apply(body)
            with pytest.raises(PermissionDenied):
                client.create_account_token("flame-system", "flame-admin", "default")
    with (
        secured.connect("admin@acme") as client,
        pytest.raises(PermissionDenied, match=r"tenant `\*`|concern everybody"),
    ):
        client.create_account_token("flame-system", "flame-admin", "acme")


def test_the_token_ends_with_the_account_and_does_not_come_back_with_its_name(secured, admin):
    admin.objects.apply(an_account("passing"))
    with pytest.raises(NotFound, match="no ServiceAccount 'nobody' in namespace flame-system"):
        admin.create_account_token("flame-system", "nobody")
    token = admin.create_account_token("flame-system", "passing").token
    client = as_account(secured, token)
    try:
        assert client.whoami().name == account_name("flame-system", "passing")
        admin.objects.delete("ServiceAccount", "passing", namespace="flame-system")

        def over():
            try:
                client.whoami()
            except FlameError:
                return True
            return False

        eventually(over)
    finally:
        client.close()
    admin.objects.apply(an_account("passing"))
    with pytest.raises(Unauthenticated), as_account(secured, token) as again:
        again.whoami()


def test_names_of_accounts_are_nobody_elses(admin):
    for name, role in (
        (account_name("flame-system", "flame-admin"), "viewer"),
        ("ann", "account"),
        ("system:x", "user"),
    ):
        with pytest.raises(InvalidArgument):
            admin.create_token(name, role, "default")
    with pytest.raises(InvalidArgument):
        admin.create_token(account_name("flame-system", "flame-admin"), "account", "*")


def test_a_binding_adds_to_a_role_and_only_in_its_namespace(secured, admin):
    admin.objects.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shared"}})
    token = admin.create_token("carl", "viewer", "default").token
    with as_account(secured, token) as client:
        with pytest.raises(PermissionDenied):
            client.objects.create(a_map("c", "shared"), namespace="shared")
        admin.objects.apply(a_role("maps", "configmaps", verbs=("create", "patch")))
        admin.objects.apply(
            a_binding("carl", "maps", {"kind": "User", "name": "carl"}, namespace="shared"), namespace="shared"
        )
        client.objects.create(a_map("c", "shared"), namespace="shared")
        client.objects.patch("ConfigMap", "c", {"data": {"a": "1"}}, namespace="shared")
        assert client.objects.get("ConfigMap", "c", namespace="shared")["data"] == {"a": "1"}  # its role may look
        with pytest.raises(PermissionDenied):
            client.objects.delete("ConfigMap", "c", namespace="shared")
        with pytest.raises(PermissionDenied):
            client.objects.create(a_map("c"))
        # The namespace that counts is the one that is written to, wherever it is named.
        with pytest.raises(PermissionDenied):
            client.link.ask(
                m.PutObject(
                    "create", "ConfigMap", body=b'{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d"}}'
                )
            )
        body = b'{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d", "namespace": "shared"}}'
        assert client.link.ask(m.PutObject("create", "ConfigMap", body=body)).change == "created"
        admin.objects.delete("RoleBinding", "carl", namespace="shared")
        with pytest.raises(PermissionDenied):
            client.objects.create(a_map("e", "shared"), namespace="shared")


def test_a_command_in_a_replica_is_for_who_may_create_one(secured, admin):
    container = {"name": "main", "image": "none", "command": ["sleep", "600"]}
    spec = {"replicas": 1, "template": {"spec": {"containers": [container]}}}
    box = {"apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameWorkload", "metadata": {"name": "box"}, "spec": spec}
    admin.objects.apply(box)
    eventually(lambda: admin.objects.get("FlameWorkload", "box")["status"]["phase"] == "Running")
    admin.objects.apply(an_account("runner", "default"))
    admin.objects.apply(a_role("exec", "pods/exec", verbs=("create",)))
    runner = {"kind": "ServiceAccount", "name": "runner", "namespace": "default"}
    admin.objects.apply(a_binding("runner", "exec", runner, namespace="default"), namespace="default")
    with as_account(secured, admin.create_account_token("default", "runner").token) as client:
        execution = client.objects.exec("box-0", ["sh", "-c", "read word; echo got $word; exit 3"])
        execution.write(b"this\n")
        assert b"".join(execution.read()) == b"got this\n"
        assert execution.code == 3
        with pytest.raises(PermissionDenied, match="may not get pods/log"):
            list(client.objects.logs("box-0", follow=False))
        with pytest.raises(PermissionDenied, match="may not create pods/exec"):
            client.objects.exec("box-0", ["true"], namespace="flame-system")
    with as_account(secured, admin.create_account_token("flame-system", "stranger").token) as client:
        with pytest.raises(PermissionDenied, match="may not create pods/exec"):
            client.objects.exec("box-0", ["true"])
        with pytest.raises(PermissionDenied):  # not into a command of somebody else's either
            client.link.ask(m.CallReplica("write", "box-0", id=execution.id, body=b"x"))
    admin.objects.delete("FlameWorkload", "box")


def test_the_command_makes_a_token_of_an_account(secured, admin, tmp_path):
    flame = [str(Path(sys.executable).parent / "flame")]

    def run(*words):
        words = [*flame, "token", "create", *words, "--data-dir", str(secured.cluster.data_dir)]
        return subprocess.run(words, capture_output=True, text=True, timeout=60)

    made = run("--service-account", "flame-system/flame-admin", "-o", "name")
    assert made.returncode == 0, made.stderr
    with as_account(secured, made.stdout.strip()) as client:
        assert client.objects.list("ConfigMap").items is not None
    assert "leave NAME out" in run("ann", "--service-account", "flame-system/flame-admin").stderr
    assert "--service-account NAMESPACE/NAME" in run().stderr
    assert "no ServiceAccount 'nobody'" in run("--service-account", "flame-system/nobody").stderr
