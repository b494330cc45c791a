"""What somebody ends in the engine, behind the back of a project, is noticed and mended."""

from pathlib import Path

import aiohttp

from tests.integration.deploy.conftest import Yard
from tests.support.waiting import eventually


async def _end(yard: Yard, verb: str, where: str) -> None:
    """Kill or cancel the invocations that are under way, at the engine's admin port."""
    query = f"SELECT id FROM sys_invocation WHERE status <> 'completed' AND {where}"
    admin = yard.stack.engine.admin_url
    async with aiohttp.ClientSession(headers={"Accept": "application/json"}) as session:

        async def found() -> list[str]:
            async with session.post(f"{admin}/query", json={"query": query}) as answer:
                return [row["id"] for row in (await answer.json())["rows"]]

        for invocation in await eventually(found, within=10):
            async with session.patch(f"{admin}/invocations/{invocation}/{verb}") as answer:
                assert answer.ok


async def test_a_rollout_that_was_killed_does_not_hold_up_the_next(yard: Yard, tmp_path: Path) -> None:
    """Whoever kills a rollout in the engine gets a failed deployment, nothing of it runs, and the next one begins."""
    shop = await yard.shop("killed-rollout")
    lost = await shop.begin("v1", "wait", str(tmp_path / "never"))
    await shop.until_step(lost, "wait-until-ready")
    following = await shop.begin("v2")
    await _end(yard, "kill", f"target_service_name = 'Rollout' AND target_service_key = '{lost}'")

    shown = await shop.until(lost, "failed")
    await shop.until(following, "ready")

    assert "ended in the engine" in shown["message"]
    assert (await shop.visit()).text == "v2"
    await yard.ends_well(shop.id)


async def test_a_standby_whose_timer_was_removed_ends_all_the_same(yard: Yard) -> None:
    """A stop that an operator's bulk cancel removed from the engine comes at its time."""
    shop = await yard.shop("standby-timer")
    first = await shop.deploy("v1")
    await shop.deploy("v2")
    path = f"/v1/actions/standby-stop/{first}"

    async def scheduled() -> bool:
        return (await yard.api.get(path)).status == 200

    await eventually(scheduled, within=10)
    moved = await yard.api.patch(path, {"grace": "6s"})
    assert moved.status == 200, moved
    where = f"target_service_name = 'StandbyService' AND target_service_key = '{first}' AND status = 'scheduled'"
    await _end(yard, "cancel", where)

    shown = await shop.until(first, "stopped", within=30)

    assert shown["running"] is False
    await yard.ends_well(shop.id)


async def test_a_deleted_project_leaves_no_pending_action(yard: Yard) -> None:
    """The stop of a standby goes with its project; nothing happens to it after the receipt."""
    shop = await yard.shop("standby-purge")
    first = await shop.deploy("v1")
    await shop.deploy("v2")
    deletion = {"grace": "1s", "reason": "test", "confirm": shop.slug}
    assert (await yard.api.post(f"/v1/projects/{shop.id}/deletion", deletion)).status == 202

    async def deleted() -> bool:
        return (await yard.api.get(f"/v1/tombstones/{shop.id}")).status == 200

    await eventually(deleted, within=30)

    async def kept() -> bool:
        return bool((await yard.api.get(f"/v1/actions/standby-stop/{first}")).body["state"] == "cancelled")

    await eventually(kept, within=10)
