"""What a project's deletion does to its deployments, and what nobody ever gets to see of them."""

import json
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lifecycle.deploy.platforms.process import ProcessPlatform
from lifecycle.dev.stack import Stack
from lifecycle.engine import Engine
from lifecycle.receipts import signing
from tests.support.api import Api
from tests.support.shop import Shop, app
from tests.support.waiting import eventually


@pytest.fixture
async def shop(stack: Stack, api: Api, slug: str) -> Shop:
    """A new project."""
    return await Shop.opened(stack, api, slug)


async def test_a_scheduled_project_says_so_and_comes_back(shop: Shop) -> None:
    """During grace visitors read when it will be deleted; nothing can be deployed; a cancel brings all back."""
    first, live = await shop.deploy("v1", commit_sha="1111111"), await shop.deploy("v2")
    scheduled = await shop.api.schedule(shop.id, shop.slug, "72h")
    page = await shop.serves("going to be deleted", status=410)
    own = await shop.visit(host=shop.hostname("git", "1111111"))
    refused = [
        await shop.ask("v3"),
        await shop.act(first, "rollback"),
        await shop.act(first, "promote"),
    ]
    due_at = datetime.fromisoformat(scheduled.body["due_at"])
    await shop.api.delete(f"/v1/projects/{shop.id}/deletion")
    await shop.serves("v2")

    assert due_at.strftime("%Y-%m-%d") in page.text
    assert due_at.strftime("%H:%M") in page.text
    assert own.status == 410
    for answer in refused:
        assert (answer.status, answer.body["code"]) == (409, "project_ending"), answer
        assert shop.id in answer.body["hint"]
    assert (await shop.visit(host=shop.hostname("git", "1111111"))).text == "v1"
    assert (await shop.show(live))["live"]
    await shop.deploy("v4")
    assert (await shop.visit()).text == "v4"


async def test_a_move_moves_the_time_that_visitors_read(shop: Shop) -> None:
    """When the deletion is moved, the page says the new time."""
    await shop.deploy("v1")
    await shop.api.schedule(shop.id, shop.slug, "72h")
    await shop.serves("going to be deleted", status=410)
    moved = await shop.api.patch(f"/v1/projects/{shop.id}/deletion", {"grace": "200h"})
    due_at = datetime.fromisoformat(moved.body["due_at"])
    await shop.serves(due_at.strftime("%Y-%m-%d"), status=410)
    await shop.api.delete(f"/v1/projects/{shop.id}/deletion")
    await shop.serves("v1")


async def test_traffic_can_be_served_until_the_end(shop: Shop) -> None:
    """With `traffic: serve` visitors notice nothing during grace."""
    await shop.deploy("v1")
    scheduled = await shop.api.schedule(shop.id, shop.slug, "72h", traffic="serve")
    refused = await shop.ask("v2")

    assert scheduled.status == 202
    assert (refused.status, refused.body["code"]) == (409, "project_ending")
    assert (await shop.visit()).text == "v1"
    await shop.api.delete(f"/v1/projects/{shop.id}/deletion")


async def test_what_rested_during_grace_is_healthy_before_visitors_come_back(stack: Stack, shop: Shop) -> None:
    """With `compute: stop` nothing runs during grace; after a cancel no visitor meets a deployment that is not up."""
    first, _ = await shop.deploy("v1", commit_sha="1111111"), await shop.deploy("v2")
    await shop.api.schedule(shop.id, shop.slug, "72h", compute="stop")
    await shop.serves("going to be deleted", status=410)
    await eventually(partial(_nothing_runs, stack, shop.id), within=15)
    await shop.api.delete(f"/v1/projects/{shop.id}/deletion")
    seen: list[tuple[int, str]] = []

    async def back() -> bool:
        visit = await shop.visit()
        seen.append((visit.status, visit.text if visit.status == 200 else ""))
        return visit.text == "v2"

    await eventually(back, within=20)
    await shop.serves("v1", host=shop.hostname("git", "1111111"))

    assert set(seen) <= {(410, ""), (200, "v2")}
    assert (await shop.show(first))["status"] == "ready"


async def test_a_rollout_ends_when_the_deletion_is_scheduled(shop: Shop) -> None:
    """What rolls out, and what waits, is cancelled with the reason; nothing of it comes back."""
    rolling = await shop.begin("v1", "deaf")
    waiting = await shop.begin("v2")
    await shop.api.schedule(shop.id, shop.slug, "72h")
    shown = [await shop.until(one, "cancelled") for one in (rolling, waiting)]
    await shop.api.delete(f"/v1/projects/{shop.id}/deletion")
    await eventually(partial(_takes_deployments, shop), within=10)

    assert {one["message"] for one in shown} == {"The project is scheduled for deletion."}


