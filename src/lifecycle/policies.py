"""One retry policy per dependency. Every step of a handler names one of these.

Attempts are not limited where work must be finished whatever happens: the engine pauses an invocation after
its own limit (70 attempts by default), and a paused one is silent until somebody resumes it.
"""

from datetime import timedelta
from typing import Final, NamedTuple, TypeVar

from restate import InvocationRetryPolicy, RunOptions

T = TypeVar("T")

# The engine keeps attempts in 32 bits; this many, five seconds apart, are three centuries.
_UNLIMITED: Final = 2_000_000_000


class Policy(NamedTuple):
    """How often and for how long to try. No maximum means: until it works."""

    initial: timedelta
    longest: timedelta
    attempts: int | None = None
    duration: timedelta | None = None

    def options(self, result: type[T]) -> RunOptions[T]:
        """For a step that returns `result`."""
        return RunOptions(
            type_hint=result,
            initial_retry_interval=self.initial,
            max_retry_interval=self.longest,
            retry_interval_factor=2.0,
            max_attempts=self.attempts,
            max_duration=self.duration,
        )

    def invocations(self) -> InvocationRetryPolicy:
        """For handlers that are one idempotent step as a whole."""
        return InvocationRetryPolicy(
            initial_interval=self.initial,
            max_interval=self.longest,
            exponentiation_factor=2.0,
            max_attempts=self.attempts or _UNLIMITED,
            on_max_attempts="pause",
        )


# A database comes back within seconds after a failover; the cap keeps the list close behind it.
DATABASE = Policy(initial=timedelta(milliseconds=100), longest=timedelta(seconds=5))

# A container engine that restarts takes seconds; one that is upgraded, minutes. People see on the step what is missing.
PLATFORM = Policy(initial=timedelta(milliseconds=200), longest=timedelta(seconds=10))

# A gateway that restarts serves its files meanwhile; orders follow as soon as its socket is back.
GATEWAY = Policy(initial=timedelta(milliseconds=50), longest=timedelta(seconds=2))

# What a CA answers is a verdict; a step that asks one is tried again only when the database, the gateway or we fail.
CA = Policy(initial=timedelta(milliseconds=100), longest=timedelta(seconds=5))

# What a challenge leaves behind is removed at once when that is possible, else by the reconciler's next sweep.
WITHDRAWAL = Policy(initial=timedelta(milliseconds=200), longest=timedelta(seconds=1), attempts=3)

# Handlers that only decide fail for one reason, a defect; they go on trying until a release mends it. What became due
# without a worker begins within five seconds of its return, and the engine adds up to three tenths to every wait.
DECISION = Policy(initial=timedelta(milliseconds=50), longest=timedelta(seconds=3))

# In an exclusive handler nothing is tried twice: whoever waits for the key is a person who wants to cancel.
LOOK = Policy(initial=timedelta(milliseconds=50), longest=timedelta(milliseconds=50), attempts=1)

# The engine's own admin API, asked by the reconciler; the next sweep is the better retry.
ENGINE = Policy(initial=timedelta(milliseconds=200), longest=timedelta(seconds=1), attempts=3)
