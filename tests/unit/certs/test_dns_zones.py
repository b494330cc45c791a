"""Which zone of ours a name is in."""

import pytest

from lifecycle.certs.configuration import Zone
from lifecycle.certs.dns import Endpoint
from lifecycle.certs.dns.answers import endpoint
from lifecycle.certs.dns.zones import fitting

ZONES = tuple(Zone(name=name) for name in ("example.com", "sub.example.com", "acme.test"))


@pytest.mark.parametrize(
    ("record", "zone"),
    [
        ("example.com", "example.com"),
        ("_acme-challenge.example.com", "example.com"),
        ("_acme-challenge.a.sub.example.com", "sub.example.com"),
        ("_acme-challenge.notsub.example.com", "example.com"),
        ("_acme-challenge.otherexample.com", None),
        ("com", None),
        ("www.corp.test.acme.test", "acme.test"),
    ],
)
def test_the_longest_zone_that_holds_a_name(record: str, zone: str | None) -> None:
    """Whole labels count, and the nearest zone."""
    found = fitting(record, ZONES)

    assert (found.name if found else None) == zone


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("127.0.0.1:53", Endpoint("127.0.0.1"), "127.0.0.1"),
        ("[::1]:5353", Endpoint("::1", 5353), "[::1]:5353"),
        ("ns.example.com:53", Endpoint("ns.example.com"), "ns.example.com"),
    ],
)
def test_a_server_of_the_file(text: str, expected: Endpoint, shown: str) -> None:
    """It is read as it is written, and shown without the port that goes without saying."""
    assert endpoint(text) == expected
    assert str(endpoint(text)) == shown
