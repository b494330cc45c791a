"""SQL: deployments, their steps and instances."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.db import Connection, Database, Row
from lifecycle.deploy.model import TERMINAL, Spec, Status
from lifecycle.scheduler.model import PurgeOrder

_BATCH = 1000
_LONGEST_ERROR = 2000
# A request that was refused, or whose process died, leaves a row that no decision ever touched.
_NEVER_ACCEPTED = "It was never accepted; ask for it again."


class Listing(NamedTuple):
    """A deployment as lists show it; `live` and `pinned` are its environment's."""

    spec: Spec
    status: Status
    running: bool
    message: str
    image: str | None
    live: bool
    pinned: bool


class Step(NamedTuple):
    """One step of a rollout; `error` of one that goes on is the trouble that it is in."""

    name: str
    started_at: datetime
    ended_at: datetime | None
    attempts: int
    error: str


class Instance(NamedTuple):
    """One instance that is wanted; `address` is None until it runs."""

    id: str
    deployment: str
    region: str
    address: str | None


async def insert(db: Database, spec: Spec) -> None:
    """Write a deployment down before it is asked for; repeating it changes nothing, nor when the project is gone."""

    async def work(connection: Connection) -> None:
        await connection.execute(
            "INSERT INTO deployments (id, project_id, workspace_id, environment, status, message, branch, spec, image, "
            "created_at) SELECT %s, id, workspace_id, %s, 'pending', '', %s, %s, %s, %s FROM projects WHERE id = %s "
            "ON DUPLICATE KEY UPDATE id = deployments.id",
            spec.id,
            spec.environment.value,
            spec.branch,
            spec.model_dump_json(),
            spec.image,
            spec.created_at,
            spec.project,
        )

    await db.transaction(work)


async def forget(db: Database, deployment: str) -> None:
    """Take a deployment back that was refused; one that any decision touched stays."""
    await db.execute("DELETE FROM deployments WHERE id = %s AND sequence = 0", deployment)


async def fail_unaccepted(db: Database, *, before: datetime) -> int:
    """Say of deployments that were written down and never accepted that they failed."""
    return await db.execute(
        "UPDATE deployments SET status = 'failed', message = %s WHERE sequence = 0 AND status = 'pending' "
        "AND created_at < %s",
        _NEVER_ACCEPTED,
        before,
    )


async def find(db: Database, deployment: str, *, workspace: str | None = None) -> Listing | None:
    """One deployment, of the workspace if one is given."""
    row = await db.one(
        "SELECT d.*, e.live_deployment_id = d.id AS live, e.pinned FROM deployments d JOIN environments e "
        "ON e.project_id = d.project_id AND e.kind = d.environment "
        "WHERE d.id = %s AND (%s IS NULL OR d.workspace_id = %s)",
        deployment,
        workspace,
        workspace,
    )
    return None if row is None else _listing(row)


async def list_of_project(
    db: Database, project: str, *, after: tuple[datetime, str] | None, limit: int
) -> Sequence[Listing]:
    """The deployments of a project, newest first, from behind `after`."""
    at, last = after if after is not None else (datetime(9999, 1, 1), "")  # noqa: DTZ001  no later one
    rows = await db.all(
        "SELECT d.*, e.live_deployment_id = d.id AS live, e.pinned FROM deployments d JOIN environments e "
        "ON e.project_id = d.project_id AND e.kind = d.environment "
        "WHERE d.project_id = %s AND d.created_at <= %s AND (d.created_at < %s OR d.id < %s) "
        "ORDER BY d.created_at DESC, d.id DESC LIMIT %s",
        project,
        at,
        at,
        last,
        limit,
    )
    return [_listing(row) for row in rows]


async def is_over(db: Database, deployment: str) -> bool:
    """Whether the deployment has ended, or is gone or going with its project, so that nothing of it may be started."""
    row = await db.one(
        "SELECT d.status FROM deployments d JOIN projects p ON p.id = d.project_id "
        "WHERE d.id = %s AND p.state <> 'purging'",
        deployment,
    )
    return row is None or Status(row["status"]) in TERMINAL - {Status.READY, Status.STOPPED}


async def begin_step(db: Database, deployment: str, *, name: str, position: int, status: Status, now: datetime) -> None:
    """A step begins, or is tried again; the deployment shows it unless it has ended meanwhile."""

    async def work(connection: Connection) -> None:
        await connection.execute(
            "INSERT INTO deployment_steps (deployment_id, name, position, started_at) VALUES (%s, %s, %s, %s) "
            "ON DUPLICATE KEY UPDATE attempts = attempts + 1, ended_at = NULL",
            deployment,
            name,
            position,
            now,
        )
        await connection.execute(
            "UPDATE deployments SET status = %s WHERE id = %s AND status IN "
            "('pending', 'queued', 'building', 'starting', 'deploying', 'network', 'finalizing')",
            status.value,
            deployment,
        )

    await db.transaction(work)


async def end_step(db: Database, deployment: str, *, name: str, now: datetime, error: str = "") -> None:
    """A step ended; the first end counts."""
    await db.execute(
        "UPDATE deployment_steps SET ended_at = %s, error = %s WHERE deployment_id = %s AND name = %s "
        "AND ended_at IS NULL",
        now,
        error[:_LONGEST_ERROR],
        deployment,
        name,
    )


async def trouble(db: Database, deployment: str, *, name: str, error: str) -> None:
    """A step goes on, but not well."""
    await db.execute(
        "UPDATE deployment_steps SET error = %s WHERE deployment_id = %s AND name = %s AND ended_at IS NULL",
        error[:_LONGEST_ERROR],
        deployment,
        name,
    )


