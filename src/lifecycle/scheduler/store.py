"""SQL: projects and what belongs to them, tombstones."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from lifecycle import ids
from lifecycle.db import Connection, Database, Row
from lifecycle.scheduler.model import Impact, Project, PurgeOrder

ENVIRONMENTS = ("production", "preview")
_BATCH = 1000


class StaleOrderError(Exception):
    """A purge of an older generation than the database has seen. It must not remove anything."""


class Claim(StrEnum):
    """Whether a project could have its slug."""

    CLAIMED = "claimed"
    TAKEN = "taken"


class ProjectListing(NamedTuple):
    """A project as lists show it."""

    id: str
    slug: str
    name: str
    state: str
    protected: bool
    created_at: datetime


class Tombstone(NamedTuple):
    """What remains of a project."""

    project: str
    slug: str
    deleted_at: datetime
    generation: int
    receipt: str


async def claim(db: Database, project: Project) -> Claim:
    """Insert the project with its environments, unless its slug is in use; repeating it changes nothing."""

    async def work(connection: Connection) -> Claim:
        await connection.execute(
            "INSERT INTO projects (id, workspace_id, slug, name, state, created_at) "
            "VALUES (%s, %s, %s, %s, 'active', %s) ON DUPLICATE KEY UPDATE id = projects.id",
            project.id,
            project.workspace,
            project.slug,
            project.name,
            project.created_at,
        )
        owner = await connection.one(
            "SELECT id FROM projects WHERE workspace_id = %s AND slug = %s", project.workspace, project.slug
        )
        if owner is None or owner["id"] != project.id:
            return Claim.TAKEN
        await connection.execute_many(
            "INSERT INTO environments (id, project_id, kind, created_at) VALUES (%s, %s, %s, %s) "
            "ON DUPLICATE KEY UPDATE id = environments.id",
            [(ids.derived("env", project.id, kind), project.id, kind, project.created_at) for kind in ENVIRONMENTS],
        )
        return Claim.CLAIMED

    return await db.transaction(work)


async def find_project(
    db: Database, *, workspace: str, reference: str, deadline: timedelta | None = None
) -> ProjectListing | None:
    """The project with this id or slug in the workspace."""
    row = await db.one(
        "SELECT * FROM projects WHERE workspace_id = %s AND (id = %s OR slug = %s)",
        workspace,
        reference,
        reference,
        deadline=deadline,
    )
    return None if row is None else _listing(row)


async def list_projects(db: Database, *, workspace: str, after: str, limit: int) -> Sequence[ProjectListing]:
    """Projects of the workspace by id, which is by age, from behind `after`."""
    rows = await db.all(
        "SELECT * FROM projects WHERE workspace_id = %s AND id > %s ORDER BY id LIMIT %s",
        workspace,
        after,
        limit,
    )
    return [_listing(row) for row in rows]


async def impact(db: Database, project_id: str) -> Impact:
    """What a purge of the project would remove now."""
    row = await db.one(
        "SELECT (SELECT COUNT(*) FROM environments WHERE project_id = p.id) AS environments, "
        "(SELECT COUNT(*) FROM domains WHERE project_id = p.id) AS domains, "
        "(SELECT COUNT(*) FROM routes WHERE project_id = p.id) AS routes, "
        "(SELECT COUNT(*) FROM deployments WHERE project_id = p.id) AS deployments, "
        "(SELECT COUNT(*) FROM instances WHERE project_id = p.id) AS instances, "
        "(SELECT COUNT(*) FROM certificates WHERE project_id = p.id) AS certificates, "
        "(SELECT COUNT(*) FROM certificate_domains WHERE project_id = p.id) + (SELECT COUNT(*) FROM acme_orders WHERE "
        "project_id = p.id) + (SELECT COUNT(*) FROM challenges WHERE project_id = p.id) AS uncertified "
        "FROM projects p WHERE p.id = %s",
        project_id,
    )
    if row is None:
        return Impact()
    return Impact(
        environments=row["environments"],
        deployments=row["deployments"],
        instances=row["instances"],
        domains=row["routes"],
        # As the receipt counts them: what is left of one that never came is one.
        certificates=row["certificates"] or min(1, row["uncertified"]),
        rows=1 + sum(row[name] for name in row if name != "uncertified"),
        restored_by_cancel=("traffic", "instances", "settings", "domains", "environments"),
    )


async def seal_project(db: Database, order: PurgeOrder) -> None:
    """Mark the project as being purged by this order.

    Raises:
        StaleOrderError: the database has seen a newer generation of the project's deletion.
    """

    async def work(connection: Connection) -> None:
        await _check_order(connection, order)

    await db.transaction(work)


async def count_domains(db: Database, project_id: str) -> int:
    """How many domains the project has."""
    return await _count(db, "SELECT COUNT(*) AS n FROM domains WHERE project_id = %s", project_id)


async def delete_domains(connection: Connection, order: PurgeOrder) -> int:
    """Remove a batch of the project's domains; returns how many."""
    return await connection.execute(
        "DELETE FROM domains WHERE project_id = %s ORDER BY id LIMIT %s", order.project.id, _BATCH
    )


