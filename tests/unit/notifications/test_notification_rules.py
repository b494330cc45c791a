"""When deliveries are tried again, what letters say, and how messages are signed."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Verifier

from lifecycle import clock
from lifecycle.ledger.entry import Entry
from lifecycle.notifications import events, rules, standard_webhooks
from lifecycle.notifications.letters import letter
from lifecycle.notifications.mail import Mail, Post, Server, is_address
from lifecycle.notifications.model import Outcome, Verdict
from lifecycle.notifications.rules import Patience

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
PATIENCE = Patience(first=timedelta(seconds=5), span=timedelta(days=3), disable_after=timedelta(days=5))
MAIL = Mail(None, sender="Lifecycle <l@lifecycle.example>", api_url="https://l.example", timeout=timedelta(seconds=1))


def _failed(at: datetime, *, asked: float | None = None) -> Verdict:
    return Verdict(outcome=Outcome.FAILED, at=at, retry_after_seconds=asked)


@given(jitter=st.floats(0, 1))
def test_a_delivery_is_tried_for_days_ever_more_seldom_and_once_more_at_the_end(jitter: float) -> None:
    """Days of trouble cost a receiver no message and no flood of attempts."""
    at, times = NOW, [NOW]
    while (
        found := rules.next_attempt(_failed(at), PATIENCE, failures=len(times), since=NOW, jitter=jitter)
    ) is not None:
        at = found
        times.append(at)
    pauses = [later - former for former, later in itertools.pairwise(times)]

    assert times[-1] == NOW + PATIENCE.span
    assert 15 <= len(times) <= 25
    assert pauses[0] <= timedelta(seconds=6)
    assert max(pauses) <= timedelta(hours=7.2)
    assert pauses[:-1] == sorted(pauses[:-1])


def test_a_receiver_that_asks_to_be_left_alone_is_for_a_day_at_most() -> None:
    """Retry-After is kept, within reason."""
    soon = rules.next_attempt(_failed(NOW, asked=3600), PATIENCE, failures=1, since=NOW, jitter=0)
    late = rules.next_attempt(_failed(NOW, asked=1e6), PATIENCE, failures=1, since=NOW, jitter=0)

    assert soon == NOW + timedelta(hours=1)
    assert late == NOW + timedelta(days=1)


def test_what_is_refused_for_good_is_not_tried_again() -> None:
    """A mailbox that does not exist is asked once."""
    verdict = Verdict(outcome=Outcome.REFUSED, at=NOW)

    assert rules.next_attempt(verdict, PATIENCE, failures=1, since=NOW, jitter=0) is None


@given(
    first=st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(hours=6)),
    failures=st.integers(1, 10_000),
    jitter=st.floats(0, 1),
)
def test_a_pause_is_never_too_long_to_compute(first: timedelta, failures: int, jitter: float) -> None:
    """Whatever is set for the first pause, and however often it failed: the next attempt is within the day."""
    patience = PATIENCE._replace(first=first, span=timedelta(days=30))
    found = rules.next_attempt(_failed(NOW), patience, failures=failures, since=NOW, jitter=jitter)

    assert found is not None
    assert NOW <= found <= NOW + timedelta(hours=7.2)


@given(waits=st.integers(0, 10_000), backlog=st.integers(0, 50), jitter=st.floats(0, 1))
def test_who_waits_for_a_turn_comes_back_within_two_minutes(waits: int, backlog: int, jitter: float) -> None:
    """However often, while little waits."""
    busy = Verdict(outcome=Outcome.BUSY, at=NOW, seconds_each=1)
    found = rules.next_turn(busy, waits=waits, backlog=backlog, at_once=8, jitter=jitter)

    assert NOW < found <= NOW + timedelta(minutes=2)


def test_who_waits_behind_many_comes_back_when_they_may_be_through() -> None:
    """Two thousand that wait for a slow target do not ask every minute each; behind a quick one they wait seconds."""
    slow, quick = (Verdict(outcome=Outcome.BUSY, at=NOW, seconds_each=each) for each in (15, 0.02))
    waits = [rules.next_turn(one, waits=0, backlog=2000, at_once=8, jitter=0) - NOW for one in (slow, quick)]

    assert waits == [timedelta(minutes=5), timedelta(seconds=5)]


def test_a_target_that_just_failed_is_left_alone_for_a_while() -> None:
    """The longer it fails the longer, up to a minute; after the first failure, not at all."""
    assert rules.rest_until(failing_since=NOW, now=NOW) == NOW
    assert rules.rest_until(failing_since=NOW - timedelta(seconds=20), now=NOW) == NOW + timedelta(seconds=10)
    assert rules.rest_until(failing_since=NOW - timedelta(days=2), now=NOW) == NOW + timedelta(minutes=1)
    busy = Verdict(outcome=Outcome.BUSY, at=NOW, not_before=NOW + timedelta(seconds=30))
    assert rules.next_turn(busy, waits=0, backlog=1, at_once=8, jitter=0) > NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ("*", "deletion.reminded", True),
        ("deletion.*", "deletion.reminded", True),
        ("deletion.reminded", "deletion.reminded", True),
        ("deletion.scheduled", "deletion.reminded", False),
        ("alarm.*", "deletion.reminded", False),
    ],
)
def test_a_filter_lets_through_what_it_says(pattern: str, event: str, *, expected: bool) -> None:
    """All, a family, or one type."""
    assert events.is_pattern(pattern)
    assert events.matches((pattern,), event) is expected
    assert not events.matches((), event)


@pytest.mark.parametrize(
    "text", ["", "deletion", "deletion.", "keys.*", "deletion.**", "*.reminded", "deletion.x y", "deletion.remind"]
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    """A filter with a slip in it would let nothing through, unnoticed."""
    assert not events.is_pattern(text)


@given(body=st.text())
def test_the_library_of_standard_webhooks_verifies_every_message(body: str) -> None:
    """Whatever is in it, and with each of two secrets."""
    secrets = [standard_webhooks.new_secret(), standard_webhooks.new_secret()]
    payload = json.dumps({"type": "x", "data": {"text": body}}, ensure_ascii=False)
    headers = standard_webhooks.headers("dlv_1", payload.encode(), at=clock.now(), signed_by=secrets)

    for secret in secrets:
        assert Verifier(secret).verify(payload, dict(headers))["type"] == "x"


@settings(deadline=None)  # sixteen mails each time
@given(text=st.text(max_size=300))
def test_a_mail_can_be_written_whatever_people_type(text: str) -> None:
    """Names and reasons add no header, no part and no markup."""
    detail = {"reason": text, "domain": text, "kind": text, "url": text}
    for event in (*events.BY_DEFAULT, "deployment.ready"):
        entry = Entry(id="x.1", sequence=1, workspace="ws", action=event, at=NOW, detail=detail)
        message = _written(events.body(entry), project=text)
        html = message.get_body(("html",))

        assert message.keys().count("Subject") == 1
        assert html is not None
        assert html.get_content().count("<script") == 0
        assert len(list(message.walk())) == 3


def test_a_letter_names_what_it_is_about() -> None:
    """An alarm names its kind and its subject, and how to mend it."""
    detail = {"kind": "certificate_running_out", "subject": "www.example.com", "detail": "soon", "hint": "Look."}
    entry = Entry(id="x.1", sequence=1, workspace="ws", action="alarm.raised", at=NOW, detail=detail)
    found = letter(json.loads(events.body(entry)), project="")

    assert found.subject == "[Lifecycle] Alarm: certificate_running_out (www.example.com)"
    assert ("Hint", "Look.") in found.facts
    assert ("When", "2026-11-21 09:00:00 UTC") in found.facts
    assert not found.cancel_url


def test_a_reason_forges_no_line_of_a_mail() -> None:
    """What somebody typed over several lines stays in its place; no line of it looks like one of ours."""
    reason = "cleanup\nWho: root@example.com\n\nTo cancel, open this page and press its button:\nhttps://evil.example/"
    entry = Entry(id="x.1", sequence=1, workspace="ws", action="deletion.scheduled", at=NOW, detail={"reason": reason})
    plain = _written(events.body(entry), project="shop").get_body(("plain",))
    assert plain is not None
    lines = plain.get_content().splitlines()

    assert [one for one in lines if one.startswith("Who: ")] == ["Who: lifecycle"]
    assert not any(one.startswith(("To cancel", "http")) for one in lines)
    assert "    https://evil.example/" in lines


@pytest.mark.parametrize("sender", ["Lifecycle", "x@y, z@w", "L <l@x.y", "l@", "a b@c", "<@x.y>"])
def test_a_sender_that_mail_cannot_be_from_stops_the_start(sender: str) -> None:
    """And not the first mail."""
    with pytest.raises(ValueError, match="LIFECYCLE_MAIL_FROM"):
        Mail(None, sender=sender, api_url="", timeout=timedelta(seconds=1))


@pytest.mark.parametrize("text", ["ada@example.com", "a.b+c@mail.example.co.uk", "x@y.z"])
def test_a_mail_address_is_known(text: str) -> None:
    """As people have them."""
    assert is_address(text)


@pytest.mark.parametrize(
    "text", ["", "ada", "a@b", "a@b.c\nBcc: x@y.z", "a b@c.d", ".a@b.c", f"{'a' * 65}@b.c", "ä@b.c"]
)
def test_what_mail_cannot_be_sent_to_is_no_address(text: str) -> None:
    """And nothing that could add a header."""
    assert not is_address(text)


def test_the_url_of_a_mail_server_says_how_to_reach_it() -> None:
    """Ports follow from the scheme, and passwords may have any sign."""
    assert Server.parse("smtp://mail") == Server("mail", 25, tls=False, user="", password="")
    assert Server.parse("smtps://a:b%40c@mail") == Server("mail", 465, tls=True, user="a", password="b@c")  # noqa: S106
    with pytest.raises(ValueError, match="not of the form"):
        Server.parse("http://mail")


def _written(body: str, *, project: str) -> EmailMessage:
    return MAIL.written(Post("dlv_1", "ada@example.com", body, project, NOW))
