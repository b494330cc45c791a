"""Which entries of the ledger people are told of, whom by default, and what is said. Pure.

The type of an event is the action of its entry, `deletion.reminded` for example. The body is that of Standard
Webhooks: `type`, `timestamp`, `data`.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pydantic import JsonValue

from lifecycle.clock import rfc3339
from lifecycle.ledger.entry import SYSTEM, Entry

TEST = "webhook.test"
DISABLED = "webhook.disabled"

# Every type, and what it says. A test holds the table to what the source records; `docs/events.md` is made from it.
TYPES: Mapping[str, str] = MappingProxyType(
    {
        "project.created": "A project was created.",
        "project.configured": "The settings of a project were changed.",
        "deletion.scheduled": "A project will be deleted.",
        "deletion.rescheduled": "The deletion was moved.",
        "deletion.expedited": "The deletion was brought forward.",
        "deletion.reminded": "The project will be deleted soon; it carries the link that cancels.",
        "deletion.blocked": "The deletion is due, and a hold or lost authority stops it.",
        "deletion.cancelled": "The deletion was cancelled.",
        "deletion.started": "The project is being deleted; nobody can cancel any more.",
        "deletion.resumed": "The work of deleting had been ended in the engine, and was begun again.",
        "deletion.finished": "The project is deleted, and there is a receipt.",
        "hold.placed": "A hold stops the deletion.",
        "hold.released": "A hold was released.",
        "deployment.created": "A rollout was asked for.",
        "deployment.ready": "The deployment runs, and has its domains.",
        "deployment.failed": "The rollout failed.",
        "deployment.cancelled": "Somebody cancelled the rollout.",
        "deployment.superseded": "A newer deployment took the place of one that still waited.",
        "deployment.promoted": "Somebody made the deployment live.",
        "deployment.rollback_begun": "A rollback waits until its target is healthy.",
        "deployment.rolled_back": "An earlier deployment is live again.",
        "deployment.wake_begun": "A stopped deployment is being started.",
        "deployment.woken": "A stopped deployment runs again.",
        "deployment.wake_failed": "A stopped deployment could not be started.",
        "deployment.stopped": "The deployment was stopped.",
        "standby.scheduled": "A replaced deployment will be stopped.",
        "standby.rescheduled": "Its stop was moved.",
        "standby.kept": "Its stop was cancelled.",
        "standby.over": "Its time on standby is over.",
        "domain.added": "Somebody claimed a domain.",
        "domain.verified": "The domain is the project's.",
        "domain.recovered": "The records of the domain lead here again.",
        "domain.dangling": "The records of the domain have led elsewhere for several looks.",
        "domain.failed": "Nobody proved in time whose the domain is.",
        "domain.lost": "Another project proved that it controls the domain.",
        "domain.removed": "The domain was taken off the project.",
        "domain.certificate_refused": "No certificate is asked for by itself for the domain; it says why.",
        "certificate.issuing": "A certificate is being asked for.",
        "certificate.records_wanted": "Records must be set before the certificate can be issued.",
        "certificate.waiting": "The CA or a rate limit makes the issuance wait.",
        "certificate.delayed": "The issuance is tried again later; something is down.",
        "certificate.issued": "There is a new certificate.",
        "certificate.failed": "The certificate could not be issued.",
        "certificate.mismatched": "The certificate that came is not what was ordered.",
        "certificate.given_up": "The issuance was given up.",
        "certificate.halted": "Somebody stopped the issuance.",
        "certificate.undeliverable": "What the CA issued could not be delivered to the gateway.",
        "certificate.renewal_scheduled": "It is set when the certificate is renewed.",
        "certificate.renewal_rescheduled": "Its renewal was moved.",
        "certificate.renewal_cancelled": "Somebody cancelled its renewal.",
        "certificate.renewal_stopped": "It is not renewed any more.",
        "certificate.revocation_asked": "Somebody asked to have it revoked.",
        "certificate.revoked": "The CA revoked it.",
        "certificate.revocation_failed": "The CA did not revoke it.",
        "certificate.removed": "It was removed with its project.",
        "certificate.key_downloaded": "Somebody downloaded its private key.",
        "alarm.raised": "The reconciler found something that is not as it should be.",
        "alarm.cleared": "What it had found is gone.",
        "webhook.created": "A webhook was added.",
        "webhook.changed": "A webhook was changed, enabled, or disabled by somebody.",
        "webhook.rotated": "A webhook got a new secret.",
        "webhook.deleted": "A webhook was removed.",
        DISABLED: "A webhook failed for so long, or asked for it, that it was disabled.",
        TEST: "Somebody tries a webhook; sent to that one only, whatever its filter.",
    }
)

# The first part of the types of events that can be subscribed to.
FAMILIES = frozenset(one.partition(".")[0] for one in TYPES)

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
    "certificate.renewal_stopped",
    "certificate.revocation_failed",
    "certificate.undeliverable",
    "alarm.*",
    DISABLED,
)


def is_notable(action: str) -> bool:
    """Whether an entry with this action is an event that people can be told of."""
    return action.partition(".")[0] in FAMILIES


def is_pattern(text: str) -> bool:
    """Whether `text` can stand in a filter: `*`, a type such as `deletion.reminded`, or all of a family, `alarm.*`.

    A type that there is not would let nothing through, and nobody would notice.
    """
    family, _, rest = text.partition(".")
    return text == "*" or text in TYPES or (family in FAMILIES and rest == "*")


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
