"""Which names may be in a certificate, and what is said of those that may not."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.certs import names
from lifecycle.certs.names import LETS_ENCRYPT, ChallengeType, Identifier, Offer
from lifecycle.errors import Code, LifecycleError

CLASSIC = LETS_ENCRYPT["classic"]
SHORTLIVED = LETS_ENCRYPT["shortlived"]
PRIVATE = Offer(internal=True, addresses=True)
LONG = ".".join(["a" * 63] * 3)


def ordered(
    *typed: str, offer: Offer = CLASSIC, challenge: ChallengeType = ChallengeType.DNS_01
) -> Sequence[Identifier]:
    """The identifiers for these names."""
    return names.identifiers(typed, offer=offer, challenge=challenge)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("www.example.com", "www.example.com"),
        (" WWW.Example.COM. ", "www.example.com"),
        ("bücher.example.com", "xn--bcher-kva.example.com"),
        ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ("例え。com", "xn--r8jz45g.com"),
        ("*.example.com", "*.example.com"),
        ("*.bücher.com", "*.xn--bcher-kva.com"),
        ("shop.example.co.uk", "shop.example.co.uk"),
        ("somebody.github.io", "somebody.github.io"),
        ("github.io", "github.io"),
    ],
)
def test_a_name_is_ordered_as_the_dns_writes_it(typed: str, expected: str) -> None:
    """Names in any case and script are taken."""
    assert ordered(typed) == (Identifier(value=expected),)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", Code.CERTIFICATE_NAME_INVALID),
        ("https://example.com/", Code.CERTIFICATE_NAME_INVALID),
        ("example.com:443", Code.CERTIFICATE_NAME_INVALID),
        ("a_b.example.com", Code.CERTIFICATE_NAME_INVALID),
        ("-a.example.com", Code.CERTIFICATE_NAME_INVALID),
        ("a..example.com", Code.CERTIFICATE_NAME_INVALID),
        (".example.com", Code.CERTIFICATE_NAME_INVALID),
        ("two names.example.com", Code.CERTIFICATE_NAME_INVALID),
        ("xn--zzzzzz.example.com", Code.CERTIFICATE_NAME_INVALID),
        ("1.2.3.999", Code.CERTIFICATE_NAME_INVALID),
        ("fe80::1%eth0", Code.CERTIFICATE_NAME_INVALID),
        ("*", Code.CERTIFICATE_NAME_INVALID),
        ("*.", Code.CERTIFICATE_NAME_INVALID),
        ("*.*.example.com", Code.CERTIFICATE_NAME_INVALID),
        ("w*.example.com", Code.CERTIFICATE_NAME_INVALID),
        ("*example.com", Code.CERTIFICATE_NAME_INVALID),
        ("a" * 64 + ".example.com", Code.CERTIFICATE_NAME_TOO_LONG),
        (f"{LONG}.{'a' * 60}.com", Code.CERTIFICATE_NAME_TOO_LONG),
        (f"{LONG}.{'a' * 50}.com", Code.CERTIFICATE_NAME_TOO_LONG),
        ("com", Code.CERTIFICATE_NAME_PUBLIC_SUFFIX),
        ("co.uk", Code.CERTIFICATE_NAME_PUBLIC_SUFFIX),
        ("*.co.uk", Code.CERTIFICATE_NAME_PUBLIC_SUFFIX),
        ("公司.cn", Code.CERTIFICATE_NAME_PUBLIC_SUFFIX),
        ("localhost", Code.CERTIFICATE_NAME_NOT_PUBLIC),
        ("db.internal", Code.CERTIFICATE_NAME_NOT_PUBLIC),
        ("www.example.test", Code.CERTIFICATE_NAME_NOT_PUBLIC),
        ("192.0.2.1", Code.CERTIFICATE_ADDRESS_NOT_OFFERED),
        ("[2001:db8::1]", Code.CERTIFICATE_ADDRESS_NOT_OFFERED),
    ],
)
def test_a_name_that_no_ca_takes_is_refused_before_it_is_asked(typed: str, code: Code) -> None:
    """Each mistake has its own code and says what is wrong, and costs nothing at the CA."""
    with pytest.raises(LifecycleError) as refusal:
        ordered("www.example.com", typed)

    assert refusal.value.code is code
    assert refusal.value.params["field"] == "names"


def test_several_names_are_ordered_once_and_in_order() -> None:
    """The same names in any order and spelling are the same certificate."""
    one = ordered("b.example.com", "A.example.com", "b.example.com.")

    assert one == ordered("a.example.com", "B.EXAMPLE.COM")
    assert [identifier.value for identifier in one] == ["a.example.com", "b.example.com"]


def test_a_name_that_a_wildcard_covers_is_refused_beside_it() -> None:
    """The apex beside its wildcard is wanted; a name below it is superfluous, and CAs refuse the whole order."""
    assert len(ordered("*.example.com", "example.com", "a.b.example.com")) == 3
    with pytest.raises(LifecycleError, match=r"\*\.example\.com in the same certificate covers it"):
        ordered("*.example.com", "www.example.com")


@pytest.mark.parametrize("challenge", [ChallengeType.HTTP_01, ChallengeType.TLS_ALPN_01])
def test_a_wildcard_needs_dns(challenge: ChallengeType) -> None:
    """A wildcard can only be proved in the DNS, and the refusal says so."""
    with pytest.raises(LifecycleError) as refusal:
        ordered("*.example.com", challenge=challenge)

    assert refusal.value.code is Code.CERTIFICATE_CHALLENGE_UNFIT
    assert "dns-01" in refusal.value.hint


def test_addresses_where_the_ca_offers_them() -> None:
    """An IP address is ordered in its short form, if it is public and is proved by a connection to it."""
    challenge = ChallengeType.HTTP_01

    assert ordered("2606:4700:0::1111", "8.8.8.8", offer=SHORTLIVED, challenge=challenge) == (
        Identifier(type="ip", value="2606:4700::1111"),
        Identifier(type="ip", value="8.8.8.8"),
    )
    assert ordered("10.0.0.1", offer=PRIVATE, challenge=challenge) == (Identifier(type="ip", value="10.0.0.1"),)
    for typed, kind, code in (
        ("10.0.0.1", challenge, Code.CERTIFICATE_NAME_NOT_PUBLIC),
        ("8.8.8.8", ChallengeType.DNS_01, Code.CERTIFICATE_CHALLENGE_UNFIT),
    ):
        with pytest.raises(LifecycleError) as refusal:
            ordered(typed, offer=SHORTLIVED, challenge=kind)
        assert refusal.value.code is code


def test_a_private_ca_takes_names_of_its_own_network() -> None:
    """Names that the Internet does not know are for a CA that does."""
    assert ordered("db.internal", "www.example.test", "localhost", offer=PRIVATE)
    with pytest.raises(LifecycleError) as refusal:
        ordered("co.uk", offer=PRIVATE)
    assert refusal.value.code is Code.CERTIFICATE_NAME_PUBLIC_SUFFIX


@pytest.mark.parametrize("profile", LETS_ENCRYPT)
def test_each_profile_has_its_limit(profile: str) -> None:
    """One name more than the profile allows is refused with both figures."""
    offer = LETS_ENCRYPT[profile]
    fitting = [f"n{number}.example.com" for number in range(offer.most_names)]

    assert len(ordered(*fitting, offer=offer)) == offer.most_names
    with pytest.raises(LifecycleError) as refusal:
        ordered(*fitting, "one.example.com", offer=offer)
    assert refusal.value.code is Code.CERTIFICATE_TOO_MANY_NAMES
    assert refusal.value.params["limit"] == str(offer.most_names)


def test_no_names_make_no_certificate() -> None:
    """An empty request is refused."""
    with pytest.raises(LifecycleError) as refusal:
        ordered()
    assert refusal.value.code is Code.CERTIFICATE_NAMES_MISSING


def test_the_txt_record_must_fit_too() -> None:
    """A name that fits by itself is refused with dns-01 when `_acme-challenge` before it does not fit."""
    name = f"{LONG}.{'a' * 45}.com"

    assert ordered(name, challenge=ChallengeType.HTTP_01)
    with pytest.raises(LifecycleError, match="TXT record"):
        ordered(name)


def test_only_profiles_of_the_ca_are_sent() -> None:
    """A profile that the CA does not have is refused with those that it has."""
    offered = {"classic": "…", "shortlived": "…"}

    assert (names.profile("classic", offered), names.profile(None, {})) == ("classic", None)
    with pytest.raises(LifecycleError, match="no profile fast") as refusal:
        names.profile("fast", offered)
    assert refusal.value.params["offered"] == "Choose from: classic, shortlived."


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (Identifier(value="*.a.b.example.co.uk"), "example.co.uk"),
        (Identifier(value="x.somebody.github.io"), "somebody.github.io"),
        (Identifier(value="localhost"), "localhost"),
        (Identifier(type="ip", value="8.8.8.8"), "8.8.8.8"),
    ],
)
def test_limits_count_by_registered_domain(identifier: Identifier, expected: str) -> None:
    """Names of one owner share a limit, names of two do not."""
    assert names.registered_domain(identifier) == expected


@given(st.text(max_size=300) | st.text("aAxn1é。*.-_[]:% ", max_size=80))
def test_any_text_is_a_name_or_a_refusal(typed: str) -> None:
    """Nothing that somebody can type breaks anything; what is taken is taken again unchanged."""
    try:
        found = ordered(typed, offer=PRIVATE)
    except LifecycleError as error:
        refusal = error
    else:
        assert ordered(found[0].value, offer=PRIVATE) == found
        return
    assert refusal.params["field"] in {"names", "challenge"}
    assert all(sign.isprintable() for sign in refusal.params.get("name", ""))
