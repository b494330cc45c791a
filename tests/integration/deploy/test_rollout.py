"""Deployments that fail, are given up or overtaken: nothing of them is left, and nobody who visits notices."""

import asyncio
import time
from functools import partial
from pathlib import Path

from tests.integration.deploy.conftest import Yard
from tests.support import shop as shops
from tests.support.shop import Shop
from tests.support.waiting import eventually

FAILING = {
    "no such command": (["no-such-program"], "The command no-such-program was not found"),
    "exits at once": (shops.app("v2", "exit"), "ended with code 1"),
    "never listens": (shops.app("v2", "deaf"), "Nothing answers GET /."),
    "answers 500": (shops.app("v2", "ill"), "GET / answers 500."),
}
PRINTED = {"exits at once": "there is no configuration", "never listens": "v2 begins", "answers 500": "v2 begins"}
# A person who waits for an answer takes this for at once.
AT_ONCE = 1.0


async def test_what_cannot_run_fails_with_its_reason(yard: Yard, slug: str) -> None:
    """I learn why it failed and what it printed last; nothing of it is left, and visitors see what was live."""
    async with asyncio.TaskGroup() as group:
        for number, why in enumerate(FAILING):
            group.create_task(_fails(yard, f"{slug}-{number}", why))


async def _fails(yard: Yard, slug: str, why: str) -> None:
    command, sentence = FAILING[why]
    shop = await yard.shop(slug)
    live = await shop.deploy("v1")
    failed = await shop.begin("v2", command=command)
    shown = await shop.until(failed, "failed")
    truth = await yard.ends_well(shop.id)
    allowed = [one["action"] for one in (await shop.show(failed))["available_actions"] if one["allowed"]]

    assert sentence in shown["message"], why
    assert PRINTED.get(why, "") in shown["message"], why
    assert shown["steps"][-1]["ended_at"] is not None, why
    assert sentence in shown["steps"][-1]["error"], why
    assert {one.deployment for one in truth.found} == {live}, why
    assert (await shop.visit()).text == "v1", why
    assert allowed == [], why


async def test_the_first_deployment_that_fails_leaves_nothing(yard: Yard, slug: str) -> None:
    """A project whose only deployment failed serves nothing, runs nothing, and the next one works."""
    shop = await yard.shop(slug)
    await shop.until(await shop.begin("v1", "exit"), "failed")
    truth = await yard.ends_well(shop.id)
    unknown = await shop.visit()
    await shop.deploy("v2")

    assert truth.found == []
    assert unknown.status == 404
    assert (await shop.serves("v2")).status == 200


async def test_a_rollback_is_answered_at_once_while_something_rolls_out(yard: Yard, slug: str, tmp_path: Path) -> None:
    """A rollback waits for no rollout; the one that finishes later gets names of its own and not the live ones."""
    shop = await yard.shop(slug)
    first, _ = await shop.deploy("v1"), await shop.deploy("v2")
    gate = tmp_path / "gate"
    slow = await shop.begin("v3", "wait", str(gate), branch="main")
    await shop.until_step(slow, "wait-until-ready")
    began = time.monotonic()
    await shop.done(first, "rollback")
    took = time.monotonic() - began
    await shop.serves("v1")
    gate.touch()
    shown = await shop.until(slow, "ready")
    await yard.ends_well(shop.id)

    assert took < AT_ONCE
    assert (shown["live"], shown["pinned"]) == (False, True)
    assert (await shop.visit()).text == "v1"
    assert (await shop.visit(host=shop.hostname("git", "main"))).text == "v3"
    activate = next(step for step in shown["steps"] if step["name"] == "activate")
    assert "pinned by a rollback" in activate["error"]


async def test_a_promote_is_answered_at_once_while_something_rolls_out(yard: Yard, slug: str, tmp_path: Path) -> None:
    """A promote waits for no rollout either; the newer one that finishes later goes live, as no pin holds it back."""
    shop = await yard.shop(slug)
    first, _ = await shop.deploy("v1"), await shop.deploy("v2")
    gate = tmp_path / "gate"
    slow = await shop.begin("v3", "wait", str(gate))
    await shop.until_step(slow, "wait-until-ready")
    began = time.monotonic()
    await shop.done(first, "promote")
    took = time.monotonic() - began
    await shop.serves("v1")
    gate.touch()
    await shop.until(slow, "ready")
    await yard.ends_well(shop.id)

    assert took < AT_ONCE
    assert (await shop.visit()).text == "v3"


async def test_a_cancel_before_anything_moved(yard: Yard, slug: str, tmp_path: Path) -> None:
    """A rollout that I cancel while it starts ends with all that it had started; a second cancel changes nothing."""
    shop = await yard.shop(slug)
    live = await shop.deploy("v1")
    slow = await shop.begin("v2", "wait", str(tmp_path / "never"))
    await shop.until_step(slow, "wait-until-ready")
    await shop.done(slow, "cancel")
    await shop.done(slow, "cancel")
    shown = await shop.until(slow, "cancelled")
    truth = await yard.ends_well(shop.id)

    assert shown["message"] == "Cancelled by admin@example.com."
    assert {one.deployment for one in truth.found} == {live}
    assert (await shop.visit()).text == "v1"


