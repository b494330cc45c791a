"""Whose a custom domain is: by what DNS says, at the time it was asked, and of nobody who has not proved it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from lifecycle.deploy.model import Environment
from lifecycle.deploy.verification import rules
from lifecycle.deploy.verification.model import Condition, Purpose, Ruling, Seen, Sight, Status
from lifecycle.deploy.verification.rules import Claim, Facts, Settled, Ways
from lifecycle.errors import Code, LifecycleError
from tests.support.factories import DAY, HOUR, NOW

MINUTE = timedelta(minutes=1)
WAYS = Ways("cname.example.net", "abc.cname.example.net", ("203.0.113.10", "2001:db8::10"))
FLAT = WAYS._replace(addresses=())
OK, MISSING = Seen(condition=Condition.OK), Seen(condition=Condition.MISSING, found="Nothing is there.")
WRONG = Seen(condition=Condition.WRONG, found="It leads elsewhere.")
NOTHING, TEXT = Sight(ownership=MISSING, routing=MISSING), Sight(ownership=OK, routing=WRONG)
ROUTED, ADDRESSED = Sight(ownership=MISSING, routing=OK, by_name=True), Sight(ownership=MISSING, routing=OK)
BOTH, SILENCE = Sight(ownership=OK, routing=OK), Sight()


def _claim(project: str, status: Status = Status.PENDING, **more: Any) -> Claim:
    plain = Claim(f"dom_{project}", project, "www.example.com", Environment.PRODUCTION, f"token-{project}", status)
    return plain._replace(**more)


def _settle(
    claims: tuple[Claim, ...], sight: Sight, *, at: datetime = NOW, begun_at: datetime = NOW, version: int = 99
) -> Settled:
    """A look at the first of the claims."""
    return rules.settle(claims, claims[0].id, sight, version=version, begun_at=begun_at, now=at)


def _status(settled: Settled) -> tuple[Status, ...]:
    return tuple(one.status for one in settled.claims)


def test_a_domain_gets_a_txt_record_and_a_cname_to_a_target_of_the_project() -> None:
    """I see what to set, and no other project has the same target."""
    ours, theirs = (rules.ways(one, base="cname.example.net", addresses=()) for one in ("prj_1", "prj_2"))
    text, alias = rules.records("www.example.com", "secret", ours)

    assert text == (Purpose.OWNERSHIP, "TXT", "_lifecycle-challenge.www.example.com", "secret")
    assert alias == (Purpose.ROUTING, "CNAME", "www.example.com", ours.target)
    assert ours.target != theirs.target
    assert ours.target.endswith(".cname.example.net")
    assert "prj_1" not in ours.target


@pytest.mark.parametrize("domain", ["example.com", "example.co.uk", "shop.example"])
def test_a_registered_domain_gets_addresses_because_it_cannot_have_a_cname(domain: str) -> None:
    """At the apex of a zone DNS allows no CNAME: the gateway's addresses are shown, or what providers call ALIAS."""
    addresses = [(one.type, one.value) for one in rules.records(domain, "secret", WAYS)[1:]]
    alias = [(one.type, one.value) for one in rules.records(domain, "secret", FLAT)[1:]]

    assert addresses == [("A", "203.0.113.10"), ("AAAA", "2001:db8::10")]
    assert alias == [("ALIAS", FLAT.target)]


def test_a_domain_whose_txt_record_would_be_too_long_is_refused() -> None:
    """I am told when I add it, not by a look that can never succeed."""
    long = ".".join(["a" * 60] * 4)[:230]
    assert rules.challenge_name(long)
    with pytest.raises(LifecycleError) as refused:
        rules.challenge_name(f"{long}.com")

    assert refused.value.code is Code.DOMAIN_INVALID


@pytest.mark.parametrize(
    ("ways", "facts", "condition", "found"),
    [
        (WAYS, Facts(chain=(WAYS.target,)), "ok", "A CNAME leads to"),
        (WAYS, Facts(chain=("shop.example.org", WAYS.target)), "ok", "A CNAME leads to"),
        (WAYS, Facts(chain=("def.cname.example.net",)), "wrong", "the target of another project"),
        (WAYS, Facts(chain=("old.example.org",)), "wrong", "old.example.org, which has no address"),
        (WAYS, Facts(chain=("old.example.org",), addresses=("192.0.2.1",)), "wrong", "192.0.2.1 by way of old"),
        (WAYS, Facts(), "missing", "It has no address."),
        (WAYS, Facts(addresses=("192.0.2.1",)), "wrong", "It leads to 192.0.2.1, which is not ours."),
        (WAYS, Facts(addresses=("203.0.113.10",)), "ok", "It leads to 203.0.113.10."),
        (WAYS, Facts(addresses=("203.0.113.10", "2001:db8::99")), "wrong", "It also leads to 2001:db8::99"),
        (FLAT, Facts(addresses=("192.0.2.1",), target_addresses=("192.0.2.1",)), "ok", "It leads to 192.0.2.1."),
        (FLAT, Facts(addresses=("192.0.2.1",)), "wrong", "not ours"),
        (WAYS, Facts(trouble="Nobody answers."), "unknown", "Nobody answers."),
    ],
)
def test_what_is_found_is_said_in_words(ways: Ways, facts: Facts, condition: str, found: str) -> None:
    """I read what my records are now, next to what they should be."""
    seen = rules.judge("secret", ways, facts).routing

    assert seen.condition == condition
    assert found in seen.found