async def count_environments(db: Database, project_id: str) -> int:
    """How many environments the project has."""
    return await _count(db, "SELECT COUNT(*) AS n FROM environments WHERE project_id = %s", project_id)


async def delete_environments(connection: Connection, order: PurgeOrder) -> int:
    """Remove a batch of the project's environments; returns how many."""
    return await connection.execute(
        "DELETE FROM environments WHERE project_id = %s ORDER BY id LIMIT %s", order.project.id, _BATCH
    )


async def delete_in_batches(
    db: Database, order: PurgeOrder, batch: Callable[[Connection, PurgeOrder], Awaitable[int]]
) -> None:
    """Run `batch` until it finds nothing, each time in a transaction that checks the order again.

    Raises:
        StaleOrderError: the database has seen a newer generation of the project's deletion.
    """

    async def work(connection: Connection) -> int:
        await _check_order(connection, order)
        return await batch(connection, order)

    while await db.transaction(work):
        pass


async def bury(db: Database, order: PurgeOrder, *, deleted_at: datetime, receipt: str) -> datetime:
    """Put the tombstone in the place of the project's row, in one transaction.

    Returns:
        When the project was deleted, as its tombstone says: of a repetition, the first time.
    """

    async def work(connection: Connection) -> datetime:
        await _check_order(connection, order)
        await connection.execute(
            "INSERT INTO tombstones (project_id, workspace_id, slug, generation, deleted_at, receipt) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE project_id = tombstones.project_id",
            order.project.id,
            order.project.workspace,
            order.project.slug,
            order.generation,
            deleted_at,
            receipt,
        )
        await connection.execute("DELETE FROM projects WHERE id = %s", order.project.id)
        stored = await connection.one("SELECT deleted_at FROM tombstones WHERE project_id = %s", order.project.id)
        if stored is None:
            raise LookupError(f"the tombstone of {order.project.id} vanished while it was written")
        first: datetime = stored["deleted_at"]
        return first

    return await db.transaction(work)


async def find_tombstone(db: Database, *, workspace: str, reference: str) -> Tombstone | None:
    """The tombstone of a project by id, or the newest of those with this slug."""
    row = await db.one(
        "SELECT * FROM tombstones WHERE workspace_id = %s AND (project_id = %s OR slug = %s) "
        "ORDER BY deleted_at DESC LIMIT 1",
        workspace,
        reference,
        reference,
    )
    return None if row is None else _tombstone(row)


async def list_tombstones(
    db: Database, *, workspace: str, before: tuple[datetime, str] | None, limit: int
) -> Sequence[Tombstone]:
    """The tombstones of the workspace, newest first, from before the moment and project `before`."""
    before_at, before_project = before if before is not None else (datetime(9999, 1, 1, tzinfo=UTC), "")
    rows = await db.all(
        "SELECT * FROM tombstones WHERE workspace_id = %s AND deleted_at <= %s "
        "AND (deleted_at < %s OR project_id < %s) ORDER BY deleted_at DESC, project_id DESC LIMIT %s",
        workspace,
        before_at,
        before_at,
        before_project,
        limit,
    )
    return [_tombstone(row) for row in rows]


async def slugs(db: Database, projects: Sequence[str], *, workspace: str) -> Mapping[str, str]:
    """What people call those of these projects that the workspace has, or had."""
    if not projects:
        return {}
    rows = await db.all(
        "SELECT wanted.id, COALESCE(projects.slug, tombstones.slug) AS slug FROM JSON_TABLE(%s, '$[*]' COLUMNS "
        "(id VARCHAR(40) PATH '$')) AS wanted LEFT JOIN projects "
        "ON projects.id = CONVERT(wanted.id USING utf8mb4) COLLATE utf8mb4_bin AND projects.workspace_id = %s "
        "LEFT JOIN tombstones ON tombstones.project_id = CONVERT(wanted.id USING utf8mb4) COLLATE utf8mb4_bin "
        "AND tombstones.workspace_id = %s",
        json.dumps(list(projects)),
        workspace,
        workspace,
    )
    return {row["id"]: row["slug"] for row in rows if row["slug"]}


def _tombstone(row: Row) -> Tombstone:
    return Tombstone(row["project_id"], row["slug"], row["deleted_at"], int(row["generation"]), row["receipt"])


async def _check_order(connection: Connection, order: PurgeOrder) -> None:
    # The row may be gone: then this is a repetition after the burial.
    row = await connection.one("SELECT generation FROM projects WHERE id = %s FOR UPDATE", order.project.id)
    if row is not None and row["generation"] > order.generation:
        raise StaleOrderError(
            f"{order.project.id} is at generation {row['generation']}, the purge at {order.generation}"
        )
    await connection.execute(
        "UPDATE projects SET state = 'purging', generation = %s WHERE id = %s",
        order.generation,
        order.project.id,
    )


async def _count(db: Database, count: str, project_id: str) -> int:
    row = await db.one(count, project_id)
    return 0 if row is None else int(row["n"])


def _listing(row: Row) -> ProjectListing:
    return ProjectListing(row["id"], row["slug"], row["name"], row["state"], bool(row["protected"]), row["created_at"])
