"""Any order of clicks, wake-ups, endings and lost names: the invariants about the certificate of a domain hold."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from lifecycle.certs import events, rules
from lifecycle.certs.decision import Abandon, Decision, Issue, Look, LookLater, Recall, Rouse
from lifecycle.certs.model import (
    Act,
    Advised,
    Assignment,
    Certificate,
    Ending,
    Forfeit,
    IssueCertificate,
    Outcome,
    RescheduleRenewal,
    RevokeCertificate,
    Revoked,
    Seal,
    Settled,
    Version,
    Wish,
)
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.renewals import Life
from lifecycle.certs.verdicts import RenewalInfo
from lifecycle.errors import LifecycleError
from lifecycle.models import Actor, Role
from tests.support.profiles import STORIES

DOMAIN = "www.example.com"
ADMIN = Actor(workspace="ws_1", key="key_1", person="ann@example.com", role=Role.ADMINISTRATOR)
LIFE = timedelta(days=6)
START = datetime(2026, 11, 21, 12, tzinfo=UTC)

moments = st.floats(0, 1)


class Timer(NamedTuple):
    """A wake-up that the engine keeps."""

    at: datetime
    generation: int
    looks: bool


class Story(RuleBasedStateMachine):
    """People, an engine that delivers when it likes, and a CA with moods."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.certificate = Certificate()
        self.timers: list[Timer] = []
        self.at_work: list[Assignment] = []
        self.looking = 0
        self.recalls: list[Recall] = []
        self.successes: list[datetime] = []
        self.number = 0
        self.cancelled = False
        self.dropped: set[str] = set()
        self.issued: set[str] = set()

    def carry_out(self, decision: Decision, *, asked: bool = False) -> None:
        """What the service does with a decision."""
        before, after = self.certificate, decision.certificate
        assert after.countdown.generation >= before.countdown.generation
        assert after.numbered >= before.numbered
        if before.version is not None and not before.removed:
            assert after.version is not None
            assert after.version.number >= before.version.number
        for effect in decision.effects:
            match effect:
                case Issue(assignment):
                    assert {one.issuance for one in self.at_work} <= set(after.leaving), "two issuances at a time"
                    assert asked or not self.cancelled, "issued although the renewal was cancelled"
                    assert assignment.issuance not in self.dropped, "went on with what was given up"
                    assert set(assignment.wish.names).isdisjoint(after.forfeited), "issued with somebody else's name"
                    self.at_work.append(assignment)
                case Abandon(issuance):
                    assert issuance not in {one.issuance for one in self.at_work}, "given up while it is at work"
                    assert issuance not in self.issued, "given up although it issued"
                    self.dropped.add(issuance)
                case Rouse():
                    assert after.countdown.wake_at is not None
                    self.timers.append(Timer(after.countdown.wake_at, after.countdown.generation, looks=False))
                case LookLater():
                    assert after.next_look_at is not None
                    self.timers.append(Timer(after.next_look_at, after.countdown.generation, looks=True))
                case Look():
                    self.looking += 1
                case Recall():
                    self.recalls.append(effect)
                case _:
                    pass
        self.check_orders(before, after)
        self.certificate = after
        self.check()

    def check_orders(self, before: Certificate, after: Certificate) -> None:
        """Whoever was there and is no more has its certificate, is at work still, or is given up."""
        kept = {one.issuance for one in (before.running,) if one is not None} | set(before.leaving)
        kept -= {one.issuance for one in (after.running,) if one is not None} | set(after.leaving)
        assert kept <= self.dropped | self.issued, "an order that nobody gives up"

    def check(self) -> None:
        """What must hold at every moment."""
        one = self.certificate
        waits = one.exists and one.version is not None and not one.is_stopped
        at_work = [a for a in self.at_work if a.issuance not in one.leaving]
        if one.forfeited and not at_work:
            assert one.countdown.due_at is None, "renewed with somebody else's name"
        if waits and not at_work:
            due = one.countdown.due_at
            assert due is not None, "a certificate that nobody renews"
            live = [t for t in self.timers if t.generation == one.countdown.generation and not t.looks]
            assert any(t.at <= max(due, self.now) for t in live), "a renewal without a wake-up"
        if one.next_look_at is not None:
            looks = [t for t in self.timers if t.looks and t.generation == one.countdown.generation]
            assert any(t.at <= one.next_look_at for t in looks), "a look without a wake-up"
        running = one.running
        if running is not None and running.is_at_work:
            assert [(a.issuance, a.run) for a in at_work] == [(running.issuance, running.run)]

    def fresh(self) -> str:
        """A new issuance id."""
        self.number += 1
        return f"iss_{self.number}"

    @rule(names=st.sampled_from((("www.example.com",), ("www.example.com", "example.com"))), force=st.booleans())
    def issue(self, names: tuple[str, ...], *, force: bool) -> None:
        """Somebody asks for a certificate."""
        wish = Wish(identifiers=tuple(Identifier(value=name) for name in names), challenge=ChallengeType.HTTP_01)
        command = IssueCertificate(actor=ADMIN, now=self.now, wish=wish, force=force)
        try:
            decision = rules.issue(DOMAIN, self.certificate, command, fresh=self.fresh())
        except LifecycleError:
            return
        self.cancelled = self.cancelled and not decision.effects
        self.carry_out(decision, asked=True)

    @rule(force=st.booleans())
    def renew(self, *, force: bool) -> None:
        """Somebody renews now."""
        act = Act(actor=ADMIN, now=self.now, force=force)
        try:
            decision = rules.renew(DOMAIN, self.certificate, act, fresh=self.fresh())
        except LifecycleError:
            return
        self.cancelled = self.cancelled and not decision.effects
        self.carry_out(decision, asked=True)

    @rule()
    def cancel(self) -> None:
        """Somebody cancels the renewal."""
        try:
            decision, first = rules.cancel_renewal(DOMAIN, self.certificate, Act(actor=ADMIN, now=self.now))
        except LifecycleError:
            return
        self.cancelled = True
        self.carry_out(decision)
        again, second = rules.cancel_renewal(DOMAIN, self.certificate, Act(actor=ADMIN, now=self.now))
        assert (first, again.certificate) == (second, self.certificate)

    @rule(share=moments)
    def move(self, share: float) -> None:
        """Somebody moves the renewal."""
        command = RescheduleRenewal(actor=ADMIN, now=self.now, due_at=self.now + LIFE * share)
        try:
            decision = rules.reschedule_renewal(DOMAIN, self.certificate, command)
        except LifecycleError:
            return
        self.carry_out(decision)
        assert self.certificate.countdown.due_at == command.due_at

    @rule(reason=st.sampled_from((0, 1, 4)))
    def revoke(self, reason: int) -> None:
        """Somebody revokes it."""
        try:
            command = RevokeCertificate(actor=ADMIN, now=self.now, reason=reason)
            self.carry_out(rules.revoke(DOMAIN, self.certificate, command))
        except LifecycleError:
            return

    @rule(name=st.sampled_from(("www.example.com", "example.com")))
    def lose(self, name: str) -> None:
        """Somebody else proves that they control a name."""
        self.carry_out(events.forfeit(self.certificate, Forfeit(name=name, winner="ws_2"), now=self.now))

    @rule()
    def halt(self) -> None:
        """Somebody gives the issuance up."""
        try:
            self.carry_out(rules.halt(DOMAIN, self.certificate, Act(actor=ADMIN, now=self.now)))
        except LifecycleError:
            return

    @rule()
    def seal(self) -> None:
        """The domain is taken away; whoever asks for it next begins anew."""
        self.carry_out(events.seal(self.certificate, Seal(), now=self.now))

    @precondition(lambda self: self.recalls)
    @rule(works=st.booleans())
    def revoked(self, *, works: bool) -> None:
        """The CA has revoked it, or would not."""
        recall = self.recalls.pop(0)
        message = Revoked(version=recall.number, reason=recall.reason, failure="" if works else "no")
        self.carry_out(events.revoked(DOMAIN, self.certificate, message, now=self.now, fresh=self.fresh()), asked=True)

    @precondition(lambda self: self.timers)
    @rule(which=st.integers(0, 100))
    def wake(self, which: int) -> None:
        """Time goes on to a wake-up; the engine may deliver a later one before an earlier one."""
        timer = self.timers.pop(which % len(self.timers))
        self.now = max(self.now, timer.at)
        if timer.looks:
            self.carry_out(events.look_due(self.certificate, timer.generation, now=self.now))
        else:
            self.carry_out(
                events.renewal_due(DOMAIN, self.certificate, timer.generation, now=self.now, fresh=self.fresh())
            )

    @precondition(lambda self: self.looking)
    @rule(begins=st.floats(-1, 1.2), answered=st.booleans(), chance=moments)
    def advise(self, begins: float, chance: float, *, answered: bool) -> None:
        """The CA says when it wants the renewal, or nothing."""
        self.looking -= 1
        version = self.certificate.version
        if version is None or version.certificate_id is None:
            return
        start = version.life.not_before + LIFE * begins
        window = RenewalInfo(certificate_id=version.certificate_id, start=start, end=start + LIFE / 50)
        message = Advised(certificate_id=version.certificate_id, window=window if answered else None)
        self.carry_out(events.advised(self.certificate, message, now=self.now, random=chance))

    @precondition(lambda self: self.at_work)
    @rule(ending=st.sampled_from(Ending), seconds=st.integers(0, 90_000), chance=moments, which=st.integers(0, 2))
    def settle(self, ending: Ending, seconds: int, chance: float, which: int) -> None:
        """An issuance ends."""
        assignment = self.at_work.pop(which % len(self.at_work))
        self.now += timedelta(seconds=1)
        version = None
        if ending is Ending.ISSUED:
            self.successes.append(self.now)
            self.issued.add(assignment.issuance)
            version = _version(assignment, self.now)
        outcome = Outcome(ending=ending, message="no", version=version, until=self.now + timedelta(seconds=seconds))
        before = self.certificate
        message = Settled(issuance=assignment.issuance, run=assignment.run, workspace="ws_1", outcome=outcome)
        self.carry_out(events.settle(DOMAIN, before, message, now=self.now, random=chance))
        after = self.certificate
        if ending is not Ending.ISSUED:
            assert after.version == before.version, "a failure touched the working certificate"
        running = before.running
        is_wanted = running is not None and not before.removed and not before.forfeited
        is_ours = running is not None and running.issuance == assignment.issuance and not running.is_halted
        if ending is Ending.WAIT and is_wanted and is_ours:
            assert after.attempts == before.attempts, "waiting as told was counted as an attempt"
            assert after.countdown.due_at == _told(before.version, self.now + timedelta(seconds=seconds), self.now)
        repeated = events.settle(DOMAIN, after, message, now=self.now, random=chance)
        assert repeated == Decision(after), "told twice, done twice"

    @rule(hours=st.integers(0, 40))
    def wait(self, hours: int) -> None:
        """Time passes."""
        self.now += timedelta(hours=hours)


def _told(version: Version | None, until: datetime, now: datetime) -> datetime:
    """As long as the CA says, but never past a twelfth of what is left of a working certificate, or a minute."""
    if version is None:
        return until
    return min(until, now + max((version.life.not_after - now) / 12, timedelta(minutes=1)))


def _version(assignment: Assignment, now: datetime) -> Version:
    return Version(
        id=f"crt_{assignment.number}",
        number=assignment.number,
        ca="ca",
        serial=f"{assignment.number:x}",
        issuer="CN=CA",
        certificate_id=f"aki.{assignment.number}",
        life=Life(not_before=now, not_after=now + LIFE),
        key_digest="",
        issued_at=now,
        cause=assignment.cause,
    )


TestCertificates = Story.TestCase
TestCertificates.settings = settings(STORIES, max_examples=200)
