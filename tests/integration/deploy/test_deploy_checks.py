"""The checkers of deployments: silent when all is well, and each speaks up at a fault of its kind."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from lifecycle.db import Database
from lifecycle.deploy.model import Status
from lifecycle.deploy.platforms.platform import InstanceSpec, InstanceStatus
from lifecycle.deploy.platforms.process import ProcessPlatform
from tests.integration.deploy.conftest import Yard
from tests.support import deploy_checks
from tests.support.deploy_checks import Checker, Truth

Plant = Callable[[Truth], Truth]


@pytest.fixture(scope="module")
async def sound(yard: Yard) -> Truth:
    """A project with a live deployment that a rollback pinned, one in standby, a stopped one, and a failed one."""
    shop = await yard.shop("t-checked")
    first, stopped = await shop.deploy("v1"), await shop.deploy("v2", commit_sha="1234567")
    await shop.deploy("v3", branch="main")
    await shop.done(first, "rollback")
    await shop.done(stopped, "stop")
    await shop.until(await shop.begin("v4", "exit"), "failed")
    return await yard.ends_well(shop.id)


def _rows(table: str, index: int, **changes: Any) -> Plant:
    def plant(truth: Truth) -> Truth:
        rows = [dict(row) for row in getattr(truth, table)]
        rows[index].update(changes)
        changed: Mapping[str, Any] = {table: rows}
        return truth._replace(**changed)

    return plant


def _route(kind: str, **changes: Any) -> Plant:
    def plant(truth: Truth) -> Truth:
        index = next(number for number, row in enumerate(truth.routes) if row["kind"] == kind)
        return _rows("routes", index, **changes)(truth)

    return plant


def _live(truth: Truth, table: str, **changes: Any) -> Truth:
    live = truth.fleet.live[next(iter(truth.fleet.live))]
    key = {"deployments": "id", "wanted": "deployment_id"}[table]
    index = next(number for number, row in enumerate(getattr(truth, table)) if row[key] == live)
    return _rows(table, index, **changes)(truth)


def _environment(**changes: Any) -> Plant:
    def plant(truth: Truth) -> Truth:
        index = next(number for number, row in enumerate(truth.environments) if row["kind"] == "production")
        return _rows("environments", index, **changes)(truth)

    return plant


def _fleet(**changes: Any) -> Plant:
    return lambda truth: truth._replace(fleet=truth.fleet.model_copy(update=changes))


def _visit(**changes: Any) -> Plant:
    def plant(truth: Truth) -> Truth:
        host = next(host for host, seen in truth.visits.items() if seen.status == 200)
        return truth._replace(visits={**truth.visits, host: truth.visits[host]._replace(**changes)})

    return plant


def _everything_dead(truth: Truth) -> Truth:
    truth = truth._replace(fleet=truth.fleet.model_copy(update={"live": {}}))
    return _environment(live_deployment_id=None)(truth)


def _promoted_away(truth: Truth) -> Truth:
    """A newer deployment took the live domains although they were pinned: the first bug on Unkey's list."""
    other = next(row["id"] for row in truth.deployments if row["status"] == "ready" and row["id"] not in _lives(truth))
    truth = _environment(live_deployment_id=other)(truth)
    return truth._replace(
        routes=[{**row, "deployment_id": other} if row["kind"] == "live" else row for row in truth.routes]
    )


def _lives(truth: Truth) -> set[str]:
    return set(truth.fleet.live.values())


