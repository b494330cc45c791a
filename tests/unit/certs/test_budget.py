"""The rate limits of CAs as token buckets, by example and for any course of events."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.certs.authorities import budget
from lifecycle.certs.authorities.authorities import offered
from lifecycle.certs.authorities.budget import PLANS, Admitted, Bucket, Event, Figure, Limit, Place, Plan, Queued
from lifecycle.certs.configuration import Authority
from lifecycle.certs.names import LETS_ENCRYPT as LETS_ENCRYPT_OFFERS
from lifecycle.certs.names import Identifier, Offer
from lifecycle.certs.verdicts import Problem
from tests.support.factories import DAY, HOUR, NOW

MINUTE = timedelta(minutes=1)
LETS_ENCRYPT = PLANS["letsencrypt"]
NAMES = (Identifier(value="www.example.com"), Identifier(value="*.example.com"), Identifier(value="shop.example.co.uk"))
DIGEST = budget.names_digest(NAMES)

figures = st.sampled_from(
    [figure for plan in PLANS.values() for figure in plan.values()] + [Figure(1, MINUTE), Figure(7, 3 * MINUTE)]
)
pauses = st.timedeltas(timedelta(0), 8 * DAY)


def taken(figure: Figure, times: int) -> Bucket | None:
    """After so many uses at once."""
    bucket = None
    for _ in range(times):
        bucket = budget.take(bucket, figure, now=NOW)
    return bucket


@pytest.mark.parametrize(
    ("limit", "capacity", "token"),
    [
        (Limit.NEW_ACCOUNTS, 10, timedelta(minutes=18)),
        (Limit.NEW_ORDERS, 300, timedelta(seconds=36)),
        (Limit.REGISTERED_DOMAIN, 50, timedelta(minutes=201.6)),
        (Limit.EXACT_SET, 5, timedelta(hours=33.6)),
        (Limit.FAILED_AUTHORIZATIONS, 5, timedelta(minutes=12)),
    ],
)
def test_the_figures_are_those_that_the_ca_documents(limit: Limit, capacity: int, token: timedelta) -> None:
    """Capacity, and the time in which one comes back, as Let's Encrypt has them."""
    assert (LETS_ENCRYPT[limit].capacity, LETS_ENCRYPT[limit].token) == (capacity, token)


@given(figures, st.lists(pauses, max_size=60))
def test_a_bucket_never_gives_more_than_it_may(figure: Figure, course: list[timedelta]) -> None:
    """However it is used: never less than nothing in it, never more than full, and what it admits the CA admits."""
    bucket, now, sent = None, NOW, []
    for pause in course:
        now = max(now, now + pause)
        free = budget.free_at(bucket, figure, now=now)
        assert now <= free <= now + figure.token + timedelta(seconds=1)
        now = free
        assert budget.tokens(bucket, figure, now=now) >= 1 - budget.ROUNDING
        bucket = budget.take(bucket, figure, now=now)
        sent.append(now)
        assert 0 <= budget.tokens(bucket, figure, now=now) <= figure.capacity
        # In no stretch of time more than a full bucket and what came back meanwhile.
        for first in range(len(sent)):
            stretch = sent[-1] - sent[first]
            assert len(sent) - first <= figure.capacity + stretch / figure.token + 0.01


@given(figures, st.integers(0, 400), pauses)
def test_tokens_come_back_evenly_and_no_more_than_were_taken(figure: Figure, times: int, pause: timedelta) -> None:
    """After the whole period an empty bucket is full, and it takes no shorter."""
    bucket = taken(figure, times)
    left = max(figure.capacity - times, 0)

    assert budget.tokens(bucket, figure, now=NOW) == pytest.approx(left, abs=1e-3)
    assert budget.tokens(bucket, figure, now=NOW + figure.period) == figure.capacity
    expected = min(left + pause / figure.token, figure.capacity)
    assert budget.tokens(bucket, figure, now=NOW + pause) == pytest.approx(expected, abs=1e-3)


def test_a_clock_that_is_behind_gives_nothing_back() -> None:
    """Two workers whose clocks differ count the same."""
    figure = LETS_ENCRYPT[Limit.EXACT_SET]
    bucket = budget.take(taken(figure, 3), figure, now=NOW - HOUR)

    assert bucket == Bucket(1.0, NOW)


@pytest.mark.parametrize(
    ("renewal", "ari", "limits"),
    [
        (False, False, {Limit.NEW_ORDERS, Limit.REGISTERED_DOMAIN, Limit.EXACT_SET, Limit.FAILED_AUTHORIZATIONS}),
        (True, False, {Limit.EXACT_SET, Limit.FAILED_AUTHORIZATIONS}),
        (True, True, set()),
    ],
)
def test_renewals_are_exempt_as_the_ca_says(renewal: bool, ari: bool, limits: set[Limit]) -> None:
    """One inside the CA's own window counts for nothing, one of the same names only for the set and for failures."""
    assert {place.limit for place in budget.wanted(NAMES, renewal=renewal, ari=ari)} == limits


def test_each_name_counts_under_what_the_ca_counts_it_under() -> None:
    """Registered domains by the list of public suffixes, addresses of IPv6 by their site, wildcards by their name."""
    addresses = (Identifier(type="ip", value="2001:db8:1:2::7"), Identifier(type="ip", value="192.0.2.7"))
    issued = budget.places(Event.CERTIFICATE, (*NAMES, *addresses), renewal=False, ari=False)
    failed = budget.places(Event.FAILED_AUTHORIZATION, NAMES, renewal=False, ari=False)

    assert {place.subject for place in issued if place.limit is Limit.REGISTERED_DOMAIN} == {
        "example.com",
        "example.co.uk",
        "2001:db8:1:2::/64",
        "192.0.2.7",
    }
    assert {place.subject for place in failed} == {"www.example.com", "example.com", "shop.example.co.uk"}
    assert budget.names_digest(reversed(NAMES)) == DIGEST
    assert budget.names_digest(NAMES[:2]) != DIGEST


