"""What is let go of: orders that nobody goes on with, names that were lost, looks that got lost; and what stays."""

from datetime import datetime, timedelta

import pytest

from lifecycle.certs import endings, entries, events, rules
from lifecycle.certs.decision import Abandon, Decision, Halt, Issue, Look, LookLater, Rouse
from lifecycle.certs.model import (
    Advised,
    Assignment,
    Certificate,
    Ending,
    Forfeit,
    Outcome,
    RevokeCertificate,
    Revoked,
    Seal,
    Settled,
    Status,
)
from lifecycle.certs.renewals import Life, Source
from lifecycle.certs.verdicts import RenewalInfo
from lifecycle.errors import Code
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
    wish,
)

OTHER = "example.com"
MINUTE = timedelta(minutes=1)


def abandoned(decision: Decision) -> list[str]:
    """The issuances that are let go of."""
    return [one.issuance for one in decision.effects if isinstance(one, Abandon)]


def assignment(decision: Decision) -> Assignment:
    """What the one issuance that begins has to do."""
    [found] = [one.assignment for one in decision.effects if isinstance(one, Issue)]
    return found


def renewing() -> Certificate:
    """One that is in use, whose renewal is at work."""
    return rules.renew(DOMAIN, issued(), act(), fresh="iss_2").certificate


def waiting() -> Certificate:
    """One that is in use, whose renewal waits to go on with its order."""
    return ended(renewing(), Ending.AGAIN).certificate


def several() -> Certificate:
    """One in use with two names."""
    asked = rules.issue(DOMAIN, Certificate(), ask(None, DOMAIN, OTHER), fresh="iss_1").certificate
    return ended(asked, Ending.ISSUED, version=version()).certificate


def test_cancelling_a_renewal_gives_its_order_up() -> None:
    """An order that waits counts at the CA for a week; it goes with the renewal that I cancel."""
    assert abandoned(rules.cancel_renewal(DOMAIN, waiting(), act())[0]) == ["iss_2"]
    assert abandoned(rules.cancel_renewal(DOMAIN, issued(), act())[0]) == []


def test_other_names_give_the_former_order_up_and_the_same_names_go_on_with_it() -> None:
    """Whoever changes their mind leaves nothing at the CA; whoever repeats themselves orders nothing twice."""
    other = rules.issue(DOMAIN, waiting(), ask(None, DOMAIN, OTHER), fresh="iss_3")
    same = rules.issue(DOMAIN, waiting(), ask(force=True), fresh="iss_3")

    assert (abandoned(other), assignment(other).issuance) == (["iss_2"], "iss_3")
    assert (abandoned(same), assignment(same).issuance) == ([], "iss_2")


def test_a_disclosed_key_gives_the_waiting_order_up_and_begins_another() -> None:
    """After a disclosure nothing that was begun before goes on, with or without a successor."""
    asked = rules.revoke(DOMAIN, waiting(), RevokeCertificate(actor=actor(), now=NOW)).certificate
    again = events.revoked(DOMAIN, asked, Revoked(version=1, reason=1), now=NOW, fresh="iss_3")
    over = events.revoked(DOMAIN, asked, Revoked(version=1, reason=4), now=NOW, fresh="iss_3")

    assert (abandoned(again), assignment(again).issuance) == (["iss_2"], "iss_3")
    assert (abandoned(over), over.certificate.running) == (["iss_2"], None)


def test_an_order_that_made_no_headway_three_times_is_given_up() -> None:
    """The fourth attempt is a new order, perhaps at another CA; the former one is not left open."""
    certificate, dropped = begun(), []
    for attempt in range(3):
        decision = ended(certificate, Ending.AGAIN)
        dropped.append(abandoned(decision))
        woken = decision.certificate
        certificate = events.renewal_due(
            DOMAIN, woken, woken.countdown.generation, now=NOW + 2 * DAY, fresh=f"iss_new{attempt}"
        ).certificate

    assert dropped == [[], [], ["iss_1"]]
    assert certificate.running is not None
    assert certificate.running.issuance == "iss_new2"


@pytest.mark.parametrize("ending", [Ending.INVALID, Ending.REFUSED, Ending.HALTED, Ending.MISMATCHED, Ending.PAUSED])
def test_whatever_ends_an_issuance_its_order_ends_as_well(ending: Ending) -> None:
    """Also an issuance that was killed before it could give its order up leaves none."""
    assert abandoned(ended(renewing(), ending)) == ["iss_2"]


