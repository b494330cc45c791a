"""SQL: certificates in the order in which they expire: for lists, for alarms, for metrics; and how many stand how."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from lifecycle.certs.store import Listing, listing
from lifecycle.db import Database

_NEVER = datetime(1000, 1, 1, tzinfo=UTC)  # the earliest DATETIME there is


class Wanted(NamedTuple):
    """Which domains to list; None means any."""

    workspace: str
    project: str | None = None
    status: str | None = None


class Place(NamedTuple):
    """A domain and where it stands in the order."""

    runs_out_at: datetime
    listing: Listing


async def by_expiry(db: Database, wanted: Wanted, *, after: tuple[datetime, str] | None, limit: int) -> Sequence[Place]:
    """Domains, soonest expiry first, from behind the moment and domain `after`.

    What has no certificate yet comes before all that has one, and what was revoked behind it.
    """
    moment, domain = after if after is not None else (_NEVER, "")
    rows = await db.all(
        "SELECT * FROM (SELECT d.*, c.id, c.version, c.ca, c.serial, c.certificate_id, c.issuer, c.not_before, "
        "c.not_after, c.cause, c.key_digest, c.created_at, COALESCE(c.not_after, "
        "IF(d.status = 'revoked', TIMESTAMP('9999-12-31'), TIMESTAMP('1000-01-01'))) AS runs_out_at "
        "FROM certificate_domains d LEFT JOIN certificates c "
        "ON c.domain = d.domain AND c.workspace_id = d.workspace_id AND c.status = 'served' "
        "WHERE d.workspace_id = %s AND (%s IS NULL OR d.project_id = %s) AND (%s IS NULL OR d.status = %s) "
        "AND d.status <> 'removed') AS listed "
        "WHERE runs_out_at > %s OR (runs_out_at = %s AND domain > %s) ORDER BY runs_out_at, domain LIMIT %s",
        wanted.workspace,
        wanted.project,
        wanted.project,
        wanted.status,
        wanted.status,
        moment,
        moment,
        domain,
        limit,
    )
    return [Place(row["runs_out_at"], listing(row)) for row in rows]


async def count_by_status(db: Database, workspace: str) -> Mapping[str, int]:
    """How many domains of a workspace are in each status."""
    rows = await db.all(
        "SELECT status, COUNT(*) AS n FROM certificate_domains WHERE workspace_id = %s AND status <> 'removed' "
        "GROUP BY status",
        workspace,
    )
    return {row["status"]: int(row["n"]) for row in rows}


class ShortLived(NamedTuple):
    """A domain whose certificate is about to expire, or has expired."""

    domain: str
    workspace: str
    not_after: datetime
    last_error: str


async def running_out(db: Database, *, now: datetime, share: float) -> Sequence[ShortLived]:
    """Served certificates with less than this share of their life left, those that expire first before the others.

    Not those whose renewal somebody cancelled.
    """
    rows = await db.all(
        "SELECT c.domain, c.workspace_id, c.not_after, d.last_error FROM certificates c "
        "JOIN certificate_domains d ON d.domain = c.domain WHERE c.status = 'served' "
        "AND c.not_after < %s + INTERVAL TIMESTAMPDIFF(SECOND, c.not_before, c.not_after) * %s SECOND "
        "AND (d.next_renewal_at IS NOT NULL OR d.status = 'renewing') ORDER BY c.not_after, c.domain LIMIT 100",
        now,
        share,
    )
    return [ShortLived(row["domain"], row["workspace_id"], row["not_after"], row["last_error"]) for row in rows]


class Expiry(NamedTuple):
    """When the certificate in use of a domain expires."""

    domain: str
    not_after: datetime


async def soonest_expiries(db: Database, *, limit: int) -> Sequence[Expiry]:
    """The certificates in use that expire first, over all workspaces, for metrics."""
    rows = await db.all(
        "SELECT domain, not_after FROM certificates WHERE status = 'served' ORDER BY not_after LIMIT %s", limit
    )
    return [Expiry(row["domain"], row["not_after"]) for row in rows]
