"""Certificates from a real CA: every challenge, every key, and what is refused."""

import asyncio

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import JsonValue

from lifecycle import clock
from lifecycle.certs import acme, problems, verification
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.problems import About, Meaning
from lifecycle.certs.verdicts import (
    Account,
    Answered,
    Authorization,
    Chain,
    Challenge,
    Directory,
    Done,
    Order,
    Refused,
    Unanswered,
)
from lifecycle.certs.verification import Mismatched
from tests.integration.certs.authority import Lab, Wire, expect, hosts, laboratory, new_key, pem

WAYS = pytest.mark.parametrize(
    ("kind", "names"),
    [
        (ChallengeType.HTTP_01, ("http.example.test",)),
        (ChallengeType.HTTP_01, ("one.example.test", "two.example.test", "three.example.test")),
        (ChallengeType.DNS_01, ("*.wild.example.test", "wild.example.test")),
        (ChallengeType.TLS_ALPN_01, ("alpn.example.test",)),
    ],
)


async def _issue_and_trust(lab: Lab, kind: ChallengeType, names: tuple[str, ...]) -> None:
    chain, _, _ = await lab.issue(await lab.account(), hosts(*names), kind)
    root = x509.load_pem_x509_certificate((await lab.pebble.root()).encode())
    x509.load_pem_x509_certificates(chain.pem.encode())[-1].verify_directly_issued_by(root)


@WAYS
async def test_each_challenge_gives_a_certificate(lab: Lab, kind: ChallengeType, names: tuple[str, ...]) -> None:
    """Whichever way control is proved, the certificate is for exactly the names, and trusted by the CA's root."""
    await _issue_and_trust(lab, kind, names)


@WAYS
async def test_each_challenge_of_a_newer_ca(newer: Lab, kind: ChallengeType, names: tuple[str, ...]) -> None:
    """Challenges that nobody here knows are passed over, and those that we know still work."""
    await _issue_and_trust(newer, kind, names)


async def test_an_issuance_costs_three_requests_a_name_and_four(lab: Lab, wire: Wire) -> None:
    """No request is wasted: a hundred names cost little more than the protocol asks."""
    signer = await lab.account(wire.ca)
    wire.requests.clear()

    await lab.issue(signer, hosts("a.example.test", "b.example.test"), ca=wire.ca)

    # Looks that come too early are repeated, so each address counts once; an authorization is read before and after.
    assert len(set(wire.requests)) + 2 <= 3 * 2 + 4
    assert not [one for one in wire.requests if "nonce" in one or "dir" in one]


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA"])
async def test_each_sort_of_account_key_works(lab: Lab, kind: str) -> None:
    """Accounts that come from elsewhere keep their key, whatever CAs allow it to be."""
    if kind == "RSA":
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        key = pem(ec.generate_private_key(ec.SECP384R1() if kind == "P-384" else ec.SECP256R1()))

    account = expect(Account, await lab.call(acme.new_account, lab.ca, acme.Signer(key)))

    expect(Order, await lab.call(acme.new_order, lab.ca, acme.Signer(key, account.url), hosts("k.example.test")))


async def test_making_an_account_again_gives_the_same(lab: Lab) -> None:
    """An account is never made twice for one key, and asking for it makes none."""
    signer = acme.Signer(new_key())
    absent = expect(Refused, await lab.call(acme.find_account, lab.ca, signer))
    made = await lab.call(acme.new_account, lab.ca, signer, contact=("mailto:ops@example.test",))

    assert absent.problem.kind == "accountDoesNotExist"
    assert problems.meaning(absent, about=About.REQUEST) is Meaning.ACCOUNT
    assert await lab.call(acme.new_account, lab.ca, signer) == made
    assert await lab.call(acme.find_account, lab.ca, signer) == made


async def test_an_account_that_must_be_bound() -> None:
    """Where a CA wants to know whose account it is, the binding opens it, and nothing else does."""
    secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"  # noqa: S105  of this test only
    options: dict[str, JsonValue] = {
        "externalAccountBindingRequired": True,
        "externalAccountMACKeys": {"kid-1": secret},
    }
    async with laboratory(options=options) as lab:
        right = acme.Binding("kid-1", secret)
        wrong = acme.Binding("kid-2", right.hmac_key)

        async def answer(binding: acme.Binding | None) -> object:
            return await lab.call(acme.new_account, lab.ca, acme.Signer(new_key()), binding=binding)

        assert lab.ca.directory().external_account_required
        assert expect(Refused, await answer(None)).problem.kind == "externalAccountRequired"
        assert expect(Refused, await answer(wrong)).problem.kind == "unauthorized"
        assert expect(Account, await answer(right)).status == "valid"
        assert right.hmac_key not in repr(right)


