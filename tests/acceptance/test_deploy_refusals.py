"""What is asked wrongly of deployments and domains gets a code and a hint, and changes nothing."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from lifecycle.dev.stack import APEX, Stack
from lifecycle.models import Role
from tests.support.api import Answer, Api
from tests.support.inside import key_of
from tests.support.shop import Shop, app


@pytest.fixture
async def shop(stack: Stack, api: Api, slug: str) -> Shop:
    """A new project."""
    return await Shop.opened(stack, api, slug)


@pytest.fixture
async def stranger(stack: Stack, api: Api, slug: str) -> AsyncIterator[Api]:
    """An administrator of another workspace."""
    token = await key_of(stack, workspace=slug, person="mallory@example.com", role=Role.ADMINISTRATOR)
    async with api.with_key(token) as client:
        yield client


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"environment": "staging"}, "invalid_request", "environment"),
        ({"environment": None}, "invalid_request", "environment"),
        ({"command": []}, "invalid_request", "body"),
        ({"command": ["python3", ""]}, "invalid_request", "command.1"),
        ({"command": "python3"}, "invalid_request", "command"),
        ({"command": ["a\0b"]}, "invalid_request", "command.0"),
        ({"image": "-bad"}, "invalid_request", "image"),
        ({"command": [], "image": "registry.example.com/shop:1"}, "region_unknown", "regions"),
        ({"source": True}, "invalid_request", "body"),
        ({"source": "yes"}, "invalid_request", "source"),
        ({"regions": ["mars"]}, "region_unknown", "regions"),
        ({"regions": []}, "invalid_request", "regions"),
        ({"replicas": 0}, "invalid_request", "replicas"),
        ({"replicas": 99}, "invalid_request", "replicas"),
        ({"replicas": "2"}, "invalid_request", "replicas"),
        ({"port": 70000}, "invalid_request", "port"),
        ({"watch_seconds": -1}, "invalid_request", "watch_seconds"),
        ({"branch": "a\nb"}, "invalid_request", "branch"),
        ({"commit_sha": "main"}, "invalid_request", "commit_sha"),
        ({"health_path": "health"}, "invalid_request", "health_path"),
        ({"env": {"A-B": "1"}}, "invalid_request", "env"),
        ({"env": {"A": 1}}, "invalid_request", "env"),
        ({"env": {"A": "x" * 40_000}}, "invalid_request", "env"),
        ({"imagee": "x"}, "invalid_request", "imagee"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_deployed(
    shop: Shop, change: Mapping[str, Any], code: str, field: str
) -> None:
    """Whoever sends something wrong learns which field, why, and what to do."""
    body = {"environment": "production", "command": app("v1"), **change}
    sent = {name: value for name, value in body.items() if value is not None}
    answer = await shop.api.post(f"/v1/projects/{shop.id}/deployments", sent)

    _is_refused(answer, 422, code)
    assert answer.body["field"].startswith(field) or field == "body", answer.body
    assert (await shop.api.get(f"/v1/projects/{shop.id}/deployments")).body["items"] == []


async def test_what_one_deployment_cannot_do_is_refused(shop: Shop) -> None:
    """Rolling back to what is live, failed, or rolls out, or promoting what is not ready, changes nothing."""
    live = await shop.deploy("v1")
    failed = await shop.begin("v2", "exit")
    await shop.until(failed, "failed")
    building = await shop.begin("v3", "deaf")
    await shop.until_step(building, "wait-until-ready")
    table = [
        (live, "rollback", "deployment_already_live"),
        (live, "promote", "deployment_already_live"),
        (live, "stop", "deployment_live"),
        (live, "wake", "deployment_not_stopped"),
        (live, "cancel", "rollout_finished"),
        (failed, "rollback", "deployment_not_ready"),
        (failed, "promote", "deployment_not_ready"),
        (failed, "stop", "deployment_not_ready"),
        (failed, "wake", "deployment_not_stopped"),
        (failed, "cancel", "rollout_finished"),
        (building, "rollback", "deployment_not_ready"),
        (building, "promote", "deployment_not_ready"),
        (building, "stop", "deployment_not_ready"),
        (building, "wake", "deployment_not_stopped"),
    ]
    for deployment, verb, code in table:
        _is_refused(await shop.act(deployment, verb), 409, code)
    upload = await shop.api.call("PUT", f"/v1/deployments/{building}/source", raw=b"tar")
    _is_refused(upload, 409, "source_not_expected")
    await shop.done(building, "cancel")
    await shop.until(building, "cancelled")
    _is_refused(await shop.act(building, "rollback"), 409, "deployment_not_ready")

    assert (await shop.visit()).text == "v1"
    assert (await shop.show(live))["pinned"] is False


async def test_a_stopped_deployment_is_not_promoted(shop: Shop) -> None:
    """A promote wakes nobody up; I am told how to."""
    first, _ = await shop.deploy("v1"), await shop.deploy("v2")
    await shop.done(first, "stop")
    await shop.until(first, "stopped")
    refused = await shop.act(first, "promote")

    _is_refused(refused, 409, "deployment_stopped")
    assert "wake" in refused.body["hint"].lower()


async def test_an_environment_with_nothing_live_has_nothing_to_roll_back(shop: Shop) -> None:
    """Before the first one is live there is nothing to go back from."""
    first = await shop.begin("v1", "deaf")
    _is_refused(await shop.act(first, "rollback"), 409, "nothing_live")
    await shop.done(first, "cancel")
    await shop.until(first, "cancelled")


async def test_another_environment_or_project_is_never_touched(stack: Stack, api: Api, shop: Shop, slug: str) -> None:
    """A rollback moves the environment of its target and no other, and a project has no say in another one."""
    await shop.deploy("v1")
    preview = [await shop.deploy(f"p{number}", environment="preview") for number in (1, 2)]
    other = await Shop.opened(stack, api, f"{slug}-2")
    foreign = [await other.deploy(f"o{number}") for number in (1, 2)]
    await shop.done(preview[0], "rollback")
    await other.done(foreign[0], "rollback")
    await shop.serves("p1", host=shop.hostname("preview"))
    await other.serves("o1")

    assert (await shop.visit()).text == "v1"
    assert (await shop.show(preview[0]))["environment"] == "preview"


async def test_another_workspace_finds_nothing(shop: Shop, stranger: Api) -> None:
    """Deployments, domains and standbys of others do not exist, whatever is done with them."""
    first, second = await shop.deploy("v1", commit_sha="1111111"), await shop.deploy("v2")
    for verb in ("cancel", "promote", "rollback", "stop", "wake"):
        _is_refused(await stranger.post(f"/v1/deployments/{first}/{verb}"), 404, "deployment_not_found")
    for path in ("", "/logs", "/openapi"):
        _is_refused(await stranger.get(f"/v1/deployments/{first}{path}"), 404, "deployment_not_found")
    upload = await stranger.call("PUT", f"/v1/deployments/{second}/source", raw=b"tar")
    _is_refused(upload, 404, "deployment_not_found")
    for path in ("deployments", "domains"):
        _is_refused(await stranger.get(f"/v1/projects/{shop.id}/{path}"), 404, "project_not_found")
    domain = await stranger.post(f"/v1/projects/{shop.id}/domains", {"domain": "www.example.com"})
    _is_refused(domain, 404, "project_not_found")
    for answer in (
        await stranger.get(f"/v1/actions/standby-stop/{first}"),
        await stranger.delete(f"/v1/actions/standby-stop/{first}"),
        await stranger.post(f"/v1/actions/standby-stop/{first}/run"),
    ):
        _is_refused(answer, 404, "action_not_found")

    assert (await shop.visit()).text == "v2"
    assert (await shop.visit(host=shop.hostname("git", "1111111"))).text == "v1"


async def test_a_viewer_changes_nothing(shop: Shop) -> None:
    """Who may only look can neither deploy nor act, and is told which role it takes."""
    first = await shop.deploy("v1")
    made = await shop.api.post("/v1/api-keys", {"person": "vera@example.com", "role": "viewer"})
    async with shop.api.with_key(made.body["token"]) as viewer:
        answers = [
            await viewer.post(
                f"/v1/projects/{shop.id}/deployments", {"environment": "production", "command": app("v2")}
            ),
            await viewer.post(f"/v1/projects/{shop.id}/domains", {"domain": "www.example.com"}),
            *[
                await viewer.post(f"/v1/deployments/{first}/{verb}")
                for verb in ("cancel", "promote", "rollback", "stop", "wake")
            ],
        ]
        seen = await viewer.get(f"/v1/deployments/{first}")

    for answer in answers:
        _is_refused(answer, 403, "role_required")
    assert [one["allowed"] for one in seen.body["available_actions"]] == [False] * 5


@pytest.mark.parametrize(
    ("domain", "status", "code"),
    [
        ("", 422, "invalid_request"),
        ("no spaces.example", 422, "domain_invalid"),
        ("*.example.com", 422, "domain_invalid"),
        ("https://www.example.com/", 422, "domain_invalid"),
        ("10.1.2.3", 422, "domain_invalid"),
        ("shop", 422, "domain_invalid"),
        ("shop.localhost", 422, "domain_reserved"),
        (f"shop.{APEX}", 422, "domain_reserved"),
        (APEX, 422, "domain_reserved"),
    ],
)
async def test_a_domain_that_cannot_be_is_refused(shop: Shop, domain: str, status: int, code: str) -> None:
    """What is no host name, or nobody's to give, is refused with a reason."""
    _is_refused(await shop.api.post(f"/v1/projects/{shop.id}/domains", {"domain": domain}), status, code)


async def test_a_domain_that_the_project_does_not_have(shop: Shop) -> None:
    """Removing a domain that I never added, or one that is given by itself, takes nothing away."""
    await shop.deploy("v1")
    removed = await shop.api.delete(f"/v1/projects/{shop.id}/domains/www.{shop.slug}.example")
    own = await shop.api.delete(f"/v1/projects/{shop.id}/domains/{shop.host}")

    assert removed.status in {204, 404}
    assert own.status in {204, 404, 422}
    assert (await shop.visit()).text == "v1"


async def test_a_deployment_that_never_was(api: Api) -> None:
    """An id that nobody gave out is named in the refusal."""
    answer = await api.get("/v1/deployments/dep_00000000000000000000000000")

    _is_refused(answer, 404, "deployment_not_found")
    assert "dep_00000000000000000000000000" in answer.body["detail"]


def _is_refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.body.get("code")) == (status, code), answer
    assert answer.body["hint"]
    assert answer.body["detail"]