FAULTS: Mapping[str, tuple[Checker, Plant]] = {
    "rolls for ever": (deploy_checks.nothing_is_under_way, _fleet(rolling="dep_x")),
    "row behind": (deploy_checks.nothing_is_under_way, _rows("deployments", 0, status="starting")),
    "row contradicts": (deploy_checks.nothing_is_under_way, _rows("deployments", 0, status="superseded")),
    "stolen name": (deploy_checks.a_name_has_one_owner, _route("live", deployment_id="dep_of_somebody")),
    "gateway differs": (deploy_checks.a_name_has_one_owner, lambda truth: truth._replace(differences=["hosts x"])),
    "nothing live": (deploy_checks.one_is_live, _everything_dead),
    "two minds": (deploy_checks.one_is_live, _fleet(live={})),
    "split brain": (deploy_checks.one_is_live, _route("environment", deployment_id="dep_other")),
    "live is stopped": (deploy_checks.live_ones_run, lambda truth: _live(truth, "deployments", status="stopped")),
    "live is failed": (deploy_checks.live_ones_run, lambda truth: _live(truth, "deployments", status="failed")),
    "live is nowhere": (deploy_checks.live_ones_run, lambda truth: _live(truth, "wanted", address=None)),
    "pin lost": (deploy_checks.the_pin_holds, _environment(pinned=0)),
    "pin taken over": (deploy_checks.the_pin_holds, _promoted_away),
    "orphan": (deploy_checks.no_instance_is_an_orphan, lambda truth: truth._replace(wanted=truth.wanted[1:])),
    "vanished": (deploy_checks.no_instance_is_an_orphan, lambda truth: truth._replace(found=truth.found[1:])),
    "moved": (deploy_checks.no_instance_is_an_orphan, _rows("wanted", 0, address="127.0.0.1:1")),
    "ended": (
        deploy_checks.no_instance_is_an_orphan,
        lambda truth: truth._replace(
            found=[one.model_copy(update={"status": InstanceStatus.EXITED}) for one in truth.found]
        ),
    ),
    "disagreement": (
        deploy_checks.no_instance_is_an_orphan,
        lambda truth: _live(truth, "deployments", running=0),
    ),
    "somebody else answers": (deploy_checks.visitors_get_what_is_written, _visit(instance="dep_other.local.0")),
    "nobody answers": (deploy_checks.visitors_get_what_is_written, _visit(status=503, instance="")),
    "old config": (deploy_checks.visitors_get_what_is_written, _route("commit", deployment_id="dep_other")),
    "no config": (deploy_checks.visitors_get_what_is_written, lambda truth: truth._replace(configs={})),
    "created twice": (
        deploy_checks.the_audit_log_is_complete,
        lambda truth: truth._replace(audit=[*truth.audit, *truth.audit]),
    ),
    "no end": (deploy_checks.the_audit_log_is_complete, lambda truth: truth._replace(audit=truth.audit[:1])),
}


async def test_a_sound_project_is_accepted(sound: Truth) -> None:
    """The checkers do not cry wolf, and what they look at is there."""
    assert deploy_checks.violations(sound) == []
    assert {row["status"] for row in sound.deployments} == {"ready", "stopped", "failed"}
    assert [Status.READY in {one.status for one in sound.fleet.members}, len(sound.found)] == [True, 2]
    assert {seen.status for seen in sound.visits.values()} == {200, 503}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found(sound: Truth, fault: str) -> None:
    """Each checker speaks up when its promise is broken, else it would prove nothing."""
    checker, plant = FAULTS[fault]
    assert deploy_checks.violations(plant(sound), [checker]) != []


async def test_every_checker_is_shown_to_find_something() -> None:
    """No checker joins without a fault that it finds."""
    assert {checker for checker, _ in FAULTS.values()} == set(deploy_checks.CHECKERS)


async def test_what_is_looked_at_is_real(yard: Yard, slug: str) -> None:
    """A route that is bent in the database, and an instance that nobody wants, are seen on the real servers."""
    shop = await yard.shop(slug)
    former, live = await shop.deploy("v1"), await shop.deploy("v2")
    truth = await yard.ends_well(shop.id)
    orphan = InstanceSpec(
        id=f"{slug}.local.0", project=shop.id, deployment="dep_x", region="local", command=("sleep", "600")
    )
    region = ProcessPlatform(yard.stack.root.resolve() / "instances")
    db = Database(yard.stack.database.url, size=1, deadline=timedelta(seconds=10))
    bend = "UPDATE routes SET deployment_id = %s WHERE project_id = %s AND kind = 'live'"
    try:
        await region.start(orphan, {})
        await db.execute(bend, former, shop.id)
        seen = await deploy_checks.look(yard.stack, shop.id, truth.fleet)
    finally:
        await db.execute(bend, live, shop.id)
        await db.close()
        await region.remove(orphan.id, grace=timedelta(0))
    found = {problem.partition(":")[0] for problem in deploy_checks.violations(seen)}

    assert found == {"no_instance_is_an_orphan", "one_is_live", "visitors_get_what_is_written"}
    await yard.ends_well(shop.id)
