"""Looks for secrets in everything that a site leaves behind: database, engine, logs, metrics.

What to look for is known exactly, since the sealed secrets are opened; each is looked for in every form that it could
have been written in.
"""

import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lifecycle.certs.authorities.accounts import bound_to
from lifecycle.db import Database
from lifecycle.engine import Engine
from tests.support.certified import Site

_MARKER = b"PRIVATE KEY-----"
_LONG = timedelta(seconds=60)
# Of the engine's tables those with what handlers were given, did, answered and remember.
_ENGINE = ("sys_journal", "sys_invocation", "state", "sys_inbox", "sys_promise")


class Place(NamedTuple):
    """Something that was searched, and what is in it."""

    name: str
    content: bytes


class Leak(NamedTuple):
    """Where which secret was found."""

    place: str
    secret: str


def forms(secret: bytes) -> set[bytes]:
    """A secret as it is, and in the encodings that programs put secrets in."""
    encoded = base64.b64encode(secret).rstrip(b"=")
    return {
        secret,
        encoded,
        base64.urlsafe_b64encode(secret).rstrip(b"="),
        secret.hex().encode(),
        secret.hex().upper().encode(),
        json.dumps(secret.decode("latin-1")).encode()[1:-1],
    }


def forms_of_key(pem: bytes) -> set[bytes]:
    """A private key as PEM lines, as DER, and as the number that all depends on."""
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    number = key.private_numbers().private_value
    # The first line of the PEM is the same for all keys of a sort.
    lines = {line for line in pem.splitlines() if not line.startswith(b"-") and len(line) > 40}
    found = forms(der) | forms(number.to_bytes(32, "big")) | {str(number).encode()}
    return found | set(sorted(lines)[1:]) | {b"".join(pem.splitlines()[1:-1])}


async def secrets_of(site: Site) -> Mapping[str, set[bytes]]:
    """Every secret that this site has, by name, with all its forms."""
    vault = site.vault()
    found: dict[str, set[bytes]] = {}
    for row in await site.all("SELECT id, sealed_key FROM certificates WHERE sealed_key <> ''"):
        found[f"key of {row['id']}"] = forms_of_key(vault.open(row["sealed_key"], bound_to=row["id"]))
    for row in await site.all("SELECT issuance_id, sealed_key FROM acme_orders WHERE sealed_key <> ''"):
        certificate = f"crt_{row['issuance_id'].removeprefix('iss_')}"
        found[f"key of {row['issuance_id']}"] = forms_of_key(vault.open(row["sealed_key"], bound_to=certificate))
    for row in await site.all("SELECT ca, sealed_key FROM acme_accounts"):
        found[f"account at {row['ca']}"] = forms_of_key(vault.open(row["sealed_key"], bound_to=bound_to(row["ca"])))
    padded = site.binding_secret + "=" * (-len(site.binding_secret) % 4)
    found["account binding"] = forms(base64.urlsafe_b64decode(padded))
    for name in ("dyn-key", "acme-key"):
        text = site.bind.key_file(name).read_text(encoding="ascii").strip()
        found[f"TSIG {name}"] = forms(base64.b64decode(text))
    ring = (site.stack.root / "key-ring").read_text(encoding="utf-8").strip().partition(":")[2]
    found["wrapping key"] = forms(base64.b64decode(ring))
    found["API key"] = forms((site.api.key or "").encode())
    return found


async def places_of(site: Site) -> AsyncIterator[Place]:
    """Everything that is searched."""
    async for place in _database(site):
        yield place
    async for place in _engine(site):
        yield place
    logs = [*(site.stack.root / "logs").glob("*.log"), *site.stack.root.parent.glob("*.log")]
    for log in logs:
        yield Place(f"log {log.name}", log.read_bytes())
    async with aiohttp.ClientSession() as session:
        for name, url in (("API", site.stack.api_url), ("worker", f"http://127.0.0.1:{site.stack.ports['worker']}")):
            async with session.get(f"{url}/metrics", headers={"Authorization": f"Bearer {site.api.key}"}) as answer:
                yield Place(f"metrics of the {name}", await answer.read())


def leaks(place: Place, secrets: Mapping[str, Iterable[bytes]]) -> Sequence[Leak]:
    """The secrets that are in a place; a private key of any sort too."""
    found = [Leak(place.name, name) for name, known in secrets.items() if any(one in place.content for one in known)]
    return [*found, Leak(place.name, "some private key")] if _MARKER in place.content else found


async def _database(site: Site) -> AsyncIterator[Place]:
    db = Database(site.stack.database.url, size=1, deadline=_LONG)
    try:
        for table in await db.all(
            "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()"
        ):
            rows = await db.all(f"SELECT * FROM `{table['name']}`")
            yield Place(f"table {table['name']}", b"\0".join(_bytes(value) for row in rows for value in row.values()))
    finally:
        await db.close()


async def _engine(site: Site) -> AsyncIterator[Place]:
    engine = Engine(site.stack.engine.admin_url, timeout=_LONG)
    try:
        for table in _ENGINE:
            rows = await engine.query(f"SELECT * FROM {table}")
            content = b"\0".join(part for row in rows for value in row.values() for part in _decoded(value))
            yield Place(f"engine's {table}", content)
    finally:
        await engine.close()


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _decoded(value: object) -> Iterable[bytes]:
    """A value of the engine's answer; bytes come in it as hexadecimal."""
    yield _bytes(value)
    if isinstance(value, str) and len(value) % 2 == 0:
        try:
            yield bytes.fromhex(value)
        except ValueError:
            return
