"""Lengths of time as people write and read them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.durations import humanize, parse
from tests.support.profiles import QUICK


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("72h", 259_200),
        ("3d", 259_200),
        ("P3D", 259_200),
        ("1h30m", 5_400),
        ("PT1H30M", 5_400),
        ("2w", 1_209_600),
        ("500ms", 0.5),
        ("1.5h", 5_400),
        ("0s", 0),
        ("1m1ms", 60.001),
        ("999999998d", 86_399_999_827_200),
    ],
)
def test_a_duration_is_understood(text: str, seconds: float) -> None:
    """Short forms and ISO 8601 mean the same."""
    assert parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "3.5",
        "h",
        "3 d",
        "3D",
        "p3d",
        "P",
        "PT",
        "-3d",
        "-P3D",
        "P-3D",
        "3d\n",
        "1h,5m",
        "NaNs",
        "infd",
        "1e3s",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nothing is guessed: a bare number could mean seconds or days."""
    with pytest.raises(ValueError, match="72h, 3d, 1h30m or P3D"):
        parse(text)


@pytest.mark.parametrize("text", ["1000000000d", "142857143w", "999999999999w", "P1000000000D", "999999999d24h"])
def test_a_duration_beyond_all_bounds_is_refused(text: str) -> None:
    """A length that no calendar holds is refused like any other mistake."""
    with pytest.raises(ValueError, match="72h, 3d, 1h30m or P3D"):
        parse(text)


@QUICK
@given(st.text(max_size=20) | st.text("P0123456789.smhdwDTHM", max_size=16))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    """No text, however odd, makes anything but a length of time or a refusal."""
    try:
        span = parse(text)
    except ValueError:
        return

    assert span >= timedelta(0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-5, "0s"),
        (0.4, "0s"),
        (45, "45s"),
        (60, "1m"),
        (3_605, "1h 5s"),
        (259_199, "2d 23h"),
        (259_200, "3d"),
        (86_400 * 400, "400d"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    """People see `2d 23h`, not 255600 seconds."""
    assert humanize(timedelta(seconds=seconds)) == text


@QUICK
@given(st.timedeltas(timedelta(0), timedelta(days=10_000)))
def test_what_is_shown_can_be_typed_again(span: timedelta) -> None:
    """What Lifecycle shows, it also reads, and it is never more than was meant by half a second."""
    assert parse(humanize(span).replace(" ", "")) <= span + timedelta(seconds=0.5)