def test_what_issued_is_never_given_up() -> None:
    """Also when the news of it comes late, while the same issuance was taken for dead and waits."""
    late = Settled(issuance="iss_2", run=1, workspace="ws_1", outcome=Outcome(ending=Ending.ISSUED, version=version(2)))
    assert abandoned(ended(begun(), Ending.ISSUED, version=version())) == []
    assert abandoned(events.settle(DOMAIN, waiting(), late, now=NOW, random=0.5)) == []


def test_a_removed_certificate_leaves_no_order() -> None:
    """What waits is given up at once, what is at work is told to stop and given up when it ends."""
    idle = events.seal(waiting(), Seal(), now=NOW)
    busy = events.seal(renewing(), Seal(), now=NOW)
    over = ended(busy.certificate, Ending.WAIT, until=NOW + HOUR)

    assert (abandoned(idle), idle.certificate.running) == (["iss_2"], None)
    assert busy.effects == (Halt("iss_2"),)
    assert (abandoned(over), over.certificate.running) == (["iss_2"], None)


def test_an_order_of_whoever_had_the_domain_before_is_given_up_when_it_ends() -> None:
    """The next owner need not wait for it, and the CA does not keep it; told twice, nothing more happens."""
    sealed = events.seal(renewing(), Seal(), now=NOW).certificate
    theirs = rules.issue(DOMAIN, sealed, ask(actor(workspace="ws_2")), fresh="iss_9").certificate
    message = Settled(issuance="iss_2", run=1, workspace="ws_1", outcome=Outcome(ending=Ending.AGAIN))
    over = events.settle(DOMAIN, theirs, message, now=NOW, random=0.5)

    assert theirs.leaving == ("iss_2",)
    assert abandoned(over) == ["iss_2"]
    assert (over.certificate.leaving, over.certificate.running) == ((), theirs.running)
    assert events.settle(DOMAIN, over.certificate, message, now=NOW, random=0.5) == Decision(over.certificate)


def test_the_next_owner_of_a_domain_has_a_budget_of_their_own() -> None:
    """Whoever wins a domain gets a certificate at once, whatever the former owner spent; removing mine resets none."""
    sealed = events.seal(issued(issued_at=(NOW - HOUR, NOW)), Seal(), now=NOW).certificate

    assert assignment(rules.issue(DOMAIN, sealed, ask(actor(workspace="ws_2")), fresh="iss_2")).issuance == "iss_2"
    with refusal(Code.CERTIFICATE_BUDGET):
        rules.issue(DOMAIN, sealed, ask(), fresh="iss_2")


def test_a_renewal_that_i_give_up_is_no_error() -> None:
    """My certificate works: nothing is shown as its fault, no attempt is counted, and its renewal comes as planned."""
    halting = rules.halt(DOMAIN, renewing(), act()).certificate
    given_up = ended(halting, Ending.HALTED)
    after = given_up.certificate

    assert (after.last_error, after.attempts, after.status) == ("", 0, Status.ACTIVE)
    assert after.countdown.due_at == issued().countdown.due_at
    assert given_up.transitions[0].action == "certificate.given_up"
    # One that was waiting for somebody in vain is another matter.
    assert ended(renewing(), Ending.HALTED).certificate.last_error == "why"


@pytest.mark.parametrize("ending", [Ending.WAIT, Ending.AGAIN])
def test_what_i_give_up_stays_given_up(ending: Ending) -> None:
    """An issuance that ends for another reason just then does not go on behind my back; asking twice halts once."""
    halting = rules.halt(DOMAIN, begun(), act()).certificate
    over = ended(halting, ending, until=NOW + HOUR)

    assert (over.certificate.running, over.certificate.countdown.due_at) == (None, None)
    assert abandoned(over) == ["iss_1"]
    assert rules.halt(DOMAIN, halting, act()) == Decision(halting)


def test_the_ca_is_asked_about_its_window_again_after_a_renewal_was_given_up() -> None:
    """The next renewal may be weeks away; an incident of the CA until then is noticed."""
    halting = rules.halt(DOMAIN, renewing(), act()).certificate
    given_up = ended(halting, Ending.HALTED)
    look_at = given_up.certificate.next_look_at

    assert look_at == NOW + 6 * HOUR
    assert given_up.effects[-1] == LookLater()
    looked = events.look_due(given_up.certificate, given_up.certificate.countdown.generation, now=look_at)
    assert looked.effects[0] == Look(ca="ca", certificate_id="a.1")


