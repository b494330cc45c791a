"""SQL: certificates, a row for each version, and what lists show of each domain."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle import clock
from lifecycle.certs.model import Assignment, Cause, Version
from lifecycle.certs.renewals import Life
from lifecycle.db import Connection, Database, Row
from lifecycle.errors import Code, LifecycleError
from lifecycle.scheduler.model import PurgeOrder

_BATCH = 1000
_LONGEST_ISSUER = 500


class Stored(NamedTuple):
    """A version with its chain and its sealed key."""

    version: Version
    domain: str
    names: tuple[str, ...]
    status: str
    chain: str
    sealed_key: str


class Listing(NamedTuple):
    """A domain with its certificate as lists show it; the version is None before the first one."""

    domain: str
    workspace: str
    project: str | None
    names: tuple[str, ...]
    challenge: str
    status: str
    next_renewal_at: datetime | None
    last_error: str
    version: Version | None


async def insert_version(
    db: Database, assignment: Assignment, version: Version, chain: str, now: datetime
) -> Version | None:
    """Keep a certificate that was issued, and move the key of its order to it; repeating it changes nothing.

    Returns:
        What is kept; None when its key was disclosed once, and it is not.

    Raises:
        LifecycleError: CERTIFICATE_NOT_FOUND, since the issuance was purged with its project, or given up.
    """

    async def work(connection: Connection) -> Version | None:
        # The key as it is sealed now: a rotation may have come since this issuance read it.
        order = await connection.one(
            "SELECT sealed_key, EXISTS(SELECT 1 FROM blocked_keys WHERE key_digest = %s) AS is_blocked "
            "FROM acme_orders WHERE issuance_id = %s FOR UPDATE",
            version.key_digest,
            assignment.issuance,
        )
        if order is not None and order["is_blocked"]:
            return None
        if order is not None and order["sealed_key"]:
            await _insert(connection, assignment, version, chain, order["sealed_key"])
            await connection.execute(
                "UPDATE acme_orders SET status = 'valid', ended_at = %s, sealed_key = '' WHERE issuance_id = %s",
                now,
                assignment.issuance,
            )
            return version
        row = await connection.one("SELECT * FROM certificates WHERE issuance_id = %s", assignment.issuance)
        if order is None or row is None:
            raise LifecycleError(Code.CERTIFICATE_NOT_FOUND, domain=assignment.domain)
        return _version(row)

    return await db.transaction(work)


async def _insert(
    connection: Connection, assignment: Assignment, version: Version, chain: str, sealed_key: str
) -> None:
    await connection.execute(
        "INSERT INTO certificates (id, domain, version, workspace_id, project_id, issuance_id, ca, names, status, "
        "serial, certificate_id, issuer, not_before, not_after, cause, chain, sealed_key, key_digest, created_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'stored', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        version.id,
        assignment.domain,
        version.number,
        assignment.workspace,
        assignment.project,
        assignment.issuance,
        version.ca,
        json.dumps(assignment.wish.names),
        version.serial,
        version.certificate_id,
        version.issuer[:_LONGEST_ISSUER],
        version.life.not_before,
        version.life.not_after,
        version.cause.value,
        chain,
        sealed_key,
        version.key_digest,
        version.issued_at,
    )


async def serve(db: Database, stored: Stored) -> None:
    """Say that this version is the one that is to be served, unless a newer one is."""

    async def work(connection: Connection) -> None:
        newer = await connection.one(
            "SELECT 1 AS n FROM certificates WHERE domain = %s AND status = 'served' AND version > %s FOR UPDATE",
            stored.domain,
            stored.version.number,
        )
        # Assignments see what those before them have set: `retired_at` needs the former status.
        await connection.execute(
            "UPDATE certificates SET "
            "retired_at = CASE WHEN id = %s AND status <> 'revoked' THEN %s "
            "WHEN status = 'served' AND version < %s THEN %s ELSE retired_at END, "
            "status = CASE WHEN id = %s AND status IN ('stored', 'former') THEN %s "
            "WHEN id <> %s AND status = 'served' AND version < %s THEN 'former' ELSE status END WHERE domain = %s",
            *(stored.version.id, clock.now() if newer else None, stored.version.number, clock.now()),
            stored.version.id,
            "former" if newer else "served",
            stored.version.id,
            stored.version.number,
            stored.domain,
        )

    await db.transaction(work)


async def take_back(db: Database, stored: Stored) -> Stored | None:
    """Say that the one before this version is to be served again; returns it, if there is one with its key."""

    async def work(connection: Connection) -> Stored | None:
        former = await connection.one(
            "SELECT * FROM certificates WHERE domain = %s AND version < %s AND status IN ('served', 'former') "
            "AND revoked_at IS NULL AND sealed_key <> '' "
            "ORDER BY version DESC LIMIT 1 FOR UPDATE",
            stored.domain,
            stored.version.number,
        )
        await connection.execute(
            "UPDATE certificates SET status = 'stored' WHERE id = %s AND status = 'served'", stored.version.id
        )
        if former is None:
            return None
        await connection.execute(
            "UPDATE certificates SET status = 'served', retired_at = NULL WHERE id = %s", former["id"]
        )
        return _stored(former)

    return await db.transaction(work)


async def mark_revoked(db: Database, certificate: str, now: datetime, *, until_replaced: bool) -> None:
    """Say that a version is revoked.

    Args:
        db: where.
        certificate: id of the version.
        now: since when.
        until_replaced: whether it is served until its successor is there; else never again.
    """
    await db.execute(
        "UPDATE certificates SET retired_at = IF(%s, retired_at, COALESCE(retired_at, %s)), "
        "status = IF(%s, status, 'revoked'), revoked_at = %s WHERE id = %s",
        until_replaced,
        now,
        until_replaced,
        now,
        certificate,
    )


async def block_key(db: Database, digest: str, domain: str, now: datetime) -> None:
    """Never use a key again that was disclosed."""
    await db.execute(
        "INSERT INTO blocked_keys (key_digest, domain, at) VALUES (%s, %s, %s) "
        "ON DUPLICATE KEY UPDATE key_digest = blocked_keys.key_digest",
        digest,
        domain,
        now,
    )


async def find_version(db: Database, issuance: str) -> Stored | None:
    """What an issuance has brought."""
    row = await db.one("SELECT * FROM certificates WHERE issuance_id = %s", issuance)
    return None if row is None else _stored(row)


async def find_certificate(db: Database, certificate: str) -> Stored | None:
    """One version by its id."""
    row = await db.one("SELECT * FROM certificates WHERE id = %s", certificate)
    return None if row is None else _stored(row)


async def served(db: Database, domain: str) -> Stored | None:
    """The version of a domain that is served."""
    row = await db.one(
        "SELECT * FROM certificates WHERE domain = %s AND status = 'served' ORDER BY version DESC LIMIT 1", domain
    )
    return None if row is None else _stored(row)


async def all_served(db: Database) -> Mapping[str, int]:
    """The number of the served version of every domain."""
    rows = await db.all("SELECT domain, MAX(version) AS n FROM certificates WHERE status = 'served' GROUP BY domain")
    return {row["domain"]: int(row["n"]) for row in rows}


async def versions(db: Database, domain: str, *, workspace: str) -> Sequence[Stored]:
    """All versions of a domain, newest first."""
    rows = await db.all(
        "SELECT * FROM certificates WHERE domain = %s AND workspace_id = %s ORDER BY version DESC LIMIT 100",
        domain,
        workspace,
    )
    return [_stored(row) for row in rows]


async def versions_of(db: Database, domains: Sequence[str], *, workspace: str) -> Mapping[str, Sequence[Version]]:
    """The versions of each domain, newest first, without chains and keys."""
    found: dict[str, list[Version]] = {domain: [] for domain in domains}
    for row in await db.all(
        "SELECT c.id, c.domain, c.version, c.ca, c.serial, c.certificate_id, c.issuer, c.not_before, c.not_after, "
        "c.cause, c.key_digest, c.created_at FROM certificates c JOIN JSON_TABLE(%s, '$[*]' COLUMNS (domain "
        "VARCHAR(255) PATH '$')) AS wanted ON c.domain = CONVERT(wanted.domain USING utf8mb4) COLLATE utf8mb4_bin "
        "WHERE c.workspace_id = %s ORDER BY c.version DESC",
        json.dumps(list(domains)),
        workspace,
    ):
        found[row["domain"]].append(_version(row))
    return found


async def keepers(db: Database, names: Sequence[str]) -> Mapping[str, str]:
    """The domains whose certificates have any of these names, with the workspace that keeps each."""
    rows = await db.all(
        "SELECT domain, workspace_id FROM certificate_domains WHERE status <> 'removed' AND JSON_OVERLAPS(names, %s)",
        json.dumps(list(names)),
    )
    return {row["domain"]: row["workspace_id"] for row in rows}


async def domains_of_project(db: Database, project: str) -> Sequence[str]:
    """The domains whose certificates belong to a project."""
    rows = await db.all("SELECT domain FROM certificate_domains WHERE project_id = %s", project)
    return [row["domain"] for row in rows]


async def list_domains(
    db: Database,
    *,
    workspace: str,
    project: str | None = None,
    status: str | None = None,
    after: str = "",
    limit: int,
) -> Sequence[Listing]:
    """The domains of a workspace by name, from behind `after`."""
    rows = await db.all(
        "SELECT d.*, c.id, c.version, c.ca, c.serial, c.certificate_id, c.issuer, c.not_before, c.not_after, c.cause, "
        "c.key_digest, c.created_at FROM certificate_domains d LEFT JOIN certificates c "
        "ON c.domain = d.domain AND c.workspace_id = d.workspace_id AND c.status = 'served' "
        "WHERE d.workspace_id = %s AND (%s IS NULL OR d.project_id = %s) AND (%s IS NULL OR d.status = %s) "
        "AND d.domain > %s AND d.status <> 'removed' ORDER BY d.domain LIMIT %s",
        workspace,
        project,
        project,
        status,
        status,
        after,
        limit,
    )
    return [listing(row) for row in rows]


async def count_by_status(db: Database) -> Mapping[str, int]:
    """How many domains are in each status, over all workspaces, for metrics."""
    rows = await db.all(
        "SELECT status, COUNT(*) AS n FROM certificate_domains WHERE status <> 'removed' GROUP BY status"
    )
    return {row["status"]: int(row["n"]) for row in rows}


async def count_of_project(db: Database, project: str) -> int:
    """How many certificates the project has; what is left of one that never came counts as one."""
    row = await db.one(
        "SELECT (SELECT COUNT(*) FROM certificates WHERE project_id = %s) AS versions, "
        "(SELECT COUNT(*) FROM certificate_domains WHERE project_id = %s) "
        "+ (SELECT COUNT(*) FROM acme_orders WHERE project_id = %s) "
        "+ (SELECT COUNT(*) FROM challenges WHERE project_id = %s) AS others",
        *[project] * 4,
    )
    return 0 if row is None else int(row["versions"]) or min(1, int(row["others"]))


async def retire_project(db: Database, project: str) -> None:
    """Say that no certificate of a project is served any more, so that nobody gives one to the gateway again."""
    await db.execute(
        "UPDATE certificates SET status = 'former' WHERE project_id = %s AND status = 'served'",
        project,
    )


async def delete_of_project(connection: Connection, order: PurgeOrder) -> int:
    """Remove a batch of what belongs to the project; returns how many rows."""
    project = order.project.id
    removed = 0
    for statement in (
        "DELETE FROM challenges WHERE project_id = %s LIMIT %s",
        "DELETE FROM acme_orders WHERE project_id = %s LIMIT %s",
        "DELETE FROM certificates WHERE project_id = %s LIMIT %s",
        "DELETE FROM certificate_domains WHERE project_id = %s LIMIT %s",
    ):
        removed += await connection.execute(statement, project, _BATCH)
    return removed


def _version(row: Row) -> Version:
    return Version(
        id=row["id"],
        number=int(row["version"]),
        ca=row["ca"],
        serial=row["serial"],
        issuer=row["issuer"],
        certificate_id=row["certificate_id"],
        life=Life(not_before=row["not_before"], not_after=row["not_after"]),
        key_digest=row["key_digest"],
        issued_at=row["created_at"],
        cause=Cause(row["cause"]),
    )


def _stored(row: Row) -> Stored:
    return Stored(
        version=_version(row),
        domain=row["domain"],
        names=tuple(json.loads(row["names"])),
        status=row["status"],
        chain=row["chain"],
        sealed_key=row["sealed_key"],
    )


def listing(row: Row) -> Listing:
    """A domain from a row of `certificate_domains` joined with its served version."""
    return Listing(
        domain=row["domain"],
        workspace=row["workspace_id"],
        project=row["project_id"],
        names=tuple(json.loads(row["names"])),
        challenge=row["challenge"],
        status=row["status"],
        next_renewal_at=row["next_renewal_at"],
        last_error=row["last_error"],
        version=None if row["version"] is None else _version(row),
    )
