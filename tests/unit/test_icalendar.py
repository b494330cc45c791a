"""The calendar feed as calendar programs read it: by a real parser, and by the letter of RFC 5545."""

from datetime import UTC, datetime, timedelta
from typing import Any

import icalendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.ledger.entry import ActionState
from lifecycle.ledger.icalendar import Event, render, uid

DUE = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
WORKSPACE = "ws_01kahv3q5jc1s6v0n8w2k4m7xz"
DELETION = Event(
    id="project-deletion/prj_01kahv3q5jc1s6v0n8w2k4m7xz",
    kind="project-deletion",
    label="shop",
    state=ActionState.PENDING,
    due_at=DUE,
    generation=1,
    sequence=2,
    reason="replaced by shop2",
    requested_by="ada@example.com",
    changed_at=DUE - timedelta(days=3),
)
ANYTHING = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300)


def rendered(*events: Event, name: str = "main") -> str:
    """The feed of a workspace."""
    return render(events, workspace=WORKSPACE, workspace_name=name)


def parsed(event: Event) -> Any:
    """One event, as a calendar program reads it."""
    (found,) = icalendar.Calendar.from_ical(rendered(event)).walk("VEVENT")
    assert isinstance(found, icalendar.Event)
    assert not found.errors
    return found


def test_an_action_is_an_event_at_its_due_time() -> None:
    """The calendar shows what happens, when, why, who asked for it, and how to stop it."""
    event = parsed(DELETION)

    assert event["SUMMARY"] == "Project shop is deleted"
    assert event["DTSTART"].dt == DUE
    assert event["STATUS"] == "CONFIRMED"
    assert event["TRANSP"] == "TRANSPARENT"
    assert "Reason: replaced by shop2\n" in event["DESCRIPTION"]
    assert "Asked for by: ada@example.com\n" in event["DESCRIPTION"]
    assert f"lifecycle actions cancel {DELETION.id}" in event["DESCRIPTION"]


def test_a_moved_action_is_an_update_of_the_same_event() -> None:
    """Programs move the event that they have, and do not show a second one."""
    later = DELETION._replace(due_at=DUE + timedelta(days=1), sequence=3, changed_at=DUE - timedelta(days=2))
    before, after = parsed(DELETION), parsed(later)

    assert before["UID"] == after["UID"]
    assert after["SEQUENCE"] > before["SEQUENCE"]
    assert after["LAST-MODIFIED"].dt > before["LAST-MODIFIED"].dt
    assert after["DTSTART"].dt == DUE + timedelta(days=1)


@pytest.mark.parametrize("state", ActionState)
def test_every_state_is_told_apart(state: ActionState) -> None:
    """A cancelled event is struck out, and a blocked one says that it is not going to happen."""
    event = parsed(DELETION._replace(state=state))

    assert (event["STATUS"] == "CANCELLED") == (state is ActionState.CANCELLED)
    assert (event["SUMMARY"] == "Project shop is deleted") == (state is ActionState.PENDING)
    assert ("To cancel:" in event["DESCRIPTION"]) == (state in (ActionState.PENDING, ActionState.BLOCKED))


@pytest.mark.parametrize(
    ("kind", "summary"),
    [
        ("certificate-renewal", "Certificate of www.example.com is renewed"),
        ("standby-stop", "Replaced deployment www.example.com is stopped"),
        ("of-tomorrow", "of-tomorrow: www.example.com"),
    ],
)
def test_each_kind_has_its_sentence(kind: str, summary: str) -> None:
    """Nobody has to know our words to read a calendar; a kind of a later release is shown all the same."""
    assert parsed(DELETION._replace(kind=kind, label="www.example.com"))["SUMMARY"] == summary


def test_markup_and_control_characters_are_harmless() -> None:
    """Programs show descriptions as HTML; a reason cannot put a link, a script or reversed text into them."""
    nasty = '<a href="javascript:alert(1)">ok</a>\r\nEND:VEVENT\x1b[31m\u202egnp.exe\u2028x'
    event = parsed(DELETION._replace(reason=nasty, label=nasty, requested_by=nasty))
    shown = event["SUMMARY"] + event["DESCRIPTION"]

    assert not set(shown) & set("<>\r\x1b\u202e\u2028")
    assert "END:VEVENT" in event["SUMMARY"]
    assert len(icalendar.Calendar.from_ical(rendered(DELETION._replace(reason=nasty))).walk("VEVENT")) == 1


@given(ANYTHING, ANYTHING, ANYTHING)
def test_any_text_arrives_and_breaks_nothing(label: str, reason: str, name: str) -> None:
    """Whatever people write, lines stay within 75 octets, and a parser finds one event with that text."""
    text = rendered(DELETION._replace(label=label, reason=reason), name=name)
    event: Any
    (event,) = icalendar.Calendar.from_ical(text).walk("VEVENT")

    assert text.endswith("END:VCALENDAR\r\n")
    for line in text.removesuffix("\r\n").split("\r\n"):
        assert len(line.encode()) <= 75
        assert line.isprintable()
    assert event["DTSTART"].dt == DUE
    visible = "".join(sign for sign in label if sign.isalnum())
    assert visible in "".join(sign for sign in event["SUMMARY"] if sign.isalnum())


def test_the_same_action_of_another_workspace_is_another_event() -> None:
    """Who subscribes to two installations sees both, though both renew a certificate of one name."""
    assert uid("ws_a", "certificate-renewal/example.com") != uid("ws_b", "certificate-renewal/example.com")
