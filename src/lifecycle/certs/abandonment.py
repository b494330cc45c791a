"""Abandonment: lets go of an issuance that nobody goes on with.

Its order is given up at the CA, where it would count for a limit and stand in the way of the next one that says what it
replaces. Its key is destroyed. CertificateService sends it with the decision that leaves the issuance; which is never
one that is at work, and is never begun again. An order that has ended has nothing to give up.
"""

from datetime import UTC, datetime

from restate import Context, Service

from lifecycle import clock, policies, resources
from lifecycle.certs import issuing, retention_store
from lifecycle.ledger.entry import Entry
from lifecycle.ledger.service import record
from lifecycle.models import Durable

_HINT = "Mend what it says, then renew it with 'lifecycle cert renew'."

abandonment = Service(
    "Abandonment",
    description="Lets go of an issuance that nobody goes on with.",
    ingress_private=True,
    invocation_retry_policy=policies.CA.invocations(),
)


class Left(Durable):
    """The issuance that is left, and what kept it from coming to an end."""

    issuance: str
    why: str = ""


class Abandoned(Durable):
    """What is left of it: a version that reached no visitor, if it brought one.

    Attributes:
        number: of that version; None when there is none.
    """

    workspace: str = ""
    project: str | None = None
    domain: str = ""
    number: int | None = None


@abandonment.handler()
async def abandon(ctx: Context, left: Left) -> None:
    """Let go of one issuance. Again is harmless."""
    abandoned = await ctx.run_typed("abandon", _abandon, policies.CA.options(Abandoned), issuance=left.issuance)
    if abandoned.number is None:
        return
    entry = Entry(
        id=f"{left.issuance}.undeliverable",  # once for each issuance, however often this runs
        sequence=0,
        workspace=abandoned.workspace,
        project=abandoned.project,
        action="certificate.undeliverable",
        at=datetime.fromtimestamp(await ctx.time(), UTC),
        detail={
            "domain": abandoned.domain,
            "issuance": left.issuance,
            "version": abandoned.number,
            "error": left.why,
            "hint": _HINT,
        },
    )
    ctx.service_send(record, arg=entry)


async def give_up_orders_of(project: str) -> None:
    """Give up every order of a project that has not ended; its rows are about to be removed."""
    for one in await retention_store.open_orders_of_project(resources.current().db, project):
        await issuing.give_up(one.assignment, one.ca)


async def _abandon(issuance: str) -> Abandoned:
    db = resources.current().db
    for one in await retention_store.open_orders(db, issuance):
        await issuing.give_up(one.assignment, one.ca)
    undelivered = await retention_store.retire_undelivered(db, issuance, clock.now())
    return Abandoned() if undelivered is None else Abandoned(**undelivered._asdict())
