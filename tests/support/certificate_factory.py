"""Certificates as decisions see them, and the commands and messages about them, for unit tests."""

from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.certs import events, rules
from lifecycle.certs.decision import Decision
from lifecycle.certs.model import (
    Act,
    Certificate,
    Ending,
    IssueCertificate,
    Outcome,
    Settled,
    Version,
    Wish,
)
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.renewals import Life
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role

DOMAIN = "www.example.com"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LIFE = Life(not_before=NOW - HOUR, not_after=NOW - HOUR + 90 * DAY)


def actor(role: Role = Role.ADMINISTRATOR, workspace: str = "ws_1") -> Actor:
    """Somebody."""
    return Actor(workspace=workspace, key="key_1", person="ann@example.com", role=role)


def wish(*names: str) -> Wish:
    """A certificate for these names."""
    identifiers = tuple(Identifier(value=name) for name in names or (DOMAIN,))
    return Wish(identifiers=identifiers, challenge=ChallengeType.HTTP_01)


def version(number: int = 1, *, at: datetime = NOW, life: Life = LIFE) -> Version:
    """A version that was issued."""
    return Version(
        id=f"crt_{number}",
        number=number,
        ca="ca",
        serial=f"{number}",
        issuer="CN=CA",
        certificate_id=f"a.{number}",
        life=life,
        key_digest=f"{number}",
        issued_at=at,
    )


def act(who: Actor | None = None, *, now: datetime = NOW, generation: int | None = None, force: bool = False) -> Act:
    """Somebody asks for something."""
    return Act(actor=who or actor(), now=now, generation=generation, force=force)


def ask(
    who: Actor | None = None,
    *names: str,
    now: datetime = NOW,
    force: bool = False,
    spread: tuple[int, int] | None = None,
) -> IssueCertificate:
    """Somebody asks for a certificate."""
    return IssueCertificate(actor=who or actor(), now=now, wish=wish(*names), force=force, spread=spread)


def begun() -> Certificate:
    """One whose first issuance is at work."""
    return rules.issue(DOMAIN, Certificate(), ask(), fresh="iss_1").certificate


def ended(certificate: Certificate, ending: Ending, *, now: datetime = NOW, **more: object) -> Decision:
    """Its issuance ends."""
    running = certificate.running
    assert running is not None
    outcome = Outcome.model_validate({"ending": ending, "ca": "ca", "message": "why", **more})
    settled = Settled(issuance=running.issuance, run=running.run, workspace="ws_1", outcome=outcome)
    return events.settle(DOMAIN, certificate, settled, now=now, random=0.5)


def issued(*, issued_at: tuple[datetime, ...] = (NOW,), life: Life = LIFE) -> Certificate:
    """One that is in use."""
    certificate = ended(begun(), Ending.ISSUED, version=version(life=life)).certificate
    return certificate.model_copy(update={"issued": issued_at})


def refusal(code: Code) -> pytest.RaisesExc[LifecycleError]:
    """A refusal with this code."""
    return pytest.RaisesExc(LifecycleError, check=lambda error: error.code is code)
