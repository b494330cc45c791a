"""The wall clock, read in one place; pure rules and handlers get the time as an argument."""

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)  # noqa: TID251  the one reader of the clock


def until(moment: datetime) -> timedelta:
    """The delay for a delayed call that is wanted at `moment`; never zero, which would mean "at once".

    The SDK adds the delay to the clock again when it writes the call down, and the journal keeps that sum, so handlers
    may use this outside of steps: a replay sends nothing twice. A delay counted from the time of the request would be
    too long by all that the request waited.
    """
    millisecond = timedelta(milliseconds=1)
    # Rounded up: the SDK cuts to whole milliseconds, and a wake-up must not come early.
    return max(-((now() - moment) // millisecond), 1) * millisecond


def rfc3339(moment: datetime) -> str:
    """`moment` as RFC 3339 in UTC with milliseconds, for people, messages and URLs."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
