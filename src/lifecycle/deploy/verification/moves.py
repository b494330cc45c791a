"""What happens to the clock of a claim to a domain, and what is recorded of it. Pure.

begin ──> Ask ──> looked ──> Rouse ──> woken ──> Ask ──> …
                    └── won: Certify        lost, forget: the wake-up that is under way is stale
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import JsonValue

from lifecycle.deploy.verification.model import (
    Begin,
    Forget,
    Looked,
    Lost,
    Purpose,
    Refused,
    Retry,
    Ruling,
    Status,
    Verification,
)
from lifecycle.ledger.entry import SYSTEM, Entry
from lifecycle.models import Actor, Role
from lifecycle.scheduler.countdown import Verdict

# A look that has not answered by then is not going to: what asks again is the clock.
_ANSWERED_WITHIN = timedelta(minutes=10)


class Ask(NamedTuple):
    """Look at the records now."""


class Rouse(NamedTuple):
    """Be woken when the countdown wants it."""


class Displace(NamedTuple):
    """Issue and renew nothing any more for whoever had the domain before."""


class Forfeit(NamedTuple):
    """A certificate of others, of this domain, has the name in it: it is to be renewed no more."""

    domain: str


class Certify(NamedTuple):
    """Ask for a certificate."""

    actor: Actor
    now: datetime


class Lapse(NamedTuple):
    """Renew the certificate no more; it is left to expire. `issuing`: not even that one is wanted."""

    actor: Actor
    now: datetime
    issuing: bool


Effect = Ask | Rouse | Displace | Forfeit | Certify | Lapse


class Transition(NamedTuple):
    """Something that happened and belongs into the audit log."""

    action: str
    at: datetime
    actor: Actor | None = None
    detail: Mapping[str, JsonValue] = {}


class Decision(NamedTuple):
    """The new state, what must follow from it in this order, and what is to be recorded."""

    verification: Verification
    effects: tuple[Effect, ...] = ()
    transition: Transition | None = None


def system(workspace: str) -> Actor:
    """Who acts when the service does something for a workspace by itself."""
    return Actor(workspace=workspace, key="", person=SYSTEM, role=Role.OPERATOR)


def begin(before: Verification | None, command: Begin) -> Decision:
    """A claim was written down: look at once. One that is there already is looked at again, and not begun anew."""
    if before is not None and not before.removed and before.token == command.token:
        same = before.model_copy(update={"environment": command.environment})
        return Decision(same) if command.verified else _ask(same, command.now, anew=False)
    fresh = _fresh(command)
    if before is not None:
        fresh = fresh.model_copy(update={"countdown": before.countdown.disarm(), "sequence": before.sequence})
    added = Transition("domain.added", command.now, command.actor, {"environment": command.environment.value})
    if command.verified:
        return Decision(fresh.model_copy(update={"status": Status.VERIFIED}), (), added)
    return _ask(fresh, command.now, anew=True)._replace(transition=added)


def retry(before: Verification | None, command: Retry) -> Decision:
    """Somebody wants it to be looked at now; what was given up or lost is tried again from the beginning."""
    if before is None or before.removed or before.token != command.claim.token:
        kept = {} if before is None else {"countdown": before.countdown.disarm(), "sequence": before.sequence}
        before = _fresh(command.claim).model_copy(update={"status": command.status, **kept})
    # What the database says is the newest there is; a message about a loss may still be under way.
    known = before.model_copy(update={"version": max(before.version, command.version)})
    return _ask(known, command.now, anew=True)


def woken(before: Verification, generation: int, *, now: datetime) -> Decision:
    """The time of the next look may have come."""
    countdown = before.countdown
    match countdown.judge(generation, now=now):
        case Verdict.STALE:
            return Decision(before.model_copy(update={"countdown": countdown.count_stale()}))
        case Verdict.EARLY:
            return Decision(before.model_copy(update={"countdown": countdown.count_early()}), (Rouse(),))
        case Verdict.DUE:
            return _ask(before, now, anew=False)


def missed(before: Verification, *, now: datetime) -> Decision:
    """The time of the next look has long passed: its wake-up was lost, unless it is being asked for just now."""
    wake_at = before.countdown.wake_at
    if before.removed or (wake_at is not None and now < wake_at):
        return Decision(before)
    return _ask(before, now, anew=False)


def looked(before: Verification, message: Looked, *, now: datetime) -> Decision:
    """A look has ended; what it came to is in the database already."""
    ruling = message.ruling
    if before.removed or before.token != message.token:
        return Decision(before)
    if ruling.gone:
        # By a purge, or by a removal whose message is still under way: that one is to be recorded.
        return Decision(before.model_copy(update={"countdown": before.countdown.disarm()}))
    if ruling.version <= before.version:
        return Decision(before)
    effects: list[Effect] = []
    update: dict[str, object] = {"status": ruling.status, "version": ruling.version}
    if ruling.next_check_at is None:
        update["countdown"] = before.countdown.disarm()
    else:
        update["countdown"] = before.countdown.arm(due_at=ruling.next_check_at, wake_at=ruling.next_check_at)
        effects.append(Rouse())
    # What was asked for and is not there has been refused, or lost: it is asked for again.
    asked = before.asked and ruling.status.owns and not ruling.missing
    wants = ruling.status.owns and ruling.routed and ruling.certificate and not asked
    effects += [Forfeit(domain) for domain in ruling.forfeits]
    if ruling.displaces and not asked and (wants or ruling.taken_from):
        effects.append(Displace())
    if wants:
        asked = True
        effects.append(Certify(system(before.workspace), now))
    refused = before.refused if ruling.missing else ""
    after = before.model_copy(update={**update, "asked": asked, "refused": refused})
    return Decision(after, tuple(effects), _told(before.status, ruling, now))


def lost(before: Verification, message: Lost, *, now: datetime) -> Decision:
    """Another project proved that it controls the domain."""
    if before.removed or before.token != message.token or message.version <= before.version:
        return Decision(before)
    after = before.model_copy(
        update={
            "status": Status.LOST,
            "version": message.version,
            "asked": False,
            "countdown": before.countdown.disarm(),
        }
    )
    return Decision(after, (), Transition("domain.lost", now, None, {"proof": Purpose.OWNERSHIP.value}))


def refused(before: Verification, message: Refused, *, now: datetime) -> Decision:
    """The certificate that was asked for is not to be had now: it is asked for again after the next look."""
    if before.removed or before.token != message.token or not before.asked:
        return Decision(before)
    after = before.model_copy(update={"asked": False, "refused": message.why})
    if before.refused == message.why:
        return Decision(after)
    return Decision(after, (), Transition("domain.certificate_refused", now, None, {"reason": message.why}))


def forget(before: Verification, command: Forget) -> Decision:
    """The project gives the domain back."""
    if before.removed:
        return Decision(before)
    after = before.model_copy(update={"removed": True, "asked": False, "countdown": before.countdown.disarm()})
    lapse = Lapse(system(before.workspace), command.now, command.issuing)
    effects = (lapse,) if command.certified and before.status.owns else ()
    return Decision(after, effects, Transition("domain.removed", command.now, command.actor))


def entry(claim: str, decision: Decision) -> Entry | None:
    """What the ledger is told; the state that comes with it counts it already."""
    after, transition = decision.verification, decision.transition
    if transition is None:
        return None
    return Entry(
        id=f"{claim}.v{after.sequence}",
        sequence=after.sequence,
        workspace=after.workspace,
        project=after.project,
        action=transition.action,
        actor=transition.actor,
        at=transition.at,
        detail={"domain": after.hostname, **transition.detail},
    )


def numbered(decision: Decision) -> Decision:
    """The same, with its transition counted."""
    if decision.transition is None:
        return decision
    after = decision.verification
    return decision._replace(verification=after.model_copy(update={"sequence": after.sequence + 1}))


def _told(before: Status, ruling: Ruling, now: datetime) -> Transition | None:
    """What is recorded of a look: only what it changed."""
    if ruling.status is before:
        return None
    proof = ruling.proof.value if ruling.proof else None
    match ruling.status:
        case Status.VERIFIED if before is Status.DANGLING:
            return Transition("domain.recovered", now)
        case Status.VERIFIED:
            return Transition("domain.verified", now, None, {"proof": proof, "taken_over": bool(ruling.taken_from)})
        case Status.DANGLING | Status.FAILED | Status.LOST:
            return Transition(f"domain.{ruling.status.value}", now, None, {"reason": ruling.reason})
        case Status.PENDING:
            return None


def _ask(before: Verification, now: datetime, *, anew: bool) -> Decision:
    latest = now + _ANSWERED_WITHIN
    armed = before.countdown.arm(due_at=latest, wake_at=latest)
    begun_at = now if anew else before.begun_at
    return Decision(before.model_copy(update={"countdown": armed, "begun_at": begun_at}), (Ask(), Rouse()))


def _fresh(command: Begin) -> Verification:
    return Verification(
        project=command.project,
        workspace=command.workspace,
        hostname=command.hostname,
        environment=command.environment,
        token=command.token,
        begun_at=command.now,
    )
