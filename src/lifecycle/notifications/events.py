"""Which entries of the ledger people are told of, whom by default, and what is said. Pure.

The type of an event is the action of its entry, `deletion.reminded` for example. The body is that of Standard
Webhooks: `type`, `timestamp`, `data`.
"""

import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from lifecycle.clock import rfc3339
from lifecycle.ledger.entry import SYSTEM, Entry

TEST = "webhook.test"
DISABLED = "webhook.disabled"

# The first part of the types of events that can be subscribed to.
FAMILIES = frozenset(
    {"project", "deletion", "hold", "deployment", "standby", "domain", "certificate", "alarm", "webhook"}
)

# What administrators are written about unless they chose otherwise: what ends something, and what wants a person.
BY_DEFAULT: Sequence[str] = (
    "deletion.scheduled",
    "deletion.rescheduled",
    "deletion.expedited",
    "deletion.reminded",
    "deletion.blocked",
    "deletion.cancelled",
    "deletion.finished",
    "domain.lost",
    "certificate.failed",
    "certificate.given_up",
    "certificate.mismatched",
    "certificate.revocation_failed",
    "alarm.*",
    DISABLED,
)


def is_notable(action: str) -> bool:
    """Whether an entry with this action is an event that people can be told of."""
    return action.partition(".")[0] in FAMILIES


def is_pattern(text: str) -> bool:
    """Whether `text` can stand in a filter: `*`, a type such as `deletion.reminded`, or all of a family, `alarm.*`."""
    family, dot, rest = text.partition(".")
    return text == "*" or (family in FAMILIES and bool(dot) and (rest == "*" or rest.replace("_", "a").isalpha()))


def matches(patterns: Sequence[str], event: str) -> bool:
    """Whether a filter lets this type through; an empty one lets none."""
    return any(one in ("*", event, f"{event.partition('.')[0]}.*") for one in patterns)


def body(entry: Entry) -> str:
    """What is sent of an entry: one JSON text, the same in every attempt, since the signature covers its bytes."""
    action = entry.pending_action
    data: Mapping[str, JsonValue] = {
        "event": entry.id,
        "workspace": entry.workspace,
        "project": entry.project,
        "actor": entry.actor.person if entry.actor else SYSTEM,
        "detail": dict(entry.detail),
        "pending_action": None if action is None else action.model_dump(mode="json"),
    }
    return message(entry.action, rfc3339(entry.at), data)


def message(event: str, timestamp: str, data: Mapping[str, JsonValue]) -> str:
    """A body with this type, time (RFC 3339) and data."""
    return json.dumps({"type": event, "timestamp": timestamp, "data": dict(data)}, ensure_ascii=False)
