"""What the owner of a project does with deployments, over HTTP and through the gateway only."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from lifecycle.dev.stack import Stack
from tests.support.api import Api
from tests.support.issuing import until
from tests.support.shop import Shop
from tests.support.waiting import eventually


@pytest.fixture
async def shop(stack: Stack, api: Api, slug: str) -> Shop:
    """A new project."""
    return await Shop.opened(stack, api, slug)


async def test_deploy_and_deploy_again(shop: Shop) -> None:
    """What I deploy is served under its domains; the next one takes over, and says where each serves now."""
    first = await shop.deploy("v1", branch="main", commit_sha="1111111aaaa")
    shown = await shop.show(first)
    assert (await shop.visit()).text == "v1"
    second = await shop.deploy("v2", branch="main", commit_sha="2222222bbbb")
    assert (await shop.visit()).text == "v2"

    assert [step["name"] for step in shown["steps"]] == [
        *("start-instances", "wait-until-ready", "assign-domains", "scrape-openapi", "activate", "finalize")
    ]
    assert all(step["duration_seconds"] >= 0 and step["error"] == "" for step in shown["steps"])
    assert set(shown["domains"]) == {
        shop.host,
        shop.hostname("production"),
        shop.hostname("git", "main"),
        shop.hostname("git", "1111111"),
    }
    assert [one["region"] for one in shown["instances"]] == ["local"]
    for host, text in (
        (shop.hostname("production"), "v2"),
        (shop.hostname("git", "main"), "v2"),
        (shop.hostname("git", "1111111"), "v1"),
        (shop.hostname("git", "2222222"), "v2"),
    ):
        assert (await shop.visit(host=host)).text == text, host
    assert [(await shop.show(one))["live"] for one in (first, second)] == [False, True]
    assert (await shop.visit(host=shop.hostname("git", "3333333"))).status == 404


async def test_a_replaced_deployment_waits_in_standby(shop: Shop) -> None:
    """What was replaced goes on running for half an hour, by a countdown that I can see, move, end, or cut short."""
    first = await shop.deploy("v1", commit_sha="1111111")
    await shop.deploy("v2")
    action = await eventually(partial(_standby, shop), within=10)
    path = f"/v1/actions/{action['id']}"
    moved = await shop.api.patch(path, {"grace": "2h"}, headers={"If-Match": f'"{action["generation"]}"'})
    stale = await shop.api.delete(path, headers={"If-Match": f'"{action["generation"]}"'})
    run = await shop.api.post(f"{path}/run")
    page = await shop.serves("stopped", host=shop.hostname("git", "1111111"), status=503)
    stopped = await shop.until(first, "stopped")

    assert action["id"] == f"standby-stop/{first}"
    assert action["label"] == "production #1"
    assert (moved.status, stale.status, run.status) == (200, 412, 200), (moved, stale, run)
    assert page.instance == ""
    assert (stopped["running"], stopped["instances"]) == (False, [])
    await eventually(partial(_no_standby, shop), within=10)


async def test_a_standby_that_is_kept_goes_on_running(shop: Shop) -> None:
    """Cancelling the stop leaves the deployment running until I stop it myself; a second cancel says the same."""
    first = await shop.deploy("v1", commit_sha="1111111")
    await shop.deploy("v2")
    action = await eventually(partial(_standby, shop), within=10)
    kept = await shop.api.delete(f"/v1/actions/{action['id']}")
    again = await shop.api.delete(f"/v1/actions/{action['id']}")
    await eventually(partial(_no_standby, shop), within=10)

    assert (kept.status, kept.body.get("outcome")) == (200, "cancelled"), kept
    assert again.body == kept.body
    assert (await shop.visit(host=shop.hostname("git", "1111111"))).text == "v1"
    await shop.done(first, "stop")
    await shop.serves("stopped", host=shop.hostname("git", "1111111"), status=503)


async def test_a_rollback_pins_and_a_promote_lifts_the_pin(shop: Shop) -> None:
    """After a rollback new deployments get names of their own and no live domain, until I promote one."""
    first, _ = await shop.deploy("v1"), await shop.deploy("v2")
    await shop.api.post(f"/v1/projects/{shop.id}/domains", {"domain": f"www.{shop.slug}.example"})
    await shop.done(first, "rollback")
    await shop.serves("v1")
    third = await shop.deploy("v3", branch="main", commit_sha="3333333")
    live = (shop.host, shop.hostname("production"), f"www.{shop.slug}.example")
    for host in live:
        assert (await shop.visit(host=host)).text == "v1", host
    for host in (shop.hostname("git", "main"), shop.hostname("git", "3333333")):
        assert (await shop.visit(host=host)).text == "v3", host
    pinned = await shop.show(third)
    await shop.done(third, "promote")
    await shop.serves("v3")
    await shop.deploy("v4")

    assert (pinned["live"], pinned["pinned"]) == (False, True)
    for host in live:
        assert (await shop.visit(host=host)).text == "v4", host


async def test_promoting_what_a_rollback_made_live_only_lifts_the_pin(shop: Shop) -> None:
    """I confirm a rollback: the same goes on serving, and the next deployment goes live again."""
    first, _ = await shop.deploy("v1"), await shop.deploy("v2")
    await shop.done(first, "rollback")
    await shop.done(first, "promote")
    await shop.serves("v1")
    assert (await shop.show(first))["pinned"] is False
    await shop.deploy("v3")
    assert (await shop.visit()).text == "v3"


async def test_a_rollback_to_a_stopped_deployment_wakes_it_first(shop: Shop) -> None:
    """Visitors see the present version until the stopped one is healthy again; then they see that one."""
    first, second = await shop.deploy("v1"), await shop.deploy("v2")
    await shop.done(first, "stop")
    await shop.until(first, "stopped")
    await shop.done(first, "rollback")
    seen = []

    async def taken_over() -> bool:
        visit = await shop.visit()
        seen.append((visit.status, visit.text))
        return visit.text == "v1"

    await eventually(taken_over, within=15)
    assert set(seen) == {(200, "v1")} | set(seen[:1])
    assert {status for status, _ in seen} == {200}
    assert (await shop.show(first))["pinned"]
    assert (await shop.show(second))["status"] == "ready"


async def test_a_stopped_deployment_can_be_woken(shop: Shop) -> None:
    """A woken deployment answers under its own name, and goes to standby once more."""
    first, _ = await shop.deploy("v1", commit_sha="1111111"), await shop.deploy("v2")
    await shop.done(first, "stop")
    await shop.until(first, "stopped")
    await shop.done(first, "wake")
    await shop.serves("v1", host=shop.hostname("git", "1111111"))
    action = await eventually(partial(_standby, shop), within=10)

    assert action["key"] == first
    assert (await shop.visit()).text == "v2"


async def test_production_and_preview_are_apart(shop: Shop) -> None:
    """A preview has domains of its own, can be promoted to nothing else, and production does not notice."""
    await shop.deploy("v1")
    preview = await shop.deploy("v2", environment="preview", branch="feat/cart")
    domains = (await shop.show(preview))["domains"]

    assert (await shop.visit()).text == "v1"
    assert (await shop.visit(host=shop.hostname("preview"))).text == "v2"
    assert len(domains) == 3
    for host in domains:
        assert (await shop.visit(host=host)).text == "v2", host
    assert [(await shop.show(preview))["live"], (await shop.show(preview))["environment"]] == [True, "preview"]


async def test_a_domain_of_my_own(stack: Stack, api: Api, shop: Shop, slug: str) -> None:
    """A domain is served and certified as soon as I add it, follows what is live, and is mine until I remove it."""
    await shop.deploy("v1")
    host, path = f"www.{slug}.example", f"/v1/projects/{shop.id}/domains"
    added = await api.post(path, {"domain": host.upper()})
    assert (await shop.visit(host=host)).text == "v1"
    certified = await until(api, host, "active")
    await shop.deploy("v2")
    assert (await shop.visit(host=host)).text == "v2"
    thief = await Shop.opened(stack, api, f"{slug}-2")
    await thief.deploy("thief")
    taken = await api.post(f"/v1/projects/{thief.id}/domains", {"domain": host})
    foreign = await api.delete(f"/v1/projects/{thief.id}/domains/{host}")
    assert (await shop.visit(host=host)).text == "v2"
    removed = await api.delete(f"{path}/{host}")
    gone = await shop.visit(host=host)
    later = await api.post(f"/v1/projects/{thief.id}/domains", {"domain": host})

    assert (added.status, added.body["domain"], added.body["kind"]) == (201, host, "custom")
    assert (certified["names"], certified["project"]) == ([host], shop.id)
    assert (taken.status, taken.body["code"]) == (409, "domain_taken")
    assert foreign.status in {204, 404}
    assert (removed.status, gone.status) == (204, 404)
    assert later.status == 201
    assert (await shop.visit(host=host)).text == "thief"


async def test_the_api_of_a_deployment_is_kept(shop: Shop) -> None:
    """The OpenAPI document that an instance serves can be read from the deployment."""
    deployment = await shop.deploy("v1")
    answer = await shop.api.get(f"/v1/deployments/{deployment}/openapi")

    assert json.loads(answer.body)["info"] == {"title": "Shop", "version": "v1"}


async def test_each_deployment_says_what_can_be_done_and_why_not(shop: Shop) -> None:
    """What a deployment offers is what the API then does; what it does not offer has a code, a reason and a hint."""
    first, second = await shop.deploy("v1"), await shop.deploy("v2")
    for deployment in (first, second):
        offered = {one["action"]: one for one in (await shop.show(deployment))["available_actions"]}
        assert set(offered) == {"cancel", "promote", "rollback", "stop", "wake"}
        for verb, one in offered.items():
            if one["allowed"]:
                assert (one["code"], one["reason"], one["hint"]) == (None, None, None)
            else:
                refused = await shop.act(deployment, verb)
                said = {"code": refused.body["code"], "reason": refused.body["detail"], "hint": refused.body["hint"]}
                assert said == {name: one[name] for name in said}, one
    allowed = {one["action"] for one in (await shop.show(first))["available_actions"] if one["allowed"]}

    assert allowed == {"promote", "rollback", "stop"}


async def test_the_list_pages_through_everything_newest_first(shop: Shop) -> None:
    """Pages never repeat or skip a deployment."""
    made = [await shop.begin(f"v{number}") for number in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = await shop.api.get(f"/v1/projects/{shop.slug}/deployments?limit=2{cursor}")
        seen += [one["id"] for one in page.body["items"]]
        if page.body["next_cursor"] is None:
            break
        cursor = f"&cursor={page.body['next_cursor']}"

    assert seen == made[::-1]
    for deployment in made:
        await shop.until(deployment, "ready")


async def test_a_repeated_request_deploys_once(shop: Shop) -> None:
    """A client that repeats a request with its Idempotency-Key, because the answer was lost, deploys nothing twice."""
    headers = {"Idempotency-Key": shop.slug}
    first, second = await shop.ask("v1", headers=headers), await shop.ask("v1", headers=headers)
    await shop.until(first.body["id"], "ready")
    listed = await shop.api.get(f"/v1/projects/{shop.id}/deployments")

    assert (first.status, second.status) == (202, 202)
    assert [one["id"] for one in listed.body["items"]] == [first.body["id"]] == [second.body["id"]]


async def _standby(shop: Shop) -> Mapping[str, Any] | None:
    items = (await shop.api.get(f"/v1/actions?project={shop.id}&kind=standby-stop")).body["items"]
    return items[0] if items else None


async def _no_standby(shop: Shop) -> bool:
    return await _standby(shop) is None
