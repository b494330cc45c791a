"""What a problem of a CA means, and when to try again, by example and in any order."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.certs import problems
from lifecycle.certs.problems import About, Meaning
from lifecycle.certs.verdicts import Failure, Problem, RateLimited, Refused, Unanswered
from tests.support.factories import DAY, HOUR, NOW

PAUSED = "Your account is temporarily prevented … Please visit: https://portal.letsencrypt.org/sfe/v1/unpause?jwt=ey.x."


def refused(kind: str, status: int | None = 403, **changes: object) -> Refused:
    """A refusal of this kind."""
    problem = Problem(type=f"urn:ietf:params:acme:error:{kind}", status=status)
    return Refused(problem=problem.model_copy(update=changes))


@pytest.mark.parametrize(
    ("failure", "about", "expected"),
    [
        (refused("badNonce"), About.REQUEST, Meaning.GO_ON),
        (refused("orderNotReady"), About.ORDER, Meaning.GO_ON),
        (RateLimited(problem=Problem(status=429)), About.REQUEST, Meaning.WAIT),
        (Refused(problem=Problem(status=503), retry_at=NOW), About.ORDER, Meaning.WAIT),
        (Unanswered(reason="bodyless 503", retry_at=NOW), About.ORDER, Meaning.WAIT),
        (Unanswered(reason="connection reset"), About.REQUEST, Meaning.TRANSIENT),
        (refused("serverInternal", 500), About.REQUEST, Meaning.TRANSIENT),
        (Refused(problem=Problem(status=502)), About.REQUEST, Meaning.TRANSIENT),
        (refused("somethingNew", 500), About.REQUEST, Meaning.TRANSIENT),
        *[
            (refused(kind, 400), About.CHALLENGE, Meaning.VALIDATION)
            for kind in ("unauthorized", "connection", "dns", "dnssec", "tls", "caa", "incorrectResponse")
        ],
        (refused("caa"), About.ORDER, Meaning.VALIDATION),
        (refused("malformed", 404), About.ORDER, Meaning.VALIDATION),
        *[
            (refused(kind, 400), About.REQUEST, Meaning.TERMINAL)
            for kind in (
                "rejectedIdentifier",
                "badCSR",
                "badPublicKey",
                "unsupportedIdentifier",
                "invalidProfile",
                "externalAccountRequired",
                "unsupportedContact",
                "malformed",
                "somethingNew",
            )
        ],
        (refused("accountDoesNotExist", 400), About.REQUEST, Meaning.ACCOUNT),
        (refused("userActionRequired"), About.REQUEST, Meaning.ACCOUNT),
        (refused("unauthorized"), About.REQUEST, Meaning.ACCOUNT),
        (RateLimited(problem=Problem(status=429, detail=PAUSED)), About.REQUEST, Meaning.PAUSED),
    ],
)
def test_each_class_has_its_act(failure: Failure, about: About, expected: Meaning) -> None:
    """The type decides what is done, and who is told."""
    assert problems.meaning(failure, about=about) is expected


@pytest.mark.parametrize("kind", ["alreadyReplaced", "malformed", "unauthorized"])
def test_an_order_that_replaces_is_repeated_without(kind: str) -> None:
    """A CA that does not take the replacement never blocks the renewal."""
    failure = refused(kind, 409)

    assert problems.meaning(failure, about=About.REQUEST, replaces=True) is Meaning.WITHOUT_REPLACES
    assert problems.meaning(failure, about=About.REQUEST) is not Meaning.WITHOUT_REPLACES


def test_a_server_that_fails_is_tried_again_with_the_same_order() -> None:
    """A fault of the CA passes; the order that says what it replaces is worth waiting for, since no limit counts it."""
    fault = refused("serverInternal", 500, detail="Error creating new order")
    # As Pebble 2.10 says it.
    unfound = refused("serverInternal", 500, detail="could not find an order for the given certificate: 1a")

    assert problems.meaning(fault, about=About.REQUEST, replaces=True) is Meaning.TRANSIENT
    assert problems.meaning(unfound, about=About.REQUEST, replaces=True) is Meaning.WITHOUT_REPLACES
    assert problems.meaning(unfound, about=About.REQUEST) is Meaning.TRANSIENT


def test_of_several_problems_the_worst_decides() -> None:
    """One name that can never be certified stops the order, although another only failed its check."""
    failure = refused("compound", subproblems=(refused("dns").problem, refused("rejectedIdentifier").problem))

    assert problems.meaning(failure, about=About.CHALLENGE) is Meaning.TERMINAL


def test_the_link_out_of_a_pause_is_shown() -> None:
    """Whoever has to click it gets the whole link, without the full stop behind it."""
    expected = "https://portal.letsencrypt.org/sfe/v1/unpause?jwt=ey.x"

    assert problems.unpause_link(Problem(detail=PAUSED)) == expected
    assert problems.unpause_link(Problem(detail="too many certificates")) is None


@given(st.integers(0, 10**11))
def test_seconds_to_wait_are_kept(seconds: int) -> None:
    """A CA is never asked before the time that it gave; only a figure that cannot be meant is cut."""
    assert problems.retry_after(str(seconds), now=NOW) == NOW + min(timedelta(seconds=seconds), 366 * DAY)


@given(
    st.datetimes(datetime(2026, 11, 22), datetime(2027, 11, 1)),  # noqa: DTZ001  the zone follows
    st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"]),
)
def test_a_date_to_wait_for_means_its_own_zone(moment: datetime, zone: str) -> None:
    """Dates with any offset are understood, wherever the service runs."""
    at = moment.replace(microsecond=0, tzinfo=ZoneInfo(zone))

    assert problems.retry_after(format_datetime(at), now=NOW) == at.astimezone(UTC)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (" 120 ", NOW + timedelta(minutes=2)),
        ("Sat, 21 Nov 2026 10:00:00 GMT", NOW + HOUR),
        ("Sat, 21 Nov 2026 12:00:00 +0200", NOW + HOUR),
        ("Sat, 21 Nov 2026 10:00:00", NOW + HOUR),
        ("Sun, 06 Nov 1994 08:49:37 GMT", NOW),
        ("999999999999", NOW + 366 * DAY),
        *[(text, None) for text in (None, "", "-5", "1.5", "soon", "Sat, 99 Nov 2026 10:00:00 GMT", "9" * 4000)],
    ],
)
def test_both_forms_of_retry_after(header: str | None, expected: datetime | None) -> None:
    """Seconds and dates are read; what is neither counts as nothing said."""
    assert problems.retry_after(header, now=NOW) == expected


@given(st.text(max_size=40))
def test_any_retry_after_is_borne(header: str) -> None:
    """Nothing that a server can write there breaks a renewal or sends it into the past."""
    answer = problems.retry_after(header, now=NOW)

    assert answer is None or answer >= NOW


def test_a_time_in_the_words_of_a_rate_limit_is_found() -> None:
    """Let's Encrypt writes the time into the text, and it is kept when the header is lost."""

    def stated(detail: str) -> datetime | None:
        return problems.stated_retry(Problem(detail=detail), now=NOW)

    assert stated("too many new orders, retry after 2026-11-21 11:30:00 UTC: see https://…") == NOW + 2.5 * HOUR
    assert stated("retry after 2026-99-99 11:30:00 UTC") is None
    assert stated("slow down") is None


