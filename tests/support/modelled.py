"""One project with a model of the engine: every wake-up that a decision asks for is a message that may come.

It may come late, early, twice, out of order, after a cancel, or never; the reconciler may send another. What
happens is recorded as a history for `tests/support/invariants.py`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lifecycle.errors import LifecycleError
from lifecycle.models import Actor
from lifecycle.scheduler import deletion_rules as rules
from lifecycle.scheduler.deletion_rules import Authority, Decision
from lifecycle.scheduler.model import Deletion, Phase, Settle
from tests.support import factories
from tests.support.invariants import PROMISE, Event, Outcome, What

_MANY = 50


class Message(NamedTuple):
    """A wake-up under way: what it carries, and when the engine will deliver it."""

    generation: int
    at: datetime


class Modelled:
    """A project, its state in the engine, the messages under way, and the clock of the API."""

    def __init__(self) -> None:
        self.now = factories.NOW
        self.deletion = factories.FRESH
        self.messages: list[Message] = []
        self.history: list[Event] = []
        self._lost = False

    def schedule(self, grace: timedelta, *, by: Actor) -> None:
        """Ask for the deletion."""

        def ask(deletion: Deletion) -> Decision:
            return factories.schedule(deletion, by=by, at=self.now, grace_seconds=grace.total_seconds())

        self._ask(What.SCHEDULED, ask)

    def cancel(self, *, by: Actor, generation: int | None) -> None:
        """Ask to cancel, perhaps exactly the generation that was seen."""
        self._ask(What.CANCELLED, lambda it: factories.cancel(it, by=by, at=self.now, generation=generation))

    def reschedule(self, grace: timedelta, *, by: Actor) -> None:
        """Ask to move it."""
        seconds = grace.total_seconds()
        self._ask(What.MOVED, lambda it: factories.reschedule(it, by=by, at=self.now, grace_seconds=seconds))

    def expedite(self, *, by: Actor) -> None:
        """Ask to do it soon."""
        self._ask(What.EXPEDITED, lambda it: factories.expedite(it, by=by, at=self.now))

    def place_hold(self, name: str) -> None:
        """Ask to hold it."""
        self._ask(What.HELD, lambda it: factories.hold(it, name, at=self.now), name=name)

    def release_hold(self, name: str) -> None:
        """Ask to release a hold."""
        self._ask(What.RELEASED, lambda it: factories.release(it, name, at=self.now), name=name)

    def deliver(self, message: Message, *, skew: timedelta, authority: Authority, again: bool) -> None:
        """Deliver a wake-up to a worker whose clock differs by `skew`; `again` keeps it for a second delivery."""
        if not again:
            self.messages.remove(message)
        before, now = self.deletion, self.now + skew
        # As `ProjectService` does it: what is stale asks nobody, and only the deed itself looks up authority.
        if rules.is_stale(before, message.generation):
            decision = rules.ignore(before)
        else:
            known = authority if rules.wants_authority(before) else Authority.UNKNOWN
            decision = rules.wake(before, message.generation, now=now, authority=known)
        self._carry_out(decision)
        self._record(What.WOKEN, message.generation, at=now, before=before, after=self.deletion)
        if decision.transition is not None and decision.transition.action == "deletion.blocked":
            self._record(What.BLOCKED, self.deletion.generation, at=now)
        if decision.purge:
            due_at = self.deletion.countdown.due_at
            self._record(What.STARTED, self.deletion.generation, at=now, due_at=due_at)

    def lose(self, message: Message) -> None:
        """Remove a wake-up behind everybody's back."""
        self.messages.remove(message)
        self._lost = True

    def rearm(self) -> None:
        """Let the reconciler send the wake-up that the state wants."""
        wake_at = self.deletion.countdown.wake_at
        if self.deletion.phase is Phase.SCHEDULED and wake_at is not None:
            self.messages.append(Message(self.deletion.generation, max(wake_at, self.now)))

    def settle(self, generation: int) -> None:
        """Let a purge report that it is finished."""
        before = self.deletion
        self._carry_out(rules.settle(before, Settle(generation=generation, deleted_at=self.now)))
        if self.deletion is not before:
            self._record(What.FINISHED, generation)

    def show(self) -> None:
        """Look at it."""
        self._record(What.SHOWN, self.deletion.generation, due_at=self._pending())

    def run_to_the_end(self) -> None:
        """Deliver every wake-up on time, with honest clocks and authority granted, until nothing is under way."""
        if self._lost:
            self.rearm()
        for _ in range(_MANY):
            if not self.messages:
                break
            message = min(self.messages, key=lambda one: one.at)
            self.now = max(self.now, message.at)
            self.deliver(message, skew=timedelta(0), authority=Authority.GRANTED, again=False)
        self.now = max(self.now, self._pending() or self.now) + 2 * PROMISE
        self.show()

    def _ask(self, what: What, decide: Callable[[Deletion], Decision], *, name: str | None = None) -> None:
        before = self.deletion
        try:
            decision = decide(before)
        except LifecycleError as error:
            self._record(what, before.generation, outcome=Outcome.REFUSED, code=error.code.value)
            return
        self._carry_out(decision)
        if what is What.SCHEDULED and decision.transition is None:
            self._record(what, before.generation, outcome=Outcome.REFUSED, code="already_scheduled")
            return
        cancellation = self.deletion.cancellation
        generation = cancellation.generation if what is What.CANCELLED and cancellation else self.deletion.generation
        self._record(what, generation, due_at=self._pending(), hold=name)

    def _carry_out(self, decision: Decision) -> None:
        self.deletion = decision.deletion
        if decision.wake_at is not None:
            self.messages.append(Message(self.deletion.generation, decision.wake_at))

    def _pending(self) -> datetime | None:
        pending = self.deletion.phase is Phase.SCHEDULED and not self.deletion.blocked_by
        return self.deletion.countdown.due_at if pending else None

    def _record(self, what: What, generation: int, *, at: datetime | None = None, **more: Any) -> None:
        event = Event(what=what, project=factories.PROJECT.id, at=at or self.now, generation=generation, **more)
        self.history.append(event)