@pytest.mark.parametrize(
    ("facts", "condition", "found"),
    [
        (Facts(texts=("secret",)), "ok", "right value"),
        (Facts(texts=("v=spf1 -all", "secret")), "ok", "right value"),
        (Facts(texts=("secre",)), "wrong", "The TXT record says secre."),
        (Facts(texts=("\x1b[2J",)), "wrong", "\ufffd[2J"),
        (Facts(texts=tuple("abcdef")), "wrong", "a, b, c, d and 2 more"),
        (Facts(), "missing", "no such TXT"),
        (Facts(text_trouble="Nobody answers."), "unknown", "Nobody answers."),
    ],
)
def test_the_txt_record_must_say_exactly_the_token(facts: Facts, condition: str, found: str) -> None:
    """Other texts at the same name do no harm, and nothing else counts."""
    seen = rules.judge("secret", WAYS, facts).ownership

    assert seen.condition == condition
    assert found in seen.found


def test_without_a_rival_either_record_verifies() -> None:
    """Setting the CNAME is enough; and the TXT record alone lets me verify before I move visitors here."""
    by_route = _settle((_claim("a"),), ROUTED)
    by_text = _settle((_claim("a"),), TEXT)

    assert (_status(by_route), by_route.ruling.won, by_route.ruling.proof) == (
        (Status.VERIFIED,),
        True,
        "routing",
    )
    assert (_status(by_text), by_text.ruling.won, by_text.ruling.proof) == ((Status.VERIFIED,), True, "ownership")
    assert (by_route.ruling.routed, by_text.ruling.routed) == (True, False)
    assert by_text.claims[0].reason == WRONG.found


def test_addresses_that_all_projects_share_prove_nothing() -> None:
    """A record that I left behind, or set for another project, gives my domain to nobody who merely asks for it."""
    addressed = _settle((_claim("a"),), ADDRESSED)
    both = _settle((_claim("a"),), ADDRESSED.model_copy(update={"ownership": OK}))

    assert (addressed.ruling.status, addressed.ruling.won, addressed.ruling.proof) == (Status.PENDING, False, None)
    assert addressed.ruling.reason == (
        "Waiting for the TXT record, which is needed because the addresses that it leads to are the same for every "
        "project."
    )
    assert (both.ruling.status, both.ruling.proof, both.ruling.routed) == (Status.VERIFIED, Purpose.OWNERSHIP, True)


def test_addresses_are_enough_for_whoever_has_the_domain_already() -> None:
    """Once it is mine nobody asks for the TXT record again, and I am not warned as long as visitors are led here."""
    mine = _claim("a", Status.VERIFIED, verified_at=NOW, routed_at=NOW)

    assert _settle((mine,), ADDRESSED).ruling.status is Status.VERIFIED


@pytest.mark.parametrize(
    ("domain", "needed"), [("example.com", True), ("shop.co.uk", True), ("www.example.com", False)]
)
def test_a_domain_that_can_have_no_cname_needs_the_txt_record(domain: str, *, needed: bool) -> None:
    """I read that it is needed before I have waited for a week."""
    waiting = _settle((_claim("a", hostname=domain),), NOTHING).ruling.reason

    assert rules.needs_text(domain) is needed
    assert waiting == f"Waiting for the {'' if needed else 'record that leads visitors here, or the '}TXT record."


@pytest.mark.parametrize(
    ("facts", "by_name"),
    [
        (Facts(chain=(WAYS.target,)), True),
        (Facts(chain=("shop.example.org", WAYS.target)), True),
        (Facts(addresses=("203.0.113.10",)), False),
        (Facts(chain=("def.cname.example.net",)), False),
    ],
)
def test_only_a_cname_to_the_own_target_tells_for_whom_it_was_set(facts: Facts, *, by_name: bool) -> None:
    """The name below which my project is found is nobody else's; an address is everybody's."""
    assert rules.judge("secret", WAYS, facts).by_name is by_name


