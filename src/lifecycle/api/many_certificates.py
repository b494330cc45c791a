"""/v1/certificates:issue and :check: many certificates at once, and an outcome for each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from fastapi import APIRouter

from lifecycle import clock
from lifecycle.api import certificate_requests, paging
from lifecycle.api.certificates import order
from lifecycle.api.context import ActorOf, Context, ContextOf, require
from lifecycle.api.shapes.certificates import (
    BulkIssue,
    BulkRequest,
    CertificateOutcome,
    CertificateOutcomes,
    WindowCheck,
)
from lifecycle.certs import store
from lifecycle.certs.model import Act, Certificate
from lifecycle.db import DatabaseDownError, refusal
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role

router = APIRouter(prefix="/v1", tags=["certificates"])

T = TypeVar("T")

_AT_ONCE = 32
_MOST = 1000
_LONGEST_SHOWN = 253


@router.post("/certificates:issue", summary="Issue many certificates")
async def issue_many(body: BulkIssue, context: ContextOf, actor: ActorOf) -> CertificateOutcomes:
    """Orders up to 1,000 certificates, and says for each what became of it. Needs the role operator.

    Their first renewals are spread over half of their life. Repeating it orders only what is missing.
    """
    require(actor, Role.OPERATOR)
    count = len(body.requests)

    async def one(place: tuple[int, BulkRequest]) -> CertificateOutcome:
        index, asked = place
        return await _outcome(asked.domain, lambda: _issue(context, actor, asked, (index, count)))

    return CertificateOutcomes(items=await _all(list(enumerate(body.requests)), one))


@router.post("/certificates:check", summary="Ask CAs whether to renew now")
async def check_many(body: WindowCheck, context: ContextOf, actor: ActorOf) -> CertificateOutcomes:
    """Has the renewal windows of many certificates read now instead of within a day. Needs the role operator.

    For after a CA has announced that it revokes: what it wants to be renewed at once is renewed at once. All of the
    workspace, 1,000 in one answer, unless domains are named; `accepted` means that the CA is being asked.
    """
    require(actor, Role.OPERATOR)
    act = Act(actor=actor, now=clock.now())

    async def one(domain: str) -> CertificateOutcome:
        return await _outcome(
            domain, lambda: context.client.read_renewal_window(certificate_requests.key_of(domain), act)
        )

    if body.domains is not None:
        return CertificateOutcomes(items=await _all(list(dict.fromkeys(body.domains)), one))
    after = paging.decode(body.cursor, parts=1)[0] if body.cursor else ""
    rows = await store.list_domains(context.db, workspace=actor.workspace, after=after, limit=_MOST)
    return CertificateOutcomes(
        items=await _all([row.domain for row in rows if row.version is not None], one),
        next_cursor=paging.encode(rows[-1].domain) if len(rows) == _MOST else None,
    )


async def _issue(context: Context, actor: Actor, asked: BulkRequest, spread: tuple[int, int]) -> Certificate:
    prepared = await certificate_requests.prepare(context, actor, asked.domain, asked)
    await certificate_requests.check_zones(context, prepared.wish)
    command = order(actor, prepared, force=asked.force, spread=spread)
    return await context.client.issue_certificate(prepared.domain, command)


async def _all(
    wanted: Sequence[T], one: Callable[[T], Awaitable[CertificateOutcome]]
) -> tuple[CertificateOutcome, ...]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def gated(asked: T) -> CertificateOutcome:
        async with gate:
            return await one(asked)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(gated(asked)) for asked in wanted]
    return tuple(task.result() for task in tasks)


async def _outcome(domain: str, ask: Callable[[], Awaitable[Certificate]]) -> CertificateOutcome:
    try:
        certificate = await ask()
    except DatabaseDownError as error:
        return _refused(domain, refusal(error))
    except LifecycleError as error:
        return _refused(domain, error)
    return CertificateOutcome(domain=domain, outcome="accepted", status=certificate.status)


def _refused(domain: str, error: LifecycleError) -> CertificateOutcome:
    # Without an answer of the engine nobody knows; it may still be carried out.
    unknown = error.code is Code.ENGINE_UNAVAILABLE
    return CertificateOutcome(
        domain=domain[:_LONGEST_SHOWN],
        outcome="unknown" if unknown else "refused",
        code=error.code.value,
        detail=error.message,
        hint=error.hint,
    )
