"""Puts certificates together for answers: what the engine has decided, with what the database knows besides."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from lifecycle.api.context import Context
from lifecycle.api.shapes.certificates import (
    CertificateAnswer,
    CertificateSummary,
    RenewalReason,
    VersionAnswer,
    WantedRecord,
)
from lifecycle.certs import orders_store, store
from lifecycle.certs.model import Certificate, Status, Version
from lifecycle.certs.names import ChallengeType
from lifecycle.certs.orders_store import Published
from lifecycle.certs.renewals import Life, Source
from lifecycle.certs.store import Listing
from lifecycle.db import DatabaseDownError
from lifecycle.errors import LifecycleError

_DATABASE_DEADLINE = timedelta(seconds=2)
# What the id of an issuance ends with while it is rehearsed at a staging authority.
_REHEARSAL = "_r"
_log = logging.getLogger(__name__)


async def answer(context: Context, domain: str, certificate: Certificate) -> CertificateAnswer:
    """A certificate as people see it. While the database is down, only the version in use is shown."""
    used = certificate.version
    versions: Sequence[Version] = [] if used is None else [used]
    records: Sequence[Published] = []
    try:
        # What was decided is to be answered in time, also when the database hangs.
        async with asyncio.timeout(_DATABASE_DEADLINE.total_seconds()):
            found = await store.versions_of(context.db, [domain], workspace=certificate.workspace)
            versions, records = found[domain], await _records(context, certificate)
    except (DatabaseDownError, TimeoutError):
        _log.warning("%s is shown without what the database knows, which does not answer", domain)
    stage = await _stage(context, certificate)
    return _answer(domain, certificate, versions=versions, stage=stage, records=records)


def summary(listing: Listing, versions: Sequence[Version]) -> CertificateSummary:
    """A certificate as the database has it.

    Args:
        listing: what it knows of the domain.
        versions: newest first.
    """
    version = listing.version
    return CertificateSummary(
        domain=listing.domain,
        names=listing.names,
        project=listing.project,
        status=Status(listing.status),
        challenge=ChallengeType(listing.challenge),
        ca=version.ca if version else None,
        **_used(version),
        next_renewal_at=listing.next_renewal_at,
        last_error=listing.last_error,
        versions=_versions(versions, version),
    )


async def _records(context: Context, certificate: Certificate) -> Sequence[Published]:
    wish, running = certificate.wish, certificate.running
    if wish is None or running is None or not wish.by_person:
        return []
    published = [
        *await orders_store.published(context.db, running.issuance),
        *await orders_store.published(context.db, f"{running.issuance}{_REHEARSAL}"),
    ]
    return [one for one in published if one.type == ChallengeType.DNS_01.value]


async def _stage(context: Context, certificate: Certificate) -> str | None:
    running = certificate.running
    if running is None or not running.is_at_work:
        return None
    try:
        found = await context.client.issuance_progress(running.key)
    except LifecycleError:
        return None  # the certificate is what was asked for
    return None if found is None else found.step


def _answer(
    domain: str,
    certificate: Certificate,
    *,
    versions: Sequence[Version],
    stage: str | None,
    records: Iterable[Published],
) -> CertificateAnswer:
    wish, version = certificate.wish, certificate.version
    if wish is None:
        raise ValueError(f"there is no certificate for {domain}")
    return CertificateAnswer(
        domain=domain,
        names=wish.names,
        project=certificate.project,
        status=certificate.status,
        challenge=wish.challenge,
        by_person=wish.by_person,
        ca=wish.ca if version is None else version.ca,
        profile=wish.profile,
        **_used(version),
        **upcoming(certificate),
        stage=stage,
        records=tuple(WantedRecord(name=one.name, value=one.value) for one in records),
        last_error=certificate.last_error,
        last_error_at=certificate.last_error_at,
        unpause_link=certificate.unpause_link,
        revoking=certificate.revoking is not None,
        revoked_at=certificate.revoked_at,
        requested_by=certificate.requested_by,
        versions=_versions(versions, version),
    )


def _used(version: Version | None) -> Mapping[str, Any]:
    """The fields about the version in use."""
    return {
        "issuer": version.issuer if version else None,
        "serial": version.serial if version else None,
        "not_before": version.life.not_before if version else None,
        "not_after": version.life.not_after if version else None,
    }


def upcoming(certificate: Certificate) -> Mapping[str, Any]:
    """The fields about what comes next."""
    due_at = certificate.countdown.due_at
    at_work = certificate.running is not None and certificate.running.is_at_work
    # An order that the CA put off may wait without any error.
    is_tried_again = bool(certificate.last_error) or certificate.running is not None or certificate.version is None
    reason = None
    if certificate.version is not None and certificate.source is not None and due_at is not None:
        choice = certificate.choice
        is_window = choice is not None and certificate.source is Source.WINDOW
        reason = RenewalReason(
            source=certificate.source,
            detail=_words(certificate.source, certificate.version.life),
            explanation_url=choice.explanation_url if choice and is_window else None,
            window_start=choice.start if choice else None,
            window_end=choice.end if choice else None,
        )
    return {
        "next_renewal_at": due_at,
        "next_attempt_at": due_at if not at_work and is_tried_again else None,
        "renewal_reason": reason,
        "generation": certificate.countdown.generation,
        "cancelled_at": certificate.cancelled.cancelled_at if certificate.cancelled else None,
    }


def _words(source: Source, life: Life) -> str:
    """Why the next renewal is planned for its moment, for people; half of a short life, else two thirds of it."""
    match source:
        case Source.WINDOW:
            return "the CA wants it renewed then"
        case Source.FALLBACK:
            share = "half" if life.is_short else "two thirds"
            return f"the CA names no window, so at {share} of its life"
        case Source.SPREAD:
            return "it was asked for together with many, which are renewed one after the other"
        case Source.FLOOR:
            return "a twentieth of its life is left then, and it cannot wait longer"
        case Source.MOVED:
            return "somebody moved it"


def _versions(versions: Sequence[Version], used: Version | None) -> tuple[VersionAnswer, ...]:
    return tuple(
        VersionAnswer(
            **one.model_dump(include={"number", "ca", "issuer", "serial", "issued_at", "cause"}),
            not_before=one.life.not_before,
            not_after=one.life.not_after,
            in_use=used is not None and one.number == used.number,
        )
        for one in versions
    )
