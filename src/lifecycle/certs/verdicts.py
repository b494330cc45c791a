"""What a certificate authority answered, as values for the journal. Pure.

Each call of `lifecycle.certs.acme` gives one of these; none holds a secret. Names are those of RFC 8555 and RFC 9773.
The field `verdict` tells members of a union apart when they are read back.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime

from lifecycle.certs.names import Identifier
from lifecycle.models import Durable

_ERROR = "urn:ietf:params:acme:error:"


class Problem(Durable):
    """A problem document (RFC 9457) with what ACME adds (RFC 8555, section 6.7).

    Attributes:
        type: URI of the sort; a blank one says no more than the status.
        detail: for people.
        status: HTTP status; None when the CA gave none, as in most errors of challenges.
        instance: where to read on, or a link at which a person must act.
        subproblems: one for each identifier that is concerned.
    """

    type: str = "about:blank"
    detail: str = ""
    status: int | None = None
    instance: str | None = None
    identifier: Identifier | None = None
    subproblems: tuple["Problem", ...] = ()

    @property
    def kind(self) -> str:
        """The last part of an ACME type, such as `rateLimited`; any other type as it is."""
        return self.type.removeprefix(_ERROR)

    @property
    def summary(self) -> str:
        """One line for people: the kind, what the CA said of it, and of each name."""
        parts = [f"{self.kind}: {self.detail}" if self.detail else self.kind]
        for one in self.subproblems:
            about = f"{one.identifier.value}: " if one.identifier else ""
            parts.append(f"{about}{one.summary}")
        return "; ".join(parts)


class Refused(Durable):
    """The CA answered with a problem.

    Attributes:
        retry_at: not before then, when the CA says so.
    """

    verdict: Literal["refused"] = "refused"
    problem: Problem
    retry_at: AwareDatetime | None = None


class RateLimited(Durable):
    """A limit of the CA is used up (HTTP 429, or the type `rateLimited`).

    Attributes:
        until: when the CA lets us go on, None when it does not say.
    """

    verdict: Literal["rate_limited"] = "rate_limited"
    problem: Problem
    until: AwareDatetime | None = None


class Unanswered(Durable):
    """No usable answer came: not connected, cut off, too late, or no ACME.

    The request may have been carried out, so read the order or the authorization before sending it again.

    Attributes:
        reason: for people.
        retry_at: not before then, when a server in between says so.
        foreign: an answer came, and it is not one of ACME.
    """

    verdict: Literal["unanswered"] = "unanswered"
    reason: str
    retry_at: AwareDatetime | None = None
    foreign: bool = False


Failure = Refused | RateLimited | Unanswered


class Directory(Durable):
    """What a CA offers (RFC 8555, section 7.1.1).

    Attributes:
        renewal_info: where renewal information is (RFC 9773); None when the CA has none.
        profiles: name and description of each certificate profile; empty when it has none.
        caa_identities: the names that a CAA record must contain to admit this CA.
    """

    verdict: Literal["directory"] = "directory"
    new_nonce: str
    new_account: str
    new_order: str
    revoke_certificate: str
    key_change: str
    renewal_info: str | None = None
    terms_of_service: str | None = None
    external_account_required: bool = False
    caa_identities: tuple[str, ...] = ()
    profiles: Mapping[str, str] = {}


class Account(Durable):
    """An account at a CA.

    Attributes:
        url: its name in every later request.
        status: `valid`, `deactivated` or `revoked`.
        orders: where the list of its orders is, when the CA keeps one (RFC 8555, section 7.1.2.1).
    """

    verdict: Literal["account"] = "account"
    url: str
    status: str
    orders: str | None = None


class Orders(Durable):
    """URLs of an account's orders, those that are not over at least.

    Attributes:
        next: where the list goes on.
    """

    verdict: Literal["orders"] = "orders"
    urls: tuple[str, ...]
    next: str | None = None


class Order(Durable):
    """An order (RFC 8555, section 7.1.3). Everything can be resumed from its URL.

    Attributes:
        status: `pending`, `ready`, `processing`, `valid` or `invalid`.
        certificate: URL of the certificate, once it is valid.
        profile: the one that the CA chose, when it says so.
        replaces: id of the certificate that it replaces, when the CA repeats it.
        retry_at: when to look again, when the CA says so.
    """

    verdict: Literal["order"] = "order"
    url: str
    status: str
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str | None = None
    expires: AwareDatetime | None = None
    profile: str | None = None
    replaces: str | None = None
    problem: Problem | None = None
    retry_at: AwareDatetime | None = None


class Challenge(Durable):
    """One way to prove control of an identifier (RFC 8555, section 7.1.5).

    Attributes:
        type: such as `http-01`.
        status: `pending`, `processing`, `valid` or `invalid`.
        token: empty for types that have none.
        problem: why it failed.
    """

    type: str
    url: str
    status: str
    token: str = ""
    problem: Problem | None = None


class Authorization(Durable):
    """An authorization of one identifier (RFC 8555, section 7.1.4).

    Attributes:
        identifier: without `*.`, which `wildcard` says instead.
        status: `pending`, `valid`, `invalid`, `deactivated`, `expired` or `revoked`; only `valid` is good.
        retry_at: when to look again, when the CA says so.
    """

    verdict: Literal["authorization"] = "authorization"
    url: str
    identifier: Identifier
    status: str
    challenges: tuple[Challenge, ...]
    wildcard: bool = False
    expires: AwareDatetime | None = None
    retry_at: AwareDatetime | None = None

    def challenge(self, type: str) -> Challenge | None:  # noqa: A002  the word of the standard
        """The challenge of this type; None when the CA does not offer it."""
        return next((one for one in self.challenges if one.type == type), None)

    @property
    def problem(self) -> Problem | None:
        """Why it failed: the problem of the challenge that did."""
        return next((one.problem for one in self.challenges if one.problem is not None), None)


class Answered(Durable):
    """The CA knows that the challenge can be looked at."""

    verdict: Literal["answered"] = "answered"
    challenge: Challenge
    retry_at: AwareDatetime | None = None


class Chain(Durable):
    """A certificate as it was downloaded.

    Attributes:
        pem: the certificate, then its issuers.
        alternates: URLs of the same certificate with other issuers.
    """

    verdict: Literal["chain"] = "chain"
    pem: str
    alternates: tuple[str, ...] = ()


class Done(Durable):
    """The CA has done it, and has no more to say; also when it had been done before."""

    verdict: Literal["done"] = "done"


class RenewalInfo(Durable):
    """When the CA wants a certificate to be renewed (RFC 9773, section 4.2); may be a broken window.

    Attributes:
        explanation_url: a page for people about why.
        retry_at: when to ask again.
    """

    verdict: Literal["renewal_info"] = "renewal_info"
    certificate_id: str
    start: AwareDatetime
    end: AwareDatetime
    explanation_url: str | None = None
    retry_at: AwareDatetime | None = None
