"""What happens when the answer of a CA is lost, late or a refusal for now: the order goes on from its URL."""

from datetime import timedelta
from email.utils import format_datetime

import pytest

from lifecycle import clock
from lifecycle.certs import acme, problems, verification
from lifecycle.certs.problems import About, Meaning
from lifecycle.certs.verdicts import (
    Account,
    Authorization,
    Challenge,
    Order,
    RateLimited,
    Refused,
    Unanswered,
)
from lifecycle.certs.verification import Verified
from tests.integration.certs.authority import Lab, Wire, expect, hosts, new_key

LIMITED = '{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}'
PROBLEM = {"Content-Type": "application/problem+json"}


async def test_the_answer_to_a_new_account_is_lost(lab: Lab, wire: Wire) -> None:
    """Asking again gives the account that was made."""
    signer = acme.Signer(new_key())
    wire.lose("sign-me-up")

    expect(Unanswered, await lab.call(acme.new_account, wire.ca, signer))
    found = expect(Account, await lab.call(acme.find_account, wire.ca, signer))

    assert await lab.call(acme.new_account, wire.ca, signer) == found


async def test_the_answer_to_a_rollover_is_lost(lab: Lab, wire: Wire) -> None:
    """Asking with the new key tells that the change was made; without a change it has no account."""
    signer, key = await lab.account(wire.ca), new_key()
    expect(Refused, await lab.call(acme.find_account, wire.ca, acme.Signer(key)))
    wire.lose("rollover")

    expect(Unanswered, await lab.call(acme.roll_over, wire.ca, signer, key))

    assert expect(Account, await lab.call(acme.find_account, wire.ca, acme.Signer(key))).url == signer.account


async def test_every_answer_of_an_issuance_is_lost_once(lab: Lab, wire: Wire) -> None:
    """Each step finds out how far it came, and the certificate is for the key that was made first."""
    signer, key, names = await lab.account(wire.ca), new_key(), hosts("lost.example.test")

    wire.lose("order-plz")
    expect(Unanswered, await lab.call(acme.new_order, wire.ca, signer, names))
    order = expect(Order, await lab.call(acme.new_order, wire.ca, signer, names))

    url = order.authorizations[0]
    read = expect(Authorization, await lab.call(acme.read_authorization, wire.ca, signer, url))
    challenge = expect(Challenge, read.challenge("http-01"))
    lab.responder.tokens[challenge.token] = acme.key_authorization(signer, challenge.token)
    wire.lose("chalZ")
    expect(Unanswered, await lab.call(acme.answer, wire.ca, signer, challenge.url))
    assert await lab.settled(signer, url, wire.ca) == "valid"
    again = expect(Refused, await lab.call(acme.answer, wire.ca, signer, challenge.url))
    assert again.problem.kind == "malformed"

    request = verification.signing_request(names, key)
    wire.lose("finalize-order")
    expect(Unanswered, await lab.call(acme.finalize, wire.ca, signer, order, request))
    repeated = expect(Refused, await lab.call(acme.finalize, wire.ca, signer, order, request))
    assert problems.meaning(repeated, about=About.ORDER) is Meaning.GO_ON
    done, chain = await lab.issued(signer, order, wire.ca)

    wire.lose("certZ")
    assert done.certificate
    expect(Unanswered, await lab.call(acme.download, wire.ca, signer, done.certificate))
    assert await lab.call(acme.download, wire.ca, signer, done.certificate) == chain
    found = verification.verify(chain.pem, key_pem=key, identifiers=names, now=clock.now())
    assert expect(Verified, found).serial


async def test_an_order_goes_on_in_another_process(lab: Lab) -> None:
    """All that is needed is written down: the order comes back from its JSON."""
    signer, key, names = await lab.account(), new_key(), hosts("resumed.example.test")
    order = expect(Order, await lab.call(acme.new_order, lab.ca, signer, names))

    resumed = Order.model_validate_json(order.model_dump_json())
    other = acme.CertificateAuthority(lab.pebble.directory_url, trust=lab.pebble.trust)
    await lab.prove(signer, resumed, ca=other)
    request = verification.signing_request(names, key)
    finalized = expect(Order, await lab.call(acme.finalize, other, signer, resumed, request))
    _, chain = await lab.issued(signer, finalized, other)
    other.close()

    assert resumed == order
    expect(Verified, verification.verify(chain.pem, key_pem=key, identifiers=names, now=clock.now()))


@pytest.mark.parametrize("is_date", [False, True])
async def test_a_rate_limit_says_until_when(lab: Lab, wire: Wire, is_date: bool) -> None:
    """The time that the CA gives is kept to, whichever way it is written."""
    signer = await lab.account(wire.ca)
    until = clock.now() + timedelta(hours=3)
    header = format_datetime(until, usegmt=True) if is_date else str(3 * 3600)
    wire.replace("order-plz", 429, {**PROBLEM, "Retry-After": header}, LIMITED)

    limited = expect(RateLimited, await lab.call(acme.new_order, wire.ca, signer, hosts("slow.example.test")))

    assert limited.until is not None
    assert abs(limited.until - until) < timedelta(seconds=10)
    assert limited.problem.kind == "rateLimited"
    assert problems.meaning(limited, about=About.REQUEST) is Meaning.WAIT
    expect(Order, await lab.call(acme.new_order, wire.ca, signer, hosts("slow.example.test")))


@pytest.mark.parametrize(
    ("path", "status", "headers", "body", "expected"),
    [
        ("order-plz", 503, {"Retry-After": "60"}, "busy", Meaning.WAIT),
        ("order-plz", 503, {**PROBLEM, "Retry-After": "60"}, '{"detail": "busy"}', Meaning.WAIT),
        ("order-plz", 502, {}, "<html>", Meaning.TRANSIENT),
        ("order-plz", 500, PROBLEM, '{"type": "urn:ietf:params:acme:error:serverInternal"}', Meaning.TRANSIENT),
        ("order-plz", 201, {}, "{}", Meaning.TRANSIENT),
        ("order-plz", 201, {"Location": "/o"}, '{"status": 7}', Meaning.TRANSIENT),
        ("order-plz", 201, {"Location": "/o"}, "[]", Meaning.TRANSIENT),
        ("order-plz", 409, PROBLEM, '{"type": "urn:ietf:params:acme:error:alreadyReplaced"}', Meaning.TERMINAL),
        ("order-plz", 404, {}, "nothing", Meaning.TERMINAL),
        ("order-plz", 400, PROBLEM, '{"type": 7, "subproblems": [1, {"identifier": "x"}]}', Meaning.TERMINAL),
        ("nonce-plz", 503, {"Retry-After": "60"}, "", Meaning.WAIT),
        ("nonce-plz", 200, {}, "", Meaning.TRANSIENT),
        ("nonce-plz", 200, {"Replay-Nonce": "!!"}, "", Meaning.TRANSIENT),
    ],
)
async def test_every_answer_has_a_meaning(
    lab: Lab, wire: Wire, path: str, status: int, headers: dict[str, str], body: str, expected: Meaning
) -> None:
    """Whatever a CA, or what stands in between, answers: it is understood as something that can be done."""
    signer = await lab.account(wire.ca)
    fresh = acme.CertificateAuthority(wire.url, trust=lab.pebble.trust)
    wire.replace(path, status, headers, body)

    failure = await lab.call(acme.new_order, fresh, signer, hosts("odd.example.test"))
    fresh.close()

    assert isinstance(failure, Refused | Unanswered)
    assert problems.meaning(failure, about=About.REQUEST) is expected
