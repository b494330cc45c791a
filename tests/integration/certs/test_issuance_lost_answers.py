"""Answers of the CA are lost on the way, at every request of an issuance: it goes on, and nothing is there twice."""

import pytest

from lifecycle.certs.names import ChallengeType
from tests.support.acme_wire import Resource
from tests.support.issuer import NEWER, USUAL, Desk, fresh_name
from tests.support.newer_pebble import needed

_REQUESTS = (
    Resource.NONCE,
    Resource.NEW_ACCOUNT,
    Resource.NEW_ORDER,
    Resource.AUTHORIZATION,
    Resource.CHALLENGE,
    Resource.FINALIZE,
    Resource.ORDER,
    Resource.CERTIFICATE,
)
# CI loses each answer once, and that of a new order at either CA; `-m chaos` does the rest.
_RUNS = [
    pytest.param(
        ca,
        resource,
        how,
        id=f"{ca}: {how} {resource.name}",
        marks=[] if how == "lost answer" and ca == USUAL else pytest.mark.chaos,
    )
    for ca in (USUAL, NEWER)
    for resource in _REQUESTS
    for how in ("lost answer", "lost request")
]


@pytest.mark.parametrize(("ca", "resource", "how"), _RUNS)
async def test_a_lost_message_is_not_noticed(desk: Desk, ca: str, resource: Resource, how: str) -> None:
    """Whatever answer or request is lost: one order at the CA, one certificate, one key, served, nothing left."""
    if ca == NEWER:
        needed()
    domain, other = fresh_name(), fresh_name()
    if resource in (Resource.NEW_ACCOUNT, Resource.NONCE):
        await desk.forget_account(ca)
    wire = desk.wire(ca)
    (wire.lose if how == "lost answer" else wire.drop)(resource)
    # A worker that has just been started has no nonce left from earlier requests.
    with desk.points.death_at("Issuance/run/order", "before"):
        await desk.ask(domain, other, ca=ca)
        truth = await desk.ends(domain)

    assert wire.is_calm
    assert len(truth.orders) == len(truth.versions) == 1
    assert truth.certificate.version is not None
    assert truth.certificate.version.ca == ca


@pytest.mark.parametrize("ca", [USUAL, NEWER])
async def test_an_order_whose_answer_was_lost_is_found_in_the_list_of_the_account(desk: Desk, ca: str) -> None:
    """The CA made an order and we never heard of it: it is found again, on the last page of many."""
    if ca == NEWER:
        needed()
    wire, domain = desk.wire(ca), fresh_name()
    others = [fresh_name() for _ in range(4)]  # Pebble has three on a page, the oldest first
    for other in others:
        await desk.ask(other, ca=ca)
    for other in others:
        await desk.ends(other)
    wire.forget()
    wire.lose(Resource.NEW_ORDER)
    await desk.ask(domain, ca=ca)
    await desk.ends(domain)

    assert len(wire.came(Resource.NEW_ORDER)) == 1
    assert len(wire.came(Resource.ORDERS)) > 1


@pytest.mark.chaos
@pytest.mark.parametrize("challenge", ChallengeType)
async def test_answers_that_are_lost_again_and_again_only_cost_time(desk: Desk, challenge: ChallengeType) -> None:
    """Each kind of answer is lost once, in one and the same issuance."""
    wire, domain = desk.wire(), fresh_name()
    for resource in _REQUESTS:
        if resource not in (Resource.NEW_ACCOUNT, Resource.NONCE):
            wire.lose(resource)
    await desk.ask(domain, challenge=challenge)
    truth = await desk.ends(domain, within=60)

    assert wire.is_calm
    assert len(truth.orders) == len(truth.versions) == 1
