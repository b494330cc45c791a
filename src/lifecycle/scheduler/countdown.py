"""A countdown: the clock of one pending action. Pure.

    arm ──> wake-up with the generation ──> stale | early | due

The delayed message in the engine is only a wake-up. Whether it still means anything is decided here, by the
generation, which only grows: cancel, move and run now all leave the old wake-up behind as stale.
"""

from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Self

from lifecycle.models import Durable


class Verdict(Enum):
    """What a wake-up amounts to."""

    STALE = auto()
    EARLY = auto()
    DUE = auto()


class Countdown(Durable):
    """The state of one countdown.

    Attributes:
        generation: the fence; grows with every arm and disarm and is never reset.
        due_at: when the deed is due; computed once, shown to people.
        wake_at: when the next wake-up is wanted: a reminder or the deed. None when nothing is armed.
        early_wakeups: wake-ups of this generation that came before their time.
        stale_wakeups: wake-ups of former generations, ever; each did nothing.
    """

    generation: int = 0
    due_at: datetime | None = None
    wake_at: datetime | None = None
    early_wakeups: int = 0
    stale_wakeups: int = 0

    def arm(self, *, due_at: datetime, wake_at: datetime) -> Self:
        """A new generation, due at `due_at` and first woken at `wake_at`."""
        return self._next(due_at=due_at, wake_at=wake_at)

    def disarm(self) -> Self:
        """A new generation with nothing armed."""
        return self._next(due_at=None, wake_at=None)

    def rest(self) -> Self:
        """The same generation with no wake-up wanted: it is blocked, or the deed has begun."""
        return self.model_copy(update={"wake_at": None})

    def wake_again(self, wake_at: datetime) -> Self:
        """The same generation, to be woken at `wake_at`."""
        return self.model_copy(update={"wake_at": wake_at, "early_wakeups": 0})

    def judge(self, generation: int, *, now: datetime) -> Verdict:
        """What a wake-up with `generation` that arrives at `now` amounts to."""
        if generation != self.generation or self.wake_at is None:
            return Verdict.STALE
        return Verdict.EARLY if now < self.wake_at else Verdict.DUE

    def count_stale(self) -> Self:
        """One more stale wake-up."""
        return self.model_copy(update={"stale_wakeups": self.stale_wakeups + 1})

    def count_early(self) -> Self:
        """One more early wake-up."""
        return self.model_copy(update={"early_wakeups": self.early_wakeups + 1})

    def next_wake(self, *, now: datetime) -> datetime:
        """When to ask the engine for the next wake-up, seen from `now`.

        A second early wake-up shows that the engine's clock runs ahead of ours by about the rest: asking for
        the same moment would come back at once, again and again, so the difference is added.
        """
        if self.wake_at is None:
            raise ValueError("nothing is armed")
        return self.wake_at + max(self.wake_at - now, timedelta(0)) if self.early_wakeups > 1 else self.wake_at

    def _next(self, *, due_at: datetime | None, wake_at: datetime | None) -> Self:
        return self.model_copy(
            update={
                "generation": self.generation + 1,
                "due_at": due_at,
                "wake_at": wake_at,
                "early_wakeups": 0,
            }
        )