@given(st.integers(-1, 100), st.floats(0, 1), st.timedeltas(timedelta(seconds=1), 400 * DAY), st.floats(-1, 1))
def test_pauses_leave_twelve_attempts_in_the_life_that_is_left(
    attempt: int, random: float, lifetime: timedelta, share: float
) -> None:
    """The nearer the end, the shorter the pauses; never none, never more than a day."""
    remaining = lifetime * share
    pause = problems.backoff(attempt, random=random, lifetime=lifetime, remaining=remaining)

    assert timedelta(0) < pause <= DAY
    assert pause <= max(remaining / 12, lifetime / 60)
    assert pause <= problems.backoff(attempt + 1, random=random, lifetime=lifetime, remaining=remaining)


def test_pauses_grow_to_a_day() -> None:
    """1, 10, 100 minutes, then daily, as Let's Encrypt asks; a little less for each, so that no fleet moves as one."""
    pauses = [problems.backoff(attempt, random=0, lifetime=None, remaining=None) for attempt in (1, 2, 3, 4, 50)]

    assert pauses == [timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100), DAY, DAY]
    assert problems.backoff(1, random=1, lifetime=None, remaining=None) == timedelta(seconds=54)


@given(st.integers(1, 30), st.timedeltas(timedelta(0), timedelta(minutes=30)))
def test_no_name_is_validated_more_than_three_times_an_hour(tries: int, late: timedelta) -> None:
    """However long a wrong DNS record stays, the CA's own limit of five is never reached."""
    failures: list[datetime] = []
    for _ in range(tries):
        now = failures[-1] + late if failures else NOW
        failures.append(problems.next_validation(failures, now=now))

    assert all(sum(one <= other < one + HOUR for other in failures) <= 3 for one in failures)
    assert failures == sorted(failures)


def test_a_first_validation_need_not_wait() -> None:
    """Nothing failed, nothing waits; after one failure it is twelve minutes."""
    assert problems.next_validation([], now=NOW) == NOW
    assert problems.next_validation([NOW], now=NOW) == NOW + timedelta(minutes=12)
