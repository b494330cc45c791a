"""Hands certificates to the gateway, and sees what visitors get.

install ──> a handshake ──> the new one: it is the served one from now on
                      └──> another: the former one goes back, and whoever asked is told
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address
from typing import NamedTuple

from lifecycle import resources
from lifecycle.certs import store
from lifecycle.certs.store import Stored
from lifecycle.deploy.gateway import Bundle, Differences, UnusableCertificateError
from lifecycle.models import Durable

# HAProxy serves a new certificate at once; a busy machine may take a moment to shake hands.
_PROBES, _PROBE_PAUSE = 5, 0.2
_PROBE_WITHIN = timedelta(seconds=5)


class Delivered(Durable):
    """Whether visitors get it; `why` they do not."""

    why: str = ""


class _Served(NamedTuple):
    """What a handshake showed."""

    host: str
    serial: str | None


async def deliver(certificate: str) -> Delivered:
    """Have a version served, and mark it so. Again is harmless.

    That of an address is for downloading: visitors who ask for an address name no host (RFC 6066, section 3), and the
    gateway chooses by name.

    Args:
        certificate: id of the version.

    Raises:
        GatewayDownError: HAProxy does not answer; to be repeated.
    """
    available = resources.current()
    stored = await store.find_certificate(available.db, certificate)
    if stored is None:
        return Delivered(why=f"The certificate {certificate} has vanished.")
    if stored.status == "revoked":
        return Delivered(why="It has been revoked meanwhile.")
    if available.gateway is not None and _is_offered(stored.domain):
        try:
            await available.gateway.certificates.install(_bundle(stored))
        except UnusableCertificateError as error:
            return Delivered(why=f"The gateway cannot serve it: {error}.")
        takes_tls = available.gateway.certificates.address() is not None
        served = await _probe(stored) if takes_tls else None
        if served is not None and served.serial != stored.version.serial:
            await _put_back(stored)
            return Delivered(
                why=f"The gateway shows {served.host} another certificate ({served.serial}); the former one stays."
            )
    await store.serve(available.db, stored)
    return Delivered()


async def withdraw(domain: str) -> None:
    """Serve no certificate for a domain any more.

    Raises:
        GatewayDownError: HAProxy does not answer; to be repeated.
    """
    gateway = resources.current().gateway
    if gateway is not None:
        await gateway.certificates.remove(domain)


async def synchronise() -> Differences:
    """Make the gateway serve what the database says; returns what was different.

    Raises:
        GatewayDownError: HAProxy does not answer.
    """
    available = resources.current()
    if available.gateway is None:
        return Differences()

    async def wanted() -> Mapping[str, int]:
        served = await store.all_served(available.db)
        return {domain: version for domain, version in served.items() if _is_offered(domain)}

    return await available.gateway.certificates.synchronise(wanted, _served_bundle)


async def _served_bundle(domain: str) -> Bundle | None:
    stored = await store.served(resources.current().db, domain)
    return None if stored is None else _bundle(stored)


async def _probe(stored: Stored) -> _Served:
    """What visitors of the domain get; the new serial, as soon as that is it.

    Not of another name in it, which may have a certificate of its own.
    """
    gateway = resources.current().gateway
    serial = None
    for _ in range(_PROBES):
        serial = None if gateway is None else await gateway.certificates.serial(stored.domain, timeout=_PROBE_WITHIN)
        if serial == stored.version.serial:
            break
        await asyncio.sleep(_PROBE_PAUSE)
    return _Served(stored.domain, serial)


async def _put_back(stored: Stored) -> None:
    available = resources.current()
    former = await store.served(available.db, stored.domain)
    if available.gateway is None:
        return
    if former is None or former.version.number >= stored.version.number:
        await available.gateway.certificates.remove(stored.domain)
    else:
        await available.gateway.certificates.install(_bundle(former), force=True)


def _is_offered(name: str) -> bool:
    """Whether visitors can ask the gateway for it; an address is nothing that they ask for."""
    try:
        ip_address(name)
    except ValueError:
        return True
    return False


def _bundle(stored: Stored) -> Bundle:
    vault = resources.current().vault
    key = vault.open(stored.sealed_key, bound_to=stored.version.id)
    return Bundle(
        name=stored.domain,
        version=stored.version.number,
        pem=stored.chain.encode() + key,
        names=tuple(filter(_is_offered, stored.names)),
    )
