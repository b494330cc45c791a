"""CAA: which CAs a domain allows (RFC 8659), for which account and by which challenge (RFC 8657)."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CAA import CAA

from lifecycle.certs.dns.answers import Found, Unresolved, printable
from lifecycle.certs.dns.resolver import Resolver
from lifecycle.certs.names import ChallengeType

_CRITICAL = 128  # RFC 8659, section 4.1
# https://www.iana.org/assignments/pkix-parameters, "Certification Authority Restriction Properties".
_KNOWN = {"issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"}


class Property(NamedTuple):
    """One CAA record."""

    flags: int
    tag: str
    value: str

    def __str__(self) -> str:
        """As it is written in a zone file."""
        return f'{self.flags} {self.tag} "{self.value}"'


class Relevant(NamedTuple):
    """The records that count (RFC 8659, section 3).

    Attributes:
        name: where they were found; None when there are none up to the top.
    """

    name: str | None
    properties: tuple[Property, ...]


async def relevant(resolver: Resolver, name: str) -> Relevant | Unresolved:
    """The CAA records of the name, or else of the nearest name above; CNAMEs are followed, but not climbed from.

    Args:
        resolver: whom to ask.
        name: of the certificate, without `*.`.
    """
    labels = name.split(".")
    for depth in range(len(labels)):
        above = ".".join(labels[depth:])
        answer = await resolver.ask(above, RdataType.CAA)
        if isinstance(answer, Unresolved):
            return answer
        if isinstance(answer, Found):
            return Relevant(above, tuple(_property(one) for one in answer.of(CAA)))
    return Relevant(None, ())


def objection(
    properties: Sequence[Property],
    *,
    is_wildcard: bool,
    identities: Collection[str],
    account: str | None,
    challenge: ChallengeType,
) -> str | None:
    """Why these records keep the CA from issuing, None when they do not. Pure.

    Args:
        properties: all of one name.
        is_wildcard: whether the certificate is for a wildcard.
        identities: names of the CA, as its directory gives them.
        account: URL of our account there; None leaves `accounturi` out of account.
        challenge: how control is to be proved.
    """
    unknown = [one for one in properties if one.flags & _CRITICAL and one.tag not in _KNOWN]
    if unknown:
        return f"{unknown[0]} is critical, and no CA knows it"
    tags = {one.tag for one in properties}
    tag = "issuewild" if is_wildcard and "issuewild" in tags else "issue"
    counting = [one for one in properties if one.tag == tag]
    if not counting:
        return None
    objections = [_of_one(one.value, identities=identities, account=account, challenge=challenge) for one in counting]
    if None in objections:
        return None
    # What almost fits says more than that another CA is named too.
    named = [why for why in objections if why]
    return named[0] if named else f"{', '.join(str(one) for one in counting)} admits other CAs only"


def _of_one(value: str, *, identities: Collection[str], account: str | None, challenge: ChallengeType) -> str | None:
    """None when it admits us; an empty text when it is about another CA; else why it does not admit us."""
    issuer, *rest = (part.strip() for part in value.split(";"))
    if issuer.lower().rstrip(".") not in {one.lower() for one in identities}:
        return ""
    parameters: dict[str, str] = {}
    for part in rest:
        if not part:
            continue
        tag, equals, given = (piece.strip() for piece in part.partition("="))
        if not equals or not tag or tag.lower() in parameters:
            return f"its parameter {part} makes no sense, and so admits nobody"
        parameters[tag.lower()] = given
    wanted = parameters.get("accounturi")
    if wanted is not None and account is not None and wanted != account:
        return f"it admits the account {wanted} only, and ours is {account}"
    methods = parameters.get("validationmethods")
    if methods is not None and challenge.value not in {one.strip() for one in methods.split(",")}:
        return f"it admits the challenges {methods} only, not {challenge.value}"
    return None


def _property(record: CAA) -> Property:
    tag, value = record.tag.decode("ascii", "replace").lower(), record.value.decode("utf-8", "replace")
    return Property(record.flags, printable(tag), printable(value))
