"""Details of audit entries can be read."""

from lifecycle.console import details
from lifecycle.console.details import Line


def test_everything_is_said_once() -> None:
    """Names become words, lists one line, and what is inside of something says where."""
    lines = details.lines(
        {
            "due_at": "2026-11-24T09:00:00.000Z",
            "protected": False,
            "events": ["deletion.*", "alarm.*"],
            "wish": {"ca": None, "profile": "shortlived", "names": []},
            "attempts": [{"took_ms": 84}, {"took_ms": 90}],
            "empty": "",
        }
    )

    assert lines == [
        Line("Due", "2026-11-24T09:00:00.000Z", is_moment=True),
        Line("Protected", "no", is_moment=False),
        Line("Events", "deletion.*, alarm.*", is_moment=False),
        Line("Wish: profile", "shortlived", is_moment=False),
        Line("Attempts 1: took ms", "84", is_moment=False),
        Line("Attempts 2: took ms", "90", is_moment=False),
    ]


def test_the_list_shows_what_says_most() -> None:
    """The reason comes before ids, and a long one is shortened."""
    gist = details.gist({"id": "x", "domain": "www.example.com", "serial": "1", "reason": "r" * 500, "run": 1})

    assert [line.label for line in gist] == ["Reason", "Domain"]
    assert len(gist[0].value) == 160


def test_an_entry_without_anything_telling_shows_what_it_has() -> None:
    """Unknown kinds of entries are not blank."""
    assert [line.label for line in details.gist({"rewrapped": 3, "key": "2026"})] == ["Rewrapped", "Key"]
    assert details.gist({}) == []


def test_only_times_are_times() -> None:
    """A text that begins like a time is a text."""
    [line] = details.lines({"note": "2026-11-24T09:00:00.000Z is when"})

    assert not line.is_moment


def test_reasons_of_revocations_have_names() -> None:
    """Nobody has to know the numbers of RFC 5280; a reason in words stays as it is."""
    assert details.lines({"reason": 4}) == [Line("Reason", "superseded", is_moment=False)]
    assert details.lines({"reason": 99}) == [Line("Reason", "99", is_moment=False)]
    assert details.lines({"reason": "4"}) == [Line("Reason", "4", is_moment=False)]
