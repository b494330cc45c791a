"""The circuit breaker of a CA, by example and for any course of events."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.certs.authorities import breaker
from lifecycle.certs.authorities.breaker import Breaker, Closed, Gate, Picked
from lifecycle.certs.problems import Meaning
from tests.support.factories import DAY, HOUR, NOW

MINUTE = timedelta(minutes=1)
ORDER = ("first", "second", "third")

failures = st.sampled_from([Meaning.TRANSIENT, Meaning.ACCOUNT])
answers = st.sampled_from([None, *Meaning])
pauses = st.timedeltas(timedelta(0), 2 * HOUR)


def failed(times: int, *, now: datetime = NOW) -> Breaker:
    """After this many failures in a row, each as soon as the CA was asked again."""
    found = Breaker()
    for _ in range(times):
        now = found.opens_at if found.open_until else now
        found = found.after(Meaning.TRANSIENT, now=now, error="gone")
    return found


@pytest.mark.parametrize(("times", "pause"), [(3, 1), (4, 5), (5, 30), (6, 60), (7, 60), (20, 60)])
def test_each_further_failure_keeps_requests_away_for_longer(times: int, pause: int) -> None:
    """Two failures are nothing; then it is a minute, five, half an hour, and an hour at most."""
    before = failed(times - 1)
    moment = before.opens_at if before.open_until else NOW

    assert failed(2).gate(NOW) is Gate.CLOSED
    assert failed(times).open_until == moment + pause * MINUTE


def test_trouble_with_the_account_keeps_requests_away_at_once() -> None:
    """What a person must mend is not tried again and again."""
    found = Breaker().after(Meaning.ACCOUNT, now=NOW, error="no such account")

    assert found.open_until == NOW + HOUR
    assert found.last_error == "no such account"


@given(st.lists(st.tuples(answers, pauses), max_size=30))
def test_a_ca_that_works_is_asked(course: list[tuple[Meaning | None, timedelta]]) -> None:
    """Whatever happened, one success closes it, and no failure keeps requests away for more than an hour."""
    found, now = Breaker(), NOW
    for meaning, pause in course:
        now += pause
        found = found.after(meaning, now=now, error="x")
        assert found.open_until is None or found.open_until <= now + HOUR

    assert found.after(None, now=now) == Breaker()
    assert found.open_until is None or found.gate(found.opens_at) is Gate.HALF_OPEN


@given(st.lists(st.just(Meaning.TRANSIENT), min_size=1, max_size=10), st.integers(3, 10))
def test_what_began_before_says_nothing_new(late: list[Meaning], times: int) -> None:
    """Requests that were under way when it opened do not make the pause longer."""
    found = failed(times)
    before = found
    for meaning in late:
        found = found.after(meaning, now=found.opens_at - MINUTE / 2, error="late")

    assert found == before


def test_a_half_open_one_lets_one_through_at_a_time() -> None:
    """While somebody finds out whether it works again, nobody else waits for the same."""
    found = failed(3)
    later = found.opens_at
    probing = found.probed(later)

    assert found.gate(later) is Gate.HALF_OPEN
    assert probing.gate(later + MINUTE / 2) is Gate.OPEN
    assert probing.gate(later + MINUTE) is Gate.HALF_OPEN
    assert probing.after(Meaning.TRANSIENT, now=later + MINUTE / 2).open_until == later + MINUTE / 2 + 5 * MINUTE
    assert probing.after(Meaning.VALIDATION, now=later + MINUTE / 2) == Breaker()
    assert probing.after(Meaning.WAIT, now=later + MINUTE / 2) == probing


@pytest.mark.parametrize(
    ("preferred", "broken", "remaining", "expected"),
    [
        (None, (), None, Picked("first")),
        (None, ("first",), 80 * DAY, Picked("second")),
        ("second", (), 80 * DAY, Picked("second")),
        ("second", ("second",), None, Picked("first", instead_of="second")),
        ("second", ("second",), 17 * DAY, Picked("first", instead_of="second")),
        ("second", ("second",), -DAY, Picked("first", instead_of="second")),
        ("second", ("second", "first"), 17 * DAY, Picked("third", instead_of="second")),
        ("second", ("second",), 18 * DAY, Closed(NOW + MINUTE, "second: gone")),
        (None, ORDER, None, Closed(NOW + MINUTE, "first: gone; second: gone; third: gone")),
    ],
)
def test_another_ca_is_taken_when_the_wanted_one_does_not_work(
    preferred: str | None, broken: tuple[str, ...], remaining: timedelta | None, expected: Picked | Closed
) -> None:
    """It is waited for while there is time; without a certificate, or near the end of one, the next is asked."""
    breakers = dict.fromkeys(broken, failed(3))

    assert breaker.pick(ORDER, breakers, preferred, now=NOW, remaining=remaining) == expected


@given(
    st.dictionaries(st.sampled_from(ORDER), st.integers(0, 8).map(failed)),
    st.none() | st.sampled_from(ORDER),
    pauses,
    st.none() | st.timedeltas(-DAY, 90 * DAY),
)
def test_no_ca_is_asked_that_is_kept_from_requests(
    breakers: dict[str, Breaker], preferred: str | None, pause: timedelta, remaining: timedelta | None
) -> None:
    """Whatever is remembered: the one that is taken may be asked, or it is said when one may be."""
    picked = breaker.pick(ORDER, breakers, preferred, now=NOW + pause, remaining=remaining)

    if isinstance(picked, Picked):
        assert breakers.get(picked.ca, Breaker()).gate(NOW + pause) is not Gate.OPEN
        return
    assert picked.until > NOW + pause
    again = breaker.pick(ORDER, breakers, preferred, now=picked.until, remaining=remaining)
    assert isinstance(again, Picked)