def test_a_look_whose_answer_is_lost_is_made_up_for() -> None:
    """Whoever kills the question in the engine delays the next one by six hours, and does not end them."""
    before = ended(begun(), Ending.ISSUED, version=version(), window=_window()).certificate
    first_at = before.next_look_at
    assert first_at is not None
    looked = events.look_due(before, before.countdown.generation, now=first_at)
    again = events.look_due(looked.certificate, before.countdown.generation, now=first_at + 6 * HOUR)

    assert looked.effects == again.effects == (Look(ca="ca", certificate_id="a.1"), LookLater())


def test_looks_do_not_multiply() -> None:
    """A second wake-up for the same look asks nothing, so the CA is asked no more often than it wants."""
    before = ended(begun(), Ending.ISSUED, version=version(), window=_window()).certificate
    assert before.next_look_at is not None
    looked = events.look_due(before, before.countdown.generation, now=before.next_look_at).certificate
    twice = events.look_due(looked, before.countdown.generation, now=before.next_look_at + MINUTE)

    assert twice == Decision(looked)


def test_a_lost_name_ends_the_renewal_and_nothing_else() -> None:
    """A name of mine was proved by others: my certificate is not revoked, and I read what to do about the rest."""
    before = several()
    lost = events.forfeit(before, Forfeit(name=OTHER, winner="ws_2"), now=NOW)
    after = lost.certificate
    [entry] = entries.entries(DOMAIN, before, after, lost.transitions)

    assert (after.status, after.revoked_at, after.countdown.due_at, lost.effects) == (Status.ACTIVE, None, None, ())
    assert after.last_error == (
        "It is renewed no more, because example.com belongs to somebody else now. "
        "Ask for a certificate for www.example.com alone."
    )
    assert (entry.action, entry.detail["names_left"]) == ("certificate.renewal_stopped", [DOMAIN])
    assert entry.certificate_row is not None
    assert entry.certificate_row.next_renewal_at is None
    assert events.forfeit(after, Forfeit(name=OTHER, winner="ws_2"), now=NOW) == Decision(after)


def test_a_lost_name_is_nothing_to_whoever_does_not_have_it() -> None:
    """The winner's own certificate, one without the name and one that is gone go on as before."""
    for certificate, winner in ((several(), "ws_1"), (issued(), "ws_2"), (Certificate(), "ws_2")):
        assert events.forfeit(certificate, Forfeit(name=OTHER, winner=winner), now=NOW) == Decision(certificate)


def test_nothing_brings_the_renewal_with_a_lost_name_back_but_another_request() -> None:
    """Neither a wake-up, the CA's window nor a click renews it; asking without the name does, for what is left."""
    before = several()
    after = events.forfeit(before, Forfeit(name=OTHER, winner="ws_2"), now=NOW).certificate
    woken = events.renewal_due(DOMAIN, after, before.countdown.generation, now=NOW + 80 * DAY, fresh="iss_2")
    advice = Advised(certificate_id="a.1", window=_window(NOW - DAY))
    advised = events.advised(after, advice, now=NOW, random=0.5)
    anew = rules.issue(DOMAIN, after, ask(None, DOMAIN), fresh="iss_2")

    assert (woken.effects, advised.effects) == ((), ())
    with refusal(Code.CERTIFICATE_NAME_LOST):
        rules.renew(DOMAIN, after, act(force=True), fresh="iss_2")
    assert (assignment(anew).wish.names, anew.certificate.forfeited) == ((DOMAIN,), ())


def test_a_name_that_was_won_back_is_renewed_again() -> None:
    """Whoever may ask for it again, and does, has the renewal back, and no error is left."""
    before = several()
    lost = events.forfeit(before, Forfeit(name=OTHER, winner="ws_2"), now=NOW).certificate
    back = rules.issue(DOMAIN, lost, ask(None, DOMAIN, OTHER), fresh="iss_2").certificate

    assert (back.countdown.due_at, back.last_error) == (before.countdown.due_at, "")


def test_a_name_that_is_lost_during_a_renewal_ends_it() -> None:
    """The renewal is told to stop. If its certificate came all the same, it is the last one."""
    certificate = rules.renew(DOMAIN, several(), act(), fresh="iss_2").certificate
    lost = events.forfeit(certificate, Forfeit(name=OTHER, winner="ws_2"), now=NOW)
    given_up = ended(lost.certificate, Ending.HALTED)
    came = ended(lost.certificate, Ending.ISSUED, version=version(2, at=NOW)).certificate
    queued = ended(certificate, Ending.AGAIN).certificate
    dropped = events.forfeit(queued, Forfeit(name=OTHER, winner="ws_2"), now=NOW)

    assert lost.effects == (Halt("iss_2"),)
    assert (given_up.certificate.countdown.due_at, abandoned(given_up)) == (None, ["iss_2"])
    assert (came.countdown.due_at, came.status, "renewed no more" in came.last_error) == (None, Status.ACTIVE, True)
    assert (abandoned(dropped), dropped.certificate.running) == (["iss_2"], None)


