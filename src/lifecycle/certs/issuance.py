"""Issuance: brings one certificate, from the order to the first visitor who gets it.

    prepare ──> order ──> prove control ──> finalize ──> keep ──> deliver ──> renewal window ──> settle
                             └── whatever was published is withdrawn, whether the CA liked it or not

Workflow key: issuance id, with `.2`, `.3` … when it goes on after a long wait. It decides nothing: what is tried next
is for CertificateService, which is told how this ended. Everything is found again by the issuance id.
"""

import contextlib
import itertools
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import restate
from restate import RestateDurableFuture, TerminalError, Workflow, WorkflowContext, WorkflowSharedContext

from lifecycle import policies
from lifecycle.certs import delivery, endings, issuing, proving
from lifecycle.certs.delivery import Delivered
from lifecycle.certs.issuing import Advice, Asked, Kept, Ordered, Prepared
from lifecycle.certs.model import Assignment, Ending, Outcome, Settled, Version
from lifecycle.certs.names import ChallengeType
from lifecycle.certs.proving import Proof, Proofs, Visibility
from lifecycle.certs.verdicts import Order
from lifecycle.ledger.entry import Entry
from lifecycle.ledger.service import record
from lifecycle.models import Durable

A = TypeVar("A", bound=Asked)
T = TypeVar("T")

_log = logging.getLogger(__name__)

HALTED = "halted"
PUBLISHED = "published"
STAGE = "stage"

# A person takes longer; the CA's order lasts some days at most.
_PERSON_WITHIN = timedelta(days=6)
_REMIND_EVERY = timedelta(days=1)
_BELIEVED_AFTER = timedelta(minutes=10)
_LOOKS_AT_RECORDS = (timedelta(milliseconds=200), timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=15))
_LOOK_FOR_PERSON = timedelta(minutes=1)
_LOOK_LATER = (timedelta(milliseconds=500), timedelta(seconds=2), timedelta(seconds=5))
_LOOKS = 40

issuance = Workflow(
    "Issuance",
    description="Brings one certificate, from the order to the first visitor who gets it.",
    invocation_retry_policy=policies.CA.invocations(),
)


class Stage(Durable):
    """How far an issuance is."""

    step: str


