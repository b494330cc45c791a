"""What people may ask of a certificate, and what happens to it by itself, by example."""

import pytest

from lifecycle.certs import entries, events, rules
from lifecycle.certs.decision import Decision, Halt, Issue, Look, Recall, Rouse
from lifecycle.certs.model import (
    Advised,
    Cause,
    Certificate,
    Ending,
    RescheduleRenewal,
    RevokeCertificate,
    Revoked,
    Seal,
    Status,
)
from lifecycle.certs.renewals import Source
from lifecycle.certs.verdicts import RenewalInfo
from lifecycle.errors import Code
from lifecycle.ledger.entry import ActionState
from lifecycle.models import Role
from tests.support.certificate_factory import (
    DAY,
    DOMAIN,
    HOUR,
    LIFE,
    NOW,
    act,
    actor,
    ask,
    begun,
    ended,
    issued,
    refusal,
    version,
)


def test_a_domain_belongs_to_one_workspace() -> None:
    """Nobody else gets a certificate for it, or hears that there is one."""
    stranger = actor(workspace="ws_2")
    with refusal(Code.CERTIFICATE_TAKEN):
        rules.issue(DOMAIN, issued(), ask(stranger), fresh="iss_2")
    with refusal(Code.CERTIFICATE_NOT_FOUND):
        rules.renew(DOMAIN, issued(), act(stranger), fresh="iss_2")


def test_what_is_not_there_is_not_found() -> None:
    """Without a request there is nothing to renew, halt, cancel or revoke."""
    with refusal(Code.CERTIFICATE_NOT_FOUND):
        rules.renew(DOMAIN, Certificate(), act(), fresh="iss_2")
    with refusal(Code.CERTIFICATE_NOT_FOUND):
        rules.cancel_renewal(DOMAIN, Certificate(), act())


@pytest.mark.parametrize("role", [Role.VIEWER])
def test_viewers_only_look(role: Role) -> None:
    """Whoever may only look changes nothing."""
    with refusal(Code.ROLE_REQUIRED):
        rules.issue(DOMAIN, Certificate(), ask(actor(role)), fresh="iss_1")
    with refusal(Code.ROLE_REQUIRED):
        rules.renew(DOMAIN, issued(), act(actor(role)), fresh="iss_1")


def test_only_administrators_revoke() -> None:
    """An operator cannot take a certificate from visitors."""
    with refusal(Code.ROLE_REQUIRED):
        rules.revoke(DOMAIN, issued(), RevokeCertificate(actor=actor(Role.OPERATOR), now=NOW))


def test_asking_again_changes_nothing() -> None:
    """The same wish twice is one issuance; and when it is there, none."""
    certificate = begun()
    assert rules.issue(DOMAIN, certificate, ask(), fresh="iss_2") == Decision(certificate)
    assert rules.issue(DOMAIN, issued(), ask(), fresh="iss_2") == Decision(issued())


def test_other_names_wait_for_the_issuance_at_work() -> None:
    """One issuance at a time."""
    with refusal(Code.CERTIFICATE_ISSUING):
        rules.issue(DOMAIN, begun(), ask(None, DOMAIN, "example.com"), fresh="iss_2")


def test_the_budget_holds_people_back_until_they_insist() -> None:
    """Two a day are enough; `force` is for whoever knows better."""
    spent = issued(issued_at=(NOW - HOUR, NOW))
    with refusal(Code.CERTIFICATE_BUDGET):
        rules.renew(DOMAIN, spent, act(), fresh="iss_2")
    with refusal(Code.CERTIFICATE_BUDGET):
        rules.issue(DOMAIN, spent, ask(None, DOMAIN, "example.com"), fresh="iss_2")
    [effect] = rules.renew(DOMAIN, spent, act(force=True), fresh="iss_2").effects
    assert isinstance(effect, Issue)


def test_failed_validations_hold_people_back() -> None:
    """A fourth attempt in an hour would cost the CA's patience with that name."""
    failed = issued().model_copy(update={"failures": (NOW, NOW, NOW)})
    with refusal(Code.CERTIFICATE_VALIDATION_PAUSE):
        rules.renew(DOMAIN, failed, act(), fresh="iss_2")


def test_whoever_looked_at_an_older_one_is_told() -> None:
    """A decision about a countdown that was moved meanwhile is refused."""
    with refusal(Code.CERTIFICATE_GENERATION_MISMATCH):
        rules.cancel_renewal(DOMAIN, issued(), act(generation=77))


