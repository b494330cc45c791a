"""Certificates, as HTTP shows them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictBool, StringConstraints
from pydantic.config import JsonDict

from lifecycle.api.shapes.base import EXAMPLE_DUE, EXAMPLE_PROJECT, Answer, Asked
from lifecycle.certs.acme import Reason
from lifecycle.certs.model import Cause, Status
from lifecycle.certs.names import ChallengeType
from lifecycle.certs.renewals import Source

EXAMPLE_DOMAIN = "www.example.com"
_ISSUED, _EXPIRES = "2026-10-24T08:00:00.000Z", "2027-01-22T07:59:59.000Z"
_MOST_IN_BULK = 1000

TypedName = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
_Word = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[!-~]+$")]


class RevocationReason(StrEnum):
    """Why a certificate is revoked (RFC 5280, section 5.3.1)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key_compromise"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation_of_operation"

    @property
    def code(self) -> Reason:
        """The number that CAs know it by."""
        return Reason[self.name]


class NewCertificate(Asked):
    """What to certify, and how control of it is proved."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"challenge": "http-01", "names": ["example.com", EXAMPLE_DOMAIN], "project": "shop"},
                {"challenge": "dns-01", "names": ["*.example.com"], "by_person": True},
            ]
        }
    )

    challenge: ChallengeType = Field(description="Wildcards take dns-01; IP addresses http-01 or tls-alpn-01.")
    names: tuple[TypedName, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="All names of the certificate; the domain itself is always one of them.",
    )
    project: str | None = Field(
        default=None,
        max_length=63,
        description="Id or slug of the project that it belongs to and is deleted with; left out, the one that has a "
        "route of this name, or none.",
    )
    ca: _Word | None = Field(default=None, description="Name of a certificate authority; the first that works else.")
    profile: _Word | None = Field(default=None, description="Profile of the CA; the configured one else.")
    by_person: StrictBool = Field(default=False, description="For dns-01: somebody sets the TXT records by hand.")
    force: StrictBool = Field(default=False, description="Issue although our own budget is spent.")


class BulkRequest(NewCertificate):
    """One of many certificates that are asked for together."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"domain": EXAMPLE_DOMAIN, "challenge": "http-01", "project": "shop"}]}
    )

    domain: TypedName


class BulkIssue(Asked):
    """Many certificates; their first renewals are spread, so that they never all come due at once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requests": [{"domain": EXAMPLE_DOMAIN, "challenge": "http-01"}]}]}
    )

    requests: tuple[BulkRequest, ...] = Field(min_length=1, max_length=_MOST_IN_BULK)


class WindowCheck(Asked):
    """Which certificates to ask the CAs about."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"domains": [EXAMPLE_DOMAIN]}]})

    domains: tuple[TypedName, ...] | None = Field(
        default=None, min_length=1, max_length=_MOST_IN_BULK, description="Left out, all of the workspace."
    )
    cursor: str | None = Field(default=None, max_length=1000, description="`next_cursor` of the former answer.")


class Renewal(Asked):
    """How to renew."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"force": False}]})

    force: StrictBool = Field(default=False, description="Renew although our own budget is spent.")


class Revocation(Asked):
    """Why to revoke."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "key_compromise"}]})

    reason: RevocationReason = RevocationReason.UNSPECIFIED


class WantedRecord(Answer):
    """A DNS record that a person must set."""

    name: str
    type: Literal["TXT"] = "TXT"
    value: str


class RenewalReason(Answer):
    """Why the next renewal is planned for its moment."""

    source: Source
    detail: str = Field(description="The same in words.")
    explanation_url: str | None = Field(default=None, description="Where the CA explains the moment that it wants.")
    window_start: datetime | None = Field(default=None, description="The CA wants it renewed from then on.")
    window_end: datetime | None = Field(default=None, description="And before then.")


class VersionAnswer(Answer):
    """One certificate that was issued."""

    number: int
    ca: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    cause: Cause
    in_use: bool


