"""What people may ask of a certificate. Pure; refusals are LifecycleErrors."""

from datetime import datetime

from lifecycle import clock
from lifecycle.certs import moves, problems, renewals
from lifecycle.certs.decision import Decision, Effect, Halt, Look, LookLater, Recall, Rouse, Transition
from lifecycle.certs.model import (
    Act,
    Cancelled,
    Cause,
    Certificate,
    IssueCertificate,
    RescheduleRenewal,
    RevokeCertificate,
)
from lifecycle.certs.renewals import Source
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role


def issue(domain: str, certificate: Certificate, command: IssueCertificate, *, fresh: str) -> Decision:
    """Ask for a certificate; asking again for what is there, or is under way, changes nothing."""
    _require(command.actor, Role.OPERATOR)
    if certificate.exists and certificate.workspace != command.actor.workspace:
        raise LifecycleError(Code.CERTIFICATE_TAKEN, domain=domain, field="domain")
    before = certificate if certificate.exists else _anew(certificate, command.actor.workspace)
    is_same = before.wish == command.wish
    if before.running is not None and before.running.is_at_work:
        if is_same:
            return Decision(certificate)
        raise LifecycleError(Code.CERTIFICATE_ISSUING, domain=domain)
    is_good = before.version is not None and before.revoked_at is None and command.now < before.version.life.not_after
    if is_same and is_good and not before.is_stopped and not command.force:
        return Decision(certificate)
    if is_same and is_good and not command.force:
        anew = before.model_copy(
            update={"cancelled": None, "forfeited": (), "last_error": "", "last_error_at": None, "attempts": 0}
        )
        return moves.rearranged(anew, now=command.now, actor=command.actor)
    if not command.force:
        _check_budget(domain, before, command.now)
    wanted = before.model_copy(
        update={
            "workspace": command.actor.workspace,
            "project": command.project,
            "wish": command.wish,
            "running": before.running if is_same else None,
            "requested_by": command.actor.person,
            "spread": command.spread,
            "forfeited": (),
        }
    )
    begun = moves.begin(domain, wanted, cause=Cause.REQUESTED, now=command.now, fresh=fresh, actor=command.actor)
    return begun if is_same else begun._replace(effects=(*moves.let_go(certificate), *begun.effects))


def renew(domain: str, certificate: Certificate, act: Act, *, fresh: str) -> Decision:
    """Renew now, or try again now."""
    _check(domain, certificate, act)
    if certificate.is_at_work:
        return Decision(certificate)
    if certificate.forfeited:
        raise LifecycleError(Code.CERTIFICATE_NAME_LOST, domain=domain, names=", ".join(certificate.forfeited))
    if not act.force:
        _check_budget(domain, certificate, act.now)
        again_at = problems.next_validation(certificate.failures, now=act.now)
        if again_at > act.now:
            raise LifecycleError(Code.CERTIFICATE_VALIDATION_PAUSE, domain=domain, until=clock.rfc3339(again_at))
    cause = Cause.REQUESTED if certificate.version is None else Cause.RENEWAL
    return moves.begin(domain, certificate, cause=cause, now=act.now, fresh=fresh, actor=act.actor)


def cancel_renewal(domain: str, certificate: Certificate, act: Act) -> tuple[Decision, Cancelled]:
    """End the countdown to the next renewal or attempt; doing it twice gives the first outcome.

    The certificate in use stays, and expires unless somebody renews it.
    """
    if certificate.exists and certificate.cancelled is not None:
        _check(domain, certificate, act.model_copy(update={"generation": None}))
        return Decision(certificate), certificate.cancelled
    _check_countdown(domain, certificate, act)
    generation = certificate.countdown.generation
    cancelled = Cancelled(generation=generation, cancelled_at=act.now)
    after = certificate.model_copy(
        update={
            "countdown": certificate.countdown.disarm(),
            "running": None,
            "next_look_at": None,
            "cancelled": cancelled,
        }
    )
    noted = Transition("certificate.renewal_cancelled", act.now, act.actor, {"generation": generation})
    return Decision(after, moves.let_go(certificate), (noted,)), cancelled