def test_a_cancelled_renewal_stays_cancelled() -> None:
    """The first answer is given again, nothing wakes it, and people see why; asking anew begins again."""
    before = issued()
    decision, cancelled = rules.cancel_renewal(DOMAIN, before, act())
    after = decision.certificate

    assert rules.cancel_renewal(DOMAIN, after, act(now=NOW + HOUR))[1] == cancelled
    assert after.countdown.due_at is None
    stale = events.renewal_due(DOMAIN, after, before.countdown.generation, now=NOW + 80 * DAY, fresh="iss_2")
    assert stale.effects == ()
    [entry] = entries.entries(DOMAIN, before, after, decision.transitions)
    assert entry.pending_action is not None
    assert entry.pending_action.state is ActionState.CANCELLED
    with refusal(Code.CERTIFICATE_RENEWAL_NOT_SCHEDULED):
        rules.reschedule_renewal(DOMAIN, after, RescheduleRenewal(actor=actor(), now=NOW, due_at=NOW + DAY))
    assert rules.issue(DOMAIN, after, ask(), fresh="iss_2").certificate.cancelled is None


def test_a_moved_renewal_comes_then() -> None:
    """The list shows the new moment; the CA's next answer does not undo it unless its window changes."""
    moved = rules.reschedule_renewal(DOMAIN, issued(), RescheduleRenewal(actor=actor(), now=NOW, due_at=NOW + 3 * DAY))
    [entry] = entries.entries(DOMAIN, issued(), moved.certificate, moved.transitions)
    assert entry.pending_action is not None
    assert (entry.pending_action.due_at, entry.pending_action.state) == (NOW + 3 * DAY, ActionState.PENDING)
    assert Rouse() in moved.effects

    window = RenewalInfo(certificate_id="a.1", start=NOW + 50 * DAY, end=NOW + 51 * DAY)
    advised = events.advised(moved.certificate, Advised(certificate_id="a.1", window=window), now=NOW, random=0.5)
    assert advised.certificate.countdown.due_at == window.start + (window.end - window.start - HOUR / 60) / 2


def test_a_renewal_is_never_moved_into_the_emergency() -> None:
    """Whoever moves it too far is told how far it can be moved."""
    late = RescheduleRenewal(actor=actor(), now=NOW, due_at=LIFE.floor + HOUR)
    with refusal(Code.CERTIFICATE_RENEWAL_TOO_LATE):
        rules.reschedule_renewal(DOMAIN, issued(), late)


def test_the_floor_goes_before_what_the_ca_wants() -> None:
    """A window at the end of the life is too late for us."""
    window = RenewalInfo(certificate_id="a.1", start=LIFE.not_after - HOUR, end=LIFE.not_after)
    after = ended(begun(), Ending.ISSUED, version=version(), window=window).certificate
    assert (after.countdown.due_at, after.source) == (LIFE.floor, Source.FLOOR)


def test_many_that_were_asked_for_together_are_renewed_apart() -> None:
    """Each has its own place in the former half of the time; from the second renewal on, the CA decides."""
    due = []
    for index in range(10):
        asked = rules.issue(DOMAIN, Certificate(), ask(spread=(index, 10)), fresh="iss_1").certificate
        after = ended(asked, Ending.ISSUED, version=version()).certificate
        assert (after.source, after.spread) == (Source.SPREAD, None)
        assert after.countdown.due_at is not None
        due.append(after.countdown.due_at)
    assert due == sorted(due)
    assert due[-1] - due[0] > 25 * DAY


def test_halt_needs_something_at_work() -> None:
    """What is at work is told to stop; nothing else can be."""
    with refusal(Code.CERTIFICATE_NOT_ISSUING):
        rules.halt(DOMAIN, issued(), act())
    assert rules.halt(DOMAIN, begun(), act()).effects == (Halt("iss_1"),)


def test_revoking_needs_a_certificate_and_is_done_once() -> None:
    """Without one it is refused; a second request while the first is under way does nothing."""
    revoke = RevokeCertificate(actor=actor(), now=NOW, reason=4)
    with refusal(Code.CERTIFICATE_NOT_ISSUED):
        rules.revoke(DOMAIN, begun(), revoke)
    decision = rules.revoke(DOMAIN, issued(), revoke)
    assert decision.effects == (Recall(id="crt_1", number=1, reason=4),)
    assert rules.revoke(DOMAIN, decision.certificate, revoke).effects == ()


