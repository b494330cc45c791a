"""Issuances while something they need is away, or is ended by hand: shown, tried again, finished when it is back."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest

from lifecycle import clock
from lifecycle.certs.model import Status
from lifecycle.certs.names import ChallengeType
from lifecycle.errors import Code, LifecycleError
from tests.support import certificate_checks
from tests.support.acme_wire import Resource, Said
from tests.support.issuer import Desk, fresh_name
from tests.support.waiting import eventually

# A person who waits for an answer takes this for at once.
_AT_ONCE = 1.0
_REST = Said(503, {"Retry-After": "40"}, b"")


@asynccontextmanager
async def _without_gateway(desk: Desk) -> AsyncIterator[None]:
    """HAProxy is dead for the time of the block."""
    await desk.stack.gateway.child.kill()
    try:
        yield
    finally:
        await desk.stack.gateway.start_alone()


async def _answers(desk: Desk, domain: str) -> bool:
    """Whether the engine knows its services again."""
    try:
        await desk.show(domain)
    except LifecycleError:
        return False
    return True


async def _end(desk: Desk, verb: str, where: str) -> None:
    """Kill or cancel the invocations that are under way, at the engine's admin port."""

    async def found() -> list[str]:
        rows = await desk.places.engine.query(f"SELECT id FROM sys_invocation WHERE status <> 'completed' AND {where}")
        return [row["id"] for row in rows]

    async with aiohttp.ClientSession() as session:
        for invocation in await eventually(found, within=10):
            url = f"{desk.stack.engine.admin_url}/invocations/{invocation}/{verb}"
            async with session.patch(url) as answer:
                assert answer.ok


async def test_a_gateway_that_is_down_is_waited_for(desk: Desk) -> None:
    """A certificate is there and the gateway is dead: showing and giving up answer at once, and it is served later."""
    domain = fresh_name()
    async with _without_gateway(desk):
        await desk.ask(domain, challenge=ChallengeType.DNS_01)
        await desk.until_step(domain, "deliver")
        began = time.monotonic()
        shown = await desk.show(domain)
        with pytest.raises(LifecycleError) as refused:
            await desk.client.cancel_renewal(domain, desk.act())
        await desk.client.halt_issuance(domain, desk.act())
        took = time.monotonic() - began
    truth = await desk.ends(domain)

    assert took < _AT_ONCE
    assert shown.status is Status.ISSUING
    assert refused.value.code is Code.CERTIFICATE_ISSUING
    assert len(truth.orders) == 1


async def test_a_gateway_that_shows_another_certificate_keeps_the_former_one(desk: Desk) -> None:
    """The new certificate does not reach visitors: the former one stays, and the same one is tried again."""
    domain = fresh_name()
    await desk.ask(domain)
    before = await desk.ends(domain)
    with desk.points.another_certificate():
        await desk.renew(domain)
        held = await desk.rests(domain)
        seen = await desk.look(domain)
    assert held.version == before.certificate.version
    assert seen.served == before.served
    assert "another certificate" in held.last_error
    assert held.countdown.due_at is not None
    assert held.countdown.due_at - clock.now() < timedelta(seconds=90)
    assert seen.audit[-1] == "certificate.delayed"

    await desk.renew(domain)
    truth = await desk.ends(domain)
    assert len(truth.orders) == len(truth.versions) == 2


@pytest.mark.chaos
async def test_an_issuance_outlives_the_database(desk: Desk) -> None:
    """The database dies under an issuance, which goes on when it is back."""
    domain = fresh_name()
    desk.wire().answer(Resource.CHALLENGE, Said(503, {"Retry-After": "2"}, b""))
    await desk.ask(domain)
    await desk.until_step(domain, "prove")
    await desk.stack.database.child.kill()
    await desk.stack.database.start()
    await desk.ends(domain)


@pytest.mark.chaos
async def test_an_issuance_outlives_the_engine(desk: Desk) -> None:
    """The engine dies under an issuance, which goes on when it is back."""
    domain = fresh_name()
    desk.wire().answer(Resource.CHALLENGE, Said(503, {"Retry-After": "2"}, b""))
    await desk.ask(domain)
    await desk.until_step(domain, "prove")
    await desk.stack.engine.child.kill()
    await desk.stack.engine.start()
    await eventually(lambda: _answers(desk, domain), within=20)
    await desk.ends(domain)


async def test_an_issuance_that_was_killed_goes_on(desk: Desk) -> None:
    """Whoever kills an issuance in the engine delays it: it is noticed, tried again, and nothing is left behind."""
    domain = fresh_name()
    desk.wire().answer(Resource.CHALLENGE, _REST)
    await desk.ask(domain)
    await eventually(lambda: desk.wire().is_calm, within=10)
    issuance = (await desk.show(domain)).running
    assert issuance is not None
    await _end(desk, "kill", f"target_service_name = 'Issuance' AND target_service_key = '{issuance.key}'")
    held = await desk.rests(domain)
    assert "ended in the engine" in held.last_error
    assert held.running is not None
    await desk.age_left_overs(issuance.issuance)
    await desk.ends(domain, checkers=certificate_checks.ALWAYS)

    await desk.renew(domain)
    truth = await desk.ends(domain)
    assert len(truth.orders) == 1


@pytest.mark.chaos
async def test_a_timer_that_was_removed_is_armed_again(desk: Desk) -> None:
    """A renewal that an operator's bulk cancel removed from the engine comes at its time."""
    domain = fresh_name()
    await desk.ask(domain)
    await desk.ends(domain)
    await _end(
        desk,
        "cancel",
        f"target_service_key = '{domain}' AND target_handler_name = 'renewal_due' AND status = 'scheduled'",
    )
    await desk.ends(domain)


async def test_an_issuance_that_is_given_up_leaves_nothing(desk: Desk) -> None:
    """A person gives an issuance up while the CA makes it wait: it ends at once, and nothing stays published."""
    domain = fresh_name()
    desk.wire().answer(Resource.CHALLENGE, _REST)
    await desk.ask(domain)
    await eventually(lambda: desk.wire().is_calm, within=10)
    await desk.client.halt_issuance(domain, desk.act())
    truth = await desk.ends(domain, checkers=certificate_checks.ALWAYS, within=10)

    assert truth.certificate.status is Status.FAILED
    assert truth.audit[-1] == "certificate.given_up"
    await desk.renew(domain)
    await desk.ends(domain)
