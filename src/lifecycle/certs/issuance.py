"""Issuance: brings one certificate, from the order to the first visitor who gets it.

    order ──> prove control ──> finalize ──> deliver ──> settle
                    └── whatever was published is withdrawn, whether the CA liked it or not

Workflow key: issuance id, with `.2`, `.3` … when it goes on after a long wait. It decides nothing: what is tried next
is for CertificateService, which is told how this ended. Everything is found again by the issuance id.

Each of the four is one step where nothing has to be waited for, since a step costs the engine a journal entry and the
worker a request: whatever a step does is done again without harm when it is killed in the middle.
"""

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
from lifecycle.certs.issuing import Asked, Kept, Ordered
from lifecycle.certs.model import Assignment, Ending, Outcome, Settled, Version
from lifecycle.certs.names import ChallengeType
from lifecycle.certs.proving import Proofs, Visibility
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
    version = await _or_give_up(ctx, assignment, _obtain(ctx, assignment))
    ctx.set(STAGE, Stage(step="deliver"))
    delivered = await ctx.run_typed("deliver", delivery.deliver, policies.GATEWAY.options(Delivered), version=version)
    if delivered.why:
        raise _OverError(Outcome(ending=Ending.AGAIN, message=delivered.why, ca=version.ca))
    return Outcome(ending=Ending.ISSUED, ca=version.ca, version=version, window=delivered.window, at=delivered.at)


async def _obtain(ctx: WorkflowContext, assignment: Assignment) -> Version:
    """Order it, after a rehearsal where that is wanted, and have it made and stored."""
    ctx.set(STAGE, Stage(step="order"))
    ordered = await _ask(ctx, "order", issuing.order, Ordered, assignment=assignment)
    while ordered.rehearse_at is not None:
        await _rehearse(ctx, assignment, ordered.ca, ordered.rehearse_at)
        ordered = await _ask(ctx, "order", issuing.order, Ordered, assignment=assignment)
    version = ordered.version or (await _certify(ctx, assignment, ordered)).version
    if version is None:
        raise ValueError("a certificate was kept without a version")
    return version


async def _rehearse(ctx: WorkflowContext, assignment: Assignment, ca: str, staging: str) -> None:
    """Have the same names issued where a failure costs nothing; that certificate is thrown away."""
    rehearsal = assignment.model_copy(
        update={"issuance": f"{assignment.issuance}_r", "replaces": None, "former_ca": None}
    )

    async def work() -> None:
        ordered = await _ask(ctx, "order-rehearsal", issuing.order_at, Ordered, assignment=rehearsal, ca=staging)
        await _certify(ctx, rehearsal, ordered, keep=False)

    try:
        await _or_give_up(ctx, rehearsal, work())
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


async def _or_give_up(ctx: WorkflowContext, assignment: Assignment, work: Coroutine[object, object, T]) -> T:
    """What this work brings; when nothing more can come of the order, it is given up at the CA too."""
    try:
        return await work
    except _OverError as over:
        if over.outcome.ending not in (Ending.WAIT, Ending.AGAIN):
            ca = over.outcome.ca or ""
            await ctx.run_typed(
                "give-up", issuing.give_up, policies.CA.options(type(None)), assignment=assignment, ca=ca
            )
        raise


async def _certify(ctx: WorkflowContext, assignment: Assignment, ordered: Ordered, *, keep: bool = True) -> Kept:
    """From an order to the certificate, which is kept unless it is that of a rehearsal."""
    order = ordered.order
    if order is None:
        raise ValueError("an order was asked for, and neither order nor failure came")
    if order.status == "pending":
        await _unless_halted(ctx, _prove(ctx, assignment, ordered.ca, order))
        order = order.model_copy(update={"status": "ready"})
    return await _finalize(ctx, assignment, ordered.ca, order, keep=keep)


async def _prove(ctx: WorkflowContext, assignment: Assignment, ca: str, order: Order) -> None:
    """Prove control of every name, and leave nothing behind."""
    ctx.set(STAGE, Stage(step="prove"))
    try:
        if assignment.wish.challenge is ChallengeType.DNS_01:
            proved = await _prove_by_records(ctx, assignment, ca, order)
        else:
            proved = await _ask(ctx, "prove", proving.prove, Proofs, assignment=assignment, ca=ca, order=order)
        proved = await _seen_by_ca(ctx, assignment, ca, proved)
    except _OverError:
        await _withdraw(ctx, assignment)
        raise
    if not proved.is_withdrawn:
        await _withdraw(ctx, assignment)


