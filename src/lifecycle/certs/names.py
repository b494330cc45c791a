"""Which names may be in a certificate. Pure: what is typed goes in, identifiers or a refusal come out.

What a public CA would refuse (CA/Browser Forum Baseline Requirements, section 3.2.2) is refused here, before it costs
a request and a place in a rate limit. The list of public suffixes is part of an installed package; none is fetched.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Literal

import idna
from publicsuffixlist import PublicSuffixList

from lifecycle import hosts
from lifecycle.errors import Code, LifecycleError, shown
from lifecycle.models import Durable

# RFC 1035, section 2.3.4: 255 octets on the wire, which are 253 characters.
_NAME_LENGTH, _LABEL_LENGTH = 253, 63
_VALIDATION_LABEL = "_acme-challenge."  # RFC 8555, section 8.4: the TXT record's name has it in front
_WILDCARD = "*."
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class ChallengeType(StrEnum):
    """The ways to prove control that we can take (RFC 8555, section 8; RFC 8737)."""

    HTTP_01 = "http-01"
    DNS_01 = "dns-01"
    TLS_ALPN_01 = "tls-alpn-01"


class Identifier(Durable):
    """What a certificate is for (RFC 8555, section 9.7.7; RFC 8738).

    Attributes:
        value: a host name in lower case and ASCII, perhaps with `*.` in front, or an IP address in its short form.
    """

    type: Literal["dns", "ip"] = "dns"
    value: str

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all names one level below."""
        return self.value.startswith(_WILDCARD)


class Offer(Durable):
    """What a CA gives under one profile.

    Attributes:
        most_names: in one certificate.
        addresses: whether IP addresses may be in it.
        internal: whether names and addresses may be in it that only a private network knows, as a private CA allows.
    """

    most_names: int = 100
    addresses: bool = False
    internal: bool = False


# https://letsencrypt.org/docs/profiles/, as of 2026-08-21.
LETS_ENCRYPT: Mapping[str, Offer] = MappingProxyType(
    {
        "classic": Offer(most_names=100),
        "tlsserver": Offer(most_names=25),
        "shortlived": Offer(most_names=25, addresses=True),
    }
)


def identifiers(names: Sequence[str], *, offer: Offer, challenge: ChallengeType) -> tuple[Identifier, ...]:
    """The identifiers to order for these names: in order, each once.

    Args:
        names: as somebody typed them; host names in any script, wildcards, IP addresses.
        offer: what the CA gives.
        challenge: how control is to be proved.

    Raises:
        LifecycleError: CERTIFICATE_NAMES_MISSING, CERTIFICATE_TOO_MANY_NAMES, or one of a single name:
            CERTIFICATE_NAME_INVALID, …_TOO_LONG, …_PUBLIC_SUFFIX, …_NOT_PUBLIC, CERTIFICATE_ADDRESS_NOT_OFFERED,
            CERTIFICATE_CHALLENGE_UNFIT.
    """
    if not names:
        raise LifecycleError(Code.CERTIFICATE_NAMES_MISSING, field="names")
    found = {_identifier(name.strip(), offer=offer, challenge=challenge) for name in names}
    if len(found) > offer.most_names:
        raise LifecycleError(
            Code.CERTIFICATE_TOO_MANY_NAMES, count=str(len(found)), limit=str(offer.most_names), field="names"
        )
    _refuse_covered({one.value for one in found})
    return tuple(sorted(found, key=lambda one: (one.type, one.value)))


def profile(name: str | None, offered: Mapping[str, str]) -> str | None:
    """The profile to send with an order: `name`, when the CA offers it.

    Args:
        name: None leaves the choice to the CA.
        offered: name and description of each, as the directory has them.

    Raises:
        LifecycleError: CERTIFICATE_PROFILE_UNKNOWN.
    """
    if name is not None and name not in offered:
        raise LifecycleError(
            Code.CERTIFICATE_PROFILE_UNKNOWN,
            profile=shown(name),
            offered=f"Choose from: {', '.join(sorted(offered))}." if offered else "It offers none to choose from.",
            field="profile",
        )
    return name


def registered_domain(identifier: Identifier) -> str:
    """What rate limits of a domain count under: the public suffix and one label more; an IP address is its own."""
    if identifier.type == "ip":
        return identifier.value
    bare = identifier.value.removeprefix(_WILDCARD)
    return _all_suffixes().privatesuffix(bare) or bare


def _refuse_covered(values: set[str]) -> None:
    # Boulder calls the whole order malformed when one name is covered by a wildcard beside it.
    for value in sorted(values):
        wildcard = f"{_WILDCARD}{value.partition('.')[2]}"
        if not value.startswith(_WILDCARD) and wildcard in values:
            raise _invalid(value, f"{wildcard} in the same certificate covers it")


