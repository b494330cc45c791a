"""What rules and events share: how a certificate begins to be issued, and when it is renewed next. Pure."""

from datetime import datetime, timedelta

from pydantic import JsonValue

from lifecycle import clock
from lifecycle.certs import renewals
from lifecycle.certs.decision import Abandon, Decision, Effect, Issue, LookLater, Rouse, Transition
from lifecycle.certs.model import Assignment, Cause, Certificate, Running, Version
from lifecycle.models import Actor

# Long enough ago to count for no limit.
_FORGOTTEN_AFTER = timedelta(days=8)


def begin(
    domain: str, certificate: Certificate, *, cause: Cause, now: datetime, fresh: str, actor: Actor | None = None
) -> Decision:
    """Begin an issuance, or go on with the one that waits.

    Args:
        domain: the key.
        certificate: which has no issuance at work.
        cause: of a new issuance.
        now: the present time.
        fresh: id for a new issuance.
        actor: who wants it.
    """
    waiting = certificate.running
    if waiting is not None:
        running = waiting.model_copy(update={"run": waiting.run + 1, "is_at_work": True})
    else:
        running = Running(issuance=fresh, cause=cause, begun_at=now)
    after = certificate.model_copy(
        update={
            "running": running,
            "countdown": certificate.countdown.arm(due_at=now, wake_at=now).rest(),
            "next_look_at": None,
            "cancelled": None,
            "numbered": certificate.numbered + (waiting is None),
        }
    )
    detail: dict[str, JsonValue] = {"issuance": running.issuance, "run": running.run, "cause": running.cause.value}
    begun = Transition("certificate.issuing", now, actor, detail)
    return Decision(after, (Issue(_assignment(domain, after, running, now)),), (begun,))


def let_go(certificate: Certificate) -> tuple[Abandon, ...]:
    """What follows when the issuance that waits to go on is left; nothing when none waits."""
    running = certificate.running
    return () if running is None or running.is_at_work else (Abandon(running.issuance),)


def wait_until(certificate: Certificate, moment: datetime, *, look_at: datetime | None = None) -> Decision:
    """Have the next attempt made at `moment`.

    Args:
        certificate: which has no issuance at work.
        moment: of the attempt.
        look_at: when to read the CA's window before; never, where nothing can come of it.
    """
    armed = certificate.countdown.arm(due_at=moment, wake_at=moment)
    effects: tuple[Effect, ...] = (Rouse(),) if look_at is None else (Rouse(), LookLater())
    return Decision(certificate.model_copy(update={"countdown": armed, "next_look_at": look_at}), effects)


def planned(certificate: Certificate) -> Decision:
    """Arm the next renewal of the version in use; nothing changes when it is armed for that moment already."""
    version = certificate.version
    if version is None:
        return Decision(certificate)
    if certificate.is_stopped:
        countdown = certificate.countdown
        disarmed = countdown if countdown.due_at is None else countdown.disarm()
        return Decision(certificate.model_copy(update={"countdown": disarmed, "next_look_at": None}))
    moment, source = _plan(certificate, version)
    effects: list[Effect] = []
    after = certificate
    if certificate.countdown.due_at != moment or certificate.countdown.wake_at is None:
        armed = certificate.countdown.arm(due_at=moment, wake_at=moment)
        after = certificate.model_copy(update={"countdown": armed, "source": source})
        effects.append(Rouse())
    if after.next_look_at is not None:
        effects.append(LookLater())
    return Decision(after, tuple(effects))


def rearranged(certificate: Certificate, *, now: datetime, actor: Actor | None = None) -> Decision:
    """As `planned`, and noted when the moment changes."""
    decision = planned(certificate)
    after, due_at = decision.certificate, decision.certificate.countdown.due_at
    if after.countdown.generation == certificate.countdown.generation or due_at is None:
        return decision
    detail: dict[str, JsonValue] = {
        "due_at": clock.rfc3339(due_at),
        "source": after.source.value if after.source else None,
        "explanation_url": after.choice.explanation_url if after.choice else None,
    }
    return decision._replace(transitions=(Transition("certificate.renewal_scheduled", now, actor, detail),))


def planned_at(certificate: Certificate) -> datetime:
    """When the version in use is to be renewed.

    Raises:
        ValueError: there is none.
    """
    if certificate.version is None:
        raise ValueError("nothing is issued yet")
    return _plan(certificate, certificate.version)[0]


def _plan(certificate: Certificate, version: Version) -> tuple[datetime, renewals.Source]:
    plan = renewals.plan(version.life, certificate.choice, random=certificate.random, spread_at=certificate.spread_at)
    moment, source = plan.at, plan.source
    if certificate.moved_to is not None:
        moment, source = min(certificate.moved_to, version.life.floor), renewals.Source.MOVED
    return max(moment, renewals.next_issuance(certificate.issued, now=moment, life=version.life)), source


def recent(moments: tuple[datetime, ...], *, now: datetime) -> tuple[datetime, ...]:
    """Those that may still count for a limit."""
    return tuple(moment for moment in moments if now - moment < _FORGOTTEN_AFTER)[-10:]


def _assignment(domain: str, certificate: Certificate, running: Running, now: datetime) -> Assignment:
    if certificate.wish is None:
        raise ValueError(f"nothing is wanted for {domain}")
    version = certificate.version
    attempt = certificate.attempts + 1
    replaces = None if version is None else renewals.replaces(attempt, version.certificate_id)
    return Assignment(
        issuance=running.issuance,
        run=running.run,
        domain=domain,
        workspace=certificate.workspace,
        project=certificate.project,
        wish=certificate.wish,
        number=certificate.numbered,
        cause=running.cause,
        attempt=attempt,
        replaces=replaces,
        former_ca=None if version is None else version.ca,
        # A CA exempts only what says what it replaces (RFC 9773, section 5).
        by_window=replaces is not None and _is_in_window(certificate, now),
        same_names=set(certificate.certified) == set(certificate.wish.names),
        remaining_seconds=None if version is None else (version.life.not_after - now).total_seconds(),
        lifetime_seconds=None if version is None else version.life.length.total_seconds(),
    )


def _is_in_window(certificate: Certificate, now: datetime) -> bool:
    """Whether the CA wants the certificate in use to be renewed now, which no rate limit counts."""
    choice, version = certificate.choice, certificate.version
    return (
        choice is not None
        and version is not None
        and choice.certificate_id == version.certificate_id
        and choice.start <= now < choice.end
    )
