"""The small picture above the list of actions."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.cli import timelines

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_each_thing_stands_where_it_is_due() -> None:
    """Half an hour, half a day, three days and a month: one in each part of the picture, above its name."""
    drawn = timelines.picture([NOW + one * HOUR for one in (0.5, 12.5, 96, 24 * 48.5)], NOW, width=80)

    assert drawn == (
        "          ▄                   ▄                   ▄                   ▄",
        "now                 1h                  1d                  7d",
    )


def test_many_are_higher_than_few_and_few_are_seen() -> None:
    """A thousand at one moment do not hide the one before them."""
    drawn = timelines.picture([NOW, *[NOW + 12 * HOUR] * 1000], NOW, width=80)

    assert drawn is not None
    assert drawn[0].replace(" ", "") == "▁█"


def test_nothing_to_compare_is_no_picture() -> None:
    """One thing is said better by its line, and a narrow terminal has no room."""
    assert timelines.picture([NOW], NOW, width=80) is None
    assert timelines.picture([NOW, NOW + HOUR], NOW, width=20) is None


@given(
    st.lists(st.timedeltas(timedelta(days=-400), timedelta(days=4000)), min_size=2, max_size=50),
    st.integers(24, 400),
)
def test_it_never_breaks_out_of_the_terminal(rests: list[timedelta], width: int) -> None:
    """Whatever is due whenever, the picture fits."""
    drawn = timelines.picture([NOW + rest for rest in rests], NOW, width=width)

    assert drawn is not None
    assert all(len(line) <= width for line in drawn)
    assert drawn[0].strip()
