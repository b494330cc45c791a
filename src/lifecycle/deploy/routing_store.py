"""SQL: routes, live pointers and sentinel configs. Each change of a project's routes is one transaction."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.db import Connection, Database, Row
from lifecycle.deploy import sentinel
from lifecycle.deploy.domains import Kind, Name
from lifecycle.deploy.gateway import Routes, Wanted
from lifecycle.deploy.model import Environment, Spec, Switch
from lifecycle.deploy.sentinel import SentinelConfig
from lifecycle.scheduler.model import PurgeOrder

_BATCH = 1000


class SwitchConflictError(Exception):
    """The database has another live deployment than the switch was decided upon."""


class Route(NamedTuple):
    """One hostname of a project."""

    hostname: str
    environment: Environment
    kind: Kind
    sticky: str
    deployment: str | None


class Owner(NamedTuple):
    """Whose a hostname is."""

    hostname: str
    project: str
    workspace: str


async def claim(db: Database, spec: Spec, names: Sequence[Name], now: datetime) -> None:
    """Reserve the names of a deployment for its project; a name of another project is never taken.

    A commit's name stays with the deployment that had it first; where the plain name is not to be had, the
    alternative is claimed.
    """

    async def work(connection: Connection) -> None:
        for name in names:
            for hostname in (name.hostname, name.alternative):
                await _insert(connection, spec.project, hostname, spec.environment, name.kind, name.sticky, now)
                row = await connection.one("SELECT * FROM routes WHERE hostname = %s FOR UPDATE", hostname)
                if row is not None and (row["project_id"], row["kind"], row["sticky"]) == (
                    spec.project,
                    name.kind.value,
                    name.sticky,
                ):
                    break
            else:
                raise LookupError(f"neither {name.hostname} nor {name.alternative} is free for {spec.project}")

    await db.transaction(work)


async def is_generated(connection: Connection, hostname: str) -> bool:
    """Whether it is one of the names that deployments get by themselves."""
    row = await connection.one("SELECT 1 AS one FROM routes WHERE hostname = %s AND kind <> 'custom'", hostname)
    return row is not None


async def route_custom(
    connection: Connection, project: str, hostname: str, environment: Environment, now: datetime
) -> None:
    """Let a custom domain, which is the project's, follow what is live in an environment."""
    await _insert(connection, project, hostname, environment, Kind.CUSTOM, environment.value, now)
    await connection.execute(
        "UPDATE routes SET environment = %s, sticky = %s, deployment_id = (SELECT live_deployment_id "
        "FROM environments WHERE project_id = %s AND kind = %s) WHERE hostname = %s AND project_id = %s",
        environment.value,
        environment.value,
        project,
        environment.value,
        hostname,
        project,
    )
    await _publish(connection, project)


async def unroute_custom(connection: Connection, project: str, hostname: str) -> None:
    """Route a custom domain of the project no more."""
    await connection.execute(
        "DELETE FROM routes WHERE hostname = %s AND project_id = %s AND kind = 'custom'", hostname, project
    )
    await _publish(connection, project)


async def switch(db: Database, project: str, order: Switch) -> None:
    """Move routes, live pointer and pin in one transaction; an order older than the last does nothing.

    Raises:
        SwitchConflictError: another deployment is live than the one that the order expects.
    """

    async def work(connection: Connection) -> None:
        row = await connection.one(
            "SELECT * FROM environments WHERE project_id = %s AND kind = %s FOR UPDATE",
            project,
            order.environment.value,
        )
        if row is None or row["switch_number"] >= order.number:
            return
        if order.live and row["live_deployment_id"] != order.expected:
            raise SwitchConflictError(
                f"{order.environment.value} of {project} has {row['live_deployment_id']} live, not {order.expected}"
            )
        await connection.execute(
            "UPDATE environments SET switch_number = %s, pinned = %s, "
            "live_deployment_id = IF(%s, %s, live_deployment_id) WHERE project_id = %s AND kind = %s",
            order.number,
            order.pinned,
            order.live,
            order.deployment,
            project,
            order.environment.value,
        )
        if order.back_from is not None:
            await _move_back(connection, project, order)
        if order.deployment is not None or order.live:
            await _move(connection, project, order)
        await _publish(connection, project)

    await db.transaction(work)