async def test_a_purge_leaves_no_process_and_says_what_it_removed(stack: Stack, shop: Shop) -> None:
    """After the deletion nothing runs, nothing is served, the domains are free, and the receipt has a line for each."""
    domain = f"www.{shop.slug}.example"
    await shop.deploy("v1", commit_sha="1111111")
    last = await shop.deploy("v2", replicas=2)
    await shop.api.post(f"/v1/projects/{shop.id}/domains", {"domain": domain})
    await shop.api.schedule(shop.id, shop.slug, "1s")
    tombstone = await eventually(partial(_tombstone, shop), within=30)
    async with shop.api.with_key(None) as anybody:
        stated = signing.verify(tombstone["receipt"], (await anybody.get("/.well-known/jwks.json")).body)
    removed = {line["subsystem"]: line["count"] for line in stated["removed"]}

    assert {name: removed[name] for name in ("instances", "routes", "deployments", "domains")} == {
        "instances": 3,
        "routes": 5,
        "deployments": 2,
        "domains": 1,
    }
    assert await _nothing_runs(stack, shop.id)
    assert not list((stack.root / "instances").glob(f"{last}.*"))
    for host in (shop.host, domain, shop.hostname("git", "1111111")):
        assert (await shop.visit(host=host)).status == 404
    again = await Shop.opened(stack, shop.api, shop.slug)
    await again.deploy("v3")
    assert (await again.visit()).text == "v3"
    assert (await again.api.post(f"/v1/projects/{again.id}/domains", {"domain": domain})).status == 201


async def test_a_purge_ends_a_rollout(stack: Stack, shop: Shop) -> None:
    """A rollout that hangs does not hold up the deletion, and leaves no process."""
    await shop.deploy("v1")
    await shop.begin("v2", "deaf")
    await shop.api.schedule(shop.id, shop.slug, "1s", traffic="serve")
    await eventually(partial(_tombstone, shop), within=30)

    assert await _nothing_runs(stack, shop.id)


async def test_environment_variables_reach_the_instance_and_nobody_else(stack: Stack, shop: Shop) -> None:
    """The program gets its variables; no file, row, journal or log of ours ever has them in clear."""
    secret, known = f"s3cret-{secrets.token_hex(12)}", f"known-{secrets.token_hex(12)}"
    deployment = await shop.deploy(known, env={"PASSWORD": secret})
    answer = await shop.visit("/env/PASSWORD")
    shown = [
        await shop.api.get(f"/v1/deployments/{deployment}"),
        await shop.api.get(f"/v1/deployments/{deployment}/logs"),
        await shop.api.get(f"/v1/audit?project={shop.id}"),
    ]
    kept = await _in_engine(stack)

    assert answer.text == secret
    assert known in shown[0].body["command"]
    assert all(secret not in json.dumps(one.body) for one in shown)
    assert known.encode() in kept
    assert secret.encode() not in kept
    assert any(known.encode() in content for content in _files(stack.root)), "the search finds what is there"
    assert not any(secret.encode() in content for content in _files(stack.root))


async def _in_engine(stack: Stack) -> bytes:
    """All that the engine shows of states and journals."""
    engine = Engine(stack.engine.admin_url, timeout=timedelta(seconds=20))
    try:
        state = await engine.query("SELECT encode(value, 'hex') AS content FROM state")
        journal = await engine.query("SELECT encode(raw, 'hex') AS content FROM sys_journal")
    finally:
        await engine.close()
    return b"\n".join(bytes.fromhex(row["content"]) for row in (*state, *journal))


def _files(root: Path) -> Iterator[bytes]:
    for path in root.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


async def _nothing_runs(stack: Stack, project: str) -> bool:
    return not await ProcessPlatform(stack.root.resolve() / "instances").find(project=project)


async def _takes_deployments(shop: Shop) -> bool:
    answer = await shop.api.post(
        f"/v1/projects/{shop.id}/deployments", {"environment": "production", "command": app("v3")}
    )
    assert answer.status == 202, answer
    await shop.until(answer.body["id"], "ready")
    return True


async def _tombstone(shop: Shop) -> dict[str, Any] | None:
    answer = await shop.api.get(f"/v1/tombstones/{shop.id}")
    return answer.body if answer.status == 200 else None
