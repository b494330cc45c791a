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
    HELD = "held"  # its webhook was disabled; not tried until somebody wants it sent


class WebhookState(StrEnum):
    """Whether a webhook is sent to."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class Outcome(StrEnum):
    """What an attempt came to."""

    STALE = "stale"  # another message has taken over, or there is nothing to do
    BUSY = "busy"  # too much is on its way, or the target just failed, so this one did not have its turn; no attempt
    DELIVERED = "delivered"
    FAILED = "failed"  # tried again
    REFUSED = "refused"  # trying again cannot help
    GONE = "gone"  # the target wants no more of anything
    ENDED = "ended"  # the webhook is disabled or removed; no attempt


class Wake(Durable):
    """Try the delivery now, if it still is at this generation.

    Attributes:
        waits: how often it did not have its turn so far.
        asked: somebody wants it now; a target that failed a moment ago is not left alone.
    """

    generation: int
    waits: int = 0
    asked: bool = False


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


class Due(Durable):
    """A delivery that is to be attempted, and the generation that counts."""

    delivery: str
    generation: int


class Replay(Durable):
    """Deliver again what a webhook has missed.

    Attributes:
        since: only what was written from then on.
        states: those that count as missed.
        after: the position behind which to go on.
    """

    actor: Actor
    now: datetime
    webhook: str
    since: datetime
    states: tuple[State, ...] = (State.FAILED, State.HELD)
    after: int = 0


class Replayed(Durable):
    """One batch of what was missed. `after`: the position behind which there is more; none when that was all."""

    deliveries: tuple[Due, ...] = ()
    after: int | None = None
    refused: str = ""


class Begin(Durable):
    """Deliveries that were just written, and are at their first generation."""

    deliveries: tuple[str, ...]


class Verdict(Durable):
    """What an attempt showed.

    Attributes:
        at: when it ended.
        took_ms: how long it took.
        status: of HTTP, or the code of SMTP; none when there was no answer.
        detail: what went wrong, in words.
        retry_after_seconds: how long the target asked to be left alone.
        ours: the failure is ours; the target is not to blame.
        last: no other attempt follows.
        disabled: it was not tried, because its webhook is disabled.
        seconds_each: how long others of this target took of late, when this one did not have its turn.
        not_before: until when the target is left alone.
    """

    outcome: Outcome
    at: datetime
    took_ms: int = 0
    status: int | None = None
    detail: str = ""
    retry_after_seconds: float | None = None
    ours: bool = False
    last: bool = False
    disabled: bool = False
    seconds_each: float = 0
    not_before: datetime | None = None


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


class Found(Durable):
    """What one look at the deliveries showed. `lost`: due, and the engine seems to know nothing of them."""

    lost: tuple[Due, ...] = ()