def reschedule_renewal(domain: str, certificate: Certificate, command: RescheduleRenewal) -> Decision:
    """Move the next renewal or attempt, never past the moment from which on it would be an emergency."""
    _check_countdown(domain, certificate, command)
    version = certificate.version
    if version is not None and command.due_at > version.life.floor:
        raise LifecycleError(
            Code.CERTIFICATE_RENEWAL_TOO_LATE,
            domain=domain,
            latest=clock.rfc3339(version.life.floor),
            field="due_at",
        )
    _check_budget(domain, certificate, command.due_at)
    armed = certificate.countdown.arm(due_at=command.due_at, wake_at=command.due_at)
    after = certificate.model_copy(update={"countdown": armed, "moved_to": command.due_at, "source": Source.MOVED})
    detail = Transition(
        "certificate.renewal_rescheduled", command.now, command.actor, {"due_at": clock.rfc3339(command.due_at)}
    )
    return Decision(after, (Rouse(), LookLater()) if after.next_look_at else (Rouse(),), (detail,))


def halt(domain: str, certificate: Certificate, act: Act) -> Decision:
    """Give up an issuance that is under way; one that has its certificate already is finished all the same."""
    _check(domain, certificate, act)
    running = certificate.running
    if running is None or not running.is_at_work:
        raise LifecycleError(Code.CERTIFICATE_NOT_ISSUING, domain=domain)
    if running.is_halted:
        return Decision(certificate)
    halted = certificate.model_copy(update={"running": running.model_copy(update={"is_halted": True})})
    noted = Transition("certificate.halted", act.now, act.actor, {"issuance": running.issuance})
    return Decision(halted, (Halt(running.key),), (noted,))


def revoke(domain: str, certificate: Certificate, command: RevokeCertificate) -> Decision:
    """Have the certificate in use revoked; once is enough."""
    _check(domain, certificate, command, role=Role.ADMINISTRATOR)
    version = certificate.version
    if version is None:
        raise LifecycleError(Code.CERTIFICATE_NOT_ISSUED, domain=domain)
    if certificate.revoked_at is not None or certificate.revoking is not None:
        return Decision(certificate)
    effects: list[Effect] = [Recall(id=version.id, number=version.number, reason=command.reason)]
    after = certificate.model_copy(update={"revoking": version.number})
    noted = Transition(
        "certificate.revocation_asked", command.now, command.actor, {"serial": version.serial, "reason": command.reason}
    )
    return Decision(after, tuple(effects), (noted,))


def look(domain: str, certificate: Certificate, act: Act) -> Decision:
    """Read the CA's renewal window now, out of turn."""
    _check(domain, certificate, act)
    version = certificate.version
    is_over = certificate.running is not None or certificate.revoked_at is not None
    if version is None or version.certificate_id is None or is_over:
        return Decision(certificate)
    return Decision(certificate, (Look(ca=version.ca, certificate_id=version.certificate_id),))


def _anew(certificate: Certificate, workspace: str) -> Certificate:
    """An empty one that goes on counting, and knows what has not ended yet; the budget of others is not theirs."""
    running = certificate.running
    is_leaving = running is not None and running.is_at_work
    return Certificate(
        leaving=(*certificate.leaving, running.issuance) if running is not None and is_leaving else certificate.leaving,
        countdown=certificate.countdown,
        numbered=certificate.numbered,
        sequence=certificate.sequence,
        issued=certificate.issued if certificate.workspace == workspace else (),
    )


def _check_budget(domain: str, certificate: Certificate, now: datetime) -> None:
    life = certificate.version.life if certificate.version else None
    again_at = renewals.next_issuance(certificate.issued, now=now, life=life)
    if again_at > now:
        raise LifecycleError(Code.CERTIFICATE_BUDGET, domain=domain, until=clock.rfc3339(again_at))


def _check_countdown(domain: str, certificate: Certificate, act: Act) -> None:
    _check(domain, certificate, act)
    if certificate.running is not None and certificate.running.is_at_work:
        raise LifecycleError(Code.CERTIFICATE_ISSUING, domain=domain)
    if certificate.countdown.due_at is None:
        raise LifecycleError(Code.CERTIFICATE_RENEWAL_NOT_SCHEDULED, domain=domain)


def _check(domain: str, certificate: Certificate, act: Act, *, role: Role = Role.OPERATOR) -> None:
    _require(act.actor, role)
    if not certificate.exists or certificate.workspace != act.actor.workspace:
        raise LifecycleError(Code.CERTIFICATE_NOT_FOUND, domain=domain)
    if act.generation is not None and act.generation != certificate.countdown.generation:
        raise LifecycleError(
            Code.CERTIFICATE_GENERATION_MISMATCH,
            domain=domain,
            expected=str(act.generation),
            generation=str(certificate.countdown.generation),
        )


def _require(actor: Actor, role: Role) -> None:
    if not actor.role.includes(role):
        raise LifecycleError(Code.ROLE_REQUIRED, required=role.value, role=actor.role.value)
