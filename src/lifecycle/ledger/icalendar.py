"""Pending actions as an iCalendar object (RFC 5545), for programs that show calendars. Pure.

A feed has no METHOD: whoever subscribes replaces what they had by what they read. An event keeps its UID for as long as
the action exists, a change raises SEQUENCE, and what was cancelled says so for some days (RFC 5545, 3.8.1.11), because
programs keep what merely disappears.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple
from unicodedata import category

from lifecycle.ledger.entry import ActionState

MEDIA_TYPE = "text/calendar"
# How often programs should look again (RFC 7986, 5.7); most have a pace of their own, of hours.
_LOOK_AGAIN = "PT15M"
_PRODUCT = "-//Lifecycle//Pending actions//EN"
# RFC 5545, 3.1: lines of at most 75 octets, without the line break.
_LONGEST_LINE = 75
_LONGEST_TEXT = 2000
_NO_MARKUP = str.maketrans(
    {"<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}", ">": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"}
)
# The name space of our UIDs: an action is the same event wherever it is read, and no other installation has it.
_EVENTS = uuid.UUID("0d0a7c52-6f4b-5c6e-9a51-3f1d2f0f7a10")

_SUBJECTS: Mapping[str, str] = MappingProxyType(
    {
        "project-deletion": "Project {label} is deleted",
        "certificate-renewal": "Certificate of {label} is renewed",
        "standby-stop": "Replaced deployment {label} is stopped",
    }
)
# The kinds of actions that there are.
KINDS = _SUBJECTS.keys()
_PREFIXES: Mapping[ActionState, str] = MappingProxyType(
    {
        ActionState.PENDING: "",
        ActionState.BLOCKED: "Blocked: ",
        ActionState.RUNNING: "Begun: ",
        ActionState.DONE: "Done: ",
        ActionState.CANCELLED: "Cancelled: ",
        ActionState.FAILED: "Failed: ",
    }
)
_STANDING: Mapping[ActionState, str] = MappingProxyType(
    {
        ActionState.PENDING: "It happens at this time, unless somebody cancels.",
        ActionState.BLOCKED: "A hold or lost authority stops it; it does not happen before that is over.",
        ActionState.RUNNING: "It has begun, and cannot be cancelled any more.",
        ActionState.DONE: "It was carried out.",
        ActionState.CANCELLED: "It was cancelled, and does not happen.",
        ActionState.FAILED: "It did not succeed.",
    }
)


class Event(NamedTuple):
    """A pending action as a calendar shows it.

    Attributes:
        id: public id of the action, `{kind}/{key}`.
        sequence: grows with each change of the action.
        changed_at: when it last changed.
    """

    id: str
    kind: str
    label: str
    state: ActionState
    due_at: datetime
    generation: int
    sequence: int
    reason: str
    requested_by: str
    changed_at: datetime


def render(events: Sequence[Event], *, workspace: str, workspace_name: str) -> str:
    """The calendar of a workspace.

    Args:
        events: in any order.
        workspace: id of the workspace; part of every UID.
        workspace_name: what people call it.

    Returns:
        the iCalendar object: lines end in CR LF, and hold nothing that a program would take for markup.
    """
    name = _text(f"Lifecycle: {workspace_name}")
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        f"PRODID:{_PRODUCT}",
        "CALSCALE:GREGORIAN",
        f"NAME:{name}",
        f"X-WR-CALNAME:{name}",
        f"REFRESH-INTERVAL;VALUE=DURATION:{_LOOK_AGAIN}",
        f"X-PUBLISHED-TTL:{_LOOK_AGAIN}",
        *(line for event in events for line in _lines(event, workspace)),
        "END:VCALENDAR",
    ]
    return "".join(f"{part}\r\n" for line in lines for part in _folded(line))


def uid(workspace: str, action_id: str) -> str:
    """The UID of an action: always the same, and telling nothing (RFC 7986, 5.3)."""
    return str(uuid.uuid5(_EVENTS, f"{workspace}/{action_id}"))


def _lines(event: Event, workspace: str) -> Iterator[str]:
    """One event. It takes no time, and blocks none: nobody is busy while a project is deleted."""
    changed = _moment(event.changed_at)
    yield "BEGIN:VEVENT"
    yield f"UID:{uid(workspace, event.id)}"
    yield f"DTSTAMP:{changed}"  # without METHOD the same as LAST-MODIFIED (RFC 5545, 3.8.7.2)
    yield f"LAST-MODIFIED:{changed}"
    yield f"SEQUENCE:{event.sequence}"
    yield f"DTSTART:{_moment(event.due_at)}"
    yield f"STATUS:{'CANCELLED' if event.state is ActionState.CANCELLED else 'CONFIRMED'}"
    yield f"SUMMARY:{_text(_summary(event))}"
    yield f"DESCRIPTION:{_text(_description(event))}"
    yield f"CATEGORIES:{_text(event.kind)}"
    yield "TRANSP:TRANSPARENT"
    yield f"X-LIFECYCLE-ACTION:{_text(event.id)}"
    yield f"X-LIFECYCLE-GENERATION:{event.generation}"
    yield "END:VEVENT"


def _summary(event: Event) -> str:
    subject = _SUBJECTS.get(event.kind, "{kind}: {label}")
    return _PREFIXES[event.state] + subject.format(kind=_plain(event.kind), label=_plain(event.label))


def _description(event: Event) -> str:
    parts = [_STANDING[event.state]]
    if event.reason:
        parts.append(f"Reason: {_plain(event.reason)}")
    if event.requested_by:
        parts.append(f"Asked for by: {_plain(event.requested_by)}")
    if event.state in (ActionState.PENDING, ActionState.BLOCKED):
        parts.append(f"To cancel: lifecycle actions cancel {_plain(event.id)}")
    return "\n".join(parts)


def _plain(text: str) -> str:
    """One line that looks as it is: programs show descriptions as HTML, and some obey what turns text around."""
    visible = "".join(" " if category(sign) in ("Cc", "Zl", "Zp") else sign for sign in text)
    shown = "".join(sign for sign in visible if category(sign) not in ("Cf", "Cs", "Co", "Cn"))
    safe = " ".join(shown.translate(_NO_MARKUP).split())
    return safe if len(safe) <= _LONGEST_TEXT else f"{safe[:_LONGEST_TEXT]}…"


def _text(text: str) -> str:
    """A TEXT value (RFC 5545, 3.3.11)."""
    plain = "\n".join(_plain(line) for line in text.split("\n"))
    escaped = plain.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return escaped.replace("\n", "\\n")


def _moment(at: datetime) -> str:
    """A time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _folded(line: str) -> Iterator[str]:
    """A line in parts of at most 75 octets; none ends inside a character (RFC 5545, 3.1)."""
    part, octets = "", 0
    for sign in line:
        size = len(sign.encode())
        if octets + size > _LONGEST_LINE:
            yield part
            part, octets = " ", 1
        part += sign
        octets += size
    yield part
