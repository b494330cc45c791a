"""Rollouts while something they need is away: shown on the step, tried again, and finished when it is back."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from lifecycle.deploy.platforms.folders import Record
from lifecycle.dev.stack import Stack
from tests.integration.deploy.conftest import Yard
from tests.support.shop import Shop, visit
from tests.support.waiting import eventually

# A person who waits for an answer takes this for at once.
AT_ONCE = 1.0


async def test_a_platform_that_is_down_is_shown_and_waited_for(yard: Yard, slug: str) -> None:
    """While a region cannot start anything the step says so; visitors notice nothing, and then it goes on."""
    shop = await yard.shop(slug)
    await shop.deploy("v1")
    async with _without_platform(yard.stack):
        late = await shop.begin("v2")
        await eventually(partial(_in_trouble, shop, late, "start-instances", "cannot be used"), within=10)
        assert (await shop.visit()).text == "v1"
    await shop.until(late, "ready")
    await yard.ends_well(shop.id)

    step = next(step for step in (await shop.show(late))["steps"] if step["name"] == "start-instances")
    assert (await shop.visit()).text == "v2"
    assert step["attempts"] > 1
    assert step["error"] == ""


async def test_a_gateway_that_is_down_is_shown_and_waited_for(yard: Yard, slug: str) -> None:
    """While the gateway is dead the step says so; started again by anybody, it serves as before, and then the new."""
    shop = await yard.shop(slug)
    await shop.deploy("v1")
    await yard.stack.gateway.child.kill()
    try:
        late = await shop.begin("v2")
        await eventually(partial(_in_trouble, shop, late, "assign-domains", "HAProxy"), within=10)
    finally:
        await yard.stack.gateway.start_alone()
    assert (await shop.visit()).text in {"v1", "v2"}
    await shop.until(late, "ready")
    await yard.ends_well(shop.id)

    assert (await shop.visit()).text == "v2"


async def test_a_gateway_that_hangs_delays_no_cancel(yard: Yard, slug: str) -> None:
    """A rollout that waits for a gateway can be cancelled at once, and nothing of it is left afterwards."""
    shop = await yard.shop(slug)
    live = await shop.deploy("v1")
    yard.stack.gateway.child.signal(signal.SIGSTOP)
    try:
        late = await shop.begin("v2")
        await shop.until_step(late, "assign-domains")
        began = time.monotonic()
        await shop.done(late, "cancel")
        took = time.monotonic() - began
    finally:
        yard.stack.gateway.child.signal(signal.SIGCONT)
    await shop.until(late, "cancelled")
    truth = await yard.ends_well(shop.id)

    assert took < AT_ONCE
    assert {one.deployment for one in truth.found} == {live}
    assert (await shop.visit()).text == "v1"


async def test_a_rollback_while_the_gateway_is_down_happens_when_it_is_back(yard: Yard, slug: str) -> None:
    """A rollback is accepted without the gateway, and is what visitors see as soon as it is there again."""
    shop = await yard.shop(slug)
    first, _ = await shop.deploy("v1"), await shop.deploy("v2")
    await yard.stack.gateway.child.kill()
    try:
        await shop.done(first, "rollback")
        assert (await shop.show(first))["live"]
    finally:
        await yard.stack.gateway.start_alone()
    await shop.serves("v1")
    await yard.ends_well(shop.id)


async def test_a_rollout_outlives_the_database(yard: Yard, slug: str, tmp_path: Path) -> None:
    """The database dies under a rollout: requests are refused with 503, and the rollout ends when it is back."""
    shop = await yard.shop(slug)
    await shop.deploy("v1")
    gate = tmp_path / "gate"
    late = await shop.begin("v2", "wait", str(gate))
    await shop.until_step(late, "wait-until-ready")
    await yard.stack.database.child.kill()
    try:
        gate.touch()
        refused = await shop.api.get(f"/v1/deployments/{late}")
        assert (await shop.visit()).text == "v1"
    finally:
        await yard.stack.database.start()
    await shop.until(late, "ready")
    await yard.ends_well(shop.id)

    assert (refused.status, refused.body["code"]) == (503, "database_unavailable")
    assert (await shop.visit()).text == "v2"


async def test_a_rollout_outlives_the_engine(yard: Yard, slug: str, tmp_path: Path) -> None:
    """The engine dies of SIGKILL in the middle of a rollout, which ends as if it had not."""
    shop = await yard.shop(slug)
    await shop.deploy("v1")
    gate = tmp_path / "gate"
    late = await shop.begin("v2", "wait", str(gate))
    await shop.until_step(late, "wait-until-ready")
    await yard.stack.engine.child.kill()
    try:
        gate.touch()
        assert (await shop.visit()).text == "v1"
    finally:
        await yard.stack.engine.start()
    await shop.until(late, "ready")
    await yard.ends_well(shop.id)

    assert (await shop.visit()).text == "v2"


async def test_an_instance_that_dies_is_started_again(yard: Yard, slug: str) -> None:
    """One of two instances is killed: visitors are served by the other, and soon there are two again."""
    shop = await yard.shop(slug)
    live = await shop.deploy("v1", replicas=2)
    victim = f"{live}.local.0"
    record = Record.model_validate_json((yard.stack.root / "instances" / victim / "record.json").read_text())
    record.session.kill()
    seen = [await shop.visit() for _ in range(20)]
    truth = await yard.ends_well(shop.id)

    assert {one.status for one in seen} == {200}
    assert next(one.restarts for one in truth.found if one.id == victim) == 1
    await eventually(partial(_both_answer, shop), within=10)


async def test_visitors_are_served_without_the_control_plane(yard: Yard, slug: str) -> None:
    """Worker, engine, API and database are dead, and the gateway dies too: started alone, it serves the same."""
    shop = await yard.shop(slug)
    first, _ = await shop.deploy("v1"), await shop.deploy("v2")
    await shop.done(first, "stop")
    await shop.serves("stopped", host=(await _commit_host(shop, first)), status=503)
    hosts = [one["domain"] for one in (await shop.api.get(f"/v1/projects/{shop.id}/domains")).body["items"]]
    before = [await visit(yard.stack, host) for host in hosts]
    stack = yard.stack
    for part in (stack.api, stack.worker, stack.engine, stack.database, stack.gateway):
        await part.child.kill()
    try:
        await stack.gateway.start_alone()
        after = [await visit(stack, host) for host in hosts]
    finally:
        async with asyncio.TaskGroup() as group:
            for part in (stack.database, stack.engine, stack.worker, stack.api):
                group.create_task(part.start())
    await yard.ends_well(shop.id)

    assert after == before
    assert {one.status for one in before} == {200, 503}


@asynccontextmanager
async def _without_platform(stack: Stack) -> AsyncIterator[None]:
    """Something else is where the region keeps its instances, which go on running meanwhile."""
    root = stack.root / "instances"
    parked = root.with_name("parked")
    root.rename(parked)
    root.touch()
    try:
        yield
    finally:
        root.unlink()
        parked.rename(root)


async def _in_trouble(shop: Shop, deployment: str, step: str, error: str) -> bool:
    steps = {one["name"]: one for one in (await shop.show(deployment))["steps"]}
    assert step in steps
    assert error in steps[step]["error"], steps
    assert steps[step]["ended_at"] is None
    return True


async def _commit_host(shop: Shop, deployment: str) -> str:
    domains = (await shop.api.get(f"/v1/projects/{shop.id}/domains")).body["items"]
    return next(str(one["domain"]) for one in domains if one["deployment"] == deployment and one["kind"] == "commit")


async def _both_answer(shop: Shop) -> bool:
    return len({(await shop.visit()).instance for _ in range(10)}) == 2
