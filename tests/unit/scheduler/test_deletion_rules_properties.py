"""Any order of clicks and timers: the invariants of the design hold, and a broken rule is found."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lifecycle.models import Actor
from lifecycle.scheduler import deletion_rules as rules
from lifecycle.scheduler.countdown import Countdown
from lifecycle.scheduler.deletion_rules import Authority, Decision
from lifecycle.scheduler.model import Deletion, Phase
from tests.support.factories import ADA, BOB, OLIVIA
from tests.support.invariants import violations
from tests.support.modelled import Message, Modelled
from tests.support.profiles import HUNT, QUICK, STORIES

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

people = st.sampled_from((ADA, ADA, BOB, OLIVIA))
graces = st.sampled_from((DAY, 2 * DAY, 3 * DAY, MINUTE))
holds = st.sampled_from(("legal", "legal", "audit"))
skews = st.sampled_from((-HOUR, -timedelta(milliseconds=1), timedelta(0), timedelta(seconds=3), HOUR))
authorities = st.sampled_from((Authority.GRANTED, Authority.GRANTED, Authority.LOST, Authority.UNKNOWN))


class Deletions(RuleBasedStateMachine):
    """People who click, and an engine that delivers wake-ups as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.project = Modelled()
        self.skew = timedelta(0)

    @initialize(grace=graces, skew=skews)
    def begin(self, grace: timedelta, skew: timedelta) -> None:
        """A worker whose clock may be wrong, and somebody who schedules."""
        self.skew = skew
        self.project.schedule(grace, by=ADA)

    @rule(passed=st.sampled_from((timedelta(seconds=1), HOUR, DAY)))
    def wait(self, passed: timedelta) -> None:
        """Time passes, and nothing else happens."""
        self.project.now += passed

    @rule(grace=graces, by=people)
    def schedule(self, grace: timedelta, by: Actor) -> None:
        """Somebody schedules."""
        self.project.schedule(grace, by=by)

    @rule(by=people, seen=st.sampled_from((None, 0, -1)))
    def cancel(self, by: Actor, seen: int | None) -> None:
        """Somebody cancels, with the present, an old or no ETag."""
        self.project.cancel(by=by, generation=None if seen is None else self.project.deletion.generation + seen)

    @rule(grace=graces, by=people)
    def reschedule(self, grace: timedelta, by: Actor) -> None:
        """Somebody moves it."""
        self.project.reschedule(grace, by=by)

    @rule(by=people)
    def expedite(self, by: Actor) -> None:
        """Somebody wants it soon."""
        self.project.expedite(by=by)

    @rule(name=holds)
    def hold_or_release(self, name: str) -> None:
        """Somebody holds it, or releases that hold."""
        if any(hold.name == name for hold in self.project.deletion.holds):
            self.project.release_hold(name)
        else:
            self.project.place_hold(name)

    @precondition(lambda self: self.project.messages)
    @rule(count=st.integers(1, 3), authority=authorities, again=st.booleans())
    def deliver_the_next(self, count: int, authority: Authority, *, again: bool) -> None:
        """Time passes until the next wake-ups come, on time by the clock of the worker."""
        for _ in range(count):
            if not self.project.messages:
                break
            message = min(self.project.messages, key=lambda one: one.at)
            self.project.now = max(self.project.now, message.at - self.skew)
            self.project.deliver(message, skew=self.skew, authority=authority, again=again)

    @precondition(lambda self: self.project.messages)
    @rule(data=st.data(), skew=skews, authority=authorities, again=st.booleans())
    def deliver_any(self, data: st.DataObject, skew: timedelta, authority: Authority, *, again: bool) -> None:
        """Any wake-up comes now, whenever it was wanted."""
        self.project.deliver(self._any(data), skew=skew, authority=authority, again=again)

    @rule(data=st.data(), lost=st.booleans())
    def lose_or_rearm(self, data: st.DataObject, *, lost: bool) -> None:
        """A wake-up is removed behind our back, or the reconciler sends one that the state wants."""
        if lost and self.project.messages:
            self.project.lose(self._any(data))
        else:
            self.project.rearm()

    @precondition(lambda self: self.project.deletion.phase is Phase.PURGING)
    @rule(late=st.sampled_from((0, 1)))
    def settle(self, late: int) -> None:
        """A purge reports back, or one of an older generation does."""
        self.project.settle(self.project.deletion.generation - late)

    @invariant()
    def shown(self) -> None:
        """Whoever looks, sees it."""
        self.project.show()

    def teardown(self) -> None:
        """In the end every wake-up comes on time, and nobody was lied to."""
        self.project.run_to_the_end()

        assert not violations(self.project.history)

    def _any(self, data: st.DataObject) -> Message:
        return data.draw(st.sampled_from(self.project.messages))


TestDeletions = Deletions.TestCase
TestDeletions.settings = STORIES
TestDeletions.__doc__ = "Whatever people click and whenever timers come, every promise about deletions is kept."


@QUICK
@given(skew=st.timedeltas(-2 * DAY, 2 * DAY), waited=st.timedeltas(timedelta(0), 2 * DAY))
def test_a_released_deletion_always_begins(skew: timedelta, waited: timedelta) -> None:
    """When the last hold is released, the deletion goes on, whatever the clocks of API and worker say."""
    project = Modelled()
    project.schedule(3 * DAY, by=ADA)
    project.place_hold("legal")
    while project.messages:
        message = project.messages[0]
        project.now = max(project.now, message.at - skew)
        project.deliver(message, skew=skew, authority=Authority.GRANTED, again=False)
    project.now += waited
    project.release_hold("legal")
    project.run_to_the_end()

    assert not violations(project.history)


def _keep_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Countdown, "disarm", lambda self: self.model_copy(update={"due_at": None, "wake_at": None}))


def _heed_stale_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "is_stale", lambda deletion, _: deletion.phase is not Phase.SCHEDULED)


def _forget_the_wakeup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_arm_and_decide", rules._decide)  # noqa: SLF001  the bug is inside


def _forget_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = rules.wake

    def wake(deletion: Deletion, generation: int, *, now: datetime, authority: Authority) -> Decision:
        return honest(deletion.model_copy(update={"holds": ()}), generation, now=now, authority=authority)

    monkeypatch.setattr(rules, "wake", wake)


def _purge_again(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = rules.ignore

    def ignore(deletion: Deletion) -> Decision:
        return honest(deletion)._replace(purge=deletion.phase is Phase.PURGING)

    monkeypatch.setattr(rules, "ignore", ignore)


@pytest.mark.parametrize(
    ("plant", "found_by"),
    [
        (_keep_generation, "generations_only_grow"),
        (_heed_stale_wakeups, "stale_wakeups_do_nothing"),
        (_forget_the_wakeup, "what_is_due_begins"),
        (_forget_holds, "holds_are_kept"),
        (_purge_again, "purged_at_most_once"),
    ],
)
def test_a_broken_rule_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], found_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in the rules does not get past these tests."""
    plant(monkeypatch)

    with pytest.raises(AssertionError, match=found_by):
        run_state_machine_as_test(Deletions, settings=HUNT)