async def suspend(db: Database, project: str, until: datetime | None) -> None:
    """Let every host of the project say that it will be deleted at `until`; None: serve again."""

    async def work(connection: Connection) -> None:
        await connection.execute("UPDATE projects SET suspended_until = %s WHERE id = %s", until, project)
        await _publish(connection, project)

    await db.transaction(work)


async def refresh(db: Database, project: str) -> None:
    """Write the sentinel configs anew, after instances came or went."""
    await db.transaction(lambda connection: _publish(connection, project))


async def clear(db: Database, project: str) -> None:
    """Remove every sentinel config: no host of the project is served any more."""

    async def work(connection: Connection) -> None:
        await connection.execute(
            "UPDATE projects SET routing_generation = routing_generation + 1 WHERE id = %s", project
        )
        await connection.execute("DELETE FROM sentinel_configs WHERE project_id = %s", project)
        await connection.execute(
            "UPDATE routes SET deployment_id = NULL, former_deployment_id = NULL WHERE project_id = %s", project
        )

    await db.transaction(work)


async def routes(db: Database, project: str) -> Sequence[Route]:
    """Every hostname of the project."""
    rows = await db.all("SELECT * FROM routes WHERE project_id = %s ORDER BY hostname", project)
    return [route(row) for row in rows]


async def owners(db: Database, names: Sequence[str]) -> Sequence[Owner]:
    """Whose the routes are that have one of these names, or that a wildcard among them stands for."""
    rows = await db.all(
        "SELECT r.hostname, r.project_id, p.workspace_id FROM JSON_TABLE(%s, '$[*]' COLUMNS (name VARCHAR(255) "
        "PATH '$')) AS wanted JOIN routes r ON r.hostname = CONVERT(wanted.name USING utf8mb4) COLLATE utf8mb4_bin "
        "JOIN projects p ON p.id = r.project_id UNION "
        "SELECT r.hostname, r.project_id, p.workspace_id FROM JSON_TABLE(%s, '$[*]' COLUMNS (parent VARCHAR(255) "
        "PATH '$')) AS wanted JOIN routes r ON SUBSTRING(r.hostname, LOCATE('.', r.hostname)) = "
        "CONVERT(wanted.parent USING utf8mb4) COLLATE utf8mb4_bin JOIN projects p ON p.id = r.project_id "
        "ORDER BY hostname",
        json.dumps([name for name in names if not name.startswith("*.")]),
        json.dumps([name.removeprefix("*") for name in names if name.startswith("*.")]),
    )
    return [Owner(row["hostname"], row["project_id"], row["workspace_id"]) for row in rows]


async def generation(db: Database, project: str) -> int:
    """Counts the changes of the project's routes."""
    row = await db.one("SELECT routing_generation FROM projects WHERE id = %s", project)
    return 0 if row is None else int(row["routing_generation"])


async def generations(db: Database) -> Mapping[str, int]:
    """The number of the newest change of every project that has routes."""
    rows = await db.all("SELECT id, routing_generation FROM projects WHERE routing_generation > 0")
    return {row["id"]: int(row["routing_generation"]) for row in rows}


async def configs(db: Database, project: str) -> Mapping[str, SentinelConfig]:
    """What the gateway is to know of each host of a project."""
    rows = await db.all("SELECT hostname, config FROM sentinel_configs WHERE project_id = %s", project)
    return {row["hostname"]: SentinelConfig.model_validate_json(row["config"]) for row in rows}


async def wanted(db: Database) -> Wanted:
    """What the gateway is to know of every host, as one reading of the database."""

    async def read(connection: Connection) -> Wanted:
        projects = await connection.all("SELECT id, routing_generation FROM projects WHERE routing_generation > 0")
        found: dict[str, dict[str, SentinelConfig]] = {row["id"]: {} for row in projects}
        for row in await connection.all("SELECT hostname, project_id, config FROM sentinel_configs"):
            found[row["project_id"]][row["hostname"]] = SentinelConfig.model_validate_json(row["config"])
        routes = {}
        for project in projects:
            hosts, targets = sentinel.gateway_view(found[project["id"]])
            routes[project["id"]] = Routes(generation=project["routing_generation"], hosts=hosts, targets=targets)
        return Wanted(projects=routes)

    return await db.transaction(read)