async def test_an_account_gets_another_key(lab: Lab) -> None:
    """After a rollover only the new key opens the account, and it goes on ordering."""
    old, key = await lab.account(), new_key()

    expect(Account, await lab.call(acme.roll_over, lab.ca, old, key))

    expect(Refused, await lab.call(acme.read_account, lab.ca, old))
    await lab.issue(acme.Signer(key, old.account), hosts("rolled.example.test"))


async def test_a_key_of_another_account_is_not_taken(lab: Lab) -> None:
    """A rollover to a key that is in use changes nothing, and says so."""
    one, other = await lab.account(), await lab.account()

    refused = expect(Refused, await lab.call(acme.roll_over, lab.ca, one, other.key))

    # Pebble gives a status of its own to it; RFC 8555 wants 409.
    assert "in use" in refused.problem.detail
    assert expect(Account, await lab.call(acme.read_account, lab.ca, one)).status == "valid"


async def test_a_deactivated_account_stops_everything(lab: Lab) -> None:
    """Once it has ended it can order nothing, and the refusal is the account's, not the certificate's."""
    signer = await lab.account()

    ended = expect(Account, await lab.call(acme.deactivate_account, lab.ca, signer))
    refused = expect(Refused, await lab.call(acme.new_order, lab.ca, signer, hosts("late.example.test")))

    assert ended.status == "deactivated"
    assert problems.meaning(refused, about=About.REQUEST) is Meaning.ACCOUNT


async def test_a_certificate_is_revoked_by_its_account_or_by_its_own_key(lab: Lab) -> None:
    """Whoever lost the account can still revoke with the key, and doing it again is no failure."""
    signer = await lab.account()
    for by_own_key in (False, True):
        chain, found, key = await lab.issue(signer, hosts("revoked.example.test"))
        by = acme.Signer(key) if by_own_key else signer

        assert await lab.call(acme.revoke, lab.ca, by, chain.pem, acme.Reason.KEY_COMPROMISE) == Done()
        assert await lab.pebble.status(found.serial) == "Revoked"
        assert await lab.call(acme.revoke, lab.ca, by, chain.pem, acme.Reason.KEY_COMPROMISE) == Done()


async def test_the_preferred_chain_can_be_chosen(lab: Lab) -> None:
    """The same certificate is there under each root of the CA."""
    signer = await lab.account()
    chain, _, _ = await lab.issue(signer, hosts("chain.example.test"))
    roots = [x509.load_pem_x509_certificate((await lab.pebble.root(number)).encode()) for number in (0, 1)]
    names = [str(root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value) for root in roots]

    other = expect(Chain, await lab.call(acme.download, lab.ca, signer, chain.alternates[0]))

    assert [verification.is_issued_under(chain.pem, name) for name in names] == [True, False]
    assert [verification.is_issued_under(other.pem, name) for name in names] == [False, True]
    assert other.pem.split("-----END")[0] == chain.pem.split("-----END")[0]


async def test_half_of_all_nonces_rejected() -> None:
    """A CA that rejects every second nonce slows a certificate down, and never stops one: 100 of 100 are issued."""
    async with laboratory(environment={"PEBBLE_WFE_NONCEREJECT": "50"}) as lab:
        signer = await lab.account()
        many = asyncio.Semaphore(8)

        async def one(number: int) -> str:
            async with many:
                _, found, _ = await lab.issue(signer, hosts(f"n{number}.example.test"))
                return found.serial

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(100)]

        assert len({task.result() for task in tasks}) == 100


async def test_a_wrong_answer_fails_the_order(lab: Lab) -> None:
    """When the CA finds something else, it says what, the order is dead, and a new one is needed."""
    signer = await lab.account()
    order = expect(Order, await lab.call(acme.new_order, lab.ca, signer, hosts("wrong.example.test")))
    url = order.authorizations[0]
    read = expect(Authorization, await lab.call(acme.read_authorization, lab.ca, signer, url))

    expect(Answered, await lab.call(acme.answer, lab.ca, signer, expect(Challenge, read.challenge("http-01")).url))

    assert await lab.settled(signer, url) == "invalid"
    failed = expect(Authorization, await lab.call(acme.read_authorization, lab.ca, signer, url)).problem
    assert failed is not None
    assert problems.meaning(Refused(problem=failed), about=About.CHALLENGE) is Meaning.VALIDATION
    assert expect(Order, await lab.call(acme.read_order, lab.ca, signer, order.url)).status == "invalid"


