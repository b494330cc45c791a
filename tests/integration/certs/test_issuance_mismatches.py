"""A CA that issues something else than was ordered: it is never used, people are told, and the former one is served."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from lifecycle import clock
from lifecycle.certs.model import Status
from tests.support import certificate_checks
from tests.support.acme_wire import Resource, Said
from tests.support.issuer import Desk, fresh_name

_DAY = timedelta(days=1)
Key = ec.EllipticCurvePublicKey


def _signed(name: str, key: Key, *, begins: timedelta = -_DAY, ends: timedelta = _DAY) -> bytes:
    """A certificate as a CA in disorder might give it, signed by an authority of its own."""
    issuer = ec.generate_private_key(ec.SECP256R1())
    now = clock.now()
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another")]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .sign(issuer, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def _other_key(domain: str, _: Key) -> bytes:
    return _signed(domain, ec.generate_private_key(ec.SECP256R1()).public_key())


def _other_name(domain: str, key: Key) -> bytes:
    return _signed(f"other-{domain}", key)


def _expired(domain: str, key: Key) -> bytes:
    return _signed(domain, key, begins=-2 * _DAY, ends=-_DAY)


def _no_certificate(_: str, __: Key) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"


_PLANTED = [_other_key, _other_name, _expired, _no_certificate]


def _swap(desk: Desk, domain: str, plant: Callable[[str, Key], bytes]) -> None:
    """Have the next certificate be another one."""

    def change(said: Said) -> Said:
        own = x509.load_pem_x509_certificate(said.body).public_key()
        assert isinstance(own, Key)
        return said._replace(body=plant(domain, own))

    desk.wire().change(Resource.CERTIFICATE, change)


@pytest.mark.parametrize(
    "plant",
    [_other_key, *(pytest.param(one, marks=pytest.mark.chaos) for one in _PLANTED[1:])],
    ids=lambda plant: plant.__name__.strip("_"),
)
async def test_a_first_certificate_that_is_another_is_not_used(desk: Desk, plant: Callable[[str, Key], bytes]) -> None:
    """Another key, other names, expired, or none at all: nothing is stored, visitors see nothing of it, people do.

    It stops there, until a person has it tried again.
    """
    domain = fresh_name()
    _swap(desk, domain, plant)
    await desk.ask(domain)
    truth = await desk.ends(domain, checkers=certificate_checks.ALWAYS)

    assert truth.audit == ["certificate.issuing", "certificate.mismatched"]
    assert truth.versions == []
    assert truth.served == {domain: None}
    assert "something else" in truth.certificate.last_error
    assert truth.certificate.countdown.due_at is None
    await desk.renew(domain)
    assert len((await desk.ends(domain)).versions) == 1


@pytest.mark.parametrize("plant", _PLANTED, ids=lambda plant: plant.__name__.strip("_"))
async def test_a_renewal_that_is_another_leaves_the_former_one(desk: Desk, plant: Callable[[str, Key], bytes]) -> None:
    """The former certificate is served on, and the renewal is tried again."""
    domain = fresh_name()
    await desk.ask(domain)
    before = await desk.ends(domain)
    _swap(desk, domain, plant)
    await desk.renew(domain)
    truth = await desk.ends(domain, checkers=certificate_checks.ALWAYS)

    assert truth.certificate.version == before.certificate.version
    assert truth.served == before.served
    assert len(truth.versions) == 1
    assert truth.audit[-1] == "certificate.mismatched"
    assert truth.certificate.status is Status.ACTIVE
    assert truth.certificate.attempts == 1
    await desk.renew(domain)
    assert len((await desk.ends(domain)).versions) == 2
