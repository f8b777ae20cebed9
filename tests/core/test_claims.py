"""One contract for every claim provider, and what is special about each."""

import pytest

from flame.allocation.claims.local import LocalProvider
from flame.allocation.claims.simulated import SimulatedProvider
from flame.core.allocator.claims import Claims, ClaimSpec
from flame.core.base.errors import AlreadyExists, InvalidArgument, NotFound
from flame.core.model.states import ClaimState as C


def a_claim(id="c", **more):
    return ClaimSpec(id, more.pop("resources", {"cpu": 1000}), **more)


@pytest.fixture(params=["local", "simulated"])
def provider(request):
    if request.param == "simulated":
        return SimulatedProvider(stock=2)
    provider = LocalProvider()
    provider.registered("n1", {"cpu": 4000})
    return provider


@pytest.fixture
def claims(provider):
    return Claims([provider])


def settle(claims, now=0.0):
    """Poll at every deadline for a while; the time after it."""
    for _ in range(10):
        due = claims.deadline()
        if due is None or due > now + 100:
            break
        now = max(now, due)
        claims.poll(now)
    return now


def test_what_there_is_gets_granted_with_its_nodes(claims, provider):
    claims.request(a_claim(), provider.name, 0.0)
    settle(claims)
    claim = claims.get("c")
    assert (claim.state, len(claim.nodes)) == (C.GRANTED, 1)


def test_what_there_never_is_gets_denied_with_a_reason(claims, provider):
    claims.request(a_claim(count=99), provider.name, 0.0)
    settle(claims)
    assert claims.get("c").state == C.DENIED
    assert "asked for 99 nodes" in claims.get("c").reason


def test_a_claim_can_be_given_back_and_made_again(claims, provider):
    claims.request(a_claim("c"), provider.name, 0.0)
    now = settle(claims)
    assert claims.withdraw("c", now).state == C.REVOKED
    claims.request(a_claim("d"), provider.name, now)
    settle(claims, now)
    assert claims.get("d").state == C.GRANTED


def test_asking_twice_is_asking_once(provider):
    provider.request(a_claim(), 0.0)
    assert provider.request(a_claim(), 0.0) == ()


def test_giving_back_what_is_not_there_is_nothing(provider):
    assert provider.withdraw("x", 0.0) == ()


def test_nothing_is_due_when_all_is_settled(claims, provider):
    claims.request(a_claim(), provider.name, 0.0)
    now = settle(claims)
    assert claims.deadline() is None
    assert claims.poll(now) == []


def test_bad_claims_are_refused(claims, provider):
    claims.request(a_claim(), provider.name, 0.0)
    with pytest.raises(AlreadyExists):
        claims.request(a_claim(), provider.name, 0.0)
    for spec, name in (
        (a_claim("x", count=0), provider.name),
        (a_claim("x", resources={}), provider.name),
        (a_claim("x"), "?"),
    ):
        with pytest.raises(InvalidArgument):
            claims.request(spec, name, 0.0)
    with pytest.raises(NotFound):
        claims.withdraw("nobody", 0.0)


def test_this_host_grants_as_its_agent_registers():
    provider = LocalProvider()
    claims = Claims([provider])
    assert claims.request(a_claim(), "local", 0.0).state == C.PENDING
    provider.registered("n1", {"cpu": 4000})
    assert [claim.nodes for claim in claims.poll(0.0)] == [("n1",)]
    provider.lost(5.0)
    assert [(claim.state, claim.deadline) for claim in claims.poll(5.0)] == [(C.REVOKED, 5.0)]


def test_this_host_denies_what_is_larger():
    provider = LocalProvider()
    provider.registered("n1", {"cpu": 1000})
    claim = Claims([provider]).request(a_claim(resources={"cpu": 2000}), "local", 0.0)
    assert (claim.state, claim.reason) == (C.DENIED, "asked for cpu 2; this host has cpu 1")


def test_the_cloud_takes_its_time_and_queues():
    claims = Claims([SimulatedProvider(stock=1, delay=2.0)])
    claims.request(a_claim("a"), "simulated", 0.0)
    claims.request(a_claim("b"), "simulated", 0.0)
    assert [claim.spec.id for claim in claims.poll(2.0)] == ["a"]
    assert claims.get("b").state == C.PENDING
    claims.withdraw("a", 3.0)
    assert [claim.spec.id for claim in claims.poll(3.0)] == ["b"]


def test_the_cloud_takes_back_after_a_notice_or_a_term():
    provider = SimulatedProvider(notice=30.0)
    claims = Claims([provider])
    claims.request(a_claim("spot"), "simulated", 0.0)
    claims.request(a_claim("term", term=5.0), "simulated", 0.0)
    claims.poll(1.0)
    provider.revoke("spot", 2.0)
    assert [(c.spec.id, c.deadline) for c in claims.poll(2.0)] == [("spot", 32.0)]
    assert [(c.spec.id, c.reason) for c in claims.poll(6.0)] == [("term", "its term is over")]
