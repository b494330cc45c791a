"""Secrets are sealed so that nobody can change, move or open them without the key."""

import base64
import json

import pytest

from lifecycle.vault import Vault, VaultError, new_ring_line

OLD = new_ring_line("old")
NEW = new_ring_line("new")
VAULT = Vault.parse(OLD)
SECRET = b"a private key, say"


def _parts(sealed: str) -> dict[str, str]:
    parts: dict[str, str] = json.loads(sealed)
    return parts


def _flip(sealed: str, part: str, position: int) -> str:
    """The sealed value with one bit of one byte of a part changed."""
    parts = _parts(sealed)
    raw = bytearray(base64.b64decode(parts[part]))
    raw[position] ^= 1
    return json.dumps({**parts, part: base64.b64encode(bytes(raw)).decode()})


@pytest.mark.parametrize("secret", [SECRET, b"", b"\0" * 100_000])
def test_what_was_sealed_opens_again(secret: bytes) -> None:
    """A secret comes back exactly as it was stored."""
    assert VAULT.open(VAULT.seal(secret, bound_to="row 1"), bound_to="row 1") == secret


def test_a_sealed_value_shows_nothing_of_the_secret() -> None:
    """Neither the secret nor whether two are the same can be read from what is stored."""
    one, two = (VAULT.seal(SECRET, bound_to="row 1") for _ in range(2))

    assert "private" not in one
    assert base64.b64encode(SECRET).decode()[:12] not in one
    assert not set(_parts(one).values()) & (set(_parts(two).values()) - {"old"})


@pytest.mark.parametrize("part", ["wrapped", "secret"])
def test_one_changed_bit_anywhere_is_noticed(part: str) -> None:
    """Whichever byte of nonce, ciphertext or tag somebody changes, the value does not open."""
    sealed = VAULT.seal(SECRET, bound_to="row 1")

    for position in range(len(base64.b64decode(_parts(sealed)[part]))):
        with pytest.raises(VaultError, match="changed"):
            VAULT.open(_flip(sealed, part, position), bound_to="row 1")


@pytest.mark.parametrize("part", ["wrapped", "secret"])
@pytest.mark.parametrize("change", ["", "{:.8}", "{}AAAA", "!{}"])
def test_a_cut_or_longer_part_is_noticed(part: str, change: str) -> None:
    """A value that was cut or extended does not open."""
    parts = _parts(VAULT.seal(SECRET, bound_to="row 1"))

    with pytest.raises(VaultError):
        VAULT.open(json.dumps({**parts, part: change.format(parts[part])}), bound_to="row 1")


def test_a_value_of_another_row_does_not_open() -> None:
    """A secret that was copied to another row is of no use there."""
    with pytest.raises(VaultError, match="belongs to something else"):
        VAULT.open(VAULT.seal(SECRET, bound_to="row 1"), bound_to="row 2")


def test_halves_of_two_values_do_not_fit() -> None:
    """The wrapped key of one value does not open the secret of another."""
    one, two = (_parts(VAULT.seal(SECRET, bound_to="row 1")) for _ in range(2))

    with pytest.raises(VaultError):
        VAULT.open(json.dumps({**one, "secret": two["secret"]}), bound_to="row 1")


@pytest.mark.parametrize(
    "junk", ["", "x", "null", "1", "[]", '"x"', "{}", '{"key": "old"}', '{"key": [], "wrapped": {}, "secret": null}']
)
def test_what_was_never_sealed_is_refused(junk: str) -> None:
    """Junk is answered with one clear error, whatever it looks like."""
    with pytest.raises(VaultError):
        VAULT.open(junk, bound_to="row 1")


def test_deeply_nested_junk_is_refused() -> None:
    """Text that is made to exhaust a parser is junk like any other."""
    with pytest.raises(VaultError):
        VAULT.open("[" * 100_000, bound_to="row 1")


def test_a_key_that_is_gone_is_named() -> None:
    """Whoever took a key out of the ring too early learns which one."""
    with pytest.raises(VaultError, match="key old is not in the key ring"):
        Vault.parse(NEW).open(VAULT.seal(SECRET, bound_to="row 1"), bound_to="row 1")


def test_another_key_with_the_same_name_does_not_open() -> None:
    """The name of a key proves nothing."""
    with pytest.raises(VaultError, match="changed"):
        Vault.parse(new_ring_line("old")).open(VAULT.seal(SECRET, bound_to="row 1"), bound_to="row 1")


def test_rotation_goes_through_without_a_gap() -> None:
    """New key first: old values open, are wrapped anew without being decrypted, and then need only the new key."""
    sealed = VAULT.seal(SECRET, bound_to="row 1")
    both = Vault.parse(f"# newest first\n{NEW}\n\n{OLD}\n")
    moved = both.rewrap(sealed, bound_to="row 1")

    assert both.open(sealed, bound_to="row 1") == SECRET
    assert _parts(moved)["secret"] == _parts(sealed)["secret"]
    assert Vault.parse(NEW).open(moved, bound_to="row 1") == SECRET
    assert both.rewrap(moved, bound_to="row 1") == moved
    assert _parts(both.seal(SECRET, bound_to="row 1"))["key"] == "new"


def test_which_key_a_value_needs_can_be_told() -> None:
    """So that nobody takes away a key that something still needs."""
    both = Vault.parse(f"{NEW}\n{OLD}")

    assert both.keys == ("new", "old")
    assert both.sealed_by(VAULT.seal(SECRET, bound_to="row 1")) == "old"
    assert both.sealed_by(both.seal(SECRET, bound_to="row 1")) == "new"
    assert both.sealed_by("junk") == ""


def test_rotation_keeps_a_value_bound_to_its_row() -> None:
    """A value cannot be moved to another row by rotating it there."""
    both = Vault.parse(f"{NEW}\n{OLD}")

    with pytest.raises(VaultError):
        both.rewrap(VAULT.seal(SECRET, bound_to="row 1"), bound_to="row 2")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it has no key"),
        ("# nothing\n", "it has no key"),
        ("a:!!!", "key a is not base64"),
        ("no colon", "not of the form name:base64"),
        (":AAAA", "not of the form name:base64"),
        ("a:" + base64.b64encode(b"short").decode(), "key a has 5 bytes instead of 32"),
    ],
)
def test_a_ring_that_cannot_be_used_is_refused_by_name(text: str, complaint: str) -> None:
    """A mistake in the key ring is found at the start, and the key itself is never in the message."""
    with pytest.raises(VaultError, match=complaint):
        Vault.parse(text)


def test_two_keys_of_one_name_are_refused() -> None:
    """A second line with the same name would silently replace the key that sealed everything."""
    with pytest.raises(VaultError, match="old"):
        Vault.parse(f"{OLD}\n{new_ring_line('old')}")
