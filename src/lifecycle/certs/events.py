"""What happens to a certificate by itself: time passes, issuances end, the CA changes its mind. Pure.

renewal due ──> issuance ──> issued      ──> the next renewal
                        ├──> wait        ──> the same order, when the CA says
                        ├──> again       ──> the same order, after a pause
                        ├──> invalid     ──> a new order, at most three an hour
                        └──> refused …   ──> first one: stop.  Renewal: always again, within a day
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from pydantic import JsonValue

from lifecycle import clock
from lifecycle.certs import moves, problems, renewals
from lifecycle.certs.decision import Abandon, Decision, Effect, Halt, Look, LookLater, Rouse, Transition
from lifecycle.certs.model import (
    Advised,
    Cause,
    Certificate,
    Ending,
    Forfeit,
    Outcome,
    Revoked,
    Running,
    Seal,
    Settled,
    Version,
)
from lifecycle.certs.verdicts import RenewalInfo
from lifecycle.scheduler import countdown

# RFC 5280, section 5.3.1.
_KEY_COMPROMISE = 1
# What a certificate waits for after an ending that the same request cannot change: a day, less when life is short.
_LASTING = frozenset({Ending.REFUSED, Ending.PAUSED, Ending.HALTED, Ending.MISMATCHED})
_DAILY = 4
# After these the same order goes on.
_GOES_ON = frozenset({Ending.WAIT, Ending.AGAIN})
# An order that made no headway so often is left, so that another authority can be asked.
_TRIES_OF_AN_ORDER = 3
# What the CA wants us to wait is cut, so that this many attempts fit into the life that is left.
_ATTEMPTS_LEFT = 12
_SHORTEST_WAIT = timedelta(minutes=1)
# After somebody gave a renewal up that is due.
_HALTED_FOR = timedelta(hours=1)
# No look follows another sooner than this; so a wake-up that comes sooner is one too many.
_LOOKS_APART = timedelta(minutes=1)
_ACTIONS: Mapping[Ending, str] = MappingProxyType(
    {
        Ending.WAIT: "certificate.waiting",
        Ending.AGAIN: "certificate.delayed",
        Ending.HALTED: "certificate.given_up",
        Ending.MISMATCHED: "certificate.mismatched",
    }
)


def renewal_due(domain: str, certificate: Certificate, generation: int, *, now: datetime, fresh: str) -> Decision:
    """A wake-up: begin, unless it is stale or early."""
    match certificate.countdown.judge(generation, now=now):
        case countdown.Verdict.STALE:
            return Decision(certificate.model_copy(update={"countdown": certificate.countdown.count_stale()}))
        case countdown.Verdict.EARLY:
            early = certificate.model_copy(update={"countdown": certificate.countdown.count_early()})
            return Decision(early, (Rouse(),))
        case countdown.Verdict.DUE:
            return _begin_due(domain, certificate, now=now, fresh=fresh)


def _begin_due(domain: str, certificate: Certificate, *, now: datetime, fresh: str) -> Decision:
    if certificate.removed or certificate.wish is None or certificate.forfeited:
        return Decision(certificate.model_copy(update={"countdown": certificate.countdown.disarm()}))
    by_window = certificate.source is renewals.Source.WINDOW
    cause = Cause.REQUESTED if certificate.version is None else Cause.WINDOW if by_window else Cause.RENEWAL
    return moves.begin(domain, certificate, cause=cause, now=now, fresh=fresh)


def look_due(certificate: Certificate, generation: int, *, now: datetime) -> Decision:
    """Read the CA's window again, unless the renewal has moved on meanwhile.

    If no answer ever comes, it is asked again by itself.
    """
    version, look_at = certificate.version, certificate.next_look_at
    is_wanted = generation == certificate.countdown.generation and certificate.running is None
    if not is_wanted or look_at is None or now < look_at - _LOOKS_APART:
        return Decision(certificate)
    if version is None or version.certificate_id is None:
        return Decision(certificate)
    later = renewals.next_look(version.life, now=now, retry_at=None, is_answered=False)
    look = Look(ca=version.ca, certificate_id=version.certificate_id)
    looking = certificate.model_copy(update={"next_look_at": later})
    return Decision(looking, (look,) if later is None else (look, LookLater()))


def advised(certificate: Certificate, message: Advised, *, now: datetime, random: float) -> Decision:
    """What the CA says about when to renew."""
    version = certificate.version
    is_over = certificate.running is not None or certificate.revoked_at is not None
    if version is None or version.certificate_id != message.certificate_id or is_over:
        return Decision(certificate)
    looked = _looked(certificate, version, message.window, message.retry_at, now=now, random=random)
    return moves.rearranged(looked, now=now)


def is_awaited(certificate: Certificate, message: Settled) -> bool:
    """Whether the message ends the run that is at work now; any other was settled before."""
    running = certificate.running
    return running is not None and running.is_at_work and running.key == message.key


def settle(domain: str, certificate: Certificate, message: Settled, *, now: datetime, random: float) -> Decision:
    """An issuance ended."""
    left = message.issuance in certificate.leaving
    if left:
        certificate = certificate.model_copy(
            update={"leaving": tuple(one for one in certificate.leaving if one != message.issuance)}
        )
    outcome, running = message.outcome, certificate.running
    is_ours = is_awaited(certificate, message)
    if outcome.ending is Ending.ISSUED and outcome.version is not None and certificate.workspace == message.workspace:
        return _issued(certificate, message, outcome.version, is_ours=is_ours, now=now, random=random)
    if is_ours and running is not None and not certificate.removed:
        if running.is_halted and outcome.ending in _GOES_ON:
            outcome = outcome.model_copy(update={"ending": Ending.HALTED})  # it ended before it heard of that
        return _failed(domain, certificate, running, outcome, now=now, random=random)
    after = certificate.model_copy(update={"running": None}) if is_ours else certificate
    is_over = (is_ours or left) and outcome.ending is not Ending.ISSUED
    return Decision(after, (Abandon(message.issuance),) if is_over else ())


def revoked(domain: str, certificate: Certificate, message: Revoked, *, now: datetime, fresh: str) -> Decision:
    """The CA has revoked a version, or would not."""
    if certificate.revoking != message.version:
        return Decision(certificate)
    settled = certificate.model_copy(update={"revoking": None})
    detail: dict[str, JsonValue] = {"version": message.version, "reason": message.reason}
    if message.failure:
        failed = settled.model_copy(update={"last_error": message.failure, "last_error_at": now})
        noted = Transition("certificate.revocation_failed", now, None, {**detail, "error": message.failure})
        return Decision(failed, (), (noted,))
    done = Transition("certificate.revoked", now, None, detail)
    if settled.version is None or settled.version.number != message.version:
        return Decision(settled, (), (done,))
    over = settled.model_copy(
        update={
            "revoked_at": now,
            "countdown": settled.countdown.disarm(),
            "next_look_at": None,
            "running": settled.running if settled.is_at_work else None,
        }
    )
    left = moves.let_go(settled)
    if message.reason != _KEY_COMPROMISE or over.is_at_work or over.forfeited:
        return Decision(over, left, (done,))
    again = moves.begin(domain, over, cause=Cause.KEY_COMPROMISE, now=now, fresh=fresh)
    return again._replace(effects=(*left, *again.effects), transitions=(done, *again.transitions))


def seal(certificate: Certificate, order: Seal, *, now: datetime) -> Decision:
    """Nothing is issued or renewed any more."""
    if certificate.removed or not order.means(certificate):
        return Decision(certificate)
    sealed = certificate.model_copy(
        update={
            "removed": True,
            "countdown": certificate.countdown.disarm(),
            "next_look_at": None,
            "running": certificate.running if certificate.is_at_work else None,
        }
    )
    return Decision(sealed, _stop(certificate), (Transition("certificate.removed", now),))


def forfeit(certificate: Certificate, message: Forfeit, *, now: datetime) -> Decision:
    """A name of it has become somebody else's: it is renewed no more. It is not revoked, for the others are its own."""
    names = () if certificate.wish is None else certificate.wish.names
    is_theirs = certificate.exists and certificate.workspace != message.winner and message.name in names
    if not is_theirs or message.name in certificate.forfeited:
        return Decision(certificate)
    forfeited = (*certificate.forfeited, message.name)
    kept = [name for name in names if name not in forfeited]
    why = f"It is renewed no more, because {', '.join(forfeited)} belongs to somebody else now."
    hint = f"Ask for a certificate for {', '.join(kept)} alone." if kept else "Nothing is left to renew."
    stopped = certificate.model_copy(
        update={
            "forfeited": forfeited,
            "countdown": certificate.countdown if certificate.is_at_work else certificate.countdown.disarm(),
            "next_look_at": None,
            "running": certificate.running if certificate.is_at_work else None,
            "last_error": f"{why} {hint}",
            "last_error_at": now,
        }
    )
    detail: dict[str, JsonValue] = {"name": message.name, "names_left": list(kept), "reason": why, "hint": hint}
    return Decision(stopped, _stop(certificate), (Transition("certificate.renewal_stopped", now, None, detail),))


