"""A certificate is used only when it is the one that was ordered."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from lifecycle.certs import verification
from lifecycle.certs.names import Identifier
from lifecycle.certs.renewals import Life
from lifecycle.certs.verification import Mismatched, Verified
from tests.support.factories import DAY, HOUR, NOW

NAMES = (Identifier(value="a.example.com"), Identifier(type="ip", value="192.0.2.1"))
AUTHORITY_KEY, KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate(
    *,
    subject: str = "",
    key: ec.EllipticCurvePrivateKey = KEY,
    signed_by: ec.EllipticCurvePrivateKey = AUTHORITY_KEY,
    is_authority: bool = False,
    names: Sequence[x509.GeneralName] = (x509.DNSName("a.example.com"), x509.IPAddress(ip_address("192.0.2.1"))),
    not_before: datetime = NOW - HOUR,
    not_after: datetime = NOW + 90 * DAY,
    use: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
) -> x509.Certificate:
    """A certificate of the authority `CA`."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name("CA"))
        .public_key(key.public_key())
        .serial_number(0x8765)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier(b"\x01\x02\x03", None, None), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signed_by, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)] if text else [])


CA = certificate(subject="CA", key=AUTHORITY_KEY, is_authority=True, names=())


def verified(*chain: x509.Certificate) -> Verified | Mismatched:
    """What is found in this chain."""
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain).decode()
    return verification.verify(pem, key_pem=KEY_PEM, identifiers=NAMES, now=NOW)


def test_the_ordered_certificate_is_taken() -> None:
    """With its dates, its serial, and the id under which the CA says when to renew it."""
    assert verified(certificate(), CA) == Verified(
        life=Life(not_before=NOW - HOUR, not_after=NOW + 90 * DAY), certificate_id="AQID.AIdl", serial="8765"
    )


def test_the_id_of_the_standard() -> None:
    """The example of RFC 9773, section 4.1, gives its result."""
    key_identifier = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4".replace(" ", ""))
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name("x"))
        .issuer_name(_name("CA"))
        .public_key(KEY.public_key())
        .serial_number(0x8765432100)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.AuthorityKeyIdentifier(key_identifier, None, None), critical=False)
    )

    assert verification.certificate_id(builder.sign(AUTHORITY_KEY, hashes.SHA256())) == (
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyEA"
    )


@pytest.mark.parametrize(
    ("chain", "fault"),
    [
        ((certificate(key=AUTHORITY_KEY), CA), "belongs to another key"),
        ((certificate(names=(x509.DNSName("a.example.com"),)), CA), "lacks 192.0.2.1"),
        ((certificate(names=()), CA), "lacks 192.0.2.1, a.example.com"),
        (
            (certificate(names=(*[x509.DNSName(one) for one in ("a.example.com", "b.example.com")],)), CA),
            "has b.example.com, which nobody ordered",
        ),
        ((certificate(names=(x509.RFC822Name("a@example.com"),)), CA), "has a@example.com"),
        ((certificate(not_before=NOW + HOUR), CA), "not valid before"),
        ((certificate(not_after=NOW), CA), "It has expired"),
        (
            (certificate(), certificate(subject="CA", key=AUTHORITY_KEY, is_authority=True, not_after=NOW)),
            "Its issuer CN=CA has expired",
        ),
        ((certificate(is_authority=True), CA), "certificate of an authority"),
        ((certificate(), certificate(subject="CA", key=AUTHORITY_KEY)), "is not an authority"),
        ((certificate(use=ExtendedKeyUsageOID.CLIENT_AUTH), CA), "not for servers"),
        ((certificate(signed_by=KEY), CA), "has not signed"),
        ((certificate(), certificate(subject="Other", key=AUTHORITY_KEY, is_authority=True)), "has not signed"),
        ((certificate(),), "without its issuer"),
        ((), "cannot be read"),
    ],
)
def test_any_other_is_never_used(chain: Sequence[x509.Certificate], fault: str) -> None:
    """A CA that answers with a wrong, expired or foreign certificate does no harm, and people read what was wrong."""
    found = verified(*chain)

    assert isinstance(found, Mismatched)
    assert any(fault in one for one in found.faults), found.faults


def test_a_clock_that_is_a_little_behind_does_not_matter() -> None:
    """A certificate that begins in a minute is taken."""
    assert isinstance(verified(certificate(not_before=NOW + timedelta(minutes=1)), CA), Verified)


def test_garbage_is_no_certificate() -> None:
    """Text that is no certificate is refused like a wrong one."""
    for text in ("", "<html>", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        found = verification.verify(text, key_pem=KEY_PEM, identifiers=NAMES, now=NOW)
        assert isinstance(found, Mismatched)


def test_a_signing_request_names_exactly_what_is_ordered() -> None:
    """Long names too: they stand where there is room for them."""
    names = (*NAMES, Identifier(value=f"*.{'a' * 63}.{'b' * 63}.example.com"))
    request = x509.load_pem_x509_csr(verification.signing_request(names, KEY_PEM))
    found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert found.get_values_for_type(x509.DNSName) == [names[0].value, names[2].value]
    assert found.get_values_for_type(x509.IPAddress) == [ip_address("192.0.2.1")]
    assert request.is_signature_valid
    assert request.public_key() == KEY.public_key()


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP521R1())])
def test_a_key_that_no_ca_takes_is_refused(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
    """Before anything is ordered."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    with pytest.raises(ValueError, match="RSA, P-256 or P-384"):
        verification.signing_request(NAMES, pem)
