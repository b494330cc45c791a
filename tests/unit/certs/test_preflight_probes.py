"""What may be looked at, and what must be found there."""

import re

import pytest

from lifecycle.certs import probes


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"],
)
def test_public(address: str) -> None:
    """Addresses that the whole Internet reaches."""
    assert probes.is_public(address)
    assert probes.is_allowed(address, internal=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "198.18.0.1",
        "::1",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)
def test_not_public(address: str) -> None:
    """Private addresses, also in the disguise of another; a CA of a private network may reach them."""
    assert not probes.is_public(address)
    assert not probes.is_allowed(address, internal=False)
    assert probes.is_allowed(address, internal=True)


@pytest.mark.parametrize("address", ["224.0.0.1", "ff02::1", "0.0.0.0", "::"])  # noqa: S104  none is listened at
def test_no_place_at_all(address: str) -> None:
    """Where no single host is."""
    assert not probes.is_allowed(address, internal=True)


def test_what_a_look_must_find_depends_on_token_and_installation() -> None:
    """A server that answers everything, and another installation of the same program, are not taken for us."""
    token, other = probes.new_token(), probes.new_token()

    answer = probes.expected_answer(token, installation="a")

    assert answer
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", answer)
    assert answer == probes.expected_answer(token, installation="a")
    assert len({answer, probes.expected_answer(token, installation="b"), probes.expected_answer(other)}) == 3


@pytest.mark.parametrize("token", ["", "a", "lifecycle-preflight-", "lifecycle-preflight-../../etc/passwd1234567"])
def test_other_tokens_have_no_such_answer(token: str) -> None:
    """Tokens of orders, and what is no token, are none of its business."""
    assert probes.expected_answer(token) is None
