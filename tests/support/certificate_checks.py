"""What holds for a certificate whenever nothing is under way (design, section 12), and who says so.

    database, engine, CA, gateway, DNS ──look──> Truth ──checkers──> violations, each a sentence

A checker is a pure function of what was found; so each can be shown a fault that nobody ever saw.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import dns.asyncquery
import dns.message
import dns.rdatatype
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lifecycle.certs import store, verification
from lifecycle.certs.model import Certificate, Status
from lifecycle.db import Database
from lifecycle.deploy.gateway import Gateway
from lifecycle.engine import Engine, moment
from lifecycle.vault import Vault

Row = Mapping[str, Any]
_PROOF = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737, section 3
_PROBE_WITHIN = timedelta(seconds=5)
# A wake-up counts as the one that is wanted when it comes at most this late; the engine rounds.
_WAKE_WITHIN = timedelta(seconds=2)


class Places(NamedTuple):
    """Where to look.

    Attributes:
        name_server: host and port of who has our zones.
    """

    db: Database
    engine: Engine
    gateway: Gateway
    vault: Vault
    name_server: tuple[str, int]


class Truth(NamedTuple):
    """All that there is of the certificate of one domain.

    Attributes:
        certificate: the decisions.
        orders: rows of `acme_orders`, oldest first.
        versions: rows of `certificates`, oldest first.
        challenges: rows.
        listed: the row that lists show.
        ordered: URLs of the orders that the CA made for these names.
        keys: SHA-256 of the public key that is sealed with each version, and of the one that its chain certifies.
        served: serial that visitors get, by host.
        differences: what the gateway's certificates have otherwise than the database, of any domain.
        proofs: hosts for which the gateway still answers tls-alpn-01.
        records: TXT values at the validation names.
        wakes: when the engine is going to wake the certificate.
        audit: actions in the audit log, oldest first.
    """

    certificate: Certificate
    orders: Sequence[Row]
    versions: Sequence[Row]
    challenges: Sequence[Row]
    listed: Row | None
    ordered: Sequence[str]
    keys: Mapping[str, tuple[str, str]]
    served: Mapping[str, str | None]
    differences: Sequence[str]
    proofs: Sequence[str]
    records: Sequence[str]
    wakes: Sequence[datetime]
    audit: Sequence[str]


class Outside(NamedTuple):
    """What there is of a domain outside of the database: what visitors and CAs get, and what DNS has."""

    serial: str | None
    is_proved: bool
    records: Sequence[str]


Checker = Callable[[Truth], list[str]]


async def look_outside(places: Places, domain: str) -> Outside:
    """What there is of a domain outside of the database."""
    return Outside(
        serial=await places.gateway.certificates.serial(domain, timeout=_PROBE_WITHIN),
        is_proved=await _proves(places.gateway, domain),
        records=await _records(places.name_server, domain),
    )


async def look(places: Places, domain: str, certificate: Certificate, *, ordered: Sequence[str]) -> Truth:
    """The truth about one certificate.

    Args:
        places: where to look.
        domain: its key.
        certificate: what the engine has of it.
        ordered: URLs of the orders that the CA made for its names.
    """
    names = certificate.wish.names if certificate.wish else (domain,)
    hosts = [name.replace("*", "any", 1) for name in names]

    async def rows(table: str, order: str) -> Sequence[Row]:
        return await places.db.all(f"SELECT * FROM {table} WHERE domain = %s ORDER BY {order}", domain)

    orders, versions = await rows("acme_orders", "created_at"), await rows("certificates", "version")
    differences = await places.gateway.certificates.compare(partial(store.all_served, places.db))
    return Truth(
        certificate=certificate,
        orders=orders,
        versions=versions,
        challenges=await _challenges(places.db, orders),
        listed=await places.db.one("SELECT * FROM certificate_domains WHERE domain = %s", domain),
        ordered=ordered,
        keys={row["id"]: _keys(places.vault, row) for row in versions},
        served={host: await places.gateway.certificates.serial(host, timeout=_PROBE_WITHIN) for host in hosts},
        differences=[str(one) for one in differences.found],
        proofs=[host for host in hosts if await _proves(places.gateway, host)],
        records=[text for name in names for text in await _records(places.name_server, name.removeprefix("*."))],
        wakes=await _wakes(places.engine, domain),
        audit=[row["action"] for row in await _audit(places.db, domain)],
    )


def it_is_in_use(truth: Truth) -> list[str]:
    """There is a certificate, nothing is under way or wrong, and the lists say so too."""
    certificate = truth.certificate
    problems = [f"it is {certificate.status}"] if certificate.status is not Status.ACTIVE else []
    problems += [f"{certificate.running.issuance} is not over"] if certificate.running else []
    problems += [f"it still says: {certificate.last_error}"] if certificate.last_error else []
    problems += [f"{certificate.attempts} attempts are still counted"] if certificate.attempts else []
    shown = truth.listed["status"] if truth.listed else None
    return problems + ([f"lists show {shown}"] if shown != certificate.status.value else [])


def an_issuance_has_one_order(truth: Truth) -> list[str]:
    """17: the CA has made exactly the orders that are written down, one for each issuance."""
    known = Counter(row["url"] for row in truth.orders if row["asked_at"] is not None)
    problems = [
        f"the order of {row['issuance_id']} was never found"
        for row in truth.orders
        if row["status"] == "valid" and not row["url"]
    ]
    problems += [f"{url} is the order of {count} issuances" for url, count in known.items() if url and count > 1]
    problems += [f"the CA has {url}, nobody here knows it" for url in truth.ordered if url not in known]
    return problems + [f"the CA knows nothing of {url}" for url in known if url and url not in truth.ordered]


def an_order_gives_one_certificate(truth: Truth) -> list[str]:
    """Each issuance that was successful has one certificate with one key, and no key lies about."""
    of = Counter(row["issuance_id"] for row in truth.versions)
    problems = []
    for row in truth.orders:
        wanted = 1 if row["status"] == "valid" else 0
        if of[row["issuance_id"]] != wanted:
            problems.append(f"{row['issuance_id']} is {row['status']}, and has {of[row['issuance_id']]} certificates")
        running = truth.certificate.running
        if row["ended_at"] is None and (running is None or running.issuance != row["issuance_id"]):
            problems.append(f"{row['issuance_id']} is over, and nobody wrote that down")
        if row["ended_at"] is not None and row["sealed_key"]:
            problems.append(f"{row['issuance_id']} has ended, and its key is still there twice")
    orphans = of.keys() - {row["issuance_id"] for row in truth.orders}
    problems += [f"a certificate is of {issuance}, which nobody knows" for issuance in orphans]
    for row in truth.versions:
        sealed, certified = truth.keys[row["id"]]
        if not sealed == certified == row["key_digest"]:
            problems.append(f"{row['id']} has another key than its certificate")
    digests = Counter(row["key_digest"] for row in truth.versions)
    return problems + [f"{count} certificates have the key {key}" for key, count in digests.items() if count > 1]


def visitors_get_the_newest(truth: Truth) -> list[str]:
    """What is in use is the newest, the only one that is marked as served, and what every visitor gets."""
    version = truth.certificate.version
    marked = [row["id"] for row in truth.versions if row["status"] == "served"]
    newest = truth.versions[-1]["id"] if truth.versions else None
    problems = [f"the gateway differs: {one}" for one in truth.differences]
    if version is None:
        return problems + [f"{one} is served and not in use" for one in marked]
    if marked != [version.id]:
        problems.append(f"{version.id} is in use, marked as served is {', '.join(marked) or 'nothing'}")
    if newest != version.id:
        problems.append(f"{version.id} is in use, the newest is {newest}")
    return problems + [
        f"visitors of {host} get {serial}, and not {version.serial}"
        for host, serial in truth.served.items()
        if serial != version.serial
    ]


def nothing_published_is_left(truth: Truth) -> list[str]:
    """19: what was published for a challenge is removed."""
    problems = [f"{row['name']} is still published" for row in truth.challenges if row["removed_at"] is None]
    problems += [f"the gateway still proves {host}" for host in truth.proofs]
    return problems + [f"DNS still has {value}" for value in truth.records]


def it_wakes_up(truth: Truth) -> list[str]:
    """What is pending has a live wake-up, at its time and not before."""
    countdown = truth.certificate.countdown
    if countdown.wake_at is None:
        return ["nothing will ever renew it"] if truth.certificate.status is Status.ACTIVE else []
    problems = [] if countdown.due_at == countdown.wake_at else ["it is woken at another time than it is due"]
    if not any(abs(wake - countdown.wake_at) < _WAKE_WITHIN for wake in truth.wakes):
        problems.append(f"it is due at {countdown.wake_at}, the engine wakes it at {list(truth.wakes)}")
    return problems


def the_audit_log_is_complete(truth: Truth) -> list[str]:
    """14: every version was issued once, and every issuance that began has ended."""
    seen = Counter(truth.audit)
    issued = seen["certificate.issued"]
    ended = issued + sum(
        seen[f"certificate.{one}"] for one in ("waiting", "delayed", "failed", "given_up", "mismatched")
    )
    problems = [] if issued == len(truth.versions) else [f"{len(truth.versions)} versions were issued {issued} times"]
    begun = seen["certificate.issuing"]
    return problems + ([] if begun == ended else [f"{begun} issuances began, {ended} ended"])


CHECKERS: Sequence[Checker] = (
    it_is_in_use,
    an_issuance_has_one_order,
    an_order_gives_one_certificate,
    visitors_get_the_newest,
    nothing_published_is_left,
    it_wakes_up,
    the_audit_log_is_complete,
)
# What holds also for a certificate that could not be had.
ALWAYS: Sequence[Checker] = tuple(one for one in CHECKERS if one is not it_is_in_use)


def violations(truth: Truth, checkers: Sequence[Checker] = CHECKERS) -> list[str]:
    """What is wrong, each with the name of who says so."""
    return [f"{checker.__name__}: {problem}" for checker in checkers for problem in checker(truth)]


async def _challenges(db: Database, orders: Sequence[Row]) -> Sequence[Row]:
    # Those of a rehearsal belong to an issuance of their own.
    found = [await db.all("SELECT * FROM challenges WHERE issuance_id = %s", row["issuance_id"]) for row in orders]
    return [row for rows in found for row in rows]


async def _audit(db: Database, domain: str) -> Sequence[Row]:
    return await db.all("SELECT action FROM audit_log WHERE id LIKE CONCAT(%s, '.c%%') ORDER BY at, position", domain)


async def _wakes(engine: Engine, domain: str) -> Sequence[datetime]:
    found = await engine.query(
        "SELECT scheduled_at, CAST(scheduled_start_at AS VARCHAR) AS start_at FROM sys_invocation WHERE "
        f"target_service_name = 'CertificateService' AND target_service_key = '{domain}' AND "
        "target_handler_name = 'renewal_due' AND status = 'scheduled'"
    )
    return [moment(row["start_at"]) for row in found]


async def _records(server: tuple[str, int], name: str) -> list[str]:
    question = dns.message.make_query(f"_acme-challenge.{name}", dns.rdatatype.TXT)
    answer = await dns.asyncquery.udp(question, server[0], port=server[1], timeout=5)
    return [str(item) for rrset in answer.answer for item in rrset]


async def _proves(gateway: Gateway, host: str) -> bool:
    """Whether a CA that asks for this host by `acme-tls/1` gets a proof."""
    address = gateway.certificates.address()
    if address is None:
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    try:
        _, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=host)
    except (OSError, ssl.SSLError):
        return False
    try:
        served = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    found = x509.load_der_x509_certificate(served)
    return any(one.oid == _PROOF for one in found.extensions)


def _keys(vault: Vault, row: Row) -> tuple[str, str]:
    sealed = vault.open(row["sealed_key"], bound_to=row["id"])
    certified = x509.load_pem_x509_certificate(row["chain"].encode()).public_key()
    is_same = load_pem_private_key(sealed, None).public_key() == certified
    digest = verification.key_digest(sealed)
    return digest, digest if is_same else "another"