async def steps(db: Database, deployments: Sequence[str]) -> Mapping[str, Sequence[Step]]:
    """The steps of each deployment, in order."""
    found: dict[str, list[Step]] = {deployment: [] for deployment in deployments}
    for row in await db.all(
        "SELECT s.* FROM deployment_steps s JOIN JSON_TABLE(%s, '$[*]' COLUMNS (id VARCHAR(40) PATH '$')) AS wanted "
        "ON s.deployment_id = CONVERT(wanted.id USING utf8mb4) COLLATE utf8mb4_bin ORDER BY s.position",
        json.dumps(list(deployments)),
    ):
        found[row["deployment_id"]].append(
            Step(row["name"], row["started_at"], row["ended_at"], int(row["attempts"]), row["error"])
        )
    return found


async def set_image(db: Database, deployment: str, image: str) -> None:
    """The image that was built for a deployment."""
    await db.execute("UPDATE deployments SET image = %s WHERE id = %s", image, deployment)


async def set_openapi(db: Database, deployment: str, document: str) -> None:
    """The OpenAPI document that an instance of the deployment serves."""
    await db.execute("UPDATE deployments SET openapi = %s WHERE id = %s", document, deployment)


async def openapi(db: Database, deployment: str) -> str | None:
    """The stored OpenAPI document."""
    row = await db.one("SELECT openapi FROM deployments WHERE id = %s", deployment)
    return None if row is None else row["openapi"]


async def want_instances(db: Database, deployment: str, project: str, wanted: Mapping[str, str], now: datetime) -> None:
    """Write down which instances there are to be: id and region of each. They get addresses when they run."""

    async def work(connection: Connection) -> None:
        await connection.execute_many(
            "INSERT INTO instances (id, deployment_id, project_id, region, created_at) VALUES (%s, %s, %s, %s, %s) "
            "ON DUPLICATE KEY UPDATE id = instances.id",
            [(instance, deployment, project, region, now) for instance, region in wanted.items()],
        )
        await connection.execute("UPDATE deployments SET running = TRUE WHERE id = %s", deployment)

    await db.transaction(work)


async def place_instances(db: Database, addresses: Mapping[str, str]) -> bool:
    """Where instances listen; whether that was news."""

    async def work(connection: Connection) -> bool:
        changed = 0
        for instance, address in sorted(addresses.items()):
            changed += await connection.execute(
                "UPDATE instances SET address = %s WHERE id = %s AND NOT (address <=> %s)", address, instance, address
            )
        return changed > 0

    return await db.transaction(work)


async def unwant_instances(db: Database, deployment: str) -> None:
    """No instance of the deployment is wanted any more; the gateway stops sending to them with the next order."""

    async def work(connection: Connection) -> None:
        await connection.execute("UPDATE deployments SET running = FALSE WHERE id = %s", deployment)
        await connection.execute("DELETE FROM instances WHERE deployment_id = %s", deployment)

    await db.transaction(work)


async def instances(db: Database, *, project: str | None = None, deployment: str | None = None) -> Sequence[Instance]:
    """The wanted instances of a project or deployment; without either, all."""
    rows = await db.all(
        "SELECT * FROM instances WHERE (%s IS NULL OR project_id = %s) AND (%s IS NULL OR deployment_id = %s) "
        "ORDER BY id",
        project,
        project,
        deployment,
        deployment,
    )
    return [Instance(row["id"], row["deployment_id"], row["region"], row["address"]) for row in rows]


async def ready_instances(db: Database) -> Sequence[tuple[str, Instance]]:
    """The wanted instances of every deployment that is ready, each with its project."""
    rows = await db.all(
        "SELECT i.* FROM instances i JOIN deployments d ON d.id = i.deployment_id "
        "JOIN projects p ON p.id = d.project_id "
        "WHERE d.running = TRUE AND d.status = 'ready' AND p.state <> 'purging'"
    )
    return [
        (row["project_id"], Instance(row["id"], row["deployment_id"], row["region"], row["address"])) for row in rows
    ]


async def ids_of_project(db: Database, project: str) -> Sequence[str]:
    """Every deployment that the project ever had."""
    return [row["id"] for row in await db.all("SELECT id FROM deployments WHERE project_id = %s", project)]


async def count(db: Database, project: str) -> int:
    """How many deployments the project has."""
    row = await db.one("SELECT COUNT(*) AS n FROM deployments WHERE project_id = %s", project)
    return 0 if row is None else int(row["n"])


async def delete_of_project(connection: Connection, order: PurgeOrder) -> int:
    """Remove a batch of the project's deployments with their steps and instances; returns how many."""
    rows = await connection.all(
        "SELECT id FROM deployments WHERE project_id = %s ORDER BY id LIMIT %s", order.project.id, _BATCH
    )
    for row in rows:
        await connection.execute("DELETE FROM deployment_steps WHERE deployment_id = %s", row["id"])
        await connection.execute("DELETE FROM instances WHERE deployment_id = %s", row["id"])
        await connection.execute("DELETE FROM deployments WHERE id = %s", row["id"])
    return len(rows)


def _listing(row: Row) -> Listing:
    return Listing(
        spec=Spec.model_validate_json(row["spec"]),
        status=Status(row["status"]),
        running=bool(row["running"]),
        message=row["message"],
        image=row["image"],
        live=bool(row["live"]),
        pinned=bool(row["pinned"]),
    )
