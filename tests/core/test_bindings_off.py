"""`security.enableRBAC: false`: nobody has to be bound to a role, in a cluster that only its own machine reaches."""

from __future__ import annotations

import pytest
from core.test_jobs import Desk

from flame.core.allocator.settings import AllocatorSettings
from flame.core.model import messages as m

pytestmark = pytest.mark.ledger("B-017")
STRANGER = "default/system:serviceaccount:default:stranger"


def settings(on):
    text = f"security:\n  enableRBAC: {str(on).lower()}\n"
    about = {"name": "flame-config", "namespace": "flame-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"config.yaml": text}}


def tries(desk):
    """How four questions of somebody who is bound to nothing end."""
    body = b'{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {}}'
    asked = (
        m.PutObject("apply", "ConfigMap", body=body, subject=STRANGER),
        m.ListObjects("ConfigMap", subject=STRANGER),
        m.DeleteObject("ConfigMap", name="x", subject=STRANGER),
        m.CallReplica("logs", "none", subject=STRANGER),
    )
    return [answer.code if isinstance(answer := desk.ask(one), m.Failure) else "done" for one in asked]


def test_switched_off_everybody_may_and_switched_on_again_nobody():
    desk = Desk()
    assert tries(desk) == ["permission_denied"] * 4
    assert isinstance(desk.apply(settings(False)), m.ObjectPut)
    assert tries(desk) == ["done", "done", "done", "not_found"]
    assert isinstance(desk.apply(settings(True)), m.ObjectPut)
    assert tries(desk) == ["permission_denied"] * 4


def test_it_is_refused_where_other_machines_reach_the_cluster():
    desk = Desk(settings=AllocatorSettings(reached=True))
    refused = desk.apply(settings(False))
    assert refused.code == "invalid_argument"
    assert "security.enableRBAC: false is for clusters that only this machine reaches" in refused.message
    assert isinstance(desk.apply(settings(True)), m.ObjectPut)
    assert tries(desk) == ["permission_denied"] * 4


def test_what_was_written_on_loopback_does_not_hold_once_others_reach_it():
    desk = Desk()
    desk.apply(settings(False))
    desk.world.settings = AllocatorSettings(reached=True)
    desk.world.restart()
    desk.world.allocator.begin(desk.world.now)
    desk.manager = desk.world.manager()
    assert tries(desk) == ["permission_denied"] * 4
    (event,) = desk.world.allocator.book.events["scheduler/settings"]
    assert event.message == "security.enableRBAC stays on: other machines reach this cluster"
