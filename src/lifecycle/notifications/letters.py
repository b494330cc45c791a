"""What a mail says: subject, sentence, facts, and the link that cancels. Pure.

Names and reasons come from users. Here they are text; the templates see to it that they stay text.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from lifecycle.errors import shown
from lifecycle.notifications import events

_LONGEST_FACT = 1000
_LONGEST_SUBJECT = 150

# What happened, by type; `{name}` is the project, the domain, or what else it is about.
SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "project.created": "{name} was created",
        "project.configured": "The settings of {name} were changed",
        "deletion.scheduled": "{name} will be deleted",
        "deletion.rescheduled": "The deletion of {name} was moved",
        "deletion.expedited": "The deletion of {name} was brought forward",
        "deletion.reminded": "{name} will be deleted soon",
        "deletion.blocked": "The deletion of {name} is due and blocked",
        "deletion.cancelled": "The deletion of {name} was cancelled",
        "deletion.started": "{name} is being deleted",
        "deletion.resumed": "{name} is still being deleted: the work was begun again",
        "deletion.finished": "{name} was deleted",
        "hold.placed": "A hold stops the deletion of {name}",
        "hold.released": "A hold on {name} was released",
        "domain.lost": "{name} no longer belongs to its project",
        "certificate.failed": "The certificate of {name} could not be issued",
        "certificate.given_up": "The certificate of {name} was given up",
        "certificate.mismatched": "The certificate that came for {name} is not what was ordered",
        "certificate.revocation_failed": "The certificate of {name} could not be revoked",
        "alarm.raised": "Alarm: {kind} ({name})",
        "alarm.cleared": "No longer: {kind} ({name})",
        events.DISABLED: "The webhook {name} was disabled",
    }
)
# Facts of the event that come first, in this order; others follow as they come.
_FIRST = ("project", "label", "domain", "due_at", "reason", "requested_by", "blocked_by", "error", "detail", "hint")
# Told in other ways, or for programs.
_HIDDEN = frozenset({"cancel_url", "kind", "subject", "state", "id", "name"})


class Letter(NamedTuple):
    """A mail, before it has a form.

    Attributes:
        subject: one line.
        sentence: what happened.
        facts: names and values, in order.
        cancel_url: the page that cancels what is coming; empty for none.
    """

    subject: str
    sentence: str
    facts: tuple[tuple[str, str], ...]
    cancel_url: str


def letter(message: Mapping[str, Any], *, project: str) -> Letter:
    """The mail about an event.

    Args:
        message: the body, as webhooks get it.
        project: what people call the project; empty when it is about none.
    """
    event, data = str(message["type"]), message["data"]
    detail: Mapping[str, Any] = data.get("detail") or {}
    pending: Mapping[str, Any] = data.get("pending_action") or {}
    known = {**pending, **detail, **({"project": project} if project else {})}
    name = _name(event, known)
    if known.get("label") in (project, known.get("domain")):
        known.pop("label", None)
    pattern = SENTENCES.get(event, f"{event.replace('.', ' ').replace('_', ' ')}: {{name}}")
    sentence = pattern.format(name=name, kind=shown(str(known.get("kind", ""))))
    facts = (*_facts(known), ("Who", _text(data.get("actor"))), ("When", _text(message.get("timestamp"))))
    return Letter(
        subject=f"[Lifecycle] {sentence}"[:_LONGEST_SUBJECT],
        sentence=f"{sentence}.",
        facts=tuple((label, value) for label, value in facts if value),
        cancel_url=str(detail.get("cancel_url", "")),
    )


def _name(event: str, known: Mapping[str, Any]) -> str:
    family = event.partition(".")[0]
    order = {
        "certificate": ("domain", "project"),
        "domain": ("domain", "project"),
        "alarm": ("subject", "project"),
        "webhook": ("url", "webhook"),
    }.get(family, ("project", "label", "domain"))
    return shown(next((str(known[one]) for one in order if known.get(one)), "Lifecycle"))


def _facts(known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    ordered = [*(one for one in _FIRST if one in known), *(one for one in known if one not in _FIRST)]
    for one in ordered:
        if one not in _HIDDEN:
            yield one.replace("_", " ").capitalize(), _text(known[one])


def _text(value: object) -> str:
    """A value as people read it; line ends stay, nothing else that steers a terminal."""
    if isinstance(value, list | tuple):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(one)}" for name, one in value.items() if one)
    if value is None or value == "":
        return ""
    text = str(value)
    if (moment := _moment(text)) is not None:
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    cut = text if len(text) <= _LONGEST_FACT else f"{text[:_LONGEST_FACT]}…"
    return "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in cut)


def _moment(text: str) -> datetime | None:
    if not text.endswith("Z") or "T" not in text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