class _OverError(Exception):
    """An issuance ends before its end. It never leaves this workflow."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


@issuance.main(ingress_private=True)
async def run(ctx: WorkflowContext, assignment: Assignment) -> None:
    """Carry out one issuance."""
    try:
        outcome = await _issue(ctx, assignment)
    except _OverError as over:
        outcome = over.outcome
    message = Settled(issuance=assignment.issuance, run=assignment.run, workspace=assignment.workspace, outcome=outcome)
    # An answer upward is a send by name: an import would make a ring of services that wait for each other.
    ctx.generic_send("CertificateService", "settle", message.model_dump_json().encode(), key=assignment.domain)


@issuance.handler()
async def record_published(ctx: WorkflowSharedContext) -> None:
    """A person has set the DNS records; only the first time counts."""
    promise = ctx.promise(PUBLISHED, type_hint=bool)
    if await promise.peek() is None:
        await promise.resolve(True)


@issuance.handler(ingress_private=True)
async def halt(ctx: WorkflowSharedContext) -> None:
    """The certificate is not wanted any more; one that is ordered already is finished all the same."""
    promise = ctx.promise(HALTED, type_hint=bool)
    if await promise.peek() is None:
        await promise.resolve(True)


@issuance.handler(journal_retention=timedelta(0))
async def progress(ctx: WorkflowSharedContext) -> Stage | None:
    """How far it is; None before the first step and a day after the last."""
    return await ctx.get(STAGE, type_hint=Stage)


async def _issue(ctx: WorkflowContext, assignment: Assignment) -> Outcome:
    """The runbook of one certificate.

    Raises:
        _OverError: it ends before its end.
    """
    prepared = await _ask(ctx, "prepare", issuing.prepare, Prepared, "", assignment=assignment)
    version = prepared.version
    if version is None:
        obtaining = _obtain(ctx, assignment, prepared.ca, prepared.rehearse_at)
        version = await _or_give_up(ctx, assignment, prepared.ca, obtaining)
    ctx.set(STAGE, Stage(step="deliver"))
    delivered = await ctx.run_typed(
        "deliver", delivery.deliver, policies.GATEWAY.options(Delivered), certificate=version.id
    )
    if delivered.why:
        raise _OverError(Outcome(ending=Ending.AGAIN, message=delivered.why, ca=version.ca))
    advice = Advice()
    if version.certificate_id is not None:
        with contextlib.suppress(TerminalError):  # the CA has left the configuration; then nobody says when
            advice = await ctx.run_typed(
                "read-window",
                issuing.read_window,
                policies.CA.options(Advice),
                ca=version.ca,
                certificate_id=version.certificate_id,
            )
    return Outcome(ending=Ending.ISSUED, ca=version.ca, version=version, window=advice.window)


async def _rehearse(ctx: WorkflowContext, assignment: Assignment, ca: str, staging: str) -> None:
    """Have the same names issued where a failure costs nothing; that certificate is thrown away."""
    rehearsal = assignment.model_copy(
        update={"issuance": f"{assignment.issuance}_r", "replaces": None, "former_ca": None}
    )
    try:
        await _ask(ctx, "prepare-rehearsal", issuing.prepare_at, Prepared, staging, assignment=rehearsal, ca=staging)
        await _or_give_up(ctx, rehearsal, staging, _order_and_prove(ctx, rehearsal, staging))
    except _OverError as over:
        why = f"The rehearsal at {staging} failed. {over.outcome.message}"
        raise _OverError(over.outcome.model_copy(update={"message": why})) from over
    await ctx.run_typed(
        "note-rehearsal",
        issuing.note_rehearsal,
        policies.DATABASE.options(type(None)),
        assignment=rehearsal,
        ca=ca,
        staging=staging,
    )


async def _obtain(ctx: WorkflowContext, assignment: Assignment, ca: str, rehearse_at: str | None) -> Version:
    """Have the certificate made and stored."""
    if rehearse_at is not None:
        await _rehearse(ctx, assignment, ca, rehearse_at)
    order = await _order_and_prove(ctx, assignment, ca)
    kept = await _ask(ctx, "keep", issuing.keep, Kept, ca, assignment=assignment, ca=ca, url=order.certificate)
    if kept.version is None:
        raise ValueError("a certificate was kept without a version")
    return kept.version


async def _or_give_up(ctx: WorkflowContext, assignment: Assignment, ca: str, work: Coroutine[object, object, T]) -> T:
    """What this work brings; when nothing more can come of the order, it is given up at the CA too."""
    try:
        return await work
    except _OverError as over:
        if over.outcome.ending not in (Ending.WAIT, Ending.AGAIN):
            await ctx.run_typed(
                "give-up", issuing.give_up, policies.CA.options(type(None)), assignment=assignment, ca=ca
            )
        raise


async def _order_and_prove(ctx: WorkflowContext, assignment: Assignment, ca: str) -> Order:
    """From nothing to a valid order."""
    ctx.set(STAGE, Stage(step="order"))
    await _check_wanted(ctx)
    order = _there(await _ask(ctx, "order", issuing.order, Ordered, ca, assignment=assignment, ca=ca))
    if order.status == "pending":
        await _prove(ctx, assignment, ca, order)
        order = order.model_copy(update={"status": "ready"})
    return await _finalize(ctx, assignment, ca, order)


async def _prove(ctx: WorkflowContext, assignment: Assignment, ca: str, order: Order) -> None:
    """Prove control of every name, and leave nothing behind."""
    ctx.set(STAGE, Stage(step="prove"))
    wanted = await _ask(
        ctx, "read-authorizations", proving.authorizations, Proofs, ca, assignment=assignment, ca=ca, order=order
    )
    if not wanted.proofs:
        return
    failed: _OverError | None = None
    try:
        await _publish(ctx, assignment, ca, wanted.proofs)
        new = tuple(proof for proof in wanted.proofs if not proof.is_answered)
        if new:
            await _ask(ctx, "answer", proving.answer, Asked, ca, assignment=assignment, ca=ca, proofs=new)
        await _wait_until_proved(ctx, assignment, ca, wanted.proofs)
    except _OverError as over:
        failed = over
    try:
        await ctx.run_typed(
            "withdraw", proving.withdraw, policies.WITHDRAWAL.options(type(None)), issuance=assignment.issuance
        )
    except TerminalError as error:
        # The reconciler removes it as soon as that can be done; the certificate does not wait for it.
        _log.warning("%s: %s", assignment.issuance, error.message)
    if failed is not None:
        raise failed


async def _publish(ctx: WorkflowContext, assignment: Assignment, ca: str, proofs: tuple[Proof, ...]) -> None:
    await _ask(ctx, "publish", proving.publish, Asked, ca, assignment=assignment, ca=ca, proofs=proofs)
    if assignment.wish.challenge is not ChallengeType.DNS_01:
        return
    if assignment.wish.by_person:
        await _wait_for_person(ctx, assignment)
        return
    why = ""
    for number, pause in enumerate(_LOOKS_AT_RECORDS, start=1):
        seen = await _seen(ctx, assignment, number)
        if not (why := seen.why):
            return
        await _rest(ctx, pause)
    raise _OverError(Outcome(ending=Ending.AGAIN, message=f"The TXT records are not there yet: {why}", ca=ca))


async def _wait_for_person(ctx: WorkflowContext, assignment: Assignment) -> None:
    """Until somebody says that the records are set, or they are seen; with a reminder each day."""
    begun = reminded = await ctx.time()
    said_at: float | None = None
    ctx.set(STAGE, Stage(step="wait-for-records"))
    await _remind(ctx, assignment, 0)
    for number in itertools.count(1):
        waits: dict[str, RestateDurableFuture[Any]] = {
            "halted": ctx.promise(HALTED, type_hint=bool).value(),
            "again": ctx.sleep(_LOOK_FOR_PERSON),
        }
        if said_at is None:
            waits["said"] = ctx.promise(PUBLISHED, type_hint=bool).value()
        which = await restate.select(**waits)
        if which[0] == "halted":
            raise _OverError(Outcome(ending=Ending.HALTED, message="It was given up."))
        seen = await _seen(ctx, assignment, number)
        now = await ctx.time()
        said_at = now if which[0] == "said" else said_at
        # The CA may see what we cannot, so a person is believed in the end.
        if not seen.why or (said_at is not None and now - said_at > _BELIEVED_AFTER.total_seconds()):
            return
        if now - begun > _PERSON_WITHIN.total_seconds():
            why = f"Nobody set the TXT records in time: {seen.why}"
            raise _OverError(Outcome(ending=Ending.HALTED, message=why))
        if now - reminded > _REMIND_EVERY.total_seconds():
            reminded = now
            await _remind(ctx, assignment, number)


async def _remind(ctx: WorkflowContext, assignment: Assignment, number: int) -> None:
    now = datetime.fromtimestamp(await ctx.time(), UTC)
    entry = Entry(
        id=f"{assignment.issuance}.{assignment.run}.r{number}",
        sequence=0,
        workspace=assignment.workspace,
        project=assignment.project,
        action="certificate.records_wanted",
        at=now,
        detail={"domain": assignment.domain, "issuance": assignment.issuance},
    )
    ctx.service_send(record, arg=entry)


async def _seen(ctx: WorkflowContext, assignment: Assignment, number: int) -> Visibility:
    return await ctx.run_typed(
        f"look-at-records-{number}",
        proving.look_at_records,
        policies.CA.options(Visibility),
        assignment=assignment,
    )


async def _wait_until_proved(ctx: WorkflowContext, assignment: Assignment, ca: str, proofs: tuple[Proof, ...]) -> None:
    left = proofs
    for number in range(1, _LOOKS + 1):
        name = f"look-{number}"
        looked = await _ask(ctx, name, proving.look, Proofs, ca, assignment=assignment, ca=ca, proofs=left)
        left = looked.proofs
        if not left:
            return
        await _rest(ctx, _pause(number))
    names = ", ".join(proof.identifier for proof in left)
    raise _OverError(Outcome(ending=Ending.AGAIN, message=f"The CA has not looked at {names} yet.", ca=ca))


async def _finalize(ctx: WorkflowContext, assignment: Assignment, ca: str, order: Order) -> Order:
    """Have the certificate made, and wait for it."""
    ctx.set(STAGE, Stage(step="finalize"))
    await _check_wanted(ctx)
    found = _there(
        await _ask(ctx, "finalize", issuing.finalize, Ordered, ca, assignment=assignment, ca=ca, order=order)
    )
    for number in range(1, _LOOKS + 1):
        if found.status == "valid" and found.certificate is not None:
            return found
        if found.status == "invalid":
            break
        await _rest(ctx, _pause(number))
        if found.status == "ready":  # it was too early, and is not any more
            said = _ask(
                ctx, f"finalize-{number}", issuing.finalize, Ordered, ca, assignment=assignment, ca=ca, order=found
            )
        else:
            said = _ask(
                ctx, f"read-order-{number}", issuing.read, Ordered, ca, assignment=assignment, ca=ca, url=order.url
            )
        found = _there(await said)
    if found.status == "invalid":
        why = found.problem.summary if found.problem else "the CA did not say why"
        raise _OverError(Outcome(ending=Ending.INVALID, message=f"The order failed: {why}", ca=ca))
    raise _OverError(Outcome(ending=Ending.AGAIN, message="The CA is not done with the order yet.", ca=ca))


async def _ask(
    ctx: WorkflowContext,
    name: str,
    step: Callable[..., Coroutine[object, object, A]],
    answer: type[A],
    authority: str,
    **given: object,
) -> A:
    """Carry out a step that asks the CA, again where that helps soon.

    Args:
        ctx: of the workflow.
        name: of the step.
        step: what is done.
        answer: its type.
        authority: whom it asks; empty before that is chosen.
        given: arguments of the step.

    Raises:
        _OverError: the CA's answer ends the issuance, for now at least.
    """
    for attempt in itertools.count(1):
        numbered = name if attempt == 1 else f"{name}-again-{attempt}"
        try:
            said = await ctx.run_typed(numbered, partial(step, **given), policies.CA.options(answer))
        except TerminalError as error:  # a refusal of our own, such as an authority that is not configured any more
            raise _OverError(Outcome(ending=Ending.REFUSED, message=error.message, ca=authority)) from error
        if said.over is not None:
            raise _OverError(said.over)
        if said.failure is None:
            return said
        now = datetime.fromtimestamp(await ctx.time(), UTC)
        pause = endings.pause(said.failure, about=said.about, attempt=attempt, now=now)
        if pause is None:
            raise _OverError(endings.outcome(said.failure, about=said.about, ca=authority, now=now))
        await _rest(ctx, pause)
    raise AssertionError("unreachable")


async def _check_wanted(ctx: WorkflowContext) -> None:
    """End here when somebody has given the issuance up."""
    if await ctx.promise(HALTED, type_hint=bool).peek() is not None:
        raise _OverError(Outcome(ending=Ending.HALTED, message="It was given up."))


async def _rest(ctx: WorkflowContext, pause: timedelta) -> None:
    """Wait, unless somebody gives the issuance up meanwhile."""
    which = await restate.select(halted=ctx.promise(HALTED, type_hint=bool).value(), over=ctx.sleep(pause))
    if which[0] == "halted":
        raise _OverError(Outcome(ending=Ending.HALTED, message="It was given up."))


def _there(ordered: Ordered) -> Order:
    if ordered.order is None:
        raise ValueError("an order was asked for, and neither order nor failure came")
    return ordered.order


def _pause(number: int) -> timedelta:
    return _LOOK_LATER[min(number, len(_LOOK_LATER)) - 1]