def test_new_names_leave_a_fifth_to_renewals() -> None:
    """A wave of new names never takes the last certificate that a renewal may need."""
    figure = LETS_ENCRYPT[Limit.EXACT_SET]
    found = {Place(Limit.EXACT_SET, DIGEST): taken(figure, 4) or Bucket(0, NOW)}

    new = budget.admit(found, LETS_ENCRYPT, NAMES, renewal=False, ari=False, now=NOW)
    assert isinstance(new, Queued)
    assert new.limit is Limit.EXACT_SET
    assert new.until == pytest.approx(NOW + figure.token, abs=timedelta(seconds=1))
    assert "4 in 168 h that new names may use" in new.why
    assert budget.admit(found, LETS_ENCRYPT, NAMES, renewal=True, ari=False, now=NOW) == Admitted()


def test_what_the_ca_says_goes_before_what_was_counted() -> None:
    """A full bucket that the CA has blocked is blocked, the longest wait counts, and its own window is exempt."""
    until = NOW + 5 * HOUR
    found = {
        Place(Limit.REGISTERED_DOMAIN, "example.com"): Bucket(50, NOW, until),
        Place(Limit.NEW_ORDERS): taken(LETS_ENCRYPT[Limit.NEW_ORDERS], 300) or Bucket(0, NOW),
    }
    queued = budget.admit(found, LETS_ENCRYPT, NAMES, renewal=False, ari=False, now=NOW)

    assert isinstance(queued, Queued)
    assert (queued.until, queued.limit) == (until, Limit.REGISTERED_DOMAIN)
    assert budget.admit(found, LETS_ENCRYPT, NAMES, renewal=True, ari=True, now=NOW) == Admitted()
    everything = {Place(Limit.REQUESTS): Bucket(0, NOW, until)}
    assert isinstance(budget.admit(everything, {}, NAMES, renewal=True, ari=True, now=NOW), Queued)
    assert budget.admit(everything, {}, NAMES, renewal=True, ari=True, now=until) == Admitted()


@given(st.dictionaries(st.sampled_from(budget.wanted(NAMES, renewal=False, ari=False)), st.floats(0, 300)), pauses)
def test_whoever_is_queued_is_admitted_at_the_time_that_was_said(tokens: dict[Place, float], pause: timedelta) -> None:
    """A date that people see holds, if nobody else takes a token meanwhile."""
    found = {place: Bucket(min(left, LETS_ENCRYPT[place.limit].capacity), NOW) for place, left in tokens.items()}
    now = NOW + pause
    answer = budget.admit(found, LETS_ENCRYPT, NAMES, renewal=False, ari=False, now=now)

    if isinstance(answer, Queued):
        assert answer.until > now
        again = budget.admit(found, LETS_ENCRYPT, NAMES, renewal=False, ari=False, now=answer.until)
        assert again == Admitted()


@pytest.mark.parametrize(
    ("detail", "place"),
    [
        ("too many new registrations (10) from this IP address in the last 3h0m0s", Place(Limit.NEW_ACCOUNTS)),
        ("too many new orders (300) from this account in the last 3h0m0s", Place(Limit.NEW_ORDERS)),
        (
            'too many certificates (50) already issued for "Example.com" in the last 168h0m0s',
            Place(Limit.REGISTERED_DOMAIN, "example.com"),
        ),
        (
            "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s",
            Place(Limit.EXACT_SET, DIGEST),
        ),
        (
            'too many failed authorizations (5) for "www.example.com" in the last 1h0m0s',
            Place(Limit.FAILED_AUTHORIZATIONS, "www.example.com"),
        ),
        ("Service busy; retry later.", Place(Limit.REQUESTS)),
        ("", Place(Limit.REQUESTS)),
    ],
)
def test_the_words_of_the_ca_say_which_limit_it_is(detail: str, place: Place) -> None:
    """What one name has used up holds up that name, and not all others."""
    assert budget.limited(Problem(detail=f"{detail}, retry after 2026-11-21 00:00:00 UTC: see docs"), NAMES) == place


@pytest.mark.parametrize(
    ("directory", "limits", "plan"),
    [
        ("https://acme-v02.api.letsencrypt.org/directory", None, "letsencrypt"),
        ("https://acme-staging-v02.api.letsencrypt.org/directory", None, "letsencrypt-staging"),
        ("https://acme-v02.api.letsencrypt.org/directory", "none", "none"),
        ("https://ca.example.com/directory", None, "none"),
        ("https://ca.example.com/directory", "letsencrypt", "letsencrypt"),
    ],
)
def test_whose_limits_hold_follows_from_the_directory(directory: str, limits: Plan | None, plan: Plan) -> None:
    """Let's Encrypt's are known; of others nothing is, unless the configuration says so."""
    assert Authority(name="a", directory_url=directory, limits=limits).plan == plan


def test_what_lets_encrypt_gives_is_known() -> None:
    """Its figures go by profile, those of a newer one are the strictest, and of others the configuration speaks."""
    known = Authority(name="a", directory_url="https://acme-v02.api.letsencrypt.org/directory", addresses=True)
    other = Authority(name="b", directory_url="https://letsencrypt.org.example.com/directory", internal=True)

    assert offered(known, None) == LETS_ENCRYPT_OFFERS["classic"]
    assert offered(known, "shortlived").addresses
    assert offered(known, "next") == Offer(most_names=25)
    assert offered(other, "shortlived") == Offer(internal=True)
