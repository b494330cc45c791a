"""Who is told of what the reconciler finds, and when."""

from datetime import UTC, datetime

from lifecycle.scheduler.alarms import Finding, News, news

_NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
_OURS = Finding(kind="overdue", subject="prj_1", workspace="ws_1", detail="", hint="", since=_NOW)
_NOBODYS = Finding(kind="invocation_stuck", subject="x", workspace=None, detail="", hint="", since=_NOW)


def _told(found: News) -> list[tuple[str, str]]:
    return [(action, one.kind) for action, _, one in found.told]


def _after(before: News, *found: Finding, operators: str | None, unknown: bool = False) -> News:
    return news(found, (*before.cleared, *before.findings), operators=operators, operators_unknown=unknown)


_NOTHING = News([], (), ())


def test_an_alarm_is_told_once_when_it_comes_and_once_when_it_goes() -> None:
    """And not with each sweep."""
    came = _after(_NOTHING, _OURS, _NOBODYS, operators="ws_ops")
    stays = _after(came, _OURS, _NOBODYS, operators="ws_ops")
    gone = _after(stays, operators="ws_ops")

    assert _told(came) == [("alarm.raised", "invocation_stuck"), ("alarm.raised", "overdue")]
    assert _told(stays) == []
    assert _told(gone) == [("alarm.cleared", "invocation_stuck"), ("alarm.cleared", "overdue")]
    assert (gone.findings, gone.cleared) == ((), ())


def test_what_came_while_the_database_was_down_is_told_when_it_is_back() -> None:
    """The alarm about an outage is not lost by the outage."""
    down = _after(_NOTHING, _NOBODYS, operators=None, unknown=True)
    back = _after(down, _NOBODYS, operators="ws_ops")

    assert _told(down) == []
    assert _told(back) == [("alarm.raised", "invocation_stuck")]
    assert not back.findings[0].untold


def test_what_came_and_went_while_the_database_was_down_is_not_told_at_all() -> None:
    """Nobody hears that something is gone of which they never heard."""
    down = _after(_NOTHING, _NOBODYS, operators=None, unknown=True)
    over = _after(down, operators=None, unknown=True)

    assert _told(_after(over, operators="ws_ops")) == []


def test_what_went_while_the_database_was_down_is_told_when_it_is_back() -> None:
    """Whoever heard of it hears that it is gone, unless it came back before."""
    came = _after(_NOTHING, _NOBODYS, operators="ws_ops")
    went = _after(came, operators=None, unknown=True)
    again = _after(went, _NOBODYS, operators=None, unknown=True)

    assert _told(went) == []
    assert _told(_after(went, operators="ws_ops")) == [("alarm.cleared", "invocation_stuck")]
    assert _told(_after(again, _NOBODYS, operators="ws_ops")) == []


def test_where_nobody_is_told_nothing_piles_up() -> None:
    """And whoever names a workspace later hears of what is still there."""
    came = _after(_NOTHING, _NOBODYS, operators=None)
    named = _after(came, _NOBODYS, operators="ws_ops")
    unnamed = _after(named, operators=None)

    assert _told(named) == [("alarm.raised", "invocation_stuck")]
    assert unnamed.cleared == ()