def test_a_disclosed_key_is_not_replaced_with_a_lost_name_in_it() -> None:
    """Nothing asks a CA for what belongs to somebody else, whatever the reason."""
    lost = events.forfeit(several(), Forfeit(name=OTHER, winner="ws_2"), now=NOW).certificate
    asked = rules.revoke(DOMAIN, lost, RevokeCertificate(actor=actor(), now=NOW)).certificate

    assert events.revoked(DOMAIN, asked, Revoked(version=1, reason=1), now=NOW, fresh="iss_2").effects == ()


@pytest.mark.parametrize(
    ("left", "told", "waits"),
    [
        (12 * DAY, HOUR, HOUR),
        (12 * DAY, 30 * DAY, DAY),
        (12 * HOUR, 30 * DAY, HOUR),
        (5 * MINUTE, DAY, MINUTE),
        (5 * MINUTE, MINUTE / 2, MINUTE / 2),
        (-DAY, DAY, MINUTE),
        (12 * DAY, -HOUR, 0 * MINUTE),
    ],
)
def test_a_ca_that_wants_us_to_wait_is_believed_up_to_a_twelfth_of_what_is_left(
    left: timedelta, told: timedelta, waits: timedelta
) -> None:
    """However long the CA says, twelve attempts fit into the life that is left; and at most one a minute."""
    life = Life(not_before=NOW + left - 90 * DAY, not_after=NOW + left)
    renewed = rules.renew(DOMAIN, issued(issued_at=(), life=life), act(), fresh="iss_2").certificate

    assert ended(renewed, Ending.WAIT, until=NOW + told).certificate.countdown.due_at == NOW + waits


def test_a_first_certificate_waits_as_long_as_the_ca_says() -> None:
    """Nothing expires meanwhile."""
    assert ended(begun(), Ending.WAIT, until=NOW + 30 * DAY).certificate.countdown.due_at == NOW + 30 * DAY


def test_an_issuance_that_was_cancelled_in_the_engine_goes_on() -> None:
    """Whoever cancels invocations in bulk delays certificates, as by killing them; a refusal of ours stays one."""
    cancelled = endings.own("cancelled", status=409, ca="ca")
    refused = endings.own("The account is deactivated.", status=409, ca="ca")

    assert (cancelled.ending, refused.ending, refused.message) == (
        Ending.AGAIN,
        Ending.REFUSED,
        "The account is deactivated.",
    )


def test_only_an_order_that_says_what_it_replaces_counts_as_one_in_the_window() -> None:
    """The CA exempts nothing else from its limits; neither do we from what we count of them."""
    inside = ended(begun(), Ending.ISSUED, version=version(), window=_window(NOW)).certificate
    seen = []
    for attempts in range(4):
        begin = rules.renew(DOMAIN, inside.model_copy(update={"attempts": attempts, "issued": ()}), act(), fresh="i")
        seen.append((assignment(begin).replaces is not None, assignment(begin).by_window))

    assert seen == [(True, True), (True, True), (False, False), (False, False)]


def test_other_names_are_no_renewal() -> None:
    """A CA counts a certificate with other names as a new one, whatever it takes the place of."""
    same = rules.renew(DOMAIN, several().model_copy(update={"issued": ()}), act(), fresh="iss_2")
    more = rules.issue(DOMAIN, several(), ask(None, DOMAIN, OTHER, f"b.{OTHER}"), fresh="iss_2")
    first = rules.issue(DOMAIN, Certificate(), ask(), fresh="iss_1")

    assert [assignment(one).same_names for one in (same, more, first)] == [True, False, False]
    assert several().certified == wish(DOMAIN, OTHER).names


def test_asking_again_after_a_cancel_forgets_what_had_failed() -> None:
    """The renewal is planned as for any other certificate, and no old error is shown with it."""
    failed = ended(renewing(), Ending.REFUSED).certificate
    cancelled = rules.cancel_renewal(DOMAIN, failed, act())[0].certificate
    again = rules.issue(DOMAIN, cancelled, ask(), fresh="iss_3")

    assert (again.certificate.last_error, again.certificate.source) == ("", Source.FALLBACK)
    assert Rouse() in again.effects


def _window(start: datetime = LIFE.not_before + 50 * DAY) -> RenewalInfo:
    return RenewalInfo(certificate_id="a.1", start=start, end=start + DAY)
