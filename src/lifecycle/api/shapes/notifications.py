"""Webhooks, deliveries and recipients of mail, as HTTP shows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from lifecycle.api.shapes.base import EXAMPLE_PROJECT, Answer, Asked, Moment
from lifecycle.notifications import events
from lifecycle.notifications.mail import is_address
from lifecycle.notifications.model import Channel, Outcome, State, WebhookState
from lifecycle.notifications.store import Attempt, Delivery
from lifecycle.notifications.targets_store import Recipient, Webhook
from lifecycle.notifications.webhooks import LONGEST_URL

_MOST_PATTERNS = 50
_WEBHOOK: Mapping[str, JsonValue] = {
    "id": "whk_01kahv3q5jc1s6v0n8w2k4m7xz",
    "url": "https://hooks.example.com/lifecycle",
    "description": "Chat room of the platform team",
    "events": ["deletion.*", "alarm.*"],
    "state": "enabled",
    "reason": "",
    "failing_since": None,
    "former_until": None,
    "created_at": "2026-11-21T09:00:00.000Z",
    "created_by": "ada@example.com",
}
_DELIVERY: Mapping[str, JsonValue] = {
    "id": "dlv_01kahv3q5jc1s6v0n8w2k4m7xz",
    "event": f"{EXAMPLE_PROJECT}.3",
    "type": "deletion.reminded",
    "project": EXAMPLE_PROJECT,
    "channel": "webhook",
    "target": "whk_01kahv3q5jc1s6v0n8w2k4m7xz",
    "state": "pending",
    "attempts": 1,
    "last_error": "It answered 500.",
    "created_at": "2026-11-21T09:00:00.000Z",
    "next_attempt_at": "2026-11-21T09:00:05.000Z",
    "delivered_at": None,
}
_ATTEMPT: Mapping[str, JsonValue] = {
    "at": "2026-11-21T09:00:00.120Z",
    "took_ms": 84,
    "outcome": "failed",
    "status": 500,
    "detail": "It answered 500.",
}
_RECIPIENT: Mapping[str, JsonValue] = {
    "address": "ada@example.com",
    "events": ["deletion.*", "alarm.*"],
    "is_default": False,
}


def _pattern(text: str) -> str:
    if not events.is_pattern(text):
        raise ValueError("not a type of event such as deletion.reminded, nor all of a family such as alarm.*, nor *")
    return text


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("not a mail address such as ada@example.com")
    return text.lower()


Pattern = Annotated[str, Field(max_length=60), AfterValidator(_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Field(max_length=_MOST_PATTERNS)]
Address = Annotated[str, AfterValidator(_address)]
Url = Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
Description = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_FAMILIES = ", ".join(f"`{one}`" for one in sorted(events.FAMILIES))
_EVENTS = (
    "Types of events: `deletion.reminded`, all of a family as `deletion.*`, or `*`. "
    f"Families are {_FAMILIES}. `docs/events.md` lists all types, and no others are taken"
)


class NewWebhook(Asked):
    """A webhook to add."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{name: _WEBHOOK[name] for name in ("url", "description", "events")}]}
    )

    url: Url = Field(description="Where messages are posted to; `https`, and public unless the installation says so.")
    description: Description = ""
    events: Patterns = Field(default=("*",), min_length=1, description=_EVENTS)


class WebhookChange(Asked):
    """What to change of a webhook; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}]})

    url: Url | None = None
    description: Description | None = None
    events: Patterns | None = Field(default=None, min_length=1, description=_EVENTS)
    enabled: bool | None = Field(default=None, description="Whether it is sent to.")


class Rotation(Asked):
    """How to give a webhook a new secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"force": False}]})

    force: bool = Field(default=False, description="Also while a former secret still signs, which then ends at once.")


class WebhookReplay(Asked):
    """What a webhook is to get again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"since": "2026-11-21T09:00:00.000Z", "state": "failed"}]}
    )

    since: Moment | None = Field(
        default=None, description="Only what was written from then on; without it, all that is still listed."
    )
    state: Literal["failed", "held"] | None = Field(
        default=None,
        description="`failed`: what was given up. `held`: what was written while it was disabled. Without it, both.",
    )

    @property
    def states(self) -> tuple[State, ...]:
        """The states that are meant."""
        return (State.FAILED, State.HELD) if self.state is None else (State(self.state),)


class ReplayAnswer(Answer):
    """How much is sent again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"deliveries": 42, "since": "2026-11-21T09:00:00.000Z"}]})

    deliveries: int = Field(description="How many there were when it began.")
    since: datetime = Field(description="When the oldest of them may have been written.")


