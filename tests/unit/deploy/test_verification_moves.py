"""The clock of a claim to a domain: what wakes it, what it asks for, and what is recorded of it."""

from datetime import timedelta
from typing import Any

import pytest

from lifecycle.deploy.model import Environment
from lifecycle.deploy.verification import moves
from lifecycle.deploy.verification.model import (
    Begin,
    Forget,
    Former,
    Looked,
    Lost,
    Refused,
    Retry,
    Ruling,
    Status,
    Verification,
)
from lifecycle.deploy.verification.moves import Ask, Certify, Decision, Displace, Forfeit, Lapse, Rouse
from tests.support.factories import ADA, HOUR, NOW

BEGIN = Begin(
    project="prj_1",
    workspace="ws_1",
    hostname="www.example.com",
    environment=Environment.PRODUCTION,
    token="token-1",  # noqa: S106  stands in public DNS
    now=NOW,
    actor=ADA,
)
FORMER = Former(id="dom_2", project="prj_2", token="token-2", version=3)  # noqa: S106  stands in public DNS


def _begun() -> Verification:
    return moves.begin(None, BEGIN).verification


def _looked(before: Verification, status: Status = Status.VERIFIED, **more: Any) -> Decision:
    plain = {"version": before.version + 1, "status": status, "next_check_at": NOW + HOUR}
    message = Looked(token=before.token, ruling=Ruling(**{**plain, **more}))
    return moves.looked(before, message, now=NOW)


def _verified(**more: Any) -> Verification:
    return _looked(_begun(), routed=True, certificate=True, **more).verification


def test_a_new_claim_is_looked_at_once_and_recorded_with_its_author() -> None:
    """The first look does not wait, and the audit log says who wanted the domain."""
    begun = moves.begin(None, BEGIN)

    assert begun.effects == (Ask(), Rouse())
    assert begun.transition is not None
    assert (begun.transition.action, begun.transition.actor) == ("domain.added", ADA)
    assert begun.verification.status is Status.PENDING


def test_where_nothing_is_verified_nothing_is_asked() -> None:
    """With verification switched off a domain is there at once, and no clock runs."""
    begun = moves.begin(None, BEGIN.model_copy(update={"verified": True}))

    assert (begun.effects, begun.verification.status) == ((), Status.VERIFIED)
    assert begun.verification.countdown.due_at is None


def test_adding_twice_looks_again_and_records_nothing_twice() -> None:
    """Who adds a domain that is there already has it looked at, with the same token."""
    again = moves.begin(_begun(), BEGIN.model_copy(update={"now": NOW + HOUR}))

    assert (again.effects, again.transition) == ((Ask(), Rouse()), None)
    assert again.verification.begun_at == NOW


def test_a_look_that_never_answers_is_asked_for_again() -> None:
    """If the answer is lost, the clock goes on by itself."""
    begun = _begun()
    due_at = begun.countdown.due_at
    assert due_at is not None
    woken = moves.woken(begun, begun.countdown.generation, now=due_at)

    assert due_at == NOW + timedelta(minutes=10)
    assert woken.effects == (Ask(), Rouse())


def test_a_wake_up_of_former_times_does_nothing() -> None:
    """An old wake-up and one that comes early look at nothing; the early one waits for the rest."""
    before = _verified()
    stale = moves.woken(before, before.countdown.generation - 1, now=NOW + 2 * HOUR)
    early = moves.woken(before, before.countdown.generation, now=NOW)

    assert (stale.effects, stale.verification.countdown.stale_wakeups) == ((), 1)
    assert (early.effects, early.verification.countdown.due_at) == ((Rouse(),), NOW + HOUR)


def test_a_lost_wake_up_is_made_up_for_once() -> None:
    """The reconciler may ask as often as it likes: one look is under way at a time."""
    before = _verified()
    missed = moves.missed(before, now=NOW + 2 * HOUR)
    again = moves.missed(missed.verification, now=NOW + 2 * HOUR)

    assert (missed.effects, again.effects) == ((Ask(), Rouse()), ())
    assert moves.missed(before, now=NOW).effects == ()


