"""What CAA records allow, by example (RFC 8659 and RFC 8657)."""

import pytest

from lifecycle.certs.dns.caa import Property, objection
from lifecycle.certs.names import ChallengeType

OURS = ("ca.example", "other-name.ca.example")
ACCOUNT = "https://ca.example/acct/1"


def _issue(*values: str) -> tuple[Property, ...]:
    return tuple(Property(0, "issue", value) for value in values)


def _objection(properties: tuple[Property, ...], *, is_wildcard: bool = False, account: str | None = ACCOUNT) -> str:
    found = objection(
        properties,
        is_wildcard=is_wildcard,
        identities=OURS,
        account=account,
        challenge=ChallengeType.DNS_01,
    )
    return found or ""


@pytest.mark.parametrize(
    "properties",
    [
        (),
        _issue("ca.example"),
        _issue("  CA.Example  "),
        _issue("elsewhere.example", "other-name.ca.example"),
        _issue("ca.example;"),
        _issue(f"ca.example; accounturi={ACCOUNT}"),
        _issue("ca.example; validationmethods=http-01,dns-01; unheard=of"),
        _issue("ca.example; accounturi=https://ca.example/acct/2", f"ca.example; accounturi={ACCOUNT}"),
        (Property(0, "iodef", "mailto:a@example.com"),),
        (Property(0, "unheard", "of"),),
        (Property(128, "issue", "ca.example"),),
        (Property(0, "issuewild", ";"), *_issue("ca.example")),
    ],
)
def test_admitted(properties: tuple[Property, ...]) -> None:
    """Records that admit us once, or are about something else, are no obstacle."""
    assert not _objection(properties)


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        (_issue(";"), 'issue ";" admits other CAs only'),
        (_issue(""), "admits other CAs only"),
        (_issue("elsewhere.example"), "elsewhere.example"),
        (_issue("xca.example"), "admits other CAs only"),
        (_issue("ca.example; accounturi=https://ca.example/acct/2"), "it admits the account"),
        (_issue(f"ca.example; accounturi={ACCOUNT}; accounturi={ACCOUNT}"), "makes no sense"),
        (_issue("ca.example; nonsense"), "makes no sense"),
        (_issue("ca.example; validationmethods=http-01"), "not dns-01"),
        (_issue("ca.example; validationmethods="), "not dns-01"),
        ((Property(128, "unheard", "of"), *_issue("ca.example")), "critical"),
    ],
)
def test_kept_out(properties: tuple[Property, ...], text: str) -> None:
    """A refusal names the record, or the part of it, that keeps us out."""
    assert text in _objection(properties)


def test_wildcards_go_by_their_own_records_where_there_are_any() -> None:
    """`issuewild` counts for wildcards only, and instead of `issue`."""
    barred = (*_issue("ca.example"), Property(0, "issuewild", ";"))
    admitted = (*_issue(";"), Property(0, "issuewild", "ca.example"))

    assert _objection(barred, is_wildcard=True)
    assert not _objection(admitted, is_wildcard=True)
    assert _objection(admitted)
    assert not _objection(_issue("ca.example"), is_wildcard=True)
    assert not _objection((Property(0, "issuewild", ";"),))


def test_an_account_that_is_not_made_yet_is_left_out() -> None:
    """Before there is an account, what is said of accounts cannot be held against us."""
    assert not _objection(_issue("ca.example; accounturi=https://ca.example/acct/2"), account=None)