def _identifier(typed: str, *, offer: Offer, challenge: ChallengeType) -> Identifier:
    address = _address(typed)
    if address is not None:
        return _for_address(address, offer=offer, challenge=challenge)
    if problem := _mistake(typed):
        raise _invalid(typed, problem)
    is_wildcard = typed.startswith(_WILDCARD)
    bare = typed.removeprefix(_WILDCARD)
    domain = _encoded(bare, typed)
    _check_length(domain, typed, is_wildcard=is_wildcard, challenge=challenge)
    _check_public(domain, typed, offer=offer)
    if is_wildcard and challenge is not ChallengeType.DNS_01:
        raise _unfit(typed, challenge)
    return Identifier(value=f"{_WILDCARD}{domain}" if is_wildcard else domain)


def _for_address(address: IPv4Address | IPv6Address, *, offer: Offer, challenge: ChallengeType) -> Identifier:
    if not offer.addresses:
        raise LifecycleError(Code.CERTIFICATE_ADDRESS_NOT_OFFERED, name=str(address), field="names")
    if not address.is_global and not offer.internal:
        raise LifecycleError(Code.CERTIFICATE_NAME_NOT_PUBLIC, name=str(address), field="names")
    if challenge is ChallengeType.DNS_01:  # RFC 8738, section 7
        raise _unfit(str(address), challenge)
    return Identifier(type="ip", value=str(address))


def _encoded(bare: str, typed: str) -> str:
    """The name in lower case and ASCII, without a dot at the end."""
    try:
        domain = idna.encode(bare, uts46=True, std3_rules=True).decode("ascii").removesuffix(".")
    except UnicodeError as error:
        # idna says it of any length, and a name of plain letters deserves the plainer refusal.
        if any(len(label) > _LABEL_LENGTH for label in bare.split(".")) or len(bare) > _NAME_LENGTH:
            raise _too_long(typed, f"a label has at most {_LABEL_LENGTH} characters, a name {_NAME_LENGTH}") from error
        problem = str(error)
        raise _invalid(typed, problem[:1].lower() + problem[1:]) from error
    if _NUMBER.fullmatch(domain.rpartition(".")[2]):
        raise _invalid(typed, "its last part is a number, as in an IP address")
    return domain


def _check_length(domain: str, typed: str, *, is_wildcard: bool, challenge: ChallengeType) -> None:
    if len(domain) + (len(_WILDCARD) if is_wildcard else 0) > _NAME_LENGTH:
        raise _too_long(typed, f"a name has at most {_NAME_LENGTH} characters")
    if challenge is ChallengeType.DNS_01 and len(_VALIDATION_LABEL) + len(domain) > _NAME_LENGTH:
        raise _too_long(typed, f"its TXT record would have a name of more than {_NAME_LENGTH} characters")


def _check_public(domain: str, typed: str, *, offer: Offer) -> None:
    suffix = _icann_suffixes().publicsuffix(domain)
    if suffix == domain:
        raise LifecycleError(Code.CERTIFICATE_NAME_PUBLIC_SUFFIX, name=shown(typed), field="names")
    if suffix is None and not offer.internal:
        raise LifecycleError(Code.CERTIFICATE_NAME_NOT_PUBLIC, name=shown(typed), field="names")


@cache
def _icann_suffixes() -> PublicSuffixList:
    # As Boulder: below a suffix of the private section, such as github.io, a CA certifies whoever controls the name.
    return PublicSuffixList(only_icann=True, accept_unknown=False)


@cache
def _all_suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def _address(typed: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(typed.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    # A zone (fe80::1%eth0) means something on one machine only, and no certificate can hold it.
    return None if isinstance(address, IPv6Address) and address.scope_id else address


def _mistake(typed: str) -> str | None:
    """What is wrong with it that deserves better words than IDNA has."""
    if not typed:
        return "it is empty"
    if "*" in typed.removeprefix(_WILDCARD):
        return "an asterisk may only stand for the whole first label, as in *.example.com"
    if any(sign in typed for sign in "/:@?#%"):
        return hosts.too_much(typed)
    return None


def _invalid(typed: str, problem: str) -> LifecycleError:
    return LifecycleError(Code.CERTIFICATE_NAME_INVALID, name=shown(typed), problem=shown(problem), field="names")


def _too_long(typed: str, problem: str) -> LifecycleError:
    return LifecycleError(Code.CERTIFICATE_NAME_TOO_LONG, name=shown(typed), problem=problem, field="names")


def _unfit(name: str, challenge: ChallengeType) -> LifecycleError:
    return LifecycleError(
        Code.CERTIFICATE_CHALLENGE_UNFIT, name=shown(name), challenge=challenge.value, field="challenge"
    )
