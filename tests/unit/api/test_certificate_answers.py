"""What people are told comes next for a certificate: when, what it is, and why then."""

from datetime import timedelta

import pytest

from lifecycle.api.certificate_answers import upcoming
from lifecycle.certs import entries
from lifecycle.certs.decision import Decision
from lifecycle.certs.model import Certificate, Ending
from lifecycle.certs.renewals import Life, Source
from tests.support.certificate_factory import DAY, DOMAIN, HOUR, LIFE, NOW, begun, ended, issued


def test_an_order_that_is_put_off_says_when_it_goes_on() -> None:
    """Also where the CA gave no reason: the next attempt is shown, and it is no renewal."""
    waiting = ended(begun(), Ending.WAIT, until=NOW + HOUR, message="").certificate

    assert upcoming(waiting)["next_attempt_at"] == NOW + HOUR
    assert upcoming(waiting)["renewal_reason"] is None


def test_what_is_at_work_waits_for_no_attempt() -> None:
    """While an issuance is at work, nothing else is announced; nor for one that is simply in use."""
    assert upcoming(begun())["next_attempt_at"] is None
    assert upcoming(issued())["next_attempt_at"] is None


@pytest.mark.parametrize(
    ("life", "said"),
    [
        (LIFE, "the CA names no window, so at two thirds of its life"),
        (Life(not_before=NOW, not_after=NOW + 6 * DAY), "the CA names no window, so at half of its life"),
    ],
)
def test_the_share_of_a_life_is_told_as_it_is(life: Life, said: str) -> None:
    """Without a window of the CA, people read which share of the life is meant, which is smaller for short ones."""
    reason = upcoming(issued(life=life))["renewal_reason"]

    assert (reason.source, reason.detail) == (Source.FALLBACK, said)


@pytest.mark.parametrize("source", Source)
def test_every_reason_has_words(source: Source) -> None:
    """Nobody has to guess what `floor` means."""
    certificate = issued().model_copy(update={"source": source})

    assert upcoming(certificate)["renewal_reason"].detail


def test_the_list_of_actions_tells_a_first_certificate_from_a_renewal() -> None:
    """What was never issued is not renewed; its entry says so, also when it is tried again."""
    first = ended(begun(), Ending.AGAIN)
    renewing = begun().model_copy(update={"version": issued().version})

    assert _reason(Certificate(), first).startswith("First certificate, tried again: why")
    assert _reason(begun(), ended(renewing, Ending.AGAIN)) == "Tried again: why"


def _reason(before: Certificate, decision: Decision) -> str:
    *_, last = entries.entries(DOMAIN, before, decision.certificate, decision.transitions)
    assert last.pending_action is not None
    return last.pending_action.reason


def test_a_life_is_short_below_ten_days() -> None:
    """The limit is that of Let's Encrypt."""
    assert Life(not_before=NOW, not_after=NOW + timedelta(days=10, seconds=-1)).is_short
    assert not Life(not_before=NOW, not_after=NOW + timedelta(days=10)).is_short
