"""The picture of how long certificates live is right, whatever the certificates are."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.certs.renewals import Life
from lifecycle.console import lives

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def life(*, since: timedelta, left: timedelta) -> Life:
    """A certificate that has lived and still lives for so long."""
    return Life(not_before=NOW - since, not_after=NOW + left)


spans = st.floats(min_value=0, max_value=4000).map(lambda days: DAY * days)
some_lives = st.builds(lambda since, left: life(since=since, left=left), spans, spans)


@given(st.lists(some_lives, min_size=1, max_size=20), st.floats(min_value=-1, max_value=2))
def test_every_bar_is_inside_the_picture_and_its_parts_touch(all_of_them: list[Life], share: float) -> None:
    """Nothing sticks out, nothing overlaps, and what expires later ends farther to the right."""
    axis = lives.axis(all_of_them, NOW)
    ends = []
    for one in sorted(all_of_them, key=lambda one: one.not_after):
        bar = lives.bar(axis, one, renewal=NOW + (one.not_after - NOW) * share)
        for span in (bar.past, bar.rest, bar.margin):
            assert -0.01 <= span.at <= 100.01
            assert 0 <= span.width <= 100.01
        assert bar.past.at + bar.past.width == pytest.approx(axis.now_at, abs=0.05)
        assert bar.rest.at + bar.rest.width == pytest.approx(bar.margin.at, abs=0.05)
        ends.append(bar.margin.at + bar.margin.width)

    assert ends == pytest.approx(sorted(ends), abs=0.05)


@given(st.lists(some_lives, min_size=1, max_size=20))
def test_what_is_written_at_the_axis_can_be_read(all_of_them: list[Life]) -> None:
    """No two labels run into each other or out of the picture, on a phone either."""
    axis = lives.axis(all_of_them, NOW)
    places = sorted([*(mark.at for mark in axis.marks), axis.now_at])

    assert all(later - earlier >= 14.9 for earlier, later in pairwise(places))
    assert all(5 <= mark.at <= 95 for mark in axis.marks)


@pytest.mark.parametrize(
    ("since", "left", "renewal", "tone"),
    [
        (30, 60, 30, "good"),
        (60, 30, -1, "warn"),
        (60, 30, None, "warn"),
        (87, 3, 1, "bad"),
        (90, -1, None, "bad"),
    ],
    ids=["planned", "late", "nobody renews it", "about to expire", "expired"],
)
def test_colours_say_how_worrying_it_is(since: int, left: int, renewal: int | None, tone: str) -> None:
    """What is planned is calm, what nobody renews wants a look, and what expires is alarming."""
    planned = None if renewal is None else NOW + renewal * DAY

    assert lives.tone(life(since=since * DAY, left=left * DAY), renewal=planned, now=NOW) == tone


def test_the_picture_is_told_to_whoever_does_not_see_it() -> None:
    """The sentence has the figures of the bar."""
    one = life(since=30 * DAY, left=60 * DAY)

    assert lives.words(one, renewal=NOW + 30 * DAY, now=NOW) == (
        "30d of its life are over, 60d are left. Renewed in 30d."
    )
    assert lives.words(one, renewal=None, now=NOW).endswith("No renewal is planned.")
    assert lives.words(one, renewal=NOW - DAY, now=NOW).endswith("Its renewal is due.")
    assert lives.words(life(since=90 * DAY, left=-DAY), renewal=None, now=NOW) == "Expired 1d ago."