_EXAMPLE_VERSION: JsonDict = {
    "number": 1,
    "ca": "letsencrypt",
    "issuer": "CN=E7,O=Let's Encrypt,C=US",
    "serial": "3e1f0c5a",
    "not_before": _ISSUED,
    "not_after": _EXPIRES,
    "issued_at": "2026-10-24T09:00:00.000Z",
    "cause": "requested",
    "in_use": True,
}
_EXAMPLE_CERTIFICATE: JsonDict = {
    "domain": EXAMPLE_DOMAIN,
    "names": [EXAMPLE_DOMAIN],
    "project": EXAMPLE_PROJECT,
    "status": "active",
    "challenge": "http-01",
    "by_person": False,
    "ca": "letsencrypt",
    "profile": None,
    "issuer": "CN=E7,O=Let's Encrypt,C=US",
    "serial": "3e1f0c5a",
    "not_before": _ISSUED,
    "not_after": _EXPIRES,
    "next_renewal_at": EXAMPLE_DUE,
    "next_attempt_at": None,
    "renewal_reason": {
        "source": "window",
        "detail": "the CA wants it renewed then",
        "explanation_url": None,
        "window_start": "2026-11-24T06:00:00.000Z",
        "window_end": "2026-11-26T06:00:00.000Z",
    },
    "generation": 2,
    "stage": None,
    "records": [],
    "last_error": "",
    "last_error_at": None,
    "unpause_link": None,
    "cancelled_at": None,
    "revoking": False,
    "revoked_at": None,
    "requested_by": "ada@example.com",
    "versions": [_EXAMPLE_VERSION],
}


class CertificateSummary(Answer):
    """What lists show of a domain with its certificate."""

    domain: str
    names: tuple[str, ...]
    project: str | None
    status: Status
    challenge: ChallengeType
    ca: str | None = Field(description="Who issued the one in use; before the first, who is wanted.")
    issuer: str | None
    serial: str | None = Field(description="In hexadecimal.")
    not_before: datetime | None
    not_after: datetime | None
    next_renewal_at: datetime | None = Field(description="When it is renewed next, or tried again.")
    last_error: str
    versions: tuple[VersionAnswer, ...] = Field(description="Newest first.")


class CertificateAnswer(CertificateSummary):
    """A domain with its certificate. Its generation is also its ETag."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_CERTIFICATE]})

    by_person: bool
    profile: str | None
    next_attempt_at: datetime | None = Field(
        description="When it is tried again after an error, or goes on after the CA wanted it to wait."
    )
    renewal_reason: RenewalReason | None
    generation: int
    stage: str | None = Field(description="How far the issuance is that is under way.")
    records: tuple[WantedRecord, ...] = Field(description="What a person must set for the issuance to go on.")
    last_error_at: datetime | None
    unpause_link: str | None = Field(description="Where a person must tell the CA to go on.")
    cancelled_at: datetime | None = Field(description="Since when nobody renews it, because somebody cancelled that.")
    revoking: bool = Field(description="Whether the CA is being asked to revoke it.")
    revoked_at: datetime | None
    requested_by: str


class CertificateList(Answer):
    """A page of certificates."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            name: value
                            for name, value in _EXAMPLE_CERTIFICATE.items()
                            if name in CertificateSummary.model_fields
                        }
                    ],
                    "next_cursor": None,
                }
            ]
        }
    )

    items: tuple[CertificateSummary, ...]
    next_cursor: str | None


class CertificateOutcome(Answer):
    """What became of one of many."""

    domain: str
    outcome: Literal["accepted", "refused", "unknown"]
    status: Status | None = None
    code: str | None = None
    detail: str | None = None
    hint: str | None = None


class CertificateOutcomes(Answer):
    """An outcome for each."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [{"domain": EXAMPLE_DOMAIN, "outcome": "accepted", "status": "issuing"}],
                    "next_cursor": None,
                }
            ]
        }
    )

    items: tuple[CertificateOutcome, ...]
    next_cursor: str | None = None


class FindingAnswer(Answer):
    """One thing that is in the way, and what to set."""

    reason: str
    why: str
    do: str


class NameVerdict(Answer):
    """Whether the CA would find what it must for one name."""

    name: str
    verdict: Literal["would_issue", "would_fail"]
    findings: tuple[FindingAnswer, ...]
    checks: tuple[str, ...] = Field(description="What was looked at and found good.")


class PreflightAnswer(Answer):
    """Whether the CA would issue; looked at from here, so the CA has the last word."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "domain": EXAMPLE_DOMAIN,
                    "ca": "letsencrypt",
                    "profile": None,
                    "challenge": "http-01",
                    "verdict": "would_fail",
                    "items": [
                        {
                            "name": EXAMPLE_DOMAIN,
                            "verdict": "would_fail",
                            "findings": [
                                {
                                    "reason": "no_address",
                                    "why": "www.example.com has no address in DNS.",
                                    "do": "Set an A record of www.example.com to the address of our gateway.",
                                }
                            ],
                            "checks": ["No CAA record of www.example.com or above it keeps any CA out."],
                        }
                    ],
                }
            ]
        }
    )

    domain: str
    ca: str
    profile: str | None
    challenge: ChallengeType
    verdict: Literal["would_issue", "would_fail"]
    items: tuple[NameVerdict, ...]
