"""Whoever pastes more than a host name is told which one was probably meant."""

import pytest

from lifecycle import hosts


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("https://www.example.com/x", "www.example.com"),
        ("HTTPS://WWW.Example.com", "www.example.com"),
        ("www.example.com/", "www.example.com"),
        ("www.example.com:443", "www.example.com"),
        ("www.example.com/path?query#part", "www.example.com"),
        ("http://user:secret@www.example.com:8080/", "www.example.com"),
        ("ada@example.com", "example.com"),
        ("*.example.com/", "*.example.com"),
    ],
)
def test_the_host_name_is_made_out(typed: str, meant: str) -> None:
    """A URL, an address with a port or a path, a mail address: the name in it is offered."""
    assert hosts.too_much(typed) == (
        f"only the host name is wanted, without scheme, port and path; {meant} was probably meant"
    )


@pytest.mark.parametrize("typed", ["/", "://", "https://", "a:b:c", "http://[::1", "?", "#x", "shop/x", "  "])
def test_nothing_is_offered_where_no_name_is(typed: str) -> None:
    """A guess that cannot be right is not made."""
    assert hosts.too_much(typed) == "only the host name is wanted, without scheme, port and path"
