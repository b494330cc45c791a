"""Domains, as HTTP shows them."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import ConfigDict, Field, JsonValue

from lifecycle.api.shapes.base import Answer, Asked
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import Environment
from lifecycle.deploy.verification import rules
from lifecycle.deploy.verification.model import Condition, Purpose, Status
from lifecycle.deploy.verification.rules import Ways
from lifecycle.deploy.verification.store import Listed

_TOKEN = "8c1f0d2b7e6a4935b1c2d3e4f5a60718"  # noqa: S105  stands in public DNS
_EXAMPLE: Mapping[str, JsonValue] = {
    "domain": "www.example.com",
    "kind": "custom",
    "environment": "production",
    "deployment": None,
    "status": "pending",
    "reason": "Waiting for the record that leads visitors here, or the TXT record.",
    "records": [
        {
            "purpose": "ownership",
            "type": "TXT",
            "name": "_lifecycle-challenge.www.example.com",
            "value": _TOKEN,
            "required": False,
            "state": "missing",
            "found": "There is no such TXT record.",
        },
        {
            "purpose": "routing",
            "type": "CNAME",
            "name": "www.example.com",
            "value": "1f6b3a9c0d2e4f58.cname.lifecycle.example",
            "required": True,
            "state": "wrong",
            "found": "It leads to 198.51.100.7, which is not ours.",
        },
    ],
    "verified_at": None,
    "checked_at": "2026-11-21T09:00:00.100Z",
    "next_check_at": "2026-11-21T09:00:10.000Z",
}


class NewDomain(Asked):
    """A domain of one's own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"domain": "www.example.com"}]})

    domain: str = Field(min_length=1, max_length=300)
    environment: Environment = Environment.PRODUCTION


class RecordAnswer(Answer):
    """A DNS record to set, and how it was found."""

    purpose: Purpose = Field(description="`ownership` proves control; `routing` leads visitors here.")
    type: str = Field(description="ALIAS stands for ALIAS, ANAME or CNAME flattening, as DNS providers call it.")
    name: str
    value: str
    required: bool = Field(description="Whether the domain cannot be verified, or serve, without it.")
    state: Condition
    found: str = Field(description="What was found there, in words; empty before the first look.")


class DomainAnswer(Answer):
    """A host name of a project, and the deployment that serves it now."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict(_EXAMPLE)]})

    domain: str
    kind: Kind
    environment: Environment
    deployment: str | None = Field(description="None while nothing is live there, or the domain is not verified.")
    status: Status = Field(
        description="Only `verified` and `dangling` domains are served; the records of a `dangling` one lead "
        "elsewhere. Names that are given by themselves are always `verified`."
    )
    reason: str = Field(default="", description="Why it is not as it should be; empty when it is.")
    records: tuple[RecordAnswer, ...] = Field(
        default=(), description="What to set in DNS; empty for names that are given, and where nothing is verified."
    )
    verified_at: datetime | None = None
    checked_at: datetime | None = None
    next_check_at: datetime | None = Field(default=None, description="None when nobody looks until somebody asks.")


class DomainList(Answer):
    """The domains of a project."""

    items: tuple[DomainAnswer, ...]


def custom_answer(listed: Listed, deployment: str | None, ways: Ways | None) -> DomainAnswer:
    """A domain that somebody brought along; no `ways`: nothing is verified here."""
    claim = listed.claim
    return DomainAnswer(
        domain=claim.hostname,
        kind=Kind.CUSTOM,
        environment=claim.environment,
        deployment=deployment if claim.status.owns else None,
        status=claim.status,
        reason=claim.reason,
        records=() if ways is None else _records(listed, ways),
        verified_at=claim.verified_at,
        checked_at=claim.checked_at,
        next_check_at=claim.next_check_at,
    )


def _records(listed: Listed, ways: Ways) -> tuple[RecordAnswer, ...]:
    claim = listed.claim
    needs_text = listed.contested or rules.needs_text(claim.hostname)
    seen = {Purpose.OWNERSHIP: claim.sight.ownership, Purpose.ROUTING: claim.sight.routing}
    return tuple(
        RecordAnswer(
            **one._asdict(),
            required=one.purpose is Purpose.ROUTING or (needs_text and not claim.status.owns),
            state=seen[one.purpose].condition,
            found=seen[one.purpose].found,
        )
        for one in rules.records(claim.hostname, claim.token, ways)
    )
