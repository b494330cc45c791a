"""Whose a custom domain is, by what DNS says of it. Pure.

    records ──set by its owner──> facts ──judge──> Sight ──settle──> claims, of which one at most owns the domain

A domain becomes a project's by the TXT record, or, while no other project owns it or asks for it, by a CNAME to the
project's own target. Addresses lead visitors here and prove nothing: they are the same for every project, and may have
been set for one that is gone. Once owned, a domain is lost only to another project that proves control by TXT: records
that lead elsewhere are shown, and take nothing away.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import NamedTuple

from lifecycle.certs.names import Identifier, registered_domain
from lifecycle.deploy.model import Environment
from lifecycle.deploy.verification.model import Condition, Former, Purpose, Ruling, Seen, Sight, Status
from lifecycle.errors import Code, LifecycleError

# Like `_acme-challenge` (RFC 8555, section 8.4): an underscore keeps it apart from host names (RFC 8552).
CHALLENGE_LABEL = "_lifecycle-challenge"
GIVEN_UP_AFTER = timedelta(days=7)
_FIRST_LOOKS = (timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
_LATER_LOOKS = timedelta(hours=1)
_LOOKS_WHEN_VERIFIED = timedelta(days=1)
_BAD_LOOKS = 3
_NAME_LENGTH = 253
_SHOWN_AT_MOST = 4


class Ways(NamedTuple):
    """How visitors are led to a project.

    Attributes:
        base: below which every project has a target of its own.
        target: of this project, for CNAME.
        addresses: of the gateway, for domains that cannot have a CNAME; none where the setting names none.
    """

    base: str
    target: str
    addresses: tuple[str, ...] = ()


class Record(NamedTuple):
    """A DNS record to set; `type` is ALIAS where that stands for ALIAS, ANAME or CNAME flattening."""

    purpose: Purpose
    type: str
    name: str
    value: str


class Facts(NamedTuple):
    """What DNS answered.

    Attributes:
        texts: of the TXT records at the challenge name.
        text_trouble: why there is no answer about them.
        chain: names that CNAMEs lead to, one after the other.
        addresses: where they end.
        target_addresses: of the project's target; only wanted where no addresses are set.
        trouble: why there is no answer about addresses or CNAMEs.
    """

    texts: tuple[str, ...] = ()
    text_trouble: str = ""
    chain: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    target_addresses: tuple[str, ...] = ()
    trouble: str = ""


class Claim(NamedTuple):
    """What a project wants of a domain, as the database has it.

    Attributes:
        bad_looks: how many times in a row it was found to lead elsewhere, since it once led here.
        routed_at: since when it has led here.
        begun_at: what the latest look was asked for with (`Question.begun_at`), which says whose look it was.
        untold: it has won or lost the domain, and those who have to know may not have been told: whoever was to tell
            them may have died, and the next look makes up for it.
    """

    id: str
    project: str
    hostname: str
    environment: Environment
    token: str
    status: Status = Status.PENDING
    version: int = 0
    sight: Sight = Sight()
    reason: str = ""
    bad_looks: int = 0
    verified_at: datetime | None = None
    routed_at: datetime | None = None
    checked_at: datetime | None = None
    next_check_at: datetime | None = None
    begun_at: datetime | None = None
    untold: bool = False


class Settled(NamedTuple):
    """All claims to a domain after a look, and what it came to for the one that was looked at."""

    claims: tuple[Claim, ...]
    ruling: Ruling


def ways(project: str, *, base: str, addresses: Sequence[str]) -> Ways:
    """How visitors are led to a project; its target says nothing but which project it is."""
    label = hashlib.sha256(project.encode()).hexdigest()[:16]
    return Ways(base, f"{label}.{base}", tuple(str(ip_address(one)) for one in addresses))


def challenge_name(domain: str) -> str:
    """The name of the TXT record.

    Raises:
        LifecycleError: DOMAIN_INVALID when it would be too long for DNS (RFC 1035, section 2.3.4).
    """
    name = f"{CHALLENGE_LABEL}.{domain}"
    if len(name) > _NAME_LENGTH:
        problem = f"its TXT record would have a name of more than {_NAME_LENGTH} characters"
        raise LifecycleError(Code.DOMAIN_INVALID, domain=domain, problem=problem, field="domain")
    return name


def records(domain: str, token: str, found: Ways) -> tuple[Record, ...]:
    """What whoever owns the domain sets: the first proves control, the others lead visitors here."""
    ownership = Record(Purpose.OWNERSHIP, "TXT", challenge_name(domain), token)
    if not needs_text(domain):
        return ownership, Record(Purpose.ROUTING, "CNAME", domain, found.target)
    # A name with SOA and NS records can have no CNAME (RFC 1034, section 3.6.2).
    if not found.addresses:
        return ownership, Record(Purpose.ROUTING, "ALIAS", domain, found.target)
    kinds = {4: "A", 6: "AAAA"}
    return ownership, *(Record(Purpose.ROUTING, kinds[ip_address(one).version], domain, one) for one in found.addresses)


def needs_text(domain: str) -> bool:
    """Whether a domain cannot be verified without its TXT record: one that can have no CNAME."""
    return registered_domain(Identifier(value=domain)) == domain


def judge(token: str, found: Ways, facts: Facts) -> Sight:
    """How the records of a domain were found."""
    return Sight(
        ownership=_judge_text(token, facts),
        routing=_judge_routing(found, facts),
        by_name=found.target in facts.chain,
    )


def settle(
    claims: Sequence[Claim], claim: str, sight: Sight, *, version: int, begun_at: datetime, now: datetime
) -> Settled:
    """What a look changes.

    Args:
        claims: all to this domain, of which one at most owns it.
        claim: the id of the one that was looked at.
        sight: what was seen.
        version: of the claim when the look was ordered.
        begun_at: since when it is tried.
        now: the present moment.
    """
    mine = next(one for one in claims if one.id == claim)
    if mine.status is Status.LOST and version < mine.version:
        # Ordered before the domain was lost: only somebody who knows of that may claim it back.
        return Settled(tuple(claims), Ruling(version=mine.version, status=mine.status, reason=mine.reason))
    rivals = [one for one in claims if one.id != claim and one.status.contends]
    proof = _proof(sight, contested=bool(rivals))
    owns = mine.status.owns or proof is not None
    former = [one for one in rivals if one.status.owns] if owns else []
    looked = _look(mine, sight, owns=owns, begun_at=begun_at, now=now)
    status = _status(looked, owns=owns, begun_at=begun_at, now=now)
    after = looked._replace(
        status=status,
        reason=_reason(looked, status, contested=bool(rivals)),
        next_check_at=_next_check(looked, status, begun_at=begun_at, now=now),
    )
    changed = {one.id: one for one in (*map(_lose, former), after)}
    claims = tuple(changed.get(one.id, one) for one in claims)
    ruling = Ruling(
        version=after.version,
        status=status,
        reason=after.reason,
        next_check_at=after.next_check_at,
        won=after.untold,
        proof=proof,
        routed=sight.routing.condition is Condition.OK,
        taken_from=tuple(_former(one) for one in claims if one.status is Status.LOST and one.untold),
    )
    return Settled(claims, ruling)


def _look(mine: Claim, sight: Sight, *, owns: bool, begun_at: datetime, now: datetime) -> Claim:
    routed = sight.routing.condition is Condition.OK
    return mine._replace(
        version=mine.version + 1,
        sight=sight,
        checked_at=now,
        begun_at=max(begun_at, mine.begun_at or begun_at),
        bad_looks=_bad_looks(mine, sight),
        verified_at=(mine.verified_at or now) if owns else None,
        routed_at=(mine.routed_at or now) if owns and routed else mine.routed_at if owns else None,
        untold=owns and (mine.untold or not mine.status.owns),
    )


def _proof(sight: Sight, *, contested: bool) -> Purpose | None:
    if sight.ownership.condition is Condition.OK:
        return Purpose.OWNERSHIP
    return Purpose.ROUTING if sight.by_name and not contested else None


def _lose(claim: Claim) -> Claim:
    return claim._replace(
        status=Status.LOST,
        version=claim.version + 1,
        reason="Another project proved with a TXT record that it controls the domain.",
        next_check_at=None,
        verified_at=None,
        routed_at=None,
        bad_looks=0,
        untold=True,
    )


def _former(claim: Claim) -> Former:
    return Former(id=claim.id, project=claim.project, token=claim.token, version=claim.version)


def _bad_looks(claim: Claim, sight: Sight) -> int:
    match sight.routing.condition:
        case Condition.OK:
            return 0
        case Condition.UNKNOWN:  # nobody answered, which says nothing of the records
            return claim.bad_looks
        case _:
            return claim.bad_looks + 1 if claim.routed_at is not None else 0


def _status(looked: Claim, *, owns: bool, begun_at: datetime, now: datetime) -> Status:
    if owns:
        return Status.DANGLING if looked.bad_looks >= _BAD_LOOKS else Status.VERIFIED
    return Status.FAILED if now - begun_at >= GIVEN_UP_AFTER else Status.PENDING


def _reason(looked: Claim, status: Status, *, contested: bool) -> str:
    if status.owns:
        return "" if looked.sight.routing.condition is Condition.OK else looked.sight.routing.found
    if contested:
        wanted = "the TXT record, which is needed because another project has this domain or asks for it"
    elif looked.sight.routing.condition is Condition.OK:
        wanted = "the TXT record, which is needed because the addresses that it leads to are the same for every project"
    elif needs_text(looked.hostname):
        wanted = "the TXT record"
    else:
        wanted = "the record that leads visitors here, or the TXT record"
    if status is Status.FAILED:
        return f"In {GIVEN_UP_AFTER.days} days nobody set {wanted}. Set it, and verify again."
    return f"Waiting for {wanted}."


def _next_check(looked: Claim, status: Status, *, begun_at: datetime, now: datetime) -> datetime | None:
    """When to look again; a domain that is owned and does not lead here yet is looked at as often as a pending one."""
    if status is Status.FAILED:
        return None
    if looked.routed_at is not None or now - begun_at >= GIVEN_UP_AFTER:
        return now + _LOOKS_WHEN_VERIFIED
    for offset in _FIRST_LOOKS:
        if begun_at + offset > now:
            return begun_at + offset
    return min(now + _LATER_LOOKS, begun_at + GIVEN_UP_AFTER)


def _judge_text(token: str, facts: Facts) -> Seen:
    if token in facts.texts:
        return Seen(condition=Condition.OK, found="The TXT record has the right value.")
    if facts.text_trouble:
        return Seen(condition=Condition.UNKNOWN, found=facts.text_trouble)
    if facts.texts:
        return Seen(condition=Condition.WRONG, found=f"The TXT record says {_listed(facts.texts)}.")
    return Seen(condition=Condition.MISSING, found="There is no such TXT record.")


def _judge_routing(found: Ways, facts: Facts) -> Seen:
    if found.target in facts.chain:
        return Seen(condition=Condition.OK, found=f"A CNAME leads to {found.target}.")
    others = [one for one in facts.chain if one.endswith(f".{found.base}")]
    if others:
        return Seen(condition=Condition.WRONG, found=f"A CNAME leads to {others[0]}, the target of another project.")
    if facts.trouble:
        return Seen(condition=Condition.UNKNOWN, found=facts.trouble)
    over = f" by way of {facts.chain[-1]}" if facts.chain else ""
    if not facts.addresses:
        text = f"A CNAME leads to {facts.chain[-1]}, which has no address." if facts.chain else "It has no address."
        return Seen(condition=Condition.WRONG if facts.chain else Condition.MISSING, found=text)
    ours = set(found.addresses or facts.target_addresses)
    foreign = [one for one in facts.addresses if one not in ours]
    if not foreign:
        return Seen(condition=Condition.OK, found=f"It leads to {_listed(facts.addresses)}{over}.")
    also = "also " if len(foreign) < len(facts.addresses) else ""
    return Seen(condition=Condition.WRONG, found=f"It {also}leads to {_listed(foreign)}{over}, which is not ours.")


def _listed(values: Sequence[str]) -> str:
    """Some of them, of a length to read, without what steers a terminal."""
    shown = ["".join(sign if sign.isprintable() else "\ufffd" for sign in one[:100]) for one in values[:_SHOWN_AT_MOST]]
    return ", ".join(shown) + (f" and {more} more" if (more := len(values) - _SHOWN_AT_MOST) > 0 else "")
