"""When a certificate is renewed, by example and for any dates."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.certs import renewals
from lifecycle.certs.renewals import Choice, Life, Source
from lifecycle.certs.verdicts import RenewalInfo
from tests.support.factories import DAY, HOUR, NOW

NINETY_DAYS = Life(not_before=NOW, not_after=NOW + 90 * DAY)
SHORTLIVED = Life(not_before=NOW, not_after=NOW + 160 * HOUR)
NO_TIME = timedelta(0)

chances = st.floats(0, 1)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)).map(lambda one: one.replace(tzinfo=NOW.tzinfo))  # noqa: DTZ001  the zone follows
lives = st.builds(
    lambda start, length: Life(not_before=start, not_after=start + length),
    moments,
    st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
)


def window(start: datetime, end: datetime, certificate_id: str = "a.1", url: str | None = None) -> RenewalInfo:
    """What the CA says."""
    return RenewalInfo(certificate_id=certificate_id, start=start, end=end, explanation_url=url)


def chosen(info: RenewalInfo | None, former: Choice | None = None, random: float = 0.5) -> Choice | None:
    """The choice for the certificate `a.1`, whose CA has just answered."""
    return renewals.choose(info, former, certificate_id="a.1", random=random, silent_for=NO_TIME)


@given(lives, moments, st.timedeltas(timedelta(seconds=1), 40 * DAY), chances, chances)
def test_the_moment_is_inside_the_window_and_never_rolled_again(
    life: Life, start: datetime, width: timedelta, first: float, second: float
) -> None:
    """However often the window is read, the renewal stays where it was put, and before the floor."""
    info = window(start, start + width)
    choice = chosen(info, random=first)

    assert choice is not None
    assert info.start <= choice.at <= info.end
    assert chosen(info, choice, random=second) == choice
    assert renewals.plan(life, choice, random=second).at == min(choice.at, life.floor)


@given(moments, st.timedeltas(timedelta(0), 40 * DAY), chances)
def test_a_broken_window_is_none(start: datetime, back: timedelta, random: float) -> None:
    """A window that ends before it begins, or with it, never moves a renewal."""
    assert chosen(window(start, start - back), random=random) is None


def test_a_window_of_another_certificate_is_none() -> None:
    """An old window never renews the new certificate again at once, so nothing runs away."""
    stale = window(NOW - DAY, NOW - HOUR, certificate_id="a.0")
    former = Choice(certificate_id="a.0", start=stale.start, end=stale.end, at=NOW - DAY)

    assert chosen(stale) is None
    assert chosen(None, former) is None


@pytest.mark.parametrize("width", [timedelta(seconds=2), HOUR, 43 * HOUR])
def test_the_order_reaches_the_ca_inside_the_window(width: timedelta) -> None:
    """The moment is spread over the window, and never so late that a short delay would miss it."""
    latest = renewals.choose(window(NOW, NOW + width), None, certificate_id="a.1", random=1, silent_for=timedelta(0))
    assert latest is not None
    assert width * 0.9 <= latest.at - NOW <= width - min(timedelta(minutes=1), width / 10)


def test_a_moved_window_gets_a_new_moment() -> None:
    """When the CA wants it sooner, for a revocation, it is renewed sooner; people can read why."""
    choice = chosen(window(NOW + DAY, NOW + 2 * DAY))
    moved = chosen(window(NOW - 2 * HOUR, NOW - HOUR, url="https://ca.example/incident"), choice)

    assert moved is not None
    assert NOW - 2 * HOUR < moved.at < NOW - HOUR
    assert moved.explanation_url == "https://ca.example/incident"
    assert renewals.plan(NINETY_DAYS, moved, random=0.5).at < NOW


def test_a_reason_that_comes_later_is_kept_without_a_new_moment() -> None:
    """The explanation of an unchanged window is shown, and the renewal stays where it is."""
    choice = chosen(window(NOW, NOW + DAY))
    explained = chosen(window(NOW, NOW + DAY, url="https://ca.example/why"), choice, random=0.9)

    assert choice is not None
    assert explained == choice.model_copy(update={"explanation_url": "https://ca.example/why"})


def test_the_last_window_outlives_a_silent_ca_for_a_day() -> None:
    """A CA that is away for an hour moves nothing; after a day the usual time holds again."""
    choice = chosen(window(NOW, NOW + DAY))

    def later(silent_for: timedelta) -> Choice | None:
        return renewals.choose(None, choice, certificate_id="a.1", random=0, silent_for=silent_for)

    assert later(DAY - HOUR) == choice
    assert later(DAY) is None


@pytest.mark.parametrize(
    ("life", "share"),
    [(NINETY_DAYS, 2 / 3), (SHORTLIVED, 1 / 2), (Life(not_before=NOW, not_after=NOW + 10 * DAY), 2 / 3)],
)
def test_without_advice_it_is_two_thirds_or_half_of_the_life(life: Life, share: float) -> None:
    """A certificate that lives at least ten days is renewed after two thirds, a shorter one after half."""
    expected = life.not_before + life.length * share

    assert abs(renewals.fallback(life, random=0.5) - expected) < timedelta(seconds=1)
    assert renewals.fallback(life, random=1) - renewals.fallback(life, random=0) == pytest.approx(
        life.length * 0.02, abs=timedelta(seconds=1)
    )
    assert renewals.plan(life, None, random=0.5).source is Source.FALLBACK


@given(lives, st.none() | st.tuples(moments, st.timedeltas(timedelta(seconds=1), 40 * DAY)), chances)
def test_a_renewal_is_always_planned_before_the_certificate_ends(
    life: Life, span: tuple[datetime, timedelta] | None, random: float
) -> None:
    """Whatever the CA advises, a twentieth of the life is left when the renewal begins."""
    choice = None if span is None else chosen(window(span[0], span[0] + span[1]), random=random)
    plan = renewals.plan(life, choice, random=random)

    assert plan.at <= life.floor < life.not_after
    assert not life.is_alarming(now=plan.at)


def test_advice_that_comes_too_late_is_not_taken() -> None:
    """A window at the very end of the life does not let the certificate run out."""
    late = chosen(window(NINETY_DAYS.not_after - HOUR, NINETY_DAYS.not_after + DAY))

    plan = renewals.plan(NINETY_DAYS, late, random=0.5)

    assert (plan.at, plan.source) == (NOW + 85.5 * DAY, Source.FLOOR)


def test_people_are_woken_when_a_fiftieth_is_left() -> None:
    """Of ninety days the last 43 hours are an alarm."""
    edge = NINETY_DAYS.not_after - 90 * DAY / 50

    assert not NINETY_DAYS.is_alarming(now=edge - timedelta(seconds=1))
    assert NINETY_DAYS.is_alarming(now=edge)


@given(lives, st.integers(1, 50), chances)
def test_a_fleet_is_spread_evenly_over_half_of_its_time(life: Life, count: int, random: float) -> None:
    """Certificates issued together are renewed one after the other, in their order, and none too late."""
    times = [renewals.spread(life, index=index, count=count, random=random) for index in range(count)]
    latest = renewals.fallback(life, random=0)
    step = (latest - life.not_before) / 2 / count

    assert all(later - earlier == pytest.approx(step, abs=timedelta(seconds=1)) for earlier, later in pairwise(times))
    assert life.not_before < times[0]
    assert times[-1] <= latest + timedelta(microseconds=2)


def test_ten_thousand_at_once_come_back_fourteen_an_hour() -> None:
    """The hour with most renewals of a bulk issue is no busier than any other."""
    times = [renewals.spread(NINETY_DAYS, index=index, count=10_000, random=0.5) for index in range(10_000)]
    hours = [int((time - NOW) / HOUR) for time in times]

    assert max(hours.count(hour) for hour in set(hours)) <= 15


def test_the_spread_goes_before_the_window_and_only_earlier() -> None:
    """The first renewal of a bulk issue takes its own place, unless the CA wants it even sooner."""
    choice = chosen(window(NOW + 60 * DAY, NOW + 61 * DAY))
    own = NOW + 40 * DAY

    assert renewals.plan(NINETY_DAYS, choice, random=0, spread_at=own) == renewals.Plan(at=own, source=Source.SPREAD)
    assert renewals.plan(NINETY_DAYS, choice, random=0, spread_at=NOW + 70 * DAY).source is Source.WINDOW


@pytest.mark.parametrize(
    ("retry_at", "is_answered", "pause"),
    [
        (NOW + 6 * HOUR, True, 6 * HOUR),
        (NOW, True, timedelta(minutes=1)),
        (NOW - DAY, True, timedelta(minutes=1)),
        (NOW + 40 * DAY, True, DAY),
        (None, True, 6 * HOUR),
        (NOW + HOUR, False, 6 * HOUR),
    ],
)
def test_the_window_is_read_as_often_as_the_ca_wants(
    retry_at: datetime | None, is_answered: bool, pause: timedelta
) -> None:
    """Between once a minute and once a day; every six hours when nothing useful comes."""
    assert renewals.next_look(NINETY_DAYS, now=NOW, retry_at=retry_at, is_answered=is_answered) == NOW + pause


def test_nobody_asks_about_an_expired_certificate() -> None:
    """The CA is not asked when to renew what is over."""
    assert renewals.next_look(NINETY_DAYS, now=NINETY_DAYS.not_after, retry_at=None, is_answered=True) is None


@given(st.lists(moments, max_size=6), moments, st.none() | lives)
def test_no_more_than_two_certificates_are_issued_in_a_day(
    issued: list[datetime], now: datetime, life: Life | None
) -> None:
    """Whatever goes wrong, the same names are not issued again and again."""
    period = DAY if life is None else min(DAY, life.length / 2)
    at = renewals.next_issuance(issued, now=now, life=life)

    assert at >= now
    assert sum(at - period < one <= at for one in issued if one <= now) < 2


@pytest.mark.parametrize("length", [timedelta(seconds=20), timedelta(hours=30), 6 * DAY])
def test_the_budget_never_waits_for_the_end_of_a_life(length: timedelta) -> None:
    """A certificate that was renewed right after it was issued is renewed again long before it expires."""
    second = timedelta(seconds=1)
    life = Life(not_before=NOW + second, not_after=NOW + second + length)
    at = renewals.next_issuance([NOW, NOW + second], now=NOW + second, life=life)
    assert at <= life.not_before + length / 2


def test_a_replacement_that_fails_is_left_out() -> None:
    """Should the mention of the old certificate be what a CA does not like, the third order goes without."""
    assert [renewals.replaces(attempt, "a.1") for attempt in (1, 2, 3, 4)] == ["a.1", "a.1", None, None]
    assert renewals.replaces(1, None) is None