@pytest.mark.parametrize("rival", [Status.PENDING, Status.VERIFIED, Status.DANGLING])
def test_with_a_rival_only_the_txt_record_decides(rival: Status) -> None:
    """Nobody gets a domain that another project has or asks for by records that lead here, which prove nothing."""
    claims = (_claim("a"), _claim("b", rival))
    by_route, by_text = _settle(claims, ROUTED), _settle(claims, TEXT)

    assert _status(by_route) == (Status.PENDING, rival)
    assert "another project has this domain or asks for it" in by_route.ruling.reason
    assert by_text.claims[0].status is Status.VERIFIED
    assert by_text.claims[1].status is (Status.LOST if rival.owns else Status.PENDING)
    assert [one.project for one in by_text.ruling.taken_from] == (["b"] if rival.owns else [])


@pytest.mark.parametrize("rival", [Status.FAILED, Status.LOST])
def test_a_rival_who_has_given_up_is_none(rival: Status) -> None:
    """A claim that nobody proved in time stands in nobody's way."""
    assert _status(_settle((_claim("a"), _claim("b", rival)), ROUTED)) == (Status.VERIFIED, rival)


def test_who_lost_a_domain_is_told_why_and_not_to_whom() -> None:
    """The former owner sees the reason; the other project stays unnamed."""
    settled = _settle((_claim("a"), _claim("b", Status.VERIFIED, verified_at=NOW, routed_at=NOW, version=4)), TEXT)
    former = settled.claims[1]

    assert former.reason == "Another project proved with a TXT record that it controls the domain."
    assert (former.verified_at, former.routed_at, former.next_check_at, former.version) == (None, None, None, 5)


def test_a_look_that_was_ordered_before_the_loss_takes_nothing_back() -> None:
    """Two projects with both TXT records do not take the domain from each other for ever: a person has to ask."""
    claims = (_claim("a", Status.LOST, version=5), _claim("b", Status.VERIFIED))

    assert _settle(claims, BOTH, version=4) == Settled(claims, Ruling(version=5, status=Status.LOST))
    assert _status(_settle(claims, BOTH, version=5)) == (Status.VERIFIED, Status.LOST)


def test_whoever_has_to_know_is_named_until_they_are_told() -> None:
    """A worker that dies between the loss and the news of it leaves nobody in the dark: the next look has it again."""
    taken = _settle((_claim("a"), _claim("b", Status.VERIFIED)), TEXT)
    repeated = _settle(taken.claims, TEXT)
    told = _settle(tuple(one._replace(untold=False) for one in taken.claims), TEXT)

    assert taken.ruling.taken_from == repeated.ruling.taken_from != ()
    assert (repeated.ruling.won, told.ruling.won, told.ruling.taken_from) == (True, False, ())


def test_it_is_looked_often_at_first_and_then_every_hour_for_a_week() -> None:
    """At once, after ten seconds, one, five, fifteen minutes, then hourly; after seven days it fails with a reason."""
    at, looks = NOW, [NOW]
    claims: tuple[Claim, ...] = (_claim("a"),)
    while (settled := _settle(claims, NOTHING, at=at)).ruling.next_check_at is not None:
        claims, at = settled.claims, settled.ruling.next_check_at
        looks.append(at)

    assert [one - NOW for one in looks[:6]] == [
        timedelta(0),
        timedelta(seconds=10),
        MINUTE,
        5 * MINUTE,
        15 * MINUTE,
        15 * MINUTE + HOUR,
    ]
    assert looks[-1] == NOW + 7 * DAY
    assert settled.claims[0].status is Status.FAILED
    assert "In 7 days nobody set" in settled.ruling.reason


def test_a_verified_domain_is_looked_at_daily_and_never_taken_off_the_air() -> None:
    """Three bad looks in a row warn me; the domain stays mine and routed, and one good look takes the warning back."""
    claims, at = _settle((_claim("a"),), ROUTED).claims, NOW
    seen = []
    for sight in (NOTHING, TEXT, SILENCE, NOTHING, NOTHING, ADDRESSED):
        assert claims[0].next_check_at == at + DAY
        at += DAY
        settled = _settle(claims, sight, at=at)
        claims = settled.claims
        seen.append(claims[0].status)

    assert seen == [Status.VERIFIED] * 3 + [Status.DANGLING] * 2 + [Status.VERIFIED]


def test_a_domain_that_was_verified_by_txt_is_looked_at_until_visitors_are_led_here() -> None:
    """I prove the domain first and move visitors a minute later: the certificate does not wait for a day."""
    settled = _settle((_claim("a"),), TEXT)
    later = _settle(settled.claims, ROUTED, at=NOW + MINUTE)

    assert settled.ruling.next_check_at == NOW + timedelta(seconds=10)
    assert (settled.ruling.routed, later.ruling.routed) == (False, True)
    assert later.ruling.next_check_at == NOW + MINUTE + DAY