def _stop(certificate: Certificate) -> tuple[Effect, ...]:
    """What ends the issuance that there is, if there is one."""
    running = certificate.running
    return (Halt(running.key),) if running is not None and running.is_at_work else moves.let_go(certificate)


def _issued(
    certificate: Certificate, message: Settled, version: Version, *, is_ours: bool, now: datetime, random: float
) -> Decision:
    if certificate.version is not None and certificate.version.number >= version.number:
        return Decision(certificate)  # told twice, or a later one is in use
    detail: dict[str, JsonValue] = {
        "version": version.number,
        "serial": version.serial,
        "ca": version.ca,
        "not_after": clock.rfc3339(version.life.not_after),
        "cause": version.cause.value,
    }
    noted = Transition("certificate.issued", now, None, detail)
    if certificate.removed:
        kept = None if is_ours else certificate.running
        return Decision(certificate.model_copy(update={"running": kept, "version": version}), (), (noted,))
    fresh = _in_use(certificate, version, is_ours=is_ours, now=now, random=random)
    if fresh.running is not None:
        return Decision(fresh, (), (noted,))  # another one is at work, and what follows is decided when it ends
    left = tuple(one for one in moves.let_go(certificate) if one.issuance != message.issuance)
    outcome = message.outcome
    looked = _looked(fresh, version, outcome.window, outcome.looked_retry_at, now=now, random=random)
    decision = moves.planned(looked)
    return decision._replace(effects=(*left, *decision.effects), transitions=(noted, *decision.transitions))