def test_who_wins_a_domain_gets_one_certificate() -> None:
    """It is asked for when the domain is mine and leads here: once, and again only after it was lost."""
    not_here = _looked(_begun(), certificate=True)
    here = _looked(not_here.verification, routed=True, certificate=True)
    later = _looked(here.verification, routed=True, certificate=True)
    spoilt = _looked(_begun(), routed=True, certificate=False)
    asking = [any(isinstance(effect, Certify) for effect in one.effects) for one in (not_here, here, later, spoilt)]

    assert asking == [False, True, False, False]
    assert here.transition is None


def test_a_refused_certificate_is_told_once_and_asked_for_again() -> None:
    """Nobody waits for the answer to what is asked by itself: a refusal is in the audit log, and not the last word."""
    asked = _verified()
    why = Refused(token=asked.token, why="Two certificates of late.")
    told = moves.refused(asked, why, now=NOW)
    again = _looked(told.verification, routed=True, certificate=True, missing=True)
    still = moves.refused(again.verification, why, now=NOW)
    got = _looked(again.verification, routed=True)

    assert told.transition is not None
    assert (told.transition.action, told.transition.detail) == (
        "domain.certificate_refused",
        {"reason": "Two certificates of late."},
    )
    assert any(isinstance(one, Certify) for one in again.effects)
    assert (still.transition, still.verification.asked) == (None, False)
    assert (got.verification.asked, got.verification.refused) == (True, "")
    assert moves.refused(told.verification, why, now=NOW) == Decision(told.verification)


def test_a_request_that_got_lost_is_made_again() -> None:
    """Whoever kills it in the engine delays my certificate until the next look, and does not take it from me."""
    again = _looked(_verified(), routed=True, certificate=True, missing=True)
    there = _looked(_verified(), routed=True, certificate=True)

    assert [any(isinstance(effect, Certify) for effect in one.effects) for one in (again, there)] == [True, False]


def test_who_proves_a_name_ends_its_renewal_in_the_certificates_of_others() -> None:
    """Each of them is told, at every look, for one that was told while its worker died has not heard it."""
    first = _looked(_begun(), forfeits=("a.example.com", "b.example.com"))
    again = _looked(first.verification, forfeits=("b.example.com",))

    assert [one for one in first.effects if isinstance(one, Forfeit)] == [
        Forfeit("a.example.com"),
        Forfeit("b.example.com"),
    ]
    assert [one for one in again.effects if isinstance(one, Forfeit)] == [Forfeit("b.example.com")]


def test_a_taken_domain_takes_the_certificate_from_its_former_owner_first() -> None:
    """Nothing is issued for the former owner any more before it is for the new one."""
    taken = _looked(_begun(), routed=True, certificate=True, displaces=True, taken_from=(FORMER,))
    elsewhere = _looked(_begun(), certificate=True, displaces=True, taken_from=(FORMER,))

    assert [type(effect) for effect in taken.effects] == [Rouse, Displace, Certify]
    assert [type(effect) for effect in elsewhere.effects] == [Rouse, Displace]
    assert taken.transition is not None
    assert taken.transition.detail == {"proof": None, "taken_over": True}


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        (Status.PENDING, Status.PENDING, None),
        (Status.PENDING, Status.VERIFIED, "domain.verified"),
        (Status.PENDING, Status.FAILED, "domain.failed"),
        (Status.VERIFIED, Status.DANGLING, "domain.dangling"),
        (Status.DANGLING, Status.VERIFIED, "domain.recovered"),
        (Status.FAILED, Status.PENDING, None),
        (Status.LOST, Status.VERIFIED, "domain.verified"),
        (Status.VERIFIED, Status.LOST, "domain.lost"),
    ],
)
def test_only_what_changed_is_recorded(before: Status, after: Status, action: str | None) -> None:
    """The audit log has each change once, and no line for every look."""
    decision = _looked(_begun().model_copy(update={"status": before}), after)
    told = decision.transition

    assert (None if told is None else told.action) == action
    assert _looked(decision.verification, after).transition is None


