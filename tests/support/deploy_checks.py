"""What holds for the deployments of a project whenever nothing is under way (design, section 12), and who says so.

    database, engine, platforms, gateway ──look──> Truth ──checkers──> violations, each a sentence

A checker is a pure function of what was found; so each can be shown a fault that nobody ever saw.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lifecycle.db import Database
from lifecycle.deploy import routing_store, sentinel
from lifecycle.deploy.gateway import Gateway
from lifecycle.deploy.model import TERMINAL, Fleet, Status
from lifecycle.deploy.platforms import regions
from lifecycle.deploy.platforms.platform import Found, InstanceStatus
from lifecycle.deploy.sentinel import SentinelConfig
from lifecycle.dev.stack import Stack
from tests.support.shop import Visit, visit

Row = Mapping[str, Any]
_LIVE = {"live", "environment", "custom"}
_LIVE_ACTIONS = {"deployment.rolled_back", "deployment.promoted"}


class Truth(NamedTuple):
    """All that there is of one project.

    Attributes:
        fleet: the decisions.
        deployments: rows.
        environments: rows.
        routes: rows.
        wanted: rows of instances.
        configs: what the gateway should know, by host.
        found: instances of the project on any platform.
        differences: what the real gateway has otherwise than the database, of any project.
        visits: what a visitor of each host got.
        audit: rows of the audit log, oldest first.
    """

    fleet: Fleet
    deployments: Sequence[Row]
    environments: Sequence[Row]
    routes: Sequence[Row]
    wanted: Sequence[Row]
    configs: Mapping[str, SentinelConfig]
    found: Sequence[Found]
    differences: Sequence[str]
    visits: Mapping[str, Visit]
    audit: Sequence[Row]


Checker = Callable[[Truth], list[str]]


async def look(stack: Stack, project: str, fleet: Fleet) -> Truth:
    """The truth about one project.

    Args:
        stack: whose database, platforms and gateway are looked at.
        project: its id.
        fleet: what the engine has of it.
    """
    db = Database(stack.database.url, size=2, deadline=timedelta(seconds=10))
    gateway = Gateway(Path(stack.environment["LIFECYCLE_GATEWAY_FOLDER"]))
    platforms = [regions.open_platform(url) for url in regions.parse(stack.environment["LIFECYCLE_REGIONS"]).values()]

    async def rows(table: str) -> Sequence[Row]:
        return await db.all(f"SELECT * FROM {table} WHERE project_id = %s", project)

    try:
        configs = await routing_store.configs(db, project)
        return Truth(
            fleet=fleet,
            deployments=await rows("deployments"),
            environments=await rows("environments"),
            routes=await rows("routes"),
            wanted=await rows("instances"),
            configs=configs,
            found=[one for platform in platforms for one in await platform.find(project=project)],
            differences=[str(one) for one in (await gateway.compare(partial(routing_store.wanted, db))).found],
            visits={host: await visit(stack, host) for host in configs},
            audit=await db.all("SELECT * FROM audit_log WHERE project_id = %s ORDER BY at, position", project),
        )
    finally:
        for platform in platforms:
            await platform.close()
        await gateway.close()
        await db.close()


def nothing_is_under_way(truth: Truth) -> list[str]:
    """Every rollout has ended, and the database knows it."""
    fleet = truth.fleet
    status = {row["id"]: Status(row["status"]) for row in truth.deployments}
    problems = [f"{one.id} is {one.status}" for one in fleet.members if one.status not in TERMINAL]
    problems += [f"{one} is {found} for ever" for one, found in status.items() if found not in TERMINAL]
    problems += [f"{fleet.rolling} is still rolling"] if fleet.rolling else []
    problems += [f"{spec.id} waits for ever" for spec in fleet.queued]
    problems += [f"{one.id} wakes up for ever" for one in fleet.members if getattr(one, "waking", None)]
    return problems + [
        f"{one.id} is {one.status}, its row says {status.get(one.id)}"
        for one in fleet.members
        if one.status != status.get(one.id)
    ]


def a_name_has_one_owner(truth: Truth) -> list[str]:
    """11: no hostname answers for two owners, and the gateway has what the database says."""
    own = {row["id"] for row in truth.deployments}
    problems = [
        f"{row['hostname']} leads to {row['deployment_id']} of somebody else"
        for row in truth.routes
        if row["deployment_id"] and row["deployment_id"] not in own
    ]
    return problems + [f"the gateway differs: {one}" for one in truth.differences]


def one_is_live(truth: Truth) -> list[str]:
    """15: each environment that ever had a live deployment has one, and database, engine and routes mean the same."""
    problems = []
    for environment in truth.environments:
        kind, live = environment["kind"], environment["live_deployment_id"]
        decided = {str(where): one for where, one in truth.fleet.live.items()}.get(kind)
        if live != decided:
            problems.append(f"{kind}: the database has {live} live, the engine {decided}")
        if live is None and any(
            row["environment"] == kind and row["status"] in {"ready", "stopped"} for row in truth.deployments
        ):
            problems.append(f"{kind}: nothing is live any more")
        problems += [
            f"{row['hostname']} leads to {row['deployment_id']}, live is {live}"
            for row in truth.routes
            if row["environment"] == kind and row["kind"] in _LIVE and row["deployment_id"] != live
        ]
    return problems


def live_ones_run(truth: Truth) -> list[str]:
    """15: a live route never leads to a deployment that is stopped, failed, or has no instance."""
    rows = {row["id"]: row for row in truth.deployments}
    addresses = {row["deployment_id"] for row in truth.wanted if row["address"]}
    problems = []
    for route in truth.routes:
        row = rows.get(route["deployment_id"])
        if route["kind"] not in _LIVE or row is None:
            continue
        if row["status"] != "ready" or not row["running"] or row["id"] not in addresses:
            problems.append(f"{route['hostname']} leads to {row['id']}, which is {row['status']} and cannot answer")
    return problems


def the_pin_holds(truth: Truth) -> list[str]:
    """16: what a rollback has made live stays live, on every live domain, until somebody promotes."""
    last: dict[str, Row] = {}
    environment_of = {row["id"]: row["environment"] for row in truth.deployments}
    for entry in truth.audit:
        if entry["action"] in _LIVE_ACTIONS:
            deployment = _detail(entry)["deployment"]
            last[environment_of.get(deployment, "")] = {"action": entry["action"], "deployment": deployment}
    problems = []
    for environment in truth.environments:
        kind, decided = environment["kind"], [str(one) for one in truth.fleet.pinned]
        if bool(environment["pinned"]) != (kind in decided):
            problems.append(f"{kind}: pinned is {environment['pinned']}, the engine has {decided}")
        former = last.get(kind)
        is_rollback = former is not None and former["action"] == "deployment.rolled_back"
        if environment["pinned"] != is_rollback:
            problems.append(f"{kind}: pinned is {environment['pinned']} after {former}")
        if is_rollback and former is not None and environment["live_deployment_id"] != former["deployment"]:
            problems.append(f"{kind}: {former['deployment']} was pinned, live is {environment['live_deployment_id']}")
    return problems


def no_instance_is_an_orphan(truth: Truth) -> list[str]:
    """What runs on the platforms is what is wanted, where the database says; nothing of a failed deployment is left."""
    running = {one.id: one.address for one in truth.found if one.status is InstanceStatus.RUNNING}
    wanted = {row["id"]: row["address"] for row in truth.wanted}
    problems = [f"{one.id} has ended and lies about" for one in truth.found if one.status is InstanceStatus.EXITED]
    problems += [f"{one} runs, and nobody wants it" for one in sorted(running.keys() - wanted.keys())]
    problems += [f"{one} is wanted and does not run" for one in sorted(wanted.keys() - running.keys())]
    problems += [
        f"{one} listens on {running[one]}, written down is {wanted[one]}"
        for one in sorted(running.keys() & wanted.keys())
        if running[one] != wanted[one]
    ]
    with_instances = {row["deployment_id"] for row in truth.wanted}
    decided = {one.id: one.running for one in truth.fleet.members}
    for row in truth.deployments:
        if len({bool(row["running"]), row["id"] in with_instances, decided.get(row["id"], False)}) > 1:
            problems.append(f"{row['id']} ({row['status']}): nobody agrees whether it runs")
        if row["running"] and row["status"] in {"failed", "cancelled", "superseded", "stopped"}:
            problems.append(f"{row['id']} is {row['status']} and runs")
    return problems


def visitors_get_what_is_written(truth: Truth) -> list[str]:
    """Whoever visits a host gets the deployment of its route, or the page that says why not."""
    problems = []
    for host, config in truth.configs.items():
        route = next((row["deployment_id"] for row in truth.routes if row["hostname"] == host), None)
        if config.deployment != route:
            problems.append(f"{host} has a config for {config.deployment}, its route leads to {route}")
        value, seen = sentinel.host_value(config), truth.visits[host]
        page = 410 if config.suspended_until else 503 if value == sentinel.STOPPED else None
        who = seen.instance.partition(".")[0]
        if who != ("" if page else config.deployment) or seen.status != (page or seen.status):
            problems.append(f"{host} should have {page or config.deployment}, it was {seen.status} from {who or 'us'}")
    missing = {row["hostname"] for row in truth.routes if row["deployment_id"]} - truth.configs.keys()
    return problems + [f"{host} has a route and no config" for host in sorted(missing)]


def the_audit_log_is_complete(truth: Truth) -> list[str]:
    """14: every deployment was created once, and ended once, and each is in the audit log once."""
    seen = Counter((_detail(entry).get("deployment"), entry["action"]) for entry in truth.audit)
    problems = []
    for row in truth.deployments:
        created = seen[row["id"], "deployment.created"]
        if created != 1:
            problems.append(f"{row['id']} was created {created} times")
        ends = sum(seen[row["id"], f"deployment.{end}"] for end in ("ready", "failed", "cancelled", "superseded"))
        if ends != 1:
            problems.append(f"{row['id']} ended {ends} times")
    return problems


CHECKERS: Sequence[Checker] = (
    nothing_is_under_way,
    a_name_has_one_owner,
    one_is_live,
    live_ones_run,
    the_pin_holds,
    no_instance_is_an_orphan,
    visitors_get_what_is_written,
    the_audit_log_is_complete,
)


def violations(truth: Truth, checkers: Sequence[Checker] = CHECKERS) -> list[str]:
    """What is wrong, each with the name of who says so."""
    return [f"{checker.__name__}: {problem}" for checker in checkers for problem in checker(truth)]


def _detail(entry: Row) -> Mapping[str, Any]:
    detail: Mapping[str, Any] = json.loads(entry["detail"])
    return detail
