"""A cancel link cancels one generation of one deletion, and nothing that anybody makes up."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.access import links
from lifecycle.access.links import CancelLink
from lifecycle.errors import Code, LifecycleError
from lifecycle.vault import Vault, new_ring_line
from tests.support.profiles import QUICK

VAULT = Vault.parse(new_ring_line("one"))
LINK = CancelLink("ws_1", "prj_1", 3)


def _token(link: CancelLink = LINK, vault: Vault = VAULT) -> str:
    return links.url(vault, "https://lifecycle.example/", link).removeprefix("https://lifecycle.example/cancel/")


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parsed(token: str) -> CancelLink | Code:
    try:
        return links.parse(VAULT, token)
    except LifecycleError as error:
        return error.code


def test_a_link_says_what_it_may_cancel() -> None:
    """The link in a reminder leads to exactly the deletion that it is about."""
    assert links.parse(VAULT, _token()) == LINK


def test_a_link_is_one_word_and_tells_nothing() -> None:
    """It survives a mail program, and a look at it does not show whose it is."""
    token = _token()
    plain = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()

    assert token.replace("-", "").replace("_", "").isalnum()
    assert len(token) < 1000
    assert "prj_1" not in plain


def test_a_changed_link_cancels_nothing() -> None:
    """Whichever character somebody changes, the link is not valid, or still the same link."""
    token = _token()

    for position, character in enumerate(token):
        changed = token[:position] + ("A" if character != "A" else "B") + token[position + 1 :]
        assert _parsed(changed) in (LINK, Code.CANCEL_LINK_INVALID)


def test_a_link_of_another_installation_is_not_valid() -> None:
    """Only who has our keys can make a link."""
    with pytest.raises(LifecycleError, match="not valid"):
        links.parse(VAULT, _token(vault=Vault.parse(new_ring_line("one"))))


def test_another_sealed_value_is_no_link() -> None:
    """A secret that was sealed for something else is not taken for a link."""
    with pytest.raises(LifecycleError, match="not valid"):
        links.parse(VAULT, _encoded(VAULT.seal(b"ws_1 prj_1 3", bound_to="signing-key:x")))


@pytest.mark.parametrize("plain", [b"", b"ws_1 prj_1", b"ws_1 prj_1 3 4", b"ws_1 prj_1 three", b"\xff\xfe 1 2"])
def test_a_sealed_value_of_another_form_is_no_link(plain: bytes) -> None:
    """What another release may have sealed is refused, not half understood."""
    with pytest.raises(LifecycleError, match="not valid"):
        links.parse(VAULT, _encoded(VAULT.seal(plain, bound_to="cancel-link")))


@pytest.mark.parametrize("junk", ["", "a", "=", "é", "/../", "\ud800", "{}", _encoded("{}"), _encoded("null"), "%00"])
def test_junk_is_no_link(junk: str) -> None:
    """Anything else is answered with one clear refusal."""
    with pytest.raises(LifecycleError, match="not valid"):
        links.parse(VAULT, junk)


@QUICK
@given(st.text(max_size=200) | st.text(max_size=200).map(lambda it: _encoded(it.encode(errors="ignore").decode())))
def test_any_text_is_no_link(text: str) -> None:
    """No text that somebody makes up is a link, and none breaks the page."""
    with pytest.raises(LifecycleError, match="not valid"):
        links.parse(VAULT, text)


def test_deeply_nested_junk_is_no_link() -> None:
    """A token that is made to exhaust a parser is refused like any other junk."""
    with pytest.raises(LifecycleError, match="not valid"):
        links.parse(VAULT, _encoded("[" * 1400))