def test_what_is_late_or_of_a_former_claim_changes_nothing() -> None:
    """Answers that were overtaken, and those about a claim that was removed, are left alone."""
    before = _verified()
    late = Looked(token=before.token, ruling=Ruling(version=before.version, status=Status.FAILED))
    foreign = Looked(token="token-0", ruling=Ruling(version=99, status=Status.FAILED))  # noqa: S106  public

    for message in (late, foreign):
        assert moves.looked(before, message, now=NOW) == Decision(before)
    assert moves.lost(before, Lost(token=before.token, version=before.version), now=NOW) == Decision(before)


def test_a_claim_that_is_gone_ends_its_clock() -> None:
    """After a purge nobody looks at the domain any more."""
    gone = _looked(_verified(), gone=True)

    assert (gone.effects, gone.transition, gone.verification.countdown.due_at) == ((), None, None)


def test_a_removal_is_recorded_when_a_look_has_noticed_it_before() -> None:
    """A look that ends just after I removed the domain keeps neither the audit log nor the certificate from knowing."""
    gone = _looked(_verified(), gone=True).verification
    forgotten = moves.forget(gone, Forget(now=NOW, actor=ADA, certified=True))

    assert forgotten.transition is not None
    assert (forgotten.transition.action, forgotten.transition.actor) == ("domain.removed", ADA)
    assert forgotten.effects == (Lapse(moves.system("ws_1"), NOW, issuing=False),)


def test_who_loses_a_domain_waits_until_somebody_asks() -> None:
    """No clock runs for what was lost; asking again begins anew, as the database knows it."""
    before = _verified()
    lost = moves.lost(before, Lost(token=before.token, version=7), now=NOW)
    retry = Retry(actor=ADA, now=NOW + HOUR, claim=BEGIN, status=Status.LOST, version=8)
    again = moves.retry(lost.verification, retry)

    assert (lost.verification.status, lost.verification.countdown.due_at) == (Status.LOST, None)
    assert lost.transition is not None
    assert again.effects == (Ask(), Rouse())
    assert (again.verification.version, again.verification.begun_at) == (8, NOW + HOUR)


def test_a_domain_of_an_older_release_gets_a_clock_when_somebody_asks() -> None:
    """What was added before there was verification is verified like any other."""
    retry = Retry(actor=ADA, now=NOW, claim=BEGIN, status=Status.VERIFIED, version=0)

    assert moves.retry(None, retry).verification.status is Status.VERIFIED


def test_a_removed_domain_lets_its_certificate_lapse() -> None:
    """Nobody renews what nobody uses; a certificate that is not mine alone is left alone."""
    command = Forget(now=NOW, actor=ADA, certified=True)
    forgotten = moves.forget(_verified(), command)
    never_owned = moves.forget(_begun(), command)
    again = moves.forget(forgotten.verification, command)

    assert forgotten.effects == (Lapse(moves.system("ws_1"), NOW, issuing=False),)
    assert (never_owned.effects, again) == ((), Decision(forgotten.verification))
    assert forgotten.verification.countdown.generation > _verified().countdown.generation


def test_adding_a_removed_domain_again_never_goes_back_in_its_count() -> None:
    """A wake-up from before the removal stays stale for ever, and no entry of the audit log is written twice."""
    forgotten = moves.numbered(moves.forget(moves.numbered(moves.begin(None, BEGIN)).verification, Forget(now=NOW)))
    anew = moves.numbered(moves.begin(forgotten.verification, BEGIN.model_copy(update={"token": "token-9"})))
    entry = moves.entry("dom_1", anew)

    assert anew.verification.countdown.generation > forgotten.verification.countdown.generation
    assert entry is not None
    assert (entry.id, entry.sequence, entry.detail["domain"]) == ("dom_1.v3", 3, "www.example.com")
    assert moves.entry("dom_1", Decision(anew.verification)) is None
