"""Errors of authorities are explained."""

from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.certs.authorities.budget import PLANS, Bucket, Limit, Place, Queued, admit
from lifecycle.certs.endings import message
from lifecycle.certs.names import Identifier
from lifecycle.certs.verdicts import Problem, Refused, Unanswered
from lifecycle.console import troubles

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("kind", troubles.MEANINGS)
def test_what_a_ca_says_is_explained(kind: str) -> None:
    """Whatever stands behind the kind, and with nothing behind it."""
    for detail in ("", "<b>it</b> is so"):
        said = message(Refused(problem=Problem(type=f"urn:ietf:params:acme:error:{kind}", detail=detail)))

        assert troubles.meaning(said) == troubles.MEANINGS[kind]


def test_a_silent_ca_is_explained_and_the_rest_speaks_for_itself() -> None:
    """Our own sentences need no other ones, and unknown kinds get no wrong ones."""
    assert "did not answer" in (troubles.meaning(message(Unanswered(reason="timed out"))) or "")
    assert troubles.meaning("The certificate that came is not for these names.") is None
    assert troubles.meaning("The CA said somethingNew: well") is None


@pytest.mark.parametrize("blocked_until", [None, NOW + timedelta(hours=1)], ids=["used up", "the CA said so"])
def test_a_limit_that_holds_an_order_back_is_explained(blocked_until: datetime | None) -> None:
    """What waits for a rate limit says that it goes on by itself."""
    spent = {Place(Limit.NEW_ORDERS): Bucket(tokens=0, at=NOW, blocked_until=blocked_until)}
    names = [Identifier(type="dns", value="www.example.com")]
    queued = admit(spent, PLANS["letsencrypt"], names, renewal=False, ari=False, now=NOW)

    assert isinstance(queued, Queued)
    assert troubles.meaning(queued.why) == troubles.MEANINGS["rateLimited"]
