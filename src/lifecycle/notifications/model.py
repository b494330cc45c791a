"""Deliveries: what the engine sends about them, and what an attempt came to. Pure."""

from datetime import datetime
from enum import StrEnum

from lifecycle.models import Actor, Durable


class Channel(StrEnum):
    """How somebody is told."""

    WEBHOOK = "webhook"
    MAIL = "mail"


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookState(StrEnum):
    """Whether a webhook is sent to."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class Outcome(StrEnum):
    """What an attempt came to."""

    STALE = "stale"  # another message has taken over, or there is nothing to do
    BUSY = "busy"  # so much is on its way to this target that this one did not have its turn; no attempt
    DELIVERED = "delivered"
    FAILED = "failed"  # tried again
    REFUSED = "refused"  # trying again cannot help
    GONE = "gone"  # the target wants no more of anything
    ENDED = "ended"  # the webhook is disabled or removed; no attempt


class Wake(Durable):
    """Try the delivery now, if it still is at this generation. `waits`: how often it did not have its turn so far."""

    generation: int
    waits: int = 0


class Resend(Durable):
    """Deliver again, whatever became of it before."""

    actor: Actor
    now: datetime
    delivery: str


class Resent(Durable):
    """It was taken in: from now on this generation counts. `refused`: the code of a refusal; it was not."""

    generation: int
    refused: str = ""
    webhook: str = ""


class Verdict(Durable):
    """What an attempt showed.

    Attributes:
        at: when it ended.
        took_ms: how long it took.
        status: of HTTP, or the code of SMTP; none when there was no answer.
        detail: what went wrong, in words.
        retry_after_seconds: how long the target asked to be left alone.
    """

    outcome: Outcome
    at: datetime
    took_ms: int = 0
    status: int | None = None
    detail: str = ""
    retry_after_seconds: float | None = None


class Noted(Durable):
    """What follows from an attempt.

    Attributes:
        generation: of the next try.
        again_at: when; none for never.
        others: deliveries that tell of what followed, such as that a webhook was disabled.
    """

    generation: int = 0
    again_at: datetime | None = None
    others: tuple[str, ...] = ()


class Lost(Durable):
    """A delivery that is due and of which the engine seems to know nothing."""

    delivery: str
    generation: int


class Found(Durable):
    """What one look at the deliveries showed."""

    lost: tuple[Lost, ...] = ()
