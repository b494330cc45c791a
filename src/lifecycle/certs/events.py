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
from lifecycle.certs.decision import Decision, Effect, Halt, Look, Rouse, Transition
from lifecycle.certs.model import (
    Advised,
    Cause,
    Certificate,
    Ending,
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
# An order that made no headway so often is left, so that another authority can be asked.
_TRIES_OF_AN_ORDER = 3
# What the CA wants us to wait is cut, so that this many attempts fit into the life that is left.
_ATTEMPTS_LEFT = 12
_SHORTEST_WAIT = timedelta(minutes=1)
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
    if certificate.removed or certificate.wish is None:
        return Decision(certificate.model_copy(update={"countdown": certificate.countdown.disarm()}))
    by_window = certificate.source is renewals.Source.WINDOW
    cause = Cause.REQUESTED if certificate.version is None else Cause.WINDOW if by_window else Cause.RENEWAL
    return moves.begin(domain, certificate, cause=cause, now=now, fresh=fresh)


def look_due(certificate: Certificate, generation: int) -> Decision:
    """Read the CA's window again, unless the renewal has moved on meanwhile."""
    version = certificate.version
    is_wanted = (
        generation == certificate.countdown.generation
        and certificate.next_look_at is not None
        and certificate.running is None
    )
    if not is_wanted or version is None or version.certificate_id is None:
        return Decision(certificate)
    looking = certificate.model_copy(update={"next_look_at": None})
    return Decision(looking, (Look(ca=version.ca, certificate_id=version.certificate_id),))


def advised(certificate: Certificate, message: Advised, *, now: datetime, random: float) -> Decision:
    """What the CA says about when to renew."""
    version = certificate.version
    is_over = certificate.running is not None or certificate.revoked_at is not None
    if version is None or version.certificate_id != message.certificate_id or is_over:
        return Decision(certificate)
    looked = _looked(certificate, version, message.window, message.retry_at, now=now, random=random)
    return moves.rearranged(looked, now=now)


def settle(domain: str, certificate: Certificate, message: Settled, *, now: datetime, random: float) -> Decision:
    """An issuance ended."""
    running = certificate.running
    is_ours = running is not None and running.is_at_work and running.key == message.key
    version = message.outcome.version
    if message.outcome.ending is Ending.ISSUED and version is not None and certificate.workspace == message.workspace:
        return _issued(certificate, message.outcome, version, is_ours=is_ours, now=now, random=random)
    if not is_ours or running is None:
        return Decision(certificate)
    if certificate.removed:
        return Decision(certificate.model_copy(update={"running": None}))
    return _failed(domain, certificate, running, message.outcome, now=now, random=random)


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
            "running": settled.running if _is_at_work(settled) else None,
        }
    )
    if message.reason != _KEY_COMPROMISE or (over.running is not None and over.running.is_at_work):
        return Decision(over, (), (done,))
    fresh_start = over.model_copy(update={"running": None})
    again = moves.begin(domain, fresh_start, cause=Cause.KEY_COMPROMISE, now=now, fresh=fresh)
    return again._replace(transitions=(done, *again.transitions))


def seal(certificate: Certificate, order: Seal, *, now: datetime) -> Decision:
    """Nothing is issued or renewed any more."""
    if certificate.removed or not order.means(certificate):
        return Decision(certificate)
    running = certificate.running
    effects: tuple[Effect, ...] = (Halt(running.key),) if running is not None and running.is_at_work else ()
    sealed = certificate.model_copy(
        update={"removed": True, "countdown": certificate.countdown.disarm(), "next_look_at": None}
    )
    return Decision(sealed, effects, (Transition("certificate.removed", now),))


def _issued(
    certificate: Certificate, outcome: Outcome, version: Version, *, is_ours: bool, now: datetime, random: float
) -> Decision:
    if certificate.version is not None and certificate.version.number >= version.number:
        return Decision(certificate)  # told twice, or a later one is in use
    spread_at = None
    if certificate.spread is not None:
        index, count = certificate.spread
        spread_at = renewals.spread(version.life, index=index, count=count, random=random)
    fresh = certificate.model_copy(
        update={
            "version": version,
            "running": None if is_ours or not _is_at_work(certificate) else certificate.running,
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
            "last_error": "",
            "last_error_at": None,
            "unpause_link": None,
            "revoked_at": None,
        }
    )
    detail: dict[str, JsonValue] = {
        "version": version.number,
        "serial": version.serial,
        "ca": version.ca,
        "not_after": clock.rfc3339(version.life.not_after),
        "cause": version.cause.value,
    }
    noted = Transition("certificate.issued", now, None, detail)
    if certificate.removed:
        return Decision(certificate.model_copy(update={"running": None}), (), (noted,))
    if fresh.running is not None:
        return Decision(fresh, (), (noted,))  # another one is at work, and what follows is decided when it ends
    looked = _looked(fresh, version, outcome.window, outcome.looked_retry_at, now=now, random=random)
    decision = moves.planned(looked)
    return decision._replace(transitions=(noted, *decision.transitions))


def _is_at_work(certificate: Certificate) -> bool:
    return certificate.running is not None and certificate.running.is_at_work


def _failed(
    domain: str, certificate: Certificate, running: Running, outcome: Outcome, *, now: datetime, random: float
) -> Decision:
    """What is tried next, and when. The certificate in use is never touched."""
    attempts = certificate.attempts + (outcome.ending is not Ending.WAIT)
    keeps_order = outcome.ending is Ending.WAIT or (
        outcome.ending is Ending.AGAIN and attempts % _TRIES_OF_AN_ORDER != 0
    )
    failures = certificate.failures
    if outcome.ending is Ending.INVALID:
        failures = moves.recent((*failures, now), now=now)
    after = certificate.model_copy(
        update={
            "running": running.model_copy(update={"is_at_work": False}) if keeps_order else None,
            "attempts": attempts,
            "failures": failures,
            "last_error": outcome.message,
            "last_error_at": now,
            "unpause_link": outcome.unpause_link,
        }
    )
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
    if next_at is None:
        over = after.model_copy(update={"countdown": after.countdown.disarm()})
        return Decision(over, (), (noted,))
    waiting = moves.wait_until(after, next_at)
    return waiting._replace(transitions=(noted,))


def _next_attempt(certificate: Certificate, outcome: Outcome, *, now: datetime, random: float) -> datetime | None:
    """When it is tried again; never, for a first certificate that cannot be had as it was asked for."""
    version = certificate.version
    if outcome.ending is Ending.WAIT and outcome.until is not None:
        longest = None if version is None else max((version.life.not_after - now) / _ATTEMPTS_LEFT, _SHORTEST_WAIT)
        return max(outcome.until if longest is None else min(outcome.until, now + longest), now)
    if outcome.ending is Ending.HALTED and version is not None:
        return max(moves.planned_at(certificate), now + timedelta(hours=1))
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
