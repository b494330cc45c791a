"""What a CA refuses during an issuance, and what is done about it: classes of problems as the reference has them."""

import itertools
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from _pytest.mark.structures import ParameterSet

from lifecycle import clock
from lifecycle.certs.model import Certificate, RescheduleRenewal, Status
from lifecycle.errors import Code, LifecycleError
from tests.support import certificate_checks
from tests.support.acme_wire import PROBLEM, Resource, Said, refusal
from tests.support.certificate_checks import Truth
from tests.support.issuer import NEWER, USUAL, ZONE, Desk, fresh_name
from tests.support.newer_pebble import needed

_LIMITED = json.dumps({"type": "urn:ietf:params:acme:error:rateLimited", "detail": "planted: too many"}).encode()
_BUSY = b"<html>busy</html>"
_UNPAUSE = "https://sfe.letsencrypt.org/sfe/v1/unpause?jwt=abc"
_WAITS = (Resource.NONCE, Resource.NEW_ORDER, Resource.CHALLENGE, Resource.FINALIZE)
_PATIENCE = timedelta(seconds=12)
# CI meets each way of telling once; `-m chaos` does the rest.
_SAMPLE = {(Resource.NEW_ORDER, 429, True), (Resource.CHALLENGE, 503, False)}
_EACH_WAIT = [
    pytest.param(
        *wait,
        id=f"{wait[0].name} {wait[1]} {'date' if wait[2] else 'seconds'}",
        marks=[] if wait in _SAMPLE else pytest.mark.chaos,
    )
    for wait in itertools.product(_WAITS, (429, 503), (False, True))
]


def _until(seconds: int, *, status: int, is_date: bool) -> Said:
    moment = clock.now() + timedelta(seconds=seconds)
    header = format_datetime(moment, usegmt=True) if is_date else str(seconds)
    headers = {"Retry-After": header, **(PROBLEM if status == 429 else {})}
    return Said(status, headers, _LIMITED if status == 429 else _BUSY)


def _rare(*values: object, id: str | None = None) -> ParameterSet:  # noqa: A002  as pytest calls it
    """A case that CI leaves out."""
    return pytest.param(*values, id=id, marks=pytest.mark.chaos)


async def _asked(desk: Desk, *names: str, ca: str = USUAL) -> None:
    """Ask for a certificate, with a worker that has no nonce left."""
    with desk.points.death_at("Issuance/run/order", "before"):
        await desk.ask(*names, ca=ca)
        await desk.rests(names[0])


async def _held(desk: Desk, domain: str) -> Certificate:
    """The certificate, once nothing is at work and nothing is wrong but that it is not in use."""
    truth = await desk.ends(domain, checkers=certificate_checks.ALWAYS)
    return truth.certificate


async def _goes_on(desk: Desk, domain: str, *, orders: int = 1) -> Truth:
    """The truth after somebody had it tried again, and that worked."""
    desk.wire().forget()
    await desk.renew(domain)
    truth = await desk.ends(domain)
    assert len(truth.orders) == orders
    return truth


def _since(moment: datetime | None, now: datetime) -> timedelta:
    assert moment is not None
    return moment - now


@pytest.mark.parametrize(("resource", "status", "is_date"), _EACH_WAIT)
async def test_a_short_wait_is_waited_for(desk: Desk, resource: Resource, status: int, is_date: bool) -> None:
    """The CA wants some seconds: the issuance waits for as long, goes on with the same order, and counts no attempt."""
    wire, domain = desk.wire(), fresh_name()
    # A date has whole seconds, so it may be up to one nearer than it says.
    wire.answer(resource, _until(2, status=status, is_date=is_date))
    began = clock.now()
    await _asked(desk, domain)
    truth = await desk.ends(domain)

    assert wire.is_calm
    assert clock.now() - began > timedelta(seconds=1)
    assert truth.audit == ["certificate.issuing", "certificate.issued"]
    assert truth.certificate.attempts == 0


@pytest.mark.parametrize(("resource", "status", "is_date"), _EACH_WAIT)
async def test_a_long_wait_is_a_countdown(desk: Desk, resource: Resource, status: int, is_date: bool) -> None:
    """The CA wants an hour: people see until when and why, nothing stays published, and the same order goes on."""
    wire, domain = desk.wire(), fresh_name()
    wire.answer(resource, _until(3600, status=status, is_date=is_date))
    now = clock.now()
    await _asked(desk, domain)
    waiting = await _held(desk, domain)

    assert waiting.status is Status.ISSUING
    assert waiting.running is not None
    assert abs(_since(waiting.countdown.due_at, now) - timedelta(hours=1)) < _PATIENCE
    # What is asked by HEAD has no text in its answer.
    assert (
        "planted: too many" if status == 429 and resource is not Resource.NONCE else str(status)
    ) in waiting.last_error
    assert waiting.attempts == 0

    await desk.forgive()
    moved = RescheduleRenewal(actor=desk.actor, now=clock.now(), due_at=clock.now() + timedelta(seconds=1))
    await desk.client.reschedule_renewal(domain, moved)
    truth = await desk.ends(domain)
    assert len(truth.orders) == 1
    assert truth.audit.count("certificate.waiting") == 1


