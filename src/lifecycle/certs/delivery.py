"""Hands certificates to the gateway, and sees what visitors get.

wanted ──> install ──> a handshake ──> the new one
                                  └──> another: the former one goes back, and whoever asked is told
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import NamedTuple

from lifecycle import clock, resources
from lifecycle.certs import issuing, store
from lifecycle.certs.issuing import Advice
from lifecycle.certs.model import Version
from lifecycle.certs.store import Stored
from lifecycle.certs.verdicts import RenewalInfo
from lifecycle.deploy.gateway import Bundle, Differences, Gateway, Stale, UnusableCertificateError
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Durable
from lifecycle.vault import VaultError

# HAProxy serves a new certificate at once; a busy machine may take a moment to shake hands.
_PROBES, _PROBE_PAUSE = 5, 0.2
_PROBE_WITHIN = timedelta(seconds=5)
_log = logging.getLogger(__name__)


class Delivered(Durable):
    """Whether visitors get it.

    Attributes:
        why: they do not; empty when they do.
        at: when it was done.
        window: when the CA wants it to be renewed, if it says so.
    """

    why: str = ""
    at: datetime | None = None
    window: RenewalInfo | None = None


class _Served(NamedTuple):
    """What a handshake showed."""

    host: str
    serial: str | None


async def deliver(version: Version) -> Delivered:
    """Have a version served, mark it so, and ask the CA when to renew it. Again is harmless.

    Raises:
        GatewayDownError: HAProxy does not answer; to be repeated.
    """
    why, advice = await _serve(version.id), Advice()
    if not why and version.certificate_id is not None:
        with contextlib.suppress(LifecycleError):  # the CA has left the configuration; then nobody says when
            advice = await issuing.read_window(version.ca, version.certificate_id)
    return Delivered(why=why, at=clock.now(), window=advice.window)


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


async def _serve(certificate: str) -> str:
    """Have a version served, and mark it so; why visitors do not get it, empty when they do.

    That of an address is for downloading: visitors who ask for an address name no host (RFC 6066, section 3), and the
    gateway chooses by name.
    """
    available = resources.current()
    stored = await store.find_certificate(available.db, certificate)
    if stored is None:
        return f"The certificate {certificate} has vanished."
    if stored.status == "revoked":
        return "It has been revoked meanwhile."
    # Before the gateway has it: whoever compares the two meanwhile must not take it away again.
    await store.serve(available.db, stored)
    if available.gateway is None or not _is_offered(stored.domain):
        return ""
    why = await _shown(stored, available.gateway)
    if why:
        await _put_back(stored, available.gateway)
    return why


async def _served_bundle(domain: str) -> Bundle | None:
    stored = await store.served(resources.current().db, domain)
    try:
        return None if stored is None else _bundle(stored)
    except VaultError as error:
        _log.error("the key of the certificate of %s does not open: %s", domain, error)
        return None


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


async def _shown(stored: Stored, gateway: Gateway) -> str:
    """Install a version, and see that visitors get it; why they do not."""
    try:
        installed = await gateway.certificates.install(_bundle(stored))
    except (UnusableCertificateError, VaultError) as error:
        refusal = LifecycleError(Code.CERTIFICATE_UNUSABLE, domain=stored.domain, problem=str(error))
        return f"{refusal.message} {refusal.hint}"
    if isinstance(installed, Stale):
        return ""  # a newer one is there, which is as good
    if gateway.certificates.address() is None:
        return ""
    served = await _probe(stored)
    if served.serial == stored.version.serial:
        return ""
    return f"The gateway shows {served.host} another certificate ({served.serial}); the former one stays."


async def _put_back(stored: Stored, gateway: Gateway) -> None:
    former = await store.take_back(resources.current().db, stored)
    if former is None:
        await gateway.certificates.remove(stored.domain)
    else:
        await gateway.certificates.install(_bundle(former), force=True)


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
