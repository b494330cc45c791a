"""SQL: certificates in the order in which they expire: for lists, for alarms, for metrics; and how many stand how."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from lifecycle.certs.store import Listing, listing
from lifecycle.db import Database

_NEVER = datetime(1000, 1, 1, tzinfo=UTC)  # the earliest DATETIME there is
# Who has let a certificate expire on purpose is not told of it for ever.
FORGOTTEN_AFTER = timedelta(days=3)


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


async def count_by_status(db: Database, workspace: str, *, project: str | None = None) -> Mapping[str, int]:
    """How many domains of a workspace, or of one project of it, are in each status."""
    rows = await db.all(
        "SELECT status, COUNT(*) AS n FROM certificate_domains WHERE workspace_id = %s AND status <> 'removed' "
        "AND (%s IS NULL OR project_id = %s) GROUP BY status",
        workspace,
        project,
        project,
    )
    return {row["status"]: int(row["n"]) for row in rows}


class ShortLived(NamedTuple):
    """A domain whose certificate is about to expire, or has expired.

    Attributes:
        is_renewed: whether a renewal is planned or under way; else one was cancelled, or stopped, and nobody tries.
        last_error: what went wrong last, or why nobody tries.
    """

    domain: str
    workspace: str
    not_after: datetime
    is_renewed: bool
    last_error: str


async def running_out(db: Database, *, now: datetime, share: float, limit: int) -> Sequence[ShortLived]:
    """Served certificates of projects that are there, with less than this share of their life left.

    Args:
        db: where they are.
        now: the present moment.
        share: between 0 and 1.
        limit: most of those that still live, the first to expire before the others, and most of those that have
            expired, the last to expire before the others: what is long over hides nothing that is new.

    Returns:
        What has expired and is not renewed either is left out after three days: somebody wanted it so.
    """
    rows = await db.all(
        "SELECT * FROM ("
        "(SELECT c.domain, c.workspace_id, c.not_after, d.next_renewal_at, d.status, d.last_error FROM certificates c "
        "JOIN certificate_domains d ON d.domain = c.domain AND d.workspace_id = c.workspace_id "
        "LEFT JOIN projects p ON p.id = c.project_id WHERE c.status = 'served' AND c.not_after > %s "
        "AND c.not_after < %s + INTERVAL TIMESTAMPDIFF(SECOND, c.not_before, c.not_after) * %s SECOND "
        "AND d.status NOT IN ('revoked', 'removed') AND COALESCE(p.state, '') <> 'purging' "
        "ORDER BY c.not_after, c.domain LIMIT %s) UNION ALL "
        "(SELECT c.domain, c.workspace_id, c.not_after, d.next_renewal_at, d.status, d.last_error FROM certificates c "
        "JOIN certificate_domains d ON d.domain = c.domain AND d.workspace_id = c.workspace_id "
        "LEFT JOIN projects p ON p.id = c.project_id WHERE c.status = 'served' AND c.not_after <= %s "
        "AND (c.not_after > %s OR d.next_renewal_at IS NOT NULL OR d.status = 'renewing') "
        "AND d.status NOT IN ('revoked', 'removed') AND COALESCE(p.state, '') <> 'purging' "
        "ORDER BY c.not_after DESC, c.domain LIMIT %s)) AS short ORDER BY not_after, domain",
        now,
        now,
        share,
        limit,
        now,
        now - FORGOTTEN_AFTER,
        limit,
    )
    return [
        ShortLived(
            domain=row["domain"],
            workspace=row["workspace_id"],
            not_after=row["not_after"],
            is_renewed=row["next_renewal_at"] is not None or row["status"] == "renewing",
            last_error=row["last_error"],
        )
        for row in rows
    ]


class Expiry(NamedTuple):
    """When the certificate in use of a domain expires."""

    domain: str
    not_after: datetime


async def soonest_expiries(db: Database, *, limit: int) -> Sequence[Expiry]:
    """Of the certificates in use that are going to be renewed, those that expire first; of all workspaces."""
    rows = await db.all(
        "SELECT c.domain, c.not_after FROM certificates c JOIN certificate_domains d ON d.domain = c.domain "
        "AND d.workspace_id = c.workspace_id WHERE c.status = 'served' "
        "AND (d.next_renewal_at IS NOT NULL OR d.status = 'renewing') ORDER BY c.not_after LIMIT %s",
        limit,
    )
    return [Expiry(row["domain"], row["not_after"]) for row in rows]


async def unrenewed_expiries(db: Database, *, since: datetime, limit: int) -> Sequence[Expiry]:
    """Of the certificates in use that nobody renews, those that expire first; of all workspaces.

    Args:
        db: where they are.
        since: what expired before that is left out.
        limit: most of them.
    """
    rows = await db.all(
        "SELECT c.domain, c.not_after FROM certificates c JOIN certificate_domains d ON d.domain = c.domain "
        "AND d.workspace_id = c.workspace_id WHERE c.status = 'served' AND c.not_after >= %s "
        "AND d.next_renewal_at IS NULL AND d.status NOT IN ('renewing', 'removed') ORDER BY c.not_after LIMIT %s",
        since,
        limit,
    )
    return [Expiry(row["domain"], row["not_after"]) for row in rows]