async def test_what_the_ca_refuses_keeps_its_type(lab: Lab) -> None:
    """Each refusal says what it is, so that the right person hears of it."""
    signer = await lab.account()
    order = expect(Order, await lab.call(acme.new_order, lab.ca, signer, hosts("a.example.test")))
    request = verification.signing_request(hosts("a.example.test"), new_key())
    stranger = acme.Signer(new_key(), f"{signer.account}0")
    address = (Identifier(type="ip", value="127.0.0.1"),)
    blocked = await lab.call(acme.new_order, lab.ca, signer, hosts("www.blocked-domain.example"))
    early = await lab.call(acme.finalize, lab.ca, signer, order, request)
    unknown = await lab.call(acme.new_order, lab.ca, stranger, hosts("a.example.test"))
    gone = await lab.call(acme.read_order, lab.ca, signer, f"{order.url}0")

    kinds = [expect(Refused, one).problem.kind for one in (blocked, early, unknown)]
    assert kinds == ["rejectedIdentifier", "orderNotReady", "accountDoesNotExist"]
    assert problems.meaning(expect(Refused, blocked), about=About.REQUEST) is Meaning.TERMINAL
    assert "blocked-domain.example" in expect(Refused, blocked).problem.summary
    assert problems.meaning(expect(Refused, early), about=About.ORDER) is Meaning.GO_ON
    assert problems.meaning(expect(Refused, gone), about=About.ORDER) is Meaning.VALIDATION
    assert expect(Order, await lab.call(acme.new_order, lab.ca, signer, address)).identifiers == address


async def test_a_request_for_other_names_is_refused(lab: Lab) -> None:
    """The CA certifies what was ordered and proved, and nothing else."""
    signer = await lab.account()
    order = expect(Order, await lab.call(acme.new_order, lab.ca, signer, hosts("mine.example.test")))
    await lab.prove(signer, order)
    request = verification.signing_request(hosts("other.example.test"), new_key())

    refused = expect(Refused, await lab.call(acme.finalize, lab.ca, signer, order, request))

    assert problems.meaning(refused, about=About.ORDER) in {Meaning.ACCOUNT, Meaning.TERMINAL}
    assert refused.problem.kind in {"badCSR", "unauthorized"}


async def test_an_authorization_given_up_is_no_success(lab: Lab) -> None:
    """A name whose proof was withdrawn counts as not proved."""
    signer = await lab.account()
    order = expect(Order, await lab.call(acme.new_order, lab.ca, signer, hosts("given-up.example.test")))

    given_up = await lab.call(acme.deactivate_authorization, lab.ca, signer, order.authorizations[0])

    assert expect(Authorization, given_up).status == "deactivated"


async def test_a_certificate_of_another_order_is_never_taken(lab: Lab) -> None:
    """Another key or other names are noticed before anything is stored."""
    chain, _, key = await lab.issue(await lab.account(), hosts("right.example.test"))

    def faults(key_pem: bytes, name: str) -> tuple[str, ...]:
        found = verification.verify(chain.pem, key_pem=key_pem, identifiers=hosts(name), now=clock.now())
        return expect(Mismatched, found).faults

    assert faults(new_key(), "right.example.test") == ("It belongs to another key.",)
    assert faults(key, "wrong.example.test") == (
        "It lacks wrong.example.test.",
        "It has right.example.test, which nobody ordered.",
    )


async def test_what_is_no_directory(lab: Lab, wire: Wire) -> None:
    """A wrong address of a CA is found out when it is set up, and the answer says what is wrong."""
    host = lab.pebble.directory_url.removesuffix("/dir")
    dead = f"https://127.0.0.1:{lab.free['free']}/dir"
    wire.replace("/dir", 200, {"Content-Type": "text/html"}, "<html>")
    answers = [
        await lab.call(acme.read_directory, ca)
        for ca in (
            acme.CertificateAuthority(f"{host}/", trust=lab.pebble.trust),
            acme.CertificateAuthority(dead, trust=lab.pebble.trust),
            acme.CertificateAuthority(lab.pebble.directory_url),
            acme.CertificateAuthority("nonsense"),
            wire.ca,
        )
    ]

    assert all(isinstance(one, Refused | Unanswered) for one in answers)
    assert "JSON" in expect(Unanswered, answers[-1]).reason
    assert "certificate verify failed" in expect(Unanswered, answers[2]).reason
    assert "refused" in expect(Unanswered, answers[1]).reason
    assert expect(Directory, await lab.call(acme.read_directory, lab.ca)).new_order