class WebhookAnswer(Answer):
    """A webhook, without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict(_WEBHOOK)]})

    id: str
    url: str
    description: str
    events: tuple[str, ...]
    state: WebhookState
    reason: str = Field(description="Why it is disabled; empty when it is not.")
    failing_since: datetime | None = Field(description="The first failure since its last success.")
    former_until: datetime | None = Field(description="Until when a former secret signs too; may be past.")
    created_at: datetime
    created_by: str


class CreatedWebhook(WebhookAnswer):
    """A webhook with its secret, which is shown this once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_WEBHOOK, "secret": "whsec_…"}]})

    secret: str = Field(description="What the signatures are verified with, in the form of Standard Webhooks.")


class WebhookList(Answer):
    """The webhooks of the workspace."""

    items: tuple[WebhookAnswer, ...]


class DeliveryAnswer(Answer):
    """One event on its way to one target."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict(_DELIVERY)]})

    id: str = Field(description="Of the header `webhook-id`, or in the Message-ID; the same in every attempt.")
    event: str = Field(description="Id of the entry in the audit log.")
    type: str
    project: str | None
    channel: Channel
    target: str = Field(description="Id of the webhook, or the address.")
    state: State
    attempts: int
    last_error: str
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None


class AttemptAnswer(Answer):
    """One attempt of a delivery."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict(_ATTEMPT)]})

    at: datetime
    took_ms: int
    outcome: Outcome
    status: int | None = Field(description="Of HTTP or SMTP; none without an answer.")
    detail: str


class DeliveryDetails(DeliveryAnswer):
    """A delivery with its attempts, oldest first, and what is sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {**_DELIVERY, "tries": [dict(_ATTEMPT)], "body": {"type": "deletion.reminded", "data": {}}},
            ]
        }
    )

    tries: tuple[AttemptAnswer, ...]
    body: dict[str, Any] = Field(description="The message; the cancel link in it is not shown.")


class DeliveryList(Answer):
    """A page of deliveries, newest first."""

    items: tuple[DeliveryAnswer, ...]
    next_cursor: str | None


class RecipientEvents(Asked):
    """What an address gets."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": ["deletion.*"]}]})

    events: Patterns = Field(description=f"{_EVENTS}. Empty: nothing.")


class RecipientAnswer(Answer):
    """An address, and what mail to it is about."""

    model_config = ConfigDict(json_schema_extra={"examples": [dict(_RECIPIENT)]})

    address: str
    events: tuple[str, ...]
    is_default: bool = Field(description="Whether it is there because an administrator has this name; not set.")


class RecipientList(Answer):
    """Everybody who gets mail."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [dict(_RECIPIENT)], "mail": True}]})

    items: tuple[RecipientAnswer, ...]
    mail: bool = Field(description="Whether a mail server is set up; nobody gets mail without.")


def webhook_answer(hook: Webhook) -> WebhookAnswer:
    """A webhook."""
    return WebhookAnswer(**{name: getattr(hook, name) for name in WebhookAnswer.model_fields})


def created_webhook(hook: Webhook, secret: str) -> CreatedWebhook:
    """A webhook with its secret."""
    return CreatedWebhook(**dict(webhook_answer(hook)), secret=secret)


def delivery_answer(row: Delivery) -> DeliveryAnswer:
    """A delivery."""
    return DeliveryAnswer(
        id=row.id,
        event=row.event_id,
        type=row.event_type,
        project=row.project,
        channel=row.channel,
        target=row.target,
        state=row.state,
        attempts=row.attempts,
        last_error=row.last_error,
        created_at=row.created_at,
        next_attempt_at=row.next_attempt_at,
        delivered_at=row.delivered_at,
    )


def delivery_details(row: Delivery, attempts: Sequence[Attempt], body: Mapping[str, Any]) -> DeliveryDetails:
    """A delivery with its attempts."""
    data = dict(body.get("data", {}))
    if isinstance(data.get("detail"), dict):
        data["detail"] = {name: value for name, value in data["detail"].items() if name != "cancel_url"}
    return DeliveryDetails(
        **dict(delivery_answer(row)),
        tries=tuple(AttemptAnswer(**one._asdict()) for one in attempts),
        body={**body, "data": data},
    )


def recipient_answers(found: Sequence[Recipient], administrators: Sequence[str]) -> tuple[RecipientAnswer, ...]:
    """Everybody who gets mail: whom somebody set, and the administrators among the rest."""
    chosen = [RecipientAnswer(address=one.address, events=one.events, is_default=False) for one in found]
    known = {one.address for one in chosen}
    others = {one.lower() for one in administrators if is_address(one)} - known
    given = [RecipientAnswer(address=one, events=tuple(events.BY_DEFAULT), is_default=True) for one in others]
    return tuple(sorted([*chosen, *given], key=lambda one: one.address))