async def test_a_cancel_while_it_waits_for_another_rollout(yard: Yard, slug: str, tmp_path: Path) -> None:
    """A rollout that was not begun yet is cancelled without ever running, and the one before it goes on."""
    shop = await yard.shop(slug)
    gate = tmp_path / "gate"
    first = await shop.begin("v1", "wait", str(gate))
    waiting = await shop.begin("v2")
    await shop.until(waiting, "queued")
    await shop.done(waiting, "cancel")
    gate.touch()
    await shop.until(first, "ready")
    await yard.ends_well(shop.id)

    assert (await shop.show(waiting))["status"] == "cancelled"
    assert (await shop.show(waiting))["steps"] == []
    assert (await shop.visit()).text == "v1"


async def test_one_that_fails_after_its_routes_moved_gives_them_back(yard: Yard, slug: str) -> None:
    """A deployment that is ill as soon as it serves fails, and every domain it had is back with its predecessor."""
    shop = await yard.shop(slug)
    former = await shop.deploy("v1", branch="main")
    failed = await shop.begin("v2", "brief", branch="main", commit_sha="1234567")
    shown = await shop.until(failed, "failed")
    truth = await yard.ends_well(shop.id)

    assert shown["message"] == "GET / answers 500."
    await _is_back(shop, former, len(truth.found))
    assert (await shop.visit(host=shop.hostname("git", "1234567"))).status in {404, 503}


async def test_one_that_is_cancelled_after_its_routes_moved_gives_them_back(yard: Yard, slug: str) -> None:
    """A cancel at the last moment, when visitors have seen the new version: they see the former one again."""
    shop = await yard.shop(slug)
    former = await shop.deploy("v1", branch="main")
    late = await shop.begin("v2", "brief", branch="main")
    await shop.until_step(late, "finalize")
    assert (await shop.show(late))["live"]
    await shop.done(late, "cancel")
    await shop.until(late, "cancelled")
    truth = await yard.ends_well(shop.id)

    await _is_back(shop, former, len(truth.found))


async def test_the_first_one_that_fails_after_its_routes_moved(yard: Yard, slug: str) -> None:
    """With nothing to go back to, its domains lead nowhere rather than to something that was removed."""
    shop = await yard.shop(slug)
    failed = await shop.begin("v1", "brief")
    await shop.until(failed, "failed")
    truth = await yard.ends_well(shop.id)

    assert truth.found == []
    assert truth.fleet.live == {}
    assert (await shop.visit()).status in {404, 503}
    assert (await shop.visit()).instance == ""


async def _is_back(shop: Shop, former: str, instances: int) -> None:
    assert (await shop.show(former))["live"]
    assert instances == 1
    for host in (shop.host, shop.hostname("production"), shop.hostname("git", "main")):
        assert (await shop.visit(host=host)).text == "v1", host


async def test_only_the_newest_of_a_branch_is_rolled_out(yard: Yard, slug: str, tmp_path: Path) -> None:
    """While one rolls out, those of the same branch that wait are superseded by the newest; other branches are not."""
    shop = await yard.shop(slug)
    gate = tmp_path / "gate"
    first = await shop.begin("v1", "wait", str(gate), branch="main")
    second = await shop.begin("v2", branch="main")
    other = await shop.begin("v3", branch="other")
    third = await shop.begin("v4", branch="main")
    superseded = await shop.until(second, "superseded")
    gate.touch()
    for deployment in (first, other, third):
        await shop.until(deployment, "ready")
    await yard.ends_well(shop.id)

    assert superseded["message"] == f"Superseded by {third}."
    assert (await shop.visit()).text == "v4"
    assert (await shop.visit(host=shop.hostname("git", "other"))).text == "v3"


async def test_a_deployment_that_gets_ill_while_it_is_watched_is_rolled_back(yard: Yard, slug: str) -> None:
    """With a watch, a deployment that falls ill after it went live is replaced by its predecessor, by itself."""
    shop = await yard.shop(slug)
    former = await shop.deploy("v1")
    ill = await shop.deploy("v2", watch_seconds=60)
    await shop.serves("v2")
    await shop.visit("/ill", method="POST")
    await shop.serves("v1", within=25)
    await eventually(partial(_is_pinned, shop, former), within=10)
    await yard.ends_well(shop.id)

    assert (await shop.show(ill))["live"] is False
    assert (await shop.show(ill))["message"] == "GET / answers 500."


async def _is_pinned(shop: Shop, deployment: str) -> bool:
    shown = await shop.show(deployment)
    return bool(shown["live"] and shown["pinned"])
