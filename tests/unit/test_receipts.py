"""A receipt is proof: anybody can verify it, and nobody can change or invent one."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.b64 import b64decode, b64encode
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

from lifecycle.clock import rfc3339
from lifecycle.db import Database
from lifecycle.errors import Code, LifecycleError
from lifecycle.receipts import signing
from lifecycle.scheduler import purge
from lifecycle.scheduler.model import ReceiptLine
from lifecycle.vault import Vault, new_ring_line
from tests.support.factories import NOW, PROJECT, purging

KEY, OTHER_KEY = (JWKEC(key=ComparableECKey(ec.generate_private_key(ec.SECP256R1()))) for _ in range(2))
LINES = [ReceiptLine(subsystem="domains", count=2, finished_at=NOW, evidence="no row left")]


def _published(key: JWKEC) -> dict[str, Any]:
    return {**key.public_key().to_json(), "kid": b64encode(key.thumbprint()).decode(), "use": "sig", "alg": "ES256"}


JWKS = {"keys": [_published(OTHER_KEY), _published(KEY)]}


@pytest.fixture
async def receipt(monkeypatch: pytest.MonkeyPatch) -> str:
    """A receipt as a purge makes it; only its key is in memory instead of the database."""

    async def key(_: Database, __: Vault) -> JWKEC:
        return KEY

    monkeypatch.setattr(signing, "ensure_key", key)
    nowhere = Database("mysql://nobody@127.0.0.1:1/none", size=1, deadline=timedelta(seconds=1))
    vault = Vault.parse(new_ring_line("one"))
    order = purge.order(PROJECT, purging())
    return await signing.sign(nowhere, vault, order=order, lines=LINES, deleted_at=rfc3339(NOW))


def _with_header(receipt: str, header: object) -> str:
    text = header if isinstance(header, str) else json.dumps(header)
    return ".".join([b64encode(text.encode()).decode(), *receipt.split(".")[1:]])


def _header(receipt: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(b64decode(receipt.partition(".")[0]))
    return header


def _refused(receipt: str, keys: Any = JWKS) -> str:
    """What is the matter with a receipt."""
    with pytest.raises(LifecycleError) as refusal:
        signing.verify(receipt, keys)

    assert refusal.value.code is Code.RECEIPT_INVALID
    return refusal.value.params["problem"]


def test_a_receipt_states_who_asked_when_and_what_is_gone(receipt: str) -> None:
    """The receipt answers what was deleted, why, by whom, when, and what was found of it."""
    stated = signing.verify(f" {receipt}\n", JWKS)

    assert stated == {
        "iss": "lifecycle",
        "project": "prj_1",
        "slug": "shop",
        "workspace": "ws_1",
        "generation": 1,
        "reason": "replaced",
        "requested_by": "ada",
        "expedited_by": None,
        "scheduled_at": "2026-11-21T09:00:00.000Z",
        "due_at": "2026-11-24T09:00:00.000Z",
        "started_at": "2026-11-24T09:00:00.000Z",
        "deleted_at": "2026-11-21T09:00:00.000Z",
        "removed": [
            {"subsystem": "domains", "count": 2, "finished_at": "2026-11-21T09:00:00Z", "evidence": "no row left"}
        ],
    }


def test_any_changed_character_is_noticed(receipt: str) -> None:
    """A receipt is the text as it was given out: one changed character anywhere, and it is none."""
    for position, character in enumerate(receipt):
        for other in ("A", chr(ord(character) ^ 1), "!"):
            changed = receipt[:position] + other + receipt[position + 1 :]
            if changed != receipt:
                _refused(changed)


def test_inserted_characters_are_noticed(receipt: str) -> None:
    """Nothing can be slipped in, not even what a decoder would skip."""
    for junk in ("=", "\n", " ", "!", "A", "."):
        _refused(f"{receipt[:50]}{junk}{receipt[50:]}")
        _refused(f"{receipt}{junk}X")


def test_a_receipt_of_an_unknown_key_is_refused(receipt: str) -> None:
    """Only the published keys count, each under its own name."""
    assert "not among the published" in _refused(receipt, {"keys": [_published(OTHER_KEY)]})
    assert "not among the published" in _refused(receipt, {"keys": []})
    assert "does not match" in _refused(receipt, {"keys": [{**_published(OTHER_KEY), "kid": _published(KEY)["kid"]}]})


def test_a_key_that_the_receipt_brings_along_counts_for_nothing(receipt: str) -> None:
    """A forger cannot send the key that verifies the forgery."""
    forged = _with_header(receipt, {**_header(receipt), "kid": "mine", "jwk": KEY.public_key().to_json()})

    assert "not among the published" in _refused(forged)


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES384", "es256", "", 5, None])
def test_another_algorithm_is_refused(receipt: str, algorithm: object) -> None:
    """The receipt does not choose how it is verified."""
    _refused(_with_header(receipt, {**_header(receipt), "alg": algorithm}))


def test_an_unsigned_receipt_is_refused(receipt: str) -> None:
    """`alg: none` is no signature, with or without something in its place."""
    unsigned = _with_header(receipt, {**_header(receipt), "alg": "none"})

    _refused(unsigned)
    _refused(unsigned.rpartition(".")[0] + ".")


@pytest.mark.parametrize(
    "header", ["{}", "[]", "1", "null", '"x"', "", "{", '{"kid": "x"}', '{"alg": "ES256", "kid": ["x"]}', "[" * 100_000]
)
def test_a_header_of_another_form_is_refused(receipt: str, header: str) -> None:
    """Whatever stands in place of the header, the answer is a refusal."""
    _refused(_with_header(receipt, header))


@pytest.mark.parametrize(
    "junk", ["", ".", "..", "...", "a", "a.b", "a.b.c", "é.é.é", "\ud800", "{}", "null", "-----BEGIN CERTIFICATE-----"]
)
def test_junk_is_no_receipt(junk: str) -> None:
    """Any other file is told from a receipt."""
    _refused(junk)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        [],
        None,
        "keys",
        {"keys": None},
        {"keys": {}},
        {"keys": [1]},
        {"keys": [{"kid": b64encode(KEY.thumbprint()).decode()}]},
        {"keys": [{**_published(KEY), "x": "AA"}]},
        {"keys": [{**_published(KEY), "crv": "P-999"}]},
    ],
)
def test_a_broken_key_set_verifies_nothing(receipt: str, keys: Mapping[str, Any]) -> None:
    """A wrong file in place of the keys is a refusal, not a crash."""
    _refused(receipt, keys)
