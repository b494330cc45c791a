"""SQL: the host names of a project as pages list them; there are as many as it had deployments, so each is bounded."""

import json
from collections.abc import Sequence

from lifecycle.db import Database
from lifecycle.deploy.model import Environment
from lifecycle.deploy.routing_store import Route, route


async def page(db: Database, project: str, *, after: str, limit: int) -> Sequence[Route]:
    """Hostnames of the project in the order of the alphabet, from behind one."""
    rows = await db.all(
        "SELECT * FROM routes WHERE project_id = %s AND hostname > %s ORDER BY hostname LIMIT %s", project, after, limit
    )
    return [route(row) for row in rows]


async def following(db: Database, project: str, *, limit: int) -> Sequence[Route]:
    """The hostnames that show what is live in an environment and were made here: few."""
    rows = await db.all(
        "SELECT * FROM routes WHERE project_id = %s AND kind IN ('environment', 'live') ORDER BY hostname LIMIT %s",
        project,
        limit,
    )
    return [route(row) for row in rows]


async def named(db: Database, project: str, hostnames: Sequence[str]) -> Sequence[Route]:
    """Those of these hostnames that the project has a route of."""
    rows = await db.all(
        "SELECT r.* FROM JSON_TABLE(%s, '$[*]' COLUMNS (name VARCHAR(255) PATH '$')) AS wanted JOIN routes r "
        "ON r.hostname = CONVERT(wanted.name USING utf8mb4) COLLATE utf8mb4_bin WHERE r.project_id = %s "
        "ORDER BY r.hostname",
        json.dumps(list(hostnames)),
        project,
    )
    return [route(row) for row in rows]


async def newest(db: Database, project: str, *, limit: int) -> Sequence[Route]:
    """The newest hostnames of commits and branches, which each deployment adds to."""
    # One walk along the key for each kind; both in one condition would read and sort them all.
    rows = await db.all(
        "SELECT * FROM ((SELECT * FROM routes WHERE project_id = %s AND kind = 'commit' "
        "ORDER BY created_at DESC LIMIT %s) UNION ALL (SELECT * FROM routes WHERE project_id = %s AND kind = 'branch' "
        "ORDER BY created_at DESC LIMIT %s)) AS newest ORDER BY created_at DESC, hostname LIMIT %s",
        project,
        limit,
        project,
        limit,
        limit,
    )
    return [route(row) for row in rows]


async def showing(db: Database, project: str, deployment: str, *, limit: int) -> Sequence[Route]:
    """The hostnames of the project that show a deployment."""
    rows = await db.all(
        "SELECT * FROM routes WHERE project_id = %s AND deployment_id = %s ORDER BY hostname LIMIT %s",
        project,
        deployment,
        limit,
    )
    return [route(row) for row in rows]


async def count_following(db: Database, project: str, environment: Environment) -> int:
    """How many hostnames show what is live in an environment."""
    row = await db.one(
        "SELECT COUNT(*) AS n FROM routes WHERE project_id = %s AND kind IN ('environment', 'live', 'custom') "
        "AND environment = %s",
        project,
        environment.value,
    )
    return 0 if row is None else int(row["n"])


async def count_showing(db: Database, project: str, deployment: str) -> int:
    """How many hostnames of the project show a deployment."""
    row = await db.one(
        "SELECT COUNT(*) AS n FROM routes WHERE project_id = %s AND deployment_id = %s", project, deployment
    )
    return 0 if row is None else int(row["n"])