def _in_use(certificate: Certificate, version: Version, *, is_ours: bool, now: datetime, random: float) -> Certificate:
    """With a version that has just been issued; whatever went wrong before is over."""
    spread_at = None
    if certificate.spread is not None:
        index, count = certificate.spread
        spread_at = renewals.spread(version.life, index=index, count=count, random=random)
    is_told = not certificate.forfeited
    return certificate.model_copy(
        update={
            "version": version,
            "certified": certificate.wish.names if is_ours and certificate.wish is not None else (),
            "running": None if is_ours or not certificate.is_at_work else certificate.running,
            "random": random,
            "choice": None,
            "silent_since": None,
            "next_look_at": None,
            "spread": None,
            "spread_at": spread_at,
            "moved_to": None,
            "attempts": 0,
            "failures": (),
            "issued": moves.recent((*certificate.issued, version.issued_at), now=now),
            "last_error": "" if is_told else certificate.last_error,
            "last_error_at": None if is_told else certificate.last_error_at,
            "unpause_link": None,
            "revoked_at": None,
        }
    )


def _failed(
    domain: str, certificate: Certificate, running: Running, outcome: Outcome, *, now: datetime, random: float
) -> Decision:
    """What is tried next, and when. The certificate in use is never touched."""
    after, keeps_order = _after_failure(certificate, running, outcome, now=now)
    action = _ACTIONS.get(outcome.ending, "certificate.failed")
    next_at = _next_attempt(after, outcome, now=now, random=random)
    detail: dict[str, JsonValue] = {
        "domain": domain,
        "issuance": running.issuance,
        "ending": outcome.ending.value,
        "ca": outcome.ca,
        "error": outcome.message,
        "next_attempt_at": clock.rfc3339(next_at) if next_at else None,
    }
    noted = Transition(action, now, None, detail)
    # Also where the issuance has let go of it by itself: it may have been killed before it came to that.
    left = () if keeps_order else (Abandon(running.issuance, outcome.message),)
    if next_at is None:
        over = after.model_copy(update={"countdown": after.countdown.disarm()})
        return Decision(over, left, (noted,))
    waiting = moves.wait_until(after, next_at, look_at=_look_after(after, outcome, now=now))
    return waiting._replace(effects=(*left, *waiting.effects), transitions=(noted,))