async def _prove_by_records(ctx: WorkflowContext, assignment: Assignment, ca: str, order: Order) -> Proofs:
    """Have TXT records set, and tell the CA as soon as they are seen everywhere."""
    wanted = await _ask(ctx, "publish", proving.publish, Proofs, assignment=assignment, ca=ca, order=order)
    if not wanted.proofs:
        return wanted
    if assignment.wish.by_person:
        await _wait_for_person(ctx, assignment)
    else:
        await _wait_for_records(ctx, assignment, ca)
    return await _ask(ctx, "answer", proving.answer, Proofs, assignment=assignment, ca=ca, proofs=wanted.proofs)


async def _seen_by_ca(ctx: WorkflowContext, assignment: Assignment, ca: str, proved: Proofs) -> Proofs:
    """Wait until the CA has seen all that is left."""
    for number in range(1, _LOOKS + 1):
        if not proved.proofs:
            return proved
        await _rest(ctx, _pause(number))
        left = proved.proofs
        proved = await _ask(ctx, f"look-{number}", proving.look, Proofs, assignment=assignment, ca=ca, proofs=left)
    names = ", ".join(proof.identifier for proof in proved.proofs)
    raise _OverError(Outcome(ending=Ending.AGAIN, message=f"The CA has not looked at {names} yet.", ca=ca))


async def _withdraw(ctx: WorkflowContext, assignment: Assignment) -> None:
    try:
        await ctx.run_typed(
            "withdraw", proving.withdraw, policies.WITHDRAWAL.options(type(None)), issuance=assignment.issuance
        )
    except TerminalError as error:
        # The reconciler removes it as soon as that can be done; the certificate does not wait for it.
        _log.warning("%s: %s", assignment.issuance, error.message)


async def _wait_for_records(ctx: WorkflowContext, assignment: Assignment, ca: str) -> None:
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


async def _finalize(ctx: WorkflowContext, assignment: Assignment, ca: str, order: Order, *, keep: bool) -> Kept:
    """Have the certificate made, and wait for it."""
    ctx.set(STAGE, Stage(step="finalize"))
    for number in range(1, _LOOKS + 1):
        made = await _ask(
            ctx, f"finalize-{number}", issuing.finalize, Kept, assignment=assignment, ca=ca, order=order, keep=keep
        )
        if made.order is None or (made.order.status == "valid" and not keep):
            return made
        if made.order.status == "invalid":
            why = made.order.problem.summary if made.order.problem else "the CA did not say why"
            raise _OverError(Outcome(ending=Ending.INVALID, message=f"The order failed: {why}", ca=ca))
        order = made.order  # "processing", or "ready" again when it was too early
        await _rest(ctx, _pause(number))
    raise _OverError(Outcome(ending=Ending.AGAIN, message="The CA is not done with the order yet.", ca=ca))


async def _ask(
    ctx: WorkflowContext,
    name: str,
    step: Callable[..., Coroutine[object, object, A]],
    answer: type[A],
    **given: object,
) -> A:
    """Carry out a step that asks the CA, again where that helps soon.

    Args:
        ctx: of the workflow.
        name: of the step.
        step: what is done.
        answer: its type.
        given: arguments of the step; `ca` is whom it asks, when that is known.

    Raises:
        _OverError: the CA's answer ends the issuance, for now at least.
    """
    ca = str(given.get("ca", ""))
    for attempt in itertools.count(1):
        numbered = name if attempt == 1 else f"{name}-again-{attempt}"
        try:
            said = await ctx.run_typed(numbered, partial(step, **given), policies.CA.options(answer))
        except TerminalError as error:  # a refusal of our own, such as an authority that is not configured any more
            raise _OverError(endings.own(error.message, status=error.status_code, ca=ca)) from error
        if said.over is not None:
            raise _OverError(said.over)
        if said.failure is None:
            return said
        now = datetime.fromtimestamp(await ctx.time(), UTC)
        pause = endings.pause(said.failure, about=said.about, attempt=attempt, now=now)
        if pause is None:
            raise _OverError(endings.outcome(said.failure, about=said.about, ca=said.ca or ca, now=now))
        await _rest(ctx, pause)
    raise AssertionError("unreachable")


async def _unless_halted(ctx: WorkflowContext, work: Coroutine[object, object, T]) -> T:
    """What this work brings, unless somebody gave the issuance up before it began; then it is in vain.

    The engine is asked together with the first step of the work, since asking alone would be a request of its own.
    """
    halted = ctx.promise(HALTED, type_hint=bool).peek()
    done = await work
    if await halted is not None:
        raise _OverError(Outcome(ending=Ending.HALTED, message="It was given up."))
    return done


async def _rest(ctx: WorkflowContext, pause: timedelta) -> None:
    """Wait, unless somebody gives the issuance up meanwhile."""
    which = await restate.select(halted=ctx.promise(HALTED, type_hint=bool).value(), over=ctx.sleep(pause))
    if which[0] == "halted":
        raise _OverError(Outcome(ending=Ending.HALTED, message="It was given up."))


def _pause(number: int) -> timedelta:
    return _LOOK_LATER[min(number, len(_LOOK_LATER)) - 1]