def route(row: Row) -> Route:
    """A line of the table."""
    return Route(
        row["hostname"], Environment(row["environment"]), Kind(row["kind"]), row["sticky"], row["deployment_id"]
    )


async def count(db: Database, project: str) -> int:
    """How many hosts the project has."""
    row = await db.one("SELECT COUNT(*) AS n FROM routes WHERE project_id = %s", project)
    return 0 if row is None else int(row["n"])


async def delete_of_project(connection: Connection, order: PurgeOrder) -> int:
    """Remove a batch of the project's routes; returns how many."""
    await connection.execute("DELETE FROM sentinel_configs WHERE project_id = %s", order.project.id)
    return await connection.execute(
        "DELETE FROM routes WHERE project_id = %s ORDER BY hostname LIMIT %s", order.project.id, _BATCH
    )


async def _insert(
    connection: Connection,
    project: str,
    hostname: str,
    environment: Environment,
    kind: Kind,
    sticky: str,
    now: datetime,
) -> None:
    await connection.execute(
        "INSERT INTO routes (hostname, project_id, environment, kind, sticky, created_at) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE hostname = routes.hostname",
        hostname,
        project,
        environment.value,
        kind.value,
        sticky,
        now,
    )


async def _move(connection: Connection, project: str, order: Switch) -> None:
    sticky = {
        Kind.ENVIRONMENT: order.environment.value,
        Kind.LIVE: order.environment.value,
        Kind.CUSTOM: order.environment.value,
        Kind.COMMIT: order.deployment,
        Kind.BRANCH: None,
    }
    for kind in order.kinds:
        await connection.execute(
            "UPDATE routes SET former_deployment_id = deployment_id, deployment_id = %s, environment = %s "
            "WHERE project_id = %s AND kind = %s AND NOT (deployment_id <=> %s) "
            "AND sticky = COALESCE(%s, (SELECT branch FROM deployments WHERE id = %s), '')",
            order.deployment,
            order.environment.value,
            project,
            kind.value,
            order.deployment,
            sticky[kind],
            order.deployment,
        )


async def _move_back(connection: Connection, project: str, order: Switch) -> None:
    # A former deployment may have been stopped since; then its host says so until the next one comes.
    await connection.execute(
        "UPDATE routes SET deployment_id = former_deployment_id, former_deployment_id = NULL "
        "WHERE project_id = %s AND deployment_id = %s",
        project,
        order.back_from,
    )


async def _publish(connection: Connection, project: str) -> None:
    """Write the sentinel config of every host that is routed."""
    row = await connection.one(
        "SELECT suspended_until, routing_generation + 1 AS generation FROM projects WHERE id = %s FOR UPDATE", project
    )
    if row is None:
        return
    addresses = await _addresses(connection, project)
    found = await connection.all(
        "SELECT r.hostname, r.deployment_id, JSON_UNQUOTE(JSON_EXTRACT(d.spec, '$.auth_key_id')) AS auth_key_id "
        "FROM routes r LEFT JOIN deployments d ON d.id = r.deployment_id WHERE r.project_id = %s "
        "AND r.deployment_id IS NOT NULL",
        project,
    )
    published = {
        route["hostname"]: sentinel.config(
            deployment=route["deployment_id"],
            instances=addresses.get(route["deployment_id"], ()),
            auth_key_id=None if route["auth_key_id"] in (None, "null") else route["auth_key_id"],
            suspended_until=row["suspended_until"],
        )
        for route in found
    }
    await connection.execute("DELETE FROM sentinel_configs WHERE project_id = %s", project)
    await connection.execute_many(
        "INSERT INTO sentinel_configs (hostname, project_id, generation, config) VALUES (%s, %s, %s, %s)",
        [(host, project, row["generation"], config.model_dump_json()) for host, config in published.items()],
    )
    await connection.execute("UPDATE projects SET routing_generation = %s WHERE id = %s", row["generation"], project)


async def _addresses(connection: Connection, project: str) -> Mapping[str, tuple[str, ...]]:
    rows = await connection.all(
        "SELECT i.deployment_id, JSON_ARRAYAGG(i.address) AS addresses FROM instances i "
        "WHERE i.project_id = %s AND i.address IS NOT NULL GROUP BY i.deployment_id",
        project,
    )
    return {row["deployment_id"]: tuple(sorted(json.loads(row["addresses"]))) for row in rows}