@pytest.mark.parametrize(
    ("resource", "said", "times"),
    [
        (Resource.NEW_ORDER, refusal("badNonce"), 5),
        _rare(Resource.FINALIZE, refusal("badNonce"), 5),
        (Resource.FINALIZE, refusal("orderNotReady", status=403), 1),
        _rare(Resource.NEW_ORDER, refusal("serverInternal", status=500), 1),
        _rare(Resource.NEW_ORDER, Said(502, {}, b"<html>"), 2),
        _rare(Resource.CHALLENGE, refusal("serverInternal", status=500), 1),
        _rare(Resource.AUTHORIZATION, Said(504, {}, b""), 2),
        _rare(Resource.FINALIZE, Said(500, {}, b""), 2),
        _rare(Resource.CERTIFICATE, Said(500, {}, b""), 2),
    ],
    ids=lambda value: value.name if isinstance(value, Resource) else None,
)
async def test_what_passes_is_tried_again_at_once(desk: Desk, resource: Resource, said: Said, times: int) -> None:
    """A nonce that is rejected, an order that is not ready, a server that stumbles: nobody notices."""
    wire, domain = desk.wire(), fresh_name()
    wire.answer(resource, said, times=times)
    await desk.ask(domain)
    truth = await desk.ends(domain)

    assert wire.is_calm
    assert truth.audit == ["certificate.issuing", "certificate.issued"]


@pytest.mark.parametrize(
    "resource",
    [
        Resource.FINALIZE,
        *(_rare(one, id=one.name) for one in (Resource.NEW_ORDER, Resource.CHALLENGE, Resource.CERTIFICATE)),
    ],
)
async def test_a_ca_that_is_down_is_tried_again_with_the_same_order(desk: Desk, resource: Resource) -> None:
    """The CA fails again and again: it is tried again within a minute, and then the same order goes on."""
    wire, domain = desk.wire(), fresh_name()
    wire.answer(resource, Said(502, {}, b""), times=100)
    now = clock.now()
    await desk.ask(domain)
    waiting = await _held(desk, domain)

    assert waiting.attempts == 1
    assert waiting.running is not None
    assert _since(waiting.countdown.due_at, now) < timedelta(seconds=90)
    truth = await _goes_on(desk, domain)
    assert truth.audit == [
        "certificate.issuing",
        "certificate.delayed",
        "certificate.issuing",
        "certificate.issued",
    ]


def _invalid(kind: str) -> Callable[[Said], Said]:
    """An authorization whose challenge failed with a problem of this kind."""

    def change(said: Said) -> Said:
        body = json.loads(said.body)
        body["status"] = "invalid"
        for challenge in body["challenges"]:
            if challenge["type"] == "http-01":
                problem = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": f"planted {kind}"}
                challenge.update(status="invalid", error=problem)
        return said._replace(body=json.dumps(body).encode())

    return change


@pytest.mark.parametrize(
    "kind",
    ["unauthorized", *(_rare(one) for one in ("connection", "dns", "dnssec", "tls", "caa", "incorrectResponse"))],
)
async def test_a_failed_validation_takes_a_new_order_later(desk: Desk, kind: str) -> None:
    """The CA did not find what it looked for: that order is dead, and a new one comes after twelve minutes at most."""
    wire, domain = desk.wire(), fresh_name()
    wire.change(Resource.AUTHORIZATION, _invalid(kind), after=1)
    now = clock.now()
    await desk.ask(domain)
    failed = await _held(desk, domain)

    assert f"planted {kind}" in failed.last_error
    assert timedelta(minutes=12) <= _since(failed.countdown.due_at, now) < timedelta(minutes=13)
    with pytest.raises(LifecycleError) as refused:
        await desk.renew(domain, force=False)
    assert refused.value.code is Code.CERTIFICATE_VALIDATION_PAUSE
    await _goes_on(desk, domain, orders=2)


async def test_three_failed_validations_are_enough_for_an_hour(desk: Desk) -> None:
    """However often a person insists, the next automatic try comes no sooner than an hour after the first failure."""
    wire, domain = desk.wire(), fresh_name()
    now = clock.now()
    for _ in range(3):
        wire.change(Resource.AUTHORIZATION, _invalid("dns"), after=1)
        await desk.ask(domain, force=True)
        failed = await _held(desk, domain)

    assert timedelta(hours=1) <= _since(failed.countdown.due_at, now) < timedelta(minutes=101)
    assert len(failed.failures) == 3


async def test_a_name_that_does_not_lead_here_is_told_so(desk: Desk) -> None:
    """A name that does not exist: the CA's own words are shown, and nothing is left published."""
    domain = f"nowhere.{ZONE.replace('shop', 'other')}"
    await desk.ask(domain)
    failed = await _held(desk, domain)

    assert failed.status is Status.FAILED
    assert domain in failed.last_error
    assert len(failed.failures) == 1