def _after_failure(
    certificate: Certificate, running: Running, outcome: Outcome, *, now: datetime
) -> tuple[Certificate, bool]:
    """The certificate after an attempt that failed, and whether the same order goes on."""
    # What somebody gave up has not failed, and the certificate in use works.
    is_called_off = outcome.ending is Ending.HALTED and running.is_halted and certificate.version is not None
    attempts = certificate.attempts + (outcome.ending is not Ending.WAIT and not is_called_off)
    keeps_order = not certificate.forfeited and (
        outcome.ending is Ending.WAIT or (outcome.ending is Ending.AGAIN and attempts % _TRIES_OF_AN_ORDER != 0)
    )
    failures = certificate.failures
    if outcome.ending is Ending.INVALID:
        failures = moves.recent((*failures, now), now=now)
    is_told = not is_called_off and not certificate.forfeited
    waiting = running.model_copy(update={"is_at_work": False, "is_halted": False})
    after = certificate.model_copy(
        update={
            "running": waiting if keeps_order else None,
            "attempts": attempts,
            "failures": failures,
            "last_error": outcome.message if is_told else certificate.last_error,
            "last_error_at": now if is_told else certificate.last_error_at,
            "unpause_link": outcome.unpause_link,
        }
    )
    return after, keeps_order


def _look_after(certificate: Certificate, outcome: Outcome, *, now: datetime) -> datetime | None:
    """When to read the CA's window after a failure: only where the next attempt is not the failed one's repetition."""
    version = certificate.version
    if outcome.ending is not Ending.HALTED or version is None or version.certificate_id is None:
        return None
    return renewals.next_look(version.life, now=now, retry_at=None, is_answered=False)


def _next_attempt(certificate: Certificate, outcome: Outcome, *, now: datetime, random: float) -> datetime | None:
    """When it is tried again; never, for a first certificate that cannot be had as it was asked for."""
    version = certificate.version
    if certificate.forfeited:
        return None
    if outcome.ending is Ending.WAIT and outcome.until is not None:
        longest = None if version is None else max((version.life.not_after - now) / _ATTEMPTS_LEFT, _SHORTEST_WAIT)
        return max(outcome.until if longest is None else min(outcome.until, now + longest), now)
    if outcome.ending is Ending.HALTED and version is not None:
        return max(moves.planned_at(certificate), now + _HALTED_FOR)
    if version is None and outcome.ending in _LASTING:
        return None
    attempt = max(certificate.attempts, _DAILY) if outcome.ending in _LASTING else certificate.attempts
    remaining = None if version is None else version.life.not_after - now
    lifetime = None if version is None else version.life.length
    moment = now + problems.backoff(attempt, random=random, lifetime=lifetime, remaining=remaining)
    if outcome.ending is Ending.INVALID:
        moment = max(moment, problems.next_validation(certificate.failures, now=now))
    return moment


def _looked(
    certificate: Certificate,
    version: Version,
    window: RenewalInfo | None,
    retry_at: datetime | None,
    *,
    now: datetime,
    random: float,
) -> Certificate:
    """After a look at the CA's window: what was chosen in it, and when to look again."""
    if version.certificate_id is None:
        return certificate
    silent_since = certificate.silent_since if window is None else None
    if window is None and silent_since is None:
        silent_since = now
    choice = renewals.choose(
        window,
        certificate.choice,
        certificate_id=version.certificate_id,
        random=random,
        silent_for=now - (silent_since or now),
    )
    is_moved_on = choice is not None and (certificate.choice is None or choice.at != certificate.choice.at)
    next_look_at = renewals.next_look(version.life, now=now, retry_at=retry_at, is_answered=window is not None)
    return certificate.model_copy(
        update={
            "choice": choice,
            "silent_since": silent_since,
            "next_look_at": next_look_at,
            "moved_to": None if is_moved_on else certificate.moved_to,
        }
    )
