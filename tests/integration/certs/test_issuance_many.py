"""Many issuances at a time, at a CA that rejects every second nonce."""

import asyncio

import pytest

from lifecycle.certs.names import ChallengeType
from tests.support.issuer import FUSSY, Desk, fresh_name
from tests.support.mortal import quiet

_AT_ONCE = 20


async def _issue(desk: Desk, count: int) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)
    domains = [fresh_name() for _ in range(count)]

    async def one(number: int, domain: str) -> None:
        async with gate:
            kinds = (ChallengeType.HTTP_01, ChallengeType.TLS_ALPN_01)
            await desk.ask(domain, ca=FUSSY, challenge=kinds[number % len(kinds)])
            await desk.rests(domain, within=60)

    async with asyncio.TaskGroup() as group:
        for number, domain in enumerate(domains):
            group.create_task(one(number, domain))
    await quiet(desk.stack, within=30)
    for domain in domains:
        truth = await desk.ends(domain)
        assert truth.audit == ["certificate.issuing", "certificate.issued"]


async def test_some_are_issued_although_every_second_nonce_is_rejected(desk: Desk) -> None:
    """Ten of ten certificates are issued at the first try."""
    await _issue(desk, 10)


@pytest.mark.chaos
async def test_all_are_issued_although_every_second_nonce_is_rejected(desk: Desk) -> None:
    """A hundred of a hundred certificates are issued at the first try."""
    await _issue(desk, 100)
