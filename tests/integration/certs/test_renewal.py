"""Renewal as the CA wants it (RFC 9773) and certificate profiles, from a CA that offers both."""

import json
from datetime import timedelta

import pytest

from lifecycle import clock
from lifecycle.certs import acme, names, problems, renewals
from lifecycle.certs.problems import About, Meaning
from lifecycle.certs.verdicts import Chain, Order, Refused, RenewalInfo, Unanswered
from lifecycle.errors import LifecycleError
from tests.integration.certs.authority import Lab, expect, hosts


def leaf(chain: Chain) -> str:
    """The certificate without its issuers."""
    end = "-----END CERTIFICATE-----\n"
    return chain.pem.partition(end)[0] + end


async def test_a_revoked_certificate_is_to_be_renewed_at_once(newer: Lab) -> None:
    """The CA names a window inside the life; when it revokes the certificate, the window is over already."""
    signer = await newer.account()
    chain, found, _ = await newer.issue(signer, hosts("window.example.test"), profile="classic")
    assert found.certificate_id
    before = expect(RenewalInfo, await newer.call(acme.read_renewal_info, newer.ca, found.certificate_id))

    await newer.call(acme.revoke, newer.ca, signer, chain.pem, acme.Reason.SUPERSEDED)
    after = expect(RenewalInfo, await newer.call(acme.read_renewal_info, newer.ca, found.certificate_id))

    assert found.life.not_before < before.start < before.end < found.life.not_after
    assert before.retry_at is not None
    choice = renewals.choose(after, None, certificate_id=found.certificate_id, random=0.5, silent_for=timedelta(0))
    assert renewals.plan(found.life, choice, random=0.5).at < clock.now()


@pytest.mark.parametrize("answer", ["no JSON", "{}", "[]", '{"suggestedWindow": {"start": "soon", "end": 7}}'])
async def test_broken_renewal_information_changes_nothing(newer: Lab, answer: str) -> None:
    """Whatever the CA says there, the certificate is renewed at its usual time."""
    chain, found, _ = await newer.issue(await newer.account(), hosts("broken.example.test"))
    await newer.pebble.set_renewal_info(leaf(chain), answer)
    assert found.certificate_id

    expect(Unanswered, await newer.call(acme.read_renewal_info, newer.ca, found.certificate_id))


async def test_the_reason_for_a_window_reaches_people(newer: Lab) -> None:
    """Whoever wonders about an early renewal can read the CA's own page."""
    chain, found, _ = await newer.issue(await newer.account(), hosts("reason.example.test"))
    window = {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}
    answer = {"suggestedWindow": window, "explanationURL": "https://ca.example/why"}
    await newer.pebble.set_renewal_info(leaf(chain), json.dumps(answer))
    assert found.certificate_id

    info = expect(RenewalInfo, await newer.call(acme.read_renewal_info, newer.ca, found.certificate_id))

    assert info.explanation_url == "https://ca.example/why"
    assert renewals.choose(info, None, certificate_id=found.certificate_id, random=0, silent_for=timedelta(0)) is None


async def test_a_certificate_is_replaced_once(newer: Lab) -> None:
    """The CA is told what is replaced; a second replacement is refused, and then ordered without."""
    signer, named = await newer.account(), hosts("replaced.example.test")
    _, found, _ = await newer.issue(signer, named)

    await newer.issue(signer, named, replaces=found.certificate_id)
    refused = expect(Refused, await newer.call(acme.new_order, newer.ca, signer, named, replaces=found.certificate_id))

    assert refused.problem.kind == "alreadyReplaced"
    assert problems.meaning(refused, about=About.REQUEST, replaces=True) is Meaning.WITHOUT_REPLACES
    assert expect(Order, await newer.call(acme.new_order, newer.ca, signer, named)).replaces is None


async def test_a_profile_decides_how_long_it_lives(newer: Lab) -> None:
    """A profile that the CA offers is used; any other is refused before the CA is asked, and by the CA."""
    signer, named = await newer.account(), hosts("profile.example.test")
    offered = newer.ca.directory().profiles

    _, found, _ = await newer.issue(signer, named, profile=names.profile("oneminute", offered))
    refused = expect(Refused, await newer.call(acme.new_order, newer.ca, signer, named, profile="other"))

    assert found.life.length == pytest.approx(timedelta(minutes=1), abs=timedelta(seconds=2))
    assert refused.problem.kind == "invalidProfile"
    with pytest.raises(LifecycleError):
        names.profile("other", offered)