def test_a_disclosed_key_is_replaced_and_another_reason_ends_it() -> None:
    """Only after a disclosure there is another certificate at once, whatever the budget says."""
    asked = rules.revoke(DOMAIN, issued(issued_at=(NOW, NOW)), RevokeCertificate(actor=actor(), now=NOW)).certificate
    over = events.revoked(DOMAIN, asked, Revoked(version=1, reason=4), now=NOW, fresh="iss_2")
    assert (over.effects, over.certificate.status) == ((), Status.REVOKED)

    again = events.revoked(DOMAIN, asked, Revoked(version=1, reason=1), now=NOW, fresh="iss_2")
    [effect] = again.effects
    assert isinstance(effect, Issue)
    assert effect.assignment.cause is Cause.KEY_COMPROMISE


def test_a_revocation_that_failed_can_be_asked_again() -> None:
    """The certificate goes on as before, and the reason is shown."""
    asked = rules.revoke(DOMAIN, issued(), RevokeCertificate(actor=actor(), now=NOW)).certificate
    failed = events.revoked(DOMAIN, asked, Revoked(version=1, reason=4, failure="no"), now=NOW, fresh="iss_2")
    assert (failed.certificate.status, failed.certificate.last_error) == (Status.ACTIVE, "no")
    assert rules.revoke(DOMAIN, failed.certificate, RevokeCertificate(actor=actor(), now=NOW)).effects


@pytest.mark.parametrize("ending", [one for one in Ending if one is not Ending.ISSUED])
def test_a_failed_renewal_is_always_tried_again_and_touches_nothing(ending: Ending) -> None:
    """The version in use stays, and there is a next attempt within a day, long before it expires."""
    renewing = rules.renew(DOMAIN, issued(), act(), fresh="iss_2").certificate
    decision = ended(renewing, ending, until=NOW + HOUR if ending is Ending.WAIT else None)

    after = decision.certificate
    assert after.version == version()
    assert Rouse() in decision.effects
    assert after.countdown.due_at is not None
    if ending is not Ending.HALTED:
        assert NOW <= after.countdown.due_at <= NOW + DAY * 1.2


@pytest.mark.parametrize(
    ("ending", "is_tried"), [(Ending.REFUSED, False), (Ending.AGAIN, True), (Ending.INVALID, True)]
)
def test_a_first_certificate_that_cannot_be_had_is_left_to_people(ending: Ending, *, is_tried: bool) -> None:
    """What the same request can never bring is not asked for again by itself."""
    after = ended(begun(), ending).certificate
    assert (after.countdown.due_at is not None) is is_tried
    assert after.last_error == "why"


def test_an_issuance_that_waits_goes_on_with_its_order() -> None:
    """The same issuance, as its next run; a new order only when the former one is dead."""
    waiting = ended(begun(), Ending.AGAIN).certificate
    [effect] = events.renewal_due(DOMAIN, waiting, waiting.countdown.generation, now=NOW + DAY, fresh="iss_2").effects
    assert isinstance(effect, Issue)
    assert (effect.assignment.issuance, effect.assignment.run) == ("iss_1", 2)

    dead = ended(begun(), Ending.INVALID).certificate
    [effect] = events.renewal_due(DOMAIN, dead, dead.countdown.generation, now=NOW + DAY, fresh="iss_2").effects
    assert isinstance(effect, Issue)
    assert (effect.assignment.issuance, effect.assignment.number) == ("iss_2", 2)


def test_a_look_out_of_turn_asks_the_ca() -> None:
    """Only about what is in use, and not while it is being replaced."""
    assert rules.look(DOMAIN, issued(), act()).effects == (Look(ca="ca", certificate_id="a.1"),)
    assert rules.look(DOMAIN, begun(), act()).effects == ()


def test_a_removed_certificate_is_renewed_no_more() -> None:
    """After the purge has begun nothing is issued, and what is at work is told to stop."""
    sealed = events.seal(issued(), Seal(), now=NOW).certificate
    assert (sealed.status, sealed.countdown.due_at) == (Status.REMOVED, None)
    assert events.seal(begun(), Seal(), now=NOW).effects == (Halt("iss_1"),)
    with refusal(Code.CERTIFICATE_NOT_FOUND):
        rules.renew(DOMAIN, sealed, act(), fresh="iss_2")