_TERMINAL = [
    (Resource.NEW_ORDER, refusal("rejectedIdentifier")),
    _rare(Resource.NEW_ORDER, refusal("unsupportedIdentifier")),
    _rare(Resource.NEW_ORDER, refusal("invalidProfile")),
    _rare(Resource.NEW_ORDER, refusal("malformed")),
    (Resource.FINALIZE, refusal("badCSR")),
    _rare(Resource.FINALIZE, refusal("badPublicKey")),
    _rare(Resource.NEW_ACCOUNT, refusal("unsupportedContact")),
    (Resource.NEW_ACCOUNT, refusal("externalAccountRequired", status=403)),
]


def _kind(value: object) -> str | None:
    return str(json.loads(value.body)["type"]).rpartition(":")[2] if isinstance(value, Said) else None


@pytest.mark.parametrize(("resource", "said"), _TERMINAL, ids=_kind)
async def test_what_can_never_be_had_is_not_asked_for_again(desk: Desk, resource: Resource, said: Said) -> None:
    """The CA refuses a first certificate for good: it stops and tells why, until a person has it tried again."""
    wire, domain = desk.wire(), fresh_name()
    if resource is Resource.NEW_ACCOUNT:
        await desk.forget_account()
    wire.answer(resource, said)
    await desk.ask(domain)
    failed = await _held(desk, domain)

    assert failed.status is Status.FAILED
    assert failed.countdown.due_at is None
    # What is missing in our own configuration is said in our own words.
    is_ours = _kind(said) == "externalAccountRequired"
    assert ("cannot be bound" if is_ours else "planted") in failed.last_error
    await _goes_on(desk, domain, orders=1 if resource is Resource.NEW_ACCOUNT else 2)


async def test_a_renewal_that_is_refused_for_good_touches_nothing(desk: Desk) -> None:
    """The CA refuses a renewal: the working certificate is served on, and it is tried again within a day."""
    wire, domain = desk.wire(), fresh_name()
    await desk.ask(domain)
    before = await desk.ends(domain)
    wire.answer(Resource.NEW_ORDER, refusal("rejectedIdentifier"))
    now = clock.now()
    await desk.renew(domain)
    after = await desk.ends(domain, checkers=certificate_checks.ALWAYS)

    assert after.certificate.version == before.certificate.version
    assert after.certificate.status is Status.ACTIVE
    assert timedelta(hours=1) < _since(after.certificate.countdown.due_at, now) <= timedelta(days=1)
    await _goes_on(desk, domain, orders=3)


@pytest.mark.parametrize("resource", [Resource.NEW_ORDER, Resource.CHALLENGE])
async def test_an_account_that_the_ca_has_forgotten_is_made_again(desk: Desk, resource: Resource) -> None:
    """The CA does not know our account: it is made again, by itself and at once."""
    wire, domain = desk.wire(), fresh_name()
    wire.answer(resource, refusal("accountDoesNotExist"))
    await desk.ask(domain)
    await desk.ends(domain)

    assert len(wire.came(Resource.NEW_ACCOUNT)) == 1


async def test_terms_that_a_person_must_agree_to_are_shown(desk: Desk) -> None:
    """The CA wants a person to act: its page is shown, and the same names are tried again later."""
    wire, domain = desk.wire(), fresh_name()
    wire.answer(Resource.NEW_ORDER, refusal("userActionRequired", status=403, instance="https://ca.example/terms"))
    await desk.ask(domain)
    held = await _held(desk, domain)

    assert held.unpause_link == "https://ca.example/terms"
    assert held.countdown.due_at is not None
    await desk.forgive()
    await _goes_on(desk, domain, orders=2)


async def test_a_pause_shows_the_link_that_ends_it(desk: Desk) -> None:
    """The CA has paused this name: a first certificate stops, and the link at which a person goes on is shown."""
    wire, domain = desk.wire(), fresh_name()
    detail = f"Your account is temporarily prevented from requesting certificates. Visit: {_UNPAUSE}"
    wire.answer(Resource.NEW_ORDER, refusal("rateLimited", status=429, detail=detail))
    await desk.ask(domain)
    held = await _held(desk, domain)

    assert held.unpause_link == _UNPAUSE
    assert held.countdown.due_at is None
    truth = await _goes_on(desk, domain, orders=2)
    assert truth.certificate.unpause_link is None


@pytest.mark.parametrize("kind", ["alreadyReplaced", "malformed"])
async def test_a_replacement_that_is_refused_is_ordered_without(desk: Desk, kind: str) -> None:
    """The CA does not take what is to be replaced: the same is ordered without, in the same breath."""
    needed()
    wire, domain = desk.wire(NEWER), fresh_name()
    await desk.ask(domain, ca=NEWER)
    await desk.ends(domain)
    wire.forget()
    wire.answer(Resource.NEW_ORDER, refusal(kind, status=409))
    await desk.renew(domain)
    await desk.ends(domain)

    assert [("replaces" in one.payload) for one in wire.came(Resource.NEW_ORDER)] == [True, False]
